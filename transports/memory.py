"""Nodes of one process, connected in memory: for tests, and to try out a cluster."""

from __future__ import annotations

from typing import Final

import trio

from actors.address import check_name
from transports.endpoint import Endpoint, Handle

CAPACITY: Final = 1 << 16
"""Bytes that one direction of a connection holds until they are read."""


class MemoryNetwork:
    """Connects the nodes of one process with each other.

    network = MemoryNetwork()
    async with ActorSystem("a", transport=Node(network.endpoint("a"), peers=["b"])) as a:
        ...

    Its connections lose nothing and need no time, and hold a sender back whose receiver does not
    read. `part` and `heal` show what a program does when nodes lose each other; for everything else
    that befalls networks there is `transports.testing.simulate`.
    """

    def __init__(self) -> None:
        self._served: dict[str, tuple[trio.Nursery, Handle]] = {}
        self._streams: dict[MemoryStream, None] = {}
        self._parted: dict[frozenset[str], None] = {}

    def endpoint(self, name: str) -> MemoryEndpoint:
        """What the node of that name is made with.

        Raises:
            InvalidAddress: no node can have that name.
        """
        return MemoryEndpoint(self, check_name(name, "node's name"))

    def cut(self, one: str, other: str) -> None:
        """Break the connections between two nodes; they make new ones."""
        pair = frozenset((one, other))
        for stream in tuple(self._streams):
            if stream.pair == pair:
                stream.cut()

    def part(self, one: str, other: str) -> None:
        """Break the connections between two nodes, and let them make none until `heal`."""
        self._parted[frozenset((one, other))] = None
        self.cut(one, other)

    def heal(self, one: str, other: str) -> None:
        """Let two nodes connect again; no error if they were never parted."""
        self._parted.pop(frozenset((one, other)), None)


class MemoryEndpoint(Endpoint):
    """One node's place in a MemoryNetwork."""

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self._network = network
        self._name = name

    async def connect(self, where: str) -> trio.abc.Stream:
        """A connection to the node of that name. A checkpoint.

        Raises:
            OSError: nobody answers.
        """
        await trio.lowlevel.checkpoint()
        network = self._network
        pair = frozenset((self._name, where))
        served = network._served.get(where)
        if served is None or pair in network._parted:
            raise OSError(f"no node {where!r} answers in this MemoryNetwork")
        here, there = MemoryStream(network, pair), MemoryStream(network, pair)
        here.other, there.other = there, here
        nursery, handle = served
        nursery.start_soon(handle, there)
        return here

    async def serve(self, handle: Handle) -> None:
        """Run `handle` for each connection from outside, in a task of its own; until cancelled.

        Raises:
            OSError: a node of this name is served already.
        """
        served = self._network._served
        if self._name in served:
            raise OSError(f"there is a node {self._name!r} in this MemoryNetwork already")
        async with trio.open_nursery() as nursery:
            served[self._name] = (nursery, handle)
            try:
                await trio.sleep_forever()
            finally:
                del served[self._name]


class MemoryStream(trio.abc.Stream):
    """One end of a connection; `other` is the other one."""

    other: MemoryStream

    def __init__(self, network: MemoryNetwork, pair: frozenset[str]) -> None:
        self.pair = pair
        self._network = network
        self._arrived = bytearray()
        self._changed = trio.lowlevel.ParkingLot()
        self._broken = self._closed = False
        network._streams[self] = None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write; waits while the other end has CAPACITY bytes to read.

        If cancelled, a part may have been written.

        Raises:
            trio.BrokenResourceError: the connection has ended.
            trio.ClosedResourceError: this end was closed.
        """
        await trio.lowlevel.checkpoint()
        rest = bytes(data)
        other = self.other
        while True:
            self._check_open()
            if self._broken:
                raise trio.BrokenResourceError("the connection has ended")
            room = CAPACITY - len(other._arrived)
            if room > 0:
                other._arrived += rest[:room]
                other._changed.unpark_all()
                rest = rest[room:]
            if not rest:
                return
            await other._changed.park()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room."""
        await trio.lowlevel.checkpoint()
        while not self._broken and len(self.other._arrived) >= CAPACITY:
            self._check_open()
            await self.other._changed.park()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Read what there is; b"" at the end.

        Raises:
            trio.ClosedResourceError: this end was closed.
        """
        await trio.lowlevel.checkpoint()
        while not self._arrived:
            self._check_open()
            if self._broken:
                return b""
            await self._changed.park()
        taken = bytes(self._arrived[:max_bytes])
        del self._arrived[:max_bytes]
        self._changed.unpark_all()
        return taken

    async def aclose(self) -> None:
        """End the connection; the other end may still read what has arrived there."""
        self._closed = True
        self.cut()
        await trio.lowlevel.checkpoint()

    def cut(self) -> None:
        """End the connection, for both ends."""
        for end in (self, self.other):
            end._broken = True
            end._changed.unpark_all()
            self._network._streams.pop(end, None)

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this end was closed")
