"""Actors of one node talk to actors of another."""

from __future__ import annotations

import logging
from pathlib import Path
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
    ExitReason,
    Failure,
    Mailbox,
    MailboxFull,
    NodeDown,
    Terminated,
)
from tests.actors.kit import Doer
from tests.transports.kit import Do, Get, Remote, Through, Wires, cluster
from transports import Limits, MemoryNetwork, Node, NotEncodable
from transports.errors import RemoteFailure
from transports.nodes.inspector import report_node


async def test_a_tell_reaches_an_actor_of_another_node_in_order(autojump_clock: MockClock) -> None:
    async with cluster("a", "b") as (a, b):
        there = b.spawn(Remote, name="there")
        ref = a.at("actor://b/there")
        for number in range(100):
            ref.tell(Do("note", number))
        await ref.send(Do("note", 100))
        assert await ref.ask(Get()) == list(range(101))
        assert await there.ask(Get()) == list(range(101))
        assert a.ledger.delivered == 102


async def test_a_handler_that_raises_fails_the_asker_at_once_with_what_it_raised(
    autojump_clock: MockClock,
) -> None:
    async with cluster("a", "b") as (a, b):
        b.spawn(Remote, name="there")
        with pytest.raises(ActorFailed) as caught:
            await a.at("actor://b/there").ask(Do("fail", 3))
    assert isinstance(caught.value.cause, RemoteFailure)
    assert caught.value.cause.text == "ValueError: as told: 3.0"
    assert "in receive" in caught.value.cause.trace
    # Where this checkout is concerns no peer, and a simulated run is the same in another one.
    assert str(Path(__file__).parents[2]) not in caught.value.cause.trace


async def test_a_reply_of_another_type_than_the_request_says_names_both(
    autojump_clock: MockClock,
) -> None:
    class Wrong(Actor):
        def receive(self, message: object) -> str:
            return "three"

    async with cluster("a", "b") as (a, b):
        b.spawn(Wrong, name="there")
        with pytest.raises(
            ActorFailed, match=r"the reply is not what Get says that it is: Expected `array`"
        ):
            await a.at("actor://b/there").ask(Get())


async def test_an_ask_to_nobody_and_to_a_node_that_nobody_knows_fails_at_once(
    autojump_clock: MockClock,
) -> None:
    async with cluster("a", "b") as (a, _):
        for address in ("actor://b/nobody", "actor://z/nobody"):
            begin = trio.current_time()
            with pytest.raises(ActorStopped) as caught:
                await a.at(address).ask(Get(), timeout=100)
            assert not caught.value.started
            assert trio.current_time() - begin < 10
        a.at("actor://z/nobody").tell(Do("note"))
        assert [each.reason for each in a.dead_letters.recent] == [DeadLetterReason.NO_NODE]


async def test_what_cannot_be_encoded_is_the_senders_error(autojump_clock: MockClock) -> None:
    async with cluster("a", "b") as (a, b):
        b.spawn(Remote, name="there")
        ref = a.at("actor://b/there")
        for attempt in (ref.send, ref.ask):
            with pytest.raises(NotEncodable):
                await attempt(object())
        with pytest.raises(NotEncodable):
            ref.tell(object())
        with pytest.raises(ActorFailed, match="cannot be sent"):
            await ref.ask(Do("object"))


async def test_the_remaining_time_travels_and_a_late_message_is_not_begun(
    autojump_clock: MockClock,
) -> None:
    async with cluster("a", "b") as (a, b):
        there = b.spawn(Remote, name="there")
        ref = a.at("actor://b/there")
        await ref.ask(Get())
        ref.tell(Do("sleep", 5))
        with pytest.raises(AskTimeout) as caught:
            await ref.ask(Do("note", 1), timeout=2)
        assert "node b" in caught.value.where
        await trio.sleep(10)
        assert await there.ask(Get()) == []
        assert b.ledger.expired == 1


async def test_a_cancelled_asker_is_told_to_the_other_node(autojump_clock: MockClock) -> None:
    class Careful(Remote):
        cancel_abandoned = True

    async with cluster("a", "b") as (a, b):
        b.spawn(Careful, name="there")
        ref = a.at("actor://b/there")
        with trio.move_on_after(2):
            await ref.ask(Do("sleep", 1000), timeout=None)
        begin = trio.current_time()
        assert await ref.ask(Get(), timeout=None) == []
        assert trio.current_time() - begin < 1


