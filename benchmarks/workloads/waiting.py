"""Handlers that really wait, for a checkpoint or an event; against tasks that do only that."""

from collections.abc import Sequence
from time import perf_counter

import trio
import trio.testing

from actors import Actor, ActorRef, ActorSystem, message
from benchmarks.harness import Speed

#: Actors, or bare tasks, that wait at the same time.
WAITERS = 1_000
#: Messages queued for each actor at a time, in the variant with a backlog.
BACKLOG = 20


@message
class Wait:
    """Makes a `WaitingActor` wait once."""


WAIT = Wait()


class WaitingActor(Actor):
    """Waits for one checkpoint a message; adds itself to `made`."""

    def __init__(self, made: "list[WaitingActor]") -> None:
        self.count = 0
        made.append(self)

    async def receive(self, message: object) -> None:
        """Wait."""
        await trio.lowlevel.checkpoint()
        self.count += 1


async def _wait(system: ActorSystem, count: int, backlog: int) -> float:
    waiters = min(WAITERS, count)
    backlog = min(backlog, count // waiters)
    made: list[WaitingActor] = []
    refs = [system.spawn(WaitingActor, made) for _ in range(waiters)]
    # Before the clock starts, as the limit's tasks are: the first wave starts the worker tasks.
    await _wave(refs, made, 1)
    start = perf_counter()
    waves = count // (waiters * backlog)
    for _ in range(waves):
        await _wave(refs, made, backlog)
    return waiters * backlog * waves / (perf_counter() - start)


async def _wave(refs: Sequence[ActorRef], made: Sequence[WaitingActor], backlog: int) -> None:
    handled = made[0].count + backlog
    for _ in range(backlog):
        for ref in refs:
            ref.tell(WAIT)
    # The last actor first: it usually is the last to be done, and then one look is enough.
    while any(actor.count < handled for actor in reversed(made)):
        await trio.lowlevel.checkpoint()


async def wait_one(system: ActorSystem, count: int) -> float:
    """1,000 actors get one message each, all wait at once; again when all are done."""
    return await _wait(system, count, 1)


async def wait_backlog(system: ActorSystem, count: int) -> float:
    """1,000 actors get 20 messages each, and wait for a checkpoint in each of them."""
    return await _wait(system, count, BACKLOG)


class Tally:
    """The handler's count, for a bare task."""

    def __init__(self) -> None:
        self.count = 0


def bare_checkpoints(count: int) -> float:
    """1,000 trio tasks, started before the clock is, await checkpoints: `count` in all."""

    async def main() -> float:
        waiters = min(WAITERS, count)
        times = count // waiters
        go = trio.Event()

        async def waiter() -> None:
            tally = Tally()
            await go.wait()
            for _ in range(times):
                await trio.lowlevel.checkpoint()
                tally.count += 1

        async with trio.open_nursery() as nursery:
            for _ in range(waiters):
                nursery.start_soon(waiter)
            await trio.testing.wait_all_tasks_blocked()
            start = perf_counter()
            go.set()
        return waiters * times / (perf_counter() - start)

    return trio.run(main)


class Gate:
    """A message to wait at, until its event is set."""

    def __init__(self) -> None:
        self.event = trio.Event()
        self.arrived = 0
        self.passed = 0

    async def pass_through(self) -> None:
        """Wait for the event."""
        self.arrived += 1
        await self.event.wait()
        self.passed += 1

    async def open_for(self, waiters: int) -> None:
        """Set the event once all have arrived, and return once all have passed."""
        while self.arrived < waiters:
            await trio.lowlevel.checkpoint()
        self.event.set()
        while self.passed < waiters:
            await trio.lowlevel.checkpoint()


class GateActor(Actor):
    """Waits at each gate that it is sent."""

    async def receive(self, message: Gate) -> None:
        """Wait."""
        await message.pass_through()


async def wait_event(system: ActorSystem, count: int) -> float:
    """1,000 actors get one message each, with an event to wait for; it is set when all wait."""
    waiters = min(WAITERS, count)
    refs = [system.spawn(GateActor) for _ in range(waiters)]

    async def wave(gate: Gate) -> None:
        for ref in refs:
            ref.tell(gate)
        await gate.open_for(waiters)

    await wave(Gate())
    gates = [Gate() for _ in range(count // waiters)]
    start = perf_counter()
    for gate in gates:
        await wave(gate)
    return waiters * len(gates) / (perf_counter() - start)


def bare_events(count: int) -> float:
    """1,000 trio tasks wait for one event after the other, each set when all wait for it."""

    async def main() -> float:
        waiters = min(WAITERS, count)
        gates = [Gate() for _ in range(count // waiters)]

        async def waiter() -> None:
            for gate in gates:
                await gate.pass_through()

        async with trio.open_nursery() as nursery:
            for _ in range(waiters):
                nursery.start_soon(waiter)
            await trio.testing.wait_all_tasks_blocked()
            start = perf_counter()
            for gate in gates:
                await gate.open_for(waiters)
        return waiters * len(gates) / (perf_counter() - start)

    return trio.run(main)


CHECKPOINTS = "bare trio checkpoints"

BENCHMARKS = (
    Speed(
        "wait",
        "handler that waits, 1,000 actors, one message each at a time",
        wait_one,
        bare_checkpoints,
        CHECKPOINTS,
        20_000,
        60_000,
        reach=0.35,
    ),
    Speed(
        "wait-backlog",
        "handler that waits, 1,000 actors, 20 messages each at a time",
        wait_backlog,
        bare_checkpoints,
        CHECKPOINTS,
        40_000,
        60_000,
        reach=0.35,
    ),
    Speed(
        "wait-event",
        "handler that waits for an event, 1,000 actors, one message each at a time",
        wait_event,
        bare_events,
        "bare trio events",
        20_000,
        60_000,
    ),
)
