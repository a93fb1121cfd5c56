"""How actors end, one by one and all together, and what is left then: nothing."""

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
    ExitReason,
    NotRunning,
    SystemClosed,
    Terminated,
)
from tests.actors.kit import (
    Checked,
    Doer,
    PlainDoer,
    Recorder,
    all_tasks,
    fail,
    nap,
    wait,
)


class Noting(Doer):
    """Notes its end, after a while if wished."""

    def __init__(self, log: list[str], name: str, seconds: float = 0.0) -> None:
        self.log = log
        self.name = name
        self.seconds = seconds

    async def stopped(self) -> None:
        if self.seconds:
            await trio.sleep(self.seconds)
        self.log.append(self.name)


async def stop(ref: ActorRef) -> None:
    ref.stop()
    await ref.stopped()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


# -- one actor


@pytest.mark.parametrize("make", [Doer, PlainDoer])
async def test_what_was_queued_is_handled_before_the_stop_and_the_rest_is_not(make: Any) -> None:
    log: list[int] = []
    async with Checked("s") as system:
        ref = system.spawn(make)
        for number in range(200):
            ref.tell(lambda _, n=number: log.append(n))
        ref.stop()
        for number in range(200, 210):
            ref.tell(lambda _, n=number: log.append(n))
        await ref.stopped()
        assert log == list(range(200))
        assert system.dead_letters.count == 10
        assert {x.reason for x in system.dead_letters.recent} == {DeadLetterReason.STOPPED}


@pytest.mark.parametrize("make", [Doer, PlainDoer])
async def test_a_stop_of_an_idle_actor_needs_no_time(make: Any, autojump_clock: Any) -> None:
    async with Checked("s") as system:
        ref = system.spawn(make)
        await ref.ask("warm")
        await stop(ref)
        assert trio.current_time() == pytest.approx(0, abs=0.01)
        assert system.children == ()


async def test_stopping_twice_is_stopping_once() -> None:
    log: list[str] = []
    async with Checked("s") as system:
        ref = system.spawn(Noting, log, "hook", 0.1)
        gate = trio.Event()
        ref.tell(wait(gate))
        await wait_all_tasks_blocked()
        for _ in range(3):
            ref.stop()
        gate.set()
        for _ in range(3):
            ref.stop()
        await ref.stopped()
        ref.stop()
    assert log == ["hook"]


async def test_the_messages_of_a_stopping_actor_can_still_be_asked_and_told_elsewhere() -> None:
    log: list[Any] = []

    class Farewell(Doer):
        def __init__(self, other: ActorRef) -> None:
            self.other = other

        async def stopped(self) -> None:
            self.other.tell("told in stopped")
            await self.other.send("sent in stopped")
            log.append(("reply", await self.other.ask("asked in stopped")))

    async with Checked("s") as system:
        other = system.spawn(Recorder, log)
        await stop(system.spawn(Farewell, other))
    assert log == [
        "told in stopped",
        "sent in stopped",
        "asked in stopped",
        ("reply", "asked in stopped"),
    ]


async def test_children_stop_before_their_parent_and_the_youngest_first() -> None:
    log: list[str] = []

    class Family(Noting):
        def __init__(self, log: list[str], name: str, depth: int) -> None:
            super().__init__(log, name)
            if depth:
                for number in range(3):
                    self.context.spawn(Family, log, f"{name}.{number}", depth - 1)

    async with Checked("s") as system:
        await stop(system.spawn(Family, log, "f", 2))

    def expected(name: str, depth: int) -> list[str]:
        children = [expected(f"{name}.{n}", depth - 1) for n in (2, 1, 0)] if depth else []
        return [each for child in children for each in child] + [name]

    assert log == expected("f", 2)


async def test_each_child_has_stopped_before_the_next_one_begins_to(autojump_clock: Any) -> None:
    log: list[str] = []

    class Slow(Noting):
        async def stopped(self) -> None:
            self.log.append(f"begin {self.name}")
            await super().stopped()

    class Family(Noting):
        def __init__(self) -> None:
            super().__init__(log, "parent")
            for number in range(3):
                self.context.spawn(Slow, log, str(number), 1.0)

    async with Checked("s") as system:
        await stop(system.spawn(Family))
        assert trio.current_time() == pytest.approx(3)
    assert log == ["begin 2", "2", "begin 1", "1", "begin 0", "0", "parent"]


