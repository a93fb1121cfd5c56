"""``python -m benchmarks.soak_connections``: connections that are opened and left.

A node of `trouper run` in a process of its own, and peers that ask it all the time. Ten thousand
connections are opened to it and left open: some say nothing, some a part of an introduction, some
nonsense. Then the node may open a few more files only, and connections come until it has none left.
In both cases the peers must be answered all the time, the memory of the node must stay bounded, and
new peers must get in: while there are files, and again when there are.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from array import array
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from time import perf_counter

import attrs
import trio
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from actors import Actor, ActorError, ActorSystem, Request, message
from benchmarks.soak_processes.cluster import ROOT, TROUPER, quiet
from transports import Limits, Tcp
from transports.nodes.connecting import MOST_STRANGERS
from transports.wire.framing import encode_frame
from transports.wire.introduction import NONCE, Introduction, Role

PEERS = 4
#: Seconds for an answer, and for a new peer to get in.
PATIENCE = 20.0
#: Files that the node may open beyond those that it has, when it is to run out of them.
FEW_FILES = 60
#: Files of this process besides the connections.
OWN_FILES = 200
#: A source address has some 28,000 ports, and not all of them may be free.
SOURCES = [f"127.0.0.{number}" for number in range(2, 6)]
#: Files of the node: strangers that are kept, and some more for peers and for what is being ended.
MOST_FILES = MOST_STRANGERS + 64
#: MiB by which the memory of the node may grow.
MOST_GROWTH = 32.0


@message(name="soak.Ping")
class Ping(Request[int]):
    """The reply is the number."""

    number: int


class Echo(Actor):
    """Replies with the number of a Ping."""

    def receive(self, message: Ping) -> int:
        """Reply."""
        return message.number


@attrs.define
class Figures:
    """What came of one kind of connections.

    opened: as many were open at this end. files: that the node had open, at most. asks: that peers
    were answered meanwhile, and `waited`: how long they waited, in seconds. joined: seconds until a
    new peer was in, while the connections were open and when they were closed. before, peak: MiB
    of the node's memory. refusals: how often the node said that it can open no more files.
    """

    title: str
    opened: int = 0
    files: int = 0
    waited: array[float] = attrs.field(factory=lambda: array("d"), repr=False)
    unanswered: list[str] = attrs.field(factory=list)
    joined: dict[str, float] = attrs.field(factory=dict)
    before: float = 0.0
    peak: float = 0.0
    refusals: int = 0

    @property
    def problems(self) -> list[str]:
        """What is wrong, in words. There is nothing."""
        problems = [f"{self.title}: {each}" for each in self.unanswered]
        if not self.waited:
            problems.append(f"{self.title}: nobody was answered")
        if self.peak - self.before > MOST_GROWTH:
            problems.append(f"{self.title}: {self.before:.0f} MiB became {self.peak:.0f} MiB")
        if self.files > MOST_FILES:
            problems.append(f"{self.title}: the node had {self.files} files open")
        return problems


# -- the node


class FarNode:
    """The node in its process."""

    def __init__(self, process: trio.Process, place: str, secret: bytes) -> None:
        self.process = process
        self.place = place
        self.secret = secret
        self.complaints: list[str] = []

    def memory(self) -> tuple[float, float]:
        """MiB: now, and at most since `forget_peak`."""
        words = Path(f"/proc/{self.process.pid}/status").read_text("ascii").split()
        now, peak = (int(words[words.index(name) + 1]) for name in ("VmRSS:", "VmHWM:"))
        return now / 1024, peak / 1024

    def forget_peak(self) -> None:
        """The most memory there was is that of now."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5", "ascii")

    def files(self) -> int:
        """The open ones."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def allow_files(self, more: int) -> None:
        """It may open so many more than it has open now."""
        _, hard = resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (self.files() + more, hard))

    @contextlib.asynccontextmanager
    async def peer(self, name: str) -> AsyncIterator[ActorSystem]:
        """Another node, connected with it."""
        limits = Limits(dial_at_most=0.2)
        transport = Tcp(None, peers=[f"far@{self.place}"], secret=self.secret, limits=limits)
        async with ActorSystem(name, transport=transport) as system:
            with trio.fail_after(PATIENCE):
                await transport.reached("far")
            yield system


@contextlib.asynccontextmanager
async def far_node(folder: Path) -> AsyncIterator[FarNode]:
    """Run it. It ends in good order, or this raises RuntimeError."""
    secret = folder / "secret"
    secret.touch(mode=0o600)
    secret.write_bytes(os.urandom(16).hex().encode())
    command = [*TROUPER, "run", "--name", "far", "--listen", "127.0.0.1:0"]
    command += ["--secret-file", str(secret), "--control", str(folder / "far.sock")]
    command += [f"{__spec__.name}:Echo"]
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT
    )
    try:
        assert process.stderr is not None
        with trio.fail_after(PATIENCE):
            ready = bytes(await process.stderr.receive_some()).decode()
        assert ready.startswith("ready: "), ready
        node = FarNode(process, ready.strip().rpartition("@")[2], secret.read_bytes())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read, process.stderr, node.complaints)
            yield node
            process.terminate()
            with trio.move_on_after(PATIENCE):
                await process.wait()
            nursery.cancel_scope.cancel()
        if process.returncode != 0:
            raise RuntimeError(f"the node has ended with {process.returncode}")
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def _read(stream: trio.abc.ReceiveStream, lines: list[str]) -> None:
    while data := await stream.receive_some():
        lines += bytes(data).decode().splitlines()


# -- peers and strangers


async def keep_asking(system: ActorSystem, figures: Figures) -> None:
    """Ask, one at a time, and note how long it takes."""
    ref, number = system.at("actor://far/echo"), 0
    while True:
        number += 1
        start = perf_counter()
        try:
            assert await ref.ask(Ping(number), timeout=PATIENCE) == number
        except ActorError as error:
            figures.unanswered.append(f"{system.name}: {error}")
            return
        figures.waited.append(perf_counter() - start)
        # The machine is for those who connect, too.
        await trio.sleep(0.005)


def sayings() -> list[bytes]:
    """What strangers say."""
    (frame,) = Introduction(
        "mallory", Role.CALLER, bytes(NONCE), secret=b"sixteen bytes or more"
    ).outgoing()
    return [b"", encode_frame(frame), encode_frame(frame)[:20], b"GET / HTTP/1.1\r\n\r\n"]


async def open_one(place: str, number: int, within: float) -> trio.socket.SocketType | None:
    """A connection to a node that is then left; None: it takes none, for so many seconds."""
    host, _, port = place.rpartition(":")
    stranger = trio.socket.socket()
    said = sayings()[number % 4]
    try:
        await stranger.bind((SOURCES[number % len(SOURCES)], 0))
        with trio.fail_after(within):
            await stranger.connect((host, int(port)))
        with contextlib.suppress(OSError):
            await stranger.send(said)
    except (OSError, trio.TooSlowError):
        stranger.close()
        return None
    except BaseException:
        stranger.close()
        raise
    return stranger


async def join(node: FarNode, name: str, figures: Figures, when: str) -> None:
    """A new peer asks once."""
    start = perf_counter()
    try:
        async with node.peer(name) as system:
            assert await system.at("actor://far/echo").ask(Ping(1), timeout=PATIENCE) == 1
            figures.joined[when] = perf_counter() - start
    except (ActorError, trio.TooSlowError) as error:
        figures.unanswered.append(f"a new peer, {when}: {error!r}")


@contextlib.asynccontextmanager
async def watched(node: FarNode, figures: Figures) -> AsyncIterator[list[trio.socket.SocketType]]:
    """Peers ask meanwhile. What is appended to the list is closed, and then a new peer asks."""
    left: list[trio.socket.SocketType] = []
    try:
        async with contextlib.AsyncExitStack() as stack:
            peers = [
                await stack.enter_async_context(node.peer(f"peer-{number}"))
                for number in range(PEERS)
            ]
            node.forget_peak()
            figures.before = node.memory()[0]
            async with trio.open_nursery() as nursery:
                for peer in peers:
                    nursery.start_soon(keep_asking, peer, figures)
                yield left
                figures.opened = len(left)
                figures.peak = node.memory()[1]
                nursery.cancel_scope.cancel()
    finally:
        for stranger in left:
            stranger.close()
    await join(node, "late", figures, "when they are closed")


async def many(node: FarNode, count: int, progress: Progress | None = None) -> Figures:
    """So many connections are opened and left."""
    figures = Figures(f"{count:,} connections")
    task = progress.add_task("connections", total=count) if progress else None
    async with watched(node, figures) as left:
        numbers, half = iter(range(count)), trio.Event()

        async def opener() -> None:
            for number in numbers:
                stranger = await open_one(node.place, number, PATIENCE)
                if stranger is None:
                    figures.unanswered.append(f"connection {number} was not taken")
                    half.set()
                    return
                left.append(stranger)
                if number % 50 == 0:
                    figures.files = max(figures.files, node.files())
                if number == count // 2:
                    half.set()
                if progress and task is not None:
                    progress.update(task, completed=len(left))

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(opener)
            await half.wait()
            await join(node, "middle", figures, "while they are opened")
        await join(node, "end", figures, "when all are open")
    return figures


async def no_files(node: FarNode, seconds: float) -> Figures:
    """Connections come for so many seconds, and the node has not enough files for them."""
    figures = Figures(f"a node with {FEW_FILES} files left")
    before = len(node.complaints)
    async with watched(node, figures) as left:
        node.allow_files(FEW_FILES)
        number = 0
        with trio.move_on_after(seconds):
            while True:
                number += 1
                # More of them wait to be accepted than there are files; then none is taken.
                stranger = await open_one(node.place, number, 0.5)
                if stranger is not None:
                    left.append(stranger)
                figures.files = max(figures.files, node.files())
    said = node.complaints[before:]
    figures.refusals = sum("EMFILE" in each for each in said)
    if not figures.refusals:
        figures.unanswered.append("the node has never run out of files")
    node.allow_files(1_000)
    return figures


# -- the command


@contextlib.contextmanager
def files_for(wanted: int) -> Iterator[int]:
    """Let this process open files for so many connections; the number for which it is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted + OWN_FILES
    allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    try:
        yield min(wanted, max(soft, allowed) - OWN_FILES)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def soak(
    folder: Path, count: int, seconds: float, progress: Progress | None
) -> list[Figures]:
    """Both kinds of connections, one after the other, to one node."""
    with quiet():
        async with far_node(folder) as node:
            return [await many(node, count, progress), await no_files(node, seconds)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it as told, and print the account. The exit status is 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak_connections")
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=12.0, help="without files")
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 100)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as folder,
        files_for(options.connections) as count,
        Progress(*columns, console=console, transient=True) as progress,
    ):
        found = trio.run(soak, Path(folder), count, options.seconds, progress)
    for figures in found:
        console.print(account(figures))
    if count < options.connections:
        print(f"{count:,} connections only: the hard limit of open files (ulimit -Hn) is too low")
    problems = [problem for figures in found for problem in figures.problems]
    for problem in problems:
        print(f"wrong: {problem}")
    again = f"--connections {options.connections} --seconds {options.seconds:g}"
    print(f"again by: python -m benchmarks.soak_connections {again}")
    return 1 if problems else 0


def account(figures: Figures) -> Table:
    """What there was."""
    table = Table(figures.title, "")
    table.add_row("connections open at this end", f"{figures.opened:,}")
    table.add_row("files that the node had open, at most", f"{figures.files:,}")
    if figures.refusals:
        table.add_row("times that the node could accept nobody (EMFILE)", f"{figures.refusals:,}")
    table.add_row(f"asks of {PEERS} peers that were answered meanwhile", f"{len(figures.waited):,}")
    table.add_row("asks that were not", f"{len(figures.unanswered):,}")
    if len(figures.waited) > 1:
        parts = statistics.quantiles(figures.waited, n=100, method="inclusive")
        values = {"p50": parts[49], "p99": parts[98], "max": max(figures.waited)}
        for name, value in values.items():
            table.add_row(f"time to an answer, {name}", f"{1_000 * value:.1f} ms")
    for when, value in figures.joined.items():
        table.add_row(f"a new peer had its answer, {when}", f"{1_000 * value:.0f} ms")
    table.add_row("memory of the node before, VmRSS", f"{figures.before:.1f} MiB")
    table.add_row("memory of the node at most, VmHWM", f"{figures.peak:.1f} MiB")
    return table


if __name__ == "__main__":
    sys.exit(main())
