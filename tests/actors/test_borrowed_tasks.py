"""Handlers may use anything of trio, ten thousand of them at once, and nobody is delayed by it."""

from __future__ import annotations

import gc
import logging
import weakref
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
    DeadLetterReason,
    Env,
    Mailbox,
)
from tests.actors.kit import Checked, Doer, PlainDoer, Recorder, all_tasks, fail, nap, wait

in_thread = trio.to_thread.run_sync


class Cancelling(Doer):
    cancel_abandoned = True


# -- many


async def test_ten_thousand_actors_wait_in_their_handlers_at_once() -> None:
    waiting = 0
    most = 0
    gate = trio.Event()

    class Waiter(Actor):
        async def receive(self, message: Any) -> int:
            nonlocal waiting, most
            waiting += 1
            most = max(most, waiting)
            await gate.wait()
            waiting -= 1
            return message

    async with Checked("s") as system:
        refs = [system.spawn(Waiter) for _ in range(10_000)]
        for number, ref in enumerate(refs):
            ref.tell(number)
        await wait_all_tasks_blocked()
        assert most == waiting == 10_000
        assert system.ledger.in_flight == 10_000
        # And with all of them waiting, another one works as ever.
        assert await system.spawn(Doer).ask("alive") == "alive"
        gate.set()
        await wait_all_tasks_blocked()
        assert waiting == 0
        assert system.ledger.handled == 10_001


async def test_ten_thousand_asks_wait_in_actors_with_hardly_a_task_among_them() -> None:
    gate = trio.Event()
    async with Checked("s") as system:
        slow = system.spawn(Doer)
        slow.tell(wait(gate))
        await wait_all_tasks_blocked()
        before = len(all_tasks())
        replies: list[Any] = []

        def asking(number: int) -> Callable[[Actor], Any]:
            async def ask(_: Actor) -> None:
                replies.append(await slow.ask(number, timeout=None))

            return ask

        for number in range(5_000):
            system.spawn(Doer).tell(asking(number))
        await wait_all_tasks_blocked()
        assert system.ledger.in_flight == 5_001
        assert len(all_tasks()) <= before + 2
        gate.set()
        await wait_all_tasks_blocked()
        assert replies == list(range(5_000))


async def test_idle_actors_have_no_task() -> None:
    async with Checked("s") as system:
        before = len(all_tasks())
        refs = [system.spawn(make) for make in (Doer, PlainDoer) for _ in range(500)]
        for ref in refs:
            ref.tell("hello")
        await wait_all_tasks_blocked()
        assert len(all_tasks()) <= before + 1


async def test_tasks_that_were_borrowed_are_used_again() -> None:
    async with Checked("s") as system:
        refs = [system.spawn(Doer) for _ in range(50)]
        sizes = []
        for _ in range(20):
            gate = trio.Event()
            for ref in refs:
                ref.tell(wait(gate))
            await wait_all_tasks_blocked()
            sizes.append(len(all_tasks()))
            gate.set()
            await wait_all_tasks_blocked()
        # The first round may have borrowed one task less: nobody led yet.
        assert len(set(sizes[1:])) == 1


# -- cancellation of exactly one


@pytest.mark.parametrize("how", ["sleep", "ask", "nursery", "thread", "scope", "send"])
@pytest.mark.parametrize("reason", ["timeout", "cancelled"])
async def test_exactly_the_abandoned_handler_is_cancelled(how: str, reason: str) -> None:
    log: list[str] = []
    gate = trio.Event()

    class Small(Recorder):
        mailbox = Mailbox(capacity=1)

    async with Checked("s") as system:
        slow = system.spawn(Small)
        slow.tell(gate)
        await wait_all_tasks_blocked()
        slow.tell("fills it")

        async def waiting(_: Actor) -> str:
            if how == "sleep":
                await gate.wait()
            elif how == "ask":
                await slow.ask("x", timeout=None)
            elif how == "send":
                await slow.send("x")
            elif how == "scope":
                with trio.CancelScope():
                    await gate.wait()
            elif how == "nursery":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(gate.wait)
            else:
                while not gate.is_set():
                    await in_thread(lambda: None, abandon_on_cancel=True)
            return "done"

        def handler(name: str) -> Callable[[Actor], Any]:
            async def run(actor: Actor) -> str:
                try:
                    await waiting(actor)
                except BaseException as error:
                    assert isinstance(error, trio.Cancelled) == (how != "nursery")
                    log.append(f"{name} cancelled")
                    raise
                log.append(f"{name} done")
                return "done"

            return run

        refs = {name: system.spawn(Cancelling) for name in ("before", "victim", "after")}
        refs["before"].tell(handler("before"))
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def ask() -> None:
                with scope:
                    try:
                        await refs["victim"].ask(
                            handler("victim"), timeout=0.05 if reason == "timeout" else None
                        )
                    except AskTimeout as error:
                        log.append(error.where)

            nursery.start_soon(ask)
            await trio.sleep(0.01)
            refs["after"].tell(handler("after"))
            await trio.sleep(0.01)
            if reason == "cancelled":
                scope.cancel()
        # The victim goes on with its next message; the others still wait.
        with trio.fail_after(5):
            assert await refs["victim"].ask("next") == "next"
        assert [line for line in log if line != "being handled"] == ["victim cancelled"]
        assert ("being handled" in log) == (reason == "timeout")
        gate.set()
        with trio.fail_after(5):
            while len(log) < 3 + (reason == "timeout"):
                await trio.sleep(0.001)
        assert {"before done", "after done"} <= set(log)
        assert system.ledger.expired == 1
        assert system.ledger.restarts == 0


