"""What all supervisors are: an actor that starts children, tells of them, and is told what to do.

`restarting` is what it does when one of them fails or ends.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from typing import Any

import trio

from actors import ActorRef, ActorStopped, NodeDown, NoNode
from actors.ask import Ask
from actors.cell import Cell
from supervision.child import ChildSpec
from supervision.due import Due
from supervision.elsewhere import ChildWatcher
from supervision.entry import Entry
from supervision.errors import ChildLost, NoSuchChild
from supervision.restarting import Restarting
from supervision.strategies import Strategy
from supervision.views import (
    ChildCounts,
    ChildInfo,
    CountChildren,
    RestartChild,
    StartChild,
    StopChild,
    WhichChildren,
)

log = logging.getLogger("supervision")

AUTO_SHUTDOWN = ("never", "any_significant", "all_significant")


class BaseSupervisor(Restarting):
    """The base of Supervisor, DynamicSupervisor and Pool; see there.

    Class attributes (or set by the constructor):
        strategy: what to do about a child's failure.
        auto_shutdown: "never"; "any_significant": this supervisor stops (SHUTDOWN) when one of its
            significant children has ended and is not restarted; "all_significant": when the last
            of them has.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _check_strategy(cls.strategy, cls.__name__)
        if cls.auto_shutdown not in AUTO_SHUTDOWN:
            raise ValueError(
                f"{cls.__name__}.auto_shutdown is one of {', '.join(AUTO_SHUTDOWN)}: "
                f"{cls.auto_shutdown!r}"
            )

    # -- what a subclass uses

    def which_children(self) -> tuple[ChildInfo, ...]:
        """The children, in order of start; those that are not running are among them."""
        listed = [self._info(entry) for entry in self._entries.values()]
        others = [
            ChildInfo(
                cell.name,
                cell,
                cell._state.value,
                None,
                False,
                issubclass(cell._traits.cls, BaseSupervisor),
                cell.incarnation - 1,
            )
            for cell in self._cells()
            if cell.name not in self._entries
        ]
        return (*listed, *others)

    def count_children(self) -> ChildCounts:
        """How many children there are."""
        children = self.which_children()
        supervisors = sum(child.supervisor for child in children)
        return ChildCounts(
            specs=len(children),
            active=sum(child.ref is not None for child in children),
            supervisors=supervisors,
            workers=len(children) - supervisors,
        )

    async def stop_child(self, name: str) -> None:
        """Stop a child, and return once it has stopped. Only `restart_child` starts it again.

        If its handler waits for this supervisor, that wait is cancelled.

        Raises:
            NoSuchChild: there is none of that name.
        """
        entry = self._entry(name)
        self._due.remove(entry)
        entry.kept_down = True
        await self._end(entry)

    async def restart_child(self, name: str) -> ActorRef:
        """Start a child again that is not running, and return its ref once it has started.

        Of a child that runs, its ref as it is.

        Raises:
            NoSuchChild: there is none of that name.
            NoNode: no node takes it now, or within its `start_within` seconds.
            Exception: whatever its start raised; it is not running then.
        """
        entry = self._entry(name)
        if entry.ref is None:
            await self._start_entry(entry, entry.spec.start_within or 0.0)
        assert entry.ref is not None
        return entry.ref

    async def receive(self, message: Any) -> Any:
        """Answer what `supervision.views` asks.

        A subclass with messages of its own passes on the rest:
        `case _: return await super().receive(message)`.

        A message that is none of these is refused: its asker gets ActorFailed, or it is logged.
        """
        match message:
            case WhichChildren():
                return self.which_children()
            case CountChildren():
                return self.count_children()
            case StopChild(name):
                return await self._answer(self.stop_child(name))
            case RestartChild(name):
                return await self._answer(self.restart_child(name))
        hint = "; a DynamicSupervisor has" if isinstance(message, StartChild) else ""
        return self._refuse(
            TypeError(f"{type(self).__name__} has no handler for {type(message).__name__}{hint}")
        )

    # -- children

    def _cells(self) -> tuple[Cell, ...]:
        return tuple((self._cell._children or {}).values())

    def _entry(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            raise NoSuchChild(self.context.ref, name, tuple(self._entries)) from None

    def _info(self, entry: Entry) -> ChildInfo:
        cell = entry.cell
        if cell is not None:
            state, restarts = cell._state.value, cell.incarnation - 1
        elif entry.there is not None:
            state, restarts = "running", entry.starts - 1
        else:
            state = "waiting for a node" if self._due.is_parked(entry) else "not running"
            restarts = 0
        return ChildInfo(
            entry.name,
            entry.ref,
            state,
            entry.spec.kind,
            entry.spec.significant,
            issubclass(entry.spec.cls, BaseSupervisor),
            restarts,
        )

    async def _start(self) -> None:
        _check_strategy(self.strategy, type(self).__name__)
        self._entries = {}
        self._intensity = self.strategy.intensity()
        self._waits_for_node = False
        self._downs: deque[NodeDown] = deque(maxlen=16)
        timers, owned = self._cell._dispatcher.timers, self._cell._rare_part().timers
        self._due = Due(lambda after, call: timers.add(after, None, call, owned), self._look_again)
        for name, spec in self._first_children().items():
            entry = self._entries[name] = Entry(name, spec)
            try:
                await self._start_first(entry)
            except Exception as error:
                error.add_note(f"raised by the start of {name!r}, a child of {self.context.ref}")
                raise
        await self.started()

    async def _start_first(self, entry: Entry) -> None:
        """Start it for the first time: what it raises fails its supervisor's start.

        But that its node is lost, or left, in the middle of it is no fault of the child: another
        one is chosen then, as at a restart.

        Raises:
            TooManyRestarts: that happened too often.
            Exception: as `_start_entry`.
        """
        timers = self._cell._dispatcher.timers
        within = entry.spec.start_within
        until = math.inf if within is None else timers.clock() + within
        while True:
            watcher = ChildWatcher(self._cell, entry.name)
            try:
                return await self._start_entry(entry, until - timers.clock(), watcher)
            except NoNode as error:
                # Was one asked, which refused it as it is being left?
                if error.nodes or not watcher.has_watched or timers.clock() >= until:
                    raise
            except ActorStopped as error:
                if entry.spec.on is None:
                    raise
                # Its end is told behind that its start has failed.
                await watcher.ended.wait()
                if not isinstance(watcher.reason, NodeDown):
                    raise
                lost = ChildLost(error.ref, watcher.reason.node, watcher.reason.why)
                await trio.sleep(self._next_start(entry, lost, watcher.reason))

    def _first_children(self) -> dict[str, ChildSpec]:
        return {}

    # -- answering

    async def _answer(self, work: Any) -> Any:
        """Reply with what the work returns, or raises: the asker's mistake is not our failure."""
        try:
            return await work
        except Exception as error:
            return self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        message = self._cell._message
        if isinstance(message, Ask):
            message.failed(error)
        else:
            log.warning("%s: %s", self.context.ref, error)


def _check_strategy(strategy: object, where: str) -> None:
    if not isinstance(strategy, Strategy):
        raise TypeError(
            f"{where}.strategy is OneForOne(), OneForAll() or RestForOne(): {strategy!r}"
        )
