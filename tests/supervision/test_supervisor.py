"""A static supervisor: it starts in order, restarts as its strategy says, and stops in reverse."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import pytest
import trio
from tenacity import wait_exponential, wait_fixed
from trio.testing import wait_all_tasks_blocked

from actors import (
    ActorFailed,
    ActorRef,
    Escalate,
    ExitReason,
    Failure,
    Resume,
    StartTimeout,
    Stop,
    Terminated,
)
from supervision import (
    ChildSpec,
    CountChildren,
    NoSuchChild,
    OneForAll,
    OneForOne,
    RestartChild,
    RestForOne,
    StopChild,
    Strategy,
    Supervisor,
    TooManyRestarts,
    WhichChildren,
    child,
)
from tests.actors.kit import Checked, Doer, fail, nap, wait


class Logged(Doer):
    """Writes the life of its incarnations into a list."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.say("made")

    def say(self, what: str) -> None:
        self.log.append(f"{self.context.ref.name} {what}")

    async def started(self) -> None:
        self.say("started")

    async def restarting(self, failure: Failure) -> None:
        self.say(f"restarting because of {failure.ref.name}")

    async def stopped(self) -> None:
        self.say("stopped")


class Family(Supervisor):
    def __init__(self, strategy: Strategy, *specs: ChildSpec) -> None:
        self.strategy = strategy
        self.specs = specs

    def children(self) -> tuple[ChildSpec, ...]:
        return self.specs


def three(log: list[str], **options: Any) -> list[ChildSpec]:
    return [child(Logged, log, name=name, **options) for name in "abc"]


async def incarnations(system: Any, names: str = "abc") -> list[int]:
    return [
        await system.at(f"actor://s/family/{name}").ask(lambda actor: actor.context.incarnation)
        for name in names
    ]


# -- starting and stopping


async def test_children_start_in_order_and_stop_in_reverse() -> None:
    log: list[str] = []
    async with Checked("s") as system:
        family = await system.start(Family, OneForOne(), *three(log))
        assert log == ["a made", "a started", "b made", "b started", "c made", "c started"]
        log.clear()
        family.stop()
        await family.stopped()
        assert log == ["c stopped", "b stopped", "a stopped"]


async def test_its_own_started_runs_when_the_children_have_started() -> None:
    log: list[str] = []

    class Boss(Family):
        async def started(self) -> None:
            log.append("boss started")

    async with Checked("s") as system:
        await system.start(Boss, OneForOne(), *three(log))
        assert log[-1] == "boss started"


async def test_a_child_that_does_not_start_fails_the_start_and_ends_those_before_it() -> None:
    log: list[str] = []

    class Bad(Doer):
        async def started(self) -> None:
            raise OSError("no disk")

    async with Checked("s") as system:
        with pytest.raises(OSError, match="no disk") as caught:
            await system.start(Family, OneForOne(), *three(log), child(Bad, name="bad"), name="f")
        assert "'bad', a child of actor://s/f" in caught.value.__notes__[0]
        assert log[-3:] == ["c stopped", "b stopped", "a stopped"]
        assert system.children == ()


@pytest.mark.parametrize(
    ("specs", "error", "match"),
    [
        ([child(Doer), child(Doer)], ValueError, "two called 'doer'"),
        ([Doer], TypeError, "returns child"),
        (
            [child(Doer, kind="transient", significant=True)],
            ValueError,
            'auto_shutdown is "never"',
        ),
    ],
)
async def test_a_list_of_children_that_is_none_is_refused(
    specs: list[Any], error: type[Exception], match: str
) -> None:
    async with Checked("s") as system:
        with pytest.raises(error, match=match):
            await system.start(Family, OneForOne(), *specs)


# -- the strategies