async def test_a_slow_receiver_slows_those_who_send_to_it_and_nobody_else(
    autojump_clock: MockClock,
) -> None:
    class Slow(Remote):
        mailbox = Mailbox(capacity=4)

    limits = Limits(per_target=8, window=64)
    async with cluster("a", "b", limits=limits) as (a, b):
        b.spawn(Slow, name="slow")
        b.spawn(Remote, name="fast")
        slow, fast = a.at("actor://b/slow"), a.at("actor://b/fast")
        slow.tell(Do("sleep", 100))
        sent = 0
        with trio.move_on_after(10):
            while True:
                await slow.send(Do("note", sent))
                sent += 1
        # In its mailbox, on the way, and no more.
        assert 8 <= sent <= 4 + 8 + 2
        with pytest.raises(MailboxFull):
            slow.tell(Do("note", -1))
        for number in range(1000):
            await fast.send(Do("note", number))
        assert len(await fast.ask(Get())) == 1000
        assert await slow.ask(Get(), timeout=None) == list(range(sent))


async def test_connections_may_break_at_any_time_and_nothing_is_lost_or_doubled(
    autojump_clock: MockClock,
) -> None:
    wires = Wires()
    async with cluster("a", "b", wires=wires) as (a, b):
        b.spawn(Remote, name="there")
        ref = a.at("actor://b/there")

        async def break_often() -> None:
            while True:
                await trio.sleep(0.3)
                await wires.cut("a", "b")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(break_often)
            for number in range(500):
                await ref.send(Do("note", number))
                await trio.sleep(0.01)
            assert await ref.ask(Get(), timeout=60) == list(range(500))
            nursery.cancel_scope.cancel()
        assert wires.connections > 5


async def test_watchers_hear_of_a_stop_a_failure_nobody_and_a_lost_node(
    autojump_clock: MockClock,
) -> None:
    notices: list[Any] = []

    class Watcher(Actor):
        def receive(self, message: Any) -> None:
            if isinstance(message, Terminated):
                notices.append((str(message.ref), message.reason))
            else:
                self.context.watch(message)

    wires = Wires()
    async with cluster("a", "b", wires=wires) as (a, b):
        watcher = a.spawn(Watcher)
        for name in ("stops", "fails", "stays"):
            b.spawn(Remote, name=name)
            watcher.tell(a.at(f"actor://b/{name}"))
        watcher.tell(a.at("actor://b/nobody"))
        watcher.tell(a.at("actor://z/nowhere"))
        await trio.sleep(1)
        a.at("actor://b/stops").tell(Do("stop"))
        a.at("actor://b/fails").tell(Do("fail"))
        await trio.sleep(1)
        await wires.part("a", "b")
        await trio.sleep(100)
        wires.heal("a", "b")
        await trio.sleep(10)
    found = dict(notices)
    assert len(found) == len(notices) == 5
    assert found["actor://b/stops"] is ExitReason.NORMAL
    assert isinstance(found["actor://b/fails"], Failure)
    assert found["actor://b/nobody"] is ExitReason.NO_ACTOR
    assert isinstance(found["actor://z/nowhere"], NodeDown)
    stays = found["actor://b/stays"]
    assert isinstance(stays, NodeDown)
    assert (stays.node, stays.why) == ("b", "it was out of reach for 10 s")


async def test_a_task_watches_actors_of_another_node_and_leaves_nothing_behind(
    autojump_clock: MockClock,
) -> None:
    told: dict[str, Any] = {}
    wires = Wires()
    async with trio.open_nursery() as nursery, cluster("a", "b", wires=wires) as (a, b):
        for name in ("stops", "fails", "stays"):
            b.spawn(Remote, name=name)

        async def watch(address: str) -> None:
            told[address] = await a.watch(a.at(address))

        for name in ("b/stops", "b/fails", "b/stays", "b/nobody", "z/nowhere"):
            nursery.start_soon(watch, f"actor://{name}")
        await trio.sleep(1)
        reasons = {address: notice.reason for address, notice in told.items()}
        assert reasons.pop("actor://b/nobody") is ExitReason.NO_ACTOR
        assert isinstance(reasons.pop("actor://z/nowhere"), NodeDown)
        assert reasons == {}
        a.at("actor://b/stops").tell(Do("stop"))
        a.at("actor://b/fails").tell(Do("fail"))
        await trio.sleep(1)
        assert told["actor://b/stops"].reason is ExitReason.NORMAL
        assert isinstance(told["actor://b/fails"].reason, Failure)
        with trio.move_on_after(1) as scope:
            await a.watch(a.at("actor://b/fails"))
        assert scope.cancelled_caught
        await trio.sleep(1)
        there = b.at("actor://b/fails")
        assert there._rare is None or not there._rare.watchers  # type: ignore[attr-defined]
        await wires.part("a", "b")
        await trio.sleep(100)
        assert isinstance(told["actor://b/stays"].reason, NodeDown)
        # One that is cancelled while the system is left is cancelled, and nothing else.
        nursery.start_soon(watch, "actor://b/stops")
        nursery.start_soon(a.at("actor://b/stops").ask, Get())
        await trio.sleep(1)
        a._transport.leaving = True  # type: ignore[union-attr]
        nursery.cancel_scope.cancel()
        await trio.lowlevel.cancel_shielded_checkpoint()


