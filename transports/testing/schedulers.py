"""In which order tasks and actors run, in a simulated cluster.

Trio lets each task that can run take one step in each pass, and actors take their turns in the
order in which they got messages. Some races need less fairness than that: one that is always late.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import trio

from actors import Env
from transports.testing.chance import Dice
from transports.testing.tasks import Scheduler

if TYPE_CHECKING:
    from actors.cell import Cell

Kind = Literal["fair", "random-walk", "pct"]
KINDS: Final[tuple[Kind, ...]] = ("fair", "random-walk", "pct")

DEMOTE: Final = 0.005
"""Chance that a step is one at which priorities change."""

MOST_IN_A_ROW: Final = 256
"""Steps of one task before it is demoted: one that polls must let others run."""


class Order(Protocol):
    """Orders the tasks of all nodes, and the actors of each."""

    tasks: Scheduler

    def ready(self, name: str, incarnation: int) -> deque[Cell]:
        """Where actors of a node wait for their turn."""


def make_scheduler(kind: Kind, dice: Dice) -> Order | None:
    """None: trio's own order, which is shuffled by the run's seed in each pass.

    Raises:
        ValueError: there is none of that kind.
    """
    match kind:
        case "fair":
            return None
        case "random-walk":
            return RandomWalk(dice)
        case "pct":
            return Prioritized(dice)
    raise ValueError(f"{kind!r} is no scheduler; there are {', '.join(KINDS)}")


class RandomWalk:
    """Each task that can run does so in about every other pass; any ready actor is next."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self.tasks: Scheduler = _RandomTasks(dice)

    def ready(self, name: str, incarnation: int) -> deque[Cell]:
        return _RandomReady(self._dice.number("ready", name, incarnation))


class _RandomTasks:
    def __init__(self, dice: Dice) -> None:
        self._chance = Env(dice.number("random walk")).random("tasks")

    def spawned(self, task: trio.lowlevel.Task) -> None:
        pass

    def scheduled(self, task: trio.lowlevel.Task) -> None:
        pass

    def may_step(self, task: trio.lowlevel.Task) -> bool:
        return self._chance.random() < 0.5

    def stepped(self, task: trio.lowlevel.Task) -> None:
        pass

    def exited(self, task: trio.lowlevel.Task) -> None:
        pass


class _RandomReady(deque[Any]):
    def __init__(self, seed: int) -> None:
        super().__init__()
        self._chance = Env(seed).random("actors")

    def popleft(self) -> Any:
        if len(self) < 2:
            return super().popleft()
        place = self._chance.randrange(len(self))
        self.rotate(-place)
        taken = super().popleft()
        self.rotate(place)
        return taken


class Prioritized:
    """PCT: each task and each actor has a random priority, and the highest that can run does so.

    At random steps the running one gets the lowest priority of all. A race that needs d such steps
    is found with a chance that falls with d only, not with the length of the run. (Burckhardt et
    al., A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs, ASPLOS 2010.)
    """

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self.tasks: Scheduler = _PrioritizedTasks(dice)

    def ready(self, name: str, incarnation: int) -> deque[Cell]:
        return _PrioritizedReady(self._dice.number("ready", name, incarnation))


class _PrioritizedTasks:
    def __init__(self, dice: Dice) -> None:
        self._chance = Env(dice.number("pct")).random("tasks")
        self._priority: dict[trio.lowlevel.Task, float] = {}
        self._runnable: dict[trio.lowlevel.Task, None] = {}
        self._highest: trio.lowlevel.Task | None = None
        self._lowest = 0.0
        self._last: trio.lowlevel.Task | None = None
        self._in_a_row = 0

    def spawned(self, task: trio.lowlevel.Task) -> None:
        self._priority[task] = self._chance.random()

    def scheduled(self, task: trio.lowlevel.Task) -> None:
        self._runnable[task] = None
        highest = self._highest
        if highest is not None and self._priority[task] > self._priority[highest]:
            self._highest = task

    def may_step(self, task: trio.lowlevel.Task) -> bool:
        if self._highest is None:
            self._highest = max(self._runnable, key=self._priority.__getitem__, default=None)
        return task is self._highest or self._highest is None

    def stepped(self, task: trio.lowlevel.Task) -> None:
        self._in_a_row = self._in_a_row + 1 if task is self._last else 0
        self._last = task
        if self._in_a_row > MOST_IN_A_ROW or self._chance.random() < DEMOTE:
            self._in_a_row = 0
            self._lowest -= 1.0
            if task in self._priority:
                self._priority[task] = self._lowest
        self._runnable.pop(task, None)
        self._highest = None

    def exited(self, task: trio.lowlevel.Task) -> None:
        self._priority.pop(task, None)
        self._runnable.pop(task, None)
        self._highest = None


class _PrioritizedReady(deque[Any]):
    def __init__(self, seed: int) -> None:
        super().__init__()
        self._chance = Env(seed).random("actors")
        self._priority: dict[Any, float] = {}
        self._lowest = 0.0

    def _priority_of(self, cell: Any) -> float:
        found = self._priority.get(cell)
        if found is None:
            found = self._priority[cell] = self._chance.random()
        return found

    def popleft(self) -> Any:
        if len(self) < 2:
            return super().popleft()
        place = max(range(len(self)), key=lambda place: self._priority_of(self[place]))
        self.rotate(-place)
        taken = super().popleft()
        self.rotate(place)
        if self._chance.random() < DEMOTE * 10:
            self._lowest -= 1.0
            self._priority[taken] = self._lowest
        return taken
