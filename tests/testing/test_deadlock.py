"""The deadlock oracle: the run ends at once, and says who waits for whom."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import ActorSystem, Mailbox
from actors.testing import Deadlock, VirtualClock, guard, run_virtually
from tests.actors.kit import Doer


def test_a_task_that_waits_for_ever_is_named_with_its_line() -> None:
    async def waits_in_vain() -> None:
        await trio.Event().wait()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits_in_vain, name="the culprit")

    with pytest.raises(Deadlock, match=r"task the culprit waits in waits_in_vain, test_deadlock"):
        run_virtually(main)


def test_actors_that_wait_for_one_another_by_reply_later() -> None:
    """The cycle check cannot see it: who defers its reply may still be given it by another."""

    async def main() -> None:
        async with ActorSystem("s", stop_within=1) as system:
            a, b = system.spawn(Doer, name="a"), system.spawn(Doer, name="b")
            kept: list[Any] = []

            def defer(actor: Any) -> None:
                kept.append(actor.context.reply_later())

            a.tell(lambda _: b.ask(defer, timeout=None))
            await a.ask("never", timeout=None)

    with pytest.raises(Deadlock) as caught:
        run_virtually(main)
    assert caught.value.waits == {"actor://s/a": "actor://s/b"}
    text = str(caught.value)
    assert "actor://s/a (incarnation 1, running), handling" in text
    assert "waits for the reply of actor://s/b" in text
    assert "(deferred)" in text
    assert "waits in main, test_deadlock.py" in text


def test_a_circle_over_an_event_and_an_ask() -> None:
    async def main() -> None:
        async with ActorSystem("s", stop_within=1) as system:
            gate = trio.Event()
            a, b = system.spawn(Doer, name="a"), system.spawn(Doer, name="b")

            async def waits_for_the_gate(_: Any) -> None:
                await gate.wait()

            a.tell(waits_for_the_gate)
            b.tell(lambda _: a.ask("x", timeout=None))
            await b.stopped()

    with pytest.raises(Deadlock) as caught:
        run_virtually(main)
    text = str(caught.value)
    assert "actor://s/a (incarnation 1, running), handling" in text
    assert "waits in waits_for_the_gate, test_deadlock.py" in text
    assert caught.value.waits == {"actor://s/b": "actor://s/a"}


def test_waiting_for_room_is_named() -> None:
    class Small(Doer):
        mailbox = Mailbox(capacity=1)

    async def main() -> None:
        async with ActorSystem("s", stop_within=1) as system:
            gate = trio.Event()
            small = system.spawn(Small, name="small")
            sender = system.spawn(Doer, name="sender")
            small.tell(lambda _: gate.wait())
            await trio.sleep(1)
            small.tell("fills it")
            sender.tell(lambda _: small.send("no room"))
            await sender.stopped()

    with pytest.raises(Deadlock, match="waits for room in the mailbox of actor://s/small"):
        run_virtually(main)


def test_what_still_has_a_deadline_is_no_deadlock() -> None:
    async def main() -> float:
        async with ActorSystem("s") as system:
            ref = system.spawn(Doer)
            with trio.move_on_after(1000):
                await ref.ask(lambda _: trio.sleep_forever(), timeout=None)
            ref.stop()
            await ref.stopped()
        return trio.current_time()

    assert run_virtually(main) == pytest.approx(1005)


def test_a_plain_run_with_the_clock_raises_the_deadlock_itself() -> None:
    """The canary for `task.coro`: trio steps what an instrument has put there."""
    cleaned_up: list[str] = []

    async def main() -> None:
        try:
            await trio.Event().wait()
        finally:
            cleaned_up.append("main")

    with pytest.raises(Deadlock, match=r"task \S+main waits in main, test_deadlock"):
        trio.run(main, clock=VirtualClock())
    assert cleaned_up == ["main"]


def test_a_plain_run_returns_what_its_function_returned_and_takes_arguments() -> None:
    async def main(number: int) -> int:
        await trio.sleep(number)
        return number + 1

    assert trio.run(main, 41, clock=VirtualClock()) == 42


def test_time_that_nobody_can_move_by_hand_is_a_deadlock_too() -> None:
    async def main() -> None:
        await trio.sleep(1)

    with pytest.raises(Deadlock, match="waits in main"):
        run_virtually(main, clock=VirtualClock(auto=False))


def test_who_waits_for_real_time_or_for_a_thread_is_no_deadlock() -> None:
    async def cushion() -> str:
        await wait_all_tasks_blocked(0.01)
        return "settled"

    async def thread_of_another_limiter() -> str:
        return await trio.to_thread.run_sync(
            lambda: time.sleep(0.05) or "done", limiter=trio.CapacityLimiter(1)
        )

    for auto in (True, False):
        assert run_virtually(cushion, clock=VirtualClock(auto=auto)) == "settled"
        assert run_virtually(thread_of_another_limiter, clock=VirtualClock(auto=auto)) == "done"


def test_what_a_task_asked_is_named() -> None:
    async def main() -> None:
        async with ActorSystem("s", stop_within=1) as system:
            ref = system.spawn(Doer, name="a")
            await ref.ask(lambda _: trio.sleep_forever(), timeout=None)

    with pytest.raises(Deadlock, match=r"for the reply of actor://s/a to .*\(being handled\)"):
        run_virtually(main)


def test_actors_that_the_collector_does_not_look_at_are_named_all_the_same() -> None:
    async def main() -> None:
        async with ActorSystem("s", stop_within=1) as system:
            a, b = system.spawn(Doer, name="a"), system.spawn(Doer, name="b")
            a.tell(lambda _: b.ask(lambda _: trio.sleep_forever(), timeout=None))
            gc.freeze()
            await a.stopped()

    try:
        with pytest.raises(Deadlock) as caught:
            run_virtually(main)
    finally:
        gc.unfreeze()
        # As tests/conftest.py left it.
        gc.freeze()
    assert caught.value.waits == {"actor://s/a": "actor://s/b"}


def test_what_the_clean_up_raises_does_not_hide_the_deadlock() -> None:
    async def main() -> None:
        try:
            await trio.Event().wait()
        finally:
            raise KeyError("clean-up")

    with pytest.raises(Deadlock) as caught:
        run_virtually(main)
    assert isinstance(caught.value.__context__, KeyError)


def test_a_part_that_is_guarded_ends_alone() -> None:
    async def main() -> str:
        with pytest.raises(Deadlock):
            await guard(trio.Event().wait)
        with pytest.raises(Deadlock):
            await guard(trio.Event().wait)
        return "goes on"

    assert run_virtually(main) == "goes on"


def test_a_run_that_hangs_even_when_cancelled_ends_all_the_same(repository: Path) -> None:
    # In a process of its own: the run is torn, and leaves its coroutines to the collector.
    program = (
        "import trio; from actors.testing import VirtualClock\n"
        "async def main():\n"
        "    with trio.CancelScope(shield=True): await trio.Event().wait()\n"
        "trio.run(main, clock=VirtualClock())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=repository,
        check=False,
    )
    assert done.returncode == 1
    assert "TrioInternalError" in done.stderr
    assert "actors.testing.deadlock.Deadlock: every task waits" in done.stderr


def test_an_error_of_the_body_is_what_it_is() -> None:
    async def main() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run_virtually(main)
