"""Memory: the resident bytes of a process for each of a million idle actors.

The figure is the growth of the process's resident set, the system's own tables included, from
before the first spawn until after the last. It needs a fresh process: memory that was used before
would be used again unseen.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import trio

from actors import ActorRef, ActorSystem
from benchmarks.harness import Result
from benchmarks.workloads.messages import TICK
from benchmarks.workloads.spawning import Idle

#: The page size, the unit of `/proc/self/statm`, in bytes.
PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """The resident set of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE


async def print_bytes(count: int) -> None:
    """Print the bytes for each of `count` actors, spawned and after one message each, as JSON.

    The refs are kept in a list, as a program that means to use the actors keeps them; its 8 bytes
    an actor count. Does not return: stopping a million actors takes its time, and is not measured.
    """
    async with ActorSystem("benchmark") as system:
        refs: list[ActorRef] = []
        before = resident_bytes()
        for _ in range(count):
            refs.append(system.spawn(Idle))
        spawned = (resident_bytes() - before) / count
        for ref in refs:
            ref.tell(TICK)
        await refs[-1].ask(TICK, timeout=60)
        used = (resident_bytes() - before) / count
        print(json.dumps([spawned, used]), flush=True)
        os._exit(0)


def measure(count: int) -> tuple[float, float]:
    """The figures that `print_bytes` prints, from a fresh process.

    Raises:
        RuntimeError: the process failed; the message ends with what it wrote last.
    """
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(count)],
        cwd=Path(__file__).parent.parent.parent,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it wrote nothing"])[-1]
        raise RuntimeError(f"measuring {count} actors failed: {last}")
    spawned, used = json.loads(done.stdout)
    return spawned, used


@dataclass(frozen=True, slots=True)
class Memory:
    """The bytes of an idle actor; `used`: of one that has handled a message and is idle again."""

    name: str
    title: str
    count: int
    used: bool = False
    reach: float | None = None

    def run(self, *, rounds: int, scale: float = 1.0) -> Result:
        """Measure once, whatever `rounds` says: memory does not vary as time does."""
        figure = measure(max(1, round(self.count * scale)))[self.used]
        return Result(
            name=self.name,
            title=self.title,
            unit=" bytes",
            figure=figure,
            ratio=figure,
            low=figure,
            high=figure,
            reach=self.reach,
            better="less",
        )


BENCHMARKS = (
    Memory("memory", "memory of an idle actor, at 1,000,000", 1_000_000, reach=600),
    Memory("memory-used", "the same once it has handled a message, at 200,000", 200_000, used=True),
)

if __name__ == "__main__":
    trio.run(print_bytes, int(sys.argv[1]))
