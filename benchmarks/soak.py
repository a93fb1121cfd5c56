"""``python -m benchmarks.soak``: many messages, many faults, and an account of each.

Supervised actors of all sorts tell, send and ask one another, and fail while they do: in handlers,
in `started()`, by exceeding their time, by being stopped in the middle. In the end every message
must be in the ledger exactly once. Time is virtual, and all chance comes from one seed.
"""

from __future__ import annotations

import argparse
import functools
import logging
import sys
from collections.abc import Sequence
from random import Random
from typing import Any

import attrs
import trio
import trio.testing
from rich.console import Console
from rich.table import Table
from tenacity import wait_random

from actors import (
    Actor,
    ActorError,
    ActorRef,
    ActorSystem,
    Env,
    Ledger,
    Mailbox,
    Request,
    Resume,
    Stop,
    message,
)
from supervision import (
    ChildSpec,
    LeastLoaded,
    OneForAll,
    OneForOne,
    Pool,
    RestartChild,
    RestForOne,
    Strategy,
    Supervisor,
    WhichChildren,
    child,
)

#: Each fault, and how often in twenty.
FAULTS = {"raise": 9, "group": 4, "resume": 4, "stop": 2, "hang": 1}


class Planned(Exception):
    """A fault on purpose."""


class PlannedStop(Planned):
    """A fault that ends its actor for good."""


class PlannedResume(Planned):
    """A fault that leaves its actor as it is."""


@message
class Job(Request[int]):
    """Work: wait for so long, perhaps pass it on, perhaps fail."""

    number: int
    seconds: float = 0.0
    fault: str | None = None
    next: ActorRef | None = None


@attrs.define
class Score:
    """What was done on purpose: faults by sort, and starts that failed."""

    faults: dict[str, int] = attrs.field(factory=lambda: dict.fromkeys((*FAULTS, "start"), 0))

    @property
    def total(self) -> int:
        """All faults."""
        return sum(self.faults.values())


def _raise(job: Job, score: Score) -> None:
    if job.fault is None:
        return
    score.faults[job.fault] += 1
    if job.fault == "group":
        raise ExceptionGroup("two at once", [Planned(), ValueError(job.number)])
    raise {"resume": PlannedResume, "stop": PlannedStop}.get(job.fault, Planned)(job.number)


class PlainWorker(Actor):
    """A plain handler."""

    mailbox = Mailbox(capacity=200)

    def __init__(self, score: Score) -> None:
        self.score = score

    def receive(self, message: Job) -> int:
        """Pass it on, fail, or reply."""
        if message.next is not None:
            message.next.tell(Job(message.number))
        _raise(message, self.score)
        return message.number


class Worker(Actor):
    """A handler that waits, asks and sends; its start fails now and then."""

    mailbox = Mailbox(capacity=200)
    handle_within = 1.0
    redeliver = 1
    shutdown = 0.5
    starts = 0

    def __init__(self, score: Score) -> None:
        self.score = score

    async def started(self) -> None:
        """Fail at each seventh start but the first ones."""
        Worker.starts += 1
        if Worker.starts > 20 and Worker.starts % 7 == 0:
            self.score.faults["start"] += 1
            raise Planned("start")

    async def receive(self, message: Job) -> int:
        """Wait, pass it on, fail, or reply."""
        if message.seconds:
            await trio.sleep(message.seconds)
        if message.next is not None and message.number % 2:
            await message.next.send(Job(message.number))
        elif message.next is not None:
            try:
                await message.next.ask(Job(message.number), timeout=0.5)
            except ActorError:
                return -1
        if message.fault == "hang":
            self.score.faults["hang"] += 1
            await trio.sleep_forever()
        _raise(message, self.score)
        return message.number


class Group(Supervisor):
    """A few workers under one strategy."""

    def __init__(self, strategy: Strategy, specs: Sequence[ChildSpec]) -> None:
        self.strategy = strategy
        self.specs = specs

    def children(self) -> Sequence[ChildSpec]:
        """Those given."""
        return self.specs


DECISIONS: dict[type[BaseException], Any] = {PlannedResume: Resume(), PlannedStop: Stop()}


def _strategies() -> list[Strategy]:
    limits: dict[str, Any] = {"max_restarts": None, "within": 10.0, "decisions": DECISIONS}
    return [
        OneForOne(**limits),
        OneForAll(backoff=wait_random(0, 0.01), **limits),
        RestForOne(**limits),
        OneForOne(backoff=wait_random(0, 0.05), **limits),
    ]


