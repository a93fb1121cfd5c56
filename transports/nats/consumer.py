"""Pull consumers: messages of a stream, a batch at a time, each to be acknowledged."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from transports.nats.errors import ApiError, NoResponders, SlowConsumer
from transports.nats.headers import NO_RESPONDERS, Headers
from transports.nats.jetstream_types import Position, nanoseconds
from transports.nats.protocol import Message

if TYPE_CHECKING:
    from transports.nats.jetstream import JetStream

SLACK: Final = 0.5
"""Seconds that the end of a fetch, which the server says, may be late."""

HEARTBEAT: Final = 100
NO_MESSAGES: Final = 404
EXPIRED: Final = 408
CONFLICT: Final = 409

#: Reasons of a 409 after which another fetch may succeed.
PASSING: Final = ("leadership change", "server shutdown", "batch completed", "message size")


class Delivered:
    """A message of a consumer. It is given out again unless it is answered within `ack_wait`.

    Answers are in the outbox when these methods return; `ack_sync` waits until the server has it.
    """

    __slots__ = ("_consumer", "message", "position")

    def __init__(self, consumer: Consumer, message: Message) -> None:
        self._consumer = consumer
        self.message = message
        self.position = Position.of(message)

    @property
    def subject(self) -> str:
        """Where it was published to."""
        return self.message.subject

    @property
    def data(self) -> bytes:
        """Its bytes."""
        return self.message.data

    @property
    def headers(self) -> Headers:
        """Its headers."""
        return self.message.headers

    def ack(self) -> None:
        """It is done. Raises: OutboxFull, ClientClosed: as `Client.publish`, also the others."""
        self._say(b"+ACK")

    def nak(self, delay: float = 0.0) -> None:
        """It is to be given out again, after so many seconds."""
        if delay:
            body = msgspec.json.encode({"delay": nanoseconds(delay)})
            self._say(b"-NAK " + body)
        else:
            self._say(b"-NAK")

    def in_progress(self) -> None:
        """It takes longer: `ack_wait` begins again."""
        self._say(b"+WPI")

    def term(self) -> None:
        """It is never to be given out again, though it was not done."""
        self._say(b"+TERM")

    async def ack_sync(self, timeout: float | None = None) -> None:
        """`ack`, and wait until the server has it.

        Raises:
            NoResponders, RequestTimeout, OutcomeUnknown: it may be given out again.
        """
        jetstream = self._consumer.jetstream
        within = jetstream.timeout if timeout is None else timeout
        await jetstream.client.request(self.message.reply, b"+ACK", timeout=within)

    def _say(self, what: bytes) -> None:
        self._consumer.jetstream.client.publish(self.message.reply, what)

    def __repr__(self) -> str:
        return f"Delivered({self.message!r}, {self.position!r})"


class Consumer:
    """A pull consumer of a stream."""

    def __init__(self, jetstream: JetStream, stream: str, name: str) -> None:
        self.jetstream = jetstream
        self.stream = stream
        self.name = name

    async def fetch(
        self, batch: int = 1, *, expires: float = 5.0, heartbeat: float | None = None
    ) -> list[Delivered]:
        """Up to `batch` messages; fewer, or none, if there were no more after `expires` seconds.

        expires: 0: only what is there. heartbeat: seconds, at most half of `expires`: the server
        says in that time that it is there; if it does not, or the connection breaks, the fetch ends
        early. Messages that are on their way when it is cancelled are given out again.

        Raises:
            NoResponders: there is no such consumer.
            ApiError: it was deleted, or does not allow that.
            OutboxFull, ClientClosed: as `Client.publish`.
            ValueError: a number is not in its range.
        """
        if type(batch) is not int or batch < 1:
            raise ValueError(f"batch: messages, an int from 1 up, not {batch!r}")
        if not expires >= 0:
            raise ValueError(f"expires: seconds, from 0 up, not {expires!r}")
        what: dict[str, Any] = {"batch": batch}
        if expires:
            what["expires"] = nanoseconds(expires)
        else:
            what["no_wait"] = True
        if heartbeat is not None:
            if not 0 < heartbeat <= expires / 2:
                raise ValueError(f"heartbeat: seconds, to {expires / 2:g}, not {heartbeat!r}")
            what["idle_heartbeat"] = nanoseconds(heartbeat)
        client = self.jetstream.client
        inbox = client.new_inbox()
        subscription = client.subscribe(inbox, capacity=batch + 64)
        delivered: list[Delivered] = []
        reconnects = client.statistics.reconnects
        try:
            client.publish(
                f"{self.jetstream.prefix}.CONSUMER.MSG.NEXT.{self.stream}.{self.name}",
                msgspec.json.encode(what),
                reply=inbox,
            )
            with trio.move_on_after(expires + (SLACK if expires else self.jetstream.timeout)):
                while len(delivered) < batch:
                    message = None
                    with trio.move_on_after(2 * heartbeat if heartbeat else inf):
                        message = await subscription.receive()
                    if message is None or self._ends(message, delivered):
                        break
                    if client.statistics.reconnects != reconnects and heartbeat:
                        break
        except SlowConsumer:
            # More heartbeats than anybody looked at: what is dropped comes again.
            pass
        finally:
            subscription.unsubscribe()
        return delivered

    def _ends(self, message: Message, delivered: list[Delivered]) -> bool:
        """Take one message; whether no more will come."""
        status = message.status
        if not status:
            delivered.append(Delivered(self, message))
        elif status == NO_RESPONDERS:
            raise NoResponders(f"{self.stream}.{self.name}")
        elif status in {NO_MESSAGES, EXPIRED}:
            return True
        elif status != HEARTBEAT:
            text = message.description
            if not delivered and not text.lower().startswith(PASSING):
                raise ApiError(status, 0, text)
            return True
        return False
