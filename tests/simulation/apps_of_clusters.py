"""Small applications for the simulator: what there is once in a cluster."""

from __future__ import annotations

import functools
from collections import defaultdict
from typing import Any, ClassVar

import trio

from actors import Actor, ActorError, Request, message
from supervision import OneForOne
from tests.simulation.apps import must, until
from transports import Limits
from transports.cluster.session import Lease
from transports.cluster.singleton import Singleton
from transports.testing import Application, Cluster, SimulatedNode

LEASE = Lease(ttl=6.0, margin=0.5)
SHORT = Limits(lost_after=3.0, heartbeat=0.5)


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
        self.context.every(0.05, Tick())

    async def receive(self, message: Any) -> int:
        if isinstance(message, Stamp):
            self.app.stamped(message)
            if message.number % 4 == 0:
                await trio.sleep(0.1)
            return message.number
        return 0


class Stamps(Application):
    """All nodes have stamps printed by the one printer that there is."""

    nodes = 3
    lease: ClassVar[Lease | None] = LEASE
    limits = SHORT
    options: ClassVar[dict[str, Any]] = {"max_restarts": None}
    each = 25

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
            with trio.fail_after(4 * LEASE.ttl):
                while True:
                    try:
                        await printer.ask(Stamp("", 0), timeout=2)
                        break
                    except ActorError:
                        await trio.sleep(0.1)
        await trio.sleep(2 * LEASE.ttl)

    def check(self, cluster: Cluster) -> None:
        must("replies match", not self.wrong, "; ".join(self.wrong))
        fences = [fence for _, fence in self.starts]
        must("fences grow", fences == sorted(fences), f"{self.starts}")
        for sender, numbers in self.printed.items():
            if sender:
                in_order = numbers == sorted(set(numbers))
                must("order", in_order, f"{sender} had printed {numbers}")


__all__ = ["Stamps", "until"]
