"""A streaming reply from an actor of another node: in order, with backpressure, to its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors import Actor, ActorFailed, ActorStopped, NotStreamable, Request, message
from tests.transports.kit import Get, Wires, cluster


@message(name="streams.Count")
class Count(Request[AsyncIterator[int]]):
    until: int
    fails_at: int = -1


@message(name="streams.Ahead")
class Ahead(Request[int]):
    """How many items were produced so far."""


class Counter(Actor):
    def __init__(self, seen: dict[str, int]) -> None:
        self.seen = seen

    def receive(self, message: Any) -> Any:
        match message:
            case Count(until, fails_at):
                return self.count(until, fails_at)
            case other:
                return other

    async def count(self, until: int, fails_at: int) -> AsyncIterator[int]:
        self.seen["closed"] = 0
        try:
            for number in range(until):
                if number == fails_at:
                    raise ValueError("as told")
                self.seen["made"] = number
                yield number
        finally:
            self.seen["closed"] = 1


async def test_items_arrive_in_order_and_then_the_end(autojump_clock: MockClock) -> None:
    seen: dict[str, int] = {}
    async with cluster("a", "b") as (a, b):
        b.spawn(Counter, seen, name="counter")
        ref = a.at("actor://b/counter")
        assert [item async for item in ref.stream(Count(1000), buffer=7)] == list(range(1000))
        # Two at once wait for one another, as one actor produces one stream at a time.
        assert [item async for item in ref.stream(Count(3), buffer=1)] == [0, 1, 2]
        assert b.ledger.handled == 2


async def test_a_slow_consumer_holds_up_the_generator(autojump_clock: MockClock) -> None:
    seen: dict[str, int] = {}
    async with cluster("a", "b") as (a, b):
        b.spawn(Counter, seen, name="counter")
        got = []
        async with a.at("actor://b/counter").stream(Count(1000), buffer=8) as stream:
            async for item in stream:
                got.append(item)
                await trio.sleep(1)
                assert seen["made"] <= item + 2 * 8
                if item == 50:
                    break
        await trio.sleep(1)
        assert seen["closed"] == 1
        assert seen["made"] < 70
        assert got == list(range(51))


async def test_a_consumer_that_is_cancelled_or_drops_it_ends_the_producer(
    autojump_clock: MockClock,
) -> None:
    seen: dict[str, int] = {}
    async with cluster("a", "b") as (a, b):
        b.spawn(Counter, seen, name="counter")
        ref = a.at("actor://b/counter")
        with trio.move_on_after(3):
            async for _ in ref.stream(Count(10**9), buffer=4):
                await trio.sleep(1)
        await trio.sleep(1)
        assert seen["closed"] == 1
        async for item in ref.stream(Count(10**9), buffer=4):
            if item == 3:
                break
        await trio.sleep(1)
        assert seen["closed"] == 1


async def test_a_failure_comes_after_the_items_before_it(autojump_clock: MockClock) -> None:
    async with cluster("a", "b") as (a, b):
        b.spawn(Counter, {}, name="counter")
        got = []
        with pytest.raises(ActorFailed, match="as told"):
            async for item in a.at("actor://b/counter").stream(Count(100, fails_at=20)):
                got.append(item)
        assert got == list(range(20))


async def test_a_stream_of_nobody_of_a_value_and_from_an_unknown_node_are_errors(
    autojump_clock: MockClock,
) -> None:
    async with cluster("a", "b") as (a, b):
        b.spawn(Counter, {}, name="counter")
        with pytest.raises(NotStreamable):
            await anext(a.at("actor://b/counter").stream(Get()))
        for address in ("actor://b/nobody", "actor://z/nobody"):
            with pytest.raises(ActorStopped):
                await anext(a.at(address).stream(Count(1)))


async def test_a_lost_node_ends_the_stream_on_both_sides(autojump_clock: MockClock) -> None:
    seen: dict[str, int] = {}
    wires = Wires()
    async with cluster("a", "b", wires=wires) as (a, b):
        b.spawn(Counter, seen, name="counter")
        got = []
        with pytest.raises(ActorStopped):
            async for item in a.at("actor://b/counter").stream(Count(10**9), timeout=None):
                got.append(item)
                if item == 50:
                    await wires.part("a", "b")
        await trio.sleep(60)
        assert seen["closed"] == 1
        assert got == list(range(len(got)))


async def test_a_stream_goes_on_over_broken_connections(autojump_clock: MockClock) -> None:
    wires = Wires()
    async with cluster("a", "b", wires=wires) as (a, b):
        b.spawn(Counter, {}, name="counter")
        got = []
        async for item in a.at("actor://b/counter").stream(Count(200), timeout=60):
            got.append(item)
            if item % 20 == 0:
                await wires.cut("a", "b")
        assert got == list(range(200))
