"""Faults of nodes that were found by trying to break them."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorStopped,
    ActorSystem,
    AskTimeout,
    DeadLetterReason,
    Mailbox,
    Terminated,
    message,
)
from tests.transports import test_hostile_peers
from tests.transports.kit import Do, Get, Remote, Wires, cluster
from tests.transports.test_hostile_peers import Peer, one_node, works
from transports import Limits, Node
from transports.encoding import envelope
from transports.memory import MemoryNetwork, MemoryStream


@pytest.mark.parametrize("target", ["", "a b", "x//y", "..", "?", "x" * 100_000])
async def test_a_target_that_is_no_path_costs_its_connection_at_the_most(
    autojump_clock: MockClock, target: str
) -> None:
    async with one_node() as (system, wires):
        peer = Peer(wires)
        await peer.connect("a")
        await peer.say(envelope.encode(envelope.Tell(target, b"\x01")), charged=True)
        await trio.sleep(1)
        await works(system, wires)


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("nothing to say")


ERRORS = {
    "too long for a frame": ValueError("x" * 20_000_000),
    "half a character": ValueError("\ud800"),
    "without its message": Speechless(),
}


class Raising(Actor):
    def receive(self, message: Any) -> None:
        raise ERRORS[message.what]


@pytest.mark.parametrize("what", ERRORS)
async def test_whatever_an_error_says_it_fails_the_asker_and_no_node(
    autojump_clock: MockClock, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL")
    ends = []

    class Watcher(Actor):
        async def started(self) -> None:
            self.context.watch(self.context.system.at("actor://b/raising"))

        def receive(self, message: Terminated) -> None:
            ends.append(message.reason)

    async with cluster("a", "b") as (a, b):
        b.spawn(Raising, name="raising")
        there = b.spawn(Remote, name="there")
        a.spawn(Watcher)
        await a.at("actor://b/there").ask(Get())
        text = "no error"
        try:
            await a.at("actor://b/raising").ask(Do(what))
        except ActorFailed as error:
            # Kept short, so that a failing test does not show a text of 20 MB.
            text = str(error.cause)[:40]
        assert text.startswith(type(ERRORS[what]).__name__)
        assert await a.at(str(there)).ask(Get()) == []
        assert len(ends) == 1


broken_here: list[type[Exception]] = []


@message(name="breaking.Checked")
class Checked:
    number: int

    def __attrs_post_init__(self) -> None:
        for each in broken_here:
            raise each


@pytest.mark.parametrize("error", [ZeroDivisionError, AttributeError, AssertionError, IndexError])
async def test_whatever_a_validator_raises_only_the_message_is_unreadable(
    autojump_clock: MockClock, error: type[Exception]
) -> None:
    checked = Checked(number=1)
    async with cluster("a", "b") as (a, b):
        b.spawn(Remote, name="there")
        ref = a.at("actor://b/there")
        await ref.ask(Get())
        broken_here.append(error)
        try:
            ref.tell(checked)
            with pytest.raises(ActorFailed, match=error.__name__):
                await ref.ask(checked)
            assert b.ledger.dead == 1
        finally:
            broken_here.clear()
        assert await ref.ask(Get()) == []


async def test_a_queue_outlives_a_message_that_cannot_be_sent_to_its_consumer(
    autojump_clock: MockClock,
) -> None:
    async with cluster("a", "b") as (a, b):
        there = b.spawn(Remote, name="there")
        b.consume("queue://jobs", there)
        await trio.sleep(2)
        jobs = a.at("queue://jobs")
        jobs.tell(object())
        jobs.tell(Do("note", 1))
        with pytest.raises(ActorFailed, match="NotEncodable"):
            await jobs.ask(object())
        jobs.tell(Do("note", 2))
        await trio.sleep(1)
        assert await there.ask(Get()) == [1, 2]
        assert [each.reason for each in a.dead_letters.recent] == [
            DeadLetterReason.FAILED_TOO_OFTEN
        ] * 2


async def test_a_peer_that_reads_no_more_is_lost(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = MemoryNetwork()

    def bounded() -> tuple[MemoryStream, MemoryStream]:
        one, other = (MemoryStream(network, frozenset("ab")) for _ in range(2))
        one.other, other.other = other, one
        return one, other

    monkeypatch.setattr(test_hostile_peers, "memory_stream_pair", bounded)
    async with one_node() as (system, wires):
        await Peer(wires).connect("a")
        ref = system.at("actor://peer/x")
        for _ in range(100):
            ref.tell("x" * 10_000)
        with trio.fail_after(100), pytest.raises(ActorStopped):
            await ref.ask("y", timeout=None)


class Slow(Remote):
    mailbox = Mailbox(capacity=4)


async def do(how: str, ref: ActorRef, number: int) -> None:
    match how:
        case "send":
            await ref.send(Do("note", number))
        case "ask":
            await ref.ask(Do("note", number), timeout=None)
        case "ask for a time":
            await ref.ask(Do("note", number), timeout=2 + number / 10)
        case "ask and cancel":
            with trio.move_on_after(2 + number / 10):
                await ref.ask(Do("note", number), timeout=None)
        case "stream":
            async for _ in ref.stream(Do("note", number), timeout=None):
                pass
        case "stopped":
            await ref.stopped()


@pytest.mark.parametrize(
    "how", ["send", "ask", "ask for a time", "ask and cancel", "stream", "stopped"]
)
async def test_tasks_from_outside_end_when_the_system_is_left(
    autojump_clock: MockClock, how: str
) -> None:
    limits = Limits(per_target=2, window=64)
    wires = Wires()
    ends: list[str] = []

    async def one(ref: ActorRef, number: int) -> None:
        try:
            await do(how, ref, number)
        except (ActorStopped, AskTimeout) as error:
            ends.append(type(error).__name__)
        else:
            ends.append("done")

    there = Node(wires.endpoint("b"), peers=["a"], limits=limits)
    async with ActorSystem("b", transport=there, stop_within=1) as b:
        b.spawn(Slow, name="slow")
        async with trio.open_nursery() as nursery:
            here = Node(wires.endpoint("a"), peers=["b"], limits=limits)
            async with ActorSystem("a", transport=here) as a:
                ref = a.at("actor://b/slow")
                await ref.ask(Get())
                ref.tell(Do("sleep", 1000))
                await trio.sleep(1)
                for number in range(20):
                    nursery.start_soon(one, ref, number)
                await trio.sleep(1)
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
    assert len(ends) == 20, ends
    assert (a.ledger.missing, a.ledger.queued) == (0, 0)


async def test_of_many_receivers_with_many_senders_each_has_its_turn(
    autojump_clock: MockClock,
) -> None:
    limits = Limits(per_target=4, window=8, outbox=8)
    sent = dict.fromkeys(range(10), 0)
    async with cluster("a", "b", limits=limits) as (a, b):
        for number in sent:
            b.spawn(Remote, name=f"r{number}")
        await a.at("actor://b/r0").ask(Get())

        async def flood(number: int) -> None:
            while True:
                await a.at(f"actor://b/r{number}").send(Do("note"))
                sent[number] += 1

        async with trio.open_nursery() as nursery:
            for number in sent:
                for _ in range(20):
                    nursery.start_soon(flood, number)
            for _ in range(2000):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert min(sent.values()) > max(sent.values()) / 2 > 10, sent


async def test_waits_for_a_stop_that_were_cancelled_leave_nothing_behind(
    autojump_clock: MockClock,
) -> None:
    async with cluster("a", "b") as (a, b):
        there = b.spawn(Remote, name="there")
        ref = a.at("actor://b/there")
        await ref.ask(Get())
        for _ in range(200):
            with trio.move_on_after(0.01):
                await ref.stopped()
        link = a.at("actor://b/there")._node.link("b")  # type: ignore[attr-defined]
        await trio.sleep(1)
        assert link.stops.by_number == link.stops.numbers == {}
        assert there._rare.cleanups == []  # type: ignore[attr-defined]
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ref.stopped)
            await trio.sleep(1)
            ref.stop()
        assert link.stops.by_number == link.stops.numbers == {}


async def test_what_waits_for_the_window_is_still_sent_when_the_system_is_left(
    autojump_clock: MockClock,
) -> None:
    limits = Limits(window=10, outbox=100)
    async with cluster("b", limits=limits, wires=(wires := Wires())) as (b,):
        there = b.spawn(Remote, name="there")
        here = Node(wires.endpoint("a"), peers=["b"], limits=limits)
        async with ActorSystem("a", transport=here) as a:
            ref = a.at("actor://b/there")
            await ref.ask(Get())
            for number in range(60):
                ref.tell(Do("note", number))
        assert (a.ledger.dead, a.ledger.delivered) == (0, 61)
        assert await there.ask(Get()) == list(range(60))


async def test_a_consumers_node_may_be_lost_while_the_queues_node_is_left(
    autojump_clock: MockClock,
) -> None:
    class Stubborn(Actor):
        shutdown = 100.0

        async def receive(self, message: Any) -> None:
            await trio.sleep(50)

    wires = Wires()
    left = trio.Event()

    async def queues_node() -> None:
        node = Node(wires.endpoint("a"), peers=["b"])
        async with ActorSystem("a", transport=node, stop_within=100) as a:
            # It stops last, long after the queue, which was made later.
            a.spawn(Stubborn).tell(1)
            await trio.sleep(3)
        assert a.ledger.missing == 0
        left.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(queues_node)
        async with ActorSystem("b", transport=Node(wires.endpoint("b"), peers=["a"])) as b:
            there = b.spawn(Remote, name="there")
            b.consume("queue://jobs", there)
            await trio.sleep(10)
            # Heard when there is no queue any more, nor can there be.
            b.consume("queue://late", there)
            b.unconsume("queue://jobs", there)
            b.consume("queue://jobs", there)
            await trio.sleep(5)
            await wires.part("a", "b")
            await left.wait()


async def test_nodes_that_called_and_went_are_forgotten_and_may_call_again(
    autojump_clock: MockClock,
) -> None:
    wires = Wires()
    node = Node(wires.endpoint("a"))
    async with ActorSystem("a", transport=node) as a:
        here = a.spawn(Remote)
        for number in range(20):
            name = f"caller{number % 10}"
            there = Node(wires.endpoint(name), peers=["a"], incarnation=number + 1)
            async with ActorSystem(name, transport=there) as caller:
                await caller.at(str(here)).ask(Do("note", number))
        await trio.sleep(100)
        assert list(node.links()) == []
        # One that was parted for that long, and remembers the session of before.
        async with ActorSystem("b", transport=Node(wires.endpoint("b"), peers=["a"])) as b:
            for number in range(20, 25):
                await b.at(str(here)).ask(Do("note", number))
                await wires.part("a", "b")
                await trio.sleep(9.5 + (number - 20) / 4)
                wires.heal("a", "b")
                # Either side may have given the other up, or not, or be about to.
                await trio.sleep(15)
        assert await here.ask(Get()) == list(range(25))
