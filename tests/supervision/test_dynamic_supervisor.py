"""A supervisor whose children come and go."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import ActorFailed, ActorRef, NameTaken
from supervision import (
    CountChildren,
    DynamicSupervisor,
    NoSuchChild,
    OneForAll,
    OneForOne,
    StartChild,
    StopChild,
    TooManyChildren,
    WhichChildren,
    child,
)
from tests.actors.kit import Checked, Doer, fail


class Loose(DynamicSupervisor):
    strategy = OneForOne(max_restarts=None)


async def names(supervisor: ActorRef) -> list[str]:
    return [info.name for info in await supervisor.ask(WhichChildren())]


async def test_children_are_started_by_request_and_named_uniquely() -> None:
    async with Checked("s") as system:
        top = await system.start(DynamicSupervisor, name="top")
        first = await top.ask(StartChild(child(Doer)))
        second = await top.ask(StartChild(child(Doer)))
        named = await top.ask(StartChild(child(Doer, name="named")))
        assert first.name != second.name
        assert await names(top) == [first.name, second.name, "named"]
        assert system.at("actor://s/top/named") is named
        with pytest.raises(ActorFailed) as caught:
            await top.ask(StartChild(child(Doer, name="named")))
        assert isinstance(caught.value.cause, NameTaken)


async def test_more_children_than_allowed_are_refused_until_one_has_gone() -> None:
    class Two(DynamicSupervisor):
        max_children = 2

    async with Checked("s") as system:
        top = await system.start(Two)
        for name in "ab":
            await top.ask(StartChild(child(Doer, name=name)))
        with pytest.raises(ActorFailed) as caught:
            await top.ask(StartChild(child(Doer)))
        assert isinstance(caught.value.cause, TooManyChildren)
        assert caught.value.cause.max_children == 2
        await top.ask(StopChild("a"))
        await top.ask(StartChild(child(Doer, name="c")))
        assert await names(top) == ["b", "c"]


async def test_a_child_whose_start_fails_is_forgotten_and_the_supervisor_goes_on() -> None:
    class Bad(Doer):
        def __init__(self, where: str) -> None:
            self.where = where
            if where == "__init__":
                raise OSError(where)

        async def started(self) -> None:
            if self.where == "started":
                raise OSError(self.where)

    async with Checked("s") as system:
        top = await system.start(DynamicSupervisor)
        for where in ("__init__", "started"):
            with pytest.raises(ActorFailed, match=where):
                await top.ask(StartChild(child(Bad, where, name="bad")))
        assert await names(top) == []
        assert system.ledger.restarts == 0


@pytest.mark.parametrize("kind", ["permanent", "transient", "temporary"])
async def test_a_child_that_is_not_restarted_is_forgotten(kind: Any) -> None:
    async with Checked("s") as system:
        top = await system.start(DynamicSupervisor)
        ref = await top.ask(StartChild(child(Doer, name="a", kind=kind)))
        ref.tell(fail)
        await wait_all_tasks_blocked()
        assert await names(top) == ([] if kind == "temporary" else ["a"])
        if kind != "temporary":
            assert ref.incarnation == 2  # type: ignore[attr-defined]
            ref.stop()
            await ref.stopped()
            assert await names(top) == (["a"] if kind == "permanent" else [])


async def test_a_child_that_is_stopped_is_not_restarted() -> None:
    async with Checked("s") as system:
        top = await system.start(DynamicSupervisor)
        ref = await top.ask(StartChild(child(Doer, name="a")))
        await top.ask(StopChild("a"))
        await ref.stopped()
        assert (await top.ask(CountChildren())).specs == 0
        with pytest.raises(ActorFailed) as caught:
            await top.ask(StopChild("a"))
        assert isinstance(caught.value.cause, NoSuchChild)


async def test_a_child_that_waits_for_its_supervisor_is_forgotten_when_it_is_stopped(
    autojump_clock: Any,
) -> None:
    async with Checked("s") as system:
        top = await system.start(DynamicSupervisor)
        ref = await top.ask(StartChild(child(Doer, name="a")))
        top.tell(StopChild("a"))
        ref.tell(lambda _: top.ask(WhichChildren(), timeout=None))
        await trio.sleep(20)
        assert await names(top) == []


async def test_what_is_told_in_vain_is_logged_and_harmless(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Checked("s") as system:
        top = await system.start(DynamicSupervisor)
        top.tell(StopChild("nobody"))
        top.tell("what?")
        assert await names(top) == []
        assert system.ledger.restarts == 0
    assert "no child 'nobody'" in caplog.text
    assert "has no handler for str" in caplog.text


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="max_children is an int from 1 up"):

        class None_(DynamicSupervisor):
            max_children = 0

    with pytest.raises(TypeError, match="no group to restart together"):

        class Group(DynamicSupervisor):
            strategy = OneForAll()


async def test_thousands_fail_at_once_and_all_are_back(monkeypatch: pytest.MonkeyPatch) -> None:
    import logging

    monkeypatch.setattr(logging.getLogger("actors"), "disabled", True)
    async with Checked("s") as system:
        top = await system.start(Loose)
        refs = [await top.ask(StartChild(child(Doer))) for _ in range(2_000)]
        for ref in refs:
            ref.tell(fail)
            ref.tell("waits for the next incarnation")
        await wait_all_tasks_blocked()
        assert system.ledger.restarts == 2_000
        assert system.ledger.handled >= 4_000
        assert {ref.incarnation for ref in refs} == {2}  # type: ignore[attr-defined]


async def test_a_deep_tree_stops_and_escalates_to_the_very_top() -> None:
    depth = 300

    class Link(DynamicSupervisor):
        strategy = OneForOne(max_restarts=0)

        def __init__(self, left: int) -> None:
            self.left = left

        async def started(self) -> None:
            spec = child(Link, self.left - 1) if self.left else child(Doer)
            ref = await self.start_child(spec)
            if not self.left:
                self.context.system.bottom = ref  # type: ignore[attr-defined]

    async with Checked("s") as system:
        await system.start(Link, depth)
        system.bottom.tell(fail)  # type: ignore[attr-defined]
        await wait_all_tasks_blocked()
        with trio.fail_after(5):
            assert await system.bottom.ask("alive") == "alive"  # type: ignore[attr-defined]