async def _start_all(system: ActorSystem, score: Score) -> None:
    for number, strategy in enumerate(_strategies()):
        specs = [
            child(
                PlainWorker if which % 2 else Worker,
                score,
                name=f"w{which}",
                kind="permanent" if which % 3 else "transient",
            )
            for which in range(6)
        ]
        # Its first start may fail by a planned fault; it is made again.
        await system.start(Group, strategy, specs, name=f"group{number}")
    pool = functools.partial(
        Pool, size=4, routing=LeastLoaded(), strategy=OneForOne(max_restarts=None)
    )
    system.spawn(pool, PlainWorker, score, name="pool")


async def _drive(system: ActorSystem, messages: int, fault_rate: float, score: Score) -> None:
    chance: Random = system.env.random("soak")
    sorts, weights = list(FAULTS), list(FAULTS.values())
    addresses = [f"group{group}/w{which}" for group in range(4) for which in range(6)] + [
        "pool"
    ] * 6

    def target() -> ActorRef:
        return system.at(f"actor://{system.name}/{chance.choice(addresses)}")

    async def ask(ref: ActorRef, job: Job, patience: float) -> None:
        try:
            with trio.move_on_after(patience):
                await ref.ask(job, timeout=chance.choice((0.01, 0.3, None)))
        except ActorError:
            pass

    async with trio.open_nursery() as nursery:
        number = 0
        while system.ledger.sent < messages:
            for _ in range(500):
                number += 1
                fault = None
                if chance.random() < fault_rate:
                    (fault,) = chance.choices(sorts, weights)
                seconds = 0.001 if chance.random() < 0.02 else 0.0
                to = target() if chance.random() < 0.3 else None
                job = Job(number, seconds, fault, to)
                ref, kind = target(), chance.random()
                try:
                    if kind < 0.6:
                        ref.tell(job)
                    elif kind < 0.8:
                        with trio.move_on_after(0.2):
                            await ref.send(job)
                    else:
                        nursery.start_soon(ask, ref, job, chance.choice((0.001, 5.0)))
                except ActorError:
                    pass
                if fault is None and chance.random() < 0.001:
                    ref.stop()
            await trio.sleep(0.05)
            await _bring_back(system)
        nursery.cancel_scope.deadline = trio.current_time() + 60


async def _bring_back(system: ActorSystem) -> None:
    """Start the children again that a Stop decision, or a stop, has ended."""
    for number in range(4):
        group = system.at(f"actor://{system.name}/group{number}")
        try:
            for info in await group.ask(WhichChildren()):
                if info.ref is None:
                    group.tell(RestartChild(info.name))
        except ActorError:
            continue  # It is being restarted itself.


def soak(messages: int, faults: float, seed: int) -> tuple[Ledger, Score]:
    """Send at least so many messages, a share of them faults; the ledger after the end.

    Raises:
        ExceptionGroup: the system failed, which it must not.
    """
    score = Score()
    Worker.starts = 0
    systems: list[ActorSystem] = []

    async def main() -> None:
        system = ActorSystem("soak", env=Env(seed, slice_messages=500), max_restarts=None)
        systems.append(system)
        async with system:
            await _start_all(system, score)
            await _drive(system, messages, faults, score)
            assert system.ledger.missing == 0, system.ledger

    logging.getLogger("actors").setLevel(logging.CRITICAL)
    logging.getLogger("supervision").setLevel(logging.CRITICAL)
    try:
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        logging.getLogger("actors").setLevel(logging.NOTSET)
        logging.getLogger("supervision").setLevel(logging.NOTSET)
    return systems[0].ledger, score


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it as told, and print the account. The exit status is 1 if a message is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--faults", type=float, default=0.18, help="the share that is to fail")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    ledger, score = soak(options.messages, options.faults, options.seed)
    table = Table("what", "how many")
    for name, value in {**attrs.asdict(ledger), "missing": ledger.missing}.items():
        table.add_row(name, f"{value:,}")
    for name, value in score.faults.items():
        table.add_row(f"fault: {name}", f"{value:,}")
    table.add_row("faults, all", f"{score.total:,}")
    console = Console()
    console.print(table)
    console.print(f"seed {options.seed}; again by: python -m benchmarks.soak --seed {options.seed}")
    return 1 if ledger.missing or ledger.queued or ledger.in_flight else 0


if __name__ == "__main__":
    sys.exit(main())
