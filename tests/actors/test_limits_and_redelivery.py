"""Limits of time on handlers and hooks; messages that fail again and again; what is left open."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorFailed,
    DeadLetterReason,
    Failure,
    HandlerTimeout,
    LeftOpen,
    Restart,
    Resume,
    Stop,
)
from tests.actors.kit import Checked, Doer, Parent, PlainDoer, fail, nap

# -- handlers


class Limited(Doer):
    handle_within = 2.0


async def test_a_handler_that_takes_too_long_is_cancelled_and_its_actor_fails(
    autojump_clock: Any,
) -> None:
    log: list[str] = []

    async def slow(_: Any) -> None:
        try:
            await trio.sleep(10)
        finally:
            log.append("cleaned up")

    async with Checked("s") as system:
        ref = system.spawn(Limited)
        with pytest.raises(ActorFailed) as caught:
            await ref.ask(slow, timeout=None)
        assert isinstance(caught.value.cause, HandlerTimeout)
        assert caught.value.cause.seconds == 2
        assert caught.value.cause.ref is ref
        assert log == ["cleaned up"]
        assert trio.current_time() == pytest.approx(2)
        assert await ref.ask(lambda actor: actor.context.incarnation) == 2
        assert system.ledger.failed == 1


@pytest.mark.parametrize("how", ["nursery", "ask", "swallows"])
async def test_the_limit_holds_whatever_the_handler_waits_for(
    how: str, autojump_clock: Any
) -> None:
    async with Checked("s") as system:
        slow = system.spawn(Doer)

        async def handler(_: Any) -> None:
            if how == "nursery":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.sleep, 10)
                    nursery.start_soon(trio.sleep, 20)
            elif how == "ask":
                await slow.ask(nap(10), timeout=None)
            else:
                with trio.CancelScope(shield=True):
                    await trio.sleep(3)
                await trio.sleep(10)

        ref = system.spawn(Limited)
        with pytest.raises(ActorFailed, match="took longer than 2 s"):
            await ref.ask(handler, timeout=None)
        assert trio.current_time() == pytest.approx(3 if how == "swallows" else 2)


async def test_a_handler_in_time_and_its_own_timeouts_are_left_alone(autojump_clock: Any) -> None:
    async def own(_: Any) -> str:
        with trio.move_on_after(1):
            await trio.sleep(10)
        return "moved on"

    async with Checked("s") as system:
        ref = system.spawn(Limited)
        assert await ref.ask(nap(1.9), timeout=None) is None
        assert await ref.ask(own) == "moved on"
        with pytest.raises(ActorFailed, match="took longer"):
            await ref.ask(lambda actor: actor.context.become(nap_as_handler))
            await ref.ask("x", timeout=None)
        assert system.ledger.restarts == 1


async def nap_as_handler(_: Any) -> None:
    await trio.sleep(5)


def test_a_limit_that_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="a plain handler cannot be cancelled"):

        class Plain(PlainDoer):
            handle_within = 1.0

    with pytest.raises(ValueError, match="handle_within"):

        class Zero(Doer):
            handle_within = 0.0

    with pytest.raises(ValueError, match="redeliver is an int"):

        class Negative(Doer):
            redeliver = -1


async def test_restarting_is_cut_after_its_time_and_that_is_said(
    autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Slow(Doer):
        shutdown = 3.0

        async def restarting(self, failure: Failure) -> None:
            await trio.sleep_forever()

    async with Checked("s") as system:
        ref = system.spawn(Slow)
        ref.tell(fail)
        assert await ref.ask(lambda actor: actor.context.incarnation) == 2
        assert trio.current_time() == pytest.approx(3)
    assert "restarting() took longer than 3 s" in caplog.text


# -- redelivery


class Poisoned(Doer):
    redeliver = 2


class PlainPoisoned(PlainDoer):
    redeliver = 2


class Flaky:
    """Called as a message: fails so many times."""

    def __init__(self, failures: int, log: list[Any]) -> None:
        self.failures = failures
        self.log = log

    def __call__(self, actor: Actor) -> None:
        self.log.append(("flaky", actor.context.incarnation))
        if self.failures:
            self.failures -= 1
            raise ValueError("once more")


@pytest.mark.parametrize("cls", [Poisoned, PlainPoisoned])
async def test_a_failed_message_is_handled_once_more_before_all_that_wait(
    cls: type[Actor],
) -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        ref = system.spawn(cls)
        ref.tell(Flaky(2, log))
        ref.tell(lambda actor: log.append("behind"))
        await wait_all_tasks_blocked()
        assert log == [("flaky", 1), ("flaky", 2), ("flaky", 3), "behind"]
        ledger = system.ledger
        assert (ledger.sent, ledger.handled, ledger.failed, ledger.dead) == (2, 2, 0, 0)


@pytest.mark.parametrize("cls", [Poisoned, PlainPoisoned])
async def test_after_the_last_time_it_is_a_dead_letter_with_its_failures(
    cls: type[Actor],
) -> None:
    log: list[Any] = []
    async with Checked("s", max_restarts=None) as system:
        ref = system.spawn(cls)
        poison = Flaky(99, log)
        ref.tell(poison)
        ref.tell(lambda actor: log.append("behind"))
        await wait_all_tasks_blocked()
        assert log == [("flaky", 1), ("flaky", 2), ("flaky", 3), "behind"]
        (letter,) = system.dead_letters.recent
        assert letter.message is poison
        assert letter.reason is DeadLetterReason.FAILED_TOO_OFTEN
        assert [failure.incarnation for failure in letter.failures] == [1, 2, 3]
        assert all(isinstance(failure.exception, ValueError) for failure in letter.failures)
        # The same object, sent anew, has as many chances again.
        ref.tell(poison)
        await wait_all_tasks_blocked()
        assert len(log) == 7


async def test_without_asking_for_it_nothing_is_handled_twice() -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        ref = system.spawn(Doer)
        ref.tell(Flaky(1, log))
        await wait_all_tasks_blocked()
        assert log == [("flaky", 1)]
        assert system.ledger.failed == 1


async def test_who_asks_is_told_at_once_and_nothing_is_redelivered() -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        ref = system.spawn(Poisoned)
        with pytest.raises(ActorFailed):
            await ref.ask(Flaky(1, log))
        await wait_all_tasks_blocked()
        assert log == [("flaky", 1)]


@pytest.mark.parametrize(("decision", "times"), [(Resume(), 3), (Restart(0.5), 3), (Stop(), 1)])
async def test_redelivery_follows_the_parents_decision(
    decision: Any, times: int, autojump_clock: Any
) -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        await system.start(Parent, Poisoned, decision, name="parent")
        child = system.at("actor://s/parent/child")
        child.tell(Flaky(99, log))
        await trio.sleep(5)
        assert len(log) == times
        (letter,) = system.dead_letters.recent
        assert letter.reason is (
            DeadLetterReason.UNHANDLED_AT_STOP
            if isinstance(decision, Stop)
            else DeadLetterReason.FAILED_TOO_OFTEN
        )


# -- what a handler leaves open


async def helper() -> None:
    await trio.sleep(0.05)
    raise KeyError("in the helper")


async def opens_a_nursery(_: Any) -> str:
    nursery = await trio.open_nursery().__aenter__()
    nursery.start_soon(helper)
    return "left open"


async def opens_a_nursery_and_waits(actor: Any) -> str:
    await opens_a_nursery(actor)
    await trio.lowlevel.checkpoint()
    return "left open"


async def opens_a_scope(_: Any) -> str:
    trio.CancelScope().__enter__()
    return "left open"


@pytest.mark.parametrize("leaves", [opens_a_nursery, opens_a_nursery_and_waits, opens_a_scope])
async def test_a_handler_that_leaves_a_nursery_or_scope_open_fails_its_own_actor_only(
    leaves: Any,
) -> None:
    failures: list[Failure] = []

    def decide(failure: Failure) -> Restart:
        failures.append(failure)
        return Restart()

    async with Checked("s") as system:
        await system.start(Parent, Doer, decide, name="parent")
        other = system.spawn(Doer)
        child = system.at("actor://s/parent/child")
        assert await child.ask(leaves) == "left open"
        await wait_all_tasks_blocked()
        assert await child.ask(lambda actor: actor.context.incarnation) == 2
        assert await other.ask("alive") == "alive"
        assert isinstance(failures[0].exception, LeftOpen)
        for ref in (child, other):
            assert await ref.ask(nap(0)) is None


async def test_what_a_helper_raised_that_was_left_behind_is_the_cause() -> None:
    failures: list[Failure] = []

    def decide(failure: Failure) -> Restart:
        failures.append(failure)
        return Restart()

    async def raises_in_finally() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("in the helper")

    async def leaves(_: Any) -> None:
        nursery = await trio.open_nursery().__aenter__()
        nursery.start_soon(raises_in_finally)
        await trio.lowlevel.checkpoint()

    async with Checked("s") as system:
        await system.start(Parent, Doer, decide, name="parent")
        system.at("actor://s/parent/child").tell(leaves)
        await wait_all_tasks_blocked()
        cause = failures[0].exception.__cause__
        assert isinstance(cause, ExceptionGroup)
        assert isinstance(cause.exceptions[0], KeyError)


async def test_a_nursery_that_started_leaves_open_fails_the_start_of_that_actor() -> None:
    class Leaves(Doer):
        async def started(self) -> None:
            self.nursery = await trio.open_nursery().__aenter__()
            self.nursery.start_soon(trio.sleep_forever)

    async with Checked("s", max_restarts=2) as system:
        other = system.spawn(Doer)
        with pytest.raises(ExceptionGroup) as caught:
            async with Checked("inner", max_restarts=2) as inner:
                inner.spawn(Leaves)
                await trio.sleep_forever()
        assert caught.group_contains(LeftOpen)
        assert await other.ask("alive") == "alive"
