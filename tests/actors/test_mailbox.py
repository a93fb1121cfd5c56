"""Mailboxes: how many messages wait, and what becomes of the one too many."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Actor, ActorRef, ActorStopped, DeadLetterReason, Mailbox, MailboxFull
from tests.actors.kit import Checked, Recorder


def recorder(capacity: int | None, overflow: Any = "reject") -> type[Recorder]:
    class Limited(Recorder):
        mailbox = Mailbox(capacity=capacity, overflow=overflow)

    return Limited


async def blocked(ref: ActorRef) -> trio.Event:
    """Let it wait in its handler. Its mailbox is then empty."""
    gate = trio.Event()
    ref.tell(gate)
    await wait_all_tasks_blocked()
    return gate


@pytest.mark.parametrize("capacity", [0, -1, 1 << 30])
def test_a_capacity_out_of_range_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match="capacity is from 1"):
        Mailbox(capacity=capacity)


@pytest.mark.parametrize("capacity", ["10", 1.5, True])
def test_a_capacity_is_an_int(capacity: Any) -> None:
    with pytest.raises(TypeError, match="capacity is an int or None"):
        Mailbox(capacity=capacity)


def test_an_unknown_overflow_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="reject, drop_oldest, drop_newest"):
        Mailbox(overflow="drop")  # type: ignore[arg-type]


def test_a_mailbox_that_is_none_is_refused_at_the_class() -> None:
    with pytest.raises(TypeError, match=r"Wrong\.mailbox is a Mailbox"):

        class Wrong(Actor):
            mailbox = 100  # type: ignore[assignment]


@pytest.mark.parametrize("capacity", [1, 2, 3, 63, 64, 65, 100])
async def test_a_mailbox_takes_exactly_its_capacity_behind_the_message_in_hand(
    capacity: int,
) -> None:
    async with Checked("s") as system:
        log: list[Any] = []
        ref = system.spawn(recorder(capacity), log, name="small")
        for round_ in range(3):
            gate = await blocked(ref)
            for number in range(capacity):
                ref.tell((round_, number))
            with pytest.raises(MailboxFull) as caught:
                ref.tell("too many")
            assert caught.value.ref is ref
            assert caught.value.message == "too many"
            assert caught.value.capacity == capacity
            assert caught.value.chain == ()
            assert "actor://s/small" in str(caught.value)
            assert "`await ref.send(...)` waits for room" in str(caught.value)
            assert system.ledger.queued == capacity
            assert system.ledger.missing == 0
            gate.set()
            await wait_all_tasks_blocked()
        assert log == [(round_, number) for round_ in range(3) for number in range(capacity)]
        assert system.ledger.rejected == 3


async def test_a_mailbox_is_bounded_by_default() -> None:
    async with Checked("s") as system:
        ref = system.spawn(Recorder)
        gate = await blocked(ref)
        for number in range(10_000):
            ref.tell(number)
        with pytest.raises(MailboxFull):
            ref.tell("too many")
        gate.set()


async def test_an_idle_actor_that_has_not_run_yet_counts_what_it_was_told() -> None:
    async with Checked("s") as system:
        ref = system.spawn(recorder(2))
        ref.tell(1)
        ref.tell(2)
        with pytest.raises(MailboxFull):
            ref.tell(3)


async def test_a_mailbox_without_a_capacity_takes_whatever_comes() -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        ref = system.spawn(recorder(None), log)
        gate = await blocked(ref)
        for number in range(50_000):
            ref.tell(number)
        gate.set()
    assert log == list(range(50_000))


@pytest.mark.parametrize("capacity", [1, 2, 5])
async def test_drop_oldest_keeps_the_newest_in_order(capacity: int) -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        ref = system.spawn(recorder(capacity, "drop_oldest"), log)
        gate = await blocked(ref)
        for number in range(10):
            ref.tell(number)
        letters = system.dead_letters.recent
        assert [letter.message for letter in letters] == list(range(10 - capacity))
        assert {letter.reason for letter in letters} == {DeadLetterReason.DROPPED_OLDEST}
        assert {letter.ref for letter in letters} == {ref}
        gate.set()
    assert log == list(range(10 - capacity, 10))
    assert system.ledger.dead == 10 - capacity


@pytest.mark.parametrize("capacity", [1, 2, 5])
async def test_drop_newest_keeps_the_oldest_in_order(capacity: int) -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        ref = system.spawn(recorder(capacity, "drop_newest"), log)
        gate = await blocked(ref)
        for number in range(10):
            ref.tell(number)
        letters = system.dead_letters.recent
        assert [letter.message for letter in letters] == list(range(capacity, 10))
        assert {letter.reason for letter in letters} == {DeadLetterReason.DROPPED_NEWEST}
        gate.set()
    assert log == list(range(capacity))


async def test_an_ask_that_is_dropped_as_the_oldest_raises_at_once(autojump_clock: Any) -> None:
    async with Checked("s") as system:
        ref = system.spawn(recorder(1, "drop_oldest"))
        gate = await blocked(ref)
        before = trio.current_time()
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(ActorStopped, match="dropped from a full mailbox"):
                    await ref.ask("dropped")

            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            ref.tell("newer")
        assert trio.current_time() == before
        gate.set()
        assert [letter.message for letter in system.dead_letters.recent] == ["dropped"]


@pytest.mark.parametrize("overflow", ["reject", "drop_oldest", "drop_newest"])
async def test_send_and_ask_wait_for_room_whatever_the_policy(overflow: str) -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        ref = system.spawn(recorder(1, overflow), log)
        gate = await blocked(ref)
        ref.tell("first")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ref.send, "sent")
            await wait_all_tasks_blocked()
            nursery.start_soon(ref.ask, "asked")
            await wait_all_tasks_blocked()
            assert system.dead_letters.count == 0
            gate.set()
    assert log == ["first", "sent", "asked"]


@pytest.mark.parametrize("overflow", ["reject", "drop_oldest", "drop_newest"])
async def test_an_actor_that_tells_itself_meets_its_own_policy(overflow: str) -> None:
    class Looping(Actor):
        mailbox = Mailbox(capacity=3, overflow=overflow)  # type: ignore[arg-type]

        def __init__(self, log: list[Any]) -> None:
            self.log = log

        def receive(self, message: Any) -> None:
            self.log.append(message)
            if message == "go":
                for number in range(5):
                    try:
                        self.context.ref.tell(number)
                    except MailboxFull:
                        self.log.append("full")

    log: list[Any] = []
    async with Checked("s") as system:
        system.spawn(Looping, log).tell("go")
        await wait_all_tasks_blocked()
    expected = {
        "reject": ["go", "full", "full", 0, 1, 2],
        "drop_oldest": ["go", 2, 3, 4],
        "drop_newest": ["go", 0, 1, 2],
    }
    assert log == expected[overflow]
