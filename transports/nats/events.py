"""What a client reports of its connection while it lives, and how it is set."""

from __future__ import annotations

from math import inf

import attrs

from transports.nats.errors import NatsError


@attrs.frozen
class Connected:
    """There is a connection. again: it is not the first one."""

    server: str
    again: bool


@attrs.frozen
class Disconnected:
    """The connection is gone; another one is looked for.

    in_flight: requests that ended with OutcomeUnknown.
    """

    server: str
    why: str
    in_flight: int


@attrs.frozen
class LameDuck:
    """The server is about to go; the client leaves it for another one, if there is one."""

    server: str


@attrs.frozen
class Failed:
    """Something went wrong that nobody waits for: a refused publish, an attempt to connect."""

    error: NatsError


Event = Connected | Disconnected | LameDuck | Failed


@attrs.define
class Statistics:
    """Counts of one client since its beginning."""

    published: int = 0
    published_bytes: int = 0
    received: int = 0
    received_bytes: int = 0
    dropped: int = 0
    reconnects: int = 0


@attrs.frozen(kw_only=True)
class Settings:
    """Limits and times of a client; seconds and bytes.

    outbox: bytes that may wait to be written. offline: whether what is published without a
        connection waits in the outbox, or is refused. connect_within: for one attempt. patience:
        for how long entering goes on trying; 0: each server once. ping_every, pings_unanswered:
        a connection is given up as silent when so many PINGs have no answer at the next one.
        backoff, backoff_at_most: between rounds of attempts; doubled each time, and drawn from the
        upper half. leave_within: for answers from a server that is about to go. echo: whether the
        client hears what it publishes itself.

    Raises:
        ValueError: a number is not in its range.
    """

    outbox: int = 1 << 23
    offline: bool = True
    connect_within: float = 2.0
    patience: float = 0.0
    ping_every: float = 10.0
    pings_unanswered: int = 2
    backoff: float = 0.05
    backoff_at_most: float = 2.0
    leave_within: float = 2.0
    echo: bool = True

    def __attrs_post_init__(self) -> None:
        for name in ("connect_within", "ping_every", "backoff", "backoff_at_most"):
            if not 0 < getattr(self, name) < inf:
                raise ValueError(f"{name}: above 0, and finite, not {getattr(self, name)!r}")
        for name in ("patience", "leave_within"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: from 0 up, not {getattr(self, name)!r}")
        if self.backoff_at_most < self.backoff:
            raise ValueError(f"backoff_at_most: from {self.backoff} up")
        for name in ("outbox", "pings_unanswered"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise ValueError(f"{name}: an int from 1 up, not {getattr(self, name)!r}")
