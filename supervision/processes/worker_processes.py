"""A supervisor of operating system processes, each a node of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import trio

from actors import Actor, Failure
from actors.actor import actor_class
from actors.address import check_name
from actors.cell import Cell
from actors.spawning import spawn
from actors.suspending import end
from actors.timers import check_seconds
from actors.waiting import Waiter
from supervision.base import BaseSupervisor
from supervision.child import ChildSpec, child
from supervision.entry import Entry
from supervision.processes.host import HostsWorkers, WorkerHost
from supervision.processes.reports import levels
from supervision.processes.worker_process import WorkerProcess
from supervision.strategies import Strategy

AFTER_GRACE: Final = 5.0
"""Seconds that a worker's actor has beyond its process's grace, for SIGKILL and for clean-up."""


class WorkerProcesses(BaseSupervisor):
    """Processes of this machine for this system's actors: CPU-bound ones, or such as may crash.

        async with ActorSystem("shop", transport=Unix()) as system:
            make = functools.partial(WorkerProcesses, 2, actors=[Indexer])
            await system.start(make, name="workers")
            indexer = await system.start(Indexer, on="shop-worker-1")

    count: how many. Each is a node of its own, SYSTEM-NAME-1 to -count, connected with this one and
        with each other by unix sockets that nobody else can open.
    actors: the classes that can be spawned there, of modules that another process can import.
    name: the word in the names of the nodes, if there is more than one such supervisor.
    modules: names of modules that are imported there as well.
    strategy: what to do about a process that ended (WorkerExited), or whose node is silent or lost
        (WorkerLost). None: the class's.
    start_within: seconds for a process to be ready and connected, at each start.
    grace: seconds that a process has to end in good order when it is stopped.

    It has started when all of them have. A process gets its parent's environment, `sys.path` and
    levels of loggers. What it prints and logs, the parent logs, marked with its name. It ends when
    its parent does, however that ends.

    Raises:
        ValueError, TypeError: an argument is none of what is said above.
    """

    def __init__(
        self,
        count: int,
        *,
        actors: Iterable[type[Actor]],
        name: str = "worker",
        modules: Iterable[str] = (),
        strategy: Strategy | None = None,
        start_within: float = 30.0,
        grace: float = 5.0,
    ) -> None:
        if type(count) is not int or count < 1:
            raise ValueError(f"the number of worker processes is an int from 1 up: {count!r}")
        self._names = [f"{check_name(name)}-{number}" for number in range(1, count + 1)]
        self._actors = [actor_class(each) for each in actors]
        if isinstance(modules, str):
            raise TypeError(f"modules is a list of names: [{modules!r}]")
        self._modules = tuple(modules)
        if strategy is not None:
            self.strategy = strategy
        self._start_within = check_seconds(start_within, "start_within", zero=False)
        self._grace = check_seconds(grace, "grace")
        self._host: WorkerHost | None = None
        self._starting: dict[Cell, Waiter] | None = None

    def _node(self, name: str) -> str:
        return f"{self.context.system.name}-{name}"

    def _first_children(self) -> dict[str, ChildSpec]:
        return {
            name: child(
                WorkerProcess,
                self._host,
                self._node(name),
                self._start_within,
                self._grace,
                shutdown=self._grace + AFTER_GRACE,
            )
            for name in self._names
        }

    async def _start(self) -> None:
        transport: object = self.context.system._transport
        if not isinstance(transport, HostsWorkers):
            raise TypeError(
                f"{self.context.ref} needs a system with a transport that worker processes can "
                'join by: ActorSystem(..., transport=Unix()) or Tcp("127.0.0.1:0"), of `transports`'
            )
        self._host = await transport.host_workers(
            [self._node(name) for name in self._names],
            self._actors,
            self._modules,
            {"levels": levels(), "grace": self._grace},
        )
        self._starting = {}
        try:
            await super()._start()
        except BaseException:
            # A supervisor whose first start fails has no hook that would do it.
            for cell in self._cells():
                await end(self._cell, cell)
            await self._close()
            raise
        finally:
            self._starting = None

    async def _start_entry(self, entry: Entry, *args: Any) -> None:
        if self._starting is None:
            await super()._start_entry(entry, *args)
            return
        # All at once: a process takes its time to start.
        spec = entry.spec
        entry.cell = cell = spawn(self._cell, spec.recipe, spec.args, entry.name, spec.terms)
        waiter = Waiter(cell)
        cell._rare_part().starter = waiter
        self._starting[cell] = waiter

    async def started(self) -> None:
        """Wait for all processes."""
        for cell, waiter in (self._starting or {}).items():
            try:
                await self._cell._wait_as(self._cell, waiter)
            except Exception as error:
                error.add_note(f"raised by the start of {cell}")
                raise

    async def stopped(self) -> None:
        """The processes have ended: leave nothing of theirs."""
        await self._close()

    async def restarting(self, failure: Failure) -> None:
        """As when it stops."""
        await self._close()

    async def _close(self) -> None:
        host, self._host = self._host, None
        if host is not None:
            with trio.CancelScope(shield=True):
                await host.close()

    def state_summary(self) -> dict[str, Any]:
        """The nodes, and what can be spawned there."""
        return {
            "nodes": [self._node(name) for name in self._names],
            "actors": [cls.__name__ for cls in self._actors],
        }
