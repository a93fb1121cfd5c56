"""Dead letters: each reason, what is kept, and who is told."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorStopped,
    AskTimeout,
    DeadLetter,
    DeadLetterReason,
    Mailbox,
)
from tests.actors.kit import Checked, Doer, Recorder, fail, nap, wait


class Small(Recorder):
    mailbox = Mailbox(capacity=1)


async def test_a_dead_letter_has_the_message_the_ref_and_the_reason() -> None:
    async with Checked("s") as system:
        ref = system.spawn(Recorder)
        ref.stop()
        ref.tell("late")
        assert system.dead_letters.recent == (DeadLetter("late", ref, DeadLetterReason.STOPPED),)
        assert system.dead_letters.count == 1


async def test_an_actor_that_is_stopping_takes_no_more() -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        ref = system.spawn(Recorder, log)
        gate = trio.Event()
        ref.tell(gate)
        ref.tell("before")
        await wait_all_tasks_blocked()
        ref.stop()
        ref.tell("after")
        await ref.send("after too")
        gate.set()
    assert log == ["before"]
    assert [(x.message, x.reason) for x in system.dead_letters.recent] == [
        ("after", DeadLetterReason.STOPPED),
        ("after too", DeadLetterReason.STOPPED),
    ]


async def test_what_a_killed_actor_had_not_handled_keeps_its_order_and_its_reasons(
    autojump_clock: Any,
) -> None:
    class Stubborn(Recorder):
        shutdown = 1.0

    async with Checked("s") as system:
        ref = system.spawn(Stubborn)
        never = trio.Event()
        ref.tell(never)
        await wait_all_tasks_blocked()
        for number in range(3):
            ref.tell(number)
        ref.stop()
        await ref.stopped()
        assert [(x.message, x.reason) for x in system.dead_letters.recent] == [
            (never, DeadLetterReason.CANCELLED),
            (0, DeadLetterReason.UNHANDLED_AT_STOP),
            (1, DeadLetterReason.UNHANDLED_AT_STOP),
            (2, DeadLetterReason.UNHANDLED_AT_STOP),
        ]


async def test_what_is_stashed_when_the_actor_stops_is_a_dead_letter() -> None:
    class Stashing(Actor):
        def receive(self, message: Any) -> None:
            self.context.stash()

    async with Checked("s") as system:
        ref = system.spawn(Stashing)
        for number in range(3):
            ref.tell(number)
        await wait_all_tasks_blocked()
        ref.stop()
        await ref.stopped()
        assert [(x.message, x.reason) for x in system.dead_letters.recent] == [
            (number, DeadLetterReason.UNHANDLED_AT_STOP) for number in range(3)
        ]


@pytest.mark.parametrize("overflow", ["reject", "drop_oldest", "drop_newest"])
async def test_a_timer_that_finds_the_mailbox_full_is_a_dead_letter(
    overflow: str, autojump_clock: Any
) -> None:
    class Ticking(Actor):
        mailbox = Mailbox(capacity=1, overflow=overflow)  # type: ignore[arg-type]

        async def receive(self, message: Any) -> None:
            if message == "go":
                for number in range(3):
                    self.context.after(1 + number, number)
                await trio.sleep(10)

    async with Checked("s") as system:
        system.spawn(Ticking).tell("go")
        await trio.sleep(5)
        assert [(x.message, x.reason) for x in system.dead_letters.recent] == {
            "reject": [(n, DeadLetterReason.TIMER_MAILBOX_FULL) for n in (1, 2)],
            "drop_oldest": [(n, DeadLetterReason.DROPPED_OLDEST) for n in (0, 1)],
            "drop_newest": [(n, DeadLetterReason.DROPPED_NEWEST) for n in (1, 2)],
        }[overflow]
        assert system.ledger.rejected == 0


async def test_an_asked_message_is_a_dead_letter_without_its_envelope(autojump_clock: Any) -> None:
    class Stubborn(Recorder):
        shutdown = 1.0

    async with Checked("s") as system:
        ref = system.spawn(Stubborn)
        never = trio.Event()

        async def ask(message: Any, why: str) -> None:
            with pytest.raises(ActorStopped, match=why):
                await ref.ask(message)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, never, "its handler was cancelled")
            await wait_all_tasks_blocked()
            nursery.start_soon(ask, "queued", "stopped before it came to it")
            await wait_all_tasks_blocked()
            ref.stop()
        assert [(x.message, x.reason) for x in system.dead_letters.recent] == [
            (never, DeadLetterReason.CANCELLED),
            ("queued", DeadLetterReason.UNHANDLED_AT_STOP),
        ]


async def test_the_newest_thousand_are_kept_and_all_are_counted() -> None:
    async with Checked("s") as system:
        nobody = system.at("actor://s/nobody")
        for number in range(1_500):
            nobody.tell(number)
        assert [x.message for x in system.dead_letters.recent] == list(range(500, 1_500))
        assert system.dead_letters.count == 1_500
        assert system.ledger.dead == 1_500


async def test_a_subscriber_is_told_of_each_once_and_until_it_unsubscribes() -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        nobody = system.at("actor://s/nobody")
        subscriber = system.spawn(Recorder, log)
        nobody.tell("before")
        system.dead_letters.subscribe(subscriber)
        system.dead_letters.subscribe(subscriber)
        nobody.tell(1)
        await nobody.send(2)
        await wait_all_tasks_blocked()
        assert log == [DeadLetter(n, nobody, DeadLetterReason.NO_ACTOR) for n in (1, 2)]
        system.dead_letters.unsubscribe(subscriber)
        system.dead_letters.unsubscribe(subscriber)
        nobody.tell("after")
        await wait_all_tasks_blocked()
        assert len(log) == 2


async def test_subscribers_are_told_in_the_order_they_subscribed() -> None:
    log: list[Any] = []

    class Named(Actor):
        def receive(self, message: Any) -> None:
            log.append(self.context.ref.name)

    async with Checked("s") as system:
        names = [f"n{n}" for n in (3, 1, 2)]
        for name in names:
            system.dead_letters.subscribe(system.spawn(Named, name=name))
        system.at("actor://s/nobody").tell("x")
        await wait_all_tasks_blocked()
    assert log == names


async def test_a_subscriber_that_is_full_or_gone_does_not_bother_the_sender(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Checked("s") as system:
        nobody = system.at("actor://s/nobody")
        full, gone = system.spawn(Small, name="full"), system.spawn(Recorder)
        gate = trio.Event()
        full.tell(gate)
        await wait_all_tasks_blocked()
        full.tell("fills it")
        gone.stop()
        system.dead_letters.subscribe(full)
        system.dead_letters.subscribe(gone)
        nobody.tell("x")
        assert system.ledger.missing == 0
        assert "actor://s/full could not be told" in caplog.text
        # The letter to the one that is gone is a dead letter too, and about no other.
        assert [type(x.message) for x in system.dead_letters.recent] == [str, DeadLetter]
        gate.set()


async def test_a_subscriber_that_fails_on_dead_letters_causes_no_storm() -> None:
    class Failing(Actor):
        def receive(self, message: Any) -> None:
            raise ValueError("on a dead letter")

    async with Checked("s", max_restarts=None) as system:
        system.dead_letters.subscribe(system.spawn(Failing))
        for number in range(5):
            system.at("actor://s/nobody").tell(number)
        await wait_all_tasks_blocked()
        assert system.ledger.failed == 5
        assert system.dead_letters.count == 5


async def test_each_is_logged_at_info(caplog: pytest.LogCaptureFixture) -> None:
    class BadRepr:
        def __repr__(self) -> str:
            raise ValueError("no repr")

    caplog.set_level(logging.INFO, logger="actors.dead_letters")
    async with Checked("s") as system:
        nobody = system.at("actor://s/nobody")
        nobody.tell("the message")
        nobody.tell(BadRepr())
        nobody.tell("x" * 10_000)
    texts = [record.getMessage() for record in caplog.records if "dead_letters" in record.name]
    assert texts[0] == "'the message' to actor://s/nobody: no actor at that address"
    assert "BadRepr whose repr raised ValueError" in texts[1]
    assert len(texts[2]) < 400


async def test_a_cancelled_handler_of_a_told_message_leaves_a_dead_letter(
    autojump_clock: Any,
) -> None:
    class Brief(Doer):
        shutdown = 1.0

    async with Checked("s") as system:
        ref = system.spawn(Brief)
        sleeping = nap(100)
        ref.tell(sleeping)
        await wait_all_tasks_blocked()
        ref.stop()
        await ref.stopped()
        assert system.dead_letters.recent == (
            DeadLetter(sleeping, ref, DeadLetterReason.CANCELLED),
        )


async def test_a_failed_or_an_expired_message_is_no_dead_letter(autojump_clock: Any) -> None:
    async with Checked("s") as system:
        ref = system.spawn(Doer)
        gate = trio.Event()
        ref.tell(wait(gate))
        with pytest.raises(AskTimeout):
            await ref.ask("expired", timeout=1)
        gate.set()
        ref.tell(fail)
        await wait_all_tasks_blocked()
        assert system.dead_letters.recent == ()
        assert (system.ledger.failed, system.ledger.expired) == (1, 1)
