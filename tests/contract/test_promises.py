"""What is promised between nodes holds over every transport, and while its connections break.

The promises are those of README.md, 2 to 9; `cluster` checks the ledgers of all nodes in the end.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorStopped,
    ActorSystem,
    AskTimeout,
    DeadLetterReason,
    ExitReason,
    Failure,
    Mailbox,
    NodeDown,
    Request,
    Terminated,
    message,
)
from tests.contract.networks import KINDS, LIMITS, cluster, connected, network, open_files
from tests.transports.kit import Do, Get, Remote, Through

pytestmark = pytest.mark.parametrize("kind", KINDS)


@message(name="contract.Count")
class Count(Request[AsyncIterator[int]]):
    until: int


class Gated(Actor):
    """Handles a message when its gate is open, and says which one it has in hand."""

    mailbox = Mailbox(capacity=4)

    def __init__(self) -> None:
        self.gate = trio.Event()
        self.begun = trio.Event()
        self.numbers: list[float] = []

    async def receive(self, message: Any) -> Any:
        match message:
            case Do(_, number):
                self.begun.set()
                await self.gate.wait()
                self.numbers.append(number)
                return number
            case Count(until):
                return self.count(until)
            case other:
                return other

    async def count(self, until: int) -> AsyncIterator[int]:
        for number in range(until):
            self.numbers.append(number)
            yield number


class Watcher(Actor):
    """Watches one actor, and passes on what it hears."""

    def __init__(self, target: ActorRef, heard: trio.MemorySendChannel[Any]) -> None:
        self.target = target
        self.heard = heard

    async def started(self) -> None:
        self.context.watch(self.target)

    def receive(self, message: Terminated) -> None:
        self.heard.send_nowait(message.reason)


def spawned(system: ActorSystem, cls: type[Actor], *args: Any, name: str) -> Any:
    """The actor itself, for a test to look into, and its ref's address."""
    made: list[Actor] = []

    class Kept(cls):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self)

    system.spawn(Kept, *args, name=name)
    return made


async def made(actors: list[Any]) -> Any:
    while not actors:
        await trio.sleep(0)
    return actors[0]


# -- 2, 3, 4: order, and each message once


async def test_messages_arrive_once_and_in_order(kind: str, tmp_path: Path) -> None:
    async with cluster(kind, tmp_path, "a", "b") as (_, (a, b)):
        for here, there in ((a, "b"), (b, "a")):
            ref = here.at(f"actor://{there}/actor")
            for number in range(300):
                await ref.send(Do("note", number))
            assert await ref.ask(Get()) == list(range(300))


async def test_messages_arrive_once_and_in_order_while_connections_break(
    kind: str, tmp_path: Path
) -> None:
    async with cluster(kind, tmp_path, "a", "b") as (net, (a, b)):
        there, here = a.at("actor://b/actor"), b.at("actor://a/actor")

        async def send(ref: ActorRef) -> None:
            for number in range(200):
                await ref.send(Do("note", number))
                if number % 50 == 25:
                    net.cut("a", "b")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, there)
            nursery.start_soon(send, here)
        assert await there.ask(Get()) == list(range(200))
        assert await here.ask(Get()) == list(range(200))


async def test_a_large_message_and_small_ones_behind_it_arrive(kind: str, tmp_path: Path) -> None:
    async with cluster(kind, tmp_path, "a", "b") as (_, (a, _b)):
        ref = a.at("actor://b/actor")
        assert len(await ref.ask("x" * 3_000_000)) == 3_000_000
        for number in range(10):
            await ref.send(Do("note", number))
        assert await ref.ask(Get()) == list(range(10))


# -- 6: asks


async def test_an_ask_has_its_reply_or_the_error_at_once(kind: str, tmp_path: Path) -> None:
    async with cluster(kind, tmp_path, "a", "b") as (_, (a, b)):
        ref = a.at("actor://b/actor")
        assert await ref.ask({"tea": [1, b"2"]}) == {"tea": [1, b"2"]}
        b.spawn(Remote, name="fails")
        with pytest.raises(ActorFailed, match="as told: 3"):
            await a.at("actor://b/fails").ask(Do("fail", 3), timeout=None)
        with pytest.raises(ActorStopped, match="no actor"):
            await a.at("actor://b/nobody").ask(Get(), timeout=None)


