"""Topics, queues and services are one for all nodes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors import (
    Actor,
    ActorFailed,
    ActorStopped,
    ActorSystem,
    DeadLetterReason,
    InvalidAddress,
    Mailbox,
    NotRunning,
    SystemClosed,
)
from tests.transports.kit import Do, Get, Remote, Wires, cluster
from transports import Limits, Node
from transports.errors import NotEncodable


async def test_a_publication_reaches_subscribers_of_every_node_once(
    autojump_clock: MockClock,
) -> None:
    async with cluster("a", "b", "c") as (a, b, c):
        everyone = []
        for system in (a, b, c):
            for _ in range(3):
                ref = system.spawn(Remote)
                system.subscribe("topic://orders.*", ref)
                system.subscribe("topic://orders.**", ref)
                everyone.append(ref)
        await trio.sleep(1)
        delivered = a.ledger.delivered
        published = a.at("topic://orders.new").publish(Do("note", 1))  # type: ignore[attr-defined]
        assert (published.matched, published.queued, published.nodes) == (3, 3, 2)
        await trio.sleep(1)
        assert [await ref.ask(Get()) for ref in everyone] == [[1]] * 9
        # One frame a node, however many subscribers there.
        assert a.ledger.delivered == delivered + 2
        nobody = a.at("topic://invoices.new").publish(Do("note", 1))  # type: ignore[attr-defined]
        assert (nobody.matched, nobody.nodes) == (0, 0)


async def test_a_publication_whose_last_subscriber_has_just_gone_is_a_dead_letter_there(
    autojump_clock: MockClock,
) -> None:
    async with cluster("a", "b") as (a, b):
        ref = b.spawn(Remote)
        b.subscribe("topic://x", ref)
        await trio.sleep(1)
        # It goes in this moment: the other node has not heard of it.
        b.unsubscribe("topic://x", ref)
        topic: Any = a.at("topic://x")
        assert topic.publish(Do("note", 1)).nodes == 1
        await trio.sleep(1)
        (letter,) = b.dead_letters.recent
        assert (str(letter.ref), letter.message) == ("topic://x", Do("note", 1))
        assert letter.reason is DeadLetterReason.NO_SUBSCRIBER
        assert a.ledger.delivered == b.ledger.dead == 1


async def test_what_cannot_be_published_to_another_node_is_published_nowhere(
    autojump_clock: MockClock,
) -> None:
    async with cluster("a", "b") as (a, b):
        here, there = a.spawn(Remote), b.spawn(Remote)
        a.subscribe("topic://x", here)
        topic: Any = a.at("topic://x")
        # Nobody elsewhere wants it, so that it could not be sent is no matter.
        assert topic.publish([object()]).matched == 1
        b.subscribe("topic://x", there)
        await trio.sleep(1)
        handled = a.ledger.handled
        with pytest.raises(NotEncodable):
            topic.publish([object()])
        with pytest.raises(NotEncodable):
            await topic.send([object()])
        with pytest.raises(NotEncodable):
            topic.tell([object()])
        await trio.sleep(1)
        assert (a.ledger.handled, a.ledger.dead, a.ledger.queued) == (handled, 0, 0)
        assert topic.publish(Do("note", 2)).nodes == 1
        await trio.sleep(1)
        assert await there.ask(Get()) == [2]


async def test_a_subscription_ends_with_its_actor_and_with_its_node(
    autojump_clock: MockClock,
) -> None:
    wires = Wires()
    async with cluster("a", "b", wires=wires) as (a, b):
        one, other = b.spawn(Remote), b.spawn(Remote)
        b.subscribe("topic://x", one)
        b.subscribe("topic://x", other)
        await trio.sleep(1)
        topic: Any = a.at("topic://x")
        assert topic.publish(Do("note")).nodes == 1
        one.stop()
        await trio.sleep(1)
        assert topic.publish(Do("note")).nodes == 1
        b.unsubscribe("topic://x", other)
        await trio.sleep(1)
        assert topic.publish(Do("note")).nodes == 0
        b.subscribe("topic://x", other)
        await trio.sleep(1)
        await wires.part("a", "b")
        await trio.sleep(60)
        assert topic.publish(Do("note")).nodes == 0
        wires.heal("a", "b")
        await trio.sleep(10)
        assert topic.publish(Do("note")).nodes == 1


async def test_a_service_has_its_instances_on_any_node_and_loses_them_with_it(
    autojump_clock: MockClock,
) -> None:
    class Says(Actor):
        def receive(self, message: Any) -> Any:
            return [float(ord(self.context.system.name))]

    wires = Wires()
    async with cluster("a", "b", "c", wires=wires) as (a, b, c):
        for system, version in ((b, "1.0"), (c, "2.0")):
            system.register("service://names", system.spawn(Says), version=version)
        await trio.sleep(1)
        service = a.at("service://names")
        answers = Counter([(await service.ask(Get()))[0] for _ in range(10)])
        assert answers == {98.0: 5, 99.0: 5}
        assert await a.at("service://names?version=2").ask(Get()) == [99.0]
        await wires.part("a", "c")
        await trio.sleep(60)
        assert {(await service.ask(Get()))[0] for _ in range(10)} == {98.0}
        with pytest.raises(ActorStopped, match="version 2"):
            await a.at("service://names?version=2").ask(Get())
        wires.heal("a", "c")
        await trio.sleep(10)
        assert {(await service.ask(Get()))[0] for _ in range(10)} == {98.0, 99.0}


async def test_a_service_asks_another_node_only_if_the_first_provably_never_began(
    autojump_clock: MockClock,
) -> None:
    begun: list[str] = []

    class Desk(Actor):
        def receive(self, message: Any) -> Any:
            begun.append(self.context.system.name)
            return []

    class Busy(Desk):
        mailbox = Mailbox(capacity=1)

        async def receive(self, message: Any) -> Any:
            begun.append(self.context.system.name)
            await trio.sleep(1e6)

    wires = Wires()
    limits = Limits(window=1)
    async with cluster("a", "b", "c", wires=wires, limits=limits) as (a, b, c):
        b.register("service://desk", b.spawn(Busy, name="desk"), weight=1000)
        await trio.sleep(1)
        service = a.at("service://desk")
        outcomes: list[Any] = []

        async def ask() -> None:
            try:
                outcomes.append(await service.ask(Get(), timeout=None))
            except ActorStopped as error:
                outcomes.append(error.started)

        async with trio.open_nursery() as nursery:
            # In its handler, in its mailbox, waiting for room there; the last is still here, since
            # the window is full.
            for _ in range(4):
                nursery.start_soon(ask)
                await trio.sleep(1)
            c.register("service://desk", c.spawn(Desk))
            await trio.sleep(1)
            await wires.part("a", "b")
        # What was written may have begun: nobody else is asked. What was not may not.
        assert sorted(outcomes, key=str) == [True, True, True, []]
        assert begun == ["b", "c"]


async def test_a_queue_gives_each_message_to_one_consumer_of_any_node(
    autojump_clock: MockClock,
) -> None:
    logs: list[list[float]] = [[], [], []]

    class Worker(Remote):
        async def receive(self, message: Any) -> Any:
            await trio.sleep(0.1)
            return await super().receive(message)

    async with cluster("a", "b", "c") as systems:
        for system, log in zip(systems, logs, strict=True):
            system.consume("queue://jobs", system.spawn(Worker, log))
        await trio.sleep(1)
        queue = systems[0].at("queue://jobs")
        for number in range(60):
            await queue.send(Do("note", number))
        await trio.sleep(10)
    assert sorted(number for log in logs for number in log) == list(range(60))
    assert all(len(log) > 10 for log in logs)


async def test_what_a_lost_consumer_had_not_finished_goes_to_another_one(
    autojump_clock: MockClock,
) -> None:
    logs: list[list[float]] = [[], []]

    class Slow(Remote):
        async def receive(self, message: Any) -> Any:
            await trio.sleep(3)
            return await super().receive(message)

    wires = Wires()
    async with cluster("a", "b", wires=wires) as (a, b):
        b.consume("queue://jobs", b.spawn(Slow, logs[1]))
        await trio.sleep(1)
        queue = a.at("queue://jobs")
        for number in range(4):
            await queue.send(Do("note", number))
        await trio.sleep(1)
        await wires.part("a", "b")
        a.consume("queue://jobs", a.spawn(Slow, logs[0]))
        await trio.sleep(60)
        # The one that b had begun is done there too: at least once.
        assert sorted(logs[0]) == [0, 1, 2, 3]
        assert logs[1] == [0]


async def test_what_a_lost_consumer_had_goes_to_no_other_consumer_of_the_lost_node(
    autojump_clock: MockClock,
) -> None:
    class Slow(Remote):
        async def receive(self, message: Any) -> Any:
            await trio.sleep(0.1 if self.context.system.name == "a" else 100)
            return await super().receive(message)

    log: list[float] = []
    wires = Wires()
    async with cluster("a", "b", wires=wires) as (a, b):
        for _ in range(3):
            b.consume("queue://jobs", b.spawn(Slow), prefetch=10)
        await trio.sleep(1)
        queue = a.at("queue://jobs")
        for number in range(12):
            await queue.send(Do("note", number))
        await wires.part("a", "b")
        a.consume("queue://jobs", a.spawn(Slow, log))
        begin = trio.current_time()
        while len(log) < 12:
            await trio.sleep(0.1)
        # As soon as the node is lost, and not when it is lost once more.
        assert trio.current_time() - begin < Limits().lost_after + 2
        await trio.sleep(400)


async def test_a_message_that_fails_on_every_node_becomes_a_dead_letter(
    autojump_clock: MockClock,
) -> None:
    async with cluster("a", "b") as (a, b):
        for system in (a, b):
            system.consume("queue://jobs", system.spawn(Remote))
        await trio.sleep(1)
        with pytest.raises(ActorFailed):
            await a.at("queue://jobs").ask(Do("fail", 1))
        (letter,) = a.dead_letters.recent
        assert letter.reason is DeadLetterReason.FAILED_TOO_OFTEN
        assert len(letter.failures) == 3


@pytest.mark.parametrize("messages", [1, 6])
@pytest.mark.parametrize("cancelled", [False, True])
async def test_what_a_consumer_elsewhere_has_not_finished_when_a_queue_ends_is_a_dead_letter(
    autojump_clock: MockClock, cancelled: bool, messages: int
) -> None:
    class Slow(Remote):
        async def receive(self, message: Any) -> Any:
            await trio.sleep(30)

    left: list[ActorSystem] = []
    with trio.CancelScope() as scope:
        async with cluster("b", "c", "a") as (b, c, a):  # a is left first
            left.append(a)
            for system in (b, c):
                system.consume("queue://jobs", system.spawn(Slow))
            await trio.sleep(1)
            for number in range(messages):
                a.at("queue://jobs").tell(Do("note", number))
            await trio.sleep(1)
            if cancelled:
                scope.cancel()
    (a,) = left
    # One or two of them were with a consumer. Whether they are done there, nobody knows.
    letters = [letter.message.number for letter in a.dead_letters.recent]
    assert sorted(letters) == list(range(messages))
    assert {letter.reason for letter in a.dead_letters.recent} == {
        DeadLetterReason.UNHANDLED_AT_STOP
    }
    assert (a.ledger.missing, a.ledger.queued, a.ledger.in_flight) == (0, 0, 0)


# -- waiting for a peer


async def test_a_service_of_a_node_that_was_reached_is_found_at_once(
    autojump_clock: MockClock,
) -> None:
    wires = Wires()
    node = Node(wires.endpoint("a"), peers=["b"])
    with pytest.raises(NotRunning, match="entered"):
        await node.reached("b")
    async with ActorSystem("a", transport=node) as a:
        await node.reached("a")
        with pytest.raises(InvalidAddress):
            await node.reached("no name")
        with trio.move_on_after(5) as scope:
            await node.reached("b")
        assert scope.cancelled_caught
        with trio.move_on_after(5) as scope:
            # Nobody calls it, and it has not called.
            await node.reached("z")
        assert scope.cancelled_caught
        async with ActorSystem("b", transport=Node(wires.endpoint("b"))) as b:
            b.register("service://notes", b.spawn(Remote))
            with pytest.raises(ActorStopped):
                await a.at("service://notes").ask(Get())
            await node.reached("b")
            assert await a.at("service://notes").ask(Get()) == []
            await node.reached("b")
            # Nothing is left of one that is cancelled while the peer does not answer.
            await wires.part("a", "b")
            node._links["b"].up = True
            with trio.move_on_after(0.01) as scope:
                await node.reached("b")
            assert scope.cancelled_caught
            assert node._links["b"].outgoing.stops.by_number == {}
            node._links["b"].up = False
            wires.heal("a", "b")
            await node.reached("b")


async def test_leaving_ends_a_wait_for_a_peer(autojump_clock: MockClock) -> None:
    wires = Wires()
    ends: list[str] = []
    async with trio.open_nursery() as nursery:
        node = Node(wires.endpoint("a"), peers=["b"])

        async def wait(peer: str) -> None:
            with pytest.raises(SystemClosed):
                await node.reached(peer)
            ends.append(peer)

        async with ActorSystem("a", transport=node):
            nursery.start_soon(wait, "b")
            nursery.start_soon(wait, "z")
            await trio.sleep(1)
    assert sorted(ends) == ["b", "z"]


async def test_a_peer_that_is_lost_meanwhile_is_waited_for_again(
    autojump_clock: MockClock,
) -> None:
    wires = Wires()
    reached: list[float] = []
    async with cluster("a", "b", wires=wires) as (a, _), trio.open_nursery() as nursery:
        node: Any = a._transport
        await node.reached("b")
        await wires.part("a", "b")
        node._links["b"].up = True

        async def wait() -> None:
            await node.reached("b")
            reached.append(trio.current_time())

        nursery.start_soon(wait)
        await trio.sleep(0.01)
        node._links["b"].up = False
        await trio.sleep(50)
        assert reached == []
        wires.heal("a", "b")
        await trio.sleep(10)
        assert len(reached) == 1


async def test_a_peer_that_was_forgotten_meanwhile_is_waited_for_again(
    autojump_clock: MockClock,
) -> None:
    wires = Wires()
    reached: list[float] = []
    async with trio.open_nursery() as nursery, cluster("a", wires=wires) as (a,):
        node: Any = a._transport

        async def wait() -> None:
            await node.reached("b")
            reached.append(trio.current_time())

        async with ActorSystem("b", transport=Node(wires.endpoint("b"), peers=["a"])):
            await node.reached("b")
            await wires.part("a", "b")
            nursery.start_soon(wait)
            await trio.sleep(100)
        assert (list(node.links()), reached) == ([], [])
        wires.heal("a", "b")
        async with ActorSystem("b", transport=Node(wires.endpoint("b"), peers=["a"])):
            await trio.sleep(10)
            assert len(reached) == 1
