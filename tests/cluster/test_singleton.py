"""Exactly one in the cluster: where it is, when it moves, and what becomes of messages."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio

from actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorStopped,
    ActorSystem,
    AskCycle,
    AskTimeout,
    DeadLetterReason,
    MailboxFull,
    Request,
    message,
)
from supervision import OneForOne
from tests.simulation.apps_of_clusters import Stamps
from transports import Lease, Limits, MemoryNetwork, MemoryStore, Node, NoStore, Singleton
from transports.cluster.region import HELD
from transports.testing import Faults, simulate

LEASE = Lease(ttl=2.0, margin=0.2)


@message(name="cluster.Where")
class Where(Request[str]):
    pass


@message(name="cluster.Add")
class Add(Request[int]):
    number: int


@message(name="cluster.Count")
class Count(Request[AsyncIterator[int]]):
    to: int


class Tally(Actor):
    def __init__(self, *seen: list[Any]) -> None:
        self.numbers: list[int] = []
        self.seen = seen

    async def started(self) -> None:
        for each in self.seen:
            each.append(("started", self.context.system.name, self.context.fence))

    async def stopped(self) -> None:
        for each in self.seen:
            each.append(("stopped", self.context.system.name, self.context.fence))

    def receive(self, message: Any) -> Any:
        match message:
            case Where():
                return self.context.system.name
            case Add(number):
                if number < 0:
                    raise ValueError(number)
                self.numbers.append(number)
                return len(self.numbers)
            case Count(to):
                return self.count(to)

    async def count(self, to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number


class World:
    """Nodes of one process that share a store."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self.store = MemoryStore()

    def system(self, name: str, *peers: str, **options: Any) -> ActorSystem:
        limits = Limits(lost_after=1.0, heartbeat=0.3)
        endpoint = self.network.endpoint(name)
        node = Node(endpoint, peers=peers, limits=limits, store=self.store, lease=LEASE)
        return ActorSystem(name, transport=node, **options)


async def two(stack: AsyncExitStack) -> tuple[ActorSystem, ActorSystem]:
    world = World()
    one = await stack.enter_async_context(world.system("one", "two"))
    other = await stack.enter_async_context(world.system("two", "one"))
    return one, other


async def test_without_a_store_it_says_what_brings_one() -> None:
    async with ActorSystem("alone") as system:
        with pytest.raises(NoStore, match=r"store=\.\.\.\), or use Nats\("):
            await system.start(Singleton, Tally, name="tally")


async def test_there_is_one_and_each_node_reaches_it(autojump_clock: trio.abc.Clock) -> None:
    async with AsyncExitStack() as stack:
        one, other = await two(stack)
        seen: list[Any] = []
        here = await one.start(Singleton, Tally, seen, name="tally")
        there = await other.start(Singleton, Tally, seen, name="tally")
        places = [await ref.ask(Where()) for ref in (here, there)]
        assert places[0] == places[1]
        assert [what for what, _, _ in seen] == ["started"]
        # Also by an address, from anywhere.
        assert await one.at("actor://two/tally").ask(Where()) == places[0]


async def test_when_its_node_leaves_the_next_one_has_a_larger_fence(
    autojump_clock: trio.abc.Clock,
) -> None:
    world, seen = World(), []  # type: ignore[var-annotated]
    async with world.system("two", "one") as other:
        async with world.system("one", "two") as one:
            here = await one.start(Singleton, Tally, seen, name="tally")
            assert await here.ask(Where()) == "one"
            there = await other.start(Singleton, Tally, seen, name="tally")
            assert await there.ask(Where()) == "one"
        began = trio.current_time()
        assert await there.ask(Where()) == "two"
        # It was released, and not waited for.
        assert trio.current_time() - began < LEASE.ttl / 2
    assert [(what, node) for what, node, _ in seen] == [
        ("started", "one"),
        ("stopped", "one"),
        ("started", "two"),
        ("stopped", "two"),
    ]
    fences = [fence for _, _, fence in seen]
    assert fences[0] == fences[1] < fences[2] == fences[3]


async def test_what_was_under_way_to_an_owner_that_is_lost_is_a_dead_letter_as_it_was_sent(
    autojump_clock: trio.abc.Clock,
) -> None:
    world = World()
    async with world.system("two", "one") as other, world.system("one", "two") as one:
        await one.start(Singleton, Tally, name="tally")
        there = await other.start(Singleton, Tally, name="tally")
        assert await there.ask(Where()) == "one"
        world.network.part("one", "two")
        there.tell(Add(1))
        with pytest.raises(ActorStopped, match="did not answer Where"):
            await there.ask(Where())
        assert [each.message for each in other.dead_letters.recent] == [Add(1), Where()]