async def test_a_message_whose_time_is_up_or_whose_asker_has_gone_does_not_begin(
    kind: str, tmp_path: Path
) -> None:
    async with cluster(kind, tmp_path, "a", "b") as (_, (a, b)):
        actor: Gated = await made(spawned(b, Gated, name="gated"))
        ref = a.at("actor://b/gated")
        ref.tell(Do("first", 1))
        await actor.begun.wait()
        with pytest.raises(AskTimeout):
            await ref.ask(Do("late", 2), timeout=0.05)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ref.ask, Do("cancelled", 3))
            while b.ledger.queued + b.ledger.expired < 2:
                await trio.sleep(0.002)
            nursery.cancel_scope.cancel()
        # Nothing overtakes: what is answered is behind the word that nobody waits any more.
        assert await a.at("actor://b/actor").ask(Get()) == []
        ref.tell(Do("last", 4))
        actor.gate.set()
        while len(actor.numbers) < 2:
            await trio.sleep(0.002)
        assert actor.numbers == [1, 4]
        assert b.ledger.expired == 2


# -- 7: asks that wait on themselves


async def test_an_ask_that_comes_back_to_its_asker_fails_with_the_chain(
    kind: str, tmp_path: Path
) -> None:
    async with cluster(kind, tmp_path, "a", "b", "c") as (_, (a, _b, _c)):
        refs = [a.at(f"actor://{node}/actor") for node in ("b", "c", "a")]
        with pytest.raises(ActorFailed) as caught:
            await refs[2].ask(Through(refs), timeout=None)
        causes, error = [], caught.value.__cause__
        while error is not None:
            causes.append(str(error))
            error = error.__cause__
        assert any("actor://a/actor" in each and "actor://c/actor" in each for each in causes)
        assert await refs[0].ask(Get()) == []


# -- 5: nothing is unbounded


async def test_a_slow_receiver_holds_its_sender_up(kind: str, tmp_path: Path) -> None:
    async with cluster(kind, tmp_path, "a", "b") as (_, (a, b)):
        actor: Gated = await made(spawned(b, Gated, name="gated"))
        ref = a.at("actor://b/gated")
        sent = 0

        async def send() -> None:
            nonlocal sent
            for number in range(200):
                await ref.send(Do("note", number))
                sent += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await actor.begun.wait()
            before = -1
            while sent != before:
                before = sent
                await trio.sleep(0.05)
            # In its mailbox, at its door, and on the way to one actor.
            assert sent <= 5 + 2 * LIMITS.per_target
            # Others are not held up.
            assert await a.at("actor://b/actor").ask(Get()) == []
            actor.gate.set()
        while len(actor.numbers) < 200:
            await trio.sleep(0.002)
        assert actor.numbers == list(range(200))


async def test_a_slow_consumer_of_a_stream_holds_its_generator_up(
    kind: str, tmp_path: Path
) -> None:
    async with cluster(kind, tmp_path, "a", "b") as (net, (a, b)):
        actor: Gated = await made(spawned(b, Gated, name="gated"))
        got = []
        async with a.at("actor://b/gated").stream(Count(100), buffer=4) as stream:
            async for item in stream:
                got.append(item)
                assert len(actor.numbers) <= item + 1 + 2 * 4
                if item == 50:
                    net.cut("a", "b")
        assert got == list(range(100))


# -- 8: watching