@pytest.mark.parametrize(
    ("strategy", "failing", "restarted"),
    [
        (OneForOne(), "b", [1, 2, 1]),
        (RestForOne(), "b", [1, 2, 2]),
        (RestForOne(), "c", [1, 1, 2]),
        (OneForAll(), "b", [2, 2, 2]),
    ],
)
async def test_who_restarts(strategy: Strategy, failing: str, restarted: list[int]) -> None:
    log: list[str] = []
    async with Checked("s") as system:
        await system.start(Family, strategy, *three(log), name="family")
        with pytest.raises(ActorFailed):
            await system.at(f"actor://s/family/{failing}").ask(fail)
        await wait_all_tasks_blocked()
        assert await incarnations(system) == restarted


async def test_siblings_end_in_reverse_order_and_begin_in_order() -> None:
    log: list[str] = []
    async with Checked("s") as system:
        await system.start(Family, OneForAll(), *three(log), name="family")
        log.clear()
        system.at("actor://s/family/b").tell(fail)
        await wait_all_tasks_blocked()
        assert log == [
            "c restarting because of b",
            "b restarting because of b",
            "a restarting because of b",
            *("a made", "a started", "b made", "b started", "c made", "c started"),
        ]


async def test_siblings_finish_the_message_in_hand_and_keep_their_mailboxes() -> None:
    log: list[str] = []
    gate = trio.Event()
    async with Checked("s") as system:
        await system.start(Family, OneForAll(), *three(log), name="family")
        a, b, _ = (system.at(f"actor://s/family/{name}") for name in "abc")

        async def slow(actor: Any) -> None:
            await gate.wait()
            actor.say("finished")

        a.tell(slow)
        await wait_all_tasks_blocked()
        for number in range(3):
            a.tell(lambda actor, number=number: actor.say(f"{number}"))
        log.clear()
        b.tell(fail)
        await wait_all_tasks_blocked()
        assert log == ["c restarting because of b", "b restarting because of b"]
        gate.set()
        await wait_all_tasks_blocked()
        assert log[2:4] == ["a finished", "a restarting because of b"]
        assert [line for line in log if line in ("a 0", "a 1", "a 2")] == ["a 0", "a 1", "a 2"]


