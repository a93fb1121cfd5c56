"""``python -m benchmarks.soak_nodes``: a million messages, a million faults, in simulated clusters.

Many simulated clusters, one after the other, each with its own seed, on every core. A client asks
actors on three nodes, partly through a second node; each message has a number of its own and is
sent once. Each actor writes down the number on its node's disk, and replies: the reply is the
acknowledgement. Frames are lost, doubled, late, out of order, changed, and connections cut; nodes
crash, stand still and are cut off; handlers fail. In the end each acknowledged message must be on
the disk, and no message may be there twice.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait

import attrs
import trio
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from actors import Actor, ActorError, Request, message
from supervision import ChildSpec, OneForOne, Supervisor, child
from transports import Limits
from transports.testing import (
    Application,
    Cluster,
    Faults,
    SimulatedNode,
    Simulation,
    Times,
    make_simulation,
)

#: Messages of one run: long enough for crashes and reconnects to meet traffic in all states.
MESSAGES = 10_000
#: Asks of one run that are on their way at the same time.
AT_ONCE = 150
#: Most faults befall frames, since there are most of these.
RATES = Faults(
    cut=0.002, drop=0.01, corrupt=0.005, duplicate=0.3, delay=0.1, reorder=0.02,
    part=0.02, part_one_way=0.02, slow=0.05, crash=0.02, pause=0.02, fail=0.002, swarm=False,
)  # fmt: skip


@message(name="soak.Add")
class Add(Request[int]):
    """Write this number down. `through`: ask that node to pass it on."""

    number: int
    through: str = ""


class Tally(Actor):
    """Writes numbers down on the disk, and says how often each is there."""

    def __init__(self, node: SimulatedNode) -> None:
        self.name = node.name
        self.counts: Counter[int] = node.disk.setdefault("counts", Counter())

    async def receive(self, message: Add) -> int:
        """Pass it on, or write it down; wait at some of them, so that others queue behind."""
        if message.through:
            target = self.context.system.at(f"actor://{message.through}/tallies/tally")
            return await target.ask(Add(message.number), timeout=20)
        self.counts[message.number] += 1
        if message.number % 16 == 0:
            await trio.sleep(0.002)
        return self.counts[message.number]


class Tallies(Supervisor):
    """One for writing down; the other one for passing on, so that no circle of asks can be."""

    strategy = OneForOne(max_restarts=None)

    def __init__(self, node: SimulatedNode) -> None:
        self.node = node

    def children(self) -> list[ChildSpec]:
        """Both are of one class."""
        return [child(Tally, self.node, name="tally"), child(Tally, self.node, name="relay")]


class Soak(Application):
    """Each message is sent once, and what came of it is kept."""

    nodes = 3
    limits = Limits(window=24)

    def __init__(self, messages: int = MESSAGES) -> None:
        self.waited = array("d")
        self.acknowledged: dict[str, list[int]] = {}
        self.numbers = iter(range(messages))
        self.unknown = 0

    async def start(self, node: SimulatedNode) -> None:
        """The supervisor of one node's tallies."""
        await node.system.start(Tallies, node, name="tallies")

    async def work(self, cluster: Cluster) -> None:
        """Ask, many at a time, each number once."""
        async with trio.open_nursery() as nursery:
            for which in range(AT_ONCE):
                nursery.start_soon(self._ask, cluster, which)

    async def _ask(self, cluster: Cluster, which: int) -> None:
        chance = cluster.random("asks", which)
        for number in self.numbers:
            name = chance.choice(cluster.names)
            through = chance.choice(cluster.names) if chance.random() < 0.2 else name
            asked, add = "tally", Add(number)
            if through != name:
                asked, add = "relay", Add(number, name)
            start = trio.current_time()
            try:
                ref = cluster.client.at(f"actor://{through}/tallies/{asked}")
                count = await ref.ask(add, timeout=30)
            except ActorError as error:
                cluster.sometimes(type(error).__name__)
                self.unknown += 1
                await trio.sleep(chance.uniform(1, 5))
            else:
                assert count == 1, f"{number} is written down {count} times"
                self.waited.append(trio.current_time() - start)
                self.acknowledged.setdefault(name, []).append(number)

    def check(self, cluster: Cluster) -> None:
        """Each acknowledged number is there, and none is there twice."""
        for name in cluster.names:
            counts: Counter[int] = cluster.nodes[name].disk["counts"]
            lost = [each for each in self.acknowledged.get(name, ()) if not counts[each]]
            assert not lost, f"acknowledged by {name} and lost: {lost}"
            twice = [each for each, count in counts.items() if count > 1]
            assert not twice, f"handled twice by {name}: {twice}"


