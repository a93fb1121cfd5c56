"""What is sent to another node is cancelled at any step: handled once or not, it leaves nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from actors import Actor, ActorError, ActorRef, Mailbox, Request, message
from actors._trio_private import deterministic_scheduling
from actors.testing import run_virtually
from tests.transports.kit import Wires, cluster
from transports import Limits, Node


@message(name="cancelled.Say")
class Say(Request[int]):
    number: int


@message(name="cancelled.Count")
class Count(Request[int]):
    upto: int


class Sink(Actor):
    """Has little room, and takes its time; notes what it gets."""

    mailbox = Mailbox(capacity=1)

    def __init__(self, got: list[int]) -> None:
        self.got = got

    async def receive(self, message: Any) -> Any:
        if isinstance(message, Count):
            return self.count(message.upto)
        self.got.append(message.number)
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        return message.number

    async def count(self, upto: int) -> Any:
        for number in range(upto):
            yield number


class Plain(Sink):
    """Answers where it is asked."""

    mailbox = Mailbox(capacity=10)

    def receive(self, message: Any) -> Any:
        if isinstance(message, Count):
            return self.count(message.upto)
        self.got.append(message.number)
        return message.number


async def send(ref: ActorRef, number: int) -> None:
    await ref.send(Say(number))


async def ask(ref: ActorRef, number: int) -> None:
    assert await ref.ask(Say(number), timeout=None) == number


async def ask_briefly(ref: ActorRef, number: int) -> None:
    # Its time is over about when the answer comes.
    await ref.ask(Say(number), timeout=0.0005)


async def stream(ref: ActorRef, number: int) -> None:
    items = [item async for item in ref.stream(Count(5), buffer=2)]
    assert items == list(range(5))


WORK: dict[str, Callable[[ActorRef, int], Awaitable[None]]] = {
    "send": send,
    "ask": ask,
    "ask briefly": ask_briefly,
    "stream": stream,
}


STEPS = {
    "send": range(0, 40, 2),
    "ask": range(0, 60, 2),
    "ask briefly": range(0, 40, 4),
    "stream": range(0, 250, 7),
}


def run(work: Callable[[ActorRef, int], Awaitable[None]], cls: type[Actor], step: int) -> bool:
    """Cancel the third of five that go on at once after so many steps; whether it had ended."""
    got: list[int] = []
    ended = False

    async def main() -> None:
        nonlocal ended
        limits = Limits(window=2, per_target=2, outbox=2)
        wires = Wires()
        async with cluster("a", "b", limits=limits, wires=wires) as (a, b):
            b.spawn(cls, got, name="there")
            ref = a.at("actor://b/there")
            await ref.ask(Say(0))
            begun = trio.Event()
            scope = trio.CancelScope()

            async def each(number: int) -> None:
                nonlocal ended
                with scope if number == 3 else trio.CancelScope():
                    if number == 3:
                        begun.set()
                    try:
                        await work(ref, number)
                    except ActorError:
                        pass
                    if number == 3:
                        ended = True

            async def cancel() -> None:
                await begun.wait()
                for _ in range(step):
                    await trio.lowlevel.checkpoint()
                if step % 5 == 4:
                    await wires.cut("a", "b")
                scope.cancel()

            with trio.fail_after(100):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancel)
                    for number in range(1, 6):
                        nursery.start_soon(each, number)
                        await trio.lowlevel.checkpoint()
            await trio.sleep(2)
            node: Any = a._transport
            assert isinstance(node, Node)
            out = node._links["b"].outgoing
            asks, allowance = out.asks, out.allowance
            left = (out._sent, allowance.on_the_way, asks.by_number, asks.numbers, out._sequences)
            more = (asks.streams, out.queue, allowance.large, out._run, out._told)
            assert not any((*left, *more)), left
            assert not any(door for _, door in allowance.doors.values())
            far: Any = b._transport
            incoming = far._links["a"].incoming
            assert not incoming.answers.open

    with deterministic_scheduling(step):
        run_virtually(main)
    assert sorted(got) == sorted(set(got)), got
    if work is not stream and work is not ask_briefly:
        assert set(got) >= {0, 1, 2, 4, 5}, got
    return ended


@pytest.mark.parametrize("cls", [Sink, Plain])
@pytest.mark.parametrize("what", WORK)
def test_what_is_cancelled_at_any_step_leaves_nothing(what: str, cls: type[Actor]) -> None:
    ends = [run(WORK[what], cls, step) for step in STEPS[what]]
    # It was cancelled in the middle, and it has come to its end.
    assert what == "ask briefly" or {False, True} == set(ends)
