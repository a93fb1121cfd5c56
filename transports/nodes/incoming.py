"""What another node tells this one: into mailboxes, and the answers back.

A message is accepted, and so acknowledged, when it is in its mailbox. If that has no room, the
message waits with the local senders, in their order, and is accepted when it gets room.
"""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, Final

from actors import (
    ActorFailed,
    ActorStopped,
    AskCycle,
    AskTimeout,
    DeadLetterReason,
    ExitReason,
    Failure,
    InvalidAddress,
    NotAskable,
    NotStreamable,
    Terminated,
)
from actors.address import Address
from actors.ask import Ask
from actors.cell import Cell
from actors.messages import reply_type
from actors.rare import SendWait
from actors.routing.topics import TopicRef
from actors.states import RUNNING
from actors.stopping import kill
from actors.waiting import PENDING, Raised
from transports.encoding import envelope
from transports.errors import DecodeError, NotEncodable
from transports.nodes.outgoing import Outgoing
from transports.nodes.reports import plain, text_of, trace_of
from transports.nodes.streaming import RemoteSink
from transports.wire.inbound import Delivery
from transports.wire.session import Session

if TYPE_CHECKING:
    from transports.nodes.node import Node

log = logging.getLogger("transports")


MOST_OF_CHAIN: Final = 16_000
"""Characters of the addresses in one frame: it fits into the smallest."""

_REASONS: Final = {reason.value: reason for reason in (ExitReason.SHUTDOWN, ExitReason.KILLED)}


class Answer:
    """Stands where an ask keeps who waits for it, and sends its outcome to the asker's node."""

    __slots__ = ("_dispatcher", "ask", "incoming", "number")

    def __init__(self, incoming: Incoming, number: int, ask: Ask) -> None:
        self.incoming = incoming
        self.number = number
        self.ask = ask
        self._dispatcher = self
        ask.waits = self  # type: ignore[assignment] # as a cell that waits

    def enqueue(self, _: object) -> None:
        """The ask has its outcome. (As a dispatcher, for a cell that waits.)"""
        self.incoming.answered(self)

    def leave(self) -> None:
        """Nobody waits for it any more."""
        self.ask.abandoned()
        self.ask.waits = None


class Parked(SendWait):
    """A message from another node that waits for room in a mailbox, with the local senders."""

    __slots__ = ("incoming", "sequence")

    def __init__(self, incoming: Incoming, cell: Cell, item: object, sequence: int) -> None:
        super().__init__(cell, item, comes_back=True)
        self.incoming = incoming
        self.sequence = sequence
        # Whoever gives room looks whether somebody waits.
        self.waits = cell

    def resolve(self, value: Any = None) -> bool:
        """It has room, or its actor stops first."""
        if self.value is not PENDING:
            return False
        self.value = value
        self.waits = None
        item = self.message
        if value.__class__ is Raised:
            assert self.holder is not None
            self.incoming.no_actor(self.holder, item, DeadLetterReason.STOPPED)
        elif isinstance(item, Ask):
            item.where = "queued"
        self.incoming.accepted(self.sequence)
        return True


class RemoteWatcher:
    """A watcher on another node: what `watching.notify` needs of a cell."""

    __slots__ = ("_dispatcher", "_idle", "_rare", "incoming", "path", "watched")

    def __init__(self, incoming: Incoming, path: str, watched: Cell) -> None:
        self.incoming = incoming
        self.path = path
        self.watched = watched
        self._idle = True
        self._rare = None
        self._dispatcher = watched._dispatcher

    def _closed(self) -> bool:
        return False

    def tell(self, notice: Terminated) -> None:
        """The watched actor's incarnation has ended."""
        self.incoming.watch_ended(self, notice)


