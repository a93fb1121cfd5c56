"""Small applications for the simulator: what there is once in a cluster."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import tenacity
import trio

from actors import Actor, ActorError, ActorRef, Address, Request, message
from supervision import OneForOne
from tests.simulation.apps import must
from transports import Limits
from transports.cluster.region import Region
from transports.cluster.session import Lease
from transports.cluster.sharded import Sharded
from transports.cluster.singleton import Singleton
from transports.testing import Application, Cluster, SimulatedNode

LEASE = Lease(ttl=3.0, margin=0.3)
SHORT = Limits(lost_after=1.5, heartbeat=0.5)
STEP = 0.03
"""Seconds between two steps of one handler."""


class Fenced(Exception):
    """There is a later owner."""


class Outside:
    """What owners work on, and what takes nothing from one that has a successor."""

    def __init__(self) -> None:
        self.highest = 0

    async def work(self, fence: int | None, steps: int) -> None:
        """Work on it, for some time.

        Raises:
            Fenced: a later owner has begun to.
        """
        assert fence is not None
        for _ in range(steps):
            if fence < self.highest:
                raise Fenced(f"{fence} after {self.highest}")
            self.highest = fence
            await trio.sleep(STEP)


# -- regions that are ended, and started again


@message
class Move:
    """Let what there is go elsewhere for that many seconds."""

    seconds: float


class Operator(Actor):
    """Has the region on its node."""

    def __init__(self, start: Callable[[], Awaitable[ActorRef]], kept: list[ActorRef]) -> None:
        self.start = start
        self.kept = kept

    async def started(self) -> None:
        # It may have failed since.
        if not self.kept:
            self.kept.append(await self.start())

    async def receive(self, message: Move) -> None:
        region = self.kept[0]
        region.stop()
        await region.stopped()
        await trio.sleep(message.seconds)
        self.kept[:] = [await self.start()]


async def operate(cluster: Cluster, moves: int) -> None:
    """Let what there is move, while faults befall the cluster."""
    chance = cluster.random("operate")
    for _ in range(moves):
        await trio.sleep(chance.uniform(1, 4))
        node = cluster.nodes[chance.choice(cluster.names)]
        if node.is_up and not node.is_paused:
            operator = node.system.at(f"actor://{node.name}/operator")
            operator.tell(Move(chance.choice((0.0, 0.3, 2.0))))


# -- one in the cluster


@message(name="simulation.Stamp")
class Stamp(Request[int]):
    sender: str
    number: int


class Tick:
    """It tells itself."""


class Printer(Actor):
    """There is one. It has a beat of its own, so that two would be seen at once."""

    def __init__(self, app: Stamps, node: str) -> None:
        self.app = app
        self.node = node

    async def started(self) -> None:
        self.app.starts.append((self.node, self.context.fence or 0))
        # (No beat of the quarters of a second at which the simulator looks whether all is quiet.)
        self.context.every(0.08, Tick())

    async def stopped(self) -> None:
        await self.app.outside.work(self.context.fence, 1)

    async def receive(self, message: Any) -> int:
        if isinstance(message, Stamp):
            self.app.printed[message.sender].append(message.number)
            await self.app.outside.work(self.context.fence, message.number % 4)
            return message.number
        await self.app.outside.work(self.context.fence, 2)
        return 0


class Stamps(Application):
    """All nodes have stamps printed by the one printer that there is."""

    nodes = 2
    lease: ClassVar[Lease | None] = LEASE
    limits = SHORT
    options: ClassVar[dict[str, Any]] = {"max_restarts": None}
    each = 20
    printer: ClassVar[type[Printer]] = Printer
    strategy: ClassVar[OneForOne] = OneForOne(max_restarts=None)

    def __init__(self) -> None:
        self.outside = Outside()
        self.starts: list[tuple[str, int]] = []
        self.printed: defaultdict[str, list[int]] = defaultdict(list)
        self.wrong: list[str] = []

    async def start(self, node: SimulatedNode) -> None:
        make = functools.partial(Singleton, strategy=self.strategy)
        args = (make, self.printer, self, node.name)
        start = functools.partial(node.system.start, *args, name="printer")
        await node.system.start(Operator, start, [], name="operator")

    async def work(self, cluster: Cluster) -> None:
        async def customer(name: str) -> None:
            chance = cluster.random(name)
            node = cluster.nodes[name]
            number = 0
            for _ in range(self.each):
                await trio.sleep(chance.uniform(0, 1))
                if not node.is_up or node.is_paused:
                    continue
                # A sender is an incarnation: what the last one had sent is gone with it.
                sender = f"{name}.{node.incarnation}"
                printer = node.system.at(f"actor://{name}/printer")
                try:
                    for _ in range(chance.choice((0, 0, 1, 3))):
                        number += 1
                        printer.tell(Stamp(sender, number))
                    number += 1
                    # (The node may crash, and its timers with it.)
                    with trio.move_on_after(4):
                        reply = await printer.ask(Stamp(sender, number), timeout=3)
                        cluster.sometimes("printed")
                        if reply != number:
                            self.wrong.append(f"{number} got {reply}")
                except ActorError as error:
                    cluster.sometimes(type(error).__name__)

        async with trio.open_nursery() as nursery:
            for name in cluster.names:
                nursery.start_soon(customer, name)
            nursery.start_soon(operate, cluster, 4)

    async def recover(self, cluster: Cluster) -> None:
        for name in cluster.names:
            printer = cluster.client.at(f"actor://{name}/printer")
            stamp = functools.partial(printer.ask, Stamp("", 0), timeout=2)
            await answers(stamp, f"the printer by {name}")
        await trio.sleep(LEASE.ttl)

    def check(self, cluster: Cluster) -> None:
        must("replies match", not self.wrong, "; ".join(self.wrong))
        fences = [fence for _, fence in self.starts]
        must("fences grow", fences == sorted(fences), f"{self.starts}")
        for sender, numbers in self.printed.items():
            if sender:
                in_order = numbers == sorted(set(numbers))
                must("order", in_order, f"{sender} had printed {numbers}")
        held_by_nobody(cluster, "printer")


class Narrow(Stamps):
    """As Stamps, with a margin for what two clocks may differ by, and no more."""

    lease = Lease(ttl=LEASE.ttl, margin=0.04)


# -- one that fails, waits until it is made anew, and has a child


class Roller(Actor):
    """The child. It acts by its parent's fence."""

    def __init__(self, app: Stamps) -> None:
        self.app = app

    async def started(self) -> None:
        self.context.every(0.04, Tick())

    async def receive(self, message: Tick) -> None:
        await self.app.outside.work(self.context.fence, 1)