async def test_who_watches_hears_of_each_end_once(kind: str, tmp_path: Path) -> None:
    send, heard = trio.open_memory_channel[Any](10)
    limits = attrs.evolve(LIMITS, lost_after=0.1)
    async with cluster(kind, tmp_path, "a", "b", limits=limits) as (net, (a, b)):
        for name in ("stops", "fails", "lost"):
            b.spawn(Remote, name=name)
            a.spawn(Watcher, a.at(f"actor://b/{name}"), send)
        assert await a.at("actor://b/lost").ask(Get()) == []
        a.at("actor://b/stops").tell(Do("stop"))
        assert await heard.receive() is ExitReason.NORMAL
        a.at("actor://b/fails").tell(Do("fail", 1))
        failure = await heard.receive()
        assert isinstance(failure, Failure)
        assert "as told: 1" in str(failure.exception)
        net.part("a", "b")
        down = await heard.receive()
        assert isinstance(down, NodeDown)
        assert down.node == "b"
        with pytest.raises(trio.WouldBlock):
            heard.receive_nowait()


# -- topics, queues, services


async def test_topics_queues_and_services_span_the_nodes(kind: str, tmp_path: Path) -> None:
    async with cluster(kind, tmp_path, "a", "b", "c") as (_, systems):
        a, b, c = systems
        refs = []
        for system in systems:
            ref = system.spawn(Remote, name="routed")
            system.subscribe("topic://orders.*", ref)
            system.consume("queue://jobs", ref)
            refs.append(ref)
        for system, version in ((b, "1.0"), (c, "2.0")):
            system.register("service://names", system.spawn(Remote, name="named"), version=version)
        topic: Any = a.at("topic://orders.new")
        service = a.at("service://names")
        with trio.fail_after(20):
            while topic.publish(Do("nothing")).nodes < 2 or len(service.instances) < 2:  # type: ignore[attr-defined]
                await trio.sleep(0.002)
        topic.publish(Do("note", -1))
        queue = a.at("queue://jobs")
        for number in range(30):
            await queue.send(Do("note", number))
        with trio.fail_after(20):
            noted: list[float] = []
            while len(noted) < 33:
                await trio.sleep(0.002)
                noted = [each for ref in refs for each in await ref.ask(Get())]
        assert Counter(noted) == Counter([-1, -1, -1, *range(30)])
        answers = Counter([await service.ask(Through([])) for _ in range(4)])
        assert answers == {"named": 4}
        assert await a.at("service://names?version=2").ask(Through([])) == "named"


# -- 4: a peer that is lost


async def test_what_a_lost_peer_had_not_acknowledged_is_a_dead_letter(
    kind: str, tmp_path: Path
) -> None:
    limits = attrs.evolve(LIMITS, lost_after=0.1)
    async with cluster(kind, tmp_path, "a", "b", limits=limits) as (net, (a, _b)):
        ref = a.at("actor://b/actor")
        assert await ref.ask(Get()) == []
        net.part("a", "b")
        for number in range(5):
            ref.tell(Do("note", number))
        with pytest.raises(ActorStopped, match="node b is lost|out of reach"):
            await ref.ask(Get(), timeout=None)
        dead = [each for each in a.dead_letters.recent if isinstance(each.message, Do)]
        assert [each.message.number for each in dead] == [0, 1, 2, 3, 4]
        assert {each.reason for each in dead} == {DeadLetterReason.PEER_LOST}


async def test_a_peer_that_leaves_and_starts_again_is_another_one(
    kind: str, tmp_path: Path
) -> None:
    send, heard = trio.open_memory_channel[Any](10)
    async with network(kind, tmp_path) as net, net.node("b") as b:
        ref = b.at("actor://a/actor")
        for start in range(3):
            async with net.node("a", "b"):
                await b.start(Watcher, ref, send)
                await ref.send(Do("note", start))
                assert await ref.ask(Get()) == [start]
            assert await heard.receive() is ExitReason.SHUTDOWN


# -- 9: leaving


async def test_leaving_leaves_nothing_open_and_nothing_behind(kind: str, tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        gc.collect()
        tasks, files = len(nursery.child_tasks), open_files()
        async with cluster(kind, tmp_path, "a", "b", "c") as (_, (a, _b, _c)):
            assert await a.at("actor://c/actor").ask(Get()) == []
            await connected(a, "b")
        assert len(nursery.child_tasks) == tasks
        assert open_files() == files
    kept = [each for each in tmp_path.iterdir() if each.is_socket() and "-" not in each.name]
    assert kept == []
