"""Entities by key: where they are, when they stop, and how they move."""

from __future__ import annotations

import functools
from contextlib import AsyncExitStack
from math import inf
from typing import Any

import pytest
import trio

from actors import Actor, ActorFailed, ActorSystem, Request, message
from supervision import OneForOne
from tests.cluster.test_singleton import World, two
from tests.simulation.apps_of_clusters import Shelves
from transports import Node, Sharded, ShardsDiffer
from transports.cluster.region import membership_of
from transports.testing import Faults, simulate


@message(name="cluster.Put")
class Put(Request[tuple[str, int]]):
    "The reply is the node, and how many there are."

    key: str
    number: int


class Shelf(Actor):
    def __init__(self, key: str | int, seen: list[Any]) -> None:
        self.key = key
        self.seen = seen
        self.numbers: list[int] = []

    async def started(self) -> None:
        self.seen.append(("started", self.key))

    async def stopped(self) -> None:
        await trio.sleep(0.1)
        self.seen.append(("stopped", self.key))

    async def receive(self, message: Any) -> Any:
        if isinstance(message, Put):
            if message.number < 0:
                raise ValueError(message.number)
            self.numbers.append(message.number)
            self.seen.append((self.key, message.number))
            if message.number == 13:
                await trio.sleep(0.2)
        return self.context.system.name, len(self.numbers)


def make(**keywords: Any) -> Any:
    return functools.partial(Sharded, **{"key": "key", "shards": 16, **keywords})


@pytest.mark.parametrize(
    ("keywords", "error"),
    [
        ({"shards": 0}, ValueError),
        ({"shards": 1.5}, ValueError),
        ({"idle": 0}, ValueError),
        ({"key": 7}, TypeError),
        ({"strategy": "one"}, TypeError),
    ],
)
async def test_nonsense_is_refused(keywords: dict[str, Any], error: type[Exception]) -> None:
    async with World().system("one") as system:
        with pytest.raises(error):
            await system.start(make(**keywords), Shelf, [], name="shelves")


