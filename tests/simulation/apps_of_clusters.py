"""Small applications for the simulator: what there is once in a cluster."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

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
        self.context.every(0.1, Tick())

    async def receive(self, message: Any) -> int:
        if isinstance(message, Stamp):
            self.app.stamped(message)
            if message.number % 4 == 0:
                await trio.sleep(0.1)
            return message.number
        return 0


class Stamps(Application):
    """All nodes have stamps printed by the one printer that there is."""

    nodes = 2
    lease: ClassVar[Lease | None] = LEASE
    limits = SHORT
    options: ClassVar[dict[str, Any]] = {"max_restarts": None}
    each = 20

    def __init__(self) -> None:
        self.starts: list[tuple[str, int]] = []
        self.printed: defaultdict[str, list[int]] = defaultdict(list)
        self.wrong: list[str] = []

    def stamped(self, message: Stamp) -> None:
        self.printed[message.sender].append(message.number)

    async def start(self, node: SimulatedNode) -> None:
        make = functools.partial(Singleton, strategy=OneForOne(max_restarts=None))
        await node.system.start(make, Printer, self, node.name, name="printer")

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
                number += 1
                message = Stamp(sender, number)
                printer = node.system.at(f"actor://{name}/printer")
                try:
                    if number % 2:
                        printer.tell(message)
                        continue
                    # (The node may crash, and its timers with it.)
                    with trio.move_on_after(4):
                        reply = await printer.ask(message, timeout=3)
                        cluster.sometimes("printed")
                        if reply != number:
                            self.wrong.append(f"{message} got {reply}")
                except ActorError as error:
                    cluster.sometimes(type(error).__name__)

        async with trio.open_nursery() as nursery:
            for name in cluster.names:
                nursery.start_soon(customer, name)

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


@message(name="simulation.Put")
class Put(Request[int]):
    key: str
    sender: str
    number: int


IDLE = 1.0


class Shelf(Actor):
    """One of many."""

    def __init__(self, key: str, app: Shelves) -> None:
        self.app = app
        self.key = key

    async def started(self) -> None:
        self.app.starts[self.key].append(self.context.fence or 0)
        await trio.sleep(0.02)

    async def stopped(self) -> None:
        await trio.sleep(0.05)

    async def receive(self, message: Put) -> int:
        assert message.key == self.key
        self.app.has[message.sender, message.key].append(message.number)
        if message.number % 4 == 0:
            await trio.sleep(0.1)
        return message.number


class Shelves(Application):
    """Many shelves, of which each is somewhere, once."""

    nodes = 2
    lease: ClassVar[Lease | None] = LEASE
    limits = SHORT
    options: ClassVar[dict[str, Any]] = {"max_restarts": None}
    each = 40
    keys = ("a", "b", "c", "d")
    shards = 5

    def __init__(self) -> None:
        self.starts: defaultdict[str, list[int]] = defaultdict(list)
        self.has: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self.wrong: list[str] = []

    async def start(self, node: SimulatedNode) -> None:
        strategy = OneForOne(max_restarts=None)
        make = functools.partial(
            Sharded, key="key", shards=self.shards, idle=IDLE, strategy=strategy
        )
        await node.system.start(make, Shelf, self, name="shelves")

    async def work(self, cluster: Cluster) -> None:
        async def customer(name: str) -> None:
            chance = cluster.random(name)
            node = cluster.nodes[name]
            number = 0
            for _ in range(self.each):
                await trio.sleep(chance.uniform(0, 0.5))
                if not node.is_up or node.is_paused:
                    continue
                number += 1
                message = Put(chance.choice(self.keys), f"{name}.{node.incarnation}", number)
                shelves = node.system.at(f"actor://{name}/shelves")
                try:
                    if number % 2:
                        shelves.tell(message)
                        continue
                    with trio.move_on_after(4):
                        await self.put(Sharded.ref(shelves, message.key), message, 3)
                        cluster.sometimes("put")
                except ActorError as error:
                    cluster.sometimes(type(error).__name__)

        async with trio.open_nursery() as nursery:
            for name in cluster.names:
                nursery.start_soon(customer, name)

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
        for number in range(20):
            name, key = chance.choice(cluster.names), chance.choice(self.keys)
            shelves = cluster.client.at(f"actor://{name}/shelves")
            await self.put(shelves, Put(key, "recover", number), 2)
            # About as long as an idle one is let be.
            await trio.sleep(IDLE * chance.choice((0.01, 0.4, chance.uniform(0.98, 1.1))))

    def check(self, cluster: Cluster) -> None:
        must("replies match", not self.wrong, "; ".join(self.wrong))
        for key, fences in self.starts.items():
            must("fences grow", fences == sorted(fences), f"{key}: {fences}")
        for (sender, key), numbers in self.has.items():
            if sender:
                must("order", numbers == sorted(set(numbers)), f"{sender} to {key}: {numbers}")
        held_by_nobody(cluster, "shelves")


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
