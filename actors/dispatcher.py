"""Running actors on borrowed tasks.

An idle actor has no task. One that has messages stands in `ready`, and one worker task, the
leader, takes ready actors in order and runs a turn of each, by plain calls: trio is not involved.
When a handler really waits, it does so on the leader's own task; leadership then passes to
another worker, and this one relays to trio until the turn ends. (The leader/followers pattern:
Schmidt et al., Pattern-Oriented Software Architecture 2.) An actor that waits for another actor
needs no task either: its suspended turn is set aside, and stepped on when the reply comes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, ContextVar
from types import AsyncGeneratorType, CoroutineType
from typing import TYPE_CHECKING, Any, Final

import trio

from actors._trio_private import cancel_status
from actors.ask import Ask
from actors.errors import NotRunning, SystemClosed, WrongThread
from actors.mailbox import NOTHING
from actors.producing import refuse_ask
from actors.states import RUNNING
from actors.threads import current_thread
from actors.turn import (
    answer,
    forgotten,
    interrupted,
    plain_failure,
    plain_rest,
    stray,
    turn,
)
from actors.waiting import PAUSE, Waiter
from actors.workers import BEGIN, DONE, TURN, Worker, Workers

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.env import Env
    from actors.ledger import Counters
    from actors.recorded import Recorder
    from actors.strict import RoundTripper
    from actors.system import ActorSystem
    from actors.timers import Timers


class Dispatcher:
    """Schedules the turns of one system's actors."""

    def __init__(self, system: ActorSystem, env: Env, counters: Counters) -> None:
        self.system = system
        self.env = env
        self.counters = counters
        self.dead_letters = system.dead_letters
        self.crash_reports = system.crash_reports
        self.timers: Timers
        self.thread = 0
        self.ready = env.ready()
        # While someone leads this is ready.append itself, so that a tell costs no look-up of who
        # leads; otherwise it elects.
        self.enqueue: Callable[[Cell], None] = self._not_running
        self.current: Cell | None = None
        """The cell whose turn is being stepped right now, by this very call stack."""
        self.asker: Cell | None = None
        """The cell whose turn asks `current` on the spot, and goes on when that has answered."""
        self.given = 0
        """Room that the batch of `current` has given back before its end."""
        self.stepping = False
        """Whether that turn is a coroutine, which counts its messages one by one."""
        self.workers = Workers(self)
        self.round_trip: RoundTripper | None = None
        """What messages and replies go through, if the system is strict about them."""
        self.cell_class: type[Cell] | None = None
        """What cells are of, if they are none of the usual ones."""
        self.recorder: Recorder | None = None
        """Who records asks and sends, if the cells are of a class that says them."""
        self.taken_of: dict[Cell, int] | None = None
        """While somebody looks: how many messages each actor's ended turns have taken."""
        self.is_open = False
        self._closed = False
        self.at_end: dict[Callable[[], None], None] = {}
        """Called when no actor can run any more: at the end, or at a crash, which runs no hooks."""
        self.base = Context()
        self._base_items: tuple[tuple[ContextVar[Any], Any], ...] = ()
        self._spare = Context()
        self._carried = 0
        self._pacer = env.pacer()
        self._own_pacer = env.pacer()
        self._granted = self._grant = 0
        self._leader: Worker | None = None
        self.spots = 0

    # -- opening and closing

    async def run(self, opened: trio.Event) -> None:
        """Hold the worker tasks until `close`. Sets `opened` when actors can run."""
        # Who leaves the system decides when its actors end: a cancellation of what surrounds it
        # reaches the body of `async with` first, and that then stops or kills them in order.
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                self.workers.nursery = nursery
                self.is_open = True
                self.enqueue = self._elect
                nursery.start_soon(self.timers.run)
                self._ended = trio.Event()
                opened.set()
                await self._ended.wait()
                self.timers.end()
                self.workers.dismiss()

    def prepare(self, thread: int, base: Context, timers: Timers) -> None:
        """What is known only inside trio."""
        self.thread = thread
        self.base = base
        items = tuple(base.items())
        # Contexts are compared by the values' `==`, at a hundredth of the cost. That is as good as
        # identity unless a value has an `==` of its own, which may say anything, or raise.
        own_equality = any(
            type(value) not in _PLAIN_VALUES and type(value).__eq__ is not _IDENTITY
            for _, value in items
        )
        self._base_items = items if own_equality else ()
        self._spare = base.copy()
        self.timers = timers

    def close(self) -> None:
        """Every actor has stopped: let the workers go."""
        self.crash()
        self._ended.set()

    def crash(self) -> None:
        """A worker ends by something that is no Exception: nothing can be run any more."""
        self.thread = 0
        self.is_open = False
        self._closed = True
        self.enqueue = self._not_running
        at_end, self.at_end = self.at_end, {}
        for call in at_end:
            call()

    @property
    def crashed(self) -> bool:
        """Whether a worker ended by something that is no Exception (Ctrl-C in a handler)."""
        return self._closed and not self._ended.is_set()

    def check_open(self) -> None:
        """Raises SystemClosed or NotRunning."""
        if not self.is_open:
            self._refuse()

    def check_thread(self, what: str) -> None:
        """Raises WrongThread; or NotRunning or SystemClosed, outside the system's time."""
        if current_thread() != self.thread:
            self.refuse_thread(what)

    def refuse_thread(self, what: str) -> None:
        """The current thread does not run the system, or nothing does."""
        if self.is_open:
            raise WrongThread(self.system.name, what)
        self._refuse()

    def _not_running(self, cell: Cell) -> None:
        cell._idle = False
        self._refuse()

    def _refuse(self) -> None:
        if self._closed:
            raise SystemClosed(self.system.name)
        raise NotRunning(
            self.system.name,
            f"the actor system {self.system.name!r} is not running yet: "
            "use it inside `async with ActorSystem(...) as system:`",
        )

    # -- leading

    def _elect(self, cell: Cell) -> None:
        """`enqueue` while nobody leads."""
        self.ready.append(cell)
        self._lead_by_another()

    def _lead_by_another(self) -> None:
        self.enqueue = self.ready.append
        self.workers.employ().leads = True

    async def lead(self, worker: Worker) -> None:
        """Run ready actors until there is none, or until a handler waits."""
        pacer = self._pacer
        pacer.begin()
        self._leader = worker
        while True:
            context = self.base.copy()
            why = context.run(self._run_ready, worker, context)
            self.current = None
            if why is _SLICE_OVER:
                await trio.lowlevel.cancel_shielded_checkpoint()
                pacer.begin()
            elif why is not _CONTEXT_CHANGED:
                break
        worker.leads = False
        self._leader = None
        if worker.cell is not None:
            # Its own handler waits: another one leads, if there is anything to lead.
            assert worker.task is not None
            worker.task.context = worker.context or context
            worker.context = None
            if self.ready:
                self._lead_by_another()
                return
        self.enqueue = self._elect

    def _run_ready(self, worker: Worker, context: Context) -> object:
        """The innermost loop: turn after turn. Runs in `context`; returns why it ends.

        A turn that leaves context variables changed ends it too: the next actor must not see them.
        """
        base = self.base
        # Who begins to look does so in a task of its own, so never within this call.
        special = self._base_items or self.taken_of is not None
        counters = self.counters
        take = self.ready.popleft
        done, self._carried = self._carried, 0
        while left := self._pacer.grant(done):
            granted = self.spots = left
            stepped = 0
            try:
                while left > 0:
                    try:
                        cell = take()
                    except IndexError:
                        return _NOTHING_READY
                    self.current = cell
                    receive = cell._plain
                    if receive is None and cell._steps is None:
                        receive = self._plain_at_first(cell)
                    if receive is None:
                        before = counters.taken
                        spots = self.spots
                        self._step_on_lead(worker, cell)
                        ran = counters.taken - before or cell._done or 1
                        stepped += ran
                        left -= ran + spots - self.spots
                        if worker.cell is not None:
                            return _WAITS
                        if self._changed(context) if special else context != base:
                            if cell._steps is not None:
                                # Set aside: it goes on in the context that it has changed.
                                cell._rare_part().asides_context = context
                            self._carried = granted - left
                            return _CONTEXT_CHANGED
                        continue
                    message = cell._message
                    cell._room += 1
                    left -= 1
                    try:
                        if message.__class__ is Ask:
                            answer(cell, receive, message)
                        else:
                            result = receive(message)
                            if result is not None and (
                                (kind := result.__class__) is CoroutineType
                                or kind is AsyncGeneratorType
                            ):
                                raise forgotten(cell, receive, result)
                    except Exception as error:
                        plain_failure(cell, message, error)
                    except trio.Cancelled as error:
                        plain_failure(cell, message, stray(error))
                    else:
                        if cell._queue or cell._front or cell._plain is not receive:
                            left -= plain_rest(cell, receive, left)
                        else:
                            cell._message = NOTHING
                            cell._idle = True
                    if self._after_plain(cell, context) if special else context != base:
                        self._carried = granted - left
                        return _CONTEXT_CHANGED
            finally:
                plain = granted - left - stepped
                counters.taken += plain
                counters.handled += plain
            done = granted - left
        return _SLICE_OVER

    def _after_plain(self, cell: Cell, context: Context) -> bool:
        """Count what a plain turn began with, if somebody looks; whether it changed its context."""
        self.note_taken(cell, 1)
        return self._changed(context)

    def _changed(self, context: Context) -> bool:
        """Whether a context variable differs from that in `base`: is another object, if need be."""
        items = self._base_items
        if not items:
            return context != self.base
        return len(context) != len(items) or any(
            context.get(variable) is not value for variable, value in items
        )

    def _plain_at_first(self, cell: Cell) -> Callable[[Any], Any] | None:
        """The handler of an actor that gets its first message: no idle actor should hold one."""
        if cell._traits.waits or cell._rare is not None or cell._state is not RUNNING:
            return None
        cell._plain = handler = cell._plain_handler()
        return handler

    def _step_on_lead(self, worker: Worker, cell: Cell) -> None:
        """Begin or go on with a turn that is a coroutine.

        If it has to wait on trio, `worker.cell` is set: then it goes on in `_relay`.
        """
        aside: Context | None = None
        rare = cell._rare
        steps = cell._steps
        if steps is None:
            if cell._waits:
                self.workers.hand_over(cell, turn(cell, TURN).__await__(), BEGIN)
                return
            steps = turn(cell, TURN).__await__()
        elif rare is not None and rare.asides_context is not None:
            aside, rare.asides_context = rare.asides_context, None
        self.stepping = True
        try:
            # Iterated, not sent to: the end of an iteration costs no StopIteration object.
            trap = next(steps, DONE) if aside is None else aside.run(next, steps, DONE)
        except trio.Cancelled as error:
            # Nobody has cancelled a worker that leads.
            cell._steps = None
            self.workers.raised(cell, stray(error))
            self.turn_ended(cell)
            return
        finally:
            self.stepping = False
        if trap is DONE:
            cell._steps = None
            in_order = cancel_status(worker.task) is worker.status
            if in_order or not self.workers.clear_up(worker, cell):
                self.turn_ended(cell)
            return
        rare = cell._rare
        if (
            (trap.__class__ is Ask or trap is PAUSE or isinstance(trap, Waiter))
            and cancel_status(worker.task) is worker.status
            and (rare is None or not rare.cut)
        ):
            cell._steps = steps
            if isinstance(trap, Waiter):
                trap.waits = cell
            else:
                self.ready.append(cell)
            if aside is not None:
                cell._rare_part().asides_context = aside
            return
        cell._steps = None
        cell._worker = worker
        worker.context = aside
        worker.cell = cell
        worker.steps = steps
        worker.trap = trap

    def turn_ended(self, cell: Cell) -> None:
        cell._worker = None
        if cell._rare is not None:
            cell._rare.cut = False
        cell._settle()

    # -- for those who are not actors

    def handle_now(self, cell: Cell, ask: Ask) -> bool:
        """Let an idle actor with a plain handler handle an ask right here, if it can.

        Such a handler cannot wait, so nothing has to be switched: for a trio task that asks, and
        for an actor that does (`spots` times between two looks at the clock).
        """
        if not cell._idle:
            return False
        receive = cell._plain or self._plain_at_first(cell)
        if receive is None:
            return False
        asker = self.current
        if asker is not None:
            # Counted by the leader, with its batch; and a turn goes on afterwards.
            self.spots -= 1
            self.stepping = False
            self.asker = asker
        self.current = cell
        cell._idle = False
        cell._message = ask
        ask.where = "being handled"
        spare = self._spare
        try:
            result = spare.run(receive, ask.message)
            if result is not None and (
                (kind := result.__class__) is CoroutineType or kind is AsyncGeneratorType
            ):
                if kind is CoroutineType:
                    raise forgotten(cell, receive, result)
                if ask.where == "being handled":
                    refuse_ask(cell, ask)
                    ask.where = "refused"
        except Exception as error:
            plain_failure(cell, ask, error)
        except BaseException:
            # It ends the asker too, or the whole program; the asked actor must stay whole.
            interrupted(cell, ask)
            cell._settle()
            raise
        else:
            if ask.where == "being handled":
                # Nobody waits yet, so nobody is to be woken.
                ask.value = result
            if cell._plain is not receive or cell._queue or cell._front:
                plain_rest(cell, receive, 0)
            else:
                cell._message = NOTHING
                cell._idle = True
        finally:
            self.current = asker
            if self.taken_of is not None:
                self.note_taken(cell, 1)
            if asker is not None:
                self.stepping = True
                self.asker = None
            else:
                self.counters.taken += 1
                self.counters.handled += 1
        if self._changed(spare) if self._base_items else spare != self.base:
            self._spare = self.base.copy()
        return True

    def note_taken(self, cell: Cell, count: int) -> None:
        """While somebody looks: an actor has taken so many messages out of its mailbox."""
        if self.taken_of is not None:
            self.taken_of[cell] = self.taken_of.get(cell, 0) + count

    def leads(self, asker: Cell) -> bool:
        """Whether `asker` runs on the leader, in no cancel scope of its own.

        Elsewhere it has to wait properly: an ask is a cancellation point.
        """
        leader = self._leader
        return (
            asker._worker is None
            and leader is not None
            and cancel_status(leader.task) is leader.status
        )

    async def give_way(self) -> None:
        """A cancellation point, and now and then (about every 2 ms of work) a full checkpoint."""
        self._granted -= 1
        if self._granted > 0:
            await trio.lowlevel.checkpoint_if_cancelled()
            return
        self._granted = self._grant = self._own_pacer.grant(self._grant)
        if self._granted:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
            self._own_pacer.begin()


_IDENTITY: Final[Any] = object.__eq__
_PLAIN_VALUES: Final = (bool, int, float, str, bytes, type(None))
_NOTHING_READY: Final = "nothing ready"
_SLICE_OVER: Final = "slice over"
_CONTEXT_CHANGED: Final = "context changed"
_WAITS: Final = "waits"
