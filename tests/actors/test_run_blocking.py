"""`context.run_blocking`: functions in threads. All threads are real."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Actor, ActorFailed, HandlerTimeout, Stop
from actors.testing import ActorKit
from actors.threads import BLOCKING_THREADS
from tests.actors.kit import Checked, Doer, Parent


@contextlib.contextmanager
def gate() -> Iterator[threading.Event]:
    """A gate that is open in the end, so that no thread stays."""
    event = threading.Event()
    try:
        yield event
    finally:
        event.set()


def blocking(function: Callable[..., Any], *args: Any) -> Callable[[Actor], Any]:
    """Sent to a Doer: runs a function in a thread."""
    return lambda actor: actor.context.run_blocking(function, *args)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not condition():
            await trio.sleep(0.001)


async def test_a_function_runs_in_another_thread_and_its_value_comes_back() -> None:
    async with Checked("s") as system:
        doer = system.spawn(Doer)
        assert await doer.ask(blocking(divmod, 7, 2)) == (3, 1)
        assert await doer.ask(blocking(threading.get_ident)) != threading.get_ident()


async def test_what_the_function_raises_fails_the_handler() -> None:
    async with Checked("s") as system:
        with pytest.raises(ActorFailed) as caught:
            await system.spawn(Doer).ask(blocking(int, "no number"))
    assert isinstance(caught.value.cause, ValueError)


async def test_an_async_function_is_refused() -> None:
    async def not_blocking() -> None: ...

    async with Checked("s") as system:
        with pytest.raises(ActorFailed) as caught:
            await system.spawn(Doer).ask(blocking(not_blocking))
    assert isinstance(caught.value.cause, TypeError)


async def test_other_actors_go_on_meanwhile() -> None:
    async with Checked("s") as system:
        with gate() as opened:
            system.spawn(Doer).tell(blocking(opened.wait))
            await wait_all_tasks_blocked()
            assert await system.spawn(Doer).ask("alive") == "alive"


class Limited(Doer):
    handle_within = 0.01


async def test_a_time_limit_ends_the_wait_and_the_log_says_that_the_function_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    began, ended = threading.Event(), threading.Event()
    async with Checked("s") as system:
        with gate() as opened:

            def function() -> None:
                began.set()
                opened.wait()
                ended.set()

            parent = system.spawn(Parent, Limited, Stop())
            limited = system.at(f"{parent}/child")
            with caplog.at_level(logging.WARNING, "actors"), pytest.raises(ActorFailed) as caught:
                await limited.ask(blocking(function))
            assert isinstance(caught.value.cause, HandlerTimeout)
            assert not ended.is_set()
            if began.is_set():
                assert "goes on in its thread" in caplog.text
                assert str(limited) in caplog.text
        await until(lambda: ended.is_set() or not began.is_set())


async def test_leaving_a_system_does_not_wait_for_a_function_that_does_not_end() -> None:
    began, ended = threading.Event(), threading.Event()
    with gate() as opened:

        def function() -> None:
            began.set()
            opened.wait()
            ended.set()

        with trio.fail_after(20):
            async with Checked("s", stop_within=0) as system:
                system.spawn(Doer).tell(blocking(function))
                await until(began.is_set)
        assert not ended.is_set()
    await until(ended.is_set)


async def test_so_many_run_at_once_and_others_wait_for_a_thread() -> None:
    running = 0
    most = 0
    lock = threading.Lock()

    async with Checked("s") as system:
        with gate() as opened:

            def function() -> None:
                nonlocal running, most
                with lock:
                    running += 1
                    most = max(most, running)
                opened.wait()
                with lock:
                    running -= 1

            doers = [system.spawn(Doer) for _ in range(BLOCKING_THREADS + 5)]
            for doer in doers:
                doer.tell(blocking(function))
            await until(lambda: running == BLOCKING_THREADS)
            # Trio's own threads are still there for others.
            assert await trio.to_thread.run_sync(lambda: running) == BLOCKING_THREADS
            opened.set()
            await until(lambda: system.ledger.handled == len(doers))
    assert most == BLOCKING_THREADS


class Upper(Actor):
    async def receive(self, message: str) -> str:
        return await self.context.run_blocking(message.upper)


def test_in_an_actor_kit_the_function_is_called_at_once() -> None:
    assert ActorKit(Upper).handle("text") == "TEXT"
