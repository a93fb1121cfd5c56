"""One wait of an actor or of a trio task for something that another one does."""

from __future__ import annotations

import types
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

import outcome
import trio

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.dispatcher import Dispatcher


class _Pending:
    __slots__ = ()

    def __repr__(self) -> str:
        return "<pending>"


PENDING: Final = _Pending()


class Waiter:
    """Something awaited once.

    Inside a turn that the dispatcher steps, `wait` yields the waiter itself, and the dispatcher
    sets the actor aside: no task waits. Anywhere else it is an ordinary trio wait.

    value: PENDING, or what `wait` returns; error: what it raises instead.
    holder: the cell that has to act for the wait to end, for the search of cycles.
    """

    __slots__ = ("aside", "error", "holder", "task", "value")

    def __init__(self, holder: Cell | None) -> None:
        self.holder = holder
        self.value: Any = PENDING
        self.error: BaseException | None = None
        self.aside: Cell | None = None
        self.task: trio.lowlevel.Task | None = None

    def resolve(self, value: Any = None, error: BaseException | None = None) -> bool:
        """End the wait. Returns False, and does nothing, if it has ended already."""
        if self.value is not PENDING:
            return False
        self.value = value
        self.error = error
        cell = self.aside
        if cell is not None:
            self.aside = None
            cell._dispatcher.enqueue(cell)
        elif (task := self.task) is not None:
            self.task = None
            trio.lowlevel.reschedule(task)
        return True

    def __await__(self) -> Generator[Any, Any, None]:
        """Yield oneself, once, to whoever steps the turn."""
        yield self

    async def wait(self, dispatcher: Dispatcher) -> Any:
        """Wait until it is resolved; return its value or raise its error.

        If cancelled, `abandoned` is called first, so that whoever would resolve it learns of it.
        """
        if self.value is PENDING:
            try:
                if dispatcher.current is not None:
                    await self
                else:
                    await self.wait_in_task()
            except BaseException:
                self.abandoned()
                raise
        if self.error is not None:
            try:
                raise self.error
            finally:
                # An error that refers to this frame, which refers to the error, is a cycle.
                self.error = None
        return self.value

    async def wait_in_task(self) -> None:
        """Wait as the current trio task. Returns when resolved; a cancellation point."""
        if self.value is not PENDING:
            await trio.lowlevel.checkpoint()
            return
        self.task = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            # Only this wait's own field, so the order in which trio aborts tasks cannot be seen.
            self.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def abandoned(self) -> None:
        """The one who waited was cancelled."""
        if self.value is PENDING:
            self.value = None


@types.coroutine
def trio_yield(trap: Any) -> Generator[Any, outcome.Outcome[Any], outcome.Outcome[Any]]:
    """Hand one of trio's own traps to trio, from the task that runs now."""
    return (yield trap)
