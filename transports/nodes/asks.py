"""What this node has asked a peer, streams too: until the answer has come, or cannot come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors import (
    ActorFailed,
    ActorStopped,
    AskCycle,
    AskTimeout,
    NodeDown,
    NotAskable,
    NotStreamable,
)
from actors.address import MOST as MOST_OF_ADDRESS
from actors.ask import Ask
from actors.messages import reply_type
from actors.sinks import END
from actors.streams import Channel
from actors.waiting import PENDING, Raised
from transports.encoding import envelope
from transports.errors import DecodeError, NotEncodable, RemoteFailure
from transports.nodes.allowance import Sent
from transports.nodes.streaming import RemoteRoom

if TYPE_CHECKING:
    from transports.nodes.outgoing import Outgoing
    from transports.nodes.remote_ref import RemoteRef


class Asks:
    """The asks that one peer is to answer, by the number under which it does.

    by_number: those that wait. numbers: the number of each.
    """

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing
        self._where = f"sent to node {outgoing.peer}"
        self.by_number: dict[int, Ask] = {}
        self.numbers: dict[Ask, int] = {}
        self.streams: dict[int, RemoteRoom] = {}

    def post(self, ref: RemoteRef, ask: Ask, body: bytes, remaining: float | None) -> None:
        """Send what is asked, for which there is room; remaining: seconds."""
        outgoing = self._outgoing
        number = outgoing.next_number()
        self.by_number[number] = ask
        self.numbers[ask] = number
        ask.where = self._where
        asker = "" if ask.asker is None else str(ask.asker)
        if len(asker) > MOST_OF_ADDRESS:
            asker = ""  # So deep in a tree that no address leads there.
        asked: envelope.Envelope
        channel: object = ask.waits
        if isinstance(channel, Channel):
            room = RemoteRoom(outgoing, channel, number, ask.message)
            self.streams[number] = room
            channel._room = room  # type: ignore[assignment] # where a producer here would wait
            asked = envelope.Streamed(number, ref.address.path, channel.size, asker, body)
        else:
            asked = envelope.Asked(number, ref.address.path, remaining, asker, body)
        # If nobody else waits, there are no others with which it could be joined.
        at_once = len(self.by_number) == 1
        outgoing.post(envelope.encode(asked), Sent(ref.text, ref, ask.message, ask), at_once)

    # -- what is answered

    def replied(self, message: envelope.Replied) -> bool:
        """A reply has come. False: this was the number of something else."""
        ask = self._answered(message.number)
        if ask is None:
            return False
        request = type(ask.message)
        try:
            codec = self._outgoing.node.codec
            value = codec.decode_value(message.body, reply_type(request))
        except DecodeError as error:
            why = f"the reply is not what {request.__name__} says that it is: {error.why}"
            ask.failed(DecodeError(error.path, why))
            return True
        except NotEncodable as error:
            ask.failed(error)
            return True
        ask.answer(value)
        return True

    def item(self, message: envelope.Item) -> None:
        """An item of a stream has come.

        Raises:
            DecodeError: it was not granted.
        """
        room = self.streams.get(message.number)
        if room is None:
            return
        try:
            room.item(message.body)
        except (DecodeError, NotEncodable) as error:
            ask = self._take(message.number)
            self._outgoing.control(envelope.Cancelled(message.number))
            if ask is not None:
                ask.failed(error)

    def stream_ended(self, message: envelope.StreamEnded) -> None:
        """A stream has come to its end."""
        ask = self._take(message.number)
        if ask is not None:
            ask.answer(END)

    def refused(self, message: envelope.Refused) -> None:
        """An ask has no reply."""
        ask = self._answered(message.number)
        if ask is not None:
            is_stream = isinstance(ask.waits, Channel)
            ask.answer(Raised(self._error(ask, message, is_stream)))

    def _error(self, ask: Ask, message: envelope.Refused, is_stream: bool) -> Exception:
        ref = ask.holder
        if message.kind == "stopped":
            return ActorStopped(ref, ask.message, message.text, started=message.started)
        if message.kind == "timeout":
            return AskTimeout(ref, ask.message, ask.timeout or 0.0, message.text)
        if message.kind == "cycle":
            return AskCycle(self._outgoing.node.refs_of(message.chain))
        if message.kind == "not askable":
            return NotStreamable(ref, message.text) if is_stream else NotAskable(ref, message.text)
        failure = RemoteFailure(self._outgoing.peer, message.text, message.trace)
        return ActorFailed(ref, ask.message, failure)

    def _take(self, number: int) -> Ask | None:
        ask = self.by_number.pop(number, None)
        if self.streams:
            self.streams.pop(number, None)
        if ask is not None:
            self.numbers.pop(ask, None)
        return ask

    def _answered(self, number: int) -> Ask | None:
        """The ask that an answer is for. It has been accepted, then, whatever was acknowledged."""
        ask = self._take(number)
        if ask is not None:
            self._outgoing.answered(ask)
        return ask

    # -- what has no answer

    def asker_gone(self, ask: Ask) -> None:
        """The asker was cancelled, or its time is up: the other node need not go on."""
        outgoing = self._outgoing
        if outgoing.allowance.leave_door(ask):
            counters = outgoing.node.dispatcher.counters
            counters.at_the_door += 1
            counters.rejected += 1
            return
        number = self.numbers.pop(ask, None)
        if number is None:
            return
        del self.by_number[number]
        self.streams.pop(number, None)
        if not outgoing.take_back(ask):
            outgoing.control(envelope.Cancelled(number))

    def fail_wait(self, ask: Ask, chain: list[str]) -> None:
        """A circle of asks was found: end this one."""
        number = self.numbers.get(ask)
        if number is not None and ask.value is PENDING:
            self._take(number)
            ask.answer(Raised(AskCycle(self._outgoing.node.refs_of(chain))))
            self._outgoing.control(envelope.Cancelled(number))

    def lost(self, down: NodeDown, never_written: dict[Ask | None, None]) -> None:
        """The peer is lost, and with it every reply; never_written: what it cannot have heard."""
        asks, self.by_number = self.by_number, {}
        self.numbers.clear()
        self.streams.clear()
        for ask in asks.values():
            started = ask not in never_written
            why = f"its node {self._outgoing.peer} was lost: {down.why}"
            ask.answer(Raised(ActorStopped(ask.holder, ask.message, why, started=started)))