class CutOff(MemoryStore):
    """One node's way to a store that it shares, until it is cut off."""

    def __init__(self, store: MemoryStore) -> None:
        vars(self).update(vars(store))
        self.away = False

    async def _look(self) -> None:
        if self.away:
            await trio.sleep_forever()
        await super()._look()


async def test_a_lost_owner_keeps_nobody_waiting_beyond_its_lease_however_long_its_node_may_be_away(
    autojump_clock: trio.abc.Clock,
) -> None:
    network, store = MemoryNetwork(), MemoryStore()
    cut_off = CutOff(store)
    limits = Limits(lost_after=1_000.0)

    def system(name: str, peer: str, store: MemoryStore) -> ActorSystem:
        endpoint = network.endpoint(name)
        node = Node(endpoint, peers=[peer], limits=limits, store=store, lease=LEASE)
        return ActorSystem(name, transport=node)

    async with system("two", "one", store) as other, system("one", "two", cut_off) as one:
        await one.start(Singleton, Tally, name="tally")
        there = await other.start(Singleton, Tally, name="tally")
        assert await there.ask(Where()) == "one"
        network.part("one", "two")
        cut_off.away = True
        began = trio.current_time()
        there.tell(Add(1))
        with pytest.raises(ActorStopped, match="its owner was lost") as caught:
            await there.ask(Where(), timeout=60)
        assert caught.value.started
        assert await there.ask(Where(), timeout=60) == "two"
        assert trio.current_time() - began < 1.5 * LEASE.ttl
    assert (one.ledger.missing, other.ledger.missing) == (0, 0)


async def test_messages_wait_in_order_until_somebody_owns_it(
    autojump_clock: trio.abc.Clock,
) -> None:
    world = World()
    async with world.system("one") as system:
        tally = system.spawn(Singleton, Tally, name="tally")
        for number in range(1, 6):
            tally.tell(Add(number))
        assert await tally.ask(Add(6)) == 6


