"""Children on other nodes: their supervisor stays on its own node, and only watches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from actors import ExitReason, Failure, NodeDown, Terminated
from actors.failure import ChildEnded
from actors.states import DRAINING, FAILED, RUNNING, STARTING

if TYPE_CHECKING:
    from actors.cell import Cell


class ChildWatcher:
    """Watches a child for its supervisor: what `watching.notify` needs of a cell.

    The notice becomes a signal, which the supervisor attends to before its next message, as to the
    failure of a child on its own node.
    """

    __slots__ = (
        *("_dispatcher", "_idle", "_name", "_rare", "_supervisor"),
        *("ended", "reason", "watching"),
    )

    def __init__(self, supervisor: Cell, name: str) -> None:
        self._supervisor = supervisor
        self._name = name
        self._dispatcher = supervisor._dispatcher
        self._idle = True
        self._rare = None
        self.watching: dict[Any, None] = {}
        self.reason: ExitReason | Failure | NodeDown | None = None
        """Why it has ended, once it has; `ended` says so to who waits for that."""
        self.ended = trio.Event()

    @property
    def has_watched(self) -> bool:
        """Whether there was somebody to watch."""
        return bool(self.watching) or self.ended.is_set()

    def _rare_part(self) -> ChildWatcher:
        return self

    def _closed(self) -> bool:
        return False

    def tell(self, notice: Terminated) -> None:
        """The child has ended."""
        self.reason = notice.reason
        self.ended.set()
        cell = self._supervisor
        if cell._state in (STARTING, RUNNING, DRAINING, FAILED):
            cell._rare_part().signals.append(ChildEnded(self._name, notice.ref, notice.reason))
            cell._wake()