async def test_a_handler_that_survives_its_cancellation_goes_on(autojump_clock: Any) -> None:
    log: list[str] = []

    async def tough(_: Actor) -> None:
        try:
            await trio.sleep(10)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
                log.append("cleaned up")
            raise

    async with Checked("s") as system:
        ref = system.spawn(Cancelling)
        with pytest.raises(AskTimeout):
            await ref.ask(tough, timeout=2)
        assert await ref.ask("next") == "next"
        assert log == ["cleaned up"]
        assert trio.current_time() == pytest.approx(3)


async def test_a_handler_that_raises_while_it_is_cancelled_has_failed(autojump_clock: Any) -> None:
    async def failing(_: Actor) -> None:
        try:
            await trio.sleep(10)
        finally:
            raise KeyError("in finally")

    async with Checked("s") as system:
        ref = system.spawn(Cancelling)
        with pytest.raises(AskTimeout):
            await ref.ask(failing, timeout=1)
        assert await ref.ask(lambda a: a.context.incarnation) == 2
        assert system.ledger.failed == 1


async def test_a_handlers_own_scopes_are_its_own_affair(autojump_clock: Any) -> None:
    async with Checked("s") as system:

        async def own(_: Actor) -> list[bool]:
            caught = []
            for seconds in (1, 3):
                with trio.move_on_after(seconds) as scope:
                    await trio.sleep(2)
                caught.append(scope.cancelled_caught)
            with trio.move_on_after(1) as scope:
                await slow.ask(nap(5), timeout=None)
            caught.append(scope.cancelled_caught)
            return caught

        slow = system.spawn(Doer)
        assert await system.spawn(Doer).ask(own, timeout=20) == [True, False, True]


# -- anything of trio


async def echo(stream: trio.SocketStream) -> None:
    async with stream:
        async for chunk in stream:
            await stream.send_all(chunk)


async def test_handlers_use_real_sockets() -> None:
    class Client(Actor):
        async def receive(self, message: tuple[int, bytes]) -> bytes:
            port, data = message
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            async with stream:
                await stream.send_all(data)
                received = b""
                while len(received) < len(data):
                    received += await stream.receive_some()
                return received

    class Server(Actor):
        async def started(self) -> None:
            self.listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def receive(self, message: Any) -> Any:
            if message == "port?":
                return self.listeners[0].socket.getsockname()[1]
            await trio.serve_listeners(echo, self.listeners)
            return None

        async def stopped(self) -> None:
            for listener in self.listeners:
                await listener.aclose()

    async with Checked("s", stop_within=0) as system:
        server = await system.start(Server)
        port = await server.ask("port?")
        server.tell("serve")
        async with trio.open_nursery() as nursery:

            async def ask(number: int) -> None:
                data = bytes([number]) * 100_000
                assert await system.spawn(Client).ask((port, data)) == data

            for number in range(10):
                nursery.start_soon(ask, number)


async def test_a_handlers_nursery_works_with_its_children_side_by_side(
    autojump_clock: Any,
) -> None:
    async with Checked("s") as system:
        results: list[int] = []

        async def work(_: Actor) -> str:
            async def child(number: int) -> None:
                await trio.sleep(number)
                results.append(number)

            async with trio.open_nursery() as nursery:
                for number in (3, 1, 2):
                    nursery.start_soon(child, number)
            return "all"

        assert await system.spawn(Doer).ask(work) == "all"
        assert results == [1, 2, 3]
        assert trio.current_time() == pytest.approx(3)