async def test_what_a_lost_node_had_not_acknowledged_becomes_dead_letters(
    autojump_clock: MockClock,
) -> None:
    wires = Wires()
    async with cluster("a", "b", wires=wires) as (a, b):
        b.spawn(Remote, name="there")
        ref = a.at("actor://b/there")
        await ref.ask(Get())
        await wires.part("a", "b")
        ref.tell(Do("note", 1))
        with pytest.raises(ActorStopped) as caught:
            await ref.ask(Do("note", 2), timeout=None)
        assert caught.value.started
        reasons = [each.reason for each in a.dead_letters.recent]
        assert reasons == [DeadLetterReason.PEER_LOST] * 2
        wires.heal("a", "b")
        # The next session begins anew.
        assert await ref.ask(Get(), timeout=60) == []


async def asked(ref: ActorRef, message: Any) -> bool:
    try:
        await ref.ask(message)
    except ActorStopped:
        return False
    return True


async def test_a_node_that_was_restarted_is_another_one(autojump_clock: MockClock) -> None:
    wires = Wires()
    a = ActorSystem("a", transport=Node(wires.endpoint("a"), peers=["b"]))
    async with a:
        ref = a.at("actor://b/there")
        for incarnation in (1, 2, 3):
            node = Node(wires.endpoint("b"), peers=["a"], incarnation=incarnation)
            with trio.CancelScope() as scope:
                async with ActorSystem("b", transport=node) as b:
                    b.spawn(Remote, name="there")
                    with trio.fail_after(60):
                        # What was sent before it had answered was for the one before it.
                        while not await asked(ref, Do("note", incarnation)):
                            await trio.sleep(0.1)
                    assert await ref.ask(Get(), timeout=60) == [incarnation]
                    # Torn out, without a goodbye.
                    node._scope.cancel()
                    await wires.part("a", "b")
                    wires.heal("a", "b")
                    scope.cancel()
        assert a.ledger.missing == 0


async def test_a_former_incarnation_is_refused_also_after_the_next_one_was_given_up(
    autojump_clock: MockClock,
) -> None:
    wires = Wires()
    async with ActorSystem("a", transport=Node(wires.endpoint("a"), peers=["b"])) as a:
        ref = a.at("actor://b/there")
        for incarnation, answers in ((2, True), (1, False), (2, True)):
            node = Node(wires.endpoint("b"), incarnation=incarnation)
            async with ActorSystem("b", transport=node) as b:
                b.spawn(Remote, name="there")
                await trio.sleep(10)
                try:
                    assert await ref.ask(Get(), timeout=5) == []
                except (ActorStopped, AskTimeout):
                    assert not answers
                else:
                    assert answers
                await wires.part("a", "b")
                # It is given up, and then heard of again.
                await trio.sleep(30)
            wires.heal("a", "b")


async def test_a_fenced_node_says_so_once_and_calls_no_more(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "transports")
    wires = Wires()
    async with ActorSystem("a", transport=Node(wires.endpoint("a"))):
        node = Node(wires.endpoint("b"), peers=["a"], incarnation=2)
        async with ActorSystem("b", transport=node):
            await node.reached("a")
        former = Node(wires.endpoint("b"), peers=["a"], incarnation=1)
        async with ActorSystem("b", transport=former) as b:
            await trio.sleep(5)
            made = wires.connections
            (told,) = [each for each in caplog.records if "fenced" in each.getMessage()]
            assert "incarnation 1 is over: 3 is the least" in told.getMessage()
            assert "start it again" in told.getMessage()
            (peer,) = report_node(b, ready=True).peers
            assert (peer.name, peer.state.partition(":")[0]) == ("a", "fenced")
            await trio.sleep(300)
            assert wires.connections == made
            assert len([each for each in caplog.records if "fenced" in each.getMessage()]) == 1
        newest = Node(wires.endpoint("b"), peers=["a"], incarnation=3)
        async with ActorSystem("b", transport=newest):
            await newest.reached("a")


