"""Virtual time: it jumps when nothing can run, or is moved by hand."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import ActorSystem
from actors._trio_private import somebody_waits_for_idle
from actors.testing import VirtualClock, run_virtually
from tests.actors.kit import Doer, nap


def test_an_hour_takes_no_time_and_keeps_its_order() -> None:
    log: list[Any] = []

    async def sleeper(seconds: float) -> None:
        await trio.sleep(seconds)
        log.append((seconds, trio.current_time()))

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for seconds in (3600, 1, 60.5):
                nursery.start_soon(sleeper, seconds)

    run_virtually(main)
    assert log == [(1, 1), (60.5, 60.5), (3600, 3600)]


def test_those_who_wait_for_all_to_be_blocked_come_before_time_does() -> None:
    async def main() -> float:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 10)
            await wait_all_tasks_blocked()
            return trio.current_time()
        raise AssertionError

    assert run_virtually(main) == 0


def test_a_thread_makes_no_time_pass() -> None:
    async def main() -> float:
        with trio.fail_after(1):
            await trio.to_thread.run_sync(time.sleep, 0.1)
        return trio.current_time()

    assert run_virtually(main) == 0


def test_a_socket_that_answers_is_faster_than_a_deadline() -> None:
    async def main() -> float:
        ours, theirs = (trio.socket.from_stdlib_socket(s) for s in socket.socketpair())
        with ours, theirs:
            async with trio.open_nursery() as nursery:

                async def echo() -> None:
                    data = await theirs.recv(100)
                    await trio.to_thread.run_sync(time.sleep, 0.05)
                    await theirs.send(data)

                nursery.start_soon(echo)
                with trio.fail_after(5):
                    await ours.send(b"x")
                    assert await ours.recv(100) == b"x"
            return trio.current_time()

    assert run_virtually(main) == 0


def test_a_socket_that_says_nothing_does_not_stop_time() -> None:
    async def main() -> float:
        ours, theirs = (trio.socket.from_stdlib_socket(s) for s in socket.socketpair())
        with ours, theirs, trio.move_on_after(5):
            await ours.recv(100)
        return trio.current_time()

    assert run_virtually(main) == 5


def test_time_moved_by_hand_goes_deadline_by_deadline() -> None:
    log: list[float] = []

    async def ticking() -> None:
        for _ in range(10):
            await trio.sleep(1)
            log.append(trio.current_time())

    async def main() -> None:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, VirtualClock)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ticking)
            await clock.advance(3.5)
            assert log == [1, 2, 3]
            assert trio.current_time() == 3.5
            await clock.advance(0)
            assert log == [1, 2, 3]
            await clock.advance(100)
        assert log[-1] == 10
        assert trio.current_time() == 103.5
        with pytest.raises(ValueError, match="seconds"):
            await clock.advance(-1)

    run_virtually(main, clock=VirtualClock(auto=False))


def test_time_moved_by_hand_waits_for_threads_and_sockets() -> None:
    log: list[Any] = []

    async def main() -> None:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, VirtualClock)
        ours, theirs = (trio.socket.from_stdlib_socket(s) for s in socket.socketpair())

        async def works_in_a_thread() -> None:
            await trio.sleep(1)
            await trio.to_thread.run_sync(time.sleep, 0.05)
            log.append(("thread", trio.current_time()))
            await theirs.send(b"x")

        async def reads() -> None:
            await ours.recv(1)
            log.append(("socket", trio.current_time()))

        with ours, theirs:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(works_in_a_thread)
                nursery.start_soon(reads)
                await clock.advance(5)
                assert log == [("thread", 1), ("socket", 1)]

    run_virtually(main, clock=VirtualClock(auto=False))


def test_timers_of_actors_are_on_the_same_clock() -> None:
    async def main() -> list[float]:
        beats: list[float] = []
        async with ActorSystem("s") as system:
            ref = system.spawn(Doer)
            await ref.ask(
                lambda actor: (
                    actor.context.every(10, lambda _: beats.append(trio.current_time())) and None
                )
            )
            await trio.sleep(35)
            await ref.ask(nap(2), timeout=3)
        return beats

    assert run_virtually(main) == [10, 20, 30]


def test_one_clock_can_be_used_again() -> None:
    clock = VirtualClock()
    for _ in range(2):

        async def main() -> float:
            await trio.sleep(5)
            return trio.current_time()

        assert run_virtually(main, clock=clock) == 5


async def test_trio_still_says_who_waits_for_all_others_to_be_blocked() -> None:
    """A canary: without it virtual time works, a millisecond a jump."""
    seen = []

    async def wait() -> None:
        await wait_all_tasks_blocked(0.01)

    async with trio.open_nursery() as nursery:
        seen.append(somebody_waits_for_idle())
        nursery.start_soon(wait)
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        seen.append(somebody_waits_for_idle())
    assert seen == [False, True]