async def test_a_handlers_nursery_child_can_use_the_actors_ref_and_others() -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        other = system.spawn(Recorder, log)

        async def work(actor: Actor) -> None:
            async def child(number: int) -> None:
                other.tell(("told", number))
                await other.send(("sent", number))
                assert await other.ask(("asked", number)) == ("asked", number)

            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(child, number)

        await system.spawn(Doer).ask(work)
    assert len(log) == 60
    for number in range(20):
        assert [way for way, n in log if n == number] == ["told", "sent", "asked"]


async def test_handlers_use_threads_many_at_once() -> None:
    async with Checked("s") as system:
        replies: list[int] = []

        async def ask(number: int) -> None:
            ref = system.spawn(Doer)
            replies.append(await ref.ask(lambda _: in_thread(lambda: number * number)))

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(ask, number)
        assert sorted(replies) == [number * number for number in range(50)]


async def test_a_trio_lock_is_held_across_an_ask(autojump_clock: Any) -> None:
    """A lock belongs to the task that took it, so who holds one must stay on its task."""
    lock = trio.Lock()
    inside = 0
    async with Checked("s", max_restarts=0) as system:
        slow = system.spawn(Doer)

        async def locked(_: Actor) -> None:
            nonlocal inside
            async with lock:
                inside += 1
                assert inside == 1
                await slow.ask(nap(0.1))
                await slow.ask("at once")
                assert inside == 1
                inside -= 1

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(system.spawn(Doer).ask, locked, 100.0)
        assert system.ledger.failed == 0


async def test_a_memory_channel_an_event_and_a_condition_work_between_handlers() -> None:
    async with Checked("s") as system:
        send, receive = trio.open_memory_channel[int](0)
        received: list[int] = []

        async def producing(_: Actor) -> None:
            async with send:
                for number in range(50):
                    await send.send(number)

        async def consuming(_: Actor) -> None:
            async for number in receive:
                received.append(number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(system.spawn(Doer).ask, producing)
            nursery.start_soon(system.spawn(Doer).ask, consuming)
        assert received == list(range(50))

        condition = trio.Condition()

        async def waiting(_: Actor) -> str:
            async with condition:
                await condition.wait()
            return "notified"

        async def notifying(_: Actor) -> None:
            async with condition:
                condition.notify()

        async with trio.open_nursery() as nursery:
            replies: list[str] = []

            async def ask() -> None:
                replies.append(await system.spawn(Doer).ask(waiting))

            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            await system.spawn(Doer).ask(notifying)
        assert replies == ["notified"]


async def test_async_generators_and_context_managers_work_in_handlers(
    autojump_clock: Any,
) -> None:
    log: list[str] = []

    async def numbers(slow: ActorRef) -> Any:
        try:
            for number in range(3):
                yield await slow.ask(number)
                await trio.sleep(0.1)
        finally:
            log.append("closed")

    async with Checked("s") as system:
        slow = system.spawn(Doer)

        async def consuming(_: Actor) -> list[int]:
            return [number async for number in numbers(slow)]

        assert await system.spawn(Doer).ask(consuming) == [0, 1, 2]
        assert log == ["closed"]


async def test_a_handler_asks_before_in_and_after_a_scope_of_its_own(autojump_clock: Any) -> None:
    """Set aside, tied to a task, and set aside again: in one handler."""
    async with Checked("s") as system:
        slow, plain = system.spawn(Doer), system.spawn(PlainDoer)

        async def mixed(_: Actor) -> list[Any]:
            got = [await slow.ask(1), await plain.ask(2)]
            with trio.CancelScope():
                got += [await slow.ask(3), await plain.ask(4)]
                await trio.sleep(0.1)
                got += [await slow.ask(5), await plain.ask(6)]
            got += [await slow.ask(7), await plain.ask(8)]
            async with trio.open_nursery():
                got += [await slow.ask(9), await plain.ask(10)]
            await trio.sleep(0.1)
            got += [await slow.ask(11), await plain.ask(12)]
            return got

        async with trio.open_nursery() as nursery:
            for _ in range(20):

                async def check() -> None:
                    assert await system.spawn(Doer).ask(mixed) == list(range(1, 13))

                nursery.start_soon(check)


# -- nobody is delayed


async def test_a_handler_that_waits_delays_no_other_actor_not_even_on_its_own_turn(
    autojump_clock: Any,
) -> None:
    async with Checked("s") as system:
        gate = trio.Event()
        refs = [system.spawn(Doer) for _ in range(100)]
        log: list[int] = []
        for number, ref in enumerate(refs):
            # Every other one waits: those behind it in the queue of ready actors must not.
            ref.tell(wait(gate) if number % 2 == 0 else (lambda _, n=number: log.append(n)))
        await wait_all_tasks_blocked()
        assert log == list(range(1, 100, 2))
        assert trio.current_time() == pytest.approx(0, abs=0.01)
        gate.set()


async def test_messages_of_one_that_waits_stay_in_order_behind_it(autojump_clock: Any) -> None:
    log: list[int] = []
    async with Checked("s") as system:
        ref = system.spawn(Doer)

        def slow(number: int) -> Callable[[Actor], Any]:
            async def run(_: Actor) -> None:
                if number % 3 == 0:
                    await trio.sleep(1)
                log.append(number)

            return run

        for number in range(30):
            ref.tell(slow(number))
        await trio.sleep(20)
    assert log == list(range(30))


async def test_one_message_at_a_time_however_the_handler_waits(autojump_clock: Any) -> None:
    inside: dict[str, int] = {}
    env = Env(3)

    class Guarded(Actor):
        async def receive(self, message: Any) -> None:
            name = self.context.ref.name
            assert inside.get(name, 0) == 0
            inside[name] = 1
            random = env.random(name, message)
            way = random.randrange(5)
            if way == 1:
                await trio.lowlevel.checkpoint()
            elif way == 2:
                await trio.sleep(random.random())
            elif way == 3:
                await slow.ask(nap(random.random()), timeout=None)
            elif way == 4:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.sleep, random.random())
            assert inside[name] == 1
            inside[name] = 0

    async with Checked("s", env=env, max_restarts=0) as system:
        slow = system.spawn(Doer)
        refs = [system.spawn(Guarded, name=f"g{n}") for n in range(10)]
        for number in range(50):
            for ref in refs:
                ref.tell(number)
        await trio.sleep(10_000)
        assert system.ledger.failed == 0
        assert set(inside.values()) == {0}


