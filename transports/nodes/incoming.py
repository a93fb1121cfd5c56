"""What another node tells this one: into mailboxes, and the answers back.

A message is accepted, and so acknowledged, when it is in its mailbox. If that has no room, the
message waits with the local senders, in their order, and is accepted when it gets room.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar, Final

from actors import DeadLetterReason, ExitReason, InvalidAddress
from actors.address import Address
from actors.ask import Ask
from actors.cell import Cell
from actors.rare import SendWait
from actors.routing.topics import TopicRef
from actors.stopping import kill
from actors.waiting import PENDING, Raised
from transports.encoding import envelope
from transports.errors import DecodeError
from transports.nodes.answers import Answers
from transports.nodes.outgoing import Outgoing
from transports.nodes.watched import AwaitedStops, Watched
from transports.wire.inbound import Delivery
from transports.wire.session import Session

if TYPE_CHECKING:
    from transports.nodes.node import Node

log = logging.getLogger("transports")


_REASONS: Final = {reason.value: reason for reason in (ExitReason.SHUTDOWN, ExitReason.KILLED)}


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


class Incoming:
    """The receiving side of a link, for the life of one session."""

    in_place: ClassVar[bool] = True
    """Whether messages may be put into mailboxes without `put`, where that has nothing to do."""

    def __init__(self, node: Node, peer: str, session: Session, outgoing: Outgoing) -> None:
        self._node = node
        self._decode = node.codec.decode_value
        self._peer = peer
        self._session = session
        self._outgoing = outgoing
        self.answers = Answers(self, outgoing)
        self._asked = self.answers.asked
        self.watched = Watched(self, outgoing)
        self.stops = AwaitedStops(self, outgoing)
        self.spawned: dict[Cell, None] = {}
        """The actors that the peer has spawned here, and that are alive."""
        self.is_over = False
        """Whether the session is: then nothing is answered any more."""
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
                self.answers.granted(message)
            case envelope.Refused():
                self._outgoing.refused(message)
            case envelope.Cancelled():
                if not self.answers.cancelled(message.number):
                    self.stops.cancelled(message.number)
            case envelope.Watch():
                self.watched.watch(message.path)
            case envelope.Unwatch():
                self.watched.unwatch(message.path)
            case envelope.Ended():
                self._outgoing.watches.ended(message)
            case envelope.Stop():
                cell = self.find(message.path)
                if cell is not None:
                    cell._stop_as(_REASONS.get(message.reason, ExitReason.NORMAL))
            case envelope.Spawn():
                self._node.spawnable.spawn(self, message)
            case envelope.AwaitStop():
                self.stops.await_stop(message)
            case envelope.Probe():
                self._node.probes.follow(message.chain)
            case _:
                self._node.directory.heard(self._peer, message)

    def accepted(self, sequence: int, count: int = 1, lazily: bool = False) -> None:
        """Acknowledge messages, unless the session is over; lazily: with what is said next."""
        if not self.is_over:
            self._session.accepted(sequence, count, lazily)
            if not lazily:
                self._node.wake(self._peer)

    def find(self, path: str) -> Cell | None:
        """The actor at a path here."""
        return self._node.system._find(Address("actor", self._node.system.name, path))

    # -- messages

    def _tell(self, message: envelope.Tell, sequence: int, cells: dict[str, Cell | None]) -> bool:
        """As `put`. cells: those that were found for the messages before it."""
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
            cell = cells[target] = self.find(target)
        if cell is None:
            self._dead(target, item, DeadLetterReason.NO_ACTOR)
            return True
        queue = cell._queue
        if queue is not None and self.in_place and cell.told_in_place and len(queue) < cell._room:
            queue.append(item)
            return True
        return self.put(cell, item, sequence)

    def _dead(self, target: str, message: object, reason: DeadLetterReason) -> None:
        dispatcher = self._node.dispatcher
        try:
            ref = self._node.ref_of(f"actor://{self._node.system.name}/{target}")
        except InvalidAddress as error:
            raise DecodeError("$.target", str(error)) from error
        dispatcher.counters.at_the_door += 1
        dispatcher.dead_letters.add(ref, message, reason)

    def put(self, cell: Cell, item: object, sequence: int) -> bool:
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

    # -- actors that the peer spawns here

    def has_started(self, number: int) -> None:
        """An actor has started whose start the peer waits for."""
        if not self.is_over:
            body = self._node.codec.encode_value(None)
            self._outgoing.control(envelope.Replied(number, body))

    def not_started(self, number: int, kind: str, text: str, trace: str) -> None:
        """It has not, and will not."""
        if not self.is_over:
            self.answers.refuse(number, kind, text, trace=trace)

    def never_was(self, path: str, text: str, trace: str) -> None:
        """Nobody could be spawned there: for who watches it, it has failed."""
        self._outgoing.control(envelope.Ended(path, "failed", text, trace))

    # -- the end

    def lost(self) -> None:
        """The peer is lost: nobody there waits for an answer any more.

        What it has spawned here is killed: it would spawn the like elsewhere, and two would live.
        """
        self.is_over = True
        for cell in tuple(self.spawned):
            kill(cell)
        self.answers.lost()
        self.watched.lost()
        self.stops.lost()
