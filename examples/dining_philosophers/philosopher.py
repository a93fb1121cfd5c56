"""The actor of one philosopher."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from actors import Actor, ActorRef
from examples.dining_philosophers.messages import Hungry, PutBack, Take

if TYPE_CHECKING:
    from examples.dining_philosophers.table import Meal


class PlannedCrash(Exception):
    """A philosopher chokes because chaos was asked for."""


class Philosopher(Actor):
    """Thinks, takes two forks, eats, puts them back; until everybody is full."""

    def __init__(self, number: int, meal: Meal) -> None:
        self.number = number
        self.meal = meal
        self.draw = self.context.system.env.random("philosopher", number, self.context.incarnation)

    async def started(self) -> None:
        """Think first."""
        self.think()

    def think(self) -> None:
        """Be hungry again in a while."""
        self.context.after(self.draw.uniform(0.001, 0.005), Hungry())

    async def receive(self, message: Hungry) -> None:
        """One meal."""
        first, second = self.forks()
        await first.ask(Take(), timeout=None)
        await second.ask(Take(), timeout=None)
        with self.meal.seat(self.number):
            await trio.sleep(self.draw.uniform(0.001, 0.003))
            if self.draw.random() < self.meal.crash_rate:
                raise PlannedCrash(f"philosopher {self.number} chokes")
        second.tell(PutBack())
        first.tell(PutBack())
        self.think()

    def forks(self) -> list[ActorRef]:
        """The forks of this seat, the one with the lower number first."""
        numbers = sorted((self.number, (self.number + 1) % self.meal.seats))
        at = self.context.system.at
        table = f"actor://{self.context.system.name}/table"
        return [at(f"{table}/fork-{number}") for number in numbers]
