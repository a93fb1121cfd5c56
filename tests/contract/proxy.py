"""A network that does what a test says, between two real nodes: on loopback or unix sockets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from transports.wire import frames
from transports.wire.framing import HEADER

AT_ONCE: Final = 1 << 14

_ENDED = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


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
    third DATA frame comes behind the one that follows it. cut_after: so many frames, of both
    directions, pass; then the connection is cut, once. refuse: nobody is connected any more.
    `connections` counts those that were made.
    """

    def __init__(self, target: Callable[[], Awaitable[trio.SocketStream]]) -> None:
        self.target = target
        self.latency = 0.0
        self.split = self.reorder = self.refuse = False
        self.cut_after: int | None = None
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
                            nursery.start_soon(self._pump, connection, near, far)
                            nursery.start_soon(self._pump, connection, far, near)
                finally:
                    del self._now[connection]

    async def _pump(
        self, connection: Connection, source: trio.SocketStream, sink: trio.SocketStream
    ) -> None:
        stream = _Frames()
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
        if self.cut_after is None and not self.reorder and stream.is_empty:
            await sink.send_all(data)
            return
        for frame in stream.split(data):
            if self.cut_after is not None:
                if not self.cut_after:
                    self.cut_after = None
                    connection.scope.cancel()
                    await trio.lowlevel.checkpoint()
                self.cut_after -= 1  # type: ignore[operator] # the scope was cancelled above
            for each in self._ordered(stream, frame):
                await sink.send_all(each)

    def _ordered(self, stream: _Frames, frame: bytes) -> list[bytes]:
        is_data = frame[HEADER.size] == frames.DATA
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

    def __init__(self) -> None:
        self._rest = b""
        self.held = b""
        self.data = 0

    @property
    def is_empty(self) -> bool:
        return not self._rest and not self.held

    def split(self, data: bytes) -> list[bytes]:
        data = self._rest + data
        found = []
        while len(data) >= HEADER.size:
            end = HEADER.size + HEADER.unpack_from(data)[0]
            if end > len(data):
                break
            found.append(data[:end])
            data = data[end:]
        self._rest = data
        return found
