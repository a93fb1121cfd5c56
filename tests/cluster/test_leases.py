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
from actors.stopping import kill


class Held:
    """A lease."""

    fence = 7

    def __init__(self) -> None:
        self.is_over = False

    def holds(self) -> bool:
        return not self.is_over

    def has_ended(self, cell: Cell) -> None:
        cell._rare_part().terms = Terms(brutal=True)
        kill(cell)


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
