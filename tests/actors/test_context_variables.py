"""Context variables: a turn has its own; nothing leaks from one actor to another."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Actor, ActorFailed, ActorRef, ActorSystem, AskTimeout
from tests.actors.kit import Checked, Doer, PlainDoer, nap

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nothing")


class PlainGetter(Actor):
    def receive(self, message: Any) -> str:
        return variable.get()


class AsyncGetter(Actor):
    async def receive(self, message: Any) -> str:
        return variable.get()


class WaitingGetter(Actor):
    async def receive(self, message: Any) -> str:
        await trio.lowlevel.checkpoint()
        return variable.get()


class AskingGetter(Actor):
    """Is set aside before it looks."""

    def __init__(self, asked: ActorRef) -> None:
        self.asked = asked

    async def receive(self, message: Any) -> str:
        await self.asked.ask("anything")
        return variable.get()


async def getters(system: ActorSystem) -> list[ActorRef]:
    deferring = system.spawn(Deferring)
    made = [system.spawn(make) for make in (PlainGetter, AsyncGetter, WaitingGetter)]
    return [*made, system.spawn(AskingGetter, system.spawn(Doer)), deferring]


class Deferring(Actor):
    """Replies on its next turn, so whoever asks it is set aside; with what it sees there."""

    def receive(self, message: Any) -> None:
        if isinstance(message, tuple):
            message[0].reply(variable.get())
        else:
            self.context.ref.tell((self.context.reply_later(),))


def set_plain(_: Actor) -> None:
    variable.set("leak")


async def set_and_end(_: Actor) -> None:
    variable.set("leak")


async def set_and_checkpoint(_: Actor) -> None:
    variable.set("leak")
    await trio.lowlevel.checkpoint()
    assert variable.get() == "leak"


async def checkpoint_and_set(_: Actor) -> None:
    await trio.lowlevel.checkpoint()
    variable.set("leak")


async def set_and_sleep(_: Actor) -> None:
    variable.set("leak")
    await trio.sleep(0.5)
    assert variable.get() == "leak"


async def set_in_a_scope(_: Actor) -> None:
    with trio.CancelScope():
        variable.set("leak")
        await trio.sleep(0.5)
        assert variable.get() == "leak"


async def set_and_fail(_: Actor) -> None:
    variable.set("leak")
    raise ValueError("after setting")


async def set_wait_and_fail(_: Actor) -> None:
    variable.set("leak")
    await trio.sleep(0.1)
    raise ValueError("after setting")


async def set_become_and_end(actor: Actor) -> None:
    variable.set("leak")
    actor.context.stash()


async def set_and_spawn(actor: Actor) -> None:
    variable.set("leak")
    actor.context.spawn(Doer)


SETTERS: list[Callable[[Actor], Any]] = [
    set_plain,
    set_and_end,
    set_and_checkpoint,
    checkpoint_and_set,
    set_and_sleep,
    set_in_a_scope,
    set_and_fail,
    set_wait_and_fail,
    set_become_and_end,
    set_and_spawn,
]


@pytest.mark.parametrize("setter", SETTERS)
async def test_what_one_handler_sets_no_other_actor_sees(setter: Any, autojump_clock: Any) -> None:
    async with Checked("s", max_restarts=None) as system:
        looking = await getters(system)
        setting = [system.spawn(Doer) for _ in range(3)]
        seen: list[str] = []

        async def look(ref: ActorRef) -> None:
            seen.append(await ref.ask("look"))

        for round_ in range(3):
            async with trio.open_nursery() as nursery:
                for getter in looking:
                    # Told first, so that it runs on the same leader just before the getter.
                    for ref in setting[: round_ + 1]:
                        ref.tell(setter)
                    nursery.start_soon(look, getter)
            await trio.sleep(1)
        assert seen == ["nothing"] * 3 * len(looking)
        assert variable.get() == "nothing"


@pytest.mark.parametrize("setter", [set_plain])
async def test_what_a_handler_on_the_spot_sets_neither_asker_nor_next_actor_sees(
    setter: Any,
) -> None:
    async with Checked("s") as system:
        plain = system.spawn(PlainDoer)
        for _ in range(3):
            await plain.ask(setter)
            assert variable.get() == "nothing"
            for getter in await getters(system):
                assert await getter.ask("look") == "nothing"


async def test_an_ask_on_the_spot_from_a_handler_leaks_in_neither_direction() -> None:
    async with Checked("s") as system:
        plain = system.spawn(PlainDoer)
        getter = system.spawn(PlainGetter)

        async def asking(_: Actor) -> str:
            variable.set("of the asker")
            assert await getter.ask("look") == "nothing"
            await plain.ask(set_plain)
            return variable.get()

        assert await system.spawn(Doer).ask(asking) == "of the asker"


async def test_a_handler_does_not_see_what_the_sender_has_set() -> None:
    async with Checked("s") as system:
        token = variable.set("of the sender")
        for getter in await getters(system):
            assert await getter.ask("look") == "nothing"
        variable.reset(token)


async def test_a_turn_sees_what_was_set_where_the_system_was_entered() -> None:
    token = variable.set("of the program")
    try:
        async with Checked("s") as system:
            inner = variable.set("later")
            for getter in await getters(system):
                assert await getter.ask("look") == "of the program"
            variable.reset(inner)
    finally:
        variable.reset(token)


async def test_a_constructor_may_read_what_the_spawner_has_set_but_its_handler_does_not() -> None:
    class Reading(Actor):
        def __init__(self) -> None:
            self.read = variable.get()
            variable.set("of the constructor")

        def receive(self, message: Any) -> tuple[str, str]:
            return self.read, variable.get()

    async with Checked("s") as system:
        token = variable.set("of the spawner")
        ref = system.spawn(Reading)
        assert variable.get() == "of the spawner"
        assert await ref.ask("what?") == ("of the spawner", "nothing")
        variable.reset(token)


def asking(make: type[Actor], message: Any) -> Callable[[ActorSystem], Callable[[Actor], Any]]:
    def prepare(system: ActorSystem) -> Callable[[Actor], Any]:
        ref = system.spawn(make)
        return lambda _: ref.ask(message)

    return prepare


def stopping(system: ActorSystem) -> Callable[[Actor], Any]:
    ref = system.spawn(Doer)

    async def stop(_: Actor) -> None:
        ref.stop()
        await ref.stopped()

    return stop


WAITS: dict[str, Callable[[ActorSystem], Callable[[Actor], Any]]] = {
    "checkpoint": lambda system: lambda _: trio.lowlevel.checkpoint(),
    "sleep": lambda system: nap(1),
    "ask of a plain actor": asking(PlainDoer, "now"),
    "ask of an async actor": asking(Doer, "now"),
    "ask of an actor that waits": asking(Doer, nap(1)),
    "ask that is deferred": asking(Deferring, "defer"),
    "start of a child": lambda system: lambda actor: actor.context.start(Starting),
    "end of another": stopping,
}


class Starting(Actor):
    async def started(self) -> None:
        variable.set("of the child")
        await trio.sleep(1)


@pytest.mark.parametrize("first", WAITS)
@pytest.mark.parametrize("second", ["checkpoint", "ask of an actor that waits"])
async def test_what_a_handler_sets_survives_its_own_waits(
    first: str, second: str, autojump_clock: Any
) -> None:
    async with Checked("s") as system:
        disturbing = [system.spawn(Doer) for _ in range(3)]

        def setting_and_waiting(own: str) -> Callable[[Actor], Any]:
            async def handler(actor: Actor) -> None:
                variable.set(own)
                for wait in (WAITS[first](system), WAITS[second](system), WAITS[first](system)):
                    for ref in disturbing:
                        ref.tell(set_and_sleep)
                    await wait(actor)
                    assert variable.get() == own

            return handler

        # Several at once, so that their waits overlap.
        async with trio.open_nursery() as nursery:
            for number in range(5):
                ref = system.spawn(Doer)
                nursery.start_soon(ref.ask, setting_and_waiting(f"own {number}"), 100.0)
        assert system.ledger.failed == 0
        for getter in await getters(system):
            assert await getter.ask("look") == "nothing"


async def test_a_token_can_be_reset_after_a_wait(autojump_clock: Any) -> None:
    """ContextVar.reset demands the very context in which set was called."""

    async with Checked("s", max_restarts=0) as system:
        other = system.spawn(Doer)
        results: list[str] = []

        def handler(wait: Callable[[], Any]) -> Callable[[Actor], Any]:
            async def resetting(_: Actor) -> None:
                token = variable.set("set")
                await wait()
                variable.reset(token)
                results.append(variable.get())

            return resetting

        await system.spawn(Doer).ask(handler(trio.lowlevel.checkpoint))
        await system.spawn(Doer).ask(handler(lambda: other.ask(nap(1))))
        await system.spawn(Doer).ask(handler(lambda: other.ask("at once")))
        assert results == ["nothing"] * 3


async def test_tasks_in_a_handlers_nursery_inherit_what_it_has_set() -> None:
    async with Checked("s") as system:
        seen: list[str] = []

        async def child() -> None:
            seen.append(variable.get())
            variable.set("of the child")
            await trio.lowlevel.checkpoint()
            seen.append(variable.get())

        async def handler(_: Actor) -> str:
            variable.set("of the handler")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child)
                nursery.start_soon(child)
            return variable.get()

        assert await system.spawn(Doer).ask(handler) == "of the handler"
        assert sorted(seen) == sorted(["of the handler", "of the child"] * 2)


async def test_tasks_in_a_nursery_opened_after_an_ask_inherit_what_was_set_before(
    autojump_clock: Any,
) -> None:
    async with Checked("s") as system:
        other = system.spawn(Doer)
        seen: list[str] = []

        async def child() -> None:
            seen.append(variable.get())

        async def handler(_: Actor) -> None:
            variable.set("of the handler")
            await other.ask(nap(1))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child)

        await system.spawn(Doer).ask(handler)
        assert seen == ["of the handler"]


async def test_a_thread_of_a_handler_inherits_what_it_has_set() -> None:
    async with Checked("s") as system:

        async def handler(_: Actor) -> str:
            variable.set("of the handler")
            return await trio.to_thread.run_sync(variable.get)

        assert await system.spawn(Doer).ask(handler) == "of the handler"


async def test_hooks_do_not_see_what_other_actors_have_set(autojump_clock: Any) -> None:
    seen: dict[str, str] = {}

    class Hooked(Doer):
        async def started(self) -> None:
            seen["started"] = variable.get()
            variable.set("of started")

        async def stopped(self) -> None:
            seen["stopped"] = variable.get()

        async def restarting(self, failure: Any) -> None:
            seen["restarting"] = variable.get()
            await trio.sleep(0.1)

    async with Checked("s") as system:
        setting = system.spawn(Doer)
        ref = system.spawn(Hooked)
        setting.tell(set_and_end)
        await wait_all_tasks_blocked()
        setting.tell(set_and_end)
        with pytest.raises(ActorFailed):
            await ref.ask(set_and_fail)
        await trio.sleep(1)
        setting.tell(set_and_end)
        ref.stop()
        setting.tell(set_and_end)
        await ref.stopped()
    assert seen["started"] == "nothing"
    assert seen["stopped"] == "nothing"


async def test_what_a_cancelled_handler_has_set_does_not_stay_on_its_task(
    autojump_clock: Any,
) -> None:
    class Cancelled(Doer):
        cancel_abandoned = True

    async with Checked("s") as system:
        ref = system.spawn(Cancelled)
        for _ in range(3):
            with pytest.raises(AskTimeout):
                await ref.ask(lambda _: set_and_wait_for_ever(), timeout=1)
            for getter in await getters(system):
                assert await getter.ask("look") == "nothing"
            assert await ref.ask(lambda _: variable.get()) == "nothing"


async def set_and_wait_for_ever() -> None:
    variable.set("leak")
    await trio.sleep_forever()


async def test_a_timers_message_does_not_see_what_was_set_when_it_was_made(
    autojump_clock: Any,
) -> None:
    seen: list[str] = []

    def set_timer(actor: Actor) -> None:
        variable.set("when it was made")
        actor.context.after(1, lambda _: seen.append(variable.get()))

    async with Checked("s") as system:
        system.spawn(Doer).tell(set_timer)
        await trio.sleep(2)
    assert seen == ["nothing"]