async def test_a_sibling_that_does_not_finish_in_time_is_cancelled_and_that_is_said(
    autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []
    async with Checked("s") as system:
        await system.start(Family, OneForAll(), *three(log, shutdown=2.0), name="family")
        a, b, _ = (system.at(f"actor://s/family/{name}") for name in "abc")
        a.tell(nap(1e6))
        await wait_all_tasks_blocked()
        b.tell(fail)
        await trio.sleep(2.5)
        assert await incarnations(system) == [2, 2, 2]
    assert "did not end within 2 s of its restart" in caplog.text


async def test_a_brutal_sibling_is_cancelled_at_once(autojump_clock: Any) -> None:
    log: list[str] = []
    async with Checked("s") as system:
        await system.start(Family, OneForAll(), *three(log, shutdown="brutal"), name="family")
        a, b, _ = (system.at(f"actor://s/family/{name}") for name in "abc")
        a.tell(nap(1e6))
        await wait_all_tasks_blocked()
        b.tell(fail)
        await wait_all_tasks_blocked()
        assert await incarnations(system) == [2, 2, 2]
        assert trio.current_time() < 1


async def test_two_that_fail_at_once_are_one_restart_of_all() -> None:
    log: list[str] = []
    async with Checked("s") as system:
        await system.start(Family, OneForAll(max_restarts=1), *three(log), name="family")
        gate = trio.Event()

        async def failing(_: Any) -> None:
            await gate.wait()
            raise ValueError("both")

        for name in "ab":
            system.at(f"actor://s/family/{name}").tell(failing)
        await wait_all_tasks_blocked()
        gate.set()
        await wait_all_tasks_blocked()
        assert await incarnations(system) == [2, 2, 2]


async def test_a_sibling_that_fails_to_begin_again_is_another_restart() -> None:
    log: list[str] = []

    class Flaky(Logged):
        failures = 2

        async def started(self) -> None:
            if self.context.incarnation > 1 and Flaky.failures:
                Flaky.failures -= 1
                raise OSError("not yet")
            await super().started()

    async with Checked("s") as system:
        specs = three(log)
        specs[1] = child(Flaky, log, name="b")
        await system.start(Family, RestForOne(max_restarts=3), *specs, name="family")
        log.clear()
        system.at("actor://s/family/a").tell(fail)
        await wait_all_tasks_blocked()
        assert await incarnations(system) == [2, 4, 2]
        # c was never begun while b had not started.
        assert log.count("c made") == 1
        assert log[-1] == "c started"


async def test_a_handler_that_waits_for_its_supervisor_does_not_hold_up_the_restart(
    autojump_clock: Any,
) -> None:
    log: list[str] = []
    async with Checked("s") as system:
        family = await system.start(Family, OneForAll(), *three(log), name="family")
        a, b, c = (system.at(f"actor://s/family/{name}") for name in "abc")

        # a asks c, which asks the supervisor when that restarts them all because of b.
        async def through_c(_: Any) -> None:
            await c.ask(lambda actor: ask_family(actor), timeout=None)

        async def ask_family(_: Any) -> None:
            b.tell(fail)
            await trio.sleep(0.1)
            await family.ask(WhichChildren(), timeout=None)

        a.tell(through_c)
        await trio.sleep(1)
        assert await incarnations(system) == [2, 2, 2]
        assert trio.current_time() < 2


async def test_a_start_that_asks_a_sibling_which_is_not_there_yet_fails_and_does_not_hang(
    autojump_clock: Any,
) -> None:
    class Asks(Doer):
        async def started(self) -> None:
            if self.context.incarnation > 1:
                await self.context.system.at("actor://s/top/family/c").ask("x", timeout=None)

    async with Checked("s", max_restarts=0) as system:
        top = await system.start(
            Family,
            OneForOne(decisions={TooManyRestarts: Stop()}),
            child(
                Family,
                OneForAll(max_restarts=2),
                child(Doer, name="a"),
                child(Asks, name="b"),
                child(Doer, name="c"),
                name="family",
            ),
            name="top",
        )
        system.at("actor://s/top/family/a").tell(fail)
        await trio.sleep(1)
        # Each restart fails at once; the third one is too many, and the family is stopped.
        assert [info.ref for info in await top.ask(WhichChildren())] == [None]


# -- kinds


async def test_a_temporary_child_is_not_restarted_not_even_because_of_a_sibling() -> None:
    log: list[str] = []
    async with Checked("s") as system:
        specs = three(log)
        specs[0] = child(Logged, log, name="a", kind="temporary")
        family = await system.start(Family, OneForAll(), *specs, name="family")
        system.at("actor://s/family/b").tell(fail)
        await wait_all_tasks_blocked()
        assert [info.name for info in await family.ask(WhichChildren())] == ["b", "c"]


async def test_a_permanent_child_that_stops_is_started_anew_at_its_address() -> None:
    log: list[str] = []
    async with Checked("s") as system:
        await system.start(Family, RestForOne(), *three(log), name="family")
        b = system.at("actor://s/family/b")
        log.clear()
        b.stop()
        await b.stopped()
        await wait_all_tasks_blocked()
        assert system.at("actor://s/family/b") is not b
        assert log == [
            "b stopped",
            "c restarting because of b",
            *("b made", "b started", "c made", "c started"),
        ]


# -- intensity


async def test_the_failure_that_is_one_too_many_within_the_window_escalates(
    autojump_clock: Any,
) -> None:
    log: list[str] = []
    strategy = OneForOne(max_restarts=2, within=10)

    class Top(Family):
        failures: ClassVar[list[Failure]] = []

        def child_failed(self, child: ActorRef, failure: Failure) -> Any:
            Top.failures.append(failure)
            return Stop()

    async with Checked("s") as system:
        top = await system.start(
            Top, OneForOne(), child(Family, strategy, *three(log), name="family"), name="top"
        )
        a = system.at("actor://s/top/family/a")
        for _ in range(2):
            a.tell(fail)
            await trio.sleep(4)
        # At 8 s there were two within ten seconds; at 10 s the first one no longer counts.
        await trio.sleep(2)
        a.tell(fail)
        await trio.sleep(3.9)
        assert Top.failures == []
        a.tell(fail)
        await trio.sleep(0.01)
        (failure,) = Top.failures
        assert isinstance(failure.exception, TooManyRestarts)
        assert failure.exception.ref is a
        assert isinstance(failure.exception.__cause__, ValueError)
        assert failure.origin is not None
        assert failure.origin.ref is a
        assert await top.ask(CountChildren())
        await a.stopped()


async def test_no_restart_at_all_is_allowed_where_the_limit_is_zero() -> None:
    async with Checked("s", max_restarts=None) as system:
        await system.start(Family, OneForOne(max_restarts=0), child(Doer, name="a"), name="family")
        before = system.at("actor://s/family/a")
        before.tell(fail)
        await wait_all_tasks_blocked()
        # The system's root restarted the supervisor, and that has new children.
        assert system.at("actor://s/family/a") is not before


# -- backoff


async def test_backoff_grows_with_each_failure_and_begins_anew_after_a_quiet_time(
    autojump_clock: Any,
) -> None:
    begun: list[float] = []

    class Timed(Doer):
        def __init__(self) -> None:
            begun.append(trio.current_time())

    strategy = OneForOne(max_restarts=None, within=60, backoff=wait_exponential(min=1))
    async with Checked("s") as system:
        await system.start(Family, strategy, child(Timed, name="a"), name="family")
        a = system.at("actor://s/family/a")
        for _ in range(3):
            a.tell(fail)
            a.tell("waits for the next incarnation")
            await trio.sleep(5)
        assert begun == [0, 1, 5 + 2, 10 + 4]
        await trio.sleep(60)
        a.tell(fail)
        await trio.sleep(5)
        assert begun[-1] == 75 + 1


async def test_the_mailbox_keeps_its_order_during_the_backoff_of_a_group(
    autojump_clock: Any,
) -> None:
    log: list[str] = []
    strategy = OneForAll(backoff=wait_fixed(3))
    async with Checked("s") as system:
        await system.start(Family, strategy, *three(log), name="family")
        a, b = (system.at(f"actor://s/family/{name}") for name in "ab")
        b.tell(fail)
        await wait_all_tasks_blocked()
        for number in range(5):
            a.tell(lambda actor, number=number: actor.say(str(number)))
            b.tell(lambda actor, number=number: actor.say(str(number)))
            await trio.sleep(0.1)
        assert log[-1] == "a restarting because of b"
        await trio.sleep(3)
        assert [line for line in log if line[0] == "a"][-5:] == [f"a {n}" for n in range(5)]
        assert [line for line in log if line[0] == "b"][-5:] == [f"b {n}" for n in range(5)]


@pytest.mark.parametrize(
    "strategy", [OneForOne(backoff=wait_fixed(1e6)), OneForAll(backoff=wait_fixed(1e6))]
)
async def test_a_stop_during_the_backoff_is_immediate(
    strategy: Strategy, autojump_clock: Any
) -> None:
    log: list[str] = []
    async with Checked("s") as system:
        family = await system.start(Family, strategy, *three(log), name="family")
        system.at("actor://s/family/b").tell(fail)
        await wait_all_tasks_blocked()
        family.stop()
        await family.stopped()
        assert trio.current_time() < 0.001


# -- decisions


async def test_decisions_by_exception_type(autojump_clock: Any) -> None:
    log: list[str] = []
    strategy = OneForOne(
        decisions={KeyError: Resume(), LookupError: Stop(), ArithmeticError: Escalate}
    )

    def raising(error: Exception) -> Any:
        def run(_: Any) -> None:
            raise error

        return run

    async with Checked("s") as system:
        family = await system.start(Family, strategy, *three(log), name="family")
        a, b, c = (system.at(f"actor://s/family/{name}") for name in "abc")
        a.tell(raising(KeyError()))
        b.tell(raising(IndexError()))
        c.tell(raising(OSError()))
        await wait_all_tasks_blocked()
        assert await incarnations(system, "ac") == [1, 2]
        assert [
            (info.name, info.state, info.restarts) for info in await family.ask(WhichChildren())
        ] == [("a", "running", 0), ("b", "not running", 0), ("c", "running", 1)]
        # Of two at once the severest counts.
        c.tell(raising(ExceptionGroup("two", [KeyError(), ZeroDivisionError()])))
        await wait_all_tasks_blocked()
        assert await incarnations(system) == [1, 1, 1]
        assert system.at("actor://s/family/a") is not a


# -- asking about children, stopping and starting them


async def test_a_child_can_be_stopped_and_started_again() -> None:
    log: list[str] = []
    async with Checked("s") as system:
        family = await system.start(Family, OneForOne(), *three(log), name="family")
        assert await family.ask(StopChild("b")) is None
        counts = await family.ask(CountChildren())
        assert (counts.specs, counts.active, counts.workers, counts.supervisors) == (3, 2, 3, 0)
        ref = await family.ask(RestartChild("b"))
        assert ref is system.at("actor://s/family/b")
        assert await family.ask(RestartChild("b")) is ref
        with pytest.raises(ActorFailed) as caught:
            await family.ask(StopChild("x"))
        assert isinstance(caught.value.cause, NoSuchChild)
        assert caught.value.cause.known == ("a", "b", "c")
        with pytest.raises(ActorFailed, match="has no handler for str"):
            await family.ask("what?")
        assert await incarnations(system) == [1, 1, 1]


# -- start timeouts, automatic shutdown


async def test_a_start_that_takes_too_long_fails(autojump_clock: Any) -> None:
    class Slow(Doer):
        async def started(self) -> None:
            await trio.sleep(5)

    async with Checked("s") as system:
        with pytest.raises(StartTimeout, match="did not start within 2 s"):
            await system.start(Family, OneForOne(), child(Slow, start_within=2.0))
        assert trio.current_time() == pytest.approx(2)


async def test_a_restart_that_takes_too_long_is_a_failure_too(autojump_clock: Any) -> None:
    class Slow(Doer):
        async def started(self) -> None:
            if self.context.incarnation == 2:
                await trio.sleep(5)

    async with Checked("s") as system:
        await system.start(
            Family, OneForOne(), child(Slow, start_within=2.0, name="a"), name="family"
        )
        a = system.at("actor://s/family/a")
        a.tell(fail)
        assert await a.ask(lambda actor: actor.context.incarnation) == 3
        assert trio.current_time() == pytest.approx(2)


@pytest.mark.parametrize(("mode", "needed"), [("any_significant", 1), ("all_significant", 2)])
async def test_automatic_shutdown(mode: Any, needed: int) -> None:
    class Brief(Family):
        auto_shutdown = mode

    log: list[str] = []
    async with Checked("s") as system:
        specs = three(log, kind="transient", significant=True)
        specs[2] = child(Logged, log, name="c", kind="transient")
        family = await system.start(Brief, OneForOne(), *specs, name="family")
        watcher = system.spawn(Doer)
        notices: list[Any] = []

        async def watch(actor: Any) -> None:
            actor.context.watch(family)
            actor.context.become(notices.append)

        await watcher.ask(watch)
        system.at("actor://s/family/c").stop()
        await wait_all_tasks_blocked()
        for name in "ab"[:needed]:
            assert notices == []
            system.at(f"actor://s/family/{name}").stop()
            await wait_all_tasks_blocked()
        assert notices == [Terminated(family, ExitReason.SHUTDOWN)]


def test_a_supervisor_without_a_list_of_children_is_refused() -> None:
    with pytest.raises(TypeError, match="strategy is OneForOne"):

        class Wrong(Supervisor):
            strategy = OneForOne  # type: ignore[assignment]

    with pytest.raises(ValueError, match="auto_shutdown is one of"):

        class Wrong2(Supervisor):
            auto_shutdown = "always"  # type: ignore[assignment]


_ = functools, wait
