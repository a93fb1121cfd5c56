"""Publish and subscribe."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    ActorStopped,
    AskTimeout,
    DeadLetterReason,
    InvalidAddress,
    Mailbox,
    NotAskable,
    Published,
    Restart,
    TopicRef,
)
from supervision import RateLimit
from tests.actors.kit import Checked, Doer, Parent, PlainRecorder, Recorder, fail, nap


class Small(Recorder):
    mailbox = Mailbox(capacity=1)


def topic(system: Any, name: str) -> TopicRef:
    ref = system.at(f"topic://{name}")
    assert isinstance(ref, TopicRef)
    return ref


async def test_every_subscriber_whose_pattern_matches_gets_it_once_in_order() -> None:
    log: list[Any] = []

    class Named(PlainRecorder):
        def receive(self, message: Any) -> None:
            log.append((self.context.ref.name, message))

    async with Checked("s") as system:
        for name, patterns in {
            "all": ["**"],
            "eu": ["orders.eu.*", "orders.eu.**", "orders.*.new"],
            "new": ["orders.*.new"],
            "us": ["orders.us.**"],
        }.items():
            ref = system.spawn(Named, name=name)
            for pattern in patterns:
                system.subscribe(f"topic://{pattern}", ref)
                system.subscribe(f"topic://{pattern}", ref)
        new = topic(system, "orders.eu.new")
        for number in range(3):
            assert new.publish(number) == Published(3, 3, 0)
        await wait_all_tasks_blocked()
        for name in ("all", "eu", "new"):
            assert [number for who, number in log if who == name] == [0, 1, 2]
        assert not [each for each in log if each[0] == "us"]
        # In the order in which they subscribed.
        assert [who for who, _ in log][:3] in (["all", "all", "all"], ["all", "eu", "new"])


async def test_subscriptions_end_with_unsubscribe_or_with_the_actor_and_outlive_restarts() -> None:
    async with Checked("s") as system:
        parent = await system.start(Parent, Doer, Restart(), name="parent")
        child = system.at("actor://s/parent/child")
        system.subscribe("topic://a.*", child)
        system.subscribe("topic://b", child)
        a, b = topic(system, "a.x"), topic(system, "b")
        child.tell(fail)
        await wait_all_tasks_blocked()
        assert a.publish("x").matched == 1
        system.unsubscribe("topic://a.*", child)
        system.unsubscribe("topic://never", child)
        assert (a.publish("x").matched, b.publish("x").matched) == (0, 1)
        parent.stop()
        await parent.stopped()
        assert b.publish("x").matched == 0
        with pytest.raises(ActorStopped, match="cannot be registered"):
            system.subscribe("topic://b", child)


async def test_a_full_subscriber_is_a_refusal_and_a_dead_letter_and_stops_nobody() -> None:
    log: list[Any] = []
    gate = trio.Event()
    async with Checked("s") as system:
        full, free = system.spawn(Small), system.spawn(Recorder, log)
        full.tell(gate)
        await wait_all_tasks_blocked()
        full.tell("fills it")
        for ref in (full, free):
            system.subscribe("topic://t", ref)
        assert topic(system, "t").publish("x") == Published(2, 1, 1)
        assert [each.reason for each in system.dead_letters.recent] == [
            DeadLetterReason.SUBSCRIBER_FULL
        ]
        assert system.ledger.rejected == 0
        gate.set()
    assert log == ["x"]


async def test_telling_to_a_topic_without_subscribers_is_a_dead_letter() -> None:
    async with Checked("s") as system:
        ref = topic(system, "nobody")
        ref.tell("x")
        await ref.send("y")
        assert ref.publish("z") == Published(0, 0, 0)
        assert [(each.message, each.reason) for each in system.dead_letters.recent] == [
            ("x", DeadLetterReason.NO_SUBSCRIBER),
            ("y", DeadLetterReason.NO_SUBSCRIBER),
        ]


async def test_send_waits_for_the_slowest_subscriber(autojump_clock: Any) -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        slow, quick = system.spawn(Small), system.spawn(Recorder, log)
        gate = trio.Event()
        slow.tell(gate)
        await wait_all_tasks_blocked()
        slow.tell("fills it")
        for ref in (quick, slow):
            system.subscribe("topic://t", ref)
        with trio.move_on_after(5) as limit:
            await topic(system, "t").send("x")
        assert limit.cancelled_caught
        gate.set()
        await topic(system, "t").send("y")
        assert log == ["x", "y"]


async def test_gathering_the_replies_of_all(autojump_clock: Any) -> None:
    async with Checked("s", max_restarts=None) as system:
        refs = [system.spawn(Doer) for _ in range(3)]
        for ref in refs:
            system.subscribe("topic://t", ref)
        slow = refs[1]
        slow.tell(nap(100))
        await wait_all_tasks_blocked()
        gathered = await topic(system, "t").gather("x", timeout=2)
        assert gathered.replies == {refs[0]: "x", refs[2]: "x"}
        assert isinstance(gathered.errors[slow], AskTimeout)
        assert trio.current_time() == pytest.approx(2)
        with pytest.raises(NotAskable, match="gather"):
            await topic(system, "t").ask("x")


async def test_wrapped_refs_subscribe_and_what_is_no_actor_does_not(autojump_clock: Any) -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        limited = RateLimit(system.spawn(Recorder, log), rate=1, per=10)
        system.subscribe("topic://t", limited)
        await topic(system, "t").send(1)
        await topic(system, "t").send(2)
        assert trio.current_time() == pytest.approx(10)
        for wrong in (topic(system, "u"), system.at("service://u")):
            with pytest.raises(TypeError, match="no ref of one actor"):
                system.subscribe("topic://t", wrong)
        with pytest.raises(InvalidAddress, match="a topic:// address is needed"):
            system.subscribe("queue://t", limited)
        for method in (topic(system, "t").stop,):
            with pytest.raises(TypeError, match="is a topic"):
                method()
        limited.ref.tell("directly")
        await trio.sleep(10)
        topic(system, "t").tell(3)
        assert topic(system, "t").publish(4) == Published(1, 0, 1)
        assert [(each.ref, each.message) for each in system.dead_letters.recent] == [(limited, 4)]
    assert log == [1, 2, "directly", 3]


async def test_an_actor_may_publish_to_itself_and_change_subscriptions_meanwhile() -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        ref = system.spawn(Doer)

        def publish(actor: Any) -> Published:
            system.subscribe("topic://t", actor.context.ref)
            report = topic(system, "t").publish(lambda _: log.append("published"))
            system.unsubscribe("topic://t", actor.context.ref)
            return report

        assert await ref.ask(publish) == Published(1, 1, 0)
        assert await ref.ask("after") == "after"
    assert log == ["published"]
