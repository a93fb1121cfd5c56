"""Small applications for the simulator: queues, services and topics."""

from __future__ import annotations

from collections import Counter, defaultdict

import trio

from actors import (
    Actor,
    ActorError,
    DeadLetterReason,
    NodeDown,
    Request,
    Terminated,
    message,
)
from supervision import child
from tests.simulation.apps import Again, Claim, Failed, Guard, Small, must, until
from transports.testing import Cluster, SimulatedNode

# -- a queue, whose consumers are on other nodes


@message(name="simulation.Errand")
class Errand(Request[bool]):
    number: int


class Runner(Actor):
    """Does errands."""

    def __init__(self, app: Errands, node: str) -> None:
        self.app = app
        self.node = node

    async def started(self) -> None:
        self.context.system.consume("queue://errands", self.context.ref)

    async def receive(self, message: Errand) -> bool:
        self.app.begun[message.number].append(self.node)
        await trio.sleep(0.05)
        self.app.done[message.number] += 1
        return True


class Watchman(Actor):
    """Says which nodes were lost."""

    def __init__(self, lost: set[str], addresses: list[str]) -> None:
        self.lost = lost
        self.addresses = addresses

    async def started(self) -> None:
        for address in self.addresses:
            self.context.watch(self.context.system.at(address))

    def receive(self, message: Terminated | Again) -> None:
        if isinstance(message, Again):
            self.context.watch(self.context.system.at(message.address))
            return
        if isinstance(message.reason, NodeDown):
            self.lost.add(message.reason.node)
        self.context.after(0.1, Again(str(message.ref)))


class Errands(Small):
    """Each errand is done once, unless who does it fails, or is lost."""

    each = 30

    def __init__(self) -> None:
        self.begun: defaultdict[int, list[str]] = defaultdict(list)
        self.done: Counter[int] = Counter()
        self.failed: Failed = []
        self.lost: set[str] = set()
        self.given_up: set[int] = set()
        self.early: set[int] = set()

    async def start(self, node: SimulatedNode) -> None:
        runner = child(Runner, self, node.name, name="runner")
        await node.system.start(Guard, self.failed, node.name, runner, name="guard")

    async def work(self, cluster: Cluster) -> None:
        client = cluster.client
        addresses = [f"actor://{name}/guard/runner" for name in cluster.names]
        client.spawn(Watchman, self.lost, addresses, name="watchman")
        chance = cluster.random("errands")

        async def order(number: int) -> None:
            queue = client.at("queue://errands")
            if number % 2:
                await queue.send(Errand(number))
                return
            try:
                await queue.ask(Errand(number), timeout=None)
            except ActorError:
                return
            except trio.Cancelled:
                self.given_up.add(number)
                raise
            if number not in self.done:
                self.early.add(number)

        with trio.move_on_after(30):
            async with trio.open_nursery() as nursery:
                for number in range(1, self.each + 1):
                    nursery.start_soon(order, number)
                    await trio.sleep(chance.uniform(0, 0.2))

    async def recover(self, cluster: Cluster) -> None:
        with trio.move_on_after(60):
            await until(lambda: not self.undone(cluster))

    def undone(self, cluster: Cluster) -> list[int]:
        dead = {
            letter.message.number
            for letter in cluster.client.dead_letters.recent
            if isinstance(letter.message, Errand)
            and letter.reason is DeadLetterReason.FAILED_TOO_OFTEN
        }
        ended = {*self.done, *dead, *self.given_up}
        return [each for each in range(1, self.each + 1) if each not in ended]

    def check(self, cluster: Cluster) -> None:
        must("answered is done", not self.early, f"{sorted(self.early)} were answered before")
        must("no errand is lost", not self.undone(cluster), f"{self.undone(cluster)}")
        failed = {(errand.number, node) for node, errand in self.failed if errand}
        for number, nodes in self.begun.items():
            for node in nodes[:-1]:
                must(
                    "one consumer",
                    (number, node) in failed or node in self.lost,
                    f"errand {number} was given to {nodes}, though {node} had it",
                )


# -- a service


class Desk(Actor):
    """Takes claims."""

    def __init__(self, app: Claims, node: str) -> None:
        self.app = app
        self.node = node

    async def receive(self, message: Claim) -> int:
        self.app.begun[message.number].append(self.node)
        await trio.sleep(0.1)
        return message.number


class Claims(Small):
    """A claim is made at one desk: at another one only if the first never began with it."""

    def __init__(self) -> None:
        self.begun: defaultdict[int, list[str]] = defaultdict(list)
        self.wrong: list[str] = []

    async def start(self, node: SimulatedNode) -> None:
        desk = node.system.spawn(Desk, self, node.name, name="desk")
        node.system.register("service://claims", desk)

    async def work(self, cluster: Cluster) -> None:
        desks = cluster.client.at("service://claims")

        async def claimant(who: int) -> None:
            for each in range(25):
                number = 100 * who + each
                try:
                    reply = await desks.ask(Claim(number), timeout=20)
                except ActorError:
                    await trio.sleep(0.1)
                else:
                    if reply != number:
                        self.wrong.append(f"claim {number} got the reply to {reply}")

        async with trio.open_nursery() as nursery:
            for who in (1, 2, 3):
                nursery.start_soon(claimant, who)

    def check(self, cluster: Cluster) -> None:
        must("replies match", not self.wrong, "; ".join(self.wrong))
        twice = {number: nodes for number, nodes in self.begun.items() if len(nodes) > 1}
        must("begun once", not twice, f"{twice}")


# -- topics


@message(name="simulation.News")
class News:
    number: int


class Subscriber(Actor):
    """Subscribes at each start, by two patterns."""

    def __init__(self, app: Papers, node: SimulatedNode) -> None:
        self.app = app
        self.who = f"{node.name}.{node.incarnation}"

    async def started(self) -> None:
        for pattern in ("topic://news.*", "topic://news.local"):
            self.context.system.subscribe(pattern, self.context.ref)

    def receive(self, message: News) -> None:
        self.app.got[self.who].append(message.number)


class Papers(Small):
    """Each subscriber gets each publication once."""

    def __init__(self) -> None:
        self.got: defaultdict[str, list[int]] = defaultdict(list)

    async def start(self, node: SimulatedNode) -> None:
        await node.system.start(Subscriber, self, node, name="subscriber")

    async def work(self, cluster: Cluster) -> None:
        topic = cluster.client.at("topic://news.local")
        for number in range(1, 61):
            await topic.send(News(number))
            await trio.sleep(0.1)

    def check(self, cluster: Cluster) -> None:
        for who, numbers in self.got.items():
            twice = [number for number, count in Counter(numbers).items() if count > 1]
            must("published once", not twice, f"{who} got {twice} twice")
