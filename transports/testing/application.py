"""What `simulate` runs: an application on the nodes of a cluster, and the work that it is given."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from actors import ActorSystem, Env
from transports.cluster.session import Lease
from transports.nodes.limits import Limits
from transports.nodes.spawnable import Recipe

if TYPE_CHECKING:
    from actors.env import Random
    from transports.testing.cluster import SimulatedNode
    from transports.testing.run import Run


class Cluster:
    """What an application sees of the cluster it runs on.

    names: of its nodes. nodes: each by its name. client: an actor system that is connected with all
    of them, and never crashes: the work is done from there.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.names = run.names
        self.nodes: Mapping[str, SimulatedNode] = run.nodes

    @property
    def client(self) -> ActorSystem:
        """The system that work is done from."""
        return self._run.client.system

    def random(self, *key: str | int) -> Random:
        """A random generator for this key: chance that belongs to the run's seed."""
        return Env(self._run.dice.seed).random("application", *key)

    def note(self, text: str) -> None:
        """Write something into the trace. It belongs to the hash: no id() or default repr."""
        self._run.note(text)

    def sometimes(self, what: str) -> None:
        """Count that something has happened: what no run ever counts was never tested."""
        self._run.sometimes(what)


class Application:
    """Subclass this: one instance lives for one run.

    nodes: how many nodes, unless `simulate` says so. limits: of each node. options: keywords for
    each ActorSystem. spawnable: of each node but the client's, as for `Node`; one that is set in
    `__init__` may have classes that know the application. lease: None: the nodes share no store;
    otherwise each has one over a simulated engine, and keeps what it owns by this lease.

    Raises:
        TypeError: at the class: `start`, `work` or `recover` is not async, or `check` is.
    """

    nodes: ClassVar[int] = 3
    limits: ClassVar[Limits | None] = None
    lease: ClassVar[Lease | None] = None
    options: ClassVar[Mapping[str, Any]] = {}
    spawnable: Iterable[Recipe] | Mapping[str, Recipe] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, is_async in (
            ("start", True),
            ("work", True),
            ("recover", True),
            ("check", False),
        ):
            method = vars(cls).get(name)
            if inspect.isfunction(method) and inspect.iscoroutinefunction(method) is not is_async:
                right = f"`async def {name}`" if is_async else f"`def {name}`, without async"
                raise TypeError(f"{cls.__qualname__}.{name} must be {right}")

    async def start(self, node: SimulatedNode) -> None:
        """Start the actors of one node, in `node.system`. Called again when it starts anew.

        It runs as the program of that node would: it ends with the node. What it raises ends the
        node, which is then started again.
        """

    async def work(self, cluster: Cluster) -> None:
        """Let the cluster work while faults befall it. It must end, whatever they do.

        An ask that fails is no reason to raise: that is what happens. What it raises fails the run.
        """

    async def recover(self, cluster: Cluster) -> None:
        """Called when nothing goes wrong any more: now everything must succeed.

        What it raises fails the run, and so does taking longer than `recover_within`.
        """

    def check(self, cluster: Cluster) -> None:
        """At the end, when all is quiet: assert what must hold, whatever has happened."""
