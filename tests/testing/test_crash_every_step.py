"""Failing an actor at every step: what survives, and what does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from actors import Actor, ActorFailed, ActorSystem, Env, Request, Restart, message
from actors._trio_private import deterministic_scheduling
from actors.testing import Deadlock, InjectedCrash, NotSurvived, crash_every_step
from actors.testing.crashes import Survived
from tests.actors.kit import Doer


@message
class Move(Request[None]):
    amount: int


class Ledger:
    """What is kept apart from the actors: two accounts."""

    def __init__(self) -> None:
        self.accounts = {"a": 100, "b": 0}

    def __repr__(self) -> str:
        return f"Ledger({self.accounts})"


class Careful(Actor):
    """Waits first, and then moves in one step."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    async def started(self) -> None:
        await trio.sleep(0.1)

    async def receive(self, message: Move) -> None:
        await trio.sleep(1)
        self.ledger.accounts["a"] -= message.amount
        self.ledger.accounts["b"] += message.amount


class Careless(Careful):
    """Waits in between."""

    async def receive(self, message: Move) -> None:
        self.ledger.accounts["a"] -= message.amount
        await trio.sleep(1)
        self.ledger.accounts["b"] += message.amount


def moving(cls: type[Actor], times: int = 3) -> Any:
    async def app(env: Env) -> Ledger:
        ledger = Ledger()
        async with ActorSystem("bank", env=env, max_restarts=None) as system:
            ref = system.spawn(cls, ledger, name="mover")
            for _ in range(times):
                try:
                    await ref.ask(Move(10))
                except ActorFailed:
                    continue
        return ledger

    return app


def the_money_is_the_same(ledger: Ledger) -> bool:
    return sum(ledger.accounts.values()) == 100


def test_a_careful_actor_survives_a_crash_at_every_step() -> None:
    survived = crash_every_step(moving(Careful), Careful, invariant=the_money_is_the_same)
    # Three messages and replies; their checkpoints, and that of started().
    assert survived == Survived(messages=3, replies=3, checkpoints=4)


def test_a_careless_one_is_found_at_the_first_step_that_breaks_it() -> None:
    with pytest.raises(NotSurvived) as caught:
        crash_every_step(moving(Careless), Careless, invariant=the_money_is_the_same)
    error = caught.value
    # The first checkpoint is that of started().
    assert (error.sort, error.number) == ("checkpoint", 2)
    assert "crash at checkpoint 2, at a checkpoint in receive() of actor://bank/mover" in str(error)
    assert "handling Move(amount=10)" in str(error)
    assert "the invariant does not hold" in str(error)
    assert "only=('checkpoint', 2)" in str(error)
    with pytest.raises(NotSurvived) as again:
        crash_every_step(
            moving(Careless), Careless, invariant=the_money_is_the_same, only=("checkpoint", 2)
        )
    assert str(again.value) == str(error)
    survived = crash_every_step(
        moving(Careless), Careless, invariant=the_money_is_the_same, only=("message", 2)
    )
    assert survived == Survived(1, 0, 0)
    with pytest.raises(ValueError, match="no message number 99"):
        crash_every_step(moving(Careless), Careless, only=("message", 99))


def test_the_classes_are_as_before_afterwards() -> None:
    before = dict(vars(Careful)), dict(vars(Careless))
    with pytest.raises(NotSurvived):
        crash_every_step(moving(Careless), Careless, Careful, invariant=the_money_is_the_same)
    assert (dict(vars(Careful)), dict(vars(Careless))) == before


def test_an_application_that_is_wrong_without_any_crash_is_told_apart() -> None:
    with pytest.raises(NotSurvived, match="without any crash: AssertionError") as caught:
        crash_every_step(moving(Careful), Careful, invariant=lambda ledger: False)
    assert (caught.value.sort, caught.value.number) == (None, 0)


def test_plain_handlers_and_become_are_failed_too() -> None:
    class Plain(Actor):
        def receive(self, message: Any) -> None:
            self.context.become(self.second)

        async def second(self, message: Any) -> None:
            await trio.sleep(1)

    async def app(env: Env) -> None:
        async with ActorSystem("s", env=env) as system:
            ref = system.spawn(Plain)
            for number in range(2):
                ref.tell(number)

    assert crash_every_step(app, Plain) == Survived(2, 2, 1)


def test_a_hang_is_found_and_named() -> None:
    class Once(Doer):
        """Sets the event when it ends its first message; who waits for it waits for ever else."""

        async def receive(self, message: trio.Event) -> None:
            await trio.sleep(1)
            message.set()

    async def app(env: Env) -> None:
        async with ActorSystem("s", env=env) as system:
            done = trio.Event()
            system.spawn(Once, name="once").tell(done)
            await done.wait()

    with pytest.raises(NotSurvived, match="crash at message 1, before receive") as caught:
        crash_every_step(app, Once)
    assert isinstance(caught.value.cause, Deadlock)
    assert "waits in app, test_crash_every_step" in str(caught.value)


