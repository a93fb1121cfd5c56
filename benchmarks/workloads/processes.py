"""Worker processes: the code index on two of them, against the plain loop of its `--verify`."""

import gc
import os
import statistics
import sysconfig
from dataclasses import dataclass
from time import perf_counter

import trio

from benchmarks.harness import Result
from examples.code_index.command import index_folder
from examples.code_index.options import Options
from examples.code_index.verify import index_by_loop

WORKERS = 2
MOST_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class CodeIndex:
    """Files a second, of this Python's standard library, the whole index as its result.

    The start and the end of the processes are in the time. At a scale below 1 it is one small
    package, and they are most of it: that says nothing about the ratio to reach.
    """

    name: str
    title: str
    reach: float

    def run(self, *, rounds: int, scale: float = 1.0) -> Result:
        """Few pairs of runs: each takes many seconds, and there is nothing to warm up."""
        root = sysconfig.get_path("stdlib")
        if scale < 1:
            root = os.path.join(root, "asyncio")
        pairs = [(self.actors(root), self.loop(root)) for _ in range(min(rounds, MOST_ROUNDS))]
        ratios = [figure / limit for figure, limit in pairs]
        return Result(
            name=self.name,
            title=self.title,
            unit="/s",
            figure=statistics.median(figure for figure, _ in pairs),
            limit=statistics.median(limit for _, limit in pairs),
            limit_title="the plain loop of --verify",
            ratio=statistics.median(ratios),
            low=min(ratios),
            high=max(ratios),
            reach=self.reach if scale >= 1 else None,
        )

    def actors(self, root: str) -> float:
        """By actors on worker processes."""
        gc.collect()
        start = perf_counter()
        report, snapshot = trio.run(index_folder, Options(root, workers=WORKERS, snapshot=True))
        seconds = perf_counter() - start
        if snapshot is None or report.ledger.missing:
            raise RuntimeError(f"the index is not complete: {report.ledger}")
        return len(snapshot.lines) / seconds

    def loop(self, root: str) -> float:
        """By the loop."""
        gc.collect()
        start = perf_counter()
        snapshot = index_by_loop(root)
        return len(snapshot.lines) / (perf_counter() - start)


BENCHMARKS = (
    CodeIndex(
        "code-index",
        f"code_index of the standard library on {WORKERS} worker processes, files",
        reach=1.0,
    ),
)