class Endless(Actor):
    """Tells itself for ever."""

    turns = 0

    def receive(self, message: Any) -> None:
        Endless.turns += 1
        self.context.ref.tell(message)


class AsyncEndless(Actor):
    async def receive(self, message: Any) -> None:
        Endless.turns += 1
        self.context.ref.tell(message)


class AskingEndless(Actor):
    async def receive(self, message: Any) -> None:
        other = await self.context.start(PlainDoer)
        while True:
            Endless.turns += 1
            await other.ask("x")


@pytest.mark.parametrize("make", [Endless, AsyncEndless, AskingEndless])
@pytest.mark.parametrize("slices", [None, 50])
async def test_a_busy_actor_starves_neither_timers_nor_sockets_nor_tasks(
    make: Any, slices: int | None
) -> None:
    """All real: clock, socket, task. Each must come through while the actor never stops."""
    Endless.turns = 0
    async with Checked("s", stop_within=0, env=Env(1, slice_messages=slices)) as system:
        system.spawn(make).tell("go")
        fired = trio.Event()
        other = system.spawn(Doer)

        with trio.fail_after(20):
            # A timer of an actor.
            await other.ask(lambda a: a.context.after(0.005, lambda _: fired.set()) and None)
            await fired.wait()
            # A timeout of trio, and one of an ask.
            with trio.move_on_after(0.005):
                await trio.sleep_forever()
            with pytest.raises(AskTimeout):
                await other.ask(nap(0.05), timeout=0.005)
            # Other tasks, and other actors.
            for _ in range(20):
                await trio.lowlevel.checkpoint()
            assert await other.ask("alive", timeout=10) == "alive"
            # A socket.
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, echo, listeners)
                stream = await trio.open_tcp_stream(*listeners[0].socket.getsockname()[:2])
                async with stream:
                    for _ in range(10):
                        await stream.send_all(b"hello")
                        assert await stream.receive_some() == b"hello"
                nursery.cancel_scope.cancel()
            # A thread.
            assert await in_thread(lambda: "from a thread") == "from a thread"
        assert Endless.turns > 100


async def test_two_busy_actors_take_turns() -> None:
    turns = {"a": 0, "b": 0}

    class Busy(Actor):
        def receive(self, message: str) -> None:
            turns[message] += 1
            if turns[message] < 20_000:
                self.context.ref.tell(message)
                self.context.ref.tell(None) if False else None
            if abs(turns["a"] - turns["b"]) > 64 * 2 and max(turns.values()) < 20_000:
                raise AssertionError(turns)

    async with Checked("s", max_restarts=0) as system:
        for name in turns:
            system.spawn(Busy).tell(name)
        await wait_all_tasks_blocked()
    assert turns == {"a": 20_000, "b": 20_000}