class Jam(Exception):
    """It has failed."""


class Press(Printer):
    """Fails every now and then."""

    async def started(self) -> None:
        await super().started()
        self.beats = 0
        self.context.spawn(Roller, self.app, name="roller")

    async def receive(self, message: Any) -> int:
        if isinstance(message, Tick):
            self.beats += 1
            if self.beats == 8:
                raise Jam
        return await super().receive(message)


class Presses(Stamps):
    """As Stamps; much of the time the one that there is has yet to be made again."""

    printer = Press
    strategy = OneForOne(max_restarts=None, backoff=tenacity.wait_fixed(0.3))


# -- one for each key


@message(name="simulation.Put")
class Put(Request[int]):
    key: str
    sender: str
    number: int


IDLE = 1.0


class Shelf(Actor):
    """One of many. It ends by itself now and then, in the middle of what there is to do."""

    def __init__(self, key: str, app: Shelves) -> None:
        self.app = app
        self.key = key

    async def started(self) -> None:
        self.app.starts[self.key].append(self.context.fence or 0)
        await self.work(1)

    async def stopped(self) -> None:
        await self.work(2)

    async def receive(self, message: Put) -> int:
        assert message.key == self.key
        self.app.has[message.sender, message.key].append(message.number)
        await self.work(message.number % 3)
        if message.number % 7 == 5:
            self.context.stop()
        return message.number

    async def work(self, steps: int) -> None:
        await self.app.outside[self.key].work(self.context.fence, steps)


