"""The system used from plain threads, and plain threads used by handlers. All threads are real."""

from __future__ import annotations

import contextlib
import threading
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
    AskTimeout,
    Mailbox,
    MailboxFull,
    NotRunning,
    Reply,
    SystemClosed,
    WrongThread,
)
from tests.actors.kit import Checked, Doer, PlainDoer, PlainRecorder, Recorder, fail, wait

in_thread = trio.to_thread.run_sync


class Small(Recorder):
    mailbox = Mailbox(capacity=1)


async def test_a_thread_can_tell_send_and_ask() -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        for make in (Recorder, PlainRecorder):
            ref = system.spawn(make, log)
            await in_thread(system.from_thread.tell, ref, "told")
            await in_thread(system.from_thread.send, ref, "sent")
            assert await in_thread(system.from_thread.ask, ref, "asked") == "asked"
    assert log == ["told", "sent", "asked"] * 2


async def test_many_threads_at_once_lose_nothing_and_keep_their_own_order() -> None:
    log: list[tuple[int, int]] = []

    def use(system: ActorSystem, ref: ActorRef, thread: int) -> None:
        for number in range(60):
            way = (system.from_thread.tell, system.from_thread.send, system.from_thread.ask)
            way[number % 3](ref, (thread, number))

    async with Checked("s") as system:
        ref = system.spawn(Recorder, log)
        async with trio.open_nursery() as nursery:
            for thread in range(8):
                nursery.start_soon(in_thread, use, system, ref, thread)
        assert system.ledger.sent == 8 * 60
    for thread in range(8):
        assert [number for t, number in log if t == thread] == list(range(60))


async def test_a_thread_gets_the_errors_that_the_ref_raises() -> None:
    def use(system: ActorSystem, doer: ActorRef, small: ActorRef) -> None:
        with pytest.raises(ActorFailed) as failed:
            system.from_thread.ask(doer, fail)
        assert isinstance(failed.value.cause, ValueError)
        system.from_thread.tell(small, "fills it")
        with pytest.raises(MailboxFull):
            system.from_thread.tell(small, "too many")
        with pytest.raises(AskTimeout):
            system.from_thread.ask(small, "no room", timeout=0.01)
        with pytest.raises(ActorStopped):
            system.from_thread.ask(system.at("actor://s/nobody"), "hello")

    async with Checked("s") as system:
        small = system.spawn(Small)
        gate = trio.Event()
        small.tell(gate)
        await wait_all_tasks_blocked()
        await in_thread(use, system, system.spawn(Doer), small)
        gate.set()


async def test_a_thread_that_sends_waits_for_room() -> None:
    log: list[Any] = []
    returned = threading.Event()
    began = threading.Event()

    async with Checked("s") as system:
        ref = system.spawn(Small, log)
        gate = trio.Event()
        ref.tell(gate)
        await wait_all_tasks_blocked()
        ref.tell("fills it")

        def send() -> None:
            began.set()
            system.from_thread.send(ref, "sent")
            returned.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_thread, send)
            await in_thread(began.wait)
            # Every round trip through another thread gives it its chance to go wrong.
            for _ in range(20):
                await in_thread(lambda: None)
                assert not returned.is_set()
            gate.set()
        assert returned.is_set()
    assert log == ["fills it", "sent"]


async def test_from_thread_in_the_systems_own_thread_raises_rather_than_block() -> None:
    async with Checked("s") as system:
        ref = system.spawn(Doer)
        with pytest.raises(WrongThread, match=r"use ref\.tell / send / ask") as caught:
            system.from_thread.tell(ref, 1)
        assert caught.value.name == "s"
        assert isinstance(caught.value, RuntimeError)
        with pytest.raises(WrongThread):
            system.from_thread.send(ref, 1)
        with pytest.raises(WrongThread):
            system.from_thread.ask(ref, 1)

        def within(_: Actor) -> None:
            with pytest.raises(WrongThread):
                system.from_thread.ask(ref, 1)

        await system.spawn(Doer).ask(within)
        assert system.ledger.sent == 1


