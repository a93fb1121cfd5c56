"""From the SIGKILL of a worker process to the first message that its actor's replacement handles.

The limit is the start of a bare Python process that imports the same modules: before that, no
replacement can be there.
"""

import gc
import os
import signal
import statistics
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Final

import trio

from actors import Actor, ActorRef, ActorSystem
from benchmarks.far import Here, Replaced
from benchmarks.harness import Result
from supervision import OneForOne, Supervisor, WorkerProcesses, child
from supervision.child import ChildSpec
from transports import Unix

ROOT: Final = Path(__file__).parent.parent.parent
#: What a worker process has imported when it is ready.
MODULES: Final = "import transports.worker.__main__, benchmarks.far"
STRATEGY: Final = OneForOne(max_restarts=1_000, within=60.0)


class Hears(Actor):
    """Passes on where an actor is."""

    def __init__(self, heard: trio.MemorySendChannel[int]) -> None:
        self.heard = heard

    def receive(self, message: Here) -> None:
        """Pass it on."""
        self.heard.send_nowait(message.pid)


class Keeper(Supervisor):
    """Keeps one actor on the worker process."""

    strategy = STRATEGY

    def __init__(self, told: ActorRef) -> None:
        self.told = told

    def children(self) -> list[ChildSpec]:
        """It alone."""
        return [child(Replaced, self.told, name="replaced", on="benchmark-worker-1")]


async def _recoveries(count: int) -> list[float]:
    seconds = []
    send, heard = trio.open_memory_channel[int](count + 1)
    async with ActorSystem("benchmark", transport=Unix()) as system:
        make = partial(WorkerProcesses, 1, actors=[Replaced], strategy=STRATEGY)
        await system.start(make, name="workers")
        await system.start(Keeper, system.spawn(Hears, send), name="keeper")
        pid = await heard.receive()
        for _ in range(count):
            start = perf_counter()
            os.kill(pid, signal.SIGKILL)
            pid = await heard.receive()
            seconds.append(perf_counter() - start)
    return seconds


def bare_start() -> float:
    """The seconds in which a Python process has started, and imported the same modules."""
    code = f"{MODULES}; print(flush=True)"
    command = [sys.executable, "-c", code]
    start = perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        return perf_counter() - start


@dataclass(frozen=True, slots=True)
class Recovery:
    """Milliseconds; the less the better."""

    name: str
    title: str
    count: int
    reach: float

    def run(self, *, rounds: int, scale: float = 1.0) -> Result:
        """In turn; each figure is the median of several."""
        count = max(1, round(self.count * scale))
        pairs = []
        for _ in range(rounds + 1):
            gc.collect()
            figure = statistics.median(trio.run(_recoveries, count))
            limit = statistics.median(bare_start() for _ in range(count))
            pairs.append((figure, limit))
        ratios = [figure / limit for figure, limit in pairs[1:]]
        return Result(
            name=self.name,
            title=self.title,
            unit=" ms",
            figure=1_000 * statistics.median(figure for figure, _ in pairs[1:]),
            limit=1_000 * statistics.median(limit for _, limit in pairs[1:]),
            limit_title="start of a bare Python process, the same imports",
            ratio=statistics.median(ratios),
            low=min(ratios),
            high=max(ratios),
            reach=self.reach,
            better="less",
        )


BENCHMARKS = (
    Recovery(
        "recovery",
        "SIGKILL of a worker process, to the first message of the actor in its place",
        3,
        reach=2.0,
    ),
)