async def test_each_key_has_one_entity_which_its_first_message_makes(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with AsyncExitStack() as stack:
        one, other = await two(stack)
        seen: list[Any] = []
        here = await one.start(make(), Shelf, seen, name="shelves")
        there = await other.start(make(), Shelf, seen, name="shelves")
        # Until both know of each other, shards may move, and what they had begins anew.
        await trio.sleep(3)
        nodes = set()
        for key in "abcdefgh":
            node, _ = await here.ask(Put(key, 1))
            assert await there.ask(Put(key, 2)) == (node, 2)
            nodes.add(node)
        assert nodes == {"one", "two"}
        assert seen.count(("started", "a")) == 1


async def test_a_key_can_be_said_beside_the_message(autojump_clock: trio.abc.Clock) -> None:
    async with AsyncExitStack() as stack:
        one, other = await two(stack)
        known: list[Any] = []
        shelves = await one.start(make(key=None), Shelf, [], name="shelves")
        for ref in (shelves, other.at("actor://one/shelves")):
            known.append(await Sharded.ref(ref, 7).ask(Put("7", 1)))
        assert known == [("one", 1), ("one", 2)]
        with pytest.raises(ActorFailed, match="whom is it for"):
            await shelves.ask(Put("a", 1))
        with pytest.raises(TypeError, match="key of an entity"):
            Sharded.ref(shelves, 1.5)  # type: ignore[arg-type]
        for key in (2**64, -(2**63) - 1, "a\ud800"):
            with pytest.raises(ValueError, match="key of an entity"):
                Sharded.ref(shelves, key)


async def test_an_idle_entity_stops_and_what_comes_meanwhile_is_not_lost(
    autojump_clock: trio.abc.Clock,
) -> None:
    seen: list[Any] = []
    async with World().system("one") as system:
        shelves = await system.start(make(idle=1.0), Shelf, seen, name="shelves")
        assert await shelves.ask(Put("a", 1)) == ("one", 1)
        while seen[-1] != ("stopped", "a"):
            await trio.sleep(0.01)
            cell = system._find(shelves.address)
            owner = cell._children["owner"]  # type: ignore[union-attr, index]
            entity = (owner._children or {}).get("a")
            if entity is not None and entity._closed():
                # It is stopping now.
                for number in (2, 3, 4):
                    shelves.tell(Put("a", number))
                break
        assert await shelves.ask(Put("a", 5)) == ("one", 4)
    assert seen[:4] == [("started", "a"), ("a", 1), ("stopped", "a"), ("started", "a")]
    assert [number for key, number in seen if key == "a"] == [1, 2, 3, 4, 5]


async def test_an_entity_that_fails_too_often_begins_anew_and_the_others_go_on(
    autojump_clock: trio.abc.Clock,
) -> None:
    seen: list[Any] = []
    async with World().system("one") as system:
        strategy = OneForOne(max_restarts=1, within=60)
        shelves = await system.start(make(strategy=strategy), Shelf, seen, name="shelves")
        await shelves.ask(Put("b", 1))
        for _ in range(2):
            with pytest.raises(ActorFailed, match="-1"):
                await shelves.ask(Put("a", -1))
        assert await shelves.ask(Put("a", 1)) == ("one", 1)
        assert await shelves.ask(Put("b", 1)) == ("one", 2)


@pytest.mark.parametrize("together", [False, True])
async def test_a_node_on_which_there_are_other_shards_has_none_of_it(
    autojump_clock: trio.abc.Clock, together: bool, caplog: pytest.LogCaptureFixture
) -> None:
    world, seen = World(), []  # type: ignore[var-annotated]
    wrong = world.system("two", max_restarts=0)
    async with world.system("one") as one:
        with pytest.raises(BaseExceptionGroup) as caught:
            async with wrong as two:
                here = await one.start(make(), Shelf, seen, name="shelves")
                if not together:
                    await trio.sleep(3)
                await two.start(make(shards=8), Shelf, seen, name="shelves")
                await trio.sleep(10)
        text = "'shelves' has 8 shards on node two, and 16 on node one"
        assert caught.group_contains(ShardsDiffer, match=text)
        for key in "abcdefgh":
            assert await here.ask(Put(key, 1)) == ("one", 1)


async def test_thousands_of_shards_are_owned_and_handed_over(
    autojump_clock: trio.abc.Clock,
) -> None:
    world, shards = World(), 2_000

    def owned(system: ActorSystem) -> int:
        node = system._transport
        assert isinstance(node, Node)
        assert node.membership is not None
        return len(node.membership.regions["shelves"].tenures)

    with trio.fail_after(600):
        async with world.system("one", "two") as one:
            await one.start(make(shards=shards), Shelf, [], name="shelves")
            while owned(one) < shards:
                await trio.sleep(0.1)
            async with world.system("two", "one") as other:
                await other.start(make(shards=shards), Shelf, [], name="shelves")
                while owned(one) + owned(other) < shards or owned(other) < shards / 3:
                    await trio.sleep(0.1)
            while owned(one) < shards:
                await trio.sleep(0.1)


async def test_when_a_node_comes_shards_are_handed_over_in_order(
    autojump_clock: trio.abc.Clock,
) -> None:
    world, seen = World(), []  # type: ignore[var-annotated]
    keys = [f"key {number}" for number in range(20)]
    async with world.system("one", "two") as one:
        here = await one.start(make(), Shelf, seen, name="shelves")
        for key in keys:
            assert await here.ask(Put(key, 0)) == ("one", 1)
        async with world.system("two", "one") as other:
            await other.start(make(), Shelf, seen, name="shelves")
            for number in range(1, 31):
                for key in keys:
                    here.tell(Put(key, number))
                await trio.sleep(0.05)
            nodes = [(await here.ask(Put(key, 31)))[0] for key in keys]
            assert {"one", "two"} == set(nodes)
        # It has left: all are here again.
        assert [(await here.ask(Put(key, 32)))[0] for key in keys] == ["one"] * len(keys)
    for key in keys:
        assert [number for who, number in seen if who == key] == list(range(33))


@pytest.mark.parametrize("seed", range(4))
def test_each_entity_is_there_once_whatever_befalls_nodes_network_and_store(seed: int) -> None:
    simulate(Shelves, seed=seed, faults=Faults(double=0.05))


def test_the_same_run_is_the_same_again() -> None:
    one, other = (simulate(Shelves, seed=5) for _ in range(2))
    assert one.hash == other.hash


class Slow(Actor):
    def __init__(self, key: str, fences: list[Any]) -> None:
        fences.append(self.context.fence)

    async def stopped(self) -> None:
        await trio.sleep(1.0)
        # As if the node went on after a standstill, and had not noticed so far.
        membership_of(self.context.system).session.until = -inf

    def receive(self, message: Any) -> int | None:
        return self.context.fence


async def test_what_waits_for_an_entitys_stop_makes_no_other_one_after_the_lease(
    autojump_clock: trio.abc.Clock,
) -> None:
    fences: list[Any] = []
    async with World().system("one") as system:
        shelves = await system.start(make(idle=0.5), Slow, fences, name="shelves")
        entity = Sharded.ref(shelves, "a")
        first = await entity.ask("hello")
        # It stops: nobody has sent it anything.
        await trio.sleep(1.0)
        entity.tell("hello again")
        await trio.sleep(0.1)
        assert await entity.ask("hello", timeout=30) > first
    assert fences[0] == first
    assert fences[1] > first


class Lasting(Actor):
    def __init__(self, key: str) -> None:
        pass

    async def stopped(self) -> None:
        await trio.sleep(1.0)

    def receive(self, message: Any) -> str:
        return self.context.system.name


async def test_what_waits_for_an_entitys_stop_when_its_region_ends_goes_to_the_next_owner(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with AsyncExitStack() as stack:
        systems = await two(stack)
        regions = {
            system.name: await system.start(make(idle=0.5), Lasting, name="shelves")
            for system in systems
        }
        await trio.sleep(2)
        key = "a"
        owner = await Sharded.ref(regions["one"], key).ask("hello")
        other = Sharded.ref(regions["two" if owner == "one" else "one"], key)
        # It stops: nobody has sent it anything.
        await trio.sleep(1.0)
        other.tell("hello")
        await trio.sleep(0.1)
        regions[owner].stop()
        assert await other.ask("hello", timeout=30) != owner


class Fussy(Actor):
    def __init__(self, key: str) -> None:
        if key == "bad":
            raise ValueError(key)

    def receive(self, message: Any) -> str:
        return "fine"


async def test_what_an_entity_cannot_be_made_of_its_asker_is_told(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with AsyncExitStack() as stack:
        one, other = await two(stack)
        for system in (one, other):
            await system.start(make(key=None), Fussy, name="fussy")
        await trio.sleep(3)
        for system in (one, other):
            fussy = system.at(f"actor://{system.name}/fussy")
            with pytest.raises(ActorFailed, match="bad"):
                await Sharded.ref(fussy, "bad").ask("are you well")
            assert await Sharded.ref(fussy, "good").ask("are you well") == "fine"


async def test_in_a_strict_system_messages_and_replies_make_the_round_trip(
    autojump_clock: trio.abc.Clock,
) -> None:
    world = World()
    node = Node(world.network.endpoint("one"), store=world.store)
    async with ActorSystem("one", transport=node, strict_messages=True) as system:
        shelves = await system.start(make(), Shelf, [], name="shelves")
        assert await shelves.ask(Put("a", 1)) == ("one", 1)
        assert await Sharded.ref(shelves, "a").ask(Put("a", 2)) == ("one", 2)
        with pytest.raises(ActorFailed, match="-1"):
            await shelves.ask(Put("a", -1))
        shelves.tell(Put("a", 3))
        assert await shelves.ask(Put("a", 4)) == ("one", 2)
