"""From the SIGKILL of a node over NATS until others do what it did, as a multiple of the lease."""

import contextlib
import os
import signal
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import trio

from actors import ActorError, ActorSystem
from benchmarks.far.owners import TTL, Who, node, owner, start
from benchmarks.harness import Result
from benchmarks.workloads.nats_nodes import until_there
from transports.nats.engine import Server

ENTITIES = 1_000
EVERY = 0.01
"""Seconds between two messages to the singleton."""

Failover = Callable[[ActorSystem, int], Awaitable[float]]


async def singleton(system: ActorSystem, pid: int) -> float:
    """Ask it all the time; until the first reply of another process, in seconds."""
    only = system.at("actor://near/only")
    assert await only.ask(Who(0)) == pid
    answered: list[float] = []

    async def ask() -> None:
        # It may have been in the middle of this one.
        with contextlib.suppress(ActorError):
            if await only.ask(Who(0), timeout=60) != pid:
                answered.append(perf_counter())
                nursery.cancel_scope.cancel()

    async def ask_all_the_time() -> None:
        while True:
            nursery.start_soon(ask)
            await trio.sleep(EVERY)

    async with trio.open_nursery() as nursery:
        os.kill(pid, signal.SIGKILL)
        begun = perf_counter()
        nursery.start_soon(ask_all_the_time)
    return answered[0] - begun


async def entities(system: ActorSystem, pid: int) -> float:
    """Until each entity has answered again, in seconds; the node that ends has half of them."""
    ref = system.at("actor://near/entities")

    async def ask(key: int, owners: set[int]) -> None:
        while True:
            try:
                owners.add(await ref.ask(Who(key), timeout=60))
            except ActorError:
                await trio.sleep(EVERY)
            else:
                return

    async def ask_all() -> set[int]:
        owners: set[int] = set()
        async with trio.open_nursery() as nursery:
            for key in range(ENTITIES):
                nursery.start_soon(ask, key, owners)
        return owners

    # Shards move to the node that has come.
    while await ask_all() != {pid, os.getpid()}:
        pass
    os.kill(pid, signal.SIGKILL)
    begun = perf_counter()
    await ask_all()
    return perf_counter() - begun


@dataclass(frozen=True, slots=True)
class Failovers:
    """Milliseconds; the less the better. The limit is the lease's length."""

    name: str
    title: str
    failover: Failover

    def run(self, *, rounds: int, scale: float = 1.0) -> Result:
        """A cluster of two nodes for each round, on one server."""
        server = Server(name="benchmark")
        try:
            trio.run(server.start)
            seconds = [self._once(server.url, f"round-{each}") for each in range(rounds + 1)][1:]
        finally:
            server.close()
        ratios = [each / TTL for each in seconds]
        return Result(
            name=self.name,
            title=self.title,
            unit=" ms",
            figure=1_000 * statistics.median(seconds),
            limit=1_000 * TTL,
            limit_title="the lease",
            ratio=statistics.median(ratios),
            low=min(ratios),
            high=max(ratios),
            better="less",
        )

    def _once(self, url: str, cluster: str) -> float:
        with owner("far", cluster, url) as pid:
            return trio.run(partial(self._near, url, cluster, pid))

    async def _near(self, url: str, cluster: str, pid: int) -> float:
        transport = node(url, cluster)
        async with ActorSystem("near", transport=transport) as system:
            await start(system)
            await until_there(transport, "far")
            return await self.failover(system, pid)


BENCHMARKS = (
    Failovers(
        "nats-failover",
        "SIGKILL of the node that has a singleton, to its successor's first message",
        singleton,
    ),
    Failovers(
        "nats-failover-sharded",
        "SIGKILL of a node with half of 1,000 entities, until all have answered again",
        entities,
    ),
)
