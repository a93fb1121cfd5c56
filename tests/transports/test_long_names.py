"""Names that are too long are refused where they are made; what is many is told in parts."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from actors import Actor, ActorSystem, InvalidAddress
from actors.address import MOST, MOST_OF_NAME, Address
from tests.transports.kit import Do, Get, Remote, cluster
from transports import Limits, Node

LONG = "x" * (MOST_OF_NAME + 1)
DEEP = "/".join("x" * MOST_OF_NAME for _ in range(4))


@pytest.mark.parametrize("scheme", ["actor://b/", "topic://", "queue://", "service://"])
async def test_an_address_that_is_too_long_is_refused_when_it_is_looked_up(scheme: str) -> None:
    separator = "/" if scheme.startswith("actor") else "."
    path = separator.join("x" * 900 for _ in range(5))
    async with ActorSystem("a") as system:
        with pytest.raises(InvalidAddress, match=f"at most {MOST} characters"):
            system.at(f"{scheme}{path}")
        assert system.at(f"{scheme}{path[:900]}").address.path.endswith("x" * 900)


async def test_a_name_that_is_too_long_is_refused_when_it_is_given() -> None:
    async with ActorSystem("a") as system:
        with pytest.raises(InvalidAddress, match=f"at most {MOST_OF_NAME} characters"):
            system.spawn(Remote, name=LONG)
        ref = system.spawn(Remote)
        with pytest.raises(InvalidAddress, match=f"at most {MOST_OF_NAME} characters"):
            system.subscribe(f"topic://{LONG}", ref)
        with pytest.raises(ValueError, match=f"at most {MOST_OF_NAME} characters"):
            system.register("service://x", ref, version=LONG)


class Nest(Actor):
    """Has a child with a long name, which has one, and so on."""

    def __init__(self, depth: int) -> None:
        self.depth = depth

    async def started(self) -> None:
        if self.depth:
            await self.context.start(Nest, self.depth - 1, name="x" * MOST_OF_NAME)

    async def receive(self, message: object) -> object:
        child = self.context.children
        if child:
            return await child[0].ask(message)
        return await self.context.system.at("actor://b/there").ask(Get())


async def test_an_actor_that_no_address_leads_to_can_ask_another_node(
    autojump_clock: MockClock,
) -> None:
    async with cluster("a", "b", limits=Limits(max_message=3_000)) as (a, b):
        b.spawn(Remote, name="there")
        nest = await a.start(Nest, 75, name="nest")
        assert await nest.ask(Do("any")) == []


async def test_many_long_patterns_are_told_whatever_the_largest_frame_is(
    autojump_clock: MockClock,
) -> None:
    async with cluster("a", "b", limits=Limits(max_message=100)) as (a, b):
        await trio.sleep(1)
        there = b.spawn(Remote)
        for number in range(100):
            b.subscribe(f"topic://{'long.' * 190}{number}", there)
        node = b._transport
        assert isinstance(node, Node)
        link = node._links["a"]
        link.cut()
        link.lose("as the test wants it")
        await trio.sleep(3)
        assert a.at(f"topic://{'long.' * 190}99").publish(Do("note")).nodes == 1
        await trio.sleep(1)


def test_an_address_is_as_long_as_it_may_be() -> None:
    text = f"actor://b/{DEEP}"
    assert len(text) > MOST
    assert Address.parse(text[:MOST]).path == text[:MOST].removeprefix("actor://b/")
