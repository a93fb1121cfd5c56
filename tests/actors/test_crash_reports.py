"""Crash reports: each failure, structured, to the log and to those who subscribe."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest
from trio.testing import wait_all_tasks_blocked

from actors import ActorFailed, CrashReport, Restart, Resume
from tests.actors.kit import Checked, Doer, Parent, Recorder, fail, nap


class Accountant(Doer):
    __slots__ = ("pin",)

    def __init__(self) -> None:
        self.balance = 7
        self.history = ["x" * 1000]
        self.pin = "secret"


class Discreet(Accountant):
    def state_summary(self) -> Mapping[str, object]:
        return {"balance": self.balance}


class Broken(Doer):
    def __init__(self) -> None:
        self.value = Unprintable()


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


async def reports_of(cls: type[Doer], decision: Any = None) -> list[CrashReport]:
    log: list[Any] = []
    async with Checked("s") as system:
        system.crash_reports.subscribe(system.spawn(Recorder, log))
        await system.start(Parent, cls, decision or Restart(), name="parent")
        ref = system.at("actor://s/parent/child")
        for _ in range(2):
            ref.tell(fail)
            ref.tell(nap(0))
        await wait_all_tasks_blocked()
    return log


async def test_a_report_says_who_where_what_and_what_is_done() -> None:
    first, second = await reports_of(Accountant)
    assert isinstance(first, CrashReport)
    assert str(first.address) == "actor://s/parent/child"
    assert (first.incarnation, first.restarts, first.during) == (1, 0, "receive")
    assert (second.incarnation, second.restarts) == (2, 1)
    assert first.message is fail
    assert isinstance(first.exception, ValueError)
    assert first.queued == 3
    assert first.state["balance"] == "7"
    assert first.state["pin"] == "'secret'"
    assert len(first.state["history"]) < 100
    assert "restart" in first.decision.lower()
    assert 'raise ValueError("on purpose")' in first.traceback
    assert first.failure.exception is first.exception


async def test_an_actor_says_itself_what_is_told_of_its_state() -> None:
    assert (await reports_of(Discreet))[0].state == {"balance": "7"}


async def test_a_state_that_cannot_be_told_does_no_harm() -> None:
    assert "<Unprintable instance" in (await reports_of(Broken))[0].state["value"]

    class Worse(Doer):
        def state_summary(self) -> Mapping[str, object]:
            raise KeyError("worse")

    assert "raised KeyError" in (await reports_of(Worse))[0].state["state_summary"]


async def test_the_logs_record_holds_the_report(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "actors"):
        await reports_of(Accountant, Resume())
    record = caplog.records[0]
    assert record.crash_report.incarnation == 1  # type: ignore[attr-defined]
    assert "its parent decides: Resume()" in record.getMessage()
    assert record.exc_info is not None


async def test_a_failed_top_level_actor_is_reported_too() -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        system.crash_reports.subscribe(system.spawn(Recorder, log))
        ref = system.spawn(Accountant)
        with pytest.raises(ActorFailed):
            await ref.ask(fail)
        await wait_all_tasks_blocked()
        assert [report.decision for report in log] == ["it is restarted"]
        system.crash_reports.unsubscribe(ref)


async def test_a_subscriber_that_fails_at_a_report_is_not_sent_the_report_of_that() -> None:
    class Clumsy(Doer):
        async def receive(self, message: Any) -> None:
            raise RuntimeError("at the report")

    async with Checked("s", max_restarts=3) as system:
        clumsy = system.spawn(Clumsy)
        system.crash_reports.subscribe(clumsy)
        with pytest.raises(ActorFailed):
            await system.spawn(Doer).ask(fail)
        await wait_all_tasks_blocked()
        assert clumsy.incarnation == 2  # type: ignore[attr-defined]
