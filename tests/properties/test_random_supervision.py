"""Random trees of supervisors, random faults: nothing hangs or is lost, and all come back.

Each world is made of one seed, in virtual time and with trio's order of tasks fixed, so that a
failure can be run again: python -m pytest tests/properties/test_random_supervision.py -k "seed7-"
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
import trio
from tenacity import wait_fixed, wait_random

from actors import ActorError, ActorSystem, Env, Failure, Mailbox, Resume, Stop
from actors._trio_private import deterministic_scheduling
from actors.testing import run_virtually
from supervision import (
    ChildSpec,
    OneForAll,
    OneForOne,
    RestartChild,
    RestForOne,
    StopChild,
    Supervisor,
    WhichChildren,
    child,
)
from tests.actors.kit import Doer


class World:
    """What is checked from outside the actors."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.active: dict[str, int] = {}
        self.started: dict[str, int] = {}
        self.leaves: list[str] = []
        self.supervisors: list[str] = []
        self.quiet = False


class Leaf(Doer):
    mailbox = Mailbox(capacity=20)

    def __init__(self, world: World, hooks: frozenset[str]) -> None:
        self.world = world
        self.hooks = hooks
        if not world.quiet and world.chance.random() < 0.05 and self.context.incarnation > 1:
            raise ValueError("in the constructor")

    async def started(self) -> None:
        address = str(self.context.ref)
        assert not self.world.active.get(address), f"{address} is handled while it starts"
        if "started" in self.hooks:
            await self.maybe_wait()
            if not self.world.quiet and self.world.chance.random() < 0.1:
                raise ValueError("in started()")

    async def restarting(self, failure: Failure) -> None:
        await self.maybe_wait()
        if self.world.chance.random() < 0.1:
            raise ValueError("in restarting()")

    async def stopped(self) -> None:
        await self.maybe_wait()
        if self.world.chance.random() < 0.1:
            raise ValueError("in stopped()")

    async def maybe_wait(self) -> None:
        draw = self.world.chance.random()
        if draw < 0.3:
            await trio.sleep(draw)

    async def receive(self, message: Any) -> Any:
        address, active = str(self.context.ref), self.world.active
        assert not active.get(address), f"two of {address} handle at once"
        active[address] = 1
        try:
            return await super().receive(message)
        finally:
            active[address] = 0


class Poisoned(Leaf):
    redeliver = 1
    handle_within = 3.0


class Bare(Doer):
    """Without a hook: its restarts need not wait for anything."""

    def __init__(self, world: World, hooks: frozenset[str]) -> None:
        if not world.quiet and world.chance.random() < 0.05 and self.context.incarnation > 1:
            raise ValueError("in the constructor")


class Branch(Supervisor):
    shutdown = 2.0

    def __init__(self, strategy: Any, specs: list[ChildSpec]) -> None:
        self.strategy = strategy
        self.specs = specs

    def children(self) -> list[ChildSpec]:
        return self.specs


def branch(world: World, path: str, depth: int) -> ChildSpec:
    chance = world.chance
    strategy = chance.choice((OneForOne, OneForAll, RestForOne))(
        max_restarts=chance.choice((None, 3, 30)),
        within=chance.choice((1.0, 10.0)),
        backoff=chance.choice((None, None, wait_fixed(0.5), wait_random(0, 2))),
        decisions=chance.choice(({}, {KeyError: Resume()}, {KeyError: Stop(), OSError: Stop()})),
    )
    specs = []
    for number in range(chance.randint(1, 4)):
        name = f"c{number}"
        kind = chance.choice(("permanent", "permanent", "transient", "temporary"))
        if depth and chance.random() < 0.4:
            spec = branch(world, f"{path}/{name}", depth - 1)
            recipe, args = spec.recipe, spec.args
            kind = "permanent"
        else:
            hooks = frozenset(chance.sample(("started", "x"), 1))
            recipe, args = chance.choice((Leaf, Poisoned, Bare)), (world, hooks)
            world.leaves.append(f"{path}/{name}")
        shutdown = chance.choice((None, 0.3, "brutal"))
        within = chance.choice((None, 5.0))
        specs.append(
            child(recipe, *args, name=name, kind=kind, shutdown=shutdown, start_within=within)  # type: ignore[arg-type]
        )
    world.supervisors.append(path)
    return child(Branch, strategy, specs, name=path.rpartition("/")[2])


