"""Borrowed tasks: who waits delays nobody, who is busy starves nobody, and no task stays behind."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from actors import Actor, ActorRef, ActorSystem, AskTimeout
from actors._trio_private import cancel_status


class Sleeper(Actor):
    cancel_abandoned = True

    def __init__(self, log: list[str]) -> None:
        self.log = log

    async def receive(self, seconds: float) -> str:
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            self.log.append(f"{self.context.ref.name} was cancelled")
            raise
        self.log.append(f"{self.context.ref.name} woke")
        return "slept"


class Busy(Actor):
    """Tells itself without end."""

    turns = 0

    def receive(self, message: Any) -> None:
        self.turns += 1
        self.context.ref.tell(message)


def living_tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


async def test_cancelling_an_abandoned_handler_cancels_exactly_that_one(
    autojump_clock: Any,
) -> None:
    log: list[str] = []
    async with ActorSystem("s") as system:
        refs = [system.spawn(Sleeper, log, name=f"sleeper-{number}") for number in range(5)]
        for ref in refs:
            ref.tell(2.0)
        await trio.sleep(3)
        for ref in refs[:2] + refs[3:]:
            ref.tell(2.0)
        try:
            await refs[2].ask(2.0, timeout=1)
        except AskTimeout as error:
            assert error.where == "being handled"
        assert await refs[2].ask(0.5) == "slept"
    assert [line for line in log if "cancelled" in line] == ["sleeper-2 was cancelled"]
    assert log.count("sleeper-2 woke") == 2
    assert all(log.count(f"sleeper-{number} woke") == 2 for number in (0, 1, 3, 4))
    assert system.ledger.expired == 1
    assert system.ledger.missing == 0


async def test_a_handler_that_waits_delays_no_other_actor(autojump_clock: Any) -> None:
    async with ActorSystem("s") as system:
        waiting = system.spawn(Sleeper, [])
        waiting.tell(1_000.0)
        before = trio.current_time()
        for _ in range(10):
            assert await system.spawn(Sleeper, []).ask(0.0) == "slept"
        assert trio.current_time() == before
        waiting.stop()


async def test_a_busy_actor_starves_neither_timers_nor_sockets_nor_tasks() -> None:
    class Clock(Actor):
        def __init__(self, beats: list[int]) -> None:
            self.beats = beats
            self.context.every(0.001, "beat")

        def receive(self, message: str) -> None:
            self.beats.append(1)

    class Echo(Actor):
        async def receive(self, stream: trio.SocketStream) -> None:
            async with stream:
                async for data in stream:
                    await stream.send_all(data)

    beats: list[int] = []
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    with trio.fail_after(30):
        async with ActorSystem("s", stop_within=0) as system, listener:
            system.spawn(Busy).tell("go")
            system.spawn(Clock, beats)
            client = await trio.testing.open_stream_to_socket_listener(listener)
            async with client:
                system.spawn(Echo).tell(await listener.accept())
                for number in range(20):
                    await client.send_all(b"%d" % number)
                    assert await client.receive_some() == b"%d" % number
                await client.send_eof()
                assert await client.receive_some() == b""
            while len(beats) < 5:
                await trio.lowlevel.checkpoint()


async def test_leaving_the_system_ends_every_borrowed_task(autojump_clock: Any) -> None:
    before = living_tasks()
    async with ActorSystem("s", stop_within=1) as system:
        for _ in range(200):
            system.spawn(Sleeper, []).tell(0.1)
        await trio.sleep(1)
        for _ in range(100):
            system.spawn(Sleeper, []).tell(1_000.0)
        await trio.sleep(1)
        assert living_tasks() >= before + 100
    assert living_tasks() == before


async def test_a_lock_is_held_across_an_ask(autojump_clock: Any) -> None:
    lock = trio.Lock()
    inside: list[ActorRef] = []

    class Locking(Actor):
        def __init__(self, other: ActorRef) -> None:
            self.other = other

        async def receive(self, message: Any) -> None:
            async with lock:
                assert not inside
                inside.append(self.context.ref)
                await self.other.ask(0.1)
                inside.clear()

    async with ActorSystem("s", max_restarts=0) as system:
        other = system.spawn(Sleeper, [])
        for _ in range(10):
            system.spawn(Locking, other).tell("go")
        await trio.sleep(5)
    assert system.ledger.failed == 0
    assert system.ledger.handled == 20


async def test_actors_that_ask_each_other_need_no_task_of_their_own(autojump_clock: Any) -> None:
    class Asking(Actor):
        def __init__(self, other: ActorRef) -> None:
            self.other = other

        async def receive(self, message: float) -> str:
            reply: str = await self.other.ask(message, timeout=100)
            return reply

    async with ActorSystem("s") as system:
        before = living_tasks()
        slow = system.spawn(Sleeper, [])
        askers = [system.spawn(Asking, slow) for _ in range(1_000)]
        askers[0].tell(1.0)
        for asker in askers[1:]:
            asker.tell(0.0)
        await trio.testing.wait_all_tasks_blocked()
        assert system.ledger.in_flight == 1_001
        assert living_tasks() <= before + 3


async def test_trio_still_has_the_private_name_that_set_aside_asks_need() -> None:
    """The canary: without the name all still works, on tasks; but then this must be known.

    (That of `close_what_is_open` is in test_limits_and_redelivery: nurseries that are left open.)
    """
    task = trio.lowlevel.current_task()
    assert cancel_status(task) is cancel_status(task)
    with trio.CancelScope() as scope:
        assert cancel_status(task) is cancel_status(scope)
        with trio.CancelScope():
            assert cancel_status(task) is not cancel_status(scope)
        assert cancel_status(task) is cancel_status(scope)
