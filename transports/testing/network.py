"""The network of a simulated cluster: every frame on it can meet a fault.

A connection is a stream of bytes, as between real nodes; the network takes it apart into frames
(by their length alone), decides for each whether a fault befalls it, and brings it to the other end
later. It has one task and one heap, so that what arrives at one moment arrives in the order sent.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING, Final
from zlib import crc32

import trio

import transports.endpoint
from transports.testing.faults import Fault
from transports.wire import frames
from transports.wire.framing import HEADER

if TYPE_CHECKING:
    from transports.testing.run import Run

Handle = Callable[[trio.abc.Stream], Awaitable[object]]

CAPACITY: Final = 1 << 18
"""Bytes of one direction of a connection that may be on the way or unread."""

LATENCY: Final = 0.001
"""Seconds that a frame needs, if nothing befalls it."""

SILENT_CONNECT: Final = 3.0
"""Seconds until an attempt to connect to where nothing answers is given up."""

_KINDS: Final = {
    frames.HELLO: "HELLO",
    frames.WELCOME: "WELCOME",
    frames.REFUSE: "REFUSE",
    frames.DATA: "DATA",
    # Faults are drawn for what carries messages, however many they are.
    frames.BATCH: "DATA",
    frames.ACK: "ACK",
    frames.PING: "PING",
    frames.PONG: "PONG",
    frames.CLOSE: "CLOSE",
}


class End(trio.abc.Stream):
    """One end of a connection, at `node`; `other` is the other one, at `peer`."""

    other: End

    def __init__(self, network: Network, node: str, peer: str, counts: dict[str, int]) -> None:
        self.network = network
        # Of frames so far, by their kind, on all connections that way.
        self.counts = counts
        self.node = node
        self.peer = peer
        self.way = f"{node}->{peer}"
        self.broken = self.closed = self.gone = False
        # Bytes that this end has sent and the other one has not read.
        self.unread = 0
        self.arrived: deque[bytes] = deque()
        self.last_arrival = 0.0
        self._reads = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()
        self._rest = b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write, frame by frame; waits for room."""
        await trio.lowlevel.checkpoint()
        while self.unread >= CAPACITY and not self.broken:
            await self._room.park()
        self._check_open()
        if self.broken:
            raise trio.BrokenResourceError("the connection has ended")
        stream = self._rest + bytes(data) if self._rest else bytes(data)
        start = 0
        while len(stream) - start >= HEADER.size:
            end = start + HEADER.size + HEADER.unpack_from(stream, start)[0]
            if end > len(stream):
                break
            self.network.carry(self, stream[start:end])
            start = end
        self._rest = stream[start:]

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room."""
        await trio.lowlevel.checkpoint()
        while self.unread >= CAPACITY and not self.broken:
            await self._room.park()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Read what has arrived."""
        await trio.lowlevel.checkpoint()
        while not self.arrived:
            self._check_open()
            if self.broken:
                return b""
            await self._reads.park()
        taken = b"".join(self.arrived)
        self.arrived.clear()
        self.other.unread -= len(taken)
        self.other._room.unpark_all()
        return taken

    async def aclose(self) -> None:
        """End the connection; the other end hears of it, unless a fault keeps it from that."""
        if not self.closed:
            self.closed = True
            self.broken = True
            self.wake()
            self.network.ends(self)
        await trio.lowlevel.checkpoint()

    def wake(self) -> None:
        """Something has changed for whoever waits here."""
        self._reads.unpark_all()
        self._room.unpark_all()

    def put(self, data: bytes) -> None:
        """Bytes have arrived."""
        self.arrived.append(data)
        if self._reads:
            self._reads.unpark_all()

    def cut(self) -> None:
        """The connection has ended for this end."""
        self.broken = True
        self.wake()

    def _check_open(self) -> None:
        if self.closed:
            raise trio.ClosedResourceError("this end was closed")


class Endpoint(transports.endpoint.Endpoint):
    """One incarnation's place in the network. Once fenced, nothing of it gets out any more."""

    def __init__(self, network: Network, name: str) -> None:
        self.network = network
        self.name = name
        self.fenced = False
        self.served: tuple[trio.Nursery, Handle] | None = None
        self.ends: dict[End, None] = {}

    async def connect(self, where: str) -> trio.abc.Stream:
        """A connection to the node of that name.

        Raises:
            OSError: nobody answers.
        """
        return await self.network.connect(self, where)

    async def serve(self, handle: Handle) -> None:
        """Run `handle` for each connection from outside."""
        async with trio.open_nursery() as nursery:
            self.served = (nursery, handle)
            try:
                await trio.sleep_forever()
            finally:
                self.served = None


