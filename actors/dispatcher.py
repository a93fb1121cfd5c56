"""Running actors on borrowed tasks.

An idle actor has no task. One that has messages stands in `ready`, and one worker task, the
leader, takes ready actors in order and runs a turn of each, by plain calls: trio is not involved.
When a handler really waits, it does so on the leader's own task; leadership then passes to
another worker, and this one relays to trio until the turn ends. (The leader/followers pattern:
Schmidt et al., Pattern-Oriented Software Architecture 2.) An actor that waits for another actor
needs no task either: its suspended turn is set aside, and stepped on when the reply comes.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator
from contextvars import Context
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

import trio

from actors._trio_private import cancel_status
from actors.ask import Ask
from actors.errors import NotRunning, SystemClosed, WrongThread
from actors.failing import failed
from actors.mailbox import NOTHING
from actors.states import DRAINING, RESTARTING, RUNNING, STARTING
from actors.threads import current_thread
from actors.turn import answer, forgotten, plain_failure, plain_rest, turn
from actors.waiting import Waiter, trio_yield

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.dead_letters import DeadLetters
    from actors.env import Env
    from actors.ledger import Counters
    from actors.system import ActorSystem
    from actors.timers import Timers

log = logging.getLogger("actors")

Steps = Generator[Any, Any, None]
"""A turn that is under way."""

TURN: Final = 64
"""Messages that one actor may handle before the next one is run."""

IDLE_WORKERS: Final = 1_024
"""Parked worker tasks that are kept: 4 KB each, and a new one costs 20 us."""


class _Done:
    __slots__ = ()


DONE: Final = _Done()


class Worker:
    """A task that runs turns. `scope` is entered around whatever it runs: cancelling it cancels
    exactly the handler that waits on this worker."""

    __slots__ = ("cell", "context", "leads", "scope", "status", "steps", "task", "trap")

    def __init__(self) -> None:
        self.task: trio.lowlevel.Task | None = None
        self.scope: trio.CancelScope | None = None
        self.status: object = None
        self.leads = False
        # The turn that it is to relay: of an actor that waits, or that was handed over.
        self.cell: Cell | None = None
        self.steps: Steps | None = None
        self.trap: Any = None
        self.context: Context | None = None


class Dispatcher:
    """Schedules the turns of one system's actors."""

    def __init__(
        self, system: ActorSystem, env: Env, counters: Counters, dead_letters: DeadLetters
    ) -> None:
        self.system = system
        self.env = env
        self.counters = counters
        self.dead_letters = dead_letters
        self.timers: Timers
        self.thread = 0
        self.ready: deque[Cell] = deque()
        # While someone leads this is ready.append itself, so that a tell costs no look-up of who
        # leads; otherwise it elects.
        self.enqueue: Callable[[Cell], None] = self._not_running
        self.current: Cell | None = None
        """The cell whose turn is being stepped right now, by this very call stack."""
        self.stepping = False
        """Whether that turn is a coroutine, which counts its messages one by one."""
        self.time_seen = 0.0
        self._parked: list[Worker] = []
        self._by_task: dict[trio.lowlevel.Task, Worker] = {}
        self._nursery: trio.Nursery | None = None
        self._open = False
        self._closed = False
        self._base = Context()
        self._spare = Context()
        self._pacer = env.pacer()
        self._own_pacer = env.pacer()
        self._granted = self._grant = 0

    # -- opening and closing

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Hold the worker tasks until `close`."""
        # Who leaves the system decides when its actors end: a cancellation of what surrounds it
        # reaches the body of `async with` first, and that then stops or kills them in order.
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as self._nursery:
                self._open = True
                self.enqueue = self._elect
                self._nursery.start_soon(self.timers.run)
                self._ended = trio.Event()
                task_status.started()
                await self._ended.wait()
                self.timers.end()
                for worker in self._parked:
                    assert worker.task is not None
                    trio.lowlevel.reschedule(worker.task)
                self._parked.clear()

    def prepare(self, thread: int, base: Context, timers: Timers) -> None:
        """What is known only inside trio."""
        self.thread = thread
        self._base = base
        self._spare = base.copy()
        self.timers = timers
        self.time_seen = timers.clock()

    def close(self) -> None:
        """Every actor has stopped: let the workers go."""
        self.thread = 0
        self._open = False
        self._closed = True
        self.enqueue = self._not_running
        self._ended.set()

    @property
    def crashed(self) -> bool:
        """Whether a worker ended by something that is no Exception (Ctrl-C in a handler)."""
        return self._closed and not self._ended.is_set()

    def check_open(self) -> None:
        """Raises SystemClosed or NotRunning."""
        if not self._open:
            self._refuse()

    def check_thread(self, what: str) -> None:
        """Raises WrongThread; or NotRunning or SystemClosed, outside the system's time."""
        if current_thread() != self.thread:
            self.refuse_thread(what)

    def refuse_thread(self, what: str) -> None:
        """The current thread does not run the system, or nothing does."""
        if self._open:
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
        self._employ().leads = True

    def _employ(self) -> Worker:
        """A parked worker, woken, or a new one."""
        if self._parked:
            worker = self._parked.pop()
            assert worker.task is not None
            # What its last turn set must not be seen by the next one.
            worker.task.context = self._base.copy()
            trio.lowlevel.reschedule(worker.task)
            return worker
        worker = Worker()
        assert self._nursery is not None
        # In a context of its own: a new task copies the current one, which may be a handler's.
        self._base.copy().run(self._nursery.start_soon, self._work, worker)
        return worker

    async def _work(self, worker: Worker) -> None:
        """The life of a worker task."""
        worker.task = task = trio.lowlevel.current_task()
        self._by_task[task] = worker
        try:
            while True:
                raised: ExceptionGroup[Exception] | None = None
                worker.scope = scope = trio.CancelScope()
                try:
                    with scope:
                        worker.status = cancel_status(scope)
                        if not await self._employed(worker, scope):
                            return
                except ExceptionGroup as group:
                    if not scope.cancelled_caught and not scope.cancel_called:
                        raise
                    raised = group
                # Its handler was cancelled, and has ended by it: go on with a fresh scope.
                cell, worker.cell = worker.cell, None
                worker.steps = worker.trap = None
                if cell is not None:
                    if raised is not None:
                        # A handler's nursery can raise besides being cancelled.
                        self._raised_besides(cell, raised)
                    self._turn_ended(cell)
        except BaseException:
            # The nursery now cancels the other workers. None of them may be woken meanwhile.
            self._open = False
            self._closed = True
            self._parked.clear()
            self.enqueue = self._not_running
            raise
        finally:
            del self._by_task[task]

    async def _employed(self, worker: Worker, scope: trio.CancelScope) -> bool:
        """Do what it is woken for, until `scope` is cancelled. Returns False to end the task."""
        while not scope.cancel_called:
            if worker.leads:
                await self._lead(worker)
            elif worker.cell is not None:
                await self._relay(worker, worker.cell)
            elif not self._open or len(self._parked) >= IDLE_WORKERS:
                return False
            else:
                self._parked.append(worker)
                await trio.lowlevel.wait_task_rescheduled(_abort)
        return True

    def _raised_besides(self, cell: Cell, group: ExceptionGroup[Exception]) -> None:
        if cell._state in (STARTING, RUNNING, DRAINING, RESTARTING):
            failed(cell, group, "receive")
        else:
            log.error("%s raised while it was cancelled", cell, exc_info=group)

    async def _lead(self, worker: Worker) -> None:
        """Run ready actors until there is none, or until a handler waits."""
        pacer = self._pacer
        pacer.begin()
        while True:
            context = self._base.copy()
            why = context.run(self._run_ready, worker, context)
            self.current = None
            if why is _SLICE_OVER:
                await trio.lowlevel.cancel_shielded_checkpoint()
                pacer.begin()
            elif why is not _CONTEXT_CHANGED:
                break
        worker.leads = False
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
        base = self._base
        counters = self.counters
        take = self.ready.popleft
        clock = self.timers.clock
        done = 0
        while left := self._pacer.grant(done):
            self.time_seen = clock()
            granted = left
            stepped = 0
            try:
                while left > 0:
                    try:
                        cell = take()
                    except IndexError:
                        return _NOTHING_READY
                    self.current = cell
                    receive = cell._plain
                    if receive is None:
                        receive = self._plain_at_first(cell)
                    if receive is None:
                        before = counters.taken
                        self._step_on_lead(worker, cell)
                        ran = counters.taken - before or 1
                        left -= ran
                        stepped += ran
                        if worker.cell is not None:
                            return _WAITS
                        if context != base:
                            if cell._steps is not None:
                                # Set aside: it goes on in the context that it has changed.
                                cell._rare_part().asides_context = context
                            return _CONTEXT_CHANGED
                        continue
                    message = cell._message
                    cell._used -= 1
                    left -= 1
                    try:
                        if message.__class__ is Ask:
                            answer(cell, receive, message)
                        else:
                            result = receive(message)
                            if result is not None and result.__class__ is CoroutineType:
                                raise forgotten(cell, receive, result)
                    except Exception as error:
                        plain_failure(cell, message, error)
                    else:
                        if cell._queue or cell._plain is not receive:
                            left -= plain_rest(cell, receive, left)
                        else:
                            cell._message = NOTHING
                            cell._idle = True
                    if context != base:
                        return _CONTEXT_CHANGED
            finally:
                plain = granted - left - stepped
                counters.taken += plain
                counters.handled += plain
            done = granted - left
        return _SLICE_OVER

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
        steps = cell._steps
        if steps is None:
            if cell._waits:
                self._hand_over(cell, turn(cell, TURN).__await__(), _BEGIN)
                return
            steps = turn(cell, TURN).__await__()
        else:
            cell._steps = None
            rare = cell._rare
            if rare is not None and rare.asides_context is not None:
                aside, rare.asides_context = rare.asides_context, None
        self.stepping = True
        # Iterated, not sent to: the end of an iteration costs no StopIteration object.
        trap = next(steps, DONE) if aside is None else aside.run(next, steps, DONE)
        self.stepping = False
        if trap is DONE:
            self._turn_ended(cell)
        elif (
            isinstance(trap, Waiter)
            and cancel_status(worker.task) is worker.status
            and not (cell._rare is not None and cell._rare.cut)
        ):
            cell._steps = steps
            trap.aside = cell
            if aside is not None:
                cell._rare_part().asides_context = aside
        else:
            worker.context = aside
            worker.cell = cell
            worker.steps = steps
            worker.trap = trap
            cell._worker = worker

    def _hand_over(self, cell: Cell, steps: Steps, trap: object) -> None:
        """Let another worker go on with a turn.

        For an actor whose last turn had to wait on trio: where many such actors are ready, each
        gets a worker at once, instead of leadership passing from one to the next, a tick each.
        And for one that was set aside and is cancelled.
        """
        other = self._employ()
        other.cell = cell
        other.steps = steps
        other.trap = trap
        cell._worker = other

    def _turn_ended(self, cell: Cell) -> None:
        cell._worker = None
        if cell._rare is not None:
            cell._rare.cut = False
        cell._settle()

    # -- waiting on trio

    async def _relay(self, worker: Worker, cell: Cell) -> None:
        """Let a turn wait on this worker's own task, until it ends and the mailbox is empty."""
        steps, trap, worker.trap = worker.steps, worker.trap, None
        assert steps is not None
        assert worker.scope is not None
        if trap is _BEGIN:
            assert worker.task is not None
            trap = self._step(cell, steps, None)
            cell._waits = trap is not DONE
        else:
            cell._waits = True
        while True:
            while trap is not DONE:
                if cell._rare is not None and cell._rare.cut:
                    # It was to be cancelled while it ran: what it waits for now is.
                    worker.scope.cancel()
                if isinstance(trap, Waiter):
                    try:
                        await trap.wait_in_task()
                    except BaseException as error:
                        trap = self._throw(cell, steps, error)
                    else:
                        trap = self._step(cell, steps, None)
                else:
                    trap = self._step(cell, steps, await trio_yield(trap))
            rare = cell._rare
            if (
                not (cell._queue or (rare is not None and rare.urgent))
                or worker.scope.cancel_called
                or not cell._waits
            ):
                break
            steps = turn(cell, TURN).__await__()
            cell._waits = False
            trap = self._step(cell, steps, None)
            if trap is not DONE:
                cell._waits = True
        worker.cell = worker.steps = None
        self._turn_ended(cell)

    def _step(self, cell: Cell, steps: Steps, value: Any) -> Any:
        self.current = cell
        self.stepping = True
        try:
            return steps.send(value)
        except StopIteration:
            return DONE
        finally:
            self.current = None
            self.stepping = False

    def _throw(self, cell: Cell, steps: Steps, error: BaseException) -> Any:
        self.current = cell
        self.stepping = True
        try:
            return steps.throw(error)
        except StopIteration:
            return DONE
        finally:
            self.current = None
            self.stepping = False

    def cancel(self, cell: Cell) -> None:
        """Cancel the handler or hook that the cell waits in, if it waits."""
        # Whatever comes of it, the turn must not go on to the next message: a handler that had
        # just finished when it was to be cancelled would leave the cancellation to that one.
        cell._rare_part().cut = True
        worker = cell._worker
        if worker is not None:
            if worker.trap is not _BEGIN:
                assert worker.scope is not None
                worker.scope.cancel()
            return
        waiter = cell._waiting
        if cell._steps is not None and waiter is not None and waiter.aside is cell:
            # Trio's rules say what a cancelled `finally` may do, so it is cancelled on a task.
            waiter.aside = None
            steps, cell._steps = cell._steps, None
            self._hand_over(cell, steps, waiter)

    def abandon_hooks(self) -> None:
        """Cancel what still waits on trio, `stopped()` hooks too. (Waits for children go on.)"""
        for worker in tuple(self._by_task.values()):
            cell = worker.cell
            if cell is not None and cell._waiting is None and worker.scope is not None:
                worker.scope.cancel()

    # -- for those who are not actors

    def handle_now(self, cell: Cell, ask: Ask) -> bool:
        """Let an idle actor with a plain handler handle an ask on the caller's task, if it can."""
        receive = cell._plain or self._plain_at_first(cell)
        if receive is None:
            return False
        self.check_open()
        cell._idle = False
        cell._message = ask
        counters = self.counters
        spare = self._spare
        self.current = cell
        try:
            spare.run(answer, cell, receive, ask)
        except Exception as error:
            plain_failure(cell, ask, error)
        else:
            plain_rest(cell, receive, 0)
        finally:
            self.current = None
            counters.taken += 1
            counters.handled += 1
        if spare != self._base:
            self._spare = self._base.copy()
        return True

    async def give_way(self) -> None:
        """A cancellation point, and now and then (about every 2 ms of work) a full checkpoint."""
        self._granted -= 1
        if self._granted > 0:
            await trio.lowlevel.checkpoint_if_cancelled()
            return
        self._granted = self._grant = self._own_pacer.grant(self._grant)
        if not self._granted:
            await trio.lowlevel.checkpoint()
            self._own_pacer.begin()

    def cell_of_task(self) -> Cell | None:
        """The cell in whose handler's nurseries the current task runs, if any."""
        if not self._by_task:
            return None
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        while task is not None:
            worker = self._by_task.get(task)
            if worker is not None:
                return worker.cell
            nursery = task.parent_nursery
            task = None if nursery is None else nursery.parent_task
        return None


def _abort(_: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.SUCCEEDED


_NOTHING_READY: Final = "nothing ready"
_SLICE_OVER: Final = "slice over"
_CONTEXT_CHANGED: Final = "context changed"
_WAITS: Final = "waits"
_BEGIN: Final = object()