async def test_a_child_handles_what_was_queued_when_its_parent_stops() -> None:
    log: list[Any] = []

    class Family(Doer):
        def __init__(self) -> None:
            self.child = self.context.spawn(Recorder, log)

    async with Checked("s") as system:
        parent = system.spawn(Family)
        child = await parent.ask(lambda a: a.child)
        for number in range(50):
            child.tell(number)
        parent.stop()
        await parent.stopped()
    assert log == list(range(50))


async def test_a_handler_that_does_not_end_is_cancelled_after_its_time(
    autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []

    class Stubborn(Noting):
        shutdown = 2.0

    async def ignoring(_: Actor) -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.append("finally")

    async with Checked("s") as system:
        ref = system.spawn(Stubborn, log, "hook", 1.5)
        ref.tell(ignoring)
        await wait_all_tasks_blocked()
        await stop(ref)
        assert trio.current_time() == pytest.approx(3.5)
    assert log == ["finally", "hook"]
    assert warnings(caplog) == [
        f"{ref} did not finish what was queued within 2 s of its stop: it is cancelled"
    ]


async def test_a_stopped_hook_that_hangs_is_cancelled_after_its_time(
    autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Hanging(Doer):
        shutdown = 2.0

        async def stopped(self) -> None:
            await trio.sleep_forever()

    async with Checked("s") as system:
        ref = system.spawn(Hanging)
        await stop(ref)
        assert trio.current_time() == pytest.approx(2)
        with pytest.raises(ActorStopped):
            await ref.ask("gone")
    assert warnings(caplog) == [f"{ref}: stopped() took longer than 2 s: it was cancelled"]


async def test_a_shutdown_of_no_time_cancels_at_once(autojump_clock: Any) -> None:
    class Brief(Doer):
        shutdown = 0.0

    async with Checked("s") as system:
        ref = system.spawn(Brief)
        ref.tell(nap(100))
        await wait_all_tasks_blocked()
        await stop(ref)
        assert trio.current_time() == pytest.approx(0, abs=0.01)


async def test_an_actor_that_asks_itself_to_the_end_is_cancelled_in_that_ask(
    autojump_clock: Any,
) -> None:
    """Set aside on an ask, with no task: cancelling must reach it all the same."""
    log: list[str] = []

    class Brief(Doer):
        shutdown = 1.0

    async with Checked("s") as system:
        slow, ref = system.spawn(Doer), system.spawn(Brief)
        gate = trio.Event()

        async def asking(_: Actor) -> None:
            try:
                await slow.ask(wait(gate), timeout=None)
            except trio.Cancelled:
                log.append("cancelled")
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.5)
                log.append("cleaned up")
                raise

        ref.tell(asking)
        await wait_all_tasks_blocked()
        await stop(ref)
        assert trio.current_time() == pytest.approx(1.5)
        gate.set()
        assert await slow.ask("unharmed") == "unharmed"
    assert log == ["cancelled", "cleaned up"]


@pytest.mark.parametrize("hook", ["started", "restarting", "stopped"])
def test_a_hook_that_is_not_async_is_refused_at_the_class(hook: str) -> None:
    with pytest.raises(TypeError, match=f"write `async def {hook}`"):
        type("Wrong", (Actor,), {hook: lambda self, *args: None})


@pytest.mark.parametrize("value", [-1, "5", None, float("nan")])
def test_a_shutdown_that_is_no_time_is_refused_at_the_class(value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"Wrong\.shutdown is a"):
        type("Wrong", (Actor,), {"shutdown": value})


async def test_stop_waits_for_started_and_for_what_was_queued_meanwhile(
    autojump_clock: Any,
) -> None:
    log: list[Any] = []

    class Starting(Noting):
        async def started(self) -> None:
            await trio.sleep(1)
            log.append("started")

    async with Checked("s") as system:
        ref = system.spawn(Starting, log, "stopped")
        ref.tell(lambda _: log.append("queued"))
        await stop(ref)
    assert log == ["started", "queued", "stopped"]


# -- leaving normally


async def test_leaving_stops_the_top_level_actors_youngest_first(autojump_clock: Any) -> None:
    log: list[str] = []
    async with Checked("s") as system:
        for number in range(4):
            system.spawn(Noting, log, str(number), 1.0)
        # A restart does not make an actor younger.
        with pytest.raises(ActorFailed):
            await system.children[0].ask(fail)
    assert log == ["3", "2", "1", "0"]
    assert trio.current_time() == pytest.approx(4)


async def test_leaving_handles_what_was_queued() -> None:
    log: list[int] = []
    async with Checked("s") as system:
        for make in (Doer, PlainDoer):
            ref = system.spawn(make)
            for number in range(100):
                ref.tell(lambda _, n=number: log.append(n))
    assert sorted(log) == sorted(2 * list(range(100)))
    assert system.ledger.handled == 200


async def test_an_older_actor_may_be_told_by_a_younger_one_that_is_leaving() -> None:
    log: list[Any] = []

    class Farewell(Doer):
        def __init__(self, other: ActorRef) -> None:
            self.other = other

        async def stopped(self) -> None:
            assert await self.other.ask("farewell") == "farewell"

    async with Checked("s") as system:
        older = system.spawn(Recorder, log)
        system.spawn(Farewell, older)
    assert log == ["farewell"]


async def test_what_ignores_its_stop_is_cancelled_after_stop_within_and_reported(
    autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []

    class Patient(Noting):
        shutdown = 1_000.0

    async with Checked("s", stop_within=3) as system:
        ignoring = system.spawn(Patient, log, "ignoring")
        ignoring.tell(lambda _: trio.sleep_forever())
        other = system.spawn(Patient, log, "other")
        await wait_all_tasks_blocked()
    assert trio.current_time() == pytest.approx(3)
    assert log == ["other", "ignoring"]
    assert warnings(caplog) == [
        f"{ignoring} did not stop within 3 s of leaving the system: it is cancelled"
    ]
    assert str(other) not in str(warnings(caplog))
    assert system.dead_letters.recent[0].reason is DeadLetterReason.CANCELLED


async def test_a_hook_that_hangs_holds_the_leaving_for_its_time_only(autojump_clock: Any) -> None:
    class Hanging(Doer):
        shutdown = 2.0

        async def stopped(self) -> None:
            await trio.sleep_forever()

    async with Checked("s", stop_within=10):
        pass
    assert trio.current_time() == pytest.approx(0, abs=0.01)
    async with Checked("s", stop_within=10) as system:
        system.spawn(Hanging)
        system.spawn(Hanging)
    assert trio.current_time() == pytest.approx(4)


async def test_hooks_that_hang_for_ever_are_cancelled_when_stop_within_is_over_twice(
    autojump_clock: Any,
) -> None:
    class Hanging(Doer):
        shutdown = 1e6

        async def stopped(self) -> None:
            await trio.sleep_forever()

    async with Checked("s", stop_within=3) as system:
        for _ in range(3):
            system.spawn(Hanging)
    assert trio.current_time() == pytest.approx(6)


async def test_no_time_for_leaving_cancels_at_once(autojump_clock: Any) -> None:
    async with Checked("s", stop_within=0) as system:
        ref = system.spawn(Doer)
        ref.tell(nap(100))
        ref.tell("queued")
        await wait_all_tasks_blocked()
    assert trio.current_time() == pytest.approx(0, abs=0.01)
    assert {x.reason for x in system.dead_letters.recent} == {
        DeadLetterReason.CANCELLED,
        DeadLetterReason.UNHANDLED_AT_STOP,
    }


async def test_an_endless_talk_to_oneself_ends_with_the_leaving(autojump_clock: Any) -> None:
    """stop() takes no more messages, so who tells itself for ever comes to its end."""

    def again(actor: Actor) -> None:
        actor.context.ref.tell(again)

    async with Checked("s") as system:
        for make in (Doer, PlainDoer):
            system.spawn(make).tell(again)
        await trio.lowlevel.checkpoint()
    assert system.ledger.dead == 2


# -- leaving by an exception


async def leave_by(error: BaseException, *actors: Callable[[], Actor], **limits: Any) -> Any:
    systems: list[ActorSystem] = []

    async def body() -> None:
        async with Checked("s", **limits) as system:
            systems.append(system)
            for make in actors:
                ref = system.spawn(make)
                ref.tell(lambda _: trio.sleep_forever())
                ref.tell("queued")
            await wait_all_tasks_blocked()
            raise error

    with pytest.raises(type(error)) as caught:
        await body()
    # The body's own exception, in no group.
    assert caught.value is error
    return systems[0]


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyboardInterrupt(), ExceptionGroup("g", [ValueError()])]
)
async def test_leaving_by_an_exception_cancels_at_once_and_runs_hooks(
    error: BaseException, autojump_clock: Any
) -> None:
    log: list[str] = []

    class Hooked(Noting):
        def __init__(self) -> None:
            super().__init__(log, "hook", 1.0)

    system = await leave_by(error, Hooked, Hooked)
    # Both hooks at once, and shielded from what ended the body.
    assert trio.current_time() == pytest.approx(1)
    assert log == ["hook", "hook"]
    assert system.ledger.dead == 4
    assert system.ledger.handled == 0


