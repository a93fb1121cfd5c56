"""Small applications for the simulator, each of which uses one part of the runtime a great deal.

Each holds without a planted bug, whatever faults befall it; see `planted` for the bugs.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from typing import Any, ClassVar

import trio

from actors import (
    Actor,
    ActorError,
    ActorRef,
    AskCycle,
    Directive,
    ExitReason,
    Failure,
    Mailbox,
    Request,
    Terminated,
    message,
)
from supervision import ChildSpec, OneForOne, Supervisor, child
from transports import Limits
from transports.testing import Application, Cluster, SimulatedNode, Violation


def must(oracle: str, holds: bool, text: str) -> None:
    """Let the run fail by that oracle, unless it holds."""
    if not holds:
        raise Violation(oracle, text)


async def until(condition: Any) -> None:
    """Wait for it, as long as the simulator lets us."""
    while not condition():
        await trio.sleep(0.25)


class Small(Application):
    """Two nodes, whose top-level actors are restarted as often as they fail."""

    nodes = 2
    options: ClassVar[dict[str, Any]] = {"max_restarts": None}


Failed = list[tuple[str, Any]]
"""Which node, and the message that failed there."""


class Guard(Supervisor):
    """Restarts an actor, and notes what it has failed of."""

    strategy = OneForOne(max_restarts=None)

    def __init__(self, failed: Failed, node: str, *children: ChildSpec) -> None:
        self.failed = failed
        self.node = node
        self.specs = children

    def children(self) -> tuple[ChildSpec, ...]:
        return self.specs

    def child_failed(self, child: ActorRef, failure: Failure) -> Directive:
        self.failed.append((self.node, failure.message))
        return super().child_failed(child, failure)


@message(name="simulation.Again")
class Again:
    address: str


@message(name="simulation.Claim")
class Claim(Request[int]):
    number: int


# -- letters: what one node tells another


@message(name="simulation.Letter")
class Letter:
    number: int
    text: str


class Reader(Actor):
    """Reads slowly, and has little room: so letters wait at its door."""

    mailbox = Mailbox(capacity=2)

    def __init__(self, app: Letters, node: str) -> None:
        self.app = app
        self.node = node

    async def receive(self, message: Letter) -> None:
        self.app.read[self.node].append(message.number)
        await trio.sleep(0.02)


class Letters(Small):
    """A node that never crashes writes letters to the others: none may get lost, or come twice."""

    limits = Limits(window=4, per_target=6, outbox=16)
    each = 25

    def __init__(self) -> None:
        self.read: defaultdict[str, list[int]] = defaultdict(list)
        self.failed: Failed = []

    async def start(self, node: SimulatedNode) -> None:
        reader = child(Reader, self, node.name, name="reader")
        await node.system.start(Guard, self.failed, node.name, reader, name="guard")

    async def work(self, cluster: Cluster) -> None:
        async def write(name: str) -> None:
            chance = cluster.random("letters", name)
            reader = cluster.client.at(f"actor://{name}/guard/reader")
            for number in range(1, self.each + 1):
                await reader.send(Letter(number, "dear " * number))
                if chance.random() < 0.5:
                    await trio.sleep(chance.uniform(0, 0.8))

        async with trio.open_nursery() as nursery:
            for name in cluster.names:
                nursery.start_soon(write, name)

    def check(self, cluster: Cluster) -> None:
        for name, node in cluster.nodes.items():
            dead = [
                letter.message.number
                for system in (cluster.client, node.system)
                for letter in system.dead_letters.recent
                if isinstance(letter.message, Letter) and letter.ref.address.node == name
            ]
            failed = [letter.number for node, letter in self.failed if node == name and letter]
            ended = {*self.read[name], *dead, *failed}
            missing = [each for each in range(1, self.each + 1) if each not in ended]
            must("no letter is lost", node.incarnation > 1 or not missing, f"{name}: {missing}")


# -- asks that time out, and asks in a circle


class Slow(Actor):
    """Sometimes too slow."""

    def __init__(self, chance: Any) -> None:
        self.chance = chance

    async def receive(self, message: Claim) -> int:
        await trio.sleep(self.chance.uniform(0, 0.4))
        return message.number


@message(name="simulation.Visit")
class Visit(Request[str]):
    at: str
    then: str


class Host(Actor):
    """Asks another host, and waits for it."""

    async def receive(self, message: Visit) -> str:
        if not message.at:
            return "nobody"
        host = self.context.system.at(message.at)
        try:
            return await host.ask(Visit(message.then, ""), timeout=None)
        except AskCycle:
            return "a circle"


class Questions(Small):
    """Every reply is that to its own question; and no two wait for each other for ever."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    async def start(self, node: SimulatedNode) -> None:
        node.system.spawn(Slow, node.random("slow"), name="slow")
        node.system.spawn(Host, name="host")

    async def work(self, cluster: Cluster) -> None:
        async def ask(who: int, slow: ActorRef) -> None:
            for each in range(15):
                number = 100 * who + each
                try:
                    reply = await slow.ask(Claim(number), timeout=0.5)
                except ActorError:
                    continue
                if reply != number:
                    self.wrong.append(f"question {number} got the reply to {reply}")

        async with trio.open_nursery() as nursery:
            for who, name in enumerate((*cluster.names, *cluster.names), 1):
                nursery.start_soon(ask, who, cluster.client.at(f"actor://{name}/slow"))

    async def recover(self, cluster: Cluster) -> None:
        one, two = (f"actor://{name}/host" for name in cluster.names)
        client = cluster.client
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                for here, there in ((one, two), (two, one)):
                    visit = functools.partial(client.at(here).ask, Visit(there, here), None)
                    nursery.start_soon(visit)

    def check(self, cluster: Cluster) -> None:
        must("replies match", not self.wrong, "; ".join(self.wrong))


# -- watching actors of other nodes


class Target(Actor):
    """Is watched."""

    def receive(self, message: object) -> None:
        pass


class Watcher(Actor):
    """Watches a target elsewhere, and watches again a while after it has ended."""

    def __init__(self, app: Watches, address: str) -> None:
        self.app = app
        self.address = address
        self.watches = False

    async def started(self) -> None:
        self.watch()

    def watch(self) -> None:
        self.watches = True
        self.target = self.context.system.at(self.address)
        self.context.watch(self.target)

    def receive(self, message: Terminated | Again) -> None:
        if isinstance(message, Again):
            self.watch()
            return
        if not self.watches:
            self.app.wrong.append(f"{self.context.ref} was told twice: {message}")
        self.watches = False
        if message.reason in (ExitReason.NORMAL, ExitReason.NO_ACTOR):
            self.app.ended.add(str(self.context.ref))
        self.context.after(1.5, Again(self.address))


class Watches(Small):
    """Who watches is told once of each end."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.ended: set[str] = set()

    async def start(self, node: SimulatedNode) -> None:
        node.system.spawn(Target, name="target")
        other = "n2" if node.name == "n1" else "n1"
        node.system.spawn(Watcher, self, f"actor://{other}/target", name="watcher")

    async def work(self, cluster: Cluster) -> None:
        for _ in range(20):
            await trio.sleep(0.5)
            for name in cluster.names:
                cluster.client.at(f"actor://{name}/target").tell("hello")

    async def recover(self, cluster: Cluster) -> None:
        watchers = {f"actor://{name}/watcher" for name in cluster.names}
        self.ended.clear()
        for name in cluster.names:
            cluster.client.at(f"actor://{name}/target").stop()
        await until(lambda: self.ended == watchers)

    def check(self, cluster: Cluster) -> None:
        must("told once", not self.wrong, "; ".join(self.wrong))