class Shelves(Application):
    """Many shelves, of which each is somewhere, once."""

    nodes = 2
    lease: ClassVar[Lease | None] = LEASE
    limits = SHORT
    options: ClassVar[dict[str, Any]] = {"max_restarts": None}
    each = 30
    keys = ("a", "b", "c", "d")
    shards = 5
    shelf: ClassVar[type[Shelf]] = Shelf

    def __init__(self) -> None:
        self.outside: defaultdict[str, Outside] = defaultdict(Outside)
        self.starts: defaultdict[str, list[int]] = defaultdict(list)
        self.has: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self.wrong: list[str] = []

    async def start(self, node: SimulatedNode) -> None:
        strategy = OneForOne(max_restarts=None)
        make = functools.partial(
            Sharded, key="key", shards=self.shards, idle=IDLE, strategy=strategy
        )
        start = functools.partial(node.system.start, make, self.shelf, self, name="shelves")
        await node.system.start(Operator, start, [], name="operator")

    async def work(self, cluster: Cluster) -> None:
        async def customer(name: str) -> None:
            chance = cluster.random(name)
            node = cluster.nodes[name]
            number = 0
            for _ in range(self.each):
                await trio.sleep(chance.uniform(0, 0.7))
                if not node.is_up or node.is_paused:
                    continue
                sender, key = f"{name}.{node.incarnation}", chance.choice(self.keys)
                shelves = node.system.at(f"actor://{name}/shelves")
                try:
                    for _ in range(chance.choice((0, 0, 2, 5))):
                        number += 1
                        shelves.tell(Put(key, sender, number))
                        await trio.sleep(chance.choice((0.0, 0.001, 0.03)))
                    number += 1
                    message = Put(key, sender, number)
                    with trio.move_on_after(4):
                        await self.put(Sharded.ref(shelves, key), message, 3)
                        cluster.sometimes("put")
                except ActorError as error:
                    cluster.sometimes(type(error).__name__)

        async with trio.open_nursery() as nursery:
            for name in cluster.names:
                nursery.start_soon(customer, name)
            nursery.start_soon(operate, cluster, 6)

    async def put(self, ref: ActorRef, message: Put, timeout: float) -> None:
        reply = await ref.ask(message, timeout)
        if reply != message.number:
            self.wrong.append(f"{message} got {reply}")

    async def recover(self, cluster: Cluster) -> None:
        """Each shelf can be reached from everywhere; and where none fails, none loses anything."""
        chance = cluster.random("recover")
        for name in cluster.names:
            for key in self.keys:
                shelves = cluster.client.at(f"actor://{name}/shelves")
                put = functools.partial(shelves.ask, Put(key, "", 0), timeout=2)
                await answers(put, f"shelf {key} by {name}")
        number = 0
        for _ in range(20):
            name, key = chance.choice(cluster.names), chance.choice(self.keys)
            shelves = cluster.client.at(f"actor://{name}/shelves")
            sender = f"recover.{name}"
            for _ in range(chance.choice((0, 0, 3))):
                number += 1
                shelves.tell(Put(key, sender, number))
            number += 1
            await self.put(shelves, Put(key, sender, number), 2)
            # About as long as an idle one is let be.
            await trio.sleep(IDLE * chance.choice((0.01, 0.4, chance.uniform(0.98, 1.6))))

    def check(self, cluster: Cluster) -> None:
        must("replies match", not self.wrong, "; ".join(self.wrong))
        for key, fences in self.starts.items():
            must("fences grow", fences == sorted(fences), f"{key}: {fences}")
        for (sender, key), numbers in self.has.items():
            if sender:
                must("order", numbers == sorted(set(numbers)), f"{sender} to {key}: {numbers}")
        held_by_nobody(cluster, "shelves")


class Drawer(Shelf):
    """Takes longer to end than there is between its lease and the next owner."""

    async def stopped(self) -> None:
        await self.work(45)


class Drawers(Shelves):
    """As Shelves."""

    shelf = Drawer


async def answers(ask: Callable[[], Awaitable[object]], what: str) -> None:
    """Now that nothing goes wrong there is an owner within four leases."""
    with trio.move_on_after(4 * LEASE.ttl):
        while True:
            try:
                await ask()
            except ActorError:
                await trio.sleep(0.1)
            else:
                return
    must("liveness", False, f"nobody answers: {what}")


def held_by_nobody(cluster: Cluster, name: str) -> None:
    """In the end no region holds a message."""
    for node in cluster.nodes.values():
        cell = node.system._find(Address("actor", node.name, name))
        held = cell._actor._held if cell is not None and isinstance(cell._actor, Region) else 0
        must("liveness", held == 0, f"{held} messages are held at {node.name} for ever")