async def test_an_error_reaches_the_asker_and_it_is_restarted(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with AsyncExitStack() as stack:
        one, other = await two(stack)
        await one.start(Singleton, Tally, name="tally")
        there = await other.start(Singleton, Tally, name="tally")
        assert await there.ask(Add(1)) == 1
        with pytest.raises(ActorFailed, match="-1"):
            await there.ask(Add(-1))
        assert await there.ask(Add(1)) == 1


async def test_beyond_the_limit_of_its_strategy_the_region_is_restarted(
    autojump_clock: trio.abc.Clock,
) -> None:
    world, seen = World(), []  # type: ignore[var-annotated]
    async with world.system("one") as system:
        make = functools.partial(Singleton, strategy=OneForOne(max_restarts=1, within=60))
        tally = await system.start(make, Tally, seen, name="tally")
        for _ in range(2):
            with pytest.raises(ActorFailed):
                await tally.ask(Add(-1))
        assert await tally.ask(Add(1)) == 1
        fences = [fence for what, _, fence in seen if what == "started"]
        assert fences[0] == fences[1] < fences[2]


async def test_a_stream_comes_from_where_it_is(autojump_clock: trio.abc.Clock) -> None:
    async with AsyncExitStack() as stack:
        one, other = await two(stack)
        for ref in (
            await one.start(Singleton, Tally, name="tally"),
            await other.start(Singleton, Tally, name="tally"),
        ):
            assert [number async for number in ref.stream(Count(40))] == list(range(40))


class Slow(Actor):
    def __init__(self, begun: list[Any]) -> None:
        self.begun = begun

    async def receive(self, message: Any) -> Any:
        self.begun.append(message)
        try:
            await trio.sleep(100)
        except trio.Cancelled:
            self.begun.append("cancelled")
            raise


async def test_who_waits_no_longer_is_not_waited_for(autojump_clock: trio.abc.Clock) -> None:
    world, begun = World(), []  # type: ignore[var-annotated]
    async with world.system("one") as system:
        slow = await system.start(Singleton, Slow, begun, name="slow")
        with pytest.raises(AskTimeout, match="being handled"):
            await slow.ask("first", timeout=1)
        with pytest.raises(AskTimeout, match="queued"):
            await slow.ask("second", timeout=1)
        slow_region = system._find(slow.address)
        assert slow_region is not None
        assert slow_region._actor._held == 0  # type: ignore[union-attr, attr-defined]
        system._root._children["slow"]._children["owner"].stop()  # type: ignore[index]
    assert begun == ["first", "cancelled"]


class Silent(MemoryStore):
    """A store that answers nobody while it is away."""

    away = False

    async def _look(self) -> None:
        if self.away:
            await trio.sleep_forever()
        await super()._look()


async def test_a_node_that_owns_nothing_does_not_warn_that_its_lease_is_over(
    autojump_clock: trio.abc.Clock, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    store = world.store = Silent()
    async with world.system("one") as system:
        only = await system.start(Singleton, Tally, [], name="tally")
        await trio.sleep(0.5)
        only.stop()
        await only.stopped()
        with caplog.at_level(logging.DEBUG, "transports.cluster"):
            store.away = True
            await trio.sleep(3 * LEASE.ttl)
            store.away = False
    said = [each.levelno for each in caplog.records if "its lease is over" in each.message]
    assert said == [logging.DEBUG]


async def test_without_its_store_a_node_stops_it_before_its_time_is_over(
    autojump_clock: trio.abc.Clock, caplog: pytest.LogCaptureFixture
) -> None:
    world, begun = World(), []  # type: ignore[var-annotated]
    store = world.store = Silent()
    async with world.system("one") as system:
        slow = await system.start(Singleton, Slow, begun, name="slow")
        slow.tell("work")
        await trio.sleep(0.5)
        store.away = True
        away = trio.current_time()
        while begun[-1] != "cancelled":
            await trio.sleep(0.01)
        # Its last renewal was sent before.
        assert trio.current_time() - away <= LEASE.ttl - LEASE.margin + 0.02
        assert "one: its lease is over: it stops all that it owns" in caplog.text
        with pytest.raises(AskTimeout, match="nobody owns it"):
            await slow.ask("more", timeout=1)
        store.away = False
        slow.tell("again")
        await trio.sleep(3 * LEASE.ttl)
        assert begun == ["work", "cancelled", "again"]


async def test_with_nobody_to_own_it_the_mailbox_fills_and_all_is_accounted_for(
    autojump_clock: trio.abc.Clock,
) -> None:
    world = World()
    store = world.store = Silent()
    store.away = True
    async with world.system("one") as system:
        tally = await system.start(Singleton, Tally, name="tally")
        told = 0
        with pytest.raises(MailboxFull):
            while told < 30 * HELD:
                tally.tell(Add(told))
                told += 1
                if told % 500 == 0:
                    await trio.sleep(0.01)
        assert told > HELD
        with pytest.raises(AskTimeout):
            await tally.ask(Where(), timeout=0.1)
        assert system.ledger.missing == 0
    assert system.ledger.missing == 0
    letters = [each for each in system.dead_letters.recent if isinstance(each.message, Add)]
    assert {each.reason for each in letters} == {DeadLetterReason.UNHANDLED_AT_STOP}
    assert system.dead_letters.count == told


class Asker(Actor):
    def __init__(self) -> None:
        self.other: ActorRef | None = None

    async def receive(self, message: Any) -> Any:
        if isinstance(message, Where):
            return await self.context.system.at("actor://one/tally").ask("loop", timeout=50)
        return await self.context.system.at("actor://one/asker").ask("loop", timeout=50)


async def test_an_ask_that_would_wait_on_itself_through_it_fails_at_once(
    autojump_clock: trio.abc.Clock,
) -> None:
    world = World()
    async with world.system("one") as system:
        asker = await system.start(Asker, name="asker")
        await system.start(Singleton, Asker, name="tally")
        began = trio.current_time()
        with pytest.raises(ActorFailed) as caught:
            await asker.ask(Where(), timeout=60)
        cause: BaseException | None = caught.value
        while isinstance(cause, ActorFailed):
            cause = cause.cause
        assert isinstance(cause, AskCycle)
        assert trio.current_time() - began < 20


async def test_who_asks_while_the_system_is_left_is_told(autojump_clock: trio.abc.Clock) -> None:
    world = World()
    store = world.store = Silent()
    store.away = True
    outcomes: list[Exception] = []

    async def ask(ref: ActorRef) -> None:
        try:
            await ref.ask(Where(), timeout=None)
        except ActorStopped as error:
            outcomes.append(error)

    async with trio.open_nursery() as nursery, world.system("one") as system:
        tally = await system.start(Singleton, Tally, name="tally")
        nursery.start_soon(ask, tally)
        await trio.sleep(0.5)
    assert [str(error.started) for error in outcomes] == ["False"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", range(4))
def test_there_is_one_whatever_befalls_nodes_network_and_store(seed: int) -> None:
    simulate(Stamps, seed=seed, faults=Faults(double=0.05))


def test_where_its_node_dies_or_stands_still_another_one_takes_over() -> None:
    outcome = simulate(Stamps, seed=1, faults=Faults.only(crash=0.2, pause=0.2, engine_part=0.2))
    assert outcome.counts["an owner has a successor"] > 0