class StopAnswer:
    """Somebody on another node waits for the end of an actor."""

    __slots__ = ("cell", "incoming", "number", "path")

    def __init__(self, incoming: Incoming, number: int, path: str, cell: Cell) -> None:
        self.incoming = incoming
        self.number = number
        self.path = path
        self.cell = cell
        cell._on_stop(self.say)

    def say(self) -> None:
        """It has stopped for good."""
        self.incoming.has_stopped(self)

    def leave(self) -> None:
        """Nobody waits for it any more."""
        rare = self.cell._rare
        if rare is not None and self.say in rare.cleanups:
            rare.cleanups.remove(self.say)


class Incoming:
    """The receiving side of a link, for the life of one session."""

    in_place: ClassVar[bool] = True
    """Whether messages may be put into mailboxes without `_put`, where that has nothing to do."""

    def __init__(self, node: Node, peer: str, session: Session, outgoing: Outgoing) -> None:
        self._node = node
        self._decode = node.codec.decode_value
        self._peer = peer
        self._session = session
        self._outgoing = outgoing
        self._answers: dict[int, Answer | RemoteSink] = {}
        self._watchers: dict[str, RemoteWatcher] = {}
        self.spawned: dict[Cell, None] = {}
        """The actors that the peer has spawned here, and that are alive."""
        self._stops: dict[str, StopAnswer] = {}
        self._stop_paths: dict[int, str] = {}
        self._over = False
        self.received = 0
        """Messages delivered so far: what the peer has sent of the ledger's."""

    def deliver(self, delivery: Delivery) -> None:
        """Take what the session has delivered.

        Raises:
            DecodeError: it is no envelope; the connection is to be closed.
        """
        sequence, count = delivery.sequence, delivery.count
        try:
            if count == 1:
                messages = [envelope.decode(delivery.payload)]
            else:
                messages = envelope.decode_many(delivery.payload, count)
            for message in messages:
                if (message.__class__ in envelope.CHARGED) is not delivery.charged:
                    raise DecodeError("$", f"{type(message).__name__}: wrongly charged")
            if not delivery.charged:
                for message in messages:
                    self._hear(message)
        except DecodeError:
            # It is not written again: nothing of it would be better the next time.
            self.accepted(sequence, count)
            raise
        if delivery.charged:
            self.received += count
            self._take(messages, sequence)
        else:
            self.accepted(sequence, count, lazily=True)

    def _take(self, messages: list[Any], sequence: int) -> None:
        """Put messages into mailboxes; those that follow one another there are accepted at once."""
        first = sequence
        end = sequence + len(messages)
        lazily = True
        cells: dict[str, Cell | None] = {}
        try:
            for message in messages:
                kind = message.__class__
                if kind is envelope.Tell:
                    lazily = False
                    is_in = self._tell(message, sequence, cells)
                elif kind is envelope.Publish:
                    lazily = False
                    self._publish(message)
                    is_in = True
                else:
                    is_in = self._asked(message, sequence, cells, len(messages) == 1)
                if not is_in:
                    if first < sequence:
                        self.accepted(first, sequence - first)
                    first = sequence + 1
                sequence += 1
        except DecodeError:
            self.accepted(first, end - first)
            raise
        if first < sequence:
            # The reply to an ask will soon tell the peer as well.
            self.accepted(first, sequence - first, lazily)

    def _hear(self, message: Any) -> None:
        """Take what is no message for an actor."""
        match message:
            case envelope.Replied():
                self._outgoing.replied(message)
            case envelope.Item():
                self._outgoing.asks.item(message)
            case envelope.StreamEnded():
                self._outgoing.asks.stream_ended(message)
            case envelope.Granted():
                sink = self._answers.get(message.number)
                if isinstance(sink, RemoteSink) and message.items > 0:
                    sink.grant(message.items)
            case envelope.Refused():
                self._outgoing.refused(message)
            case envelope.Cancelled():
                self._cancelled(message)
            case envelope.Watch():
                self.watch(message.path)
            case envelope.Unwatch():
                self._unwatch(message.path)
            case envelope.Ended():
                self._outgoing.watches.ended(message)
            case envelope.Stop():
                cell = self._find(message.path)
                if cell is not None:
                    cell._stop_as(_REASONS.get(message.reason, ExitReason.NORMAL))
            case envelope.Spawn():
                self._node.spawnable.spawn(self, message)
            case envelope.AwaitStop():
                self._await_stop(message)
            case envelope.Probe():
                self._node.probe(message.chain)
            case _:
                self._node.directory.heard(self._peer, message)

    def accepted(self, sequence: int, count: int = 1, lazily: bool = False) -> None:
        """Acknowledge messages, unless the session is over; lazily: with what is said next."""
        if not self._over:
            self._session.accepted(sequence, count, lazily)
            if not lazily:
                self._node.wake(self._peer)

    def _find(self, path: str) -> Cell | None:
        return self._node.system._find(Address("actor", self._node.system.name, path))

    # -- messages

    def _tell(self, message: envelope.Tell, sequence: int, cells: dict[str, Cell | None]) -> bool:
        """As `_put`. cells: those that were found for the messages before it."""
        target = message.target
        try:
            item = self._decode(message.body)
        except DecodeError as error:
            log.warning("from node %s to %s: %s", self._peer, target, error)
            self._dead(target, message.body, DeadLetterReason.UNREADABLE)
            return True
        try:
            cell = cells[target]
        except KeyError:
            cell = cells[target] = self._find(target)
        if cell is None:
            self._dead(target, item, DeadLetterReason.NO_ACTOR)
            return True
        queue = cell._queue
        if queue is not None and self.in_place and cell.told_in_place and len(queue) < cell._room:
            queue.append(item)
            return True
        return self._put(cell, item, sequence)

    def _dead(self, target: str, message: object, reason: DeadLetterReason) -> None:
        dispatcher = self._node.dispatcher
        try:
            ref = self._node.ref_of(f"actor://{self._node.system.name}/{target}")
        except InvalidAddress as error:
            raise DecodeError("$.target", str(error)) from error
        dispatcher.counters.at_the_door += 1
        dispatcher.dead_letters.add(ref, message, reason)

    def _put(self, cell: Cell, item: object, sequence: int) -> bool:
        """Put it into a mailbox; False: it waits for room there, and is accepted later."""
        if (
            cell._idle
            or cell._has_room()
            or cell._closed()
            or cell._traits.cls.mailbox.overflow != "reject"
        ):
            if item.__class__ is Ask:
                cell._put_ask(item)
            else:
                cell.tell(item)
            return True
        if isinstance(item, Ask):
            item.where = "waiting for room there"
        cell._rare_part().senders[Parked(self, cell, item, sequence)] = None
        cell._plain = None
        return False

    def no_actor(self, cell: Cell, item: object, reason: DeadLetterReason) -> None:
        """The actor stopped before a message had room in its mailbox."""
        counters = cell._dispatcher.counters
        counters.at_the_door += 1
        if isinstance(item, Ask):
            counters.rejected += 1
            item.stopped("it stopped before it had room")
        else:
            cell._dispatcher.dead_letters.add(cell, item, reason)

    def _asked(
        self,
        message: envelope.Asked | envelope.Streamed,
        sequence: int,
        cells: dict[str, Cell | None],
        alone: bool,
    ) -> bool:
        """As `_tell`, of what is asked; alone: nothing came with it."""
        node = self._node
        counters = node.dispatcher.counters
        try:
            item = self._decode(message.body)
        except DecodeError as error:
            counters.at_the_door += 1
            counters.rejected += 1
            self._refuse(message.number, "unreadable", str(error))
            return True
        try:
            cell = cells[message.target]
        except KeyError:
            cell = cells[message.target] = self._find(message.target)
        if cell is None:
            counters.at_the_door += 1
            counters.rejected += 1
            self._refuse(message.number, "stopped", "no actor lives at that address")
            return True
        if isinstance(message, envelope.Streamed):
            ask = Ask(item, None, cell, inf, None)
            sink = RemoteSink(self, message.number, message.credit, ask)
            self._answers[message.number] = sink
        else:
            now = node.dispatcher.timers.clock()
            end = inf if message.remaining is None else now + message.remaining
            ask = Ask(item, None, cell, end, message.remaining)
            answer = self._answers[message.number] = Answer(self, message.number, ask)
            # A plain handler cannot wait, so it runs right here, and no task has to be switched.
            # (Of many, the dispatcher gives way to others in time.)
            if alone and cell.told_in_place and node.dispatcher.handle_now(cell, ask):
                if ask.value is not PENDING:
                    self.answered(answer)
                return True
        is_in = self._put(cell, ask, sequence)
        if message.asker and ask.value is PENDING:
            node.probe((message.asker, str(cell)))
        return is_in

    def _refuse(self, number: int, kind: str, text: str, **more: Any) -> None:
        self._outgoing.control(envelope.Refused(number, kind, plain(text), **more))

    def answered(self, answer: Answer) -> None:
        """An actor has answered, or will not."""
        if self._answers.pop(answer.number, None) is None or self._over:
            return
        self._answer(answer)
        if not self._answers:
            # Nothing will follow soon with which it could be joined.
            self._outgoing.write_now()

    def _answer(self, answer: Answer) -> None:
        value = answer.ask.value
        if value.__class__ is not Raised:
            kind = reply_type(type(answer.ask.message))
            try:
                body = self._node.codec.encode_value(value, kind)
            except NotEncodable as error:
                self._refuse(answer.number, "failed", f"its reply: {error}", started=True)
                return
            self._outgoing.control(envelope.Replied(answer.number, body))
            return
        self._refuse_for(answer.number, value.error)

    def _refuse_for(self, number: int, error: BaseException) -> None:
        match error:
            case ActorFailed():
                cause = error.cause
                self._refuse(number, "failed", text_of(cause), started=True, trace=trace_of(cause))
            case ActorStopped():
                why = str(error.reason)
                self._refuse(number, "stopped", why, started=error.started)
            case AskTimeout():
                self._refuse(number, "timeout", error.where)
            case AskCycle():
                chain = tuple(str(ref) for ref in error.chain)
                if sum(map(len, chain)) > MOST_OF_CHAIN:
                    chain = ()
                self._refuse(number, "cycle", str(error), chain=chain)
            case NotAskable() | NotStreamable():
                self._refuse(number, "not askable", str(error))
            case _:
                self._refuse(number, "failed", text_of(error), started=True)

    def send_item(self, number: int, item: Any, kind: Any) -> None:
        """Send an item of a stream.

        Raises:
            NotEncodable: it has no form on the wire.
        """
        body = self._node.codec.encode_value(item, kind)
        if not self._over:
            self._outgoing.control(envelope.Item(number, body))

    def stream_ended(self, sink: RemoteSink, error: BaseException | None) -> None:
        """A stream has come to its end, or failed."""
        if self._answers.pop(sink.number, None) is None or self._over:
            return
        if error is None:
            self._outgoing.control(envelope.StreamEnded(sink.number))
        else:
            self._refuse_for(sink.number, error)

    def _cancelled(self, message: envelope.Cancelled) -> None:
        answer = self._answers.pop(message.number, None)
        if answer is not None:
            answer.leave()
            return
        path = self._stop_paths.pop(message.number, None)
        stop = None if path is None else self._stops.pop(path, None)
        if stop is not None:
            stop.leave()

    def _publish(self, message: envelope.Publish) -> None:
        try:
            ref = self._node.system.at(f"topic://{message.topic}")
        except ValueError as error:
            log.warning("from node %s to topic %s: %s", self._peer, message.topic, error)
            return
        assert isinstance(ref, TopicRef)
        try:
            item = self._node.codec.decode_value(message.body)
        except DecodeError as error:
            log.warning("from node %s to topic %s: %s", self._peer, message.topic, error)
            self._node.dispatcher.counters.at_the_door += 1
            reason = DeadLetterReason.UNREADABLE
            self._node.dispatcher.dead_letters.add(ref, message.body, reason)
            return
        if not ref.publish_here(item).matched:
            # The last subscriber went while it was on its way.
            ref._nobody(item)

    # -- watching and stopping

    def watch(self, path: str) -> None:
        """Tell the peer when the incarnation ends that is at this path now."""
        if path in self._watchers:
            return
        cell = self._find(path)
        if cell is None:
            self._outgoing.control(envelope.Ended(path, ExitReason.NO_ACTOR.value))
            return
        watcher = self._watchers[path] = RemoteWatcher(self, path, cell)
        cell._rare_part().watchers[watcher] = None  # type: ignore[index] # all that notify() needs

    def _unwatch(self, path: str) -> None:
        watcher = self._watchers.pop(path, None)
        if watcher is not None and watcher.watched._rare is not None:
            watcher.watched._rare.watchers.pop(watcher, None)  # type: ignore[call-overload]

    def watch_ended(self, watcher: RemoteWatcher, notice: Terminated) -> None:
        """Tell the other node."""
        if self._watchers.pop(watcher.path, None) is None or self._over:
            return
        reason = notice.reason
        if isinstance(reason, Failure):
            error = reason.exception
            ended = envelope.Ended(watcher.path, "failed", text_of(error), trace_of(error))
            self._outgoing.control(ended)
        elif watcher.watched in self.spawned and self._node.system._root._state is not RUNNING:
            # It did nothing to end; and who has spawned it is to spawn it elsewhere.
            self._outgoing.control(envelope.Ended(watcher.path, "node down", "it is being left"))
        else:
            self._outgoing.control(envelope.Ended(watcher.path, str(reason)))

    def _await_stop(self, message: envelope.AwaitStop) -> None:
        cell = self._find(message.path)
        known = self._stops.get(message.path)
        if cell is None:
            self._say_stopped(message.number)
        elif known is not None:
            # One for each actor, however often it is asked: the newest is answered.
            self._stop_paths.pop(known.number, None)
            known.number = message.number
            self._stop_paths[message.number] = message.path
        else:
            self._stops[message.path] = StopAnswer(self, message.number, message.path, cell)
            self._stop_paths[message.number] = message.path

    def has_stopped(self, answer: StopAnswer) -> None:
        """An actor that a peer waits for has stopped."""
        self._stop_paths.pop(answer.number, None)
        self._stops.pop(answer.path, None)
        self._say_stopped(answer.number)

    def _say_stopped(self, number: int) -> None:
        if not self._over:
            body = self._node.codec.encode_value(None)
            self._outgoing.control(envelope.Replied(number, body))

    # -- actors that the peer spawns here

    def has_started(self, number: int) -> None:
        """An actor has started whose start the peer waits for."""
        if not self._over:
            body = self._node.codec.encode_value(None)
            self._outgoing.control(envelope.Replied(number, body))

    def not_started(self, number: int, kind: str, text: str, trace: str) -> None:
        """It has not, and will not."""
        if not self._over:
            self._refuse(number, kind, text, trace=trace)

    def never_was(self, path: str, text: str, trace: str) -> None:
        """Nobody could be spawned there: for who watches it, it has failed."""
        self._outgoing.control(envelope.Ended(path, "failed", text, trace))

    # -- the end

    def lost(self) -> None:
        """The peer is lost: nobody there waits for an answer any more.

        What it has spawned here is killed: it would spawn the like elsewhere, and two would live.
        """
        self._over = True
        for cell in tuple(self.spawned):
            kill(cell)
        answers, self._answers = self._answers, {}
        for answer in answers.values():
            answer.leave()
        for path in tuple(self._watchers):
            self._unwatch(path)
        stops, self._stops = self._stops, {}
        for stop in stops.values():
            stop.leave()
