"""Measuring a workload against its limit: samples in turn, the median of the pairwise ratios."""

import gc
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import trio

from actors import ActorSystem

#: Measures `count` operations in a running system; returns operations per second.
Workload = Callable[[ActorSystem, int], Awaitable[float]]
#: Measures `count` operations without a runtime; returns operations per second.
Limit = Callable[[int], float]


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table: figures of one benchmark.

    `figure` and `limit` are medians over the rounds, in `unit` ("/s", " bytes" or " ms"). `ratio`
    is what `reach` is compared with: for a speed or a time the median of the ratios of each round's
    pair, for a size the figure itself. `low` and `high` are the extremes of those ratios, a measure
    of the machine's noise.
    `reach` is None in a row that is for information only.
    """

    name: str
    title: str
    unit: str
    figure: float
    ratio: float
    low: float
    high: float
    limit: float | None = None
    limit_title: str | None = None
    reach: float | None = None
    better: Literal["more", "less"] = "more"

    @property
    def reached(self) -> bool | None:
        """Whether the ratio reaches `reach`; None where there is nothing to reach."""
        if self.reach is None:
            return None
        return self.ratio >= self.reach if self.better == "more" else self.ratio <= self.reach


@dataclass(frozen=True, slots=True)
class Failed:
    """The row of a benchmark that gave no figures, and why."""

    name: str
    title: str
    reason: str


Row = Result | Failed


class Benchmark(Protocol):
    """What the command runs: something with a name and a title that yields a `Result`."""

    @property
    def name(self) -> str:
        """The name that ``--only`` takes."""

    @property
    def title(self) -> str:
        """What is measured, as the table says it."""

    def run(self, *, rounds: int, scale: float = 1.0) -> Result:
        """Measure in `rounds` rounds, with counts multiplied by `scale`."""


@dataclass(frozen=True, slots=True)
class Speed:
    """A workload beside its limit.

    `count` and `limit_count` are the operations of one sample at scale 1, chosen so that a sample
    of either takes about the same time: long against the clock, short against the machine's moods.
    """

    name: str
    title: str
    workload: Workload
    limit: Limit
    limit_title: str
    count: int
    limit_count: int
    reach: float | None = None

    def run(self, *, rounds: int, scale: float = 1.0) -> Result:
        """Take `rounds` pairs of samples in turn, after one pair to warm up that does not count."""
        count = max(1, round(self.count * scale))
        limit_count = max(1, round(self.limit_count * scale))
        pairs = [
            (sample(self.workload, count), sample_limit(self.limit, limit_count))
            for _ in range(rounds + 1)
        ]
        return self.result(pairs[1:])

    def result(self, pairs: Sequence[tuple[float, float]]) -> Result:
        """The row for these (figure, limit) pairs of one round each."""
        ratios = [figure / limit for figure, limit in pairs]
        return Result(
            name=self.name,
            title=self.title,
            unit="/s",
            figure=statistics.median(figure for figure, _ in pairs),
            limit=statistics.median(limit for _, limit in pairs),
            limit_title=self.limit_title,
            ratio=statistics.median(ratios),
            low=min(ratios),
            high=max(ratios),
            reach=self.reach,
        )


def sample(workload: Workload, count: int) -> float:
    """One figure of `workload`, in a system of its own.

    The garbage of earlier samples is collected first; during the sample the collector runs as it
    does for any user.
    """

    figures: list[float] = []

    async def main() -> None:
        async with ActorSystem("benchmark") as system:
            figures.append(await workload(system, count))

    gc.collect()
    trio.run(main)
    return figures[0]


def sample_limit(limit: Limit, count: int) -> float:
    """One figure of `limit`, under the same conditions as `sample`."""
    gc.collect()
    return limit(count)
