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


Task: Final = trio.lowlevel.Task


class _Pending:
    __slots__ = ()

    def __repr__(self) -> str:
        return "<pending>"


PENDING: Final = _Pending()


class Raised:
    """The outcome of a wait that raises."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Waiter:
    """Something awaited once.

    Inside a turn that the dispatcher steps, `wait` yields the waiter itself, and the dispatcher
    sets the actor aside: no task waits. Anywhere else it is an ordinary trio wait.

    value: PENDING, then what `wait` returns, or a Raised.
    waits: the cell that is set aside, or the trio task.
    holder: the cell that has to act for the wait to end, for the search of cycles.
    """

    __slots__ = ("holder", "value", "waits")

    def __init__(self, holder: Cell | None) -> None:
        self.holder = holder
        self.value: Any = PENDING
        self.waits: Cell | trio.lowlevel.Task | None = None

    def resolve(self, value: Any = None) -> bool:
        """End the wait. Returns False, and does nothing, if it has ended already."""
        if self.value is not PENDING:
            return False
        self.value = value
        waits = self.waits
        if waits is not None:
            self.waits = None
            if waits.__class__ is Task:
                trio.lowlevel.reschedule(waits)
            else:
                waits._dispatcher.enqueue(waits)
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
        value = self.value
        if value.__class__ is Raised:
            # The error's traceback holds this frame, which must not hold the error.
            self.value = None
            try:
                raise value.error
            finally:
                del value
        return value

    async def wait_in_task(self) -> None:
        """Wait as the current trio task. Returns when resolved; a cancellation point."""
        if self.value is not PENDING:
            await trio.lowlevel.checkpoint()
            return
        self.waits = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            # Only this wait's own field, so the order in which trio aborts tasks cannot be seen.
            self.waits = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def abandoned(self) -> None:
        """The one who waited was cancelled."""
        if self.value is PENDING:
            self.value = None


class _Pause:
    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, None]:
        yield self


PAUSE: Final = _Pause()
"""Awaited in a turn: the other ready actors have a turn first."""


@types.coroutine
def trio_yield(trap: Any) -> Generator[Any, outcome.Outcome[Any], outcome.Outcome[Any]]:
    """Hand one of trio's own traps to trio, from the task that runs now."""
    return (yield trap)
