"""A network that does what a test says, between two real nodes: on loopback or unix sockets."""

from __future__ import annotations

import enum
import struct
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from transports.wire import frames
from transports.wire.framing import HEADER

AT_ONCE: Final = 1 << 14

RECORD: Final = struct.Struct(">3xH")
"""The head of a record of TLS: how many bytes follow it."""

_ENDED = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


class Direction(enum.Enum):
    """Of what passes."""

    FROM_CALLER = "from the caller"
    TO_CALLER = "to the caller"


class Connection:
    """One connection through the proxy."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.is_mute = False
        self.reads = trio.Event()
        self.reads.set()


class Proxy:
    """Listens at `place`, and connects whoever calls with `target`.

    Of all that passes:

    latency: seconds that each piece takes. split: every byte is a piece of its own. reorder: every
    third DATA frame comes behind the one that follows it. cut_after: a direction and a number; the
    connection is cut as soon as so many frames of that direction have passed (0: before the first
    one), and so are the next ones, `cuts` in all. refuse: nobody is connected any more.
    `connections` counts those that were made, `passed` the frames of the longest one, by direction.

    is_tls: a frame is what TLS calls a record; what is in it nobody on the way can tell.
    """

    def __init__(
        self, target: Callable[[], Awaitable[trio.SocketStream]], is_tls: bool = False
    ) -> None:
        self.target = target
        self.is_tls = is_tls
        self.latency = 0.0
        self.split = self.reorder = self.refuse = self.counts = False
        self.cut_after: tuple[Direction, int] | None = None
        self.cuts = 1
        self.passed = dict.fromkeys(Direction, 0)
        self.connections = 0
        self.reordered = 0
        self._now: dict[Connection, None] = {}

    async def run(self, listener: trio.SocketListener) -> None:
        """Serve; until cancelled."""
        await trio.serve_listeners(self._connect, [listener])

    # -- what befalls the connections there are

    def cut(self) -> None:
        """Both ends hear of it."""
        for connection in self._now:
            connection.scope.cancel()

    def half_open(self) -> None:
        """Nothing passes, in either direction, and nobody hears of it."""
        for connection in self._now:
            connection.is_mute = True

    def hold(self) -> None:
        """Nothing more is read of it: what holds its writers up."""
        for connection in self._now:
            connection.reads = trio.Event()

    def release(self) -> None:
        """It is read again."""
        for connection in self._now:
            connection.reads.set()

    # -- one connection

    async def _connect(self, near: trio.SocketStream) -> None:
        async with near:
            if self.refuse:
                return
            try:
                far = await self.target()
            except OSError:
                return
            self.connections += 1
            connection = Connection()
            self._now[connection] = None
            async with far:
                try:
                    with connection.scope:
                        async with trio.open_nursery() as nursery:
                            for direction, source, sink in (
                                (Direction.FROM_CALLER, near, far),
                                (Direction.TO_CALLER, far, near),
                            ):
                                stream = _Frames(direction, self.is_tls)
                                nursery.start_soon(self._pump, connection, source, sink, stream)
                finally:
                    del self._now[connection]

    async def _pump(
        self,
        connection: Connection,
        source: trio.SocketStream,
        sink: trio.SocketStream,
        stream: _Frames,
    ) -> None:
        try:
            while True:
                await connection.reads.wait()
                data = bytes(await source.receive_some(AT_ONCE))
                await connection.reads.wait()
                if connection.is_mute:
                    if not data:
                        await trio.sleep_forever()
                    continue
                if not data:
                    await sink.send_eof()
                    return
                await self._pass(connection, stream, data, sink)
        except _ENDED:
            connection.scope.cancel()

    async def _pass(
        self, connection: Connection, stream: _Frames, data: bytes, sink: trio.SocketStream
    ) -> None:
        if self.latency:
            await trio.sleep(self.latency)
        if self.split:
            for place in range(len(data)):
                await sink.send_all(data[place : place + 1])
            return
        if not self.counts and not self.reorder and stream.is_empty:
            await sink.send_all(data)
            return
        for frame in stream.split(data):
            await self._cut_if(connection, stream)
            for each in self._ordered(stream, frame):
                await sink.send_all(each)
            stream.passed += 1
            self.passed[stream.direction] = max(self.passed[stream.direction], stream.passed)
            await self._cut_if(connection, stream)

    async def _cut_if(self, connection: Connection, stream: _Frames) -> None:
        if self.cut_after == (stream.direction, stream.passed):
            self.cuts -= 1
            if not self.cuts:
                self.cut_after = None
            connection.scope.cancel()
            await trio.lowlevel.checkpoint()

    def _ordered(self, stream: _Frames, frame: bytes) -> list[bytes]:
        is_data = not self.is_tls and frame[HEADER.size] == frames.DATA
        if stream.held:
            held, stream.held = stream.held, b""
            return [frame, held]
        if self.reorder and is_data:
            stream.data += 1
            if stream.data % 3 == 0:
                self.reordered += 1
                stream.held = frame
                return []
        return [frame]


class _Frames:
    """One direction of a connection, as frames; `held` waits for the one behind it."""

    def __init__(self, direction: Direction, is_tls: bool) -> None:
        self.direction = direction
        self.passed = 0
        self.held = b""
        self.data = 0
        self._head = RECORD if is_tls else HEADER
        self._rest = b""

    @property
    def is_empty(self) -> bool:
        return not self._rest and not self.held

    def split(self, data: bytes) -> list[bytes]:
        data = self._rest + data
        found = []
        while len(data) >= self._head.size:
            end = self._head.size + self._head.unpack_from(data)[0]
            if end > len(data):
                break
            found.append(data[:end])
            data = data[end:]
        self._rest = data
        return found
