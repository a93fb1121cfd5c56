"""Applications whose actors are spawned on other nodes, by a supervisor that stays on its own."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs
import trio

from actors import Actor, ActorError, ActorRef, Hashed, LeastLoaded, Request, message
from supervision import ChildSpec, OneForOne, Supervisor, WhichChildren, child
from tests.simulation.apps import must, until
from transports import Limits
from transports.testing import Application, Cluster, SimulatedNode


@message(name="simulation.WhoAreYou")
class WhoAreYou(Request[str]):
    """The reply is what the worker was made with."""


@attrs.frozen(eq=False)
class Life:
    """One worker: on which incarnation of which node it has begun."""

    node: SimulatedNode
    incarnation: int

    @property
    def goes_on(self) -> bool:
        """Whether its node does: a crash says nothing to anybody."""
        return not self.node.gone and self.node.incarnation == self.incarnation


class Crew(Supervisor):
    """Has its workers on other nodes."""

    strategy = OneForOne(max_restarts=None)

    def __init__(self, labels: tuple[str, ...], worker: type[Actor]) -> None:
        self.specs = [
            child(worker, label, name=label, on=Hashed(label) if number % 2 else LeastLoaded())
            for number, label in enumerate(labels)
        ]

    def children(self) -> list[ChildSpec]:
        return self.specs


class Spawning(Application):
    """The client supervises workers on the other nodes. In the end each is there, once.

    honest: no two ever live at the same time. That holds if a node that is out of reach is dead.
    """

    nodes = 3
    limits = Limits(lost_after=4.0)
    options: ClassVar[dict[str, Any]] = {"max_restarts": None}
    honest = False
    labels = ("one", "two", "three", "four", "five")

    def __init__(self) -> None:
        self.cluster: Cluster | None = None
        self.lives: dict[str, list[Life]] = {label: [] for label in self.labels}
        app = self

        class Worker(Actor):
            def __init__(self, label: str) -> None:
                self.label = label
                self.life: Life | None = None

            async def started(self) -> None:
                assert app.cluster is not None
                node = app.cluster.nodes[self.context.system.name]
                # (The incarnation of its node may have ended already, for the simulator.)
                self.life = Life(node, node.incarnation)
                others = app.living(self.label)
                app.lives[self.label].append(self.life)
                if app.honest:
                    must("one lives", not others, f"{self.label} lives twice")
                if app.lives[self.label][1:]:
                    app.cluster.sometimes("a worker has a successor")

            async def stopped(self) -> None:
                if self.life is not None and self.life in app.lives[self.label]:
                    app.lives[self.label].remove(self.life)

            def receive(self, message: WhoAreYou) -> str:
                return self.label

        self.worker = Worker
        self.spawnable = [Worker]

    def living(self, label: str) -> list[Life]:
        return [life for life in self.lives[label] if life.goes_on]

    async def start(self, node: SimulatedNode) -> None:
        while self.cluster is None:
            await trio.sleep(0.01)

    async def work(self, cluster: Cluster) -> None:
        self.cluster = cluster
        crew = cluster.client.spawn(Crew, self.labels, self.worker, name="crew")
        for _ in range(40):
            await trio.sleep(0.5)
            await self._visit(cluster, crew)

    async def _visit(self, cluster: Cluster, crew: ActorRef) -> int:
        """Ask each of them who it is."""
        answers = 0
        try:
            found = await crew.ask(WhichChildren(), timeout=2)
        except ActorError:
            return 0
        for info in found:
            if info.ref is None:
                cluster.sometimes("a worker waits for a node")
                continue
            try:
                who = await info.ref.ask(WhoAreYou(), timeout=2)
            except ActorError:
                cluster.sometimes("a worker does not answer")
                continue
            must("who it is", who == info.name, f"{info.name} says that it is {who}")
            answers += 1
        return answers

    async def recover(self, cluster: Cluster) -> None:
        crew = cluster.client.at("actor://client/crew")
        while await self._visit(cluster, crew) < len(self.labels):
            await trio.sleep(0.25)
        await until(lambda: all(len(self.living(label)) == 1 for label in self.labels))

    def check(self, cluster: Cluster) -> None:
        for label in self.labels:
            count = len(self.living(label))
            must("one lives", count == 1, f"{label} lives {count} times")


class HonestSpawning(Spawning):
    """For runs in which nodes crash, and nothing else: they are never two."""

    honest = True