async def test_a_task_that_asks_without_end_lets_others_run() -> None:
    async with Checked("s") as system:
        plain = system.spawn(PlainDoer)
        ran = 0

        async def other() -> None:
            nonlocal ran
            while True:
                ran += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            with trio.fail_after(20):
                while ran < 10:
                    await plain.ask("x")
            nursery.cancel_scope.cancel()


async def test_a_task_that_sends_without_end_lets_others_run() -> None:
    async with Checked("s") as system:
        plain = system.spawn(Recorder)
        ran = 0

        async def other() -> None:
            nonlocal ran
            while True:
                ran += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            with trio.fail_after(20):
                while ran < 10:
                    await plain.send("x")
            nursery.cancel_scope.cancel()


# -- nothing left behind


@pytest.mark.parametrize("end", ["normally", "exception", "cancelled", "failure"])
async def test_leaving_ends_every_borrowed_task(end: str, autojump_clock: Any) -> None:
    tasks = all_tasks()
    living = trio.lowlevel.current_statistics().tasks_living

    async def body() -> None:
        async with Checked("s", stop_within=1, max_restarts=0) as system:
            for _ in range(200):
                system.spawn(Doer).tell(nap(1e6))
            await wait_all_tasks_blocked()
            assert len(all_tasks()) >= len(tasks) + 200
            if end == "exception":
                raise KeyError(end)
            if end == "cancelled":
                scope.cancel()
                await trio.lowlevel.checkpoint()
            if end == "failure":
                system.spawn(Doer).tell(fail)
                await trio.sleep_forever()

    with trio.CancelScope() as scope:
        if end == "exception":
            with pytest.raises(KeyError):
                await body()
        elif end == "failure":
            with pytest.raises(ExceptionGroup):
                await body()
        else:
            await body()
    assert all_tasks() == tasks
    assert trio.lowlevel.current_statistics().tasks_living == living


async def test_actors_that_have_stopped_are_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Big(Doer):
        pass

    # pytest keeps the log's records, and their tracebacks keep the actors.
    monkeypatch.setattr(logging.getLogger("actors"), "disabled", True)
    async with Checked("s", max_restarts=None) as system:
        kept: list[weakref.ref[Actor]] = []
        for _ in range(20):
            ref = system.spawn(Big)
            await ref.ask(lambda a: kept.append(weakref.ref(a)))
            with pytest.raises(ActorFailed):
                await ref.ask(fail)
            await ref.ask(lambda a: kept.append(weakref.ref(a)))
            ref.stop()
            await ref.stopped()
        del ref
        gc.collect()
        alive = sum(each() is not None for each in kept)
        # The last ones may still be held by a frame; none may pile up.
        assert alive <= 4


async def test_a_system_within_a_system_and_two_beside_each_other() -> None:
    async with Checked("outer") as outer:
        ref = outer.spawn(Doer)

        async def inner_system(_: Actor) -> str:
            async with Checked("inner") as inner:
                return await inner.spawn(Doer).ask(lambda _: ref_2.ask("across"))

        ref_2 = outer.spawn(Doer)
        assert await ref.ask(inner_system) == "across"
        async with Checked("beside") as beside:
            theirs = beside.spawn(Doer)
            assert await ref.ask(lambda _: theirs.ask("beside")) == "beside"
            assert await theirs.ask(lambda _: ref.ask("and back")) == "and back"
        with pytest.raises(ActorFailed):
            await ref.ask(lambda _: theirs.ask("it is closed"))


async def test_a_handler_killed_while_set_aside_leaves_no_reply_behind(
    autojump_clock: Any,
) -> None:
    """Its ask's reply comes afterwards, and must wake nobody."""

    class Brief(Doer):
        shutdown = 1.0

    async with Checked("s") as system:
        slow = system.spawn(Doer)
        ref = system.spawn(Brief)

        async def asking(_: Actor) -> None:
            await slow.ask(nap(5), timeout=None)

        async def ask() -> None:
            with pytest.raises(ActorStopped, match="handler was cancelled"):
                await ref.ask(asking, timeout=None)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            ref.stop()
            await ref.stopped()
        await trio.sleep(10)
        assert [x.reason for x in system.dead_letters.recent] == [DeadLetterReason.CANCELLED]
        assert system.ledger.handled == 1


def test_a_system_runs_in_a_run_of_its_own_after_another_one() -> None:
    async def main() -> Any:
        async with ActorSystem("s") as system:
            return await system.spawn(Doer).ask(1)

    assert [trio.run(main) for _ in range(3)] == [1, 1, 1]
