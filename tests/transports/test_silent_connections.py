"""A connection that stands, and on which nothing comes any more."""

from __future__ import annotations

from math import inf

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.transports.kit import Do, Get, Remote, Wire, Wires, cluster
from transports import Limits


class Mute(trio.abc.Stream):
    """A connection whose other end is gone without a word, once its network is mute."""

    def __init__(self, wires: Mutable, stream: trio.abc.Stream) -> None:
        self.wires = wires
        self.stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.wires.writes_hang:
            await trio.sleep_forever()
        if not self.wires.mute:
            await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        if not self.wires.mute:
            await self.stream.aclose()


class Mutable(Wires):
    """Wires whose connections can go mute; new ones speak."""

    def __init__(self) -> None:
        super().__init__()
        self.mute = self.writes_hang = False

    def endpoint(self, name: str) -> Wire:
        return MutableWire(self, name)


class MutableWire(Wire):
    async def connect(self, peer: str) -> trio.abc.Stream:
        stream = await super().connect(peer)
        assert isinstance(self.wires, Mutable)
        self.wires.mute = self.wires.writes_hang = False
        return Mute(self.wires, stream)

    async def serve(self, handle: object) -> None:
        async def muted(stream: trio.abc.Stream) -> None:
            assert isinstance(self.wires, Mutable)
            await handle(Mute(self.wires, stream))  # type: ignore[operator]

        await super().serve(muted)


LIMITS = Limits(heartbeat=2.0, lost_after=100.0)


@pytest.mark.parametrize("writes_hang", [False, True])
async def test_a_half_open_connection_is_replaced_within_three_heartbeats(
    autojump_clock: MockClock, writes_hang: bool
) -> None:
    wires = Mutable()
    async with cluster("a", "b", wires=wires, limits=LIMITS) as (a, b):
        b.spawn(Remote, name="there")
        ref = a.at("actor://b/there")
        assert await ref.ask(Get()) == []
        await trio.sleep(11.3)
        wires.mute, wires.writes_hang = True, writes_hang
        began = trio.current_time()
        ref.tell(Do("note", 1))
        assert await ref.ask(Get(), timeout=20.0) == [1]
        # Broken within 3 heartbeats, and connected anew at once.
        assert trio.current_time() - began <= 6.0 + 0.5
        assert wires.connections == 2


async def test_a_process_that_was_held_up_reads_first_what_has_come_meanwhile(
    autojump_clock: MockClock,
) -> None:
    wires = Wires()
    async with cluster("a", "b", wires=wires, limits=LIMITS) as (a, b):
        b.spawn(Remote, name="there")
        ref = a.at("actor://b/there")
        assert await ref.ask(Get()) == []
        autojump_clock.autojump_threshold = inf
        for _ in range(5):
            # Nothing runs for 30 seconds, on either side.
            autojump_clock.jump(30.0)
            for _ in range(10):
                await wait_all_tasks_blocked()
                autojump_clock.jump(0.2)
        assert wires.connections == 1
        autojump_clock.autojump_threshold = 0.0
        assert await ref.ask(Get()) == []
        assert wires.connections == 1