def the_error_of(call: Callable[[], Any]) -> BaseException | None:
    try:
        call()
    except Exception as error:
        return error
    return None


def the_error_of_awaiting(call: Callable[[], Any]) -> BaseException | None:
    """Of an async function, stepped where no trio runs."""
    coroutine = call()
    try:
        coroutine.send(None)
    except Exception as error:
        return error
    finally:
        coroutine.close()
    return None


async def test_using_a_ref_or_a_system_from_another_thread_says_what_to_use() -> None:
    async with Checked("s") as system:
        ref = system.spawn(Doer)
        context = await ref.ask(lambda actor: actor.context)
        timer = context.after(1e6, "never")

        calls: list[Callable[[], Any]] = [
            lambda: ref.tell("from elsewhere"),
            lambda: ref.stop(),
            lambda: system.spawn(Doer),
            lambda: context.spawn(Doer),
            lambda: context.watch(ref),
            lambda: context.after(1, "x"),
            lambda: context.every(1, "x"),
            lambda: context.stop(),
            lambda: system.at("actor://s/nobody").tell("x"),
        ]
        for call in calls:
            error = await in_thread(the_error_of, call)
            assert isinstance(error, WrongThread), (calls.index(call), error)
            assert "system.from_thread.tell / send / ask" in str(error)
            assert error.name == "s"
        for call in (
            lambda: ref.send("from elsewhere"),
            lambda: ref.ask("from elsewhere"),
            lambda: ref.stopped(),
        ):
            error = await in_thread(the_error_of_awaiting, call)
            assert isinstance(error, WrongThread), error
        timer.cancel()
        assert await ref.ask("alive") == "alive"
        assert system.ledger.sent == 2


@pytest.mark.parametrize("way", ["send", "ask", "stopped"])
@pytest.mark.parametrize("target", ["idle", "plain and idle", "busy"])
async def test_another_thread_is_refused_also_while_a_handler_of_the_system_runs(
    way: str, target: str
) -> None:
    """The handler blocks its thread, so the other one acts in the middle of it."""
    go, done = threading.Event(), threading.Event()
    errors: list[BaseException | None] = []
    gate = trio.Event()
    async with Checked("s") as system:
        ref = system.spawn(PlainDoer if target == "plain and idle" else Doer)
        if target == "busy":
            ref.tell(wait(gate))
            await wait_all_tasks_blocked()
            ref.tell("queued")
        sent = system.ledger.sent

        def elsewhere() -> None:
            go.wait(10)
            call = ref.stopped if way == "stopped" else lambda: getattr(ref, way)("x")
            errors.append(the_error_of_awaiting(call))
            done.set()

        async def blocking(_: Actor) -> None:
            go.set()
            done.wait(10)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_thread, elsewhere)
            await wait_all_tasks_blocked()
            assert await system.spawn(Doer).ask(blocking) is None
        assert [type(error) for error in errors] == [WrongThread]
        assert system.ledger.sent == sent + 1
        gate.set()


async def test_a_reply_given_from_another_thread_is_refused_and_can_still_be_given() -> None:
    replies: list[Reply] = []

    def defer(actor: Actor) -> None:
        replies.append(actor.context.reply_later())

    async with Checked("s") as system:
        ref = system.spawn(Doer)

        async def ask() -> None:
            assert await ref.ask(defer) == "from the right thread"

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            error = await in_thread(the_error_of, lambda: replies[0].reply("from elsewhere"))
            assert isinstance(error, WrongThread)
            assert replies[0].wanted
            assert replies[0].reply("from the right thread") is True


