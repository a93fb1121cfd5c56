"""The mailbox of a cell: how messages get in, wait, and are taken out.

How a mailbox is stored: the message in hand, in a slot; those behind it, in two lists that are
made when there is a second one. Senders append to `_queue`; when `_front` is empty, the receiver
turns `_queue` around and pops from its end. A list is a tenth of a deque's size and its append
is the fastest there is; an actor that never has two messages at once has neither list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from actors.ask import Ask
from actors.dead_letters import DeadLetterReason
from actors.errors import MailboxFull
from actors.failure import Terminated
from actors.mailbox import CLOSED, NOTHING
from actors.ref import ActorRef
from actors.threads import current_thread

if TYPE_CHECKING:
    from actors.actor import Traits
    from actors.dispatcher import Dispatcher
    from actors.rare import Rare
    from actors.workers import Steps, Worker


class CellMailbox(ActorRef):
    """What `Cell` is as a mailbox. The fields are explained where Cell sets them."""

    __slots__ = (
        "_dispatcher",
        "_done",
        "_front",
        "_idle",
        "_message",
        "_plain",
        "_queue",
        "_rare",
        "_room",
        "_steps",
        "_traits",
        "_worker",
    )

    told_in_place: ClassVar[bool] = True
    """Whether `tell_each` may put messages into it by itself."""

    _dispatcher: Dispatcher
    _done: int
    _front: list[Any] | None
    _idle: bool
    _message: Any
    _plain: Callable[[Any], Any] | None
    _queue: list[Any] | None
    _rare: Rare | None
    _room: int
    _steps: Steps | None
    _traits: Traits
    _worker: Worker | None

    def tell(self, message: object) -> None:
        queue = self._queue
        if queue is not None:
            if len(queue) < self._room:
                queue.append(message)
                return
        elif self._idle:
            dispatcher = self._dispatcher
            if current_thread() != dispatcher.thread:
                dispatcher.refuse_thread("tell")
            self._idle = False
            self._room -= 1
            self._message = message
            dispatcher.enqueue(self)  # type: ignore[arg-type] # every one of these is a Cell
            return
        else:
            # To ask for the thread costs half as much as a whole tell, so it is asked where it
            # could do harm, and at the first message behind another. (Under the GIL what is told
            # later from another thread is queued safely.)
            self._dispatcher.check_thread("tell")
            if self._room > 0:
                self._queue = [message]
                return
        self._no_room(message)

    def _no_room(self, message: object) -> None:
        """`tell` found no room: the actor has stopped, or its overflow policy decides."""
        dispatcher = self._dispatcher
        counters = dispatcher.counters
        if self._closed():
            counters.at_the_door += 1
            dispatcher.dead_letters.add(self, message, DeadLetterReason.STOPPED)
            return
        if self._settle_batch():
            self._put(message)
            return
        overflow = self._traits.cls.mailbox.overflow
        if overflow == "drop_oldest" and (oldest := self._take_oldest()) is not NOTHING:
            counters.taken += 1
            dispatcher.note_taken(self, 1)  # type: ignore[arg-type] # every one of these is a Cell
            if isinstance(oldest, Ask):
                oldest.stopped("it was dropped from a full mailbox")
                oldest = oldest.message
            # The room that the oldest had is taken by the newest.
            nothing_waits = not (self._queue or self._front)
            if self._message is NOTHING and nothing_waits and not self._busy():
                self._message = message
                self._room -= 1
            else:
                self._put(message)
            # Last, because it may be told to this very mailbox.
            dispatcher.dead_letters.add(self, oldest, DeadLetterReason.DROPPED_OLDEST)
            return
        counters.at_the_door += 1
        if overflow == "drop_newest":
            dispatcher.dead_letters.add(self, message, DeadLetterReason.DROPPED_NEWEST)
            return
        counters.rejected += 1
        raise MailboxFull(self, message, self._capacity)

    def _settle_batch(self) -> bool:
        """Give back the room of what a plain batch has handled so far; whether there is room then.

        Only its own handler can find it full for that reason: nobody else runs meanwhile.
        """
        dispatcher = self._dispatcher
        if dispatcher.current is not self or dispatcher.stepping:
            return False
        rare = self._rare
        stashed = 0 if rare is None else len(rare.stash) - rare.stashed_now
        room = self._traits.room - len(self._front or ()) - stashed
        dispatcher.given += room - self._room
        self._room = room
        return self._has_room()

    def _take_oldest(self) -> Any:
        """The oldest message that waits, out of the mailbox; NOTHING if there is none to drop.

        A notice of termination comes exactly once, so it is never dropped; nor is a stashed one.
        """
        next_up = self._message
        if next_up is not NOTHING and not self._handles() and type(next_up) is not Terminated:
            self._message = self._next()
            self._room += 1
            return next_up
        for waiting, places in (
            (self._front, range(len(self._front or ()) - 1, -1, -1)),
            (self._queue, range(len(self._queue or ()))),
        ):
            for place in places:
                assert waiting is not None
                if type(waiting[place]) is not Terminated:
                    self._room += waiting is self._front
                    item = waiting.pop(place)
                    if not self._queue:
                        # tell looks for a queue before it asks whether the actor is idle.
                        self._queue = None
                    return item
        return NOTHING

    def _put(self, item: object) -> None:
        """Behind all that waits."""
        if self._queue is None:
            self._queue = [item]
        else:
            self._queue.append(item)

    def _put_first(self, items: list[Any]) -> None:
        """Before all that waits, in their order."""
        if self._message is not NOTHING and not self._handles():
            # The one that is next waits too.
            items = [*items, self._message]
            self._message = items.pop(0)
        if self._front is None:
            self._front = []
        self._front.extend(reversed(items))

    def _next(self) -> Any:
        """What waits longest, taken out; NOTHING if nothing waits."""
        front = self._front
        if not front:
            front = self._queue
            if not front:
                self._queue = None
                return NOTHING
            self._turn_around(front)
        item = front.pop()
        if not front:
            self._front = None
        return item

    def _turn_around(self, queue: list[Any]) -> None:
        """Take what senders have queued, oldest last."""
        self._room -= len(queue)
        queue.reverse()
        self._front = queue
        self._queue = None

    def _has_room(self) -> bool:
        return len(self._queue or ()) < self._room

    def _admit(self, rare: Rare) -> None:
        """Give room to those who wait for it, in the order they came."""
        senders = rare.senders
        while senders and self._has_room():
            waiter, _ = senders.popitem(last=False)
            if waiter.waits is None:
                continue  # It is being cancelled, and has yet to learn of it.
            item: object = waiter
            if isinstance(waiter, Ask):
                waiter.where = "queued"
            else:
                item = waiter.message
                waiter.resolve()
            self._put(item)

    @property
    def _capacity(self) -> int | None:
        return self._traits.cls.mailbox.capacity

    def _waiting_messages(self) -> int:
        """How many messages wait, the one in hand and the stashed ones not among them."""
        return (
            len(self._queue or ())
            + len(self._front or ())
            + (self._message is not NOTHING and not self._handles())
        )

    def _closed(self) -> bool:
        return self._room < -CLOSED // 2

    def _close_door(self) -> None:
        """Take no more messages; what is queued stays. The caller wakes or ends the cell."""
        if not self._closed():
            self._room -= CLOSED
        self._plain = None

    def _busy(self) -> bool:
        """Whether a handler or hook of it runs or waits now."""
        dispatcher = self._dispatcher
        return (
            self._steps is not None
            or self._worker is not None
            or dispatcher.current is self
            or dispatcher.asker is self
        )

    def _handles(self) -> bool:
        """Whether a message is being handled now: by a turn that has begun one, or a plain one."""
        if self._message is NOTHING or (self._rare is not None and self._rare.attending):
            return False
        dispatcher = self._dispatcher
        return self._done > 0 or (dispatcher.current is self and not dispatcher.stepping)


def tell_each(
    dispatcher: Dispatcher, cells: Sequence[CellMailbox], message: object
) -> list[CellMailbox]:
    """`tell` each of the cells, in this order; returns those that have no room.

    The caller has checked the thread. What most of many subscribers are, idle, is done in place: a
    call and a look at the thread each would double the cost of a delivery.
    """
    refused = []
    enqueue = dispatcher.enqueue
    ready = dispatcher.ready.append
    for cell in cells:
        if cell._idle:
            cell._idle = False
            cell._room -= 1
            cell._message = message
            enqueue(cell)  # type: ignore[arg-type] # every one of these is a Cell
            # Somebody leads now.
            enqueue = ready
            continue
        try:
            cell.tell(message)
        except MailboxFull:
            refused.append(cell)
    return refused