def message(world: World, system: ActorSystem) -> Any:
    chance = world.chance

    def other() -> Any:
        return system.at(f"actor://w/{chance.choice(world.leaves)}")

    async def sleep(_: Any) -> None:
        await trio.sleep(chance.random() * 4)

    async def sleep_and_fail(_: Any) -> None:
        await trio.sleep(chance.random())
        raise OSError("after a while")

    def raising(error: Exception) -> Any:
        def run(_: Any) -> None:
            raise error

        return run

    async def ask(_: Any) -> Any:
        return await other().ask("hello", timeout=chance.choice((0.2, 2.0, None)))

    async def send(_: Any) -> None:
        await other().send("hello")

    async def leave_open(_: Any) -> None:
        nursery = await trio.open_nursery().__aenter__()
        nursery.start_soon(trio.sleep, 1)

    async def two_at_once(_: Any) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleep_and_fail, None)
            nursery.start_soon(sleep_and_fail, None)

    return chance.choice(
        (
            "hello",
            "hello",
            sleep,
            sleep_and_fail,
            raising(KeyError("k")),
            raising(ValueError("v")),
            ask,
            send,
            leave_open,
            two_at_once,
            lambda actor: actor.context.link(other()),
            lambda actor: actor.context.watch(other()) or None,
            lambda actor: actor.context.stop(),
            lambda actor: actor.context.after(0.3, "later") and None,
            lambda actor: actor.context.system.at("actor://w/top").ask(WhichChildren(), timeout=1),
        )
    )


async def play(world: World, system: ActorSystem) -> None:
    chance = world.chance

    async def ask(ref: Any, what: Any) -> None:
        try:
            with trio.move_on_after(chance.random() * 10):
                await ref.ask(what, timeout=chance.choice((0.5, 5.0, None)))
        except ActorError:
            pass

    async with trio.open_nursery() as nursery:
        for _ in range(250):
            leaf = system.at(f"actor://w/{chance.choice(world.leaves)}")
            branch_ = system.at(f"actor://w/{chance.choice(world.supervisors)}")
            name = f"c{chance.randint(0, 3)}"
            draw = chance.random()
            if draw < 0.5:
                try:
                    leaf.tell(message(world, system))
                except ActorError:
                    pass
            elif draw < 0.8:
                nursery.start_soon(ask, leaf, message(world, system))
            elif draw < 0.9:
                what = chance.choice((StopChild(name), RestartChild(name), WhichChildren()))
                nursery.start_soon(ask, branch_, what)
            elif draw < 0.95:
                leaf.stop()
            elif draw < 0.96:
                branch_.stop()
            await trio.sleep(chance.choice((0, 0, 0.05, 0.5)))


async def all_are_back(world: World, system: ActorSystem, top: ChildSpec) -> None:
    """Permanent children must run, once those that were stopped have been begun."""
    world.quiet = True
    await trio.sleep(100)
    for path in sorted(world.supervisors, key=len):
        ref = system.at(f"actor://w/{path}")
        try:
            infos = await ref.ask(WhichChildren(), timeout=20)
        except ActorError:
            # It is below a child that was stopped and is kept down.
            continue
        for info in infos:
            if info.ref is None:
                # By a StopChild or a Stop decision; temporary ones are not even listed.
                await ref.ask(RestartChild(info.name), timeout=20)
            else:
                assert info.state == "running", (path, info)
    for path in world.leaves:
        ref = system.at(f"actor://w/{path}")
        try:
            assert await ref.ask("alive", timeout=50) == "alive"
        except ActorError as error:
            assert "no actor lives" in str(error) or "stopp" in str(error), (path, error)


@pytest.fixture
def quietly() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("actors", "supervision")]
    for each in loggers:
        each.disabled = True
    yield
    for each in loggers:
        each.disabled = False


@pytest.mark.usefixtures("quietly")
@pytest.mark.parametrize("seed", range(40), ids=lambda seed: f"seed{seed}-")
def test_a_world_of_supervisors_survives_whatever_happens(seed: int) -> None:
    world = World(seed)
    made: list[ActorSystem] = []

    async def main() -> None:
        env = Env(seed, slice_messages=50)
        async with ActorSystem("w", env=env, max_restarts=None) as system:
            made.append(system)
            world.quiet = True
            spec = branch(world, "top", 2)
            await system.start(spec.recipe, *spec.args, name="top")
            world.quiet = False
            await play(world, system)
            assert system.ledger.missing == 0, system.ledger
            if system._find(system.at("actor://w/top").address) is not None:
                await all_are_back(world, system, spec)
            assert system.ledger.missing == 0, system.ledger

    with deterministic_scheduling(seed):
        run_virtually(main)
    ledger = made[0].ledger
    assert (ledger.missing, ledger.queued, ledger.in_flight) == (0, 0, 0), ledger