async def test_a_fenced_node_is_taken_again_by_a_peer_that_calls_and_remembers_nothing(
    autojump_clock: MockClock,
) -> None:
    wires = Wires()
    forgets = trio.Event()

    async def remembering() -> None:
        async with ActorSystem("a", transport=Node(wires.endpoint("a"))):
            await forgets.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(remembering)
        node = Node(wires.endpoint("b"), peers=["a"], incarnation=2)
        async with ActorSystem("b", transport=node):
            await node.reached("a")
        former = Node(wires.endpoint("b"), peers=["a"], incarnation=1)
        async with ActorSystem("b", transport=former):
            await trio.sleep(5)
            link = next(former.links())
            assert link.fenced
            forgets.set()
            await trio.sleep(5)
            again = Node(wires.endpoint("a"), peers=["b"])
            async with ActorSystem("a", transport=again):
                await again.reached("b")
                assert (link.fenced, link.state()) == (False, "connected")


async def test_a_circle_of_asks_through_nodes_fails_at_once(autojump_clock: MockClock) -> None:
    async with cluster("a", "b", "c") as systems:
        for system in systems:
            system.spawn(Remote, name="x")
        a = systems[0]
        for path in (["b", "a"], ["b", "c", "a"], ["b", "c", "b"]):
            begin = trio.current_time()
            refs = [a.at(f"actor://{node}/x") for node in path]
            with pytest.raises(ActorFailed) as caught:
                await a.at("actor://a/x").ask(Through(refs), timeout=100)
            assert trio.current_time() - begin < 5
            text = str(caught.value.cause)
            assert "wait on itself" in text, text
        # And where all begin at once, so that no ask is within another.
        begin = trio.current_time()
        failed = []

        async def ask(one: ActorSystem, next_node: str) -> None:
            ref = one.at(f"actor://{next_node}/x")
            try:
                await one.at(f"actor://{one.name}/x").ask(Through([ref]), timeout=100)
            except ActorFailed as error:
                failed.append(error)

        async with trio.open_nursery() as nursery:
            for one, other in zip(systems, ["b", "c", "a"], strict=True):
                nursery.start_soon(ask, one, other)
        assert trio.current_time() - begin < 5
        assert failed


async def test_stop_and_stopped_reach_the_other_node(autojump_clock: MockClock) -> None:
    async with cluster("a", "b") as (a, b):
        there = b.spawn(Remote, name="there")
        ref = a.at("actor://b/there")
        for number in range(10):
            ref.tell(Do("note", number))
        ref.stop()
        with trio.fail_after(10):
            await ref.stopped()
            await there.stopped()
            await ref.stopped()
        assert b.ledger.handled == 10


@pytest.mark.parametrize("calls", [True, False])
async def test_leaving_a_system_says_goodbye_and_the_peer_knows_at_once(
    autojump_clock: MockClock, calls: bool
) -> None:
    """Also one that only waits to be called."""
    wires = Wires()
    node = Node(wires.endpoint("a"), peers=["b"] if calls else [])
    async with ActorSystem("a", transport=node) as a:
        there = Node(wires.endpoint("b"), peers=["a"], spawnable=[Remote])
        async with ActorSystem("b", transport=there) as b:
            b.spawn(Remote, name="there")
            ref = a.at("actor://b/there")
            await trio.sleep(1)
            await ref.ask(Get())
            assert node.directory.takes == {"b": ("Remote",)}
            begin = trio.current_time()
        # Neither the one that leaves waits, nor the one that is left behind.
        assert trio.current_time() - begin < 0.1
        await trio.sleep(0.1)
        assert node.directory.takes == {}
        with pytest.raises(ActorStopped):
            await ref.ask(Get(), timeout=None)
        # It might have come back.
        assert trio.current_time() - begin < 11


async def test_a_system_that_crashes_ends_its_node(autojump_clock: MockClock) -> None:
    def interrupt(_: Actor) -> None:
        raise KeyboardInterrupt

    network = MemoryNetwork()
    with pytest.raises(BaseExceptionGroup) as caught, trio.fail_after(60):
        async with ActorSystem("a", transport=Node(network.endpoint("a"), peers=["b"])) as system:
            system.spawn(Doer).tell(interrupt)
            await trio.sleep_forever()
    assert caught.group_contains(KeyboardInterrupt)


