"""The root: the parent of the top-level actors. It restarts them, up to a limit."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from actors.failing import decide
from actors.failure import ExitReason, Failure, Restart
from actors.states import RUNNING, STOPPED, State
from actors.stopping import kill, stop
from actors.waiting import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.cell import Cell
    from actors.dispatcher import Dispatcher
    from actors.intensity import Intensity
    from actors.rare import Rare


class Root:
    """Stands where a parent stands, and is no actor: it decides at once, and never waits.

    intensity: of the restarts of all top-level actors together.
    give_up: called with the failure that is one too many.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        intensity: Intensity,
        give_up: Callable[[Failure], None],
    ) -> None:
        self._dispatcher = dispatcher
        self._children: dict[str, Cell] | None = {}
        self._state: State = RUNNING
        self._intensity = intensity
        self._give_up = give_up
        self._empty: Waiter | None = None

    def as_ref(self) -> None:
        """No actor."""

    def __str__(self) -> str:
        return f"actor://{self._dispatcher.system.name}"

    def _decide_about(self, child: Cell, failure: Failure) -> None:
        if self._intensity.admit(self._dispatcher.timers.clock()):
            self._dispatcher.crash_reports.publish(child, failure, "it is restarted")
            decide(child, Restart())
        else:
            self._dispatcher.crash_reports.publish(
                child, failure, "the system is stopped", logging.CRITICAL
            )
            self._give_up(failure)

    def _child_stopped(self, child: Cell, reason: ExitReason | Failure) -> None:
        if not self._children and self._empty is not None:
            empty, self._empty = self._empty, None
            empty.resolve()

    def _take_back(self, left: list[Any], childs: Rare) -> list[Any]:
        return left

    async def stop_in_order(self) -> None:
        """Stop the top-level actors, the youngest first, each before the next."""
        for cell in tuple(reversed((self._children or {}).values())):
            stop(cell, ExitReason.SHUTDOWN)
            if cell._state is STOPPED:
                await self._dispatcher.give_way()
            else:
                await cell.stopped()

    async def kill_all(self) -> None:
        """Cancel what runs; hooks still run, each within its own time. Waits for the last one."""
        for cell in tuple(reversed((self._children or {}).values())):
            kill(cell)
        if self._children:
            self._empty = Waiter(None)
            await self._empty.wait(self._dispatcher)
