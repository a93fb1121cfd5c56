"""What an actor does without its lease, before anybody has told it that this is over: nothing."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from actors import Actor, ActorRef, ActorSystem, Directive, Failure, Restart
from actors.cell import Cell
from actors.rare import Terms
from actors.spawning import spawn
from actors.stopping import cut_off


class Held:
    """A lease."""

    fence = 7

    def __init__(self) -> None:
        self.is_over = False

    def holds(self) -> bool:
        return not self.is_over

    def has_ended(self, cell: Cell) -> None:
        cut_off(cell)


class Fails(Exception):
    """It was told to."""


class Member(Actor):
    """Says what it does."""

    def __init__(self, said: list[str], name: str = "it") -> None:
        self.said = said
        self.name = name
        said.append(f"{name} is made")

    async def started(self) -> None:
        self.said.append(f"{self.name} starts by {self.context.fence}")

    async def stopped(self) -> None:
        self.said.append(f"{self.name} stops")

    async def restarting(self, failure: Failure) -> None:
        self.said.append(f"{self.name} restarts")

    def receive(self, message: Any) -> None:
        if message == "fail":
            raise Fails
        if message == "child":
            self.context.spawn(type(self), self.said, "the child", name="child")
        self.said.append(f"{self.name} handles {message}")


class Owner(Actor):
    """Its parent, which has no lease."""

    def __init__(self, lease: Held, said: list[str], backoff: float) -> None:
        self.lease = lease
        self.said = said
        self.backoff = backoff

    async def started(self) -> None:
        self.make()

    def make(self) -> None:
        terms = Terms(lease=self.lease)
        spawn(self.context._cell, Member, (self.said,), "it", terms)

    def child_failed(self, child: ActorRef, failure: Failure) -> Directive:
        if not self.backoff:
            self.lease.is_over = True
        return Restart(self.backoff)

    def receive(self, message: Any) -> None:
        self.lease.is_over = False
        self.make()
        self.lease.is_over = True


BEGUN = ["it is made", "it starts by 7"]


@pytest.mark.parametrize(
    ("what", "backoff", "before"),
    [
        ("a message", 0.0, []),
        ("a stop", 0.0, []),
        ("a restart", 0.0, []),
        ("a restart after a while", 0.5, ["it restarts"]),
        (
            "a message to its child",
            0.0,
            ["the child is made", "it handles child", "the child starts by 7"],
        ),
    ],
)
async def test_without_its_lease_an_actor_begins_with_nothing(
    what: str, backoff: float, before: list[str], autojump_clock: trio.testing.MockClock
) -> None:
    said: list[str] = []
    lease = Held()
    async with ActorSystem("one") as system:
        await system.start(Owner, lease, said, backoff, name="owner")
        it = system.at("actor://one/owner/it")
        await trio.sleep(0.1)
        if what == "a message to its child":
            it.tell("child")
            await trio.sleep(0.1)
            lease.is_over = True
            system.at("actor://one/owner/it/child").tell("hello")
        elif what.startswith("a restart"):
            it.tell("fail")
            await trio.sleep(0.1)
            lease.is_over = True
        else:
            lease.is_over = True
            if what == "a stop":
                it.stop()
            else:
                it.tell("hello")
        await trio.sleep(1)
        assert said == [*BEGUN, *before]
        if "child" not in what:
            assert system._find(it.address) is None


async def test_without_its_lease_an_actor_does_not_start(
    autojump_clock: trio.testing.MockClock,
) -> None:
    said: list[str] = []
    lease = Held()
    async with ActorSystem("one") as system:
        owner = await system.start(Owner, lease, said, 0.0, name="owner")
        await trio.sleep(0.1)
        system.at("actor://one/owner/it").stop()
        await trio.sleep(0.1)
        owner.tell("make")
        await trio.sleep(0.1)
    assert said == [*BEGUN, "it stops", "it is made"]


class Tidy(Actor):
    """Takes its time to stop; so does its child."""

    def __init__(self, said: list[str], depth: int = 1) -> None:
        self.said = said
        if depth:
            self.context.spawn(Tidy, said, depth - 1, name="child")

    async def stopped(self) -> None:
        self.said.append(f"{self.context.ref.address.path} begins")
        await trio.sleep(2)
        self.said.append(f"{self.context.ref.address.path} ends")

    def receive(self, message: Any) -> None:
        pass


class Parent(Actor):
    def __init__(self, lease: Held, said: list[str]) -> None:
        spawn(self.context._cell, Tidy, (said,), "it", Terms(lease=lease))

    def receive(self, message: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("after", "begun"),
    [
        (1.0, ["parent/it/child begins"]),
        (3.0, ["parent/it/child begins", "parent/it/child ends", "parent/it begins"]),
    ],
)
async def test_a_hook_that_runs_ends_with_the_lease(
    after: float, begun: list[str], autojump_clock: trio.testing.MockClock
) -> None:
    said: list[str] = []
    lease = Held()
    async with ActorSystem("one") as system:
        await system.start(Parent, lease, said, name="parent")
        it = system.at("actor://one/parent/it")
        cell = system._find(it.address)
        assert isinstance(cell, Cell)
        it.stop()
        await trio.sleep(after)
        lease.is_over = True
        lease.has_ended(cell)
        with trio.fail_after(0.01):
            await it.stopped()
        await trio.sleep(5)
    assert said == begun
