"""Faults of nodes that were found by trying to break them."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors import Actor, ActorFailed, Terminated, message
from tests.transports.kit import Do, Get, Remote, cluster
from tests.transports.test_hostile_peers import Peer, one_node, works
from transports import envelope


@pytest.mark.parametrize("target", ["", "a b", "x//y", "..", "?", "x" * 100_000])
async def test_a_target_that_is_no_path_costs_its_connection_at_the_most(
    autojump_clock: MockClock, target: str
) -> None:
    async with one_node() as (system, wires):
        peer = Peer(wires)
        await peer.connect("a")
        await peer.say(envelope.encode(envelope.Tell(target, b"\x01")), charged=True)
        await trio.sleep(1)
        await works(system, wires)


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("nothing to say")


ERRORS = {
    "too long for a frame": ValueError("x" * 20_000_000),
    "half a character": ValueError("\ud800"),
    "without its message": Speechless(),
}


class Raising(Actor):
    def receive(self, message: Any) -> None:
        raise ERRORS[message.what]


@pytest.mark.parametrize("what", ERRORS)
async def test_whatever_an_error_says_it_fails_the_asker_and_no_node(
    autojump_clock: MockClock, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL")
    ends = []

    class Watcher(Actor):
        async def started(self) -> None:
            self.context.watch(self.context.system.at("actor://b/raising"))

        def receive(self, message: Terminated) -> None:
            ends.append(message.reason)

    async with cluster("a", "b") as (a, b):
        b.spawn(Raising, name="raising")
        there = b.spawn(Remote, name="there")
        a.spawn(Watcher)
        await a.at("actor://b/there").ask(Get())
        text = "no error"
        try:
            await a.at("actor://b/raising").ask(Do(what))
        except ActorFailed as error:
            # Kept short, so that a failing test does not show a text of 20 MB.
            text = str(error.cause)[:40]
        assert text.startswith(type(ERRORS[what]).__name__)
        assert await a.at(str(there)).ask(Get()) == []
        assert len(ends) == 1


broken_here: list[type[Exception]] = []


@message(name="breaking.Checked")
class Checked:
    number: int

    def __attrs_post_init__(self) -> None:
        for each in broken_here:
            raise each


@pytest.mark.parametrize("error", [ZeroDivisionError, AttributeError, AssertionError, IndexError])
async def test_whatever_a_validator_raises_only_the_message_is_unreadable(
    autojump_clock: MockClock, error: type[Exception]
) -> None:
    checked = Checked(number=1)
    async with cluster("a", "b") as (a, b):
        b.spawn(Remote, name="there")
        ref = a.at("actor://b/there")
        await ref.ask(Get())
        broken_here.append(error)
        try:
            ref.tell(checked)
            with pytest.raises(ActorFailed, match=error.__name__):
                await ref.ask(checked)
            assert b.ledger.dead == 1
        finally:
            broken_here.clear()
        assert await ref.ask(Get()) == []
