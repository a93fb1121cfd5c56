"""What a peer has asked here, streams too: until its answer is sent, or nobody waits for it.

An `Answer` stands where an ask keeps the cell that waits for it. So whatever ends an ask in one
process ends one of another node.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Final

from actors import (
    ActorFailed,
    ActorStopped,
    AskCycle,
    AskTimeout,
    NotAskable,
    NotStreamable,
)
from actors.ask import Ask
from actors.cell import Cell
from actors.messages import reply_type
from actors.waiting import PENDING, Raised
from transports.encoding import envelope
from transports.errors import DecodeError, NotEncodable
from transports.nodes.reports import plain, text_of, trace_of
from transports.nodes.streaming import RemoteSink

if TYPE_CHECKING:
    from transports.nodes.incoming import Incoming
    from transports.nodes.outgoing import Outgoing

MOST_OF_CHAIN: Final = 16_000
"""Characters of the addresses in one frame: it fits into the smallest."""


class Answer:
    """Stands where an ask keeps who waits for it, and sends its outcome to the asker's node."""

    __slots__ = ("_answers", "_dispatcher", "ask", "number")

    def __init__(self, answers: Answers, number: int, ask: Ask) -> None:
        self._answers = answers
        self.number = number
        self.ask = ask
        self._dispatcher = self
        ask.waits = self  # type: ignore[assignment] # as a cell that waits

    def enqueue(self, _: object) -> None:
        """The ask has its outcome. (As a dispatcher, for a cell that waits.)"""
        self._answers.answered(self)

    def leave(self) -> None:
        """Nobody waits for it any more."""
        self.ask.abandoned()
        self.ask.waits = None


class Answers:
    """What one peer has asked here, in one session. open: what is to be answered, by number."""

    def __init__(self, incoming: Incoming, outgoing: Outgoing) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._node = node = outgoing.node
        self._decode = node.codec.decode_value
        self.open: dict[int, Answer | RemoteSink] = {}

    def asked(
        self,
        message: envelope.Asked | envelope.Streamed,
        sequence: int,
        cells: dict[str, Cell | None],
        alone: bool,
    ) -> bool:
        """Take what is asked; see `Incoming._tell`. alone: nothing came with it."""
        incoming, node = self._incoming, self._node
        counters = node.dispatcher.counters
        try:
            item = self._decode(message.body)
        except DecodeError as error:
            counters.at_the_door += 1
            counters.rejected += 1
            self.refuse(message.number, "unreadable", str(error))
            return True
        try:
            cell = cells[message.target]
        except KeyError:
            cell = cells[message.target] = incoming.find(message.target)
        if cell is None:
            counters.at_the_door += 1
            counters.rejected += 1
            self.refuse(message.number, "stopped", "no actor lives at that address")
            return True
        if isinstance(message, envelope.Streamed):
            ask = Ask(item, None, cell, inf, None)
            sink = RemoteSink(self, message.number, message.credit, ask)
            self.open[message.number] = sink
        else:
            now = node.dispatcher.timers.clock()
            end = inf if message.remaining is None else now + message.remaining
            ask = Ask(item, None, cell, end, message.remaining)
            answer = self.open[message.number] = Answer(self, message.number, ask)
            # A plain handler cannot wait, so it runs right here, and no task has to be switched.
            # (Of many, the dispatcher gives way to others in time.)
            if alone and cell.told_in_place and node.dispatcher.handle_now(cell, ask):
                if ask.value is not PENDING:
                    self.answered(answer)
                return True
        is_in = incoming.put(cell, ask, sequence)
        if message.asker and ask.value is PENDING:
            node.probes.follow((message.asker, str(cell)))
        return is_in

    def refuse(self, number: int, kind: str, text: str, **more: Any) -> None:
        """Say that an ask has no reply, or that something has not started."""
        self._outgoing.control(envelope.Refused(number, kind, plain(text), **more))

    def answered(self, answer: Answer) -> None:
        """An actor has answered, or will not."""
        if self.open.pop(answer.number, None) is None or self._incoming.is_over:
            return
        self._answer(answer)
        if not self.open:
            # Nothing will follow soon with which it could be joined.
            self._outgoing.write_now()

    def _answer(self, answer: Answer) -> None:
        value = answer.ask.value
        if value.__class__ is not Raised:
            kind = reply_type(type(answer.ask.message))
            try:
                body = self._node.codec.encode_value(value, kind)
            except NotEncodable as error:
                self.refuse(answer.number, "failed", f"its reply: {error}", started=True)
                return
            self._outgoing.control(envelope.Replied(answer.number, body))
            return
        self._refuse_for(answer.number, value.error)

    def _refuse_for(self, number: int, error: BaseException) -> None:
        match error:
            case ActorFailed():
                cause = error.cause
                self.refuse(number, "failed", text_of(cause), started=True, trace=trace_of(cause))
            case ActorStopped():
                why = str(error.reason)
                self.refuse(number, "stopped", why, started=error.started)
            case AskTimeout():
                self.refuse(number, "timeout", error.where)
            case AskCycle():
                chain = tuple(str(ref) for ref in error.chain)
                if sum(map(len, chain)) > MOST_OF_CHAIN:
                    chain = ()
                self.refuse(number, "cycle", str(error), chain=chain)
            case NotAskable() | NotStreamable():
                self.refuse(number, "not askable", str(error))
            case _:
                self.refuse(number, "failed", text_of(error), started=True)

    def send_item(self, number: int, item: Any, kind: Any) -> None:
        """Send an item of a stream.

        Raises:
            NotEncodable: it has no form on the wire.
        """
        body = self._node.codec.encode_value(item, kind)
        if not self._incoming.is_over:
            self._outgoing.control(envelope.Item(number, body))

    def stream_ended(self, sink: RemoteSink, error: BaseException | None) -> None:
        """A stream has come to its end, or failed."""
        if self.open.pop(sink.number, None) is None or self._incoming.is_over:
            return
        if error is None:
            self._outgoing.control(envelope.StreamEnded(sink.number))
        else:
            self._refuse_for(sink.number, error)

    def granted(self, message: envelope.Granted) -> None:
        """The consumer of a stream has room for more."""
        sink = self.open.get(message.number)
        if isinstance(sink, RemoteSink) and message.items > 0:
            sink.grant(message.items)

    def cancelled(self, number: int) -> bool:
        """Nobody waits for an answer any more. False: this was the number of something else."""
        answer = self.open.pop(number, None)
        if answer is not None:
            answer.leave()
        return answer is not None

    def lost(self) -> None:
        """The peer is lost: nobody there waits."""
        answers, self.open = self.open, {}
        for answer in answers.values():
            answer.leave()
