"""Work queues: competing consumers, acknowledgements, redelivery."""

from __future__ import annotations

import collections
import logging
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    ActorFailed,
    ActorStopped,
    ActorSystem,
    AskTimeout,
    DeadLetterReason,
    Env,
    InvalidAddress,
)
from actors._trio_private import deterministic_scheduling
from actors.testing import run_virtually
from tests.actors.kit import Checked, Doer, Recorder, nap, wait


class Worker(Doer):
    shutdown = 1.0

    def __init__(self, log: list[Any]) -> None:
        self.log = log

    async def receive(self, message: Any) -> Any:
        if callable(message):
            return await super().receive(message)
        self.log.append((self.context.ref.name, message))
        return self.context.ref.name


async def consumers(system: ActorSystem, log: list[Any], names: str = "abc") -> list[Any]:
    refs = [system.spawn(Worker, log, name=name) for name in names]
    for ref in refs:
        system.consume("queue://jobs", ref)
    return refs


async def test_each_message_goes_to_exactly_one_consumer() -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        await consumers(system, log)
        queue = system.at("queue://jobs")
        for number in range(30):
            queue.tell(number)
        await wait_all_tasks_blocked()
        assert sorted(number for _, number in log) == list(range(30))
        assert len({who for who, _ in log}) == 3
        assert await queue.ask("who?") in "abc"


async def test_what_comes_before_a_consumer_does_waits_for_it() -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        queue = system.at("queue://jobs")
        for number in range(2_500):
            queue.tell(number)
        await wait_all_tasks_blocked()
        assert log == []
        await consumers(system, log, "a")
        await wait_all_tasks_blocked()
        assert [number for _, number in log] == list(range(2_500))


async def test_a_busy_consumer_gets_no_more_than_it_may_have() -> None:
    log: list[Any] = []
    gate = trio.Event()
    async with Checked("s") as system:
        await consumers(system, log, "ab")
        queue = system.at("queue://jobs")
        queue.tell(wait(gate))
        await wait_all_tasks_blocked()
        for number in range(4):
            queue.tell(number)
        await wait_all_tasks_blocked()
        assert [who for who, _ in log] == ["b"] * 4
        gate.set()


async def test_what_a_dead_consumer_had_not_finished_goes_to_another(autojump_clock: Any) -> None:
    log: list[Any] = []

    async def begins(actor: Any) -> str:
        log.append((actor.context.ref.name, "begins"))
        if actor.context.ref.name == "a":
            await trio.sleep(1e6)
        return actor.context.ref.name

    async with Checked("s") as system:
        a, _ = await consumers(system, log, "ab")
        queue = system.at("queue://jobs")
        replies: list[Any] = []

        async def ask() -> None:
            replies.append(await queue.ask(begins, timeout=None))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            a.stop()
        assert log == [("a", "begins"), ("b", "begins")]
        assert replies == ["b"]


async def test_after_three_failures_a_message_is_a_dead_letter_with_them() -> None:
    log: list[Any] = []

    def poison(actor: Any) -> None:
        log.append(actor.context.ref.name)
        raise ValueError(f"in {actor.context.ref.name}")

    async with Checked("s", max_restarts=None) as system:
        await consumers(system, log)
        queue = system.at("queue://jobs")
        queue.tell(poison)
        queue.tell("behind")
        await wait_all_tasks_blocked()
        assert len([each for each in log if isinstance(each, str)]) == 3
        letters = [
            each
            for each in system.dead_letters.recent
            if each.reason is DeadLetterReason.FAILED_TOO_OFTEN
        ]
        assert len(letters) == 1
        assert letters[0].message is poison
        assert len(letters[0].failures) == 3
        assert [each for each in log if isinstance(each, tuple)]
        with pytest.raises(ActorFailed, match="in "):
            await queue.ask(poison)


async def test_a_message_that_ends_its_consumers_is_a_dead_letter_and_those_never_begun_are_not(
    autojump_clock: Any,
) -> None:
    log: list[Any] = []

    async def ends(actor: Any) -> None:
        log.append(actor.context.ref.name)
        actor.context.stop()
        await trio.sleep(1e6)

    async with Checked("s") as system:
        for name in "abcd":
            ref = system.spawn(Worker, log, name=name)
            system.consume("queue://jobs", ref, prefetch=2)
        queue = system.at("queue://jobs")
        queue.tell(ends)
        for number in range(7):
            queue.tell(number)
        await trio.sleep(100)
        assert [each for each in log if isinstance(each, str)] == ["a", "b", "c"]
        assert sorted(each[1] for each in log if not isinstance(each, str)) == list(range(7))
        # (Each delivery that was cut short is a dead letter of its consumer besides.)
        (letter,) = [each for each in system.dead_letters.recent if each.failures]
        assert (letter.message, letter.reason) == (ends, DeadLetterReason.FAILED_TOO_OFTEN)
        assert [type(each.exception) for each in letter.failures] == [ActorStopped] * 3
        assert [each.ref.name for each in letter.failures] == ["a", "b", "c"]


