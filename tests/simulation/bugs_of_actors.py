"""Bugs of mailboxes, restarts and supervisors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import actors.failing
import supervision.restarting
from actors.cell import Cell
from actors.failing import new_incarnation
from actors.failure import Failure
from actors.intensity import Intensity
from actors.states import RUNNING
from actors.suspending import suspend
from supervision.base import BaseSupervisor
from tests.simulation.apps_of_actors import Offices, Potteries, Teams
from tests.simulation.planting import Change, bug

restart = BaseSupervisor._restart


@bug(Offices)
def stash_lost_on_restart() -> Iterable[Change]:
    """The stash ends with its incarnation."""

    def lose(cell: Cell) -> None:
        assert cell._rare is not None
        cell._rare.stash = []

    yield actors.failing, "unstash_all", lose


@bug(Offices)
def order_broken_on_restart() -> Iterable[Change]:
    """What is stashed comes behind what waits in the mailbox, when its actor restarts."""

    def behind(cell: Cell) -> None:
        assert cell._rare is not None
        stash, cell._rare.stash = cell._rare.stash, []
        # It keeps the room it had: what the receiver takes is what is behind the rest.
        waiting = [*reversed(cell._front or ()), *stash]
        cell._front = waiting[::-1]
        if cell._queue:
            queue, cell._queue = cell._queue, None
            cell._room -= len(queue)
            cell._front = [*stash, *queue][::-1] if not waiting else [*queue, *waiting][::-1]

    yield actors.failing, "unstash_all", behind


@bug(Offices)
def restart_forgets_the_mailbox() -> Iterable[Change]:
    """A new incarnation begins with an empty mailbox."""

    def empty(cell: Cell) -> None:
        cell._room += len(cell._front or ())
        cell._front = cell._queue = None
        new_incarnation(cell)

    yield actors.failing, "new_incarnation", empty


@bug(Offices)
def no_second_restart() -> Iterable[Change]:
    """A supervisor takes a child that fails again for one that it is restarting already."""

    async def restart_once(
        self: BaseSupervisor, entry: Any, child: Cell, failure: Failure, after: float
    ) -> None:
        restarting = self.__dict__.setdefault("restarting_now", {})
        if child not in restarting:
            restarting[child] = True
            await restart(self, entry, child, failure, after)

    yield BaseSupervisor, "_restart", restart_once


@bug(Potteries)
def restarts_never_forgotten() -> Iterable[Change]:
    """The limit of restarts counts all there ever were, and not those of the last seconds."""

    def admit(self: Intensity, now: float) -> bool:
        if self.max_restarts is None:
            return True
        if len(self._admitted) == self.max_restarts:
            return False
        self._admitted.append(now)
        return True

    yield Intensity, "admit", admit


@bug(Potteries)
def one_restart_too_many() -> Iterable[Change]:
    """The limit of restarts is reached one restart too late."""
    make = Intensity.__init__

    def make_larger(self: Intensity, max_restarts: int | None, within: float) -> None:
        make(self, None if max_restarts is None else max_restarts + 1, within)

    yield Intensity, "__init__", make_larger


@bug(Teams)
def two_incarnations_at_work() -> Iterable[Change]:
    """A restart of siblings does not wait for the handler that one of them is in."""

    async def at_once(parent: Cell, child: Cell, cause: Failure) -> None:
        if child._state is not RUNNING:
            await suspend(parent, child, cause)
            return
        child._rare_part().failure = cause
        new_incarnation(child)

    yield supervision.restarting, "suspend", at_once
