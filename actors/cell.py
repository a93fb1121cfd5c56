"""The cell of an actor: its ref, its mailbox, and what the dispatcher knows of it.

The ref that programs hold *is* the cell. One object an actor instead of two saves 60 bytes an
actor and one attribute look-up a message. Everything whose name begins with an underscore belongs
to the runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import TYPE_CHECKING, Any

import trio

from actors.address import Address
from actors.ask import Ask, check_cycle, find_chain
from actors.cell_mailbox import CellMailbox
from actors.errors import ActorStopped, AskCycle, MailboxFull, NotAMessage
from actors.failing import decide_about
from actors.failure import ChildStopped, ExitReason, Failure, Terminated
from actors.mailbox import NOTHING
from actors.rare import Rare, SendWait
from actors.ref import ActorRef
from actors.states import DRAINING, FAILED, RUNNING, STARTING, STOPPED, State
from actors.stopping import kill, stop
from actors.streams import give_way
from actors.threads import current_thread
from actors.timers import check_seconds
from actors.waiting import PAUSE, PENDING, Raised, Waiter
from actors.watching import link, unlink, unwatch, watch

if TYPE_CHECKING:
    from actors.actor import Actor, Traits
    from actors.dispatcher import Dispatcher
    from actors.root import Root
    from actors.streams import Channel
    from actors.workers import Steps, Worker


class Cell(CellMailbox):
    """See the module. Made by `lifecycle.spawn` only."""

    __slots__ = (
        "_actor",
        "_args",
        "_children",
        "_name",
        "_parent",
        "_recipe",
        "_state",
        "_waiting",
        "_waits",
    )

    def __init__(
        self,
        dispatcher: Dispatcher,
        parent: Cell | Root,
        name: str,
        traits: Traits,
        recipe: Callable[..., Actor],
        args: tuple[Any, ...],
    ) -> None:
        self._dispatcher = dispatcher
        self._parent = parent
        self._name = name
        self._recipe = recipe
        self._args = args
        self._traits = traits
        # How many messages `_queue` may hold. What the receiver has taken from there (the message
        # in hand, `_front`, the stash) is taken off it, and given back when it is done with.
        self._room = traits.room
        self._idle = False
        # The message that is handled now or next.
        self._message: Any = NOTHING
        self._queue: list[Any] | None = None
        self._front: list[Any] | None = None
        # The bound handler if it is plain and nothing is special: the dispatcher's fast path.
        self._plain: Callable[[Any], Any] | None = None
        self._actor: Actor | None = None
        self._state: State = STARTING
        # The suspended turn of an actor set aside, and the worker of one that waits on trio.
        self._steps: Steps | None = None
        self._worker: Worker | None = None
        # The messages that its turn has begun so far: all but the one in hand are handled.
        self._done = 0
        # What its own turn waits for, and whether its last turn had to wait on trio.
        self._waiting: Waiter | None = None
        self._waits = False
        self._children: dict[str, Cell] | None = None
        self._rare: Rare | None = None

    # -- who it is

    @property
    def address(self) -> Address:
        words = [self._name]
        above = self._parent
        while isinstance(above, Cell):
            words.append(above._name)
            above = above._parent
        return Address("actor", self._dispatcher.system.name, "/".join(reversed(words)))

    @property
    def name(self) -> str:
        return self._name

    @property
    def incarnation(self) -> int:
        return 1 if self._rare is None else self._rare.incarnation

    def __repr__(self) -> str:
        return f"<ActorRef {self.address} {self._state.value}>"

    def as_ref(self) -> ActorRef:
        """As a child's parent: itself. (The root is no actor, so there it is None.)"""
        return self

    # -- sending

    async def send(self, message: object) -> None:
        dispatcher = self._dispatcher
        dispatcher.check_thread("send")
        # Before the message is in the mailbox: a send that raises Cancelled has not sent.
        if dispatcher.current is None:
            await dispatcher.give_way()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()
        if self._idle or self._has_room() or self._closed():
            self.tell(message)
            return
        waiter = SendWait(self, self._as_received(message))
        asker = dispatcher.current or dispatcher.workers.cell_of_task()
        if asker is not None and (chain := find_chain(self, asker)) is not None:
            raise MailboxFull(self, message, self._capacity, chain)
        self._rare_part().senders[waiter] = None
        self._plain = None
        await self._wait_as(asker, waiter)

    async def ask(self, message: Any, timeout: float | None = 5.0) -> Any:
        if message.__class__ is type:
            raise NotAMessage(message, f"is a class; ask takes an instance: {message.__name__}()")
        dispatcher = self._dispatcher
        if current_thread() != dispatcher.thread:
            dispatcher.refuse_thread("ask")
        asker = dispatcher.current
        if asker is None:
            return await self._ask_from_task(message, timeout)
        timers = dispatcher.timers
        if timeout is not None and timeout not in timers.asks:
            check_seconds(timeout, "timeout")
        ask = Ask(message, asker, self, inf, timeout)
        if self is asker or self._waiting is not None or self._rare is not None:
            check_cycle(self, asker)
        handled = False
        if self._idle and not self._traits.waits and dispatcher.leads(asker):
            # As for a task: a plain handler cannot wait, so it runs right here, out of turn.
            if dispatcher.spots <= 0:
                await PAUSE
            handled = dispatcher.handle_now(self, ask)
        if not handled:
            if timeout is not None:
                ask.deadline = timers.clock() + timeout
            self._put_ask(ask)
        if ask.value is PENDING:
            if timeout is not None:
                timers.expect(ask)
            asker._waiting = ask
            try:
                await ask
            except BaseException:
                ask.abandoned()
                raise
            finally:
                asker._waiting = None
        value = ask.value
        if value.__class__ is Raised:
            return await ask.wait(dispatcher)
        return value

    async def _ask_from_task(self, message: object, timeout: float | None) -> Any:
        """An ask from a trio task: any task, or one in a nursery that a handler has opened."""
        dispatcher = self._dispatcher
        if timeout is not None:
            check_seconds(timeout, "timeout")
        await trio.lowlevel.checkpoint_if_cancelled()
        asker = dispatcher.workers.cell_of_task()
        ask = Ask(message, asker, self, inf, timeout)
        if asker is not None:
            check_cycle(self, asker)
            self._put_ask(ask)
        # A plain handler cannot wait, so it runs right here, and no task has to be switched.
        elif not dispatcher.handle_now(self, ask):
            self._put_ask(ask)
        if ask.value is not PENDING:
            await dispatcher.give_way()
        elif timeout is not None:
            dispatcher.timers.expect(ask)
        return await self._wait_as(asker, ask)

    async def stopped(self) -> None:
        if self._state is STOPPED:
            await trio.lowlevel.checkpoint()
            return
        dispatcher = self._dispatcher
        dispatcher.check_thread("stopped")
        asker = dispatcher.current or dispatcher.workers.cell_of_task()
        if asker is not None and (chain := find_chain(self, asker)) is not None:
            raise AskCycle(chain)
        waiter = Waiter(self)
        self._rare_part().stop_waiters.append(waiter)
        try:
            await self._wait_as(asker, waiter)
        except BaseException:
            if self._rare is not None and waiter in self._rare.stop_waiters:
                self._rare.stop_waiters.remove(waiter)
            raise

    def stop(self) -> None:
        if self._state is STOPPED:
            return
        self._dispatcher.check_thread("stop")
        stop(self, ExitReason.NORMAL)

    def _whereabouts(self, ask: Ask) -> tuple[str, str]:
        return (ask.where, "") if self._actor is None else self._actor._whereabouts(ask)

    _takes_asks = True

    def _load(self) -> int:
        return self._waiting_messages() + self._busy()

    def _take_over(self, ask: Ask) -> None:
        if ask.asker is not None:
            check_cycle(self, ask.asker)
        if not (self._idle or self._has_room() or self._closed()):
            raise MailboxFull(self, ask.message, self._capacity)
        ask.where = "queued"
        ask.holder = self
        self._put_ask(ask)

    async def _open_stream(self, channel: Channel, request: object) -> None:
        self._dispatcher.check_thread("stream")
        await give_way(self._dispatcher)
        channel.open(self, request)

    def _watched_by(self, watcher: Cell) -> None:
        watch(watcher, self)

    def _unwatched_by(self, watcher: Cell) -> None:
        unwatch(watcher, self)

    def _on_stop(self, callback: Callable[[], None]) -> None:
        if self._state is STOPPED:
            raise ActorStopped(self, None, "it has stopped: it cannot be registered any more")
        self._rare_part().cleanups.append(callback)

    def _stop_as(self, reason: ExitReason) -> None:
        if reason is ExitReason.KILLED:
            kill(self)
        else:
            stop(self, reason)

    def _end(self) -> Waiter:
        waiter = Waiter(self)
        if self._state is STOPPED:
            waiter.resolve()
        else:
            self._rare_part().stop_waiters.append(waiter)
        return waiter

    def _linked_by(self, other: Cell) -> None:
        link(other, self)

    def _unlinked_by(self, other: Cell) -> None:
        unlink(other, self)

    # -- the mailbox, from the sender's side

    def _put_ask(self, ask: Ask) -> None:
        """Queue an ask, or let it wait for room. An actor that takes no more answers it at once."""
        if self._idle or self._has_room():
            self.tell(ask)
        elif self._closed():
            counters = self._dispatcher.counters
            counters.at_the_door += 1
            counters.rejected += 1
            ask.stopped("it has stopped" if self._state is STOPPED else "it is stopping")
        else:
            ask.where = "waiting for room"
            self._rare_part().senders[ask] = None
            self._plain = None

    def _as_received(self, message: Any) -> Any:
        """A message as this actor gets it: itself. (In a strict system: a copy, by the codec.)"""
        return message

    # -- as a parent

    def _decide_about(self, child: Cell, failure: Failure) -> None:
        decide_about(self, child, failure)

    def _child_stopped(self, child: Cell, reason: ExitReason | Failure) -> None:
        """A child has stopped for good: a supervisor sees to it on its next turn."""
        if self._traits.supervises and self._state in (
            STARTING,
            RUNNING,
            DRAINING,
            FAILED,
        ):
            self._rare_part().signals.append(ChildStopped(child, reason))
            self._wake()

    def _take_back(self, left: list[Any], childs: Rare) -> list[Any]:
        """Take over what a child has left unhandled, before all that waits; returns what it cannot.

        They need no room: they had it, in the child's mailbox. What the child's own watches have
        brought concerns nobody else.
        """
        if self._state is not RUNNING:
            return left
        taken = [item for item in left if not isinstance(item, Terminated)]
        for item in taken:
            if isinstance(item, Ask):
                item.holder = self
            elif childs.redelivered and (failures := childs.take_failures(item)):
                self._rare_part().redelivered.append((item, failures))
        self._room -= len(taken)
        self._put_first(taken)
        self._wake()
        return [item for item in left if isinstance(item, Terminated)]

    # -- waiting

    async def _wait_as(self, asker: Cell | None, waiter: Waiter) -> Any:
        """Wait, known to the search of cycles as a wait of `asker`."""
        if asker is None:
            return await waiter.wait(self._dispatcher)
        if self._dispatcher.current is asker:
            asker._waiting = waiter
            try:
                return await waiter.wait(self._dispatcher)
            finally:
                asker._waiting = None
        helper_waits = asker._rare_part().helper_waits
        helper_waits[waiter] = None
        try:
            return await waiter.wait(self._dispatcher)
        finally:
            helper_waits.pop(waiter, None)

    def _waits_for(self) -> Iterator[Waiter]:
        """What it cannot go on without: of its own turn, and of helper tasks in its nurseries."""
        if self._waiting is not None:
            yield self._waiting
        if self._rare is not None:
            yield from self._rare.helper_waits

    def _asker_gone(self, ask: Ask) -> None:
        """Nobody waits for the reply to `ask` any more, wherever in this cell it is."""
        rare = self._rare
        if ask.where == "being handled":
            if ask is self._message and self._traits.cls.cancel_abandoned:
                self._dispatcher.workers.cancel(self)
        elif ask.where == "deferred" and rare is not None:
            rare.deferred.pop(ask, None)
        elif ask.where == "waiting for room" and rare is not None:
            rare.senders.pop(ask, None)
            counters = self._dispatcher.counters
            counters.at_the_door += 1
            counters.rejected += 1

    # -- what the scheduler needs

    def _rare_part(self) -> Rare:
        if self._rare is None:
            self._rare = Rare()
        return self._rare

    def _wake(self) -> None:
        """See to what is urgent before the next message."""
        rare = self._rare_part()
        rare.urgent = True
        self._plain = None
        if self._idle:
            self._idle = False
            self._dispatcher.enqueue(self)
        elif rare.suspended:
            rare.suspended = False
            self._dispatcher.enqueue(self)

    def _settle(self) -> None:
        """After a turn: ready again, idle, or suspended until something wakes it."""
        state = self._state
        if state is STOPPED:
            return
        rare = self._rare
        if rare is not None and rare.urgent:
            self._dispatcher.enqueue(self)
        elif state is RUNNING:
            if rare is not None and rare.senders:
                self._admit(rare)
            self._plain = self._plain_handler()
            if self._message is not NOTHING:
                self._dispatcher.enqueue(self)
            elif self._queue or self._front:
                self._message = self._next()
                self._dispatcher.enqueue(self)
            elif self._room > 0:
                self._idle = True
            else:
                # Everything it has room for is stashed: tell must find the mailbox full.
                self._rare_part().suspended = True
        elif state is DRAINING:
            self._dispatcher.enqueue(self)
        else:
            self._rare_part().suspended = True

    def _plain_handler(self) -> Callable[[Any], Any] | None:
        rare = self._rare
        if rare is not None and (rare.senders or rare.urgent or rare.redelivered):
            return None
        if rare is not None and (rare.begun is not None or rare.lease is not None):
            return None
        if rare is not None and rare.behaviour is not None:
            return None if rare.behaviour_waits else rare.behaviour
        if self._traits.waits or self._actor is None:
            return None
        return self._actor.receive
