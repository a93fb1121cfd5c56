"""One actor without a system: what it does is a list."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import pytest
import trio

from actors import Actor, Context, NameTaken, NotAnActor, NotRunning, message
from actors.testing import ActorKit, effects
from actors.testing.kit import KitContext
from tests.actors.kit import Doer


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
    with pytest.raises(TypeError, match="become"):
        kit.context.become(3)  # type: ignore[arg-type]


def test_hooks_are_run_by_the_test() -> None:
    class Hooked(Actor):
        async def started(self) -> None:
            self.timer = self.context.every(60, "tick")

    kit = ActorKit(Hooked)
    kit.run(kit.actor.started())
    assert kit.effects == [effects.Scheduled(60.0, "tick", 60.0)]


def test_the_context_has_all_that_the_real_one_has() -> None:
    def public(cls: type) -> dict[str, Any]:
        return {
            name: inspect.signature(value) if callable(value) else type(value)
            for name, value in vars(cls).items()
            if not name.startswith("_")
        }

    real, kits = public(Context), public(KitContext)
    assert set(real) <= set(kits)
    for name, signature in real.items():
        if isinstance(signature, inspect.Signature):
            assert list(signature.parameters) == list(kits[name].parameters), name
