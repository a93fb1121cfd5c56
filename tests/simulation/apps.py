"""Small applications for the simulator, each of which uses one part of the runtime a great deal.

Each holds without a planted bug, whatever faults befall it; see `planted` for the bugs.
"""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from typing import Any, ClassVar

import trio
from tenacity import wait_fixed

from actors import (
    Actor,
    ActorError,
    ActorRef,
    AskCycle,
    DeadLetterReason,
    Directive,
    ExitReason,
    Failure,
    Mailbox,
    NodeDown,
    Request,
    Terminated,
    message,
)
from supervision import ChildSpec, OneForAll, OneForOne, Supervisor, TooManyRestarts, child
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


# -- forms: a mailbox with a stash, under a supervisor


@message(name="simulation.Form")
class Form:
    number: int


@message(name="simulation.Lunch")
class Lunch:
    begins: bool


class Clerk(Actor):
    """Handles forms, except at lunch."""

    def __init__(self, app: Offices, node: str) -> None:
        self.app = app
        self.node = node
        self.lunch = False

    async def receive(self, message: Form | Lunch) -> None:
        await trio.sleep(0.02)
        if isinstance(message, Lunch):
            self.lunch = message.begins
            self.context.unstash_all()
        elif self.lunch:
            self.context.stash()
        else:
            self.app.handled[self.node].append(message.number)


class Office(Guard):
    """One clerk, who is back soon."""

    strategy = OneForOne(max_restarts=None, backoff=wait_fixed(0.2))


class Offices(Small):
    """Clerks fail and come back: each form is handled in its turn, or is known to have failed."""

    each = 40

    def __init__(self) -> None:
        self.handled: defaultdict[str, list[int]] = defaultdict(list)
        self.failed: Failed = []

    async def start(self, node: SimulatedNode) -> None:
        clerk = child(Clerk, self, node.name, name="clerk")
        await node.system.start(Office, self.failed, node.name, clerk, name="office")

    async def work(self, cluster: Cluster) -> None:
        for number in range(1, self.each + 1):
            for name in cluster.names:
                clerk = cluster.client.at(f"actor://{name}/office/clerk")
                if number % 5 == 0:
                    await clerk.send(Lunch(number % 2 == 0))
                await clerk.send(Form(number))
            if number % 3 == 0:
                await trio.sleep(0.3)
        for name in cluster.names:
            await cluster.client.at(f"actor://{name}/office/clerk").send(Lunch(False))

    async def recover(self, cluster: Cluster) -> None:
        for name in cluster.names:
            await cluster.client.at(f"actor://{name}/office/clerk").send(Lunch(False))

    def check(self, cluster: Cluster) -> None:
        for name, node in cluster.nodes.items():
            if node.incarnation > 1:
                continue
            handled = self.handled[name]
            must("forms in order", handled == sorted(set(handled)), f"{name}: {handled}")
            dead = {
                letter.message.number
                for system in (cluster.client, node.system)
                for letter in system.dead_letters.recent
                if isinstance(letter.message, Form) and letter.ref.address.node == name
            }
            failed = {
                form.number for node, form in self.failed if node == name and isinstance(form, Form)
            }
            ended = {*handled, *dead, *failed}
            lost = [number for number in range(1, self.each + 1) if number not in ended]
            must("no form is lost", not lost, f"{name}: {lost}")


class Team(Guard):
    """Two who begin anew together."""

    strategy = OneForAll(max_restarts=None)


class Metronome(Actor):
    """Is busy by itself."""

    async def started(self) -> None:
        self.context.every(0.05, "tick")

    def receive(self, message: object) -> None:
        pass


class Teams(Offices):
    """As offices; but what fails takes the others along."""

    async def start(self, node: SimulatedNode) -> None:
        clerk = child(Clerk, self, node.name, name="clerk")
        metronome = child(Metronome, name="metronome")
        await node.system.start(Team, self.failed, node.name, clerk, metronome, name="office")


# -- a supervisor's limit of restarts


class Kiln(Actor):
    """Fails now and then."""

    def __init__(self, app: Potteries, record: list[float]) -> None:
        if self.context.incarnation > 1:
            record.append(trio.current_time())
            # The clocks of nodes differ by up to 1 %.
            recent = [at for at in record if at > record[-1] - 0.5 / 1.02]
            if len(recent) > 2:
                app.wrong.append(f"{len(recent)} restarts within 0.5 s")

    async def started(self) -> None:
        self.context.every(0.02, "burn")

    def receive(self, message: object) -> None:
        pass


class Pottery(Supervisor):
    """Bears 2 failures within 0.5 seconds."""

    strategy = OneForOne(max_restarts=2, within=0.5)

    def __init__(self, app: Potteries) -> None:
        self.app = app
        self.record: list[float] = []

    def children(self) -> list[ChildSpec]:
        return [child(Kiln, self.app, self.record, name="kiln")]

    async def restarting(self, failure: Failure) -> None:
        if isinstance(failure.exception, TooManyRestarts):
            since = trio.current_time() - 0.5 * 1.02
            recent = [at for at in self.record if at > since]
            if len(recent) < 2:
                self.app.wrong.append(f"gave up after {len(recent)} restarts within 0.5 s")


class Potteries(Small):
    """Restarts are counted exactly."""

    nodes = 1

    def __init__(self) -> None:
        self.wrong: list[str] = []

    async def start(self, node: SimulatedNode) -> None:
        await node.system.start(Pottery, self, name="pottery")

    async def work(self, cluster: Cluster) -> None:
        await trio.sleep(6)

    def check(self, cluster: Cluster) -> None:
        must("restarts are counted", not self.wrong, "; ".join(self.wrong))


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


@message(name="simulation.Again")
class Again:
    address: str


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


@message(name="simulation.Claim")
class Claim(Request[int]):
    number: int


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


# -- a race within a node


@message(name="simulation.Buy")
class Buy:
    pass


class Store(Actor):
    """Knows how many there are."""

    def __init__(self, app: Shops) -> None:
        self.app = app

    def receive(self, message: Buy | int | str) -> int:
        if isinstance(message, Buy):
            self.app.stock -= 1
        elif isinstance(message, int):
            self.app.stock = message
        return self.app.stock


class Shop(Actor):
    """Sells one."""

    async def receive(self, message: Buy) -> None:
        self.context.system.at("actor://n1/guard/store").tell(message)


class Street(Actor):
    """Sends a customer to one shop, and one to the other a while after that."""

    async def receive(self, message: Buy) -> None:
        for shop in ("one", "two"):
            self.context.system.at(f"actor://n1/guard/{shop}").tell(message)
            # Much longer than a sale takes, if everybody takes turns.
            for _ in range(8):
                await trio.lowlevel.checkpoint()


class Shops(Small):
    """Two shops sell from one store."""

    nodes = 1
    each = 40

    def __init__(self) -> None:
        self.stock = 2 * self.each
        self.failed: Failed = []

    async def start(self, node: SimulatedNode) -> None:
        children = (
            child(Store, self, name="store"),
            child(Shop, name="one"),
            child(Shop, name="two"),
            child(Street, name="street"),
        )
        await node.system.start(Guard, self.failed, node.name, *children, name="guard")

    async def work(self, cluster: Cluster) -> None:
        street = cluster.client.at("actor://n1/guard/street")
        for _ in range(self.each):
            await street.send(Buy())
            await trio.sleep(0.05)

    def check(self, cluster: Cluster) -> None:
        if cluster.nodes["n1"].incarnation == 1 and not self.failed:
            must("each sale counts", self.stock == 0, f"{self.stock} are left")