@attrs.frozen
class Part:
    """What came of one run."""

    seed: int
    error: str | None
    acknowledged: int
    unknown: int
    frames: int
    counts: Counter[str]
    faults: int
    waited: array[float]
    seconds: float


@attrs.define
class Total:
    """What came of all runs."""

    runs: int = 0
    acknowledged: int = 0
    unknown: int = 0
    frames: int = 0
    faults: int = 0
    seconds: float = 0.0
    counts: Counter[str] = attrs.field(factory=Counter)
    waited: array[float] = attrs.field(factory=lambda: array("d"))
    failed: list[Part] = attrs.field(factory=list)

    def add(self, part: Part) -> None:
        """One more run."""
        self.runs += 1
        self.acknowledged += part.acknowledged
        self.unknown += part.unknown
        self.frames += part.frames
        self.faults += part.faults
        self.seconds += part.seconds
        self.counts.update(part.counts)
        self.waited.extend(part.waited)
        if part.error is not None:
            self.failed.append(part)

    def percentile(self, percent: int) -> float:
        """Of the time to acknowledge, in simulated seconds."""
        return statistics.quantiles(self.waited, n=100, method="inclusive")[percent - 1]


def simulation(seed: int) -> Simulation:
    """One run."""
    return make_simulation(Soak, seed=seed, faults=RATES, times=Times(work_within=10_000))


def run(seed: int, messages: int = MESSAGES) -> Part:
    """Run it with so many messages, and say what came of it."""
    made: list[Soak] = []

    def recipe() -> Soak:
        made.append(Soak(messages))
        return made[-1]

    outcome = attrs.evolve(simulation(seed), recipe=recipe).run()
    app = made[-1]
    return Part(
        seed=seed,
        error=None if outcome.error is None else str(outcome.error),
        acknowledged=len(app.waited),
        unknown=app.unknown,
        frames=outcome.frames,
        counts=Counter(outcome.counts),
        faults=len(outcome.fired),
        waited=app.waited,
        seconds=outcome.seconds,
    )


def soak(messages: int, faults: int, seed: int, jobs: int, each: int) -> Iterator[Total]:
    """Run seeds from `seed` on until there are as many of both, or one fails; the total so far."""
    total = Total()
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        seeds = iter(range(seed, sys.maxsize))
        running = {pool.submit(run, next(seeds), each) for _ in range(jobs)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for part in done:
                total.add(part.result())
            yield total
            enough = total.acknowledged >= messages and total.faults >= faults
            if not enough and not total.failed:
                running |= {pool.submit(run, next(seeds), each) for _ in done}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it as told, and print the account. The exit status is 1 if a run failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak_nodes", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000, help="acknowledged, at least")
    parser.add_argument("--faults", type=int, default=1_000_000, help="at least")
    parser.add_argument("--seed", type=int, default=1, help="of the first run")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--each", type=int, default=MESSAGES, help="messages of one run")
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 100)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn())
    total = Total()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("acknowledged", total=options.messages)
        for total in soak(
            options.messages, options.faults, options.seed, options.jobs, options.each
        ):
            progress.update(task, completed=total.acknowledged)
    console.print(account(total))
    again = f"python -m benchmarks.soak_nodes --each {options.each} --seed"
    for part in total.failed:
        print(f"seed {part.seed} failed: {part.error}")
        print(f"  again by: {again} {part.seed} --messages 1 --faults 1 --jobs 1")
    print(f"seed {options.seed}; again by: {again} {options.seed}")
    return 1 if total.failed else 0


def account(total: Total) -> Table:
    """What there was, of each kind."""
    table = Table("what", "how many")
    table.add_row("simulated clusters", f"{total.runs:,}")
    table.add_row("acknowledged messages", f"{total.acknowledged:,}")
    table.add_row("of unknown outcome", f"{total.unknown:,}")
    table.add_row("frames", f"{total.frames:,}")
    for name, count in sorted(total.counts.items()):
        table.add_row(name if name[0].isupper() else f"fault: {name}", f"{count:,}")
    table.add_row("faults, all", f"{total.faults:,}")
    if len(total.waited) > 1:
        for percent in (50, 99):
            table.add_row(
                f"time to acknowledge, p{percent}", f"{total.percentile(percent):.3f} simulated s"
            )
    table.add_row("simulated time", f"{total.seconds / 3600:.1f} h")
    wrong = len(total.failed)
    table.add_row("clusters with a message lost or handled twice", f"{wrong:,}")
    return table


if __name__ == "__main__":
    sys.exit(main())
