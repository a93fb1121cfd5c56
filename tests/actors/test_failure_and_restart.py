"""Failures, wherever they happen, and what each decision makes of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorStopped,
    ActorSystem,
    DeadLetterReason,
    Directive,
    Escalate,
    ExitReason,
    Failure,
    Mailbox,
    Reply,
    Restart,
    Resume,
    Stop,
    Terminated,
)
from tests.actors.kit import (
    Checked,
    Doer,
    Parent,
    PlainDoer,
    PlainRecorder,
    Recorder,
    fail,
    wait,
)

BOTH = pytest.mark.parametrize("make", [Doer, PlainDoer])


# -- where a failure can happen


class Noting(Parent):
    """A parent that keeps each Failure."""

    def __init__(self, child: Callable[..., Actor], decision: Any, kept: list[Failure]) -> None:
        self.kept = kept
        super().__init__(child, decision)

    def child_failed(self, child: ActorRef, failure: Failure) -> Directive:
        self.kept.append(failure)
        assert child is self.child is failure.ref
        return super().child_failed(child, failure)


@BOTH
@pytest.mark.parametrize("way", ["tell", "ask", "send"])
async def test_a_failure_in_a_handler_says_who_what_and_when(make: Any, way: str) -> None:
    kept: list[Failure] = []
    async with Checked("s") as system:
        system.spawn(Noting, make, Restart(), kept, name="p")
        child = system.at("actor://s/p/child")
        await child.ask("warm")
        if way == "ask":
            with pytest.raises(ActorFailed):
                await child.ask(fail)
        elif way == "send":
            await child.send(fail)
        else:
            child.tell(fail)
        await wait_all_tasks_blocked()
    (failure,) = kept
    assert failure.during == "receive"
    assert failure.message is fail
    assert failure.incarnation == 1
    assert failure.origin is None
    assert isinstance(failure.exception, ValueError)
    assert failure.describe().startswith(
        "actor://s/p/child (incarnation 1) failed handling <function fail"
    )


async def test_a_failure_in_started_is_a_failure_of_that_incarnation() -> None:
    kept: list[Failure] = []

    class Late(Doer):
        async def started(self) -> None:
            if self.context.incarnation < 3:
                raise KeyError(self.context.incarnation)

    async with Checked("s") as system:
        system.spawn(Noting, Late, Restart(), kept, name="p")
        assert await system.at("actor://s/p/child").ask("hello") == "hello"
    assert [(f.during, f.incarnation, f.exception.args, f.message) for f in kept] == [
        ("started", 1, (1,), None),
        ("started", 2, (2,), None),
    ]
    assert "failed in started" in kept[0].describe()


async def test_a_failure_in_the_constructor_at_a_restart_is_a_failure_too() -> None:
    kept: list[Failure] = []

    class Reluctant(Doer):
        def __init__(self) -> None:
            if self.context.incarnation in (2, 3):
                raise KeyError(self.context.incarnation)

    for decision in (Restart(), Resume()):
        kept.clear()
        async with Checked("s") as system:
            system.spawn(Noting, Reluctant, lambda f, d=decision: restart_first(f, d), kept)
            child = system.children[0]
            child = await child.ask(lambda a: a.child)
            child.tell(fail)
            child.tell("kept")
            assert await child.ask(lambda a: a.context.incarnation) == 4
            assert [(f.during, f.incarnation) for f in kept] == [
                ("receive", 1),
                ("__init__", 2),
                ("__init__", 3),
            ]
            assert system.ledger.restarts == 3
            assert system.ledger.handled == 3


def restart_first(failure: Failure, then: Directive) -> Directive:
    return Restart() if failure.during == "receive" else then


async def test_a_failure_in_stopped_is_logged_and_it_has_stopped_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Untidy(Doer):
        async def stopped(self) -> None:
            raise KeyError("untidy")

    async with Checked("s", max_restarts=0) as system:
        ref = system.spawn(Untidy, name="u")
        ref.stop()
        with trio.fail_after(1):
            await ref.stopped()
        system.spawn(Untidy, name="u")
    assert caplog.text.count("stopped() raised; it has stopped") == 2
    assert "KeyError: 'untidy'" in caplog.text


async def test_a_failure_in_restarting_is_logged_and_the_restart_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Untidy(Doer):
        async def restarting(self, failure: Failure) -> None:
            assert failure.message is fail
            raise KeyError("untidy")

    async with Checked("s", max_restarts=1) as system:
        ref = system.spawn(Untidy)
        ref.tell(fail)
        assert await ref.ask(lambda a: a.context.incarnation) == 2
        assert system.ledger.restarts == 1
    assert "restarting() raised; the restart goes on" in caplog.text


async def test_a_failure_in_a_nursery_child_of_a_handler_is_one_of_the_handler() -> None:
    kept: list[Failure] = []
    cancelled: list[str] = []

    async def raise_soon() -> None:
        await trio.lowlevel.checkpoint()
        raise KeyError("in the nursery")

    async def sleep() -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append("sleeper")

    async def with_nursery(_: Actor) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleep)
            nursery.start_soon(raise_soon)

    async with Checked("s") as system:
        system.spawn(Noting, Doer, Restart(), kept, name="p")
        child = system.at("actor://s/p/child")
        with pytest.raises(ActorFailed) as caught:
            await child.ask(with_nursery)
        assert isinstance(caught.value.cause, ExceptionGroup)
        assert [type(e) for e in caught.value.cause.exceptions] == [KeyError]
        assert cancelled == ["sleeper"]
        assert await child.ask("alive") == "alive"
    assert kept[0].exception is caught.value.cause
    assert kept[0].message is with_nursery


async def test_a_failure_on_a_timers_message_is_an_ordinary_one(autojump_clock: Any) -> None:
    kept: list[Failure] = []
    for make in (Doer, PlainDoer):
        async with Checked("s") as system:
            system.spawn(Noting, make, Restart(), kept, name="p")
            child = system.at("actor://s/p/child")

            def set_timers(actor: Actor) -> None:
                actor.context.after(1, fail)
                actor.context.every(2, lambda _: kept.append("must not fire"))  # type: ignore[arg-type]

            await child.ask(set_timers)
            await trio.sleep(10)
            assert await child.ask(lambda a: a.context.incarnation) == 2
    assert [failure.message for failure in kept] == [fail, fail]


async def test_a_failure_while_draining_stops_the_actor_and_asks_nobody() -> None:
    kept: list[Failure] = []
    for make in (Doer, PlainDoer):
        async with Checked("s") as system:
            system.spawn(Noting, make, Restart(), kept, name="p")
            child = system.at("actor://s/p/child")
            for message in (1, fail, 2, 3):
                child.tell(message)
            child.stop()
            with trio.fail_after(1):
                await child.stopped()
            assert (system.ledger.handled, system.ledger.failed) == (1, 1)
            assert [x.message for x in system.dead_letters.recent] == [2, 3]
    assert kept == []


async def test_a_failure_in_child_failed_is_one_of_the_parent() -> None:
    kept: list[Failure] = []

    class Undecided(Parent):
        def child_failed(self, child: ActorRef, failure: Failure) -> Directive:
            raise KeyError("cannot decide")

    async with Checked("s") as system:

        class Middle(Undecided):
            def __init__(self) -> None:
                super().__init__(Doer, Stop())

        system.spawn(Noting, Middle, Restart(), kept, name="g")
        child = system.at("actor://s/g/child/child")
        child.tell(fail)
        await wait_all_tasks_blocked()
        assert await system.at("actor://s/g/child/child").ask("new one") == "new one"
    (failure,) = kept
    assert failure.during == "child_failed"
    assert isinstance(failure.exception, KeyError)
    assert failure.origin is not None
    assert isinstance(failure.origin.exception, ValueError)
    assert failure.message is None


@pytest.mark.parametrize("wrong", [None, "restart", Restart, 7])
async def test_child_failed_that_returns_no_decision_is_a_failure_of_the_parent(
    wrong: Any,
) -> None:
    kept: list[Failure] = []

    class Wrong(Parent):
        def __init__(self) -> None:
            super().__init__(Doer, wrong if wrong is not Restart else (lambda _: Restart))  # type: ignore[arg-type, return-value]

    async with Checked("s") as system:
        system.spawn(Noting, Wrong, Restart(), kept, name="g")
        system.at("actor://s/g/child/child").tell(fail)
        await wait_all_tasks_blocked()
    assert isinstance(kept[0].exception, TypeError)
    assert "it returns Escalate(), Restart(), Resume() or Stop()" in str(kept[0].exception)


@BOTH
async def test_a_failure_after_the_reply_was_given_does_not_take_it_back(make: Any) -> None:
    async with Checked("s") as system:

        def reply_and_fail(actor: Actor) -> None:
            actor.context.reply_later().reply("given")
            raise ValueError("afterwards")

        ref = system.spawn(make)
        assert await ref.ask(reply_and_fail) == "given"
        assert await ref.ask(lambda a: a.context.incarnation) == 2
        assert system.ledger.failed == 1


@BOTH
async def test_a_handler_that_deferred_and_then_raises_fails_its_asker(make: Any) -> None:
    replies: list[Reply] = []

    def defer_and_fail(actor: Actor) -> None:
        replies.append(actor.context.reply_later())
        raise ValueError("afterwards")

    async with Checked("s") as system:
        ref = system.spawn(make)
        with pytest.raises(ActorFailed) as caught:
            await ref.ask(defer_and_fail)
        assert isinstance(caught.value.cause, ValueError)
        assert replies[0].reply("too late") is False


# -- what is no failure


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("how", ["plain", "async", "waited", "nursery", "asked", "started"])
def test_what_is_no_exception_ends_the_system_without_hanging(
    error: type[BaseException], how: str
) -> None:
    systems: list[ActorSystem] = []
    ended: list[str] = []

    class Quitter(Actor):
        async def receive(self, message: Any) -> None:
            if how == "waited":
                await trio.lowlevel.checkpoint()
            if how == "nursery":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.sleep_forever)
                    nursery.start_soon(self.quit)
            raise error

        async def quit(self) -> None:
            raise error

    class PlainQuitter(Actor):
        def receive(self, message: Any) -> None:
            raise error

    class StartingQuitter(Recorder):
        async def started(self) -> None:
            raise error

    class Sleeper(Actor):
        async def receive(self, message: Any) -> None:
            try:
                await trio.sleep_forever()
            finally:
                ended.append("sleeper")

    async def main() -> None:
        with trio.fail_after(5):
            async with ActorSystem("s") as system:
                systems.append(system)
                system.spawn(Sleeper).tell("sleep")
                await wait_all_tasks_blocked()
                if how in ("plain", "asked"):
                    ref = system.spawn(PlainQuitter)
                elif how == "started":
                    ref = system.spawn(StartingQuitter)
                else:
                    ref = system.spawn(Quitter)
                if how == "asked":
                    await ref.ask("quit")
                else:
                    ref.tell("quit")
                await trio.sleep_forever()

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - which one is asserted below
        trio.run(main)
    assert error in kinds(caught.value)
    assert ended == ["sleeper"]
    with pytest.raises(Exception, match="closed"):
        systems[0].spawn(Doer)


def kinds(error: BaseException) -> set[type[BaseException]]:
    if isinstance(error, BaseExceptionGroup):
        return {kind for each in error.exceptions for kind in kinds(each)}
    return {type(error)}


# -- the decisions


class Stateful(Actor):
    """Has some of everything, to see what a decision keeps."""

    mailbox = Mailbox(capacity=50)
    made = 0

    def __init__(self, log: list[Any], other: ActorRef) -> None:
        self.log = log
        self.state = "new"
        self.other = other

    async def receive(self, message: Any) -> Any:
        match message:
            case "prepare":
                self.state = "changed"
                self.context.spawn(Doer, name="below")
                self.context.watch(self.other)
                self.context.every(1, "beat")
                self.context.become(self.become_handler)
            case "look":
                return (
                    self.state,
                    self.context.incarnation,
                    [ref.name for ref in self.context.children],
                    "receive",
                )
            case "beat" | Terminated():
                self.log.append(type(message).__name__)
        return None

    async def become_handler(self, message: Any) -> Any:
        match message:
            case "stash":
                self.context.stash()
            case "defer":
                self.reply = self.context.reply_later()
            case "fail":
                raise ValueError(message)
            case trio.Event():
                await message.wait()
            case "look":
                return (*(await self.receive(message))[:3], "become")
            case _:
                return await self.receive(message)
        return None


@pytest.mark.parametrize("decision", [Resume(), Restart(), Restart(after=1.0), Stop(), Escalate()])
async def test_what_each_decision_keeps_and_ends(decision: Directive, autojump_clock: Any) -> None:
    log: list[Any] = []
    notices: list[Any] = []
    outcome: list[Any] = []

    class Watcher(Recorder):
        def __init__(self, ref: ActorRef) -> None:
            super().__init__(notices)
            self.context.watch(ref)

    class Child(Stateful):
        def __init__(self) -> None:
            super().__init__(log, other)

    async with Checked("s") as system, trio.open_nursery() as nursery:
        other = system.spawn(Doer)
        parent = system.spawn(Parent, Child, decision)
        child = await parent.ask(lambda actor: actor.child)
        await child.ask("prepare")
        child.tell("stash")

        async def ask(message: str) -> None:
            try:
                outcome.append((message, await child.ask(message, timeout=100)))
            except (ActorFailed, ActorStopped) as error:
                outcome.append((message, type(error)))

        nursery.start_soon(ask, "defer")
        await wait_all_tasks_blocked()
        system.spawn(Watcher, child)
        await wait_all_tasks_blocked()
        gate = trio.Event()
        child.tell(gate)
        await wait_all_tasks_blocked()
        child.tell("fail")
        nursery.start_soon(ask, "look")
        await wait_all_tasks_blocked()
        gate.set()
        await trio.sleep(1.5)
        log.clear()
        other.stop()
        await trio.sleep(3)
        beats = log.count("str")
        told = "Terminated" in log
        stashed = system.ledger.queued
        if isinstance(decision, Resume):
            assert outcome == [("look", ("changed", 1, ["below"], "become"))]
            assert (beats, told, stashed, notices) == (3, True, 1, [])
            nursery.cancel_scope.cancel()
            return
        assert (beats, told, stashed) == (0, False, 0)
        if isinstance(decision, Restart):
            assert dict(outcome) == {"defer": ActorFailed, "look": ("new", 2, [], "receive")}
            assert system.ledger.dead == 0
        elif isinstance(decision, Stop):
            assert dict(outcome) == {"defer": ActorFailed, "look": ActorStopped}
            assert [(x.message, x.reason) for x in system.dead_letters.recent] == [
                ("stash", DeadLetterReason.UNHANDLED_AT_STOP),
                ("look", DeadLetterReason.UNHANDLED_AT_STOP),
            ]
        else:
            # The parent has failed; it was restarted by the root, and so is not the same child.
            assert {what for what, _ in outcome} == {"defer", "look"}
            assert all(error in (ActorFailed, ActorStopped) for _, error in outcome)
            assert await parent.ask(lambda a: a.context.incarnation) == 2
            assert await parent.ask(lambda a: a.child) is not child
        (notice,) = notices
        assert notice.ref is child
        if not isinstance(decision, Escalate):
            assert isinstance(notice.reason, Failure)


@BOTH
async def test_the_mailbox_survives_a_restart_in_order_and_the_failed_message_does_not(
    make: Any,
) -> None:
    log: list[Any] = []
    async with Checked("s", max_restarts=None) as system:
        ref = system.spawn(PlainRecorder if make is PlainDoer else Recorder, log)
        for number in range(200):
            ref.tell(ValueError(number) if number % 10 == 3 else number)
        await wait_all_tasks_blocked()
    assert log == [number for number in range(200) if number % 10 != 3]
    assert system.ledger.restarts == 20


async def test_a_delayed_restart_waits_with_the_mailbox_kept(autojump_clock: Any) -> None:
    log: list[Any] = []

    class Timed(Recorder):
        def __init__(self) -> None:
            super().__init__(log)
            log.append(("made", round(trio.current_time() - began, 3)))

    async with Checked("s") as system:
        began = trio.current_time()
        parent = system.spawn(Parent, Timed, Restart(after=2.5))
        child = await parent.ask(lambda a: a.child)
        for message in (1, ValueError(), 2):
            child.tell(message)
        await trio.sleep(1)
        child.tell(3)
        assert log == [("made", 0), 1]
        assert system.ledger.queued == 2
        await trio.sleep(2)
        assert log == [("made", 0), 1, ("made", 2.5), 2, 3]


async def test_a_stop_during_a_delayed_restart_is_immediate(autojump_clock: Any) -> None:
    async with Checked("s") as system:
        parent = system.spawn(Parent, Doer, Restart(after=100))
        child = await parent.ask(lambda a: a.child)
        child.tell(fail)
        child.tell("queued")
        await wait_all_tasks_blocked()
        child.stop()
        before = trio.current_time()
        await child.stopped()
        assert trio.current_time() == before
        assert [x.message for x in system.dead_letters.recent] == ["queued"]


def test_a_negative_delay_is_refused() -> None:
    with pytest.raises(ValueError, match="must be >= 0"):
        Restart(after=-1)


@pytest.mark.parametrize("when", ["deciding", "restarting", "starting"])
async def test_a_stop_in_the_middle_of_a_restart_takes_effect(
    when: str, autojump_clock: Any
) -> None:
    gate = trio.Event()

    class Slow(Doer):
        async def restarting(self, failure: Failure) -> None:
            if when == "restarting":
                await gate.wait()

        async def started(self) -> None:
            if when == "starting" and self.context.incarnation == 2:
                await gate.wait()

    async with Checked("s") as system:
        parent = system.spawn(Parent, Slow, Restart())
        child = await parent.ask(lambda a: a.child)
        if when == "deciding":
            parent.tell(wait(gate))
            await wait_all_tasks_blocked()
        child.tell(fail)
        await wait_all_tasks_blocked()
        child.stop()
        before = trio.current_time()
        gate.set()
        await child.stopped()
        assert trio.current_time() == before


async def test_incarnations_never_overlap(autojump_clock: Any) -> None:
    """With hooks that wait, children that take their time, and failures in quick succession."""
    alive: list[str] = []
    most = 0

    class Lower(Doer):
        async def stopped(self) -> None:
            await trio.sleep(0.3)
            alive.remove("lower")

        def __init__(self) -> None:
            alive.append("lower")

    class Careful(Actor):
        def __init__(self) -> None:
            nonlocal most
            alive.append("upper")
            self.context.spawn(Lower)
            most = max(most, len(alive))

        async def started(self) -> None:
            await trio.sleep(0.1)

        async def receive(self, message: Any) -> None:
            await trio.sleep(0.1)
            raise ValueError(message)

        async def restarting(self, failure: Failure) -> None:
            assert alive == ["upper"]
            await trio.sleep(0.2)
            alive.remove("upper")

        async def stopped(self) -> None:
            alive.remove("upper")

    async with Checked("s", max_restarts=None) as system:
        ref = system.spawn(Careful)
        for number in range(10):
            ref.tell(number)
        await trio.sleep(30)
        assert system.ledger.restarts == 10
    assert most == 2
    assert alive == []


@pytest.mark.parametrize("depth", [1, 2, 5])
async def test_an_escalation_reaches_the_first_parent_that_decides(depth: int) -> None:
    kept: list[Failure] = []

    class Link(Doer):
        def __init__(self, below: int) -> None:
            if below:
                self.context.spawn(Link, below - 1, name="link")

    class Top(Doer):
        def __init__(self) -> None:
            self.context.spawn(Link, depth, name="link")

        def child_failed(self, child: ActorRef, failure: Failure) -> Directive:
            kept.append(failure)
            return Restart()

    async with Checked("s", max_restarts=0) as system:
        system.spawn(Top, name="top")
        path = "actor://s/top" + "/link" * (depth + 1)
        old = system.at(path)
        old.tell(fail)
        await wait_all_tasks_blocked()
        assert system.at(path) is not old
        assert await system.at(path).ask("new") == "new"
    failure = kept[0]
    chain = [failure]
    while failure.origin is not None:
        failure = failure.origin
        chain.append(failure)
    assert [f.during for f in chain] == ["escalated"] * depth + ["receive"]
    assert len({id(f.exception) for f in chain}) == 1
    assert str(chain[-1].ref) == path


async def test_a_failure_of_one_child_does_not_touch_its_siblings() -> None:
    class Family(Doer):
        def __init__(self) -> None:
            self.children = [self.context.spawn(Doer) for _ in range(5)]

        def child_failed(self, child: ActorRef, failure: Failure) -> Directive:
            return Restart()

    async with Checked("s") as system:
        children = await system.spawn(Family).ask(lambda a: a.children)
        children[2].tell(fail)
        await wait_all_tasks_blocked()
        incarnations = [await c.ask(lambda a: a.context.incarnation) for c in children]
        assert incarnations == [1, 1, 2, 1, 1]


async def test_a_parent_that_is_stopping_does_not_decide_any_more(autojump_clock: Any) -> None:
    kept: list[Failure] = []

    async def sleep_and_fail(_: Actor) -> None:
        await trio.sleep(1)
        raise ValueError("late")

    async with Checked("s") as system:
        parent = system.spawn(Noting, Doer, Restart(), kept)
        child = await parent.ask(lambda a: a.child)
        child.tell(sleep_and_fail)
        child.tell("queued")
        await wait_all_tasks_blocked()
        parent.stop()
        with trio.fail_after(3):
            await parent.stopped()
        assert [x.message for x in system.dead_letters.recent] == ["queued"]
    assert kept == []


# -- the root's limit


@BOTH
@pytest.mark.parametrize("most", [0, 1, 3])
async def test_the_root_restarts_exactly_so_often(make: Any, most: int) -> None:
    systems: list[ActorSystem] = []

    async def body() -> None:
        async with Checked("demo", max_restarts=most) as system:
            systems.append(system)
            ref = system.spawn(make, name="fragile")
            for number in range(most):
                with pytest.raises(ActorFailed):
                    await ref.ask(fail)
                assert await ref.ask(lambda a: a.context.incarnation) == number + 2
            ref.tell(fail)
            await trio.sleep_forever()

    with trio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
        await body()
    (error,) = caught.value.exceptions
    assert isinstance(error, ValueError)
    assert "actor system 'demo' failed" in str(caught.value)
    (note,) = error.__notes__
    assert "actor://demo/fragile" in note
    assert f"incarnation {most + 1}" in note
    assert "fail" in note
    assert systems[0].ledger.restarts == most


async def test_the_limit_counts_all_top_level_actors_together() -> None:
    async def body() -> None:
        async with Checked("s", max_restarts=2) as system:
            for ref in [system.spawn(Doer) for _ in range(3)]:
                ref.tell(fail)
            await trio.sleep_forever()

    with trio.fail_after(5), pytest.raises(ExceptionGroup):
        await body()


async def test_the_limit_counts_only_within_its_window(autojump_clock: Any) -> None:
    async def body(gap: float) -> int:
        survived = 0
        async with Checked("s", max_restarts=2, within=10) as system:
            ref = system.spawn(Doer)
            for _ in range(12):
                ref.tell(fail)
                await trio.sleep(gap)
                survived += 1
        return survived

    # Two in any ten seconds: at 5 s apart, the first is just out of the window at the third.
    assert await body(5.0) == 12
    with pytest.raises(ExceptionGroup):
        await body(4.99)


async def test_the_window_is_exact_at_its_edge(autojump_clock: Any) -> None:
    async def body(third: float) -> None:
        async with Checked("s", max_restarts=2, within=10) as system:
            ref = system.spawn(Doer)
            ref.tell(fail)
            await trio.sleep(8)
            ref.tell(fail)
            await trio.sleep(third - 8)
            ref.tell(fail)
            await trio.sleep(1)

    await body(10.001)
    with pytest.raises(ExceptionGroup):
        await body(9.999)


async def test_without_a_limit_there_is_none() -> None:
    async with Checked("s", max_restarts=None) as system:
        ref = system.spawn(PlainDoer)
        for _ in range(500):
            ref.tell(fail)
        await wait_all_tasks_blocked()
        assert system.ledger.restarts == 500


async def test_children_do_not_count_against_the_roots_limit() -> None:
    async with Checked("s", max_restarts=0) as system:
        parent = system.spawn(Parent, Doer, Restart())
        child = await parent.ask(lambda a: a.child)
        for _ in range(20):
            child.tell(fail)
        await wait_all_tasks_blocked()
        assert system.ledger.restarts == 20


async def test_a_failing_system_has_notes_for_each_actor_it_went_through() -> None:
    class Leaf(Doer):
        pass

    class Root(Doer):
        def __init__(self) -> None:
            self.context.spawn(Leaf, name="leaf")

    async def body() -> None:
        async with Checked("demo", max_restarts=0) as system:
            system.spawn(Root, name="root")
            system.at("actor://demo/root/leaf").tell(fail)
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await body()
    notes = caught.value.exceptions[0].__notes__
    assert len(notes) == 2
    assert notes[0].startswith("actor://demo/root/leaf (incarnation 1) failed handling")
    assert notes[1].startswith(
        "actor://demo/root (incarnation 1) failed with actor://demo/root/leaf"
    )


async def test_a_failing_system_cancels_its_body_and_its_actors(autojump_clock: Any) -> None:
    ended: list[str] = []

    async def sleep(name: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(name)

    class Hooked(Doer):
        async def stopped(self) -> None:
            await trio.sleep(1)
            ended.append("hook")

    async def body() -> None:
        async with Checked("s", max_restarts=0) as system:
            system.spawn(Hooked).tell(lambda _: sleep("handler"))
            await wait_all_tasks_blocked()
            system.spawn(Doer).tell(fail)
            await sleep("body")

    with pytest.raises(ExceptionGroup):
        await body()
    assert ended[0] == "body"
    assert sorted(ended) == ["body", "handler", "hook"]
    assert trio.current_time() == pytest.approx(1, abs=0.01)


async def test_a_body_that_raises_as_well_is_in_the_group() -> None:
    async def body() -> None:
        async with Checked("s", max_restarts=0) as system:
            system.spawn(Doer).tell(fail)
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError("of the body")

    with pytest.raises(ExceptionGroup) as caught:
        await body()
    assert kinds(caught.value) == {ValueError, KeyError}


async def test_a_failing_system_can_be_caught_with_except_star() -> None:
    seen: list[BaseException] = []
    try:
        async with Checked("s", max_restarts=0) as system:
            system.spawn(Doer).tell(fail)
            await trio.sleep_forever()
    except* ValueError as group:
        seen.extend(group.exceptions)
    assert len(seen) == 1


@pytest.mark.parametrize(
    "limits",
    [
        {"max_restarts": -1},
        {"max_restarts": 1.5},
        {"max_restarts": True},
        {"within": 0},
        {"within": -1},
        {"stop_within": -1},
        {"stop_within": float("nan")},
    ],
)
def test_a_limit_that_is_none_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="|".join(limits)):
        ActorSystem("s", **limits)


@pytest.mark.parametrize("transport", ["127.0.0.1:7400", Actor])
def test_what_is_no_transport_is_refused_with_what_is_one(transport: Any) -> None:
    with pytest.raises(TypeError, match=r"transport is a node of the `transports` package"):
        ActorSystem("s", transport=transport)


async def test_a_restart_is_logged_with_the_failure(caplog: pytest.LogCaptureFixture) -> None:
    async with Checked("s") as system:
        system.spawn(Doer, name="d").tell(fail)
        await wait_all_tasks_blocked()
    (record,) = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert record.name == "actors"
    assert "actor://s/d (incarnation 1) failed handling" in record.getMessage()
    assert record.getMessage().endswith("; it is restarted")
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


async def test_an_actor_that_was_restarted_still_ends_normally() -> None:
    log: list[Any] = []

    class Hooked(Doer):
        async def stopped(self) -> None:
            log.append(("stopped", self.context.incarnation))

    class Watcher(Recorder):
        def __init__(self, ref: ActorRef) -> None:
            super().__init__(log)
            self.context.watch(ref)

    async with Checked("s") as system:
        ref = system.spawn(Hooked)
        ref.tell(fail)
        await wait_all_tasks_blocked()
        system.spawn(Watcher, ref)
        ref.stop()
        await ref.stopped()
        await wait_all_tasks_blocked()
    assert log == [("stopped", 2), Terminated(ref, ExitReason.NORMAL)]
