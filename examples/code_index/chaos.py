"""Crashes on purpose, decided by a seed."""

from typing import Literal

from actors import Env, message

Moment = Literal["before reading", "before reporting", "after reporting"]
MOMENTS: tuple[Moment, ...] = ("before reading", "before reporting", "after reporting")


class PlannedCrash(Exception):
    """An indexer crashes because chaos was asked for."""


@message(name="index.Chaos")
class Chaos:
    """Crashes the handling of a file with probability `rate`, at one of three moments.

    What happens to a file depends on the seed, the path and the attempt only. So one seed gives the
    same crashes with any number of indexers, in any process, and in any order of work.
    """

    rate: float = 0.0
    seed: int = 0

    def strike(self, moment: Moment, path: str, attempt: int) -> None:
        """Return, or raise PlannedCrash when this is the moment that was drawn."""
        if self.rate == 0:
            return
        draw = Env(self.seed).random("chaos", path, attempt)
        if draw.random() < self.rate and draw.choice(MOMENTS) == moment:
            raise PlannedCrash(f"{path}, attempt {attempt}: {moment}")
