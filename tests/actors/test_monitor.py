"""`system.watch`: the end of an incarnation, awaited by who is no actor."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    ActorFailed,
    ActorRef,
    AskCycle,
    ExitReason,
    Failure,
    SystemClosed,
    Terminated,
)
from tests.actors.kit import Checked, Doer, fail


def watchers(ref: Any) -> int:
    return 0 if ref._rare is None else len(ref._rare.watchers)


async def test_a_task_waits_for_the_end_of_an_incarnation_and_learns_why(
    autojump_clock: Any,
) -> None:
    told: dict[str, Terminated] = {}

    async with Checked("s") as system, trio.open_nursery() as nursery:

        async def watch(ref: ActorRef) -> None:
            told[ref.name] = await system.watch(ref)

        stopped, failed = (system.spawn(Doer, name=name) for name in ("stopped", "failed"))
        nursery.start_soon(watch, stopped)
        nursery.start_soon(watch, failed)
        await wait_all_tasks_blocked()
        assert told == {}
        stopped.stop()
        failed.tell(fail)
        await wait_all_tasks_blocked()
        assert told["stopped"] == Terminated(stopped, ExitReason.NORMAL)
        assert told["failed"].ref is failed
        reason = told["failed"].reason
        assert isinstance(reason, Failure)
        assert isinstance(reason.exception, ValueError)
        # It was restarted: the next watch is of the next incarnation.
        nursery.start_soon(watch, failed)
        await wait_all_tasks_blocked()
        assert told["failed"].reason is reason
        assert watchers(failed) == 1
        failed.stop()
        await wait_all_tasks_blocked()
        assert told["failed"] == Terminated(failed, ExitReason.NORMAL)


async def test_one_that_is_dead_is_told_of_at_once() -> None:
    async with Checked("s") as system:
        gone = system.spawn(Doer)
        gone.stop()
        await gone.stopped()
        for ref in (gone, system.at("actor://s/nobody")):
            assert await system.watch(ref) == Terminated(ref, ExitReason.NO_ACTOR)


async def test_a_cancelled_watch_leaves_nothing(autojump_clock: Any) -> None:
    async with Checked("s") as system:
        ref = system.spawn(Doer, name="there")
        for _ in range(3):
            with trio.move_on_after(1) as scope:
                await system.watch(system.at("actor://s/there"))
            assert scope.cancelled_caught
        with trio.CancelScope() as scope:
            scope.cancel()
            await system.watch(ref)
        assert scope.cancelled_caught
        assert watchers(ref) == 0


async def test_leaving_the_system_ends_a_watch_and_then_there_is_none() -> None:
    async with trio.open_nursery() as nursery:
        told: list[Terminated] = []
        async with Checked("s") as system:
            ref = system.spawn(Doer)

            async def watch() -> None:
                told.append(await system.watch(ref))

            nursery.start_soon(watch)
            await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert told == [Terminated(ref, ExitReason.SHUTDOWN)]
        with pytest.raises(SystemClosed):
            await system.watch(ref)


async def test_what_is_no_actor_cannot_be_watched() -> None:
    async with Checked("s") as system:
        for ref in (system.at("topic://news"), Doer):
            with pytest.raises(TypeError, match="watch"):
                await system.watch(ref)  # type: ignore[arg-type]


async def test_a_handler_that_watches_who_waits_for_it_is_told_of_the_circle() -> None:
    async with Checked("s") as system:
        one, two = system.spawn(Doer), system.spawn(Doer)

        async def watch(ref: ActorRef, actor: Any) -> Any:
            return await actor.context.system.watch(ref)

        async def ask(actor: Any) -> Any:
            return await two.ask(functools.partial(watch, one))

        for ref, job in ((one, functools.partial(watch, one)), (one, ask)):
            with pytest.raises(ActorFailed) as caught:
                await ref.ask(job)
            error: BaseException | None = caught.value
            while isinstance(error, ActorFailed):
                error = error.cause
            assert isinstance(error, AskCycle)
        assert watchers(one) == 0
        # Where nobody waits for it, it may.
        async with trio.open_nursery() as nursery:
            told: list[Terminated] = []

            async def wait() -> None:
                told.append(await one.ask(functools.partial(watch, two), timeout=None))

            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            two.stop()
        assert told == [Terminated(two, ExitReason.NORMAL)]
