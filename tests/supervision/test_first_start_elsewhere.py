"""The first start of a supervisor with children on nodes that are lost in the middle of it."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import tenacity
import trio
from trio.testing import MockClock

from actors import ActorFailed, ActorRef, ActorStopped, ActorSystem, LeastLoaded, Placement
from supervision import (
    DynamicSupervisor,
    OneForOne,
    StartChild,
    Strategy,
    Supervisor,
    TooManyRestarts,
    WhichChildren,
    child,
)
from tests.transports.kit import Do, Remote, Wires, cluster
from transports import Limits, Node

LIMITS = Limits(lost_after=3.0)


class Slow(Remote):
    """Starts in a minute on b, and at once elsewhere."""

    async def started(self) -> None:
        if self.context.system.name in ("b", "c"):
            await trio.sleep(60)


class InTurn(Placement):
    """The first candidates come first, each once."""

    def __init__(self) -> None:
        self.chosen: list[str] = []

    def choose(self, candidates: Any) -> Any:
        for candidate in candidates:
            if candidate.name not in self.chosen:
                self.chosen.append(candidate.name)
                return candidate
        return candidates[0]


class Boss(Supervisor):
    def __init__(self, *specs: Any, strategy: Strategy | None = None) -> None:
        self.specs = specs
        if strategy is not None:
            self.strategy = strategy

    def children(self) -> Any:
        return self.specs


TAKES = {"b": [Slow], "c": [Slow], "d": [Slow]}


async def part(wires: Wires, *nodes: str) -> None:
    for node in nodes:
        await trio.sleep(5)
        await wires.part("a", node)


async def test_another_node_is_chosen_when_one_is_lost_in_the_middle_of_the_first_start(
    autojump_clock: MockClock,
) -> None:
    wires = Wires()
    async with cluster("a", "b", "c", "d", wires=wires, limits=LIMITS, spawnable=TAKES) as (a, *_):
        await trio.sleep(1)
        strategy = OneForOne(max_restarts=2, backoff=tenacity.wait_fixed(2))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(part, wires, "b", "c")
            boss = await a.start(
                functools.partial(Boss, strategy=strategy), child(Slow, name="x", on=InTurn())
            )
        (info,) = await boss.ask(WhichChildren())
        assert info.ref is not None
        assert info.ref.address.node == "d"
        assert await info.ref.ask(Do("sleep", 1)) == 1


async def test_a_first_start_fails_when_nodes_were_lost_in_it_too_often(
    autojump_clock: MockClock,
) -> None:
    wires = Wires()
    async with cluster("a", "b", "c", "d", wires=wires, limits=LIMITS, spawnable=TAKES) as (a, *_):
        await trio.sleep(1)
        boss = functools.partial(Boss, strategy=OneForOne(max_restarts=1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(part, wires, "b", "c")
            with pytest.raises(TooManyRestarts):
                await a.start(boss, child(Slow, name="x", on=InTurn()))


async def test_a_node_that_is_left_in_the_middle_of_a_first_start_is_one_that_is_lost(
    autojump_clock: MockClock,
) -> None:
    wires = Wires()

    async def stays_a_while() -> None:
        node = Node(wires.endpoint("b"), peers=["a"], spawnable=[Slow])
        async with ActorSystem("b", transport=node):
            await trio.sleep(6)

    async with cluster("a", "d", wires=wires, spawnable=TAKES) as (a, _), trio.open_nursery() as n:
        n.start_soon(stays_a_while)
        await trio.sleep(3)
        turn = InTurn()
        boss = await a.start(Boss, child(Slow, name="x", on=turn))
        (info,) = await boss.ask(WhichChildren())
        assert turn.chosen == ["b", "d"]
        assert info.ref is not None
        assert info.ref.address.node == "d"


async def test_a_child_that_is_started_later_fails_its_start_and_no_more(
    autojump_clock: MockClock,
) -> None:
    wires = Wires()
    async with cluster("a", "b", wires=wires, limits=LIMITS, spawnable=TAKES) as (a, _):
        await trio.sleep(1)
        boss: ActorRef = await a.start(DynamicSupervisor)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(part, wires, "b")
            with pytest.raises(ActorFailed) as caught:
                await boss.ask(StartChild(child(Slow, on=LeastLoaded())), timeout=None)
        assert isinstance(caught.value.cause, ActorStopped)
        assert await boss.ask(WhichChildren()) == ()