class Network:
    """Carries frames between endpoints. `healed`: no more faults."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.healed = False
        self.frames = 0
        self._endpoints: dict[str, Endpoint] = {}
        self._parted: dict[str, Fault] = {}
        self._slow: dict[str, Fault] = {}
        self._counts: dict[str, dict[str, int]] = {}
        # When, as the how-many-th, to or of which end; and of a frame what `_arrives` takes.
        self._heap: list[tuple[float, int, End, tuple[bytes, str, int, Fault | None] | None]] = []
        self._made = 0
        self._scope: trio.CancelScope | None = None

    def endpoint(self, name: str) -> Endpoint:
        """The place of a node that starts; of an earlier incarnation nothing gets out any more."""
        endpoint = self._endpoints[name] = Endpoint(self, name)
        return endpoint

    def fence(self, endpoint: Endpoint, silent: bool) -> None:
        """A node is gone. Silently: nobody hears of it; otherwise its connections end."""
        endpoint.fenced = True
        endpoint.served = None
        for end in endpoint.ends:
            end.gone = True
            if not silent:
                self._later(self._run.now() + LATENCY, end.other, None)
        endpoint.ends.clear()

    # -- links that are bad for a while

    def part(self, way: str, fault: Fault) -> None:
        """Let nothing pass that way."""
        self._parted[way] = fault

    def unpart(self, way: str, fault: Fault) -> None:
        """Let things pass again, unless another fault has come over that way since."""
        if self._parted.get(way) is fault:
            del self._parted[way]

    def slow(self, way: str, fault: Fault) -> None:
        """Let everything be late that way."""
        self._slow[way] = fault

    def unslow(self, way: str, fault: Fault) -> None:
        """As before."""
        if self._slow.get(way) is fault:
            del self._slow[way]

    def heal(self) -> None:
        """Nothing goes wrong from now on."""
        self.healed = True
        self._parted.clear()
        self._slow.clear()

    # -- connections

    async def connect(self, caller: Endpoint, peer: str) -> trio.abc.Stream:
        """See `Endpoint.connect`."""
        await trio.sleep(2 * LATENCY)
        parted = (
            f"{caller.name}->{peer}" in self._parted or f"{peer}->{caller.name}" in self._parted
        )
        if parted:
            await trio.sleep(SILENT_CONNECT)
            raise OSError(f"nothing is heard of node {peer}")
        called = self._endpoints.get(peer)
        if called is None or called.served is None or caller.fenced:
            raise OSError(f"no node {peer} answers")
        here, there = self._end(caller.name, peer), self._end(peer, caller.name)
        here.other, there.other = there, here
        caller.ends[here] = None
        called.ends[there] = None
        nursery, handle = called.served
        nursery.start_soon(handle, there)
        return here

    def _end(self, node: str, peer: str) -> End:
        way = f"{node}->{peer}"
        return End(self, node, peer, self._counts.setdefault(way, {}))

    def ends(self, end: End) -> None:
        """An end was closed: the other one hears of it behind all that was sent before."""
        for endpoint in (self._endpoints.get(end.node), self._endpoints.get(end.peer)):
            if endpoint is not None:
                endpoint.ends.pop(end, None)
        if not end.gone and end.way not in self._parted:
            self._later(max(end.last_arrival, self._run.now() + LATENCY), end.other, None)

    # -- frames

    def carry(self, end: End, frame: bytes) -> None:
        """Take a frame on its way, or let a fault befall it."""
        if end.gone:
            return
        run = self._run
        self.frames = number_of_frame = self.frames + 1
        way = end.way
        kind = _KINDS.get(frame[HEADER.size], "?") if len(frame) > HEADER.size else "?"
        number = end.counts[kind] = end.counts.get(kind, 0) + 1
        now = run.now()
        text = f"{kind} #{number} {crc32(frame):08x}"
        fault = None if self.healed else self._parted.get(way)
        if fault is not None:
            run.sent(end, text, number_of_frame, fault, frame)
            return
        if not self.healed:
            fault = run.plan.on_frame(way, kind, number)
        arrival = now + LATENCY
        slow = self._slow.get(way)
        if slow is not None:
            arrival += slow.by
        run.sent(end, text, number_of_frame, fault, frame)
        if fault is None:
            self._arrive(end, frame, arrival, text, number_of_frame)
            return
        run.fired(fault)
        match fault.kind:
            case "cut":
                end.cut()
                self._later(now + LATENCY, end.other, None)
            case "corrupt":
                bit = int(fault.by) % (8 * len(frame))
                broken = bytearray(frame)
                broken[bit // 8] ^= 1 << (bit % 8)
                self._arrive(end, bytes(broken), arrival, text, number_of_frame, fault)
            case "duplicate":
                for _ in range(2):
                    self._arrive(end, frame, arrival, text, number_of_frame, fault)
            case "delay":
                self._arrive(end, frame, arrival + fault.by, text, number_of_frame, fault)
            case "reorder":
                last = end.last_arrival
                self._arrive(end, frame, arrival + fault.by, text, number_of_frame, fault)
                end.last_arrival = last

    def _arrive(
        self,
        end: End,
        frame: bytes,
        at: float,
        text: str,
        number: int,
        fault: Fault | None = None,
    ) -> None:
        if at < end.last_arrival:
            at = end.last_arrival
        end.last_arrival = at
        end.unread += len(frame)
        self._later(at, end, (frame, text, number, fault))

    def _arrives(self, end: End, frame: bytes, text: str, number: int, fault: Fault | None) -> None:
        other = end.other
        if other.broken or other.gone:
            return
        self._run.arrived(end, text, number, fault)
        other.put(frame)

    # -- time

    def _later(
        self, at: float, end: End, sent: tuple[bytes, str, int, Fault | None] | None
    ) -> None:
        """Let what this end has sent arrive then; None: let the end itself be cut."""
        self._made += 1
        heapq.heappush(self._heap, (at, self._made, end, sent))
        if self._scope is not None and at < self._scope.deadline:
            self._scope.deadline = at

    async def run(self) -> None:
        """Bring things to where they go, in order; until cancelled."""
        heap = self._heap
        while True:
            with trio.CancelScope() as self._scope:
                self._scope.deadline = heap[0][0] if heap else inf
                await trio.sleep_forever()
            now = self._run.now()
            while heap and heap[0][0] <= now:
                _, _, end, sent = heapq.heappop(heap)
                if sent is None:
                    end.cut()
                else:
                    self._arrives(end, *sent)
