"""What a session bears: a proxy between two real nodes does to their connection what it can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from actors import ActorRef, NodeDown
from tests.contract.networks import LIMITS, SOCKETS, cluster, network
from tests.contract.test_promises import Watcher
from tests.transports.kit import Do, Get
from transports import Node

pytestmark = pytest.mark.parametrize("kind", SOCKETS)

QUICK = attrs.evolve(LIMITS, heartbeat=0.2)
"""A silence is found within 0.6 seconds."""


async def exchange(there: ActorRef, here: ActorRef, start: int = 0, count: int = 30) -> None:
    """Messages in both directions arrive once, in order."""

    async def send(ref: ActorRef) -> None:
        for number in range(start, start + count):
            await ref.send(Do("note", number))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, there)
        nursery.start_soon(send, here)
    for ref in (there, here):
        assert await ref.ask(Get(), timeout=None) == list(range(start + count))


async def test_latency_only_takes_time(kind: str, tmp_path: Path) -> None:
    async with cluster(kind, tmp_path, "a", "b") as (net, (a, b)):
        net.proxy("a", "b").latency = 0.01
        await exchange(a.at("actor://b/actor"), b.at("actor://a/actor"), count=100)
        assert net.proxy("a", "b").connections == 1


async def test_a_connection_that_comes_byte_by_byte_is_one(kind: str, tmp_path: Path) -> None:
    async with cluster(kind, tmp_path, "a", "b") as (net, (a, b)):
        proxy = net.proxy("a", "b")
        proxy.split = True
        await exchange(a.at("actor://b/actor"), b.at("actor://a/actor"), count=2)
        assert proxy.connections == 1
        # Its beginning too.
        proxy.cut()
        await exchange(a.at("actor://b/actor"), b.at("actor://a/actor"), 2, 2)
        assert proxy.connections == 2


async def test_frames_out_of_order_are_put_in_order(kind: str, tmp_path: Path) -> None:
    if kind == "tls":
        pytest.skip("nobody on the way can tell its frames apart")
    async with cluster(kind, tmp_path, "a", "b") as (net, (a, b)):
        proxy = net.proxy("a", "b")
        proxy.reorder = True
        await exchange(a.at("actor://b/actor"), b.at("actor://a/actor"), count=40)
        # (Of messages that are sent at once, several are one frame.)
        assert proxy.reordered > 1
        assert proxy.connections == 1


@pytest.mark.parametrize("writes", ["swallowed", "stuck"])
async def test_a_half_open_connection_is_found_and_replaced(
    kind: str, tmp_path: Path, writes: str
) -> None:
    async with cluster(kind, tmp_path, "a", "b", limits=QUICK) as (net, (a, b)):
        proxy = net.proxy("a", "b")
        there, here = a.at("actor://b/actor"), b.at("actor://a/actor")
        await exchange(there, here)
        if writes == "stuck":
            proxy.hold()
            # More than the sockets on the way can hold: the writers wait in a write.
            for _ in range(3):
                there.tell("x" * 1_000_000)
                here.tell("x" * 1_000_000)
        else:
            proxy.half_open()
        with trio.fail_after(20):
            await exchange(there, here, 30)
        assert proxy.connections == 2


async def test_a_reader_that_is_slow_for_a_while_gets_everything(kind: str, tmp_path: Path) -> None:
    async with cluster(kind, tmp_path, "a", "b") as (net, (a, _)):
        proxy = net.proxy("a", "b")
        ref = a.at("actor://b/actor")
        for number in range(20):
            proxy.hold()
            await ref.send(Do("note", number))
            await trio.sleep(0.005)
            proxy.release()
        assert await ref.ask(Get()) == list(range(20))
        assert proxy.connections == 1


async def test_a_large_message_on_a_slow_network_is_no_silence(kind: str, tmp_path: Path) -> None:
    limits = attrs.evolve(LIMITS, heartbeat=0.2)
    async with cluster(kind, tmp_path, "a", "b", limits=limits) as (net, (a, _)):
        proxy = net.proxy("a", "b")
        proxy.latency = 0.03
        # 16 KB each 30 ms: far longer than three heartbeats.
        ref = a.at("actor://b/actor")
        assert len(await ref.ask("x" * 400_000, timeout=None)) == 400_000
        assert proxy.connections == 1


async def test_who_was_taken_for_dead_and_wakes_up_disturbs_nobody(
    kind: str, tmp_path: Path
) -> None:
    send, heard = trio.open_memory_channel[Any](10)
    async with network(kind, tmp_path) as net, net.node("b") as b:
        ref = b.at("actor://a/actor")
        async with net.node("a", "b", incarnation=7) as old:
            b.spawn(Watcher, ref, send)
            await ref.send(Do("note", 1))
            assert await ref.ask(Get()) == [1]
            asleep = net.proxy("a", "b")
            asleep.refuse = True
            asleep.cut()
            async with net.node("a", "b", incarnation=8):
                assert isinstance(await heard.receive(), NodeDown)
                assert await ref.ask(Get()) == []
                asleep.refuse = False
                old.at("actor://b/actor").tell(Do("note", 7))
                transport = old._transport
                assert isinstance(transport, Node)
                (link,) = transport.links()
                while not link.fenced:
                    await trio.sleep(0.01)
                # It calls once, is refused, and calls no more.
                made = asleep.connections
                await trio.sleep(3 * LIMITS.dial_at_most)
                assert asleep.connections == made
                assert net.proxy("a", "b").connections == 1
                assert await ref.ask(Get()) == []
                # Nothing of it arrives.
                assert await old.at("actor://a/actor").ask(Get()) == [1]
                assert await b.at("actor://b/actor").ask(Get()) == []