async def test_a_handlers_thread_can_tell_its_own_actor_and_others() -> None:
    """The usual way: blocking work in a thread, which reports as it goes."""
    log: list[Any] = []

    async with Checked("s") as system:
        recorder = system.spawn(Recorder, log)

        async def work(_: Actor) -> str:
            def blocking() -> str:
                for number in range(10):
                    system.from_thread.tell(recorder, number)
                return system.from_thread.ask(recorder, "done")

            return await trio.to_thread.run_sync(blocking)

        assert await system.spawn(Doer).ask(work) == "done"
    assert log == [*range(10), "done"]


async def test_a_thread_started_by_hand_can_ask_while_the_system_waits() -> None:
    async with Checked("s") as system:
        ref = system.spawn(Doer)
        done = trio.Event()
        replies: list[Any] = []

        def run() -> None:
            replies.append(system.from_thread.ask(ref, "hello"))
            system.from_thread.tell(ref, lambda _: done.set())

        thread = threading.Thread(target=run)
        thread.start()
        with trio.fail_after(10):
            await done.wait()
        await in_thread(thread.join)
        assert replies == ["hello"]


def test_a_thread_that_comes_after_the_system_is_told_that_it_is_closed() -> None:
    kept: list[tuple[ActorSystem, ActorRef]] = []

    async def main() -> None:
        async with Checked("s") as system:
            ref = system.spawn(Doer)
            kept.append((system, ref))

        def late() -> None:
            with pytest.raises(SystemClosed, match="has been left"):
                system.from_thread.tell(ref, 1)
            with pytest.raises(SystemClosed):
                system.from_thread.ask(ref, 1)

        # While trio still runs.
        await trio.to_thread.run_sync(late)

    trio.run(main)
    system, ref = kept[0]
    for call in (system.from_thread.tell, system.from_thread.send, system.from_thread.ask):
        with pytest.raises(SystemClosed) as caught:
            call(ref, 1)
        assert caught.value.name == "s"


def test_a_thread_that_waits_when_the_system_ends_gets_an_error() -> None:
    errors: list[BaseException | None] = []
    threads: list[threading.Thread] = []

    async def main() -> None:
        async with Checked("s", stop_within=0) as system:
            ref = system.spawn(Doer)
            gate = trio.Event()
            threads.extend(
                threading.Thread(
                    target=lambda: errors.append(
                        the_error_of(lambda: system.from_thread.ask(ref, wait(gate), None))
                    )
                )
                for _ in range(3)
            )
            for thread in threads:
                thread.start()
            with trio.fail_after(10):
                while system.ledger.sent < 3:
                    await trio.lowlevel.checkpoint()

    trio.run(main)
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert [type(error) for error in errors] == [ActorStopped] * 3


def test_from_thread_before_the_system_is_entered_says_so() -> None:
    system = ActorSystem("s")
    with pytest.raises(NotRunning, match="is not running yet"):
        system.from_thread.tell(None, 1)  # type: ignore[arg-type]


async def test_two_systems_in_two_threads_can_use_each_other() -> None:
    log: list[Any] = []

    async with Checked("one") as one:
        recorder = one.spawn(Recorder, log)

        def other_thread() -> str:
            async def main() -> str:
                async with Checked("two") as two:

                    async def handler(_: Actor) -> str:
                        with pytest.raises(WrongThread):
                            recorder.tell("directly")
                        return await trio.to_thread.run_sync(
                            one.from_thread.ask, recorder, "from two"
                        )

                    return await two.spawn(Doer).ask(handler)

            return trio.run(main)

        assert await in_thread(other_thread) == "from two"
    assert log == ["from two"]


async def test_a_blocking_thread_in_a_handler_delays_no_other_actor() -> None:
    release = threading.Event()
    async with Checked("s") as system:
        blocking = system.spawn(Doer)
        blocking.tell(lambda _: trio.to_thread.run_sync(release.wait))
        await wait_all_tasks_blocked()
        with contextlib.ExitStack() as stack:
            stack.callback(release.set)
            with trio.fail_after(10):
                assert await system.spawn(Doer).ask("alive") == "alive"
