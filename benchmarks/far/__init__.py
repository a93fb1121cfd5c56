"""The other process of the rows between two: ``python -m benchmarks.far [--bare] PLACE``.

A place is `unix:PATH` or `tcp:HOST:PORT`. A node listens there, with the actors of the workloads;
or with `--bare`, a plain trio server that speaks length-prefixed frames, which is the limit. It
ends with its standard input.
"""

import contextlib
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import trio

from actors import Actor, ActorRef, ActorSystem, Request, message
from transports import Tcp, Unix

LENGTH = struct.Struct(">I")
READ_AT_ONCE = 1 << 16
#: The first byte of a bare connection: what the server is to do with the frames.
COUNT, ECHO = b"c", b"e"


@message(name="benchmarks.Blob")
class Blob:
    """A message of some bytes."""

    data: bytes


@message(name="benchmarks.Number")
class Number(Request[int]):
    """Asks for the number of the ask."""


@message(name="benchmarks.News")
class News:
    """What is published."""


@message(name="benchmarks.HowMany")
class HowMany(Request[int]):
    """Asks how many messages there were."""


class Sink(Actor):
    """Counts its messages."""

    def __init__(self) -> None:
        self.count = 0

    def receive(self, message: object) -> int | None:
        """Count one; or say how many there were since it was asked the last time."""
        if message.__class__ is HowMany:
            count, self.count = self.count, 0
            return count
        self.count += 1
        return None


class Echo(Actor):
    """Replies with the number of the ask."""

    def __init__(self) -> None:
        self.count = 0

    def receive(self, message: object) -> int:
        """Reply."""
        self.count += 1
        return self.count


@message(name="benchmarks.Begin")
class Begin:
    """What an actor tells itself first."""


@message(name="benchmarks.Here")
class Here:
    """An actor has handled its first message, in this process."""

    pid: int


class Replaced(Actor):
    """Says to `told` where it is, when it handles its first message."""

    def __init__(self, told: ActorRef) -> None:
        self.told = told

    async def started(self) -> None:
        """The first message."""
        self.context.ref.tell(Begin())

    def receive(self, message: Begin) -> None:
        """Say it."""
        self.told.tell(Here(os.getpid()))


class Frames:
    """Length-prefixed frames of a stream: the least that takes them apart."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that are whole now."""
        if self._rest:
            data = self._rest + data
        unpack, size = LENGTH.unpack_from, len(data)
        payloads = []
        start = 0
        while size - start >= 4:
            end = start + 4 + unpack(data, start)[0]
            if end > size:
                break
            payloads.append(data[start + 4 : end])
            start = end
        self._rest = data[start:]
        return payloads


def frame(payload: bytes) -> bytes:
    """One frame."""
    return LENGTH.pack(len(payload)) + payload


class Counter:
    """The handler of the bare server: counts."""

    def __init__(self) -> None:
        self.count = 0

    def receive(self, payload: bytes) -> None:
        """Count one."""
        self.count += 1


async def serve_bare(stream: trio.SocketStream) -> None:
    """Serve one connection."""
    # Who has its figure may leave with echoes unread.
    with contextlib.suppress(trio.BrokenResourceError):
        async with stream:
            await _count_or_echo(stream)


async def _count_or_echo(stream: trio.SocketStream) -> None:
    """Count frames, and say how many there were at an empty one; or echo them."""
    frames = Frames()
    mode = await stream.receive_some(1)
    counter = Counter()
    while data := await stream.receive_some(READ_AT_ONCE):
        payloads = frames.feed(data)
        if mode == ECHO:
            await stream.send_all(b"".join(map(frame, payloads)))
            continue
        for payload in payloads:
            if payload:
                counter.receive(payload)
            else:
                await stream.send_all(frame(str(counter.count).encode()))
                counter.count = 0


async def serve_frames(place: str) -> None:
    """The bare server, until standard input ends."""
    kind, _, where = place.partition(":")
    async with trio.open_nursery() as nursery:
        if kind == "unix":
            listening = trio.socket.socket(trio.socket.AF_UNIX)
            await listening.bind(where)
            print(where, flush=True)
        else:
            host, _, port = where.rpartition(":")
            listening = trio.socket.socket()
            await listening.bind((host, int(port)))
            print(f"{host}:{listening.getsockname()[1]}", flush=True)
        listening.listen()
        listeners = [trio.SocketListener(listening)]
        nursery.start_soon(trio.serve_listeners, serve_bare, listeners)
        await _until_stdin_ends()
        nursery.cancel_scope.cancel()


async def serve_node(place: str) -> None:
    """The node, until standard input ends."""
    kind, _, where = place.partition(":")
    transport = Unix(where) if kind == "unix" else Tcp(where)
    async with ActorSystem("far", transport=transport) as system:
        system.spawn(Sink, name="sink")
        system.spawn(Echo, name="echo")
        for number in range(1_000):
            system.subscribe("topic://news.*", system.spawn(Sink, name=f"reader-{number}"))
        print(transport.address, flush=True)
        await _until_stdin_ends()


async def _until_stdin_ends() -> None:
    await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)


@contextlib.contextmanager
def far(*arguments: str) -> Iterator[str]:
    """Run it in a process of its own; the address at which it listens."""
    command = [sys.executable, "-m", "benchmarks.far", *arguments]
    with subprocess.Popen(
        command,
        cwd=Path(__file__).parent.parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
            process.stdin.close()
            process.wait(10)
        finally:
            process.kill()


@contextlib.contextmanager
def both(kind: str) -> Iterator[tuple[str, str]]:
    """A node and a bare server on one kind of sockets: their addresses."""
    with tempfile.TemporaryDirectory() as folder:
        if kind == "unix":
            places = [f"unix:{folder}/node", f"unix:{folder}/bare"]
        else:
            places = ["tcp:127.0.0.1:0", "tcp:127.0.0.1:0"]
        with far(places[0]) as node, far("--bare", places[1]) as bare:
            yield node, bare