async def test_unconsume_and_prefetch(autojump_clock: Any) -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        a, b = await consumers(system, log, "ab")
        system.unconsume("queue://jobs", b)
        system.unconsume("queue://jobs", b)
        system.consume("queue://jobs", a, prefetch=2)
        queue = system.at("queue://jobs")
        for _ in range(3):
            queue.tell(nap(1))
        await wait_all_tasks_blocked()
        # One in hand and one in its mailbox; the third is held by the queue.
        assert system.ledger.queued == 1
        await trio.sleep(3.5)
        with pytest.raises(ValueError, match="prefetch"):
            system.consume("queue://jobs", a, prefetch=0)
        with pytest.raises(TypeError, match="the ref of one actor"):
            system.consume("queue://jobs", system.at("topic://t"))


async def test_what_nobody_has_handled_is_a_dead_letter_at_the_end() -> None:
    async with Checked("s") as system:
        system.at("queue://jobs").tell("x")
        await wait_all_tasks_blocked()
    assert [(each.message, each.reason) for each in system.dead_letters.recent] == [
        ("x", DeadLetterReason.UNHANDLED_AT_STOP)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_no_message_is_lost_or_done_twice_whatever_the_consumers_do(seed: int) -> None:
    chance = Random(seed)
    done: collections.Counter[int] = collections.Counter()
    made: list[ActorSystem] = []

    class Flaky(Recorder):
        shutdown = 0.5

        async def receive(self, message: int) -> None:
            if chance.random() < 0.3:
                await trio.sleep(chance.random())
            if chance.random() < 0.1:
                raise ValueError("before it is done")
            done[message] += 1

    async def main() -> None:
        env = Env(seed, slice_messages=20)
        async with ActorSystem("s", env=env, max_restarts=None) as system:
            made.append(system)
            queue = system.at("queue://jobs")
            refs = []
            for number in range(200):
                if chance.random() < 0.1 or not refs:
                    refs.append(system.spawn(Flaky))
                    system.consume("queue://jobs", refs[-1], prefetch=chance.randint(1, 3))
                if chance.random() < 0.05 and len(refs) > 1:
                    refs.pop(chance.randrange(len(refs))).stop()
                queue.tell(number)
                await trio.sleep(chance.choice((0, 0, 0.1)))
            await trio.sleep(100)

    logging.getLogger("actors").disabled = True
    try:
        with deterministic_scheduling(seed):
            run_virtually(main)
    finally:
        logging.getLogger("actors").disabled = False
    failed = [
        each.message
        for each in made[0].dead_letters.recent
        if each.reason is DeadLetterReason.FAILED_TOO_OFTEN
    ]
    # Who fails, fails before it counts; so each was done once, or is a dead letter.
    assert sorted([*done, *failed]) == list(range(200))
    assert set(done.values()) == {1}
    assert made[0].ledger.missing == 0


async def test_a_queue_is_refused_by_the_name_that_was_given() -> None:
    async with ActorSystem("office") as system:
        with pytest.raises(InvalidAddress, match=r"^'jobs\.\*': a queue's name has only letters"):
            system.at("queue://jobs.*")


async def test_an_ask_to_a_queue_that_ends_in_a_timeout_says_whether_there_are_consumers(
    autojump_clock: Any,
) -> None:
    async with Checked("s") as system:
        queue = system.at("queue://jobs")

        async def told(message: Any) -> str:
            with pytest.raises(AskTimeout) as caught:
                await queue.ask(message, timeout=1)
            return str(caught.value)

        assert await told("work") == (
            "no reply from queue://jobs to str within 1 s: "
            "the message was held, because the queue has no consumer"
        )
        system.consume("queue://jobs", system.spawn(Doer))
        async with trio.open_nursery() as nursery:
            gate = trio.Event()
            texts: list[str] = []

            async def ask(message: Any) -> None:
                texts.append(await told(message))

            nursery.start_soon(ask, lambda _: gate.wait())
            # Not at one instant with the other: their timeouts would come in any order.
            await trio.sleep(0.1)
            nursery.start_soon(ask, lambda _: None)
            await trio.sleep(2)
            gate.set()
        assert [text.partition("the message was ")[2] for text in texts] == [
            "at a consumer",
            "held, because all consumers are busy",
        ]