def test_a_run_that_does_not_end_is_found() -> None:
    async def app(env: Env) -> None:
        async with ActorSystem("s", env=env) as system:
            ref = system.spawn(Doer)
            ref.tell(endless)
            await ref.ask("x", timeout=None)

    async def endless(_: Actor) -> None:
        while True:
            await trio.lowlevel.checkpoint()

    with pytest.raises(NotSurvived, match="did not end within 2,000 steps"):
        crash_every_step(app, Careful, most_task_steps=2_000)


def test_a_run_that_does_not_end_when_cancelled_either_is_found(repository: Path) -> None:
    # In a process of its own: the run is torn, and leaves its coroutines to the collector.
    program = """
import trio
from actors import Actor, ActorSystem
from actors.testing import NotSurvived, crash_every_step

class Stubborn(Actor):
    async def receive(self, wait):
        with trio.CancelScope(shield=True):
            while True:
                await wait()

def app(wait):
    async def app(env):
        async with ActorSystem("s", env=env) as system:
            await system.spawn(Stubborn).ask(wait, timeout=None)
    return app

for wait in (trio.lowlevel.checkpoint, trio.sleep_forever):
    try:
        crash_every_step(app(wait), Stubborn, most_task_steps=1_000)
    except NotSurvived as broken:
        print(broken.where, "|", type(broken.cause).__name__, "|", broken.cause)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=repository,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert lines[0] == (
        "without any crash | TimeoutError | it did not end within 1,000 steps of its tasks, "
        "nor within as many again when it was cancelled"
    )
    assert lines[1].startswith("without any crash | Deadlock | every task waits")


def test_a_handler_that_is_called_by_another_one_is_a_part_of_it() -> None:
    class Base(Actor):
        async def started(self) -> None:
            await trio.sleep(1)

        async def receive(self, message: Any) -> None:
            await trio.sleep(1)

    class Inherits(Base):
        """Has nothing of its own."""

    class Calls(Base):
        async def started(self) -> None:
            await super().started()

        async def receive(self, message: Any) -> None:
            await super().receive(message)

    class Becomes(Base):
        __hash__ = None  # type: ignore[assignment]

        async def receive(self, message: Any) -> None:
            await super().receive(message)
            self.context.become(self.receive)

    def app(cls: type[Actor]) -> Any:
        async def app(env: Env) -> None:
            async with ActorSystem("s", env=env) as system:
                ref = system.spawn(cls)
                ref.tell(1)
                ref.tell(2)

        return app

    once_each = Survived(messages=2, replies=2, checkpoints=3)
    for cls in (Inherits, Calls, Becomes):
        assert crash_every_step(app(cls), Base, cls, cls) == once_each
        assert crash_every_step(app(cls), cls, Base) == once_each


def test_two_runs_have_the_same_steps_in_the_same_order() -> None:
    class Noisy(Doer):
        log: Any = None

        async def receive(self, message: int) -> None:
            await trio.sleep(0.001 * (message % 3))
            self.log.append((self.context.ref.name, message, trio.current_time()))

    async def app(env: Env) -> None:
        async with ActorSystem("s", env=env, max_restarts=None) as system:
            refs = [system.spawn(Noisy, name=f"n{number}") for number in range(10)]
            async with trio.open_nursery() as nursery:
                for number in range(100):
                    nursery.start_soon(refs[number % 10].send, number)

    logs = []
    for _ in range(3):
        Noisy.log = []
        crash_every_step(app, Noisy, only=("message", 50), seed=5)
        logs.append(Noisy.log)
    assert logs[0] == logs[1] == logs[2]
    assert len(logs[0]) == 199


def test_it_wants_actor_classes() -> None:
    async def app(env: Env) -> None:
        return None

    with pytest.raises(ValueError, match="which actors are to fail"):
        crash_every_step(app)
    with pytest.raises(TypeError, match="Actor classes"):
        crash_every_step(app, int)  # type: ignore[arg-type]


_ = InjectedCrash, Restart


def test_trio_still_has_the_names_that_make_its_order_of_tasks_repeatable() -> None:
    """The canary: the same seed gives the same order, another one another."""

    async def main() -> list[int]:
        order: list[int] = []

        async def task(number: int) -> None:
            for _ in range(3):
                await trio.lowlevel.checkpoint()
                order.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(task, number)
        return order

    orders = []
    for seed in (1, 1, 2):
        with deterministic_scheduling(seed):
            orders.append(trio.run(main))
    assert orders[0] == orders[1] != orders[2]
