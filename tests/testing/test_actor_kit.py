"""One actor without a system: what it does is a list."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import pytest
import trio

from actors import (
    Actor,
    ActorRef,
    Context,
    ForgottenAwait,
    NameTaken,
    NotAnActor,
    NotRunning,
    Reply,
    Timer,
    message,
)
from actors.testing import ActorKit, effects
from actors.testing.stand_ins import KitContext
from tests.actors.kit import Doer, PlainDoer


@message
class Deposit:
    amount: int


class Account(Actor):
    def __init__(self, opening: int, *, limit: int = 1000) -> None:
        self.balance = opening
        self.limit = limit
        self.audit = self.context.spawn(Doer, "log", name="audit")

    def receive(self, message: Any) -> Any:
        match message:
            case Deposit(amount):
                self.balance += amount
                self.audit.tell(self.balance)
                return self.balance
            case "pause":
                self.context.become(self.paused)
            case "resume":
                self.context.unbecome()
                self.context.unstash_all()
        return None

    def paused(self, message: Any) -> Any:
        if message == "resume":
            return self.receive(message)
        self.context.stash()
        return None


def test_a_handler_is_called_and_its_effects_are_recorded() -> None:
    kit = ActorKit(functools.partial(Account, limit=5), 100)
    audit = kit.actor.audit
    assert kit.take_effects() == [effects.Spawned(Doer, ("log",), audit)]
    assert str(audit) == "actor://kit/actor/audit"
    assert kit.handle(Deposit(10)) == 110
    assert kit.effects == [effects.Told(audit, 110)]
    assert (kit.actor.balance, kit.actor.limit) == (110, 5)
    assert kit.context.children == (audit,)


def test_become_and_stash() -> None:
    kit = ActorKit(Account, 0)
    kit.handle("pause")
    kit.handle(Deposit(1))
    kit.handle(Deposit(2))
    assert kit.stashed == (Deposit(1), Deposit(2))
    assert kit.actor.balance == 0
    kit.take_effects()
    kit.handle("resume")
    assert kit.effects == [effects.Became(None), effects.Unstashed((Deposit(1), Deposit(2)))]
    assert kit.handle(Deposit(3)) == 3


class Busy(Doer):
    """Does as it is told."""


def test_all_other_effects() -> None:
    kit = ActorKit(Busy)
    other = kit.ref("other")
    context = kit.context

    def everything(_: Any) -> None:
        context.watch(other)
        context.unwatch(other)
        context.link(other)
        context.unlink(other)
        timer = context.after(1.5, "later")
        context.every(2, "again")
        timer.cancel()
        timer.cancel()
        context.forward(other)
        context.reply_later().reply(7)
        other.stop()
        context.stop()

    later, again = effects.Scheduled(1.5, "later"), effects.Scheduled(2.0, "again", 2.0)
    kit.handle(everything)
    assert kit.effects == [
        effects.Watched(other),
        effects.Unwatched(other),
        effects.Linked(other),
        effects.Unlinked(other),
        later,
        again,
        effects.Cancelled(later),
        effects.Forwarded(other, everything),
        effects.RepliesLater(everything),
        effects.Replied(7),
        effects.Stopped(other),
        effects.Stopped(context.ref),
    ]


def test_asks_are_answered_by_the_test() -> None:
    kit = ActorKit(Busy)
    price = kit.ref("price")
    kit.answer(price, 3)
    kit.answer(price, KeyError("coffee"))

    async def asks(_: Any) -> Any:
        await price.send("hint")
        return await price.ask("tea", timeout=1) * 2

    assert kit.handle(asks) == 6
    assert kit.effects == [effects.Sent(price, "hint"), effects.Asked(price, "tea", 1)]
    with pytest.raises(KeyError, match="coffee"):
        kit.handle(asks)
    with pytest.raises(AssertionError, match=r"no answer was given: kit\.answer"):
        kit.handle(asks)


async def test_a_handler_that_really_waits_needs_trio(autojump_clock: Any) -> None:
    kit = ActorKit(Busy)

    async def waits(_: Any) -> str:
        await trio.sleep(1)
        return "waited"

    with pytest.raises(AssertionError, match="handle_async"):
        kit.handle(lambda _: SleepsWithoutTrio())
    assert await kit.handle_async(waits) == "waited"


class SleepsWithoutTrio:
    """Awaited, it yields."""

    def __await__(self) -> Any:
        yield "trap"


def test_misuse_is_as_in_the_real_context() -> None:
    kit = ActorKit(Busy)
    for method in ("stash", "reply_later"):
        with pytest.raises(NotRunning, match="no message is being handled"):
            getattr(kit.context, method)()
    with pytest.raises(NotRunning):
        kit.context.forward(kit.ref("x"))
    kit.context.spawn(Doer, name="a")
    with pytest.raises(NameTaken):
        kit.context.spawn(Doer, name="a")
    with pytest.raises(NotAnActor):
        kit.context.spawn(int)  # type: ignore[arg-type]
    with pytest.raises(NotAnActor):
        ActorKit(int)  # type: ignore[type-var]
    with pytest.raises(ValueError, match="delay"):
        kit.context.after(-1, "x")
    for method in ("watch", "link"):
        with pytest.raises(TypeError, match="takes the ref of one actor, not 'x'"):
            getattr(kit.context, method)("x")
    with pytest.raises(TypeError, match="become"):
        kit.context.become(3)  # type: ignore[arg-type]


def test_hooks_are_run_by_the_test() -> None:
    class Hooked(Actor):
        async def started(self) -> None:
            self.timer = self.context.every(60, "tick")

    kit = ActorKit(Hooked)
    kit.run(kit.actor.started())
    assert kit.effects == [effects.Scheduled(60.0, "tick", 60.0)]


def test_what_the_kit_gives_has_all_that_the_real_ones_have() -> None:
    kit = ActorKit(Busy)
    given: dict[str, Any] = {}
    kit.handle(
        lambda _: given.update(reply=kit.context.reply_later(), timer=kit.context.after(1, "x"))
    )
    pairs: list[tuple[type, Any]] = [
        (Context, kit.context),
        (ActorRef, kit.ref("x")),
        (Reply, given["reply"]),
        (Timer, given["timer"]),
    ]
    for real, kits in pairs:
        for name in filter(lambda name: not name.startswith("_"), dir(real)):
            assert hasattr(kits, name), (real, name)
            method = getattr(real, name)
            if inspect.isfunction(method):
                same = getattr(type(kits), name)
                assert _parameters(method) == _parameters(same), (real, name)
                assert inspect.iscoroutinefunction(method) == inspect.iscoroutinefunction(same)
    # Whatever it does not define itself would look for a real actor.
    names = {name for name in vars(Context) if not name.startswith("_")}
    assert names <= set(vars(KitContext))


def _parameters(method: Any) -> Any:
    return inspect.signature(method).parameters


def test_the_system_that_it_sees_makes_top_level_actors() -> None:
    kit = ActorKit(Busy)

    async def spawns(_: Any) -> Any:
        system = kit.context.system
        return system.spawn(Doer, 1, name="logger"), await system.start(Doer)

    logger, other = kit.handle(spawns)
    assert (str(logger), str(other)) == ("actor://kit/logger", "actor://kit/doer~1")
    assert kit.system.children == (logger, other)
    assert kit.effects == [
        effects.Spawned(Doer, (1,), logger),
        effects.Spawned(Doer, (), other),
    ]
    with pytest.raises(NameTaken):
        kit.context.system.spawn(Doer, name="logger")


def test_a_taken_over_reply_can_be_made_to_fail_once() -> None:
    kit = ActorKit(Busy)
    error = ValueError("no")

    def fails(_: Any) -> Any:
        reply = kit.context.reply_later()
        with pytest.raises(TypeError, match="takes an exception"):
            reply.fail("no")  # type: ignore[arg-type]
        return reply.fail(error), reply.wanted, reply.fail(error), reply.reply(1)

    assert kit.handle(fails) == (True, False, False, False)
    assert kit.effects == [effects.RepliesLater(fails), effects.ReplyFailed(error)]


async def test_a_forgotten_await_is_told_as_in_a_system() -> None:
    async def work() -> int:
        return 7

    class Forgets(Actor):
        def receive(self, message: Any) -> Any:
            return work()

    class ForgetsToo(Actor):
        async def receive(self, message: Any) -> Any:
            return work()

    for cls in (Forgets, ForgetsToo):
        kit = ActorKit(cls)
        with pytest.raises(ForgottenAwait, match=r"receive of actor://kit/actor"):
            kit.handle(1)
        with pytest.raises(ForgottenAwait):
            await kit.handle_async(1)


def test_a_handler_that_failed_has_no_message_in_hand() -> None:
    kit = ActorKit(PlainDoer)
    with pytest.raises(ZeroDivisionError):
        kit.handle(lambda _: 1 / 0)
    with pytest.raises(NotRunning):
        kit.context.stash()


def test_without_trio_it_says_that_trio_is_needed() -> None:
    async def sleeps(_: Any) -> None:
        await trio.sleep(1)

    async def fails(_: Any) -> None:
        raise RuntimeError("its own")

    with pytest.raises(AssertionError, match="waits for trio: `await kit.handle_async"):
        ActorKit(Busy).handle(sleeps)
    with pytest.raises(RuntimeError, match="its own"):
        ActorKit(Busy).handle(fails)


class Fenced(Actor):
    def receive(self, message: object) -> int | None:
        return self.context.fence


def test_a_fence_is_what_the_test_says() -> None:
    assert ActorKit(Fenced).handle("what?") is None
    assert ActorKit(Fenced, fence=7).handle("what?") == 7
