"""How many messages, and bytes, may be on the way to each receiver; and who waits to send more.

One door for each receiver: so who sends to a slow one waits, and who sends to others does not.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

from actors import ActorRef, DeadLetterReason, NodeDown
from actors.ask import Ask
from actors.rare import SendWait
from actors.waiting import PENDING, Waiter
from transports.encoding import envelope

if TYPE_CHECKING:
    from transports.nodes.outgoing import Outgoing

LEAST: Final = 64
"""Messages that may be on the way to any receiver, however little room its peer's window has."""
MOST_IN_RUN: Final = 1 << 10
"""Bytes of a message that is gathered with others before the session has it; else it is large."""


# A Struct takes half the time that a class with slots takes to be made.
class Sent(msgspec.Struct, eq=False):
    """One message on the way: to whom, by address, and the ask if it is asked.

    size: its bytes, if it is a large one.
    """

    target: str
    ref: ActorRef
    message: Any
    ask: Ask | None = None
    written: bool = False
    size: int = 0


class Door(SendWait):
    """A `send` that waits until its receiver may have one more message on the way."""

    __slots__ = ("door",)

    def __init__(self, door: OrderedDict[Any, bytes], message: object) -> None:
        super().__init__(None, message)  # type: ignore[arg-type] # no cell of this process
        self.door = door

    def abandoned(self) -> None:
        super().abandoned()
        self.door.pop(self, None)


class Allowance:
    """What the receivers of one peer may have on the way, and have.

    on_the_way: messages, by the receiver's address. doors: who waits for room, in their order.
    Both stay the same dicts: `Outgoing` looks at them for each message.
    """

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing
        limits = outgoing.node.limits
        self._per_target = limits.per_target
        self._capacity = limits.outbox
        self.on_the_way: dict[str, int] = {}
        self.doors: dict[str, tuple[ActorRef, OrderedDict[Any, bytes]]] = {}
        # Bytes of the large ones among these.
        self.large: dict[str, int] = {}
        self._all_large = 0

    def has_room(self, target: str, size: int) -> bool:
        """Whether a message may be sent now, and nobody waits to send one before it."""
        if len(self._outgoing.queue) >= self._capacity or not self._may_have_more(target, size):
            return False
        waiting = self.doors.get(target) if self.doors else None
        return waiting is None or not waiting[1]

    def _may_have_more(self, target: str, size: int) -> bool:
        """Whether one more message, of so many bytes, may be on the way to this receiver.

        One may have half as much there as the peer's window has room for: so those whose mailboxes
        are full leave some to the others, however many they are.
        """
        count = self.on_the_way.get(target, 0)
        if count >= self._per_target:
            return False
        outgoing = self._outgoing
        if count >= LEAST and count >= (outgoing.session.room - len(outgoing.queue)) // 2:
            return False
        if size <= MOST_IN_RUN or target not in self.large:
            return True
        free = outgoing.session.most_bytes - self._all_large
        return self.large[target] + size <= free // 2

    def add_large(self, sent: Sent, size: int) -> None:
        """A message that is on the way has so many bytes."""
        sent.size = size
        self.large[sent.target] = self.large.get(sent.target, 0) + size
        self._all_large += size

    def forget(self, target: str, count: int = 1) -> None:
        """Messages are not on the way any more."""
        left = self.on_the_way[target] - count
        if left:
            self.on_the_way[target] = left
        else:
            del self.on_the_way[target]

    def forget_large(self, sent: Sent) -> None:
        """Nor are the bytes of one that is large."""
        self._all_large -= sent.size
        left = self.large[sent.target] - sent.size
        if left:
            self.large[sent.target] = left
        else:
            del self.large[sent.target]

    def forget_one(self, sent: Sent) -> None:
        """One message, whatever its size, is not on the way any more."""
        self.forget(sent.target)
        if sent.size:
            self.forget_large(sent)

    def forget_all(self) -> None:
        """The peer is lost."""
        self.on_the_way.clear()
        self.large.clear()
        self._all_large = 0

    # -- who waits for room

    def door(self, ref: ActorRef) -> OrderedDict[Any, bytes]:
        """Who waits to send to a receiver: each with its message, encoded."""
        return self.doors.setdefault(str(ref), (ref, OrderedDict()))[1]

    def wait_for_room(self, ref: ActorRef, message: object, topic: str = "") -> Waiter:
        """A place in the queue of those who wait for room: its message is sent in its turn.

        topic: to which it is published; "": it is told.
        """
        door = self.door(ref)
        body = self._outgoing.node.codec.encode_value(message)
        said = envelope.Publish(topic, body) if topic else envelope.Tell(ref.address.path, body)
        waiter = Door(door, message)
        door[waiter] = envelope.encode(said)
        return waiter

    def leave_door(self, ask: Ask) -> bool:
        """An asker has gone. False: it does not wait for room."""
        for _, door in self.doors.values():
            if ask in door:
                del door[ask]
                return True
        return False

    def open_doors(self) -> None:
        """One message a receiver, in turn: what has many senders keeps nobody else waiting."""
        outgoing = self._outgoing
        turns = deque(self.doors)
        while turns and len(outgoing.queue) < self._capacity:
            target = turns.popleft()
            ref, door = self.doors[target]
            if not door:
                del self.doors[target]
                continue
            if not self._may_have_more(target, len(next(iter(door.values())))):
                continue
            # The next time, too, it is behind the others.
            self.doors[target] = self.doors.pop(target)
            turns.append(target)
            waiter, encoded = door.popitem(last=False)
            if waiter.waits is None or waiter.value is not PENDING:
                continue
            if isinstance(waiter, Ask):
                remaining = None
                if waiter.timeout is not None:
                    now = outgoing.node.dispatcher.timers.clock()
                    remaining = max(0.0, waiter.deadline - now)
                outgoing.asks.post(ref, waiter, encoded, remaining)  # type: ignore[arg-type]
                continue
            outgoing.post(encoded, Sent(target, ref, waiter.message))
            waiter.resolve()

    def close_doors(self, down: NodeDown) -> None:
        """There is no next session: who waits for room need not."""
        dispatcher = self._outgoing.node.dispatcher
        counters = dispatcher.counters
        doors = tuple(self.doors.values())
        self.doors.clear()
        for ref, door in doors:
            for waiter in door:
                if waiter.value is not PENDING:
                    continue
                counters.at_the_door += 1
                if isinstance(waiter, Ask):
                    counters.rejected += 1
                    waiter.stopped(down.why)
                    continue
                dispatcher.dead_letters.add(ref, waiter.message, DeadLetterReason.PEER_LOST)
                waiter.resolve()
