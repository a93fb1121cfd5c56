"""A session is cut at each of its frames, from the first one to the last: it is still one session.

`make soak` cuts at every frame, in both directions; `make test` at some, others for each transport.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import pytest
import trio

from actors import ActorRef, ActorSystem, ExitReason
from tests.contract.networks import LIMITS, SOCKETS, Network, network
from tests.contract.proxy import Direction, Proxy
from tests.contract.test_promises import Watcher
from tests.transports.kit import Do, Get, Remote
from transports import Node

QUICK = attrs.evolve(LIMITS, dial_at_most=0.01, resend_after=0.05, leave_within=5.0)

EVERY = 1 if os.environ.get("TROUPER_EVERY_FRAME") else 7
"""Which frames: each of them, or each seventh one."""

Change = Callable[[Proxy], None]
Leave = Callable[[], Awaitable[None]]

AT_ONCE = 8
"""Sessions at the same time."""


@contextlib.asynccontextmanager
async def called(net: Network, **options: Any) -> AsyncIterator[tuple[ActorSystem, Leave]]:
    """The node `b` in a task of its own, and what leaves it before the caller is left."""
    leaves, left = trio.Event(), trio.Event()

    async def run(task_status: trio.TaskStatus[ActorSystem]) -> None:
        async with net.node("b", limits=QUICK, **options) as system:
            task_status.started(system)
            await leaves.wait()
        left.set()

    async def leave() -> None:
        leaves.set()
        await left.wait()

    async with trio.open_nursery() as nursery:
        yield await nursery.start(run), leave
        leaves.set()


async def notes(ref: ActorRef, start: int) -> None:
    for number in range(start, start + 4):
        await ref.send(Do("note", number))


async def has_left(other: ActorSystem) -> None:
    """The other one knows; long before `lost_after`, as it has heard so."""
    node = other._transport
    assert isinstance(node, Node)
    with trio.fail_after(5):
        while any(link.up or link.session.peer for link in node.links()):
            await trio.sleep(0.001)


async def session(kind: str, folder: Path, leaves: str, change: Change) -> Proxy:
    """All that two nodes do with each other, from the introduction to the goodbye of one.

    What they say arrives once, and in order; or this raises.
    """
    send, heard = trio.open_memory_channel[Any](10)
    log: list[float] = []
    async with network(kind, folder) as net:
        net.change = change
        async with called(net, spawnable=[Remote]) as (b, leave):
            b.subscribe("topic://orders.*", b.spawn(Remote, log, name="subscriber"))
            async with net.node("a", "b", limits=QUICK) as a:
                there, back = a.at("actor://b/actor"), b.at("actor://a/actor")
                async with trio.open_nursery() as both:
                    both.start_soon(notes, there, 0)
                    both.start_soon(notes, back, 0)
                assert await there.ask(Get(), timeout=None) == [0, 1, 2, 3]
                assert await back.ask(Get(), timeout=None) == [0, 1, 2, 3]
                await a._transport.reached("b")  # type: ignore[union-attr]
                spawned = await a.start(Remote, on="b")
                await a.start(Watcher, spawned, send)
                await notes(spawned, 10)
                assert await spawned.ask(Get(), timeout=None) == [10, 11, 12, 13]
                spawned.stop()
                assert await heard.receive() is ExitReason.NORMAL
                for number in range(3):
                    topic: Any = a.at("topic://orders.new")
                    assert topic.publish(Do("note", number)).nodes == 1
                await notes(there, 4)
                if leaves == "called":
                    # What is still on its way to a node that is left is nobody's promise.
                    assert await there.ask(Get(), timeout=None) == list(range(8))
                    subscriber = a.at("actor://b/subscriber")
                    assert await subscriber.ask(Get(), timeout=None) == [0, 1, 2]
                    await notes(back, 4)
                    await leave()
                    await has_left(a)
                    kept = a.at("actor://a/actor")
                    assert await kept.ask(Get()) == list(range(8))
                else:
                    kept = b.at("actor://b/actor")
            # One has said goodbye, and what it sent before that has arrived.
            if leaves == "caller":
                await has_left(b)
                assert await kept.ask(Get()) == list(range(8))
        assert log == [0, 1, 2]
        assert heard.statistics().current_buffer_used == 0
        assert not a.dead_letters.recent
        assert not b.dead_letters.recent
    return net.proxy("a", "b")


def counting(proxy: Proxy, cut_after: tuple[Direction, int] | None = None, cuts: int = 1) -> None:
    proxy.counts = True
    proxy.cut_after = cut_after
    proxy.cuts = cuts


@pytest.mark.parametrize("leaves", ["caller", "called"])
@pytest.mark.parametrize("cuts", [1, 2])
@pytest.mark.parametrize("kind", SOCKETS)
async def test_a_session_that_is_cut_at_any_frame_loses_doubles_and_reorders_nothing(
    kind: str, cuts: int, leaves: str
) -> None:
    # The path of a unix socket is short, and those of pytest are long.
    with TemporaryDirectory() as name:
        whole = await session(kind, Path(name), leaves, counting)
    assert whole.connections == 1
    places = [
        (direction, frame)
        for direction in Direction
        for frame in range(whole.passed[direction] + 1)
    ]
    assert len(places) > 20
    slots = trio.CapacityLimiter(AT_ONCE)

    async def one(place: tuple[Direction, int]) -> None:
        async with slots:
            with TemporaryDirectory() as name:
                change = functools.partial(counting, cut_after=place, cuts=cuts)
                try:
                    proxy = await session(kind, Path(name), leaves, change)
                except BaseException as error:
                    error.add_note(f"cut {cuts} times after frame {place[1]} {place[0].value}")
                    raise
        # (How many frames there are is not the same each time: some are joined.)
        if place[1] < 5:
            assert proxy.connections > cuts, place

    start = (SOCKETS.index(kind) + 3 * cuts + len(leaves)) % EVERY
    async with trio.open_nursery() as nursery:
        for place in places[start::EVERY]:
            nursery.start_soon(one, place)
