"""Refs that say of each ask and send how it began and how it ended, for those who record it.

Only the cells and remote refs of a system that is recorded are of these classes, so that other
systems pay nothing.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, Protocol

from actors.cell import Cell
from actors.ref import ActorRef

if TYPE_CHECKING:
    from actors.dispatcher import Dispatcher


class Recorder(Protocol):
    """Who records."""

    def invoked(self, kind: str, sender: Cell | None, target: ActorRef, message: object) -> int:
        """An ask or send begins; returns what it is called from now on."""

    def returned(self, number: int, target: ActorRef, value: object) -> None:
        """It has ended well: an ask with this reply."""

    def raised(self, number: int, target: ActorRef, error: BaseException) -> None:
        """It has ended otherwise."""


class Recorded(ActorRef):
    """Beside the class of a ref: its asks and sends are recorded."""

    __slots__ = ()

    @abc.abstractmethod
    def _recorded_by(self) -> Dispatcher:
        """The dispatcher of its system."""

    async def send(self, message: object) -> None:
        await self._record("send", super().send, message)  # type: ignore[safe-super]

    async def ask(self, message: Any, timeout: float | None = 5.0) -> Any:
        return await self._record("ask", super().ask, message, timeout)  # type: ignore[safe-super]

    async def _record(self, kind: str, does: Any, message: object, *more: Any) -> Any:
        dispatcher = self._recorded_by()
        recorder = dispatcher.recorder
        if recorder is None:
            return await does(message, *more)
        sender = dispatcher.current or dispatcher.workers.cell_of_task()
        number = recorder.invoked(kind, sender, self, message)
        try:
            value = await does(message, *more)
        except BaseException as error:
            recorder.raised(number, self, error)
            raise
        recorder.returned(number, self, value)
        return value


class RecordedCell(Recorded, Cell):
    """The cell of an actor in a recorded system."""

    __slots__ = ()

    def _recorded_by(self) -> Dispatcher:
        return self._dispatcher
