"""A failure at every place of a child's life: what comes of it, and that nothing leaks or hangs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    ActorFailed,
    ActorSystem,
    CrashReport,
    Env,
    ExitReason,
    Failure,
    Resume,
    Terminated,
)
from actors.testing import Probe
from supervision import OneForAll, OneForOne, RestForOne, StartChild, Supervisor, child
from supervision.dynamic import DynamicSupervisor
from tests.actors.kit import Checked, Doer, all_tasks, fail, nap

STRATEGIES = [OneForOne(), OneForAll(), RestForOne()]


class Fragile(Doer):
    """Fails where it is told to, in its first incarnation, or in its second."""

    shutdown = 2.0

    def __init__(self, place: str, log: list[str]) -> None:
        self.place = place
        self.log = log
        self.at("__init__", 2)

    def at(self, place: str, incarnation: int) -> None:
        if self.place == place and self.context.incarnation == incarnation:
            self.log.append(place)
            raise KeyError(place)

    async def started(self) -> None:
        await trio.lowlevel.checkpoint()
        self.at("started", 2)
        if self.place == "timer":
            self.context.every(1.0, lambda actor: actor.at("timer", 1))

    async def restarting(self, failure: Failure) -> None:
        await trio.lowlevel.checkpoint()
        self.at("restarting", 1)
        if self.place == "restarting hangs":
            self.log.append(self.place)
            await trio.sleep_forever()

    async def stopped(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.place == "stopped":
            self.log.append("stopped")
            raise KeyError("stopped")
        if self.place == "stopped hangs":
            self.log.append(self.place)
            await trio.sleep_forever()


class Family(Supervisor):
    def __init__(self, strategy: Any, place: str, log: list[str]) -> None:
        self.strategy = strategy
        self.place = place
        self.log = log

    def children(self) -> Any:
        return [
            child(Doer, name="older"),
            child(Fragile, self.place, self.log, name="fragile"),
            child(Doer, name="younger"),
        ]


async def raise_in_nursery(_: Any) -> None:
    async def task(error: Exception) -> None:
        await trio.lowlevel.checkpoint()
        raise error

    async with trio.open_nursery() as nursery:
        nursery.start_soon(task, KeyError("one"))
        nursery.start_soon(task, OSError("two"))


async def leave_a_helper(_: Any) -> None:
    nursery = await trio.open_nursery().__aenter__()
    nursery.start_soon(trio.sleep_forever)


async def fail_while_stopping(actor: Any) -> None:
    await trio.sleep(1)
    raise KeyError("while stopping")


PLACES: dict[str, Callable[[Any], Awaitable[None]]] = {}


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize(
    ("place", "trigger", "incarnation"),
    [
        ("receive", fail, 2),
        ("__init__", fail, 3),
        ("started", fail, 3),
        ("restarting", fail, 2),
        ("restarting hangs", fail, 2),
        ("timer", None, 2),
        ("two at once", raise_in_nursery, 2),
        ("helper", leave_a_helper, 2),
    ],
)
async def test_a_failure_is_followed_by_a_running_child(
    strategy: Any, place: str, trigger: Any, incarnation: int, autojump_clock: Any
) -> None:
    before = all_tasks()
    log: list[str] = []
    async with Checked("s") as system:
        await system.start(Family, strategy, place, log, name="family")
        fragile = system.at("actor://s/family/fragile")
        if trigger is not None:
            fragile.tell(trigger)
        await trio.sleep(10)
        assert await fragile.ask(lambda actor: actor.context.incarnation) == incarnation
        for name in ("older", "younger"):
            assert await system.at(f"actor://s/family/{name}").ask("alive") == "alive"
        if place in ("__init__", "started", "restarting", "restarting hangs", "timer"):
            assert log == [place]
        stop_began = trio.current_time()
    assert trio.current_time() - stop_began < 0.1
    assert all_tasks() == before


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize(
    ("place", "seconds", "said"),
    [
        ("stopped", 0.0, "stopped() raised; it has stopped"),
        ("stopped hangs", 2.0, "stopped() took longer than 2 s: it was cancelled"),
    ],
)
async def test_a_failure_at_the_end_hangs_no_stop(
    strategy: Any,
    place: str,
    seconds: float,
    said: str,
    autojump_clock: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = all_tasks()
    log: list[str] = []
    async with Checked("s") as system:
        family = await system.start(Family, strategy, place, log, name="family")
        family.stop()
        await family.stopped()
        assert trio.current_time() == pytest.approx(seconds, abs=0.1)
        assert log == [place]
    assert said in caplog.text
    assert all_tasks() == before


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda each: type(each).__name__)
async def test_a_failure_while_stopping_ends_it(strategy: Any, autojump_clock: Any) -> None:
    log: list[str] = []
    async with Checked("s") as system:
        family = await system.start(Family, strategy, "-", log, name="family")
        probe = Probe(system)
        fragile = system.at("actor://s/family/fragile")
        probe.watch(fragile)
        fragile.tell(fail_while_stopping)
        fragile.tell("is queued behind it")
        await wait_all_tasks_blocked()
        family.stop()
        await family.stopped()
        assert trio.current_time() < 2
        reason = (await probe.expect(Terminated)).reason
        assert isinstance(reason, Failure)
        assert isinstance(reason.exception, KeyError)
        assert system.ledger.dead == 1


async def test_a_child_that_does_not_stop_in_time_is_cut_and_that_is_said(
    autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with Checked("s") as system:
        family = await system.start(Family, OneForOne(), "-", [], name="family")
        probe = Probe(system)
        fragile = system.at("actor://s/family/fragile")
        probe.watch(fragile)
        fragile.tell(nap(1e6))
        await wait_all_tasks_blocked()
        family.stop()
        await family.stopped()
        assert trio.current_time() == pytest.approx(2)
        assert (await probe.expect(Terminated)).reason is ExitReason.KILLED
    assert "did not finish what was queued within 2 s of its stop: it is cancelled" in caplog.text


async def test_a_watch_of_a_dead_child_is_answered_once() -> None:
    async with Checked("s") as system:
        probe = Probe(system)
        ref = system.spawn(Doer)
        ref.stop()
        await ref.stopped()
        probe.watch(ref)
        assert (await probe.expect(Terminated)).reason is ExitReason.NO_ACTOR
        await probe.expect_none(within=0.01)


async def test_a_supervisor_that_fails_itself_is_restarted_with_new_children() -> None:
    log: list[Any] = []

    class Clumsy(DynamicSupervisor):
        async def started(self) -> None:
            log.append(self.context.incarnation)
            await self.start_child(child(Doer, name="worker"))

        async def receive(self, message: Any) -> Any:
            if message == "fail":
                raise KeyError("itself")
            return await super().receive(message)

    async with Checked("s") as system:
        reports = Probe(system)
        system.crash_reports.subscribe(reports.ref)
        clumsy = await system.start(Clumsy, name="clumsy")
        worker = system.at("actor://s/clumsy/worker")
        with pytest.raises(ActorFailed):
            await clumsy.ask("fail")
        await worker.stopped()
        assert await clumsy.ask(StartChild(child(Doer, name="another")))
        assert log == [1, 2]
        assert system.at("actor://s/clumsy/worker") is not worker
        assert (await reports.expect(CrashReport)).during == "receive"


async def test_decisions_and_backoffs_that_raise_fail_the_supervisor() -> None:
    def bad_wait(_: Any) -> float:
        raise ZeroDivisionError("in the wait")

    class Undecided(Family):
        def child_failed(self, child: Any, failure: Failure) -> Any:
            return "restart, please"

    for cls, strategy, text in (
        (Family, OneForOne(backoff=bad_wait), "in the wait"),
        (Undecided, OneForOne(), "it returns Escalate"),
    ):
        log: list[str] = []
        with pytest.raises(ExceptionGroup) as caught:
            async with ActorSystem("s", env=Env(1), max_restarts=0) as system:
                await system.start(cls, strategy, "-", log, name="family")
                system.at("actor://s/family/fragile").tell(fail)
                await trio.sleep_forever()
        notes = str(caught.value.exceptions[0].__notes__)
        assert text in notes, notes


async def test_a_start_that_always_fails_counts_as_a_restart_also_where_resume_is_said() -> None:
    class Hopeless(Doer):
        async def started(self) -> None:
            if self.context.incarnation > 1:
                raise KeyError("started")

    class Top(Supervisor):
        strategy = OneForOne(max_restarts=3, decisions={KeyError: Resume()})

        def children(self) -> Any:
            return [child(Hopeless, name="hopeless")]

    with pytest.raises(ExceptionGroup):
        async with ActorSystem("s", env=Env(1), max_restarts=0) as system:
            await system.start(Top, name="top")
            system.at("actor://s/top/hopeless").tell(fail)
            await trio.sleep_forever()
    assert system.ledger.restarts == 3
