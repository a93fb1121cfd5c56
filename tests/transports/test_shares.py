"""A peer's window is shared: those who take nothing leave room for those who do."""

from __future__ import annotations

from typing import Any

import trio
from trio.testing import MockClock

from actors import Actor, ActorRef, Mailbox, MailboxFull
from tests.transports.kit import Do, Get, Remote, Wires, cluster
from transports import Limits


class Stuck(Actor):
    """Takes nothing until the gate is open, and has a small mailbox."""

    mailbox = Mailbox(capacity=2)

    def __init__(self, gate: trio.Event) -> None:
        self.gate = gate

    async def receive(self, message: Any) -> None:
        await self.gate.wait()


def fill(ref: ActorRef, size: int = 0, most: int = 10_000) -> int:
    """Tell it as much as there is room for."""
    text = "x" * size
    for count in range(most):
        try:
            ref.tell(Do(text))
        except MailboxFull:
            return count
    return most


async def test_ten_receivers_that_take_nothing_leave_room_for_the_others(
    autojump_clock: MockClock,
) -> None:
    gate = trio.Event()
    async with cluster("a", "b") as (a, b):
        b.spawn(Remote, name="there")
        there = a.at("actor://b/there")
        await there.ask(Get())
        filled = []
        for number in range(10):
            b.spawn(Stuck, gate, name=f"stuck{number}")
            filled.append(fill(a.at(f"actor://b/stuck{number}")))
            await trio.sleep(1)
        assert filled[0] >= Limits().per_target
        assert filled == sorted(filled, reverse=True)
        for number in range(1_000):
            await there.send(Do("note", number))
        assert await there.ask(Get(), timeout=1) == list(range(1_000))
        gate.set()
        await trio.sleep(10)
        assert a.ledger.queued == 0


async def test_four_that_wait_for_the_first_connection_leave_room_too(
    autojump_clock: MockClock,
) -> None:
    gate = trio.Event()
    async with cluster("a", "b") as (a, b):
        b.spawn(Remote, name="there")
        for number in range(6):
            b.spawn(Stuck, gate, name=f"stuck{number}")
            assert fill(a.at(f"actor://b/stuck{number}")) > 100
        there = a.at("actor://b/there")
        for number in range(1_000):
            await there.send(Do("note", number))
        assert await there.ask(Get(), timeout=1) == list(range(1_000))
        gate.set()
        await trio.sleep(10)


async def test_a_single_receiver_has_all_that_one_may_have(autojump_clock: MockClock) -> None:
    gate = trio.Event()
    async with cluster("a", "b", limits=Limits(window=4096, per_target=1024)) as (a, b):
        b.spawn(Stuck, gate, name="stuck")
        b.spawn(Remote, name="there")
        await a.at("actor://b/there").ask(Get())
        assert fill(a.at("actor://b/stuck")) == 1024
        gate.set()


async def test_large_messages_for_one_that_takes_nothing_leave_room_for_the_others(
    autojump_clock: MockClock,
) -> None:
    gate = trio.Event()
    limits = Limits(window_bytes=1 << 20)
    async with cluster("a", "b", limits=limits) as (a, b):
        b.spawn(Remote, name="there")
        there = a.at("actor://b/there")
        await there.ask(Get())
        for number in range(4):
            b.spawn(Stuck, gate, name=f"stuck{number}")
            assert fill(a.at(f"actor://b/stuck{number}"), size=60_000) > 1
            await trio.sleep(1)
        for number in range(100):
            await there.send(Do("note", number))
        assert await there.ask(Get(), timeout=1) == list(range(100))
        gate.set()
        await trio.sleep(10)
        assert a.ledger.queued == 0


async def test_many_that_wait_among_others_keep_no_acknowledgement_of_these(
    autojump_clock: MockClock,
) -> None:
    gate = trio.Event()
    wires = Wires()
    async with cluster("a", "b", wires=wires) as (a, b):
        b.spawn(Stuck, gate, name="stuck")
        b.spawn(Remote, name="there")
        stuck, there = a.at("actor://b/stuck"), a.at("actor://b/there")
        await there.ask(Get())
        for number in range(500):
            await stuck.send(Do("wait"))
            await there.send(Do("note", number))
        await trio.sleep(0.1)
        # Every second one has been accepted: in 500 ranges, of which an ACK tells 64.
        assert a.ledger.queued == 500 - 3
        begin = trio.current_time()
        for number in range(500, 3_000):
            await there.send(Do("note", number))
        assert trio.current_time() - begin < 0.5
        for number in range(100):
            await there.send(Do("note", number))
        await wires.cut("a", "b")
        await trio.sleep(1)
        assert a.ledger.queued == 500 - 3
        gate.set()
        await trio.sleep(5)
        assert a.ledger.queued == 0
