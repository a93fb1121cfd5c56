"""Restart storms and large trees; against as many messages, or actors, without a failure.

Their limits are the runtime's own: the same children, told as many plain messages; the same number
of actors, started and stopped below an actor that supervises nothing. The ratio says what
supervision and failure cost.
"""

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

import trio

from actors import Actor, ActorRef, ActorSystem
from benchmarks.harness import Speed
from benchmarks.workloads.messages import TICK
from benchmarks.workloads.restarts import CRASH, Fragile, Score
from supervision import DynamicSupervisor, OneForOne, StartChild, child

UNLIMITED = OneForOne(max_restarts=None)


class Nest(DynamicSupervisor):
    """Restarts its children at once, however often they fail."""

    strategy = UNLIMITED


async def _nest(system: ActorSystem, count: int, score: Score) -> list[ActorRef]:
    nest = await system.start(Nest)
    spec = child(Fragile, score)
    return [await nest.ask(StartChild(spec)) for _ in range(count)]


async def storm(system: ActorSystem, count: int) -> float:
    """`count` children of one supervisor fail at once; then each handles a message."""
    score = Score()
    children = await _nest(system, count, score)
    start = perf_counter()
    for ref in children:
        ref.tell(CRASH)
        ref.tell(TICK)
    while score.handled < count:
        await trio.lowlevel.checkpoint()
    seconds = perf_counter() - start
    assert system.ledger.restarts == count
    return 2 * count / seconds


async def _no_storm(system: ActorSystem, count: int) -> float:
    score = Score()
    children = await _nest(system, count, score)
    start = perf_counter()
    for ref in children:
        ref.tell(TICK)
        ref.tell(TICK)
    while score.handled < 2 * count:
        await trio.lowlevel.checkpoint()
    return 2 * count / (perf_counter() - start)


class Level(DynamicSupervisor):
    """A supervisor with one child, a supervisor again, so many levels down."""

    def __init__(self, levels: int) -> None:
        self.levels = levels

    async def started(self) -> None:
        """Start the level below."""
        if self.levels:
            await self.start_child(child(Level, self.levels - 1))


async def deep(system: ActorSystem, count: int) -> float:
    """A tree so many levels deep is started and stopped."""
    start = perf_counter()
    top = await system.start(Level, count)
    top.stop()
    await top.stopped()
    return count / (perf_counter() - start)


class Idle(Actor):
    """An actor that gets no message."""

    def receive(self, message: Any) -> None:
        """Nothing comes."""


class Plain(Actor):
    """Has so many children, and supervises nothing."""

    def __init__(self, count: int) -> None:
        for _ in range(count):
            self.context.spawn(Idle)

    def receive(self, message: Any) -> None:
        """Nothing comes."""


async def wide(system: ActorSystem, count: int) -> float:
    """A dynamic supervisor starts so many children, and stops with them."""
    start = perf_counter()
    nest = await system.start(Nest)
    spec = child(Idle)
    for _ in range(count):
        await nest.ask(StartChild(spec))
    nest.stop()
    await nest.stopped()
    return count / (perf_counter() - start)


async def _flat(system: ActorSystem, count: int) -> float:
    start = perf_counter()
    plain = await system.start(Plain, count)
    plain.stop()
    await plain.stopped()
    return count / (perf_counter() - start)


def _in_a_system(
    workload: Callable[[ActorSystem, int], Awaitable[float]],
) -> Callable[[int], float]:
    """A limit that is the runtime's own."""

    def limit(count: int) -> float:
        async def main() -> float:
            async with ActorSystem("limit") as system:
                return await workload(system, count)

        return trio.run(main)

    return limit


BENCHMARKS = (
    Speed(
        "storm",
        "10,000 children of one OneForOne fail at once, are restarted, and handle a message",
        storm,
        _in_a_system(_no_storm),
        "the same children, as many messages, no failure",
        10_000,
        10_000,
    ),
    Speed(
        "deep",
        "a tree of supervisors 1,000 deep, started and stopped",
        deep,
        _in_a_system(_flat),
        "as many actors below one that supervises nothing",
        1_000,
        1_000,
    ),
    Speed(
        "wide",
        "100,000 children of one DynamicSupervisor, started by request and stopped",
        wide,
        _in_a_system(_flat),
        "as many actors below one that supervises nothing",
        100_000,
        100_000,
    ),
)
