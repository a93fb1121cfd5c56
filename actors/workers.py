"""The tasks that are lent to actors: parked, woken to lead, or waiting with a handler.

A worker that leads runs ready actors (see `dispatcher`). One whose handler really waits relays
between that handler's turn and trio, from its own task, until the turn ends: so everything of
trio works in a handler. Each worker holds a cancel scope: to cancel it cancels that one handler.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

import outcome
import trio

from actors._trio_private import (
    cancel_status,
    close_nurseries,
    close_what_is_open,
    has_nurseries,
    is_left_open,
)
from actors.errors import LeftOpen
from actors.failing import failed
from actors.states import DRAINING, RESTARTING, RUNNING, STARTING
from actors.turn import stray, turn
from actors.waiting import PAUSE, Waiter, trio_yield

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.dispatcher import Dispatcher

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
"""What stepping a turn gives when the turn has ended."""

BEGIN: Final = object()
"""In the place of a trap: the turn has not begun."""


class Worker:
    """A task that runs turns. `scope` is entered around whatever it runs: cancelling it cancels
    exactly the handler that waits on this worker."""

    __slots__ = (
        "cancelled",
        "cell",
        "context",
        "leads",
        "scope",
        "status",
        "steps",
        "task",
        "trap",
    )

    def __init__(self) -> None:
        self.task: trio.lowlevel.Task | None = None
        self.scope: trio.CancelScope | None = None
        self.status: object = None
        # Whether the scope is cancelled: asking it would read the clock.
        self.cancelled = False
        self.leads = False
        # The turn that it is to relay: of an actor that waits, or that was handed over.
        self.cell: Cell | None = None
        self.steps: Steps | None = None
        self.trap: Any = None
        self.context: Context | None = None

    def cancel(self) -> None:
        """Cancel what waits on this worker."""
        assert self.scope is not None
        self.cancelled = True
        self.scope.cancel()


class Workers:
    """The worker tasks of one system."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._parked: list[Worker] = []
        self._by_task: dict[trio.lowlevel.Task, Worker] = {}
        self.nursery: trio.Nursery | None = None
        self.hooks_abandoned = False

    def __len__(self) -> int:
        """How many tasks there are, parked ones included."""
        return len(self._by_task)

    def employ(self) -> Worker:
        """A parked worker, woken, or a new one."""
        if self._parked:
            worker = self._parked.pop()
            assert worker.task is not None
            # What its last turn set must not be seen by the next one.
            worker.task.context = self._dispatcher.base.copy()
            trio.lowlevel.reschedule(worker.task, _WOKEN)
            return worker
        worker = Worker()
        assert self.nursery is not None
        # In a context of its own: a new task copies the current one, which may be a handler's.
        self._dispatcher.base.copy().run(self.nursery.start_soon, self._work, worker)
        return worker

    def hand_over(self, cell: Cell, steps: Steps, trap: object) -> None:
        """Let another worker go on with a turn.

        For an actor whose last turn had to wait on trio: where many such actors are ready, each
        gets a worker at once, instead of leadership passing from one to the next, a tick each.
        And for one that was set aside and is cancelled.
        """
        other = self.employ()
        other.cell = cell
        other.steps = steps
        other.trap = trap
        cell._worker = other

    def dismiss(self) -> None:
        """Wake those that are parked, to end."""
        for worker in self._parked:
            assert worker.task is not None
            trio.lowlevel.reschedule(worker.task, _WOKEN)
        self._parked.clear()

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

    async def _work(self, worker: Worker) -> None:
        """The life of a worker task."""
        worker.task = task = trio.lowlevel.current_task()
        self._by_task[task] = worker
        try:
            while True:
                raised: Exception | None = None
                worker.scope = scope = trio.CancelScope()
                worker.cancelled = False
                try:
                    with scope:
                        worker.status = cancel_status(scope)
                        try:
                            if not await self._employed(worker):
                                return
                        except BaseException:
                            if self._is_left_open(worker):
                                # It was cancelled after a message that had left a nursery open.
                                await self._close(worker)
                            raise
                except ExceptionGroup as group:
                    if not worker.cancelled:
                        raise
                    # A handler's nursery can raise besides being cancelled.
                    raised = group
                except trio.Cancelled as error:
                    if worker.cell is None or self._nursery_cancelled():
                        raise
                    raised = stray(error)
                # Its handler was cancelled, and has ended by it: go on with a fresh scope.
                cell, worker.cell = worker.cell, None
                if worker.trap is BEGIN and worker.steps is not None:
                    worker.steps.close()
                worker.steps = worker.trap = None
                if cell is not None:
                    if raised is not None:
                        self.raised(cell, raised)
                    self._dispatcher.turn_ended(cell)
        except BaseException:
            # The nursery now cancels the other workers. None of them may be woken meanwhile.
            self._parked.clear()
            self._dispatcher.crash()
            raise
        finally:
            del self._by_task[task]

    async def _employed(self, worker: Worker) -> bool:
        """Do what it is woken for, until it is cancelled. Returns False to end the task."""
        while True:
            if worker.leads:
                await self._dispatcher.lead(worker)
            elif worker.cancelled and (worker.cell is None or worker.trap is BEGIN):
                return True
            elif worker.cell is not None:
                await self._relay(worker, worker.cell)
            elif not self._dispatcher.is_open or len(self._parked) >= IDLE_WORKERS:
                return False
            else:
                self._parked.append(worker)
                woken = await trio_yield(_PARK)
                if woken is not _WOKEN:
                    woken.unwrap()  # raises Cancelled

    def raised(self, cell: Cell, error: Exception, during: str = "receive") -> None:
        """A turn ended by what is no ordinary failure of a handler: it is one all the same."""
        if cell._state in (STARTING, RUNNING, DRAINING, RESTARTING):
            failed(cell, error, during)
        else:
            log.error("%s raised while it was cancelled", cell, exc_info=error)

    def _nursery_cancelled(self) -> bool:
        return self.nursery is None or self.nursery.cancel_scope.cancel_called

    # -- waiting on trio

    async def _relay(self, worker: Worker, cell: Cell) -> None:
        """Let a turn wait on this worker's own task, until it ends and the mailbox is empty."""
        if worker.context is not None and worker.task is not None:
            # A turn that was set aside goes on in its own context variables; trio takes the
            # context that a task has when it resumes it.
            worker.task.context, worker.context = worker.context, None
            await trio.lowlevel.cancel_shielded_checkpoint()
        steps, trap, worker.trap = worker.steps, worker.trap, None
        assert steps is not None
        if trap is BEGIN:
            trap = self._begin(cell, steps)
            cell._waits = trap is not DONE
        else:
            cell._waits = True
        while True:
            while trap is not DONE:
                if cell._rare is not None and cell._rare.cut:
                    # It was to be cancelled while it ran: what it waits for now is.
                    worker.cancel()
                if isinstance(trap, Waiter):
                    try:
                        await trap.wait_in_task()
                    except BaseException as error:
                        trap = self._step(cell, steps.throw, error)
                    else:
                        trap = self._step(cell, steps.send, None)
                elif trap is PAUSE:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                    trap = self._step(cell, steps.send, None)
                else:
                    trap = self._step(cell, steps.send, await trio_yield(trap))
            if self._is_left_open(worker):
                steps = self._leave(worker, cell).__await__()
                trap = self._begin(cell, steps)
                continue
            rare = cell._rare
            if (
                not (cell._queue or cell._front or (rare is not None and rare.urgent))
                or worker.cancelled
                or not cell._waits
            ):
                break
            steps = turn(cell, TURN).__await__()
            cell._waits = False
            trap = self._begin(cell, steps)
            if trap is not DONE:
                cell._waits = True
        worker.cell = worker.steps = None
        self._dispatcher.turn_ended(cell)

    @staticmethod
    def _is_left_open(worker: Worker) -> bool:
        return is_left_open(worker.task, worker.status) or has_nurseries(worker.task)

    def clear_up(self, worker: Worker, cell: Cell) -> bool:
        """The turn on a worker that leads has ended in a scope that it entered: it goes on here."""
        if not self._is_left_open(worker):
            return False
        worker.cell = cell
        worker.steps = self._leave(worker, cell).__await__()
        worker.trap = BEGIN
        cell._worker = worker
        return True

    async def _leave(self, worker: Worker, cell: Cell) -> None:
        """Leave what a turn has left open, and let its actor fail of it."""
        self.raised(cell, LeftOpen(cell, await self._close(worker)), "turn")
        # A cancellation that came meanwhile ends this turn here.
        await trio.lowlevel.checkpoint_if_cancelled()

    async def _close(self, worker: Worker) -> list[BaseException]:
        assert worker.task is not None
        raised = await close_what_is_open(worker.task, worker.status)
        return raised + await close_nurseries(worker.task)

    def _begin(self, cell: Cell, steps: Steps) -> Any:
        dispatcher = self._dispatcher
        dispatcher.current = cell
        dispatcher.stepping = True
        try:
            return next(steps, DONE)
        finally:
            dispatcher.current = None
            dispatcher.stepping = False

    def _step(self, cell: Cell, resume: Callable[[Any], Any], value: Any) -> Any:
        """Go on with a turn: `resume` is its `send`, or its `throw`."""
        dispatcher = self._dispatcher
        dispatcher.current = cell
        dispatcher.stepping = True
        try:
            return resume(value)
        except StopIteration:
            return DONE
        finally:
            dispatcher.current = None
            dispatcher.stepping = False

    def cancel(self, cell: Cell) -> None:
        """Cancel the handler or hook that the cell waits in, if it waits."""
        # Whatever comes of it, the turn must not go on to the next message: a handler that had
        # just finished when it was to be cancelled would leave the cancellation to that one.
        cell._rare_part().cut = True
        worker = cell._worker
        if worker is not None:
            # A trap stands there until the worker has taken the turn up; it then looks at `cut`.
            if worker.trap is None:
                worker.cancel()
            return
        waiter = cell._waiting
        if cell._steps is not None and waiter is not None and waiter.waits is cell:
            # Trio's rules say what a cancelled `finally` may do, so it is cancelled on a task.
            waiter.waits = None
            steps, cell._steps = cell._steps, None
            self.hand_over(cell, steps, waiter)
            rare = cell._rare
            if rare is not None and cell._worker is not None:
                cell._worker.context, rare.asides_context = rare.asides_context, None

    def abandon_hooks(self) -> None:
        """Cancel what still waits on trio, `stopped()` hooks too, and those that come later.

        (Waits for children go on.)
        """
        self.hooks_abandoned = True
        for worker in tuple(self._by_task.values()):
            cell = worker.cell
            if cell is not None and cell._waiting is None and worker.scope is not None:
                worker.cancel()


def _abort(_: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.SUCCEEDED


# What trio's own wait_task_rescheduled yields and is sent, made once instead of once a park.
_park = trio.lowlevel.wait_task_rescheduled(_abort)  # noqa: ASYNC105 - stepped by hand
_PARK: Final = _park.send(None)
_park.close()
_WOKEN: Final = outcome.Value(None)
