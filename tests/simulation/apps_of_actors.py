"""Small applications for the simulator: mailboxes, restarts and supervisors."""

from __future__ import annotations

from collections import defaultdict

import trio
from tenacity import wait_fixed

from actors import (
    Actor,
    Failure,
    message,
)
from supervision import ChildSpec, OneForAll, OneForOne, Supervisor, TooManyRestarts, child
from tests.simulation.apps import Failed, Guard, Small, must
from transports.testing import Cluster, SimulatedNode

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
