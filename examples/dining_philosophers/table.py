"""What is known of the meal besides the actors, and their supervisor."""

import contextlib
from collections.abc import Iterator

import trio

from examples.dining_philosophers.fork import Fork
from examples.dining_philosophers.philosopher import Philosopher
from supervision import ChildSpec, OneForAll, Supervisor, child


class Meal:
    """Who eats now, and who has eaten how often. It outlives every crash."""

    def __init__(self, seats: int, meals: int, crash_rate: float = 0.0) -> None:
        self.seats = seats
        self.meals = meals
        self.crash_rate = crash_rate
        self.eaten = [0] * seats
        self.eating = [False] * seats
        self.all_full = trio.Event()

    @contextlib.contextmanager
    def seat(self, number: int) -> Iterator[None]:
        """Eat. Two neighbours never do at the same time.

        Raises:
            AssertionError: a neighbour eats now.
        """
        for neighbour in ((number - 1) % self.seats, (number + 1) % self.seats):
            assert not self.eating[neighbour], f"{number} and {neighbour} share a fork"
        self.eating[number] = True
        try:
            yield
            self.eaten[number] += 1
        finally:
            self.eating[number] = False
        if min(self.eaten) >= self.meals:
            self.all_full.set()


class Table(Supervisor):
    """Forks and philosophers, who fall together and are seated together again."""

    strategy = OneForAll(max_restarts=None)

    def __init__(self, meal: Meal) -> None:
        self.meal = meal

    def children(self) -> list[ChildSpec]:
        """The forks first: they are there before anybody wants one, and until nobody does."""
        seats = range(self.meal.seats)
        return [
            *(child(Fork, name=f"fork-{number}") for number in seats),
            *(
                child(
                    Philosopher, number, self.meal, name=f"philosopher-{number}", shutdown="brutal"
                )
                for number in seats
            ),
        ]
