"""The simulator: frames that it brings from node to node, all that they cause included."""

import statistics
from dataclasses import dataclass
from time import process_time

import trio

from actors import Actor, ActorError, Request, message
from benchmarks.harness import Result
from transports.testing import Application, Cluster, Faults, SimulatedNode, make_simulation

#: Asks and tells of one client to one node.
EACH = 400
CLIENTS = 4


@message(name="benchmark.Add")
class Add(Request[int]):
    number: int


class Counter(Actor):
    def __init__(self) -> None:
        self.count = 0

    def receive(self, message: Add) -> int:
        self.count += 1
        return self.count


class Counting(Application):
    """Clients ask and tell the counters of all nodes."""

    def __init__(self, each: int = EACH) -> None:
        self.each = each

    async def start(self, node: SimulatedNode) -> None:
        """A counter."""
        node.system.spawn(Counter, name="counter")

    async def work(self, cluster: Cluster) -> None:
        """Two asks for each tell."""

        async def client(name: str) -> None:
            ref = cluster.client.at(f"actor://{name}/counter")
            for number in range(self.each):
                try:
                    if number % 3:
                        await ref.ask(Add(number), timeout=5)
                    else:
                        ref.tell(Add(number))
                except ActorError:
                    await trio.sleep(0.1)

        async with trio.open_nursery() as nursery:
            for name in cluster.names:
                for _ in range(CLIENTS):
                    nursery.start_soon(client, name)


@dataclass(frozen=True, slots=True)
class Reach:
    """Frames for each second of this process's CPU time, in whole runs, whatever they come to."""

    name: str
    title: str
    faults: Faults
    reach: float | None = None

    def run(self, *, rounds: int, scale: float = 1.0) -> Result:
        """One run for each round, each with its own seed, after one to warm up."""
        figures = [self.measure(seed) for seed in range(rounds + 1)][1:]
        figure = statistics.median(figures)
        return Result(
            name=self.name,
            title=self.title,
            unit="/CPU s",
            figure=figure,
            ratio=figure,
            low=min(figures),
            high=max(figures),
            reach=self.reach,
        )

    def measure(self, seed: int) -> float:
        """One run."""
        simulation = make_simulation(Counting, seed=seed, faults=self.faults)
        start = process_time()
        outcome = simulation.run()
        spent = process_time() - start
        if outcome.error is not None:
            raise RuntimeError(f"{outcome.error}; again: {simulation.command()}")
        return outcome.frames / spent


BENCHMARKS = (
    Reach(
        "simulation",
        "simulation: frames between three nodes, all that they cause included",
        Faults.none(),
        reach=10_000,
    ),
    Reach("simulation-faults", "the same, with all kinds of faults", Faults(swarm=False)),
)
