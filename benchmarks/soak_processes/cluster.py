"""The processes: some are workers of this system, some are nodes of their own on TCP."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from time import perf_counter

import attrs
import trio

from actors import ActorSystem
from benchmarks.soak_processes.engine import CLUSTER, Engine
from benchmarks.soak_processes.journals import Journals
from supervision import ChildSpec, OneForOne, Supervisor, WorkerProcesses, child
from transports import Limits, Tcp
from transports.nats import Nats

ROOT = Path(__file__).parent.parent.parent
#: A silent process is lost within some three seconds.
LOST_AFTER = 1.0
LIMITS = Limits(heartbeat=0.5, lost_after=LOST_AFTER, dial_at_most=0.1)
TROUPER = (sys.executable, "-c", "from transports.cli import main; main()")


@attrs.define(eq=False)
class Member:
    """A process of the cluster, and its replacements.

    name: of its node. neighbours: those that its actors can reach. pid: of the process now.
    fault: the last one that befell it. changed: is set when it is up.
    """

    name: str
    is_worker: bool
    neighbours: list[Member] = attrs.field(factory=list, repr=False)
    pid: int = 0
    is_up: bool = False
    fault: str = ""
    changed: trio.Event = attrs.field(factory=trio.Event, repr=False)
    _gone: int = 0
    _since: float = 0.0

    @property
    def kind(self) -> str:
        """What starts it again."""
        return "worker process" if self.is_worker else "node of trouper run"

    def address(self, actor: str) -> str:
        """Of its journal, or its relay. (A worker's is another one each time.)"""
        if self.is_worker:
            return f"service://{actor}.{self.name}"
        return f"actor://{self.name}/journals/{actor}"

    def disturbed(self, fault: str, *, gone: int = 0, seconds: float = 0.0) -> None:
        """A fault befell it, for so long: it is up when it acknowledges what is sent after that.

        gone: the number of the process that must have another one in its place.
        """
        self.is_up, self.fault = False, fault
        self._gone, self._since = gone, perf_counter() + seconds

    def acknowledged(self, pid: int, begun: float) -> float | None:
        """It has acknowledged what was sent at `begun`; seconds, if it was the first since a fault.

        (What it had replied before it was killed may still be on its way.)
        """
        if self.is_up or (pid == self._gone if self._gone else begun < self._since):
            return None
        self.pid, self.is_up = pid, True
        self.change()
        return perf_counter() - self._since

    def change(self) -> None:
        """Wake who waits for `changed`."""
        changed, self.changed = self.changed, trio.Event()
        changed.set()

    async def up(self, within: float) -> None:
        """Return when it acknowledges.

        Raises:
            TimeoutError: it does not, within so many seconds.
        """
        with trio.move_on_after(within):
            while not self.is_up:
                await self.changed.wait()
            return
        raise TimeoutError(f"{self.name} did not recover within {within:g} s")


class Headquarters(Supervisor):
    """The actors of all workers, started again as soon as their worker is back."""

    strategy = OneForOne(max_restarts=None)

    def __init__(self, nodes: list[str], folder: str) -> None:
        self.nodes = nodes
        self.folder = folder

    def children(self) -> list[ChildSpec]:
        """One for each worker."""
        return [child(Journals, self.folder, name=node, on=node) for node in self.nodes]


@attrs.define
class Cluster:
    """All of it, while it runs. exits: how the nodes on TCP have ended: exit codes, how often."""

    system: ActorSystem
    members: list[Member]
    exits: Counter[int] = attrs.field(factory=Counter)


@contextlib.asynccontextmanager
async def cluster(
    folder: Path, workers: int, nodes: int, engine: Engine | None = None
) -> AsyncIterator[Cluster]:
    """So many processes of both kinds; none is left in the end.

    folder: for the journals, and for what else the processes have to write. engine: by which they
    meet, the workers too; None: sockets.
    """
    names = [f"soak-node-{number}" for number in range(1, nodes + 1)]
    with quiet():
        places = dict(zip(names, map("127.0.0.1:{}".format, free_ports(nodes)), strict=True))
        secret = folder / "secret"
        secret.touch(mode=0o600)
        secret.write_bytes(os.urandom(16).hex().encode())
        peers = [f"{name}@{place}" for name, place in places.items()]
        key = secret.read_bytes()
        transport: Tcp | Nats
        if engine is None:
            urls = []
            transport = Tcp("127.0.0.1:0", peers=peers, secret=key, limits=LIMITS)
        else:
            urls = engine.urls
            transport = Nats(
                urls,
                cluster=CLUSTER,
                secret=key,
                limits=LIMITS,
                workers_too=True,
                replicas=len(urls),
            )
        async with ActorSystem("soak", transport=transport) as system:
            members = [Member(name, is_worker=False) for name in names]
            if workers:
                members += await _start_workers(system, folder, workers)
            for each in members:
                each.neighbours = [
                    other
                    for other in members
                    if other is not each and other.is_worker is each.is_worker
                ]
            made = Cluster(system, members)
            async with trio.open_nursery() as nursery:
                for name, place in places.items():
                    if isinstance(transport, Tcp):
                        joins = [transport.address, *(each for each in peers if place not in each)]
                        meets = ["--listen", place]
                        meets += [word for other in joins for word in ("--join", other)]
                    else:
                        meets = ["--cluster", CLUSTER]
                        meets += [word for url in urls for word in ("--nats", url)]
                    command = _command(folder, name, meets)
                    nursery.start_soon(_keep_running, command, folder / f"{name}.log", made.exits)
                yield made
                nursery.cancel_scope.cancel()


async def _start_workers(system: ActorSystem, folder: Path, count: int) -> list[Member]:
    make = partial(WorkerProcesses, count, actors=[Journals], strategy=OneForOne(max_restarts=None))
    await system.start(make, name="workers")
    names = [f"soak-worker-{number}" for number in range(1, count + 1)]
    await system.start(Headquarters, names, str(folder), name="headquarters")
    return [Member(name, is_worker=True) for name in names]


def _command(folder: Path, name: str, meets: list[str]) -> list[str]:
    options = {
        "--name": name,
        "--secret-file": str(folder / "secret"),
        "--control": str(folder / f"{name}.sock"),
        "--lost-after": str(LOST_AFTER),
    }
    target = ["benchmarks.soak_processes.journals:main", str(folder)]
    return [*TROUPER, "run", *sum(options.items(), ()), *meets, *target]


async def _keep_running(command: list[str], output: Path, exits: Counter[int]) -> None:
    """Run it, and again when it has ended. Cancelled, it is stopped by SIGTERM, and waited for."""
    while True:
        with output.open("ab") as file:
            # In a session of its own, as a worker is: Ctrl-C is not for it, and a kernel that
            # shares the processors out by session lets it start as fast as those.
            process = await trio.lowlevel.open_process(
                command,
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                cwd=ROOT,
                start_new_session=True,
            )
        assert process.stdin is not None
        try:
            await process.wait()
        finally:
            if process.returncode is None:
                process.terminate()
                with trio.CancelScope(shield=True):
                    with trio.move_on_after(20):
                        await process.wait()
                    process.kill()
                    await process.wait()
            exits[process.returncode or 0] += 1
            await trio.aclose_forcefully(process.stdin)
        # One that cannot start is not started as fast as it fails.
        await trio.sleep(0.02 if process.returncode in (0, -9) else 0.2)


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What is killed on purpose is no news; what a process prints is."""
    loggers = [logging.getLogger(name) for name in ("actors", "supervision", "transports")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    output = logging.getLogger("supervision.processes.output")
    output.setLevel(logging.WARNING)
    try:
        yield
    finally:
        output.setLevel(logging.NOTSET)
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
