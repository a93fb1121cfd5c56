"""What this node has told another one, and asked it: until it is acknowledged, or answered.

A message waits at the door until its receiver may have one more on the way, then for the peer's
window, then for the acknowledgement, which comes when it is in its mailbox. So nothing here is
unbounded, and a slow receiver slows those who send to it, and not the others.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from actors import (
    ActorFailed,
    ActorRef,
    ActorStopped,
    AskCycle,
    AskTimeout,
    DeadLetterReason,
    ExitReason,
    NodeDown,
    NotAskable,
    NotStreamable,
)
from actors.address import MOST as MOST_OF_ADDRESS
from actors.ask import Ask
from actors.messages import reply_type
from actors.sinks import END
from actors.streams import Channel
from actors.waiting import PENDING, Raised, Waiter
from transports.encoding import envelope
from transports.errors import DecodeError, NotEncodable, RemoteFailure
from transports.nodes.spawner import Spawns
from transports.nodes.streaming import RemoteRoom
from transports.nodes.waits import Door, Sent, StopWait

if TYPE_CHECKING:
    from transports.nodes.node import Node
    from transports.nodes.remote_ref import RemoteRef
    from transports.wire.session import Session

log = logging.getLogger("transports")

AT_ONCE: Final = 256
"""Messages that are written without waiting for more."""
WORDS_AT_ONCE: Final = 32
"""The same of asks, replies and control: somebody waits for them, and has much to do meanwhile."""
LEAST: Final = 64
"""Messages that may be on the way to any receiver, however little room its peer's window has."""
MOST_IN_RUN: Final = 1 << 10
"""Bytes of a message that is gathered with others before the session has it."""


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
        self._where = f"sent to node {peer}"
        limits = node.limits
        self.per_target = limits.per_target
        """Messages for one receiver that may be on the way."""
        self._wake = wake
        self.write_now = write_now
        self.unwritten = 0
        self._give_up = give_up
        self._capacity = limits.outbox
        self._most_answers = limits.answers
        self._is_given_up = False
        self._on_the_way: dict[str, int] = {}
        # Bytes of the large ones among these.
        self._large: dict[str, int] = {}
        self._all_large = 0
        self._doors: dict[str, tuple[ActorRef, OrderedDict[Any, bytes]]] = {}
        self._queue: deque[tuple[bytes, Sent | None]] = deque()
        self._sent: dict[int, Sent] = {}
        # What was told since the session was last looked at, and how many more may be.
        self._run: list[bytes] = []
        self._told: list[Sent] = []
        self._left = 0
        self._share = 0
        self._asks: dict[int, Ask] = {}
        self._numbers: dict[Ask, int] = {}
        # The sequence of each in the session, while its answer and its ACK are to come.
        self._sequences: dict[Ask, int] = {}
        self._last = 0
        self._streams: dict[int, RemoteRoom] = {}
        self._stops: dict[int, tuple[str, dict[StopWait, None]]] = {}
        self._stop_numbers: dict[str, int] = {}
        self._leaving = False
        self._watched: dict[str, RemoteRef] = {}
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
        self._post(payload, Sent(ref.text, ref, message))
        if not self._queue:
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
            self._queue.extend(zip(run, told, strict=True))
            return
        first = self.session.send_run(run)
        self._sent.update(enumerate(told, first))

    def publish(self, ref: ActorRef, topic: str, body: bytes, message: object) -> bool:
        """Send what is published to a topic, once for all its subscribers there."""
        target = str(ref)
        if not self._has_room(target, len(body)):
            return False
        self._post(envelope.encode(envelope.Publish(topic, body)), Sent(target, ref, message))
        return True

    def ask(self, ref: RemoteRef, ask: Ask) -> None:
        """Send what is asked, or let it wait for room.

        Raises:
            NotEncodable: it is none that can be sent.
        """
        body = self.node.codec.encode_value(ask.message)
        if self._has_room(ref.text, len(body)):
            self._post_ask(ref, ask, body, ask.timeout)
            return
        ask.where = "waiting for room"
        self._door(ref)[ask] = body

    def wait_for_room(self, ref: ActorRef, message: object, topic: str = "") -> Waiter:
        """A place in the queue of those who wait for room: its message is sent in its turn.

        topic: to which it is published; "": it is told.
        """
        door = self._door(ref)
        body = self.node.codec.encode_value(message)
        said = envelope.Publish(topic, body) if topic else envelope.Tell(ref.address.path, body)
        waiter = Door(door, message)
        door[waiter] = envelope.encode(said)
        return waiter

    def _door(self, ref: ActorRef) -> OrderedDict[Any, bytes]:
        return self._doors.setdefault(str(ref), (ref, OrderedDict()))[1]

    def on_the_way(self, ref: ActorRef) -> int:
        """Messages for this actor that are not acknowledged."""
        return self._on_the_way.get(str(ref), 0)

    def _may_have_more(self, target: str, size: int) -> bool:
        """Whether one more message, of so many bytes, may be on the way to this receiver.

        One may have half as much there as the peer's window has room for: so those whose mailboxes
        are full leave some to the others, however many they are.
        """
        count = self._on_the_way.get(target, 0)
        if count >= self.per_target:
            return False
        if count >= LEAST and count >= (self.session.room - len(self._queue)) // 2:
            return False
        if size <= MOST_IN_RUN or target not in self._large:
            return True
        free = self.session.most_bytes - self._all_large
        return self._large[target] + size <= free // 2

    def _has_room(self, target: str, size: int) -> bool:
        if len(self._queue) >= self._capacity or not self._may_have_more(target, size):
            return False
        waiting = self._doors.get(target) if self._doors else None
        return waiting is None or not waiting[1]

    def _post_ask(self, ref: RemoteRef, ask: Ask, body: bytes, remaining: float | None) -> None:
        number = self.next_number()
        self._asks[number] = ask
        self._numbers[ask] = number
        ask.where = self._where
        asker = "" if ask.asker is None else str(ask.asker)
        if len(asker) > MOST_OF_ADDRESS:
            asker = ""  # So deep in a tree that no address leads there.
        asked: envelope.Envelope
        channel: object = ask.waits
        if isinstance(channel, Channel):
            room = RemoteRoom(self, channel, number, ask.message)
            self._streams[number] = room
            channel._room = room  # type: ignore[assignment] # where a producer here would wait
            asked = envelope.Streamed(number, ref.address.path, channel.size, asker, body)
        else:
            asked = envelope.Asked(number, ref.address.path, remaining, asker, body)
        # If nobody else waits, there are no others with which it could be joined.
        at_once = len(self._asks) == 1
        self._post(envelope.encode(asked), Sent(ref.text, ref, ask.message, ask), at_once)

    def _post(self, payload: bytes, sent: Sent, at_once: bool = False) -> None:
        counters = self.node.dispatcher.counters
        counters.at_the_door += 1
        counters.outbox += 1
        target = sent.target
        self._on_the_way[target] = self._on_the_way.get(target, 0) + 1
        if len(payload) > MOST_IN_RUN:
            sent.size = size = len(payload)
            self._large[target] = self._large.get(target, 0) + size
            self._all_large += size
        self.commit()
        session = self.session
        if self._queue or session.credit < 1:
            self._queue.append((payload, sent))
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
        if in_order and self._queue:
            self._queue.append((payload, None))
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
        while self._queue and (
            session.credit > 0 or (session.may_send and self._queue[0][1] is None)
        ):
            payload, sent = self._queue.popleft()
            if sent is None:
                session.send(payload, charged=False)
            else:
                self._hand_over(payload, sent)
        if self._leaving and session.may_send and not self._queue:
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
        return bool(self._queue or self._run or self.session.unacknowledged)

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
        if self._queue or self._leaving:
            self.flush()
        if self._doors:
            self._open_doors()

    def _forget(self, target: str, count: int = 1) -> None:
        left = self._on_the_way[target] - count
        if left:
            self._on_the_way[target] = left
        else:
            del self._on_the_way[target]

    def _forget_large(self, sent: Sent) -> None:
        self._all_large -= sent.size
        left = self._large[sent.target] - sent.size
        if left:
            self._large[sent.target] = left
        else:
            del self._large[sent.target]

    def _forget_one(self, sent: Sent) -> None:
        self._forget(sent.target)
        if sent.size:
            self._forget_large(sent)

    def _open_doors(self) -> None:
        """One message a receiver, in turn: what has many senders keeps nobody else waiting."""
        turns = deque(self._doors)
        while turns and len(self._queue) < self._capacity:
            target = turns.popleft()
            ref, door = self._doors[target]
            if not door:
                del self._doors[target]
                continue
            if not self._may_have_more(target, len(next(iter(door.values())))):
                continue
            # The next time, too, it is behind the others.
            self._doors[target] = self._doors.pop(target)
            turns.append(target)
            waiter, encoded = door.popitem(last=False)
            if waiter.waits is None or waiter.value is not PENDING:
                continue
            if isinstance(waiter, Ask):
                remaining = None
                if waiter.timeout is not None:
                    now = self.node.dispatcher.timers.clock()
                    remaining = max(0.0, waiter.deadline - now)
                self._post_ask(ref, waiter, encoded, remaining)  # type: ignore[arg-type]
                continue
            self._post(encoded, Sent(target, ref, waiter.message))
            waiter.resolve()

    def _close_doors(self, down: NodeDown) -> None:
        """There is no next session: who waits for room need not."""
        counters = self.node.dispatcher.counters
        doors, self._doors = self._doors, {}
        for ref, door in doors.values():
            for waiter in door:
                if waiter.value is not PENDING:
                    continue
                counters.at_the_door += 1
                if isinstance(waiter, Ask):
                    counters.rejected += 1
                    waiter.stopped(down.why)
                    continue
                message, reason = waiter.message, DeadLetterReason.PEER_LOST
                self.node.dispatcher.dead_letters.add(ref, message, reason)
                waiter.resolve()

    def replied(self, message: envelope.Replied) -> None:
        """A reply has come, or word that an actor has stopped, or started."""
        ask = self._answered(message.number)
        if ask is None:
            if not self.spawns.started(message.number):
                self._has_stopped(message.number)
            return
        request = type(ask.message)
        try:
            value = self.node.codec.decode_value(message.body, reply_type(request))
        except DecodeError as error:
            why = f"the reply is not what {request.__name__} says that it is: {error.why}"
            ask.failed(DecodeError(error.path, why))
            return
        except NotEncodable as error:
            ask.failed(error)
            return
        ask.answer(value)

    def _has_stopped(self, number: int) -> None:
        """An actor has stopped, if somebody waits for that under this number."""
        if number in self._stops:
            path, waiters = self._stops.pop(number)
            self._stop_numbers.pop(path, None)
            for waiter in waiters:
                waiter.resolve()

    def item(self, message: envelope.Item) -> None:
        """An item of a stream has come.

        Raises:
            DecodeError: it was not granted.
        """
        room = self._streams.get(message.number)
        if room is None:
            return
        try:
            room.item(message.body)
        except (DecodeError, NotEncodable) as error:
            ask = self._take(message.number)
            self.control(envelope.Cancelled(message.number))
            if ask is not None:
                ask.failed(error)

    def stream_ended(self, message: envelope.StreamEnded) -> None:
        """A stream has come to its end."""
        ask = self._take(message.number)
        if ask is not None:
            ask.answer(END)

    def refused(self, message: envelope.Refused) -> None:
        """An ask has no reply, or an actor has not started."""
        if self.spawns.refused(message):
            return
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
            return AskCycle(self.node.refs_of(message.chain))
        if message.kind == "not askable":
            return NotStreamable(ref, message.text) if is_stream else NotAskable(ref, message.text)
        failure = RemoteFailure(self.peer, message.text, message.trace)
        return ActorFailed(ref, ask.message, failure)

    def _take(self, number: int) -> Ask | None:
        ask = self._asks.pop(number, None)
        if self._streams:
            self._streams.pop(number, None)
        if ask is not None:
            self._numbers.pop(ask, None)
        return ask

    def _answered(self, number: int) -> Ask | None:
        """The ask that an answer is for. It has been accepted, then, whatever was acknowledged."""
        ask = self._take(number)
        sequence = None if ask is None else self._sequences.pop(ask, None)
        if sequence is not None:
            sent = self._sent.pop(sequence)
            self._counters.outbox -= 1
            self._counters.delivered += 1
            self.delivered += 1
            self._forget_one(sent)
        return ask

    def asker_gone(self, ask: Ask) -> None:
        """The asker was cancelled, or its time is up: the other node need not go on."""
        counters = self.node.dispatcher.counters
        for _, door in self._doors.values():
            if ask in door:
                del door[ask]
                counters.at_the_door += 1
                counters.rejected += 1
                return
        number = self._numbers.pop(ask, None)
        if number is None:
            return
        del self._asks[number]
        self._streams.pop(number, None)
        for place, (_, sent) in enumerate(self._queue):
            if sent is not None and sent.ask is ask:
                del self._queue[place]
                counters.outbox -= 1
                counters.expired += 1
                self._forget_one(sent)
                self._open_doors()
                return
        self.control(envelope.Cancelled(number))

    def fail_wait(self, ask: Ask, chain: list[str]) -> None:
        """A circle of asks was found: end this one."""
        number = self._numbers.get(ask)
        if number is not None and ask.value is PENDING:
            self._take(number)
            ask.answer(Raised(AskCycle(self.node.refs_of(chain))))
            self.control(envelope.Cancelled(number))

    # -- watching and stopping

    def watch(self, ref: RemoteRef) -> None:
        """Ask to be told of the end of an actor there."""
        path = ref.address.path
        if path not in self._watched:
            self._watched[path] = ref
            self.control(envelope.Watch(path), in_order=True)

    def watches(self, ref: RemoteRef) -> None:
        """The peer will tell of this actor's end, without being asked to."""
        self._watched[ref.address.path] = ref

    def unwatch(self, ref: RemoteRef) -> None:
        """No longer."""
        if ref.address.path in self.spawns:
            return
        if self._watched.pop(ref.address.path, None) is not None:
            self.control(envelope.Unwatch(ref.address.path), in_order=True)

    def ended(self, message: envelope.Ended) -> None:
        """An actor there has ended."""
        ref = self._watched.pop(message.path, None)
        if ref is None:
            return
        self.spawns.ended(ref)
        if message.reason == "node down":
            ref.ended(self.spawns.node_is_left(message.text))
        else:
            ref.ended(self.node.reason_of(ref, self.peer, message))

    def stop(self, ref: RemoteRef, reason: ExitReason = ExitReason.NORMAL) -> None:
        """Stop an actor there, behind what was sent to it."""
        self.control(envelope.Stop(ref.address.path, reason.value), in_order=True)

    def await_stop(self, ref: RemoteRef) -> Waiter:
        """A wait for the end of an actor there. The other node is asked once, for all of them."""
        path = ref.address.path
        number = self._stop_numbers.get(path)
        if number is None:
            number = self._stop_numbers[path] = self._await_stop(path)
        return self._stop_wait(number)

    def round_trip(self) -> Waiter:
        """A wait until the peer has taken all that was sent before, or is lost."""
        # It is answered at once: no actor has this path.
        return self._stop_wait(self._await_stop(""))

    def _await_stop(self, path: str) -> int:
        number = self.next_number()
        self._stops[number] = (path, {})
        self.control(envelope.AwaitStop(number, path), in_order=True)
        return number

    def _stop_wait(self, number: int) -> Waiter:
        waiter = StopWait(self, number)
        self._stops[number][1][waiter] = None
        return waiter

    def stop_wait_gone(self, waiter: StopWait) -> None:
        """It was cancelled."""
        if waiter.number not in self._stops:
            return
        path, waiters = self._stops[waiter.number]
        waiters.pop(waiter, None)
        if not waiters:
            del self._stops[waiter.number]
            self._stop_numbers.pop(path, None)
            self.control(envelope.Cancelled(waiter.number), in_order=True)

    # -- the end

    def lost(self, down: NodeDown, for_good: bool = False) -> None:
        """The peer is lost, and with it what it had not acknowledged, and every reply.

        for_good: there is no next session, for which those who wait for room could go on waiting.
        """
        counters = self.node.dispatcher.counters
        letters = self.node.dispatcher.dead_letters
        self._is_given_up = False
        self.delivered = 0
        queued = (sent for _, sent in self._queue if sent is not None)
        left = [*self._sent.values(), *self._told, *queued]
        self._sent.clear()
        self._sequences.clear()
        self._run, self._told, self._left = [], [], 0
        self._queue.clear()
        self._on_the_way.clear()
        self._large.clear()
        self._all_large = 0
        for sent in left:
            counters.outbox -= 1
            if sent.ask is not None and not sent.written:
                counters.rejected += 1
            else:
                letters.add(sent.ref, sent.message, DeadLetterReason.PEER_LOST)
        never_written = {sent.ask: None for sent in left if not sent.written}
        asks, self._asks = self._asks, {}
        self._numbers.clear()
        self._streams.clear()
        for ask in asks.values():
            started = ask not in never_written
            why = f"its node {self.peer} was lost: {down.why}"
            ask.answer(Raised(ActorStopped(ask.holder, ask.message, why, started=started)))
        stops, self._stops = self._stops, {}
        self._stop_numbers.clear()
        for _, waiters in stops.values():
            for waiter in waiters:
                waiter.resolve()
        self.spawns.lost(down)
        watched, self._watched = self._watched, {}
        for ref in watched.values():
            self.spawns.ended(ref)
            ref.ended(down)
        if for_good:
            self._close_doors(down)
        else:
            self._open_doors()
