"""What this node has told another one, and asked it: until it is acknowledged, or answered.

A message waits at the door until its receiver may have one more on the way, then for the peer's
window, then for the acknowledgement, which comes when it is in its mailbox. So nothing here is
unbounded, and a slow receiver slows those who send to it, and not the others.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from actors import ActorRef, DeadLetterReason, NodeDown
from actors.ask import Ask
from transports.encoding import envelope
from transports.nodes.allowance import MOST_IN_RUN, Allowance, Sent
from transports.nodes.asks import Asks
from transports.nodes.spawner import Spawns
from transports.nodes.watches import Stops, Watches

if TYPE_CHECKING:
    from transports.nodes.node import Node
    from transports.nodes.remote_ref import RemoteRef
    from transports.wire.session import Session

log = logging.getLogger("transports")

AT_ONCE: Final = 256
"""Messages that are written without waiting for more."""
WORDS_AT_ONCE: Final = 32
"""The same of asks, replies and control: somebody waits for them, and has much to do meanwhile."""


class Outgoing:
    """The sending side of a link, of one session after another.

    session: what carries it. wake: called when there is something to write;
    write_now: it is not to wait. give_up: called once, when the peer has to be lost, and why.
    """

    def __init__(
        self,
        node: Node,
        peer: str,
        session: Session,
        wake: Callable[[], None],
        write_now: Callable[[], None],
        give_up: Callable[[str], None],
    ) -> None:
        self.node = node
        self.peer = peer
        self.session = session
        self._counters = node.dispatcher.counters
        self._encode = node.codec.encode_value
        limits = node.limits
        self.per_target = limits.per_target
        """Messages for one receiver that may be on the way."""
        self._wake = wake
        self.write_now = write_now
        self.unwritten = 0
        self._give_up = give_up
        self._most_answers = limits.answers
        self._is_given_up = False
        self.queue: deque[tuple[bytes, Sent | None]] = deque()
        """What waits for the peer's window, in order; None: control, which is not charged."""
        self.allowance = allowance = Allowance(self)
        # The same dicts and methods, which are looked at for each message.
        self._on_the_way = allowance.on_the_way
        self._doors = allowance.doors
        self._has_room = allowance.has_room
        self._forget = allowance.forget
        self._forget_large = allowance.forget_large
        self._sent: dict[int, Sent] = {}
        # What was told since the session was last looked at, and how many more may be.
        self._run: list[bytes] = []
        self._told: list[Sent] = []
        self._left = 0
        self._share = 0
        # The sequence of each in the session, while its answer and its ACK are to come.
        self._sequences: dict[Ask, int] = {}
        self._last = 0
        self._leaving = False
        self.asks = Asks(self)
        self.watches = Watches(self)
        self.stops = Stops(self)
        self.spawns = Spawns(self)
        self.delivered = 0
        """Messages that the peer has accepted in this session."""

    # -- messages

    def tell(self, ref: RemoteRef, message: object) -> bool:
        """Send a message; False: there is no room for it now.

        Raises:
            NotEncodable: it is none that can be sent.
        """
        payload = ref.encode_tell(self._encode(message))
        target = ref.text
        on_the_way = self._on_the_way
        count = on_the_way.get(target, 0)
        if self._left <= 0 or count >= self._share or self._doors or len(payload) > MOST_IN_RUN:
            return self._tell_alone(ref, payload, message)
        self._left -= 1
        on_the_way[target] = count + 1
        counters = self._counters
        counters.at_the_door += 1
        counters.outbox += 1
        run = self._run
        run.append(payload)
        self._told.append(Sent(target, ref, message))
        if len(run) == 1:
            self._wake()
        return True

    def _tell_alone(self, ref: RemoteRef, payload: bytes, message: object) -> bool:
        """As `tell`, looking at everything; and whether those behind it need not."""
        if self._run:
            self.write_now()
            self.commit()
        if not self._has_room(ref.text, len(payload)):
            return False
        self.post(payload, Sent(ref.text, ref, message))
        if not self.queue:
            session = self.session
            credit = session.credit
            self._left = left = min(credit // 4, session.credit_bytes // MOST_IN_RUN, AT_ONCE)
            # As in `_may_have_more`, when all of these have been told.
            self._share = min(self.per_target, (credit - left) // 2)
        return True

    def commit(self) -> None:
        """Hand to the session what `tell` has gathered, which cost a session's call each."""
        self._left = 0
        run, told = self._run, self._told
        if not run:
            return
        self._run, self._told = [], []
        if not self.session.may_send:
            self.queue.extend(zip(run, told, strict=True))
            return
        first = self.session.send_run(run)
        self._sent.update(enumerate(told, first))

    def publish(self, ref: ActorRef, topic: str, body: bytes, message: object) -> bool:
        """Send what is published to a topic, once for all its subscribers there."""
        target = str(ref)
        if not self._has_room(target, len(body)):
            return False
        self.post(envelope.encode(envelope.Publish(topic, body)), Sent(target, ref, message))
        return True

    def ask(self, ref: RemoteRef, ask: Ask) -> None:
        """Send what is asked, or let it wait for room.

        Raises:
            NotEncodable: it is none that can be sent.
        """
        body = self.node.codec.encode_value(ask.message)
        if self._has_room(ref.text, len(body)):
            self.asks.post(ref, ask, body, ask.timeout)
            return
        ask.where = "waiting for room"
        self.allowance.door(ref)[ask] = body

    def post(self, payload: bytes, sent: Sent, at_once: bool = False) -> None:
        """Send a message for which there is room; at_once: nothing may follow it soon."""
        counters = self.node.dispatcher.counters
        counters.at_the_door += 1
        counters.outbox += 1
        target = sent.target
        self._on_the_way[target] = self._on_the_way.get(target, 0) + 1
        if len(payload) > MOST_IN_RUN:
            self.allowance.add_large(sent, len(payload))
        self.commit()
        session = self.session
        if self.queue or session.credit < 1:
            self.queue.append((payload, sent))
            self.flush()
            return
        self._hand_over(payload, sent)
        self._is_said(at_once)

    def _is_said(self, at_once: bool) -> None:
        """The session has something more to write: joined with what follows soon, if it may be."""
        self.unwritten = unwritten = self.unwritten + 1
        if at_once or unwritten >= WORDS_AT_ONCE:
            self.unwritten = 1
            self.write_now()
        elif unwritten == 1:
            self._wake()

    def next_number(self) -> int:
        """For what the peer is to answer."""
        self._last += 1
        return self._last

    def control(self, message: envelope.Envelope, in_order: bool = False) -> None:
        """Say something that is no message; in_order: behind the messages that wait here.

        Once this system is being left there is nothing more to say: the peer hears of that.
        """
        if not self.session.may_send or self._is_given_up:
            return
        self.commit()
        payload = envelope.encode(message)
        if len(payload) > self.session.max_payload:
            # What is bounded by nobody: many long names, where frames are small.
            log.error("to node %s: %r is too long for a frame", self.peer, type(message).__name__)
            return
        if in_order and self.queue:
            self.queue.append((payload, None))
            return
        self.session.send(payload, charged=False)
        if self.session.uncharged_bytes > self._most_answers:
            self._is_given_up = True
            self._give_up(f"it has not acknowledged {self._most_answers:,} bytes of answers")
        self._is_said(False)

    def flush(self) -> None:
        """Hand to the session what its window has room for."""
        self.commit()
        session = self.session
        while self.queue and (
            session.credit > 0 or (session.may_send and self.queue[0][1] is None)
        ):
            payload, sent = self.queue.popleft()
            if sent is None:
                session.send(payload, charged=False)
            else:
                self._hand_over(payload, sent)
        if self._leaving and session.may_send and not self.queue:
            session.close()
        self._wake()

    def _hand_over(self, payload: bytes, sent: Sent) -> None:
        number = self.session.send(payload)
        sent.written = True
        self._sent[number] = sent
        if sent.ask is not None:
            self._sequences[sent.ask] = number

    @property
    def is_owed(self) -> bool:
        """Whether the peer has not accepted something yet."""
        return bool(self.queue or self._run or self.session.unacknowledged)

    @property
    def is_leaving(self) -> bool:
        """Whether it says goodbye."""
        return self._leaving

    def leave(self) -> None:
        """Say goodbye once the last message has been handed to the session."""
        self._leaving = True
        self.flush()

    # -- what becomes of them

    def acknowledged(self) -> None:
        """The peer has accepted messages: they are in their mailboxes there."""
        counters = self.node.dispatcher.counters
        take = self._sent.pop
        done = of_one = 0
        target = ""
        for number in self.session.acknowledged():
            sent = take(number, None)
            if sent is None:
                continue
            if sent.ask is not None:
                self._sequences.pop(sent.ask, None)
            done += 1
            if sent.size:
                self._forget_large(sent)
            if sent.target is target:
                of_one += 1
                continue
            if of_one:
                self._forget(target, of_one)
            target, of_one = sent.target, 1
        if of_one:
            self._forget(target, of_one)
        counters.outbox -= done
        counters.delivered += done
        self.delivered += done
        if self.queue or self._leaving:
            self.flush()
        if self._doors:
            self.allowance.open_doors()

    def answered(self, ask: Ask) -> None:
        """An ask has its answer: it has been accepted, whatever was acknowledged."""
        sequence = self._sequences.pop(ask, None)
        if sequence is not None:
            sent = self._sent.pop(sequence)
            self._counters.outbox -= 1
            self._counters.delivered += 1
            self.delivered += 1
            self.allowance.forget_one(sent)

    def take_back(self, ask: Ask) -> bool:
        """Send an ask no more whose asker has gone. False: the session has it."""
        for place, (_, sent) in enumerate(self.queue):
            if sent is not None and sent.ask is ask:
                del self.queue[place]
                counters = self._counters
                counters.outbox -= 1
                counters.expired += 1
                self.allowance.forget_one(sent)
                self.allowance.open_doors()
                return True
        return False

    def replied(self, message: envelope.Replied) -> None:
        """A reply has come, or word that an actor has stopped, or started."""
        if not self.asks.replied(message) and not self.spawns.started(message.number):
            self.stops.stopped(message.number)

    def refused(self, message: envelope.Refused) -> None:
        """An ask has no reply, or an actor has not started."""
        if not self.spawns.refused(message):
            self.asks.refused(message)

    # -- the end

    def lost(self, down: NodeDown, for_good: bool = False) -> None:
        """The peer is lost, and with it what it had not acknowledged, and every reply.

        for_good: there is no next session, for which those who wait for room could go on waiting.
        """
        counters = self.node.dispatcher.counters
        letters = self.node.dispatcher.dead_letters
        self._is_given_up = False
        self.delivered = 0
        queued = (sent for _, sent in self.queue if sent is not None)
        left = [*self._sent.values(), *self._told, *queued]
        self._sent.clear()
        self._sequences.clear()
        self._run, self._told, self._left = [], [], 0
        self.queue.clear()
        self.allowance.forget_all()
        for sent in left:
            counters.outbox -= 1
            if sent.ask is not None and not sent.written:
                counters.rejected += 1
            else:
                # As who asked knows it: what went there may have been wrapped.
                message = sent.message if sent.ask is None else sent.ask.message
                letters.add(sent.ref, message, DeadLetterReason.PEER_LOST)
        self.asks.lost(down, {sent.ask: None for sent in left if not sent.written})
        self.stops.lost()
        self.spawns.lost(down)
        self.watches.lost(down)
        if for_good:
            self.allowance.close_doors(down)
        else:
            self.allowance.open_doors()
