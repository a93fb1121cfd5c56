"""A node's session as pure policy: until when it is certain that nobody takes over from it.

The store counts a session's time to live from when a renewal arrives there. The node counts it from
when it has *sent* that renewal, which is earlier, by its own clock, and takes the margin off, which
covers that the two clocks do not run alike. So it stops itself before the store lets go of it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from math import inf
from types import MappingProxyType
from typing import Any, Final

import attrs

from actors.timers import check_seconds


@attrs.frozen
class Lease:
    """How long a node that is not heard of keeps what it owns.

    ttl: seconds from a renewal on; it is renewed each third of that. margin: seconds by which the
    node stops itself sooner than the store lets go: for what two clocks differ by in `ttl` seconds,
    and for stopping. Left out: a tenth of `ttl`.

    Raises:
        ValueError, TypeError: no such times; or two thirds of `ttl` are left for no renewal.
    """

    ttl: float = 10.0
    margin: float = attrs.field()

    @margin.default
    def _tenth(self) -> float:
        return self.ttl / 10

    def __attrs_post_init__(self) -> None:
        check_seconds(self.ttl, "ttl", zero=False)
        check_seconds(self.margin, "margin")
        if self.margin >= self.ttl * 2 / 3:
            raise ValueError(
                f"margin is less than two thirds of ttl, or no renewal would come in time: "
                f"Lease(ttl={self.ttl!r}, margin={self.margin!r})"
            )

    @property
    def renew_after(self) -> float:
        """Seconds between two renewals."""
        return self.ttl / 3


class State(enum.Enum):
    """Where a node's session is."""

    NONE = "none"
    OPENING = "opening"
    HELD = "held"
    LOST = "lost"
    """What the node owned is being stopped; the next session begins after that."""


class Event(enum.Enum):
    """What happens to it."""

    OPEN = "its key is being created"
    CONFIRMED = "the store has written it"
    NOT_OPENED = "whether its key was created is not known, or it was too late"
    TIME_OVER = "it was not renewed in time"
    GONE = "its key is gone"
    CLEARED = "all that the node owned has stopped"


_S, _E = State, Event

TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = MappingProxyType(
    {
        (_S.NONE, _E.OPEN): _S.OPENING,
        (_S.OPENING, _E.CONFIRMED): _S.HELD,
        # Its key is never used again: it may yet be written, and end, whenever it likes.
        (_S.OPENING, _E.NOT_OPENED): _S.NONE,
        (_S.HELD, _E.CONFIRMED): _S.HELD,
        (_S.HELD, _E.TIME_OVER): _S.LOST,
        (_S.HELD, _E.GONE): _S.LOST,
        (_S.LOST, _E.CLEARED): _S.NONE,
    }
)
"""The whole of it; other events change nothing."""


class OwnSession:
    """The session of this node, one after another. Time is an argument: the node's own clock."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.state = State.NONE
        self.key = ""
        self.revision = 0
        self.until = -inf
        """Up to here it is certain that nobody takes over."""
        self.beat = 0
        self._sent: dict[int, float] = {}

    def open(self, key: str, now: float) -> None:
        """Its key is about to be created."""
        self._happens(Event.OPEN)
        self.key = key
        self.revision = self.beat = 0
        self.until = -inf
        self._sent = {0: now}

    def renew(self, now: float) -> int:
        """A renewal is about to be sent; its number, which is to be in what is written."""
        self.beat += 1
        self._sent[self.beat] = now
        return self.beat

    def confirmed(self, beat: int, revision: int, now: float) -> None:
        """The store has the value with this number: by its answer, or as it was read there."""
        sent = self._sent.get(beat)
        if sent is None or self.state not in (State.OPENING, State.HELD):
            return
        until = self._until(sent, now)
        if self.state is State.OPENING and now >= until:
            self._happens(Event.NOT_OPENED)
            return
        if revision > self.revision:
            self.revision = revision
            self._sent = {number: at for number, at in self._sent.items() if number >= beat}
        if self.state is State.HELD and not self.check(now):
            return
        self.until = max(self.until, until)
        self._happens(Event.CONFIRMED)

    def _until(self, sent: float, now: float) -> float:
        return sent + self.lease.ttl - self.lease.margin

    def not_opened(self) -> None:
        """Nobody knows whether its key was created."""
        self._happens(Event.NOT_OPENED)

    def gone(self) -> None:
        """The store does not have its key any more."""
        self._happens(Event.GONE)

    def cleared(self) -> None:
        """All that this node owned has stopped."""
        self._happens(Event.CLEARED)

    def holds(self, now: float) -> bool:
        """Whether the node may act."""
        return self.state is State.HELD and now < self.until

    def check(self, now: float) -> bool:
        """As `holds`; and if the time is over, it is lost."""
        if self.state is State.HELD and now >= self.until:
            self._happens(Event.TIME_OVER)
        return self.state is State.HELD

    def _happens(self, event: Event) -> None:
        self.state = TRANSITIONS.get((self.state, event), self.state)

    def __repr__(self) -> Any:
        return f"<session {self.key} {self.state.value}>"
