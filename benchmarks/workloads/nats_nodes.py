"""Between the actors of two processes over NATS, beside our bare client between the same two.

Node and client have a connection each with the same server, and so have those of the other process.
"""

import gc
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from actors import ActorSystem
from benchmarks.far import HowMany
from benchmarks.far.nats import CLUSTER, ECHO, PAYLOAD, both
from benchmarks.harness import Result
from benchmarks.workloads import links, nats
from transports.nats import Client, Nats

Workload = Callable[[ActorSystem, int], Awaitable[float]]
Limit = Callable[[Client, int], Awaitable[float]]


async def until_there(node: Nats, *names: str) -> None:
    """Return when these nodes are known."""
    while True:
        if all(name in node.nodes for name in names):
            return
        await trio.sleep(0.01)


@dataclass(frozen=True, slots=True)
class OverNodes:
    """A workload of actors beside its limit, in turn, in a run of trio each."""

    name: str
    title: str
    workload: Workload
    limit: Limit
    limit_title: str
    count: int
    reach: float | None = None

    def run(self, *, rounds: int, scale: float = 1.0) -> Result:
        """As `Speed.run`."""
        count = max(1, round(self.count * scale))
        with both(node=True) as url:
            pairs = [(self._sample(url, count), self._bare(url, count)) for _ in range(rounds + 1)]
        ratios = [figure / limit for figure, limit in pairs[1:]]
        return Result(
            name=self.name,
            title=self.title,
            unit="/s",
            figure=statistics.median(figure for figure, _ in pairs[1:]),
            limit=statistics.median(limit for _, limit in pairs[1:]),
            limit_title=self.limit_title,
            ratio=statistics.median(ratios),
            low=min(ratios),
            high=max(ratios),
            reach=self.reach,
        )

    def _sample(self, url: str, count: int) -> float:
        async def main() -> float:
            node = Nats(url, cluster=CLUSTER)
            async with ActorSystem("near", transport=node) as system:
                await until_there(node, "far")
                await system.at("actor://far/echo").ask(links.NUMBER)
                await system.at("actor://far/sink").ask(HowMany())
                return await self.workload(system, count)

        gc.collect()
        return trio.run(main)

    def _bare(self, url: str, count: int) -> float:
        async def main() -> float:
            async with Client(url) as client:
                await client.request(ECHO, PAYLOAD)
                return await self.limit(client, count)

        gc.collect()
        return trio.run(main)


BENCHMARKS = (
    OverNodes(
        "nats-ask",
        "NATS: ask of an actor of another process, one at a time",
        links.ask,
        nats.request,
        "our client's request",
        2_000,
        reach=0.6,
    ),
    OverNodes(
        "nats-ask-64",
        "NATS: ask of an actor of another process, 64 at a time",
        links.ask_at_once,
        nats.request_at_once,
        "our client's request, 64 at a time",
        6_400,
    ),
    OverNodes(
        "nats-one-way",
        "NATS: messages of 100 bytes to an actor of another process",
        links.one_way,
        nats.publish,
        "our client's publish",
        30_000,
    ),
)