@pytest.mark.parametrize("where", ["goodbye", "link"])
async def test_an_error_within_leaving_is_raised_and_leaves_nothing_behind(
    where: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    wires = Wires()
    waiting = trio.Event()
    refused: list[str] = []

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    async def ask(ref: ActorRef) -> None:
        waiting.set()
        with pytest.raises(ActorStopped):
            await ref.ask(Do("sleep", 1_000), timeout=None)
        refused.append(str(ref))

    async with trio.open_nursery() as nursery, cluster("b", "c", wires=wires) as others:
        for other in others:
            other.spawn(Remote, name="there")
        node = Node(wires.endpoint("a"), peers=["b", "c"])
        with pytest.raises(ZeroDivisionError, match="a bug"), trio.fail_after(100):
            async with ActorSystem("a", transport=node) as a:
                await a.at("actor://c/there").ask(Get())
                nursery.start_soon(ask, a.at("actor://b/there"))
                nursery.start_soon(ask, a.at("actor://c/there"))
                await waiting.wait()
                await trio.sleep(1)
                link = node._links["b"]
                if where == "goodbye":
                    monkeypatch.setattr(link.session, "close", broken)
                else:
                    monkeypatch.setattr(link.incoming, "lost", broken)
        await trio.sleep(1)
        assert sorted(refused) == ["actor://b/there", "actor://c/there"]
        assert a.ledger.missing == 0
        nursery.cancel_scope.cancel()


async def test_a_receiver_holds_so_many_bytes_and_the_sender_waits(
    autojump_clock: MockClock,
) -> None:
    class Slow(Actor):
        mailbox = Mailbox(capacity=1)

        async def receive(self, message: Any) -> None:
            await trio.sleep(1)

    limits = Limits(window_bytes=10_000)
    async with cluster("a", "b", limits=limits) as (a, b):
        for number in range(5):
            b.spawn(Slow, name=f"slow{number}")
        b.spawn(Remote, name="quick")
        most = 0
        for number in range(20):
            await a.at(f"actor://b/slow{number % 5}").send(Do("x" * 3_000))
            await trio.sleep(0.01)
            incoming = b._transport._links["a"]  # type: ignore[union-attr]
            most = max(most, incoming.session._in._bytes)
        for _ in range(20):
            incoming = b._transport._links["a"]  # type: ignore[union-attr]
            most = max(most, incoming.session._in._bytes)
            # Others are held up by a window that is full, and what they are told arrives.
            await trio.sleep(1)
        assert 10_000 <= most < 10_000 + 3_100
        with trio.fail_after(60):
            assert await a.at("actor://b/quick").ask(Get(), timeout=None) == []
        await trio.sleep(60)
        assert b.ledger.handled == 21


async def test_those_who_wait_for_one_actor_to_stop_are_one_waiter_there(
    autojump_clock: MockClock,
) -> None:
    async with cluster("a", "b") as (a, b):
        there: Any = b.spawn(Remote, name="there")
        ref = a.at("actor://b/there")
        outgoing = a._transport._links["b"].outgoing  # type: ignore[union-attr]
        stopped = 0

        async def wait() -> None:
            nonlocal stopped
            await ref.stopped()
            stopped += 1

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(wait)
            await trio.sleep(1)
            assert len(there._rare.cleanups) == 1
            with trio.move_on_after(1):
                await ref.stopped()
            assert len(there._rare.cleanups) == len(outgoing.stops.by_number) == 1
            nursery.cancel_scope.cancel()
        await trio.sleep(1)
        assert (there._rare.cleanups, outgoing.stops.by_number, outgoing.stops.numbers) == (
            [],
            {},
            {},
        )
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(wait)
            await trio.sleep(1)
            there.stop()
        assert stopped == 50
        assert outgoing.stops.by_number == {}


async def test_a_short_fault_long_ago_is_not_counted_when_nobody_answers(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    wires = Wires()
    async with cluster("a", "b", wires=wires, limits=Limits(lost_after=5.0)):
        for _ in range(3):
            await trio.sleep(20)
            await wires.part("a", "b")
            await trio.sleep(3)
            wires.heal("a", "b")
        await trio.sleep(20)
    assert "nobody has answered" not in caplog.text


async def test_a_system_has_the_node_that_it_was_given() -> None:
    node = Node(Wires().endpoint("a"))
    async with ActorSystem("a", transport=node) as system:
        assert system.transport is node
    assert ActorSystem("b").transport is None
