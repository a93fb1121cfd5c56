"""Small applications to simulate: counters on all nodes, and one that shows how nodes live."""

from __future__ import annotations

from typing import Any

import trio

from actors import Actor, ActorError, Request, message
from transports.testing import Application, Cluster, SimulatedNode

ROUNDS = 20


@message(name="simulation.Count")
class Count(Request[int]):
    number: int


class Counter(Actor):
    """Counts, and waits now and then."""

    def __init__(self) -> None:
        self.count = 0

    async def receive(self, message: Count) -> int:
        self.count += 1
        if message.number % 5 == 0:
            await trio.sleep(0.05)
        return self.count


class Counting(Application):
    """The client asks the counters of all nodes, and counters tell each other."""

    async def start(self, node: SimulatedNode) -> None:
        node.system.spawn(Counter, name="counter")
        node.disk["starts"] = node.disk.get("starts", 0) + 1

    async def work(self, cluster: Cluster) -> None:
        async def ask(name: str) -> None:
            chance = cluster.random(name)
            ref = cluster.client.at(f"actor://{name}/counter")
            for number in range(ROUNDS):
                await trio.sleep(chance.uniform(0, 0.5))
                try:
                    if number % 3:
                        await ref.ask(Count(number), timeout=2)
                        cluster.sometimes("counted")
                    else:
                        ref.tell(Count(number))
                except ActorError as error:
                    cluster.sometimes(type(error).__name__)

        async with trio.open_nursery() as nursery:
            for name in cluster.names:
                nursery.start_soon(ask, name)

    async def recover(self, cluster: Cluster) -> None:
        for name in cluster.names:
            await cluster.client.at(f"actor://{name}/counter").ask(Count(1), timeout=20)

    def check(self, cluster: Cluster) -> None:
        for name in cluster.names:
            assert cluster.nodes[name].disk["starts"] == cluster.nodes[name].incarnation


class Diary(Application):
    """Writes down, once a virtual second, what each node sees; for `seconds` of them."""

    nodes = 2
    seconds = 20

    def __init__(self) -> None:
        self.lines: list[tuple[str, int, str, float, float]] = []

    def write(self, node: SimulatedNode, what: str) -> None:
        now = node.run.now()
        self.lines.append((node.name, node.incarnation, what, now, node.system.env.now()))

    def moments(self, name: str, what: str) -> list[float]:
        return [now for node, _, said, now, _ in self.lines if (node, said) == (name, what)]

    async def start(self, node: SimulatedNode) -> None:
        self.write(node, "start")
        node.system.spawn(Writer, self, node)

    async def work(self, cluster: Cluster) -> None:
        await trio.sleep(self.seconds)


class Writer(Actor):
    """The hand of a diary."""

    def __init__(self, diary: Diary, node: SimulatedNode) -> None:
        self.diary = diary
        self.node = node

    async def started(self) -> None:
        self.context.every(1.0, "tick")

    async def stopped(self) -> None:
        self.diary.write(self.node, "stopped")

    async def receive(self, message: Any) -> None:
        self.diary.write(self.node, "tick")
        try:
            await trio.sleep(0.5)
        finally:
            self.diary.write(self.node, "slept")