async def test_hooks_are_bounded_when_leaving_by_an_exception(autojump_clock: Any) -> None:
    class Hanging(Doer):
        shutdown = 1e6

        async def stopped(self) -> None:
            await trio.sleep_forever()

    await leave_by(ValueError(), Hanging, Hanging, stop_within=3)
    assert trio.current_time() == pytest.approx(3)
    Hanging.shutdown = 1.0
    await leave_by(ValueError(), Hanging, Hanging, stop_within=3)
    assert trio.current_time() == pytest.approx(4)


async def test_a_parent_and_its_children_are_cancelled_together(autojump_clock: Any) -> None:
    log: list[str] = []

    class Lower(Noting):
        def __init__(self) -> None:
            super().__init__(log, "lower", 1.0)

    class Upper(Noting):
        def __init__(self) -> None:
            super().__init__(log, "upper", 1.0)
            for _ in range(3):
                self.context.spawn(Lower).tell(lambda _: trio.sleep_forever())

    await leave_by(ValueError(), Upper)
    assert log == ["lower", "lower", "lower", "upper"]
    assert trio.current_time() <= 4.001


# -- leaving by a cancellation


async def test_an_outer_cancellation_ends_the_body_and_then_the_actors(
    autojump_clock: Any,
) -> None:
    log: list[str] = []

    async def sleep(name: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.append(name)

    with trio.move_on_after(2) as scope:
        async with Checked("s") as system:
            system.spawn(Noting, log, "hook", 1.0).tell(lambda _: sleep("handler"))
            await wait_all_tasks_blocked()
            await sleep("body")
    assert scope.cancelled_caught
    assert log == ["body", "handler", "hook"]
    assert trio.current_time() == pytest.approx(3)


async def test_an_outer_cancellation_while_leaving_hurries_it(autojump_clock: Any) -> None:
    log: list[str] = []

    with trio.move_on_after(2) as scope:
        async with Checked("s", stop_within=1_000) as system:

            class Patient(Noting):
                shutdown = 500.0

            system.spawn(Patient, log, "hook", 1.0).tell(lambda _: trio.sleep_forever())
            await wait_all_tasks_blocked()
    assert scope.cancelled_caught
    assert log == ["hook"]
    assert trio.current_time() == pytest.approx(3)


async def test_a_cancellation_reaches_no_handler_before_the_body_has_ended(
    autojump_clock: Any,
) -> None:
    with trio.move_on_after(1):
        async with Checked("s") as system:
            ref = system.spawn(Doer)
            ref.tell(nap(3))
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    # It is busy until 3, and then still answers.
                    assert await ref.ask("alive", timeout=5) == "alive"
    assert trio.current_time() == pytest.approx(3)


# -- afterwards


async def test_after_leaving_everything_raises_system_closed() -> None:
    kept: list[Any] = []
    async with Checked("s") as system:
        ref, stopped = system.spawn(Doer), system.spawn(Doer)
        by_address = system.at("actor://s/nobody")
        kept.append(await ref.ask(lambda a: a.context))
        await stop(stopped)
    calls: list[Callable[[], Any]] = [
        lambda: system.spawn(Doer),
        lambda: system.at("actor://s/x"),
        lambda: by_address.tell(1),
    ]
    for call in calls:
        with pytest.raises(SystemClosed, match="`async with` block has been left") as caught:
            call()
        assert caught.value.name == "s"
        assert isinstance(caught.value, NotRunning)
    for awaited in (
        lambda: system.start(Doer),
        lambda: by_address.send(1),
        lambda: by_address.ask(1),
        lambda: ref.ask(1),
        lambda: ref.send(1),
    ):
        with pytest.raises(SystemClosed):
            await awaited()
    with pytest.raises(SystemClosed):
        ref.tell(1)
    with pytest.raises(SystemClosed):
        kept[0].after(1, "x")
    # What needs no system any more still works.
    await ref.stopped()
    ref.stop()
    assert str(ref).startswith("actor://s/")
    assert system.children == ()
    assert system.ledger.missing == 0


async def test_a_system_is_entered_once() -> None:
    system = Checked("s")
    async with system:
        with pytest.raises(NotRunning, match="make a new one"):
            async with system:
                pass
        assert await system.spawn(Doer).ask("still works") == "still works"
    with pytest.raises(NotRunning, match="make a new one"):
        async with system:
            pass


def test_a_system_that_is_not_entered_says_how_to() -> None:
    system = ActorSystem("s")
    for call in (lambda: system.spawn(Doer), lambda: system.at("actor://s/x")):
        with pytest.raises(NotRunning, match=r"use it inside `async with ActorSystem"):
            call()
    assert system.ledger.sent == 0


async def test_a_spawn_while_the_system_is_left_is_refused(autojump_clock: Any) -> None:
    errors: list[str] = []

    class Late(Doer):
        async def stopped(self) -> None:
            try:
                self.context.system.spawn(Doer)
            except NotRunning as error:
                errors.append(str(error))

    async with Checked("s") as system:
        system.spawn(Late)
    assert len(errors) == 1
    assert "actor://s is stopping" in errors[0]


async def test_leaving_leaves_no_task_whatever_was_going_on(autojump_clock: Any) -> None:
    before = all_tasks()

    async def busy_with_everything(actor: Actor) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(trio.sleep_forever)
            with trio.CancelScope():
                await trio.sleep_forever()

    class Starting(Doer):
        async def started(self) -> None:
            await trio.sleep_forever()

    class Restarting(Doer):
        async def restarting(self, failure: Any) -> None:
            await trio.sleep_forever()

    async def body(error: Exception | None) -> None:
        async with Checked("s", stop_within=1, max_restarts=None) as system:
            for _ in range(10):
                system.spawn(Doer).tell(nap(1e6))
                system.spawn(Doer).tell(busy_with_everything)
                system.spawn(Starting)
                system.spawn(Restarting).tell(fail)
                slow = system.spawn(Doer)
                slow.tell(nap(1e6))
                system.spawn(Doer).tell(lambda _, s=slow: s.ask("waits", timeout=None))
                system.spawn(Doer).tell(lambda a: a.context.every(0.1, "beat"))
            await trio.sleep(1)
            assert len(all_tasks()) > len(before) + 40
            if error is not None:
                raise error

    await body(None)
    assert all_tasks() == before
    with pytest.raises(ValueError, match="leaving"):
        await body(ValueError("leaving"))
    assert all_tasks() == before
    with trio.move_on_after(0.5):
        await body(None)
    assert all_tasks() == before


async def test_an_older_watcher_hears_of_the_leaving_of_a_younger_actor() -> None:
    notices: list[Any] = []

    class Watcher(Recorder):
        def watch(self, ref: ActorRef) -> None:
            self.context.watch(ref)

        async def receive(self, message: Any) -> Any:
            return self.watch(message) if isinstance(message, ActorRef) else notices.append(message)

    async with Checked("s") as system:
        watcher, younger = system.spawn(Watcher), system.spawn(Doer)
        await watcher.ask(younger)
    assert notices == [Terminated(younger, ExitReason.SHUTDOWN)]
