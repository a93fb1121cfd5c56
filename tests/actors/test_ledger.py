"""The ledger against independent counts: of what was sent, and of how it ended."""

from __future__ import annotations

import collections
from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorStopped,
    ActorSystem,
    AskTimeout,
    Env,
    Ledger,
    Mailbox,
    MailboxFull,
    Restart,
)
from tests.actors.kit import Checked, Doer, Parent, PlainDoer, PlainRecorder, Recorder, fail, wait


class Counting:
    """Sends, and counts what it sends, and what becomes of it as far as a sender sees that."""

    def __init__(self, system: ActorSystem) -> None:
        self.system = system
        self.sent = 0
        self.seen: collections.Counter[str] = collections.Counter()

    def tell(self, ref: ActorRef, message: Any) -> None:
        self.sent += 1
        try:
            ref.tell(message)
        except MailboxFull:
            self.seen["rejected"] += 1

    async def send(self, ref: ActorRef, message: Any) -> None:
        await ref.send(message)
        self.sent += 1

    async def ask(self, ref: ActorRef, message: Any, timeout: float | None = 5.0) -> None:
        self.sent += 1
        try:
            await ref.ask(message, timeout)
            self.seen["replied"] += 1
        except (ActorFailed, ActorStopped, AskTimeout) as error:
            self.seen[type(error).__name__] += 1

    def check(self, **expected: int) -> Ledger:
        ledger = self.system.ledger
        assert ledger.missing == 0, ledger
        assert ledger.sent == self.sent, ledger
        got = {name: getattr(ledger, name) for name in expected}
        assert got == expected, ledger
        ended = sum(v for k, v in attrs.asdict(ledger).items() if k not in ("sent", "restarts"))
        assert ended == self.sent
        return ledger


def test_missing_is_what_the_sum_lacks() -> None:
    ledger = Ledger(
        sent=100,
        handled=1,
        failed=2,
        expired=3,
        rejected=4,
        dead=5,
        queued=6,
        in_flight=7,
        restarts=8,
    )
    assert ledger.missing == 100 - 28


async def test_a_new_system_has_sent_nothing() -> None:
    async with Checked("s") as system:
        assert system.ledger == Ledger(
            sent=0,
            handled=0,
            failed=0,
            expired=0,
            rejected=0,
            dead=0,
            queued=0,
            in_flight=0,
            restarts=0,
        )


@pytest.mark.parametrize("make", [Recorder, PlainRecorder])
async def test_messages_that_are_handled(make: Any) -> None:
    async with Checked("s") as system:
        counting = Counting(system)
        ref = system.spawn(make)
        for number in range(200):
            counting.tell(ref, number)
            await counting.send(ref, number)
            await counting.ask(ref, number)
            counting.check()
        counting.check(handled=600, queued=0, in_flight=0)


@pytest.mark.parametrize("make", [Recorder, PlainRecorder])
async def test_messages_that_are_queued_and_in_flight(make: Any) -> None:
    async with Checked("s") as system:
        counting = Counting(system)
        ref = system.spawn(make)
        for number in range(5):
            counting.tell(ref, number)
            counting.check(queued=number + 1, in_flight=0, handled=0)
        await wait_all_tasks_blocked()
        counting.check(queued=0, handled=5)
        gate = trio.Event()
        doer = system.spawn(Doer)
        counting.tell(doer, wait(gate))
        for number in range(3):
            counting.tell(doer, number)
        await wait_all_tasks_blocked()
        counting.check(queued=3, in_flight=1, handled=5)
        gate.set()
        await wait_all_tasks_blocked()
        counting.check(queued=0, in_flight=0, handled=9)


@pytest.mark.parametrize("make", [Recorder, PlainRecorder])
async def test_messages_that_fail(make: Any) -> None:
    async with Checked("s", max_restarts=None) as system:
        counting = Counting(system)
        ref = system.spawn(make)
        for number in range(50):
            counting.tell(ref, ValueError(number))
            counting.tell(ref, number)
            await counting.ask(ref, ValueError(number))
        ledger = counting.check(failed=100, handled=50)
        assert ledger.restarts == 100
        assert counting.seen["ActorFailed"] == 50


async def test_messages_that_expire(autojump_clock: Any) -> None:
    async with Checked("s") as system:
        counting = Counting(system)
        ref = system.spawn(Doer)
        gate = trio.Event()
        counting.tell(ref, wait(gate))
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(counting.ask, ref, number, 1 + number % 3)
            await wait_all_tasks_blocked()
            counting.check(queued=10, in_flight=1, expired=0)
        # Dropped when its turn comes, so it is queued until then.
        counting.check(queued=10, in_flight=1, expired=0)
        gate.set()
        await wait_all_tasks_blocked()
        counting.check(queued=0, in_flight=0, expired=10, handled=1)
        assert counting.seen["AskTimeout"] == 10


async def test_messages_that_expire_while_their_handler_runs(autojump_clock: Any) -> None:
    class Cancelling(Doer):
        cancel_abandoned = True

    async with Checked("s") as system:
        counting = Counting(system)
        let_be, cancelled = system.spawn(Doer), system.spawn(Cancelling)
        for _ in range(3):
            await counting.ask(let_be, lambda _: trio.sleep(2), 1)
            await trio.sleep(2)
            await counting.ask(cancelled, lambda _: trio.sleep(2), 1)
            counting.check()
        await trio.sleep(5)
        counting.check(handled=3, expired=3, dead=0)


@pytest.mark.parametrize("overflow", ["reject", "drop_oldest", "drop_newest"])
async def test_messages_that_find_no_room(overflow: str, autojump_clock: Any) -> None:
    class Small(Doer):
        mailbox = Mailbox(capacity=3, overflow=overflow)  # type: ignore[arg-type]

    async with Checked("s") as system:
        counting = Counting(system)
        ref = system.spawn(Small)
        gate = trio.Event()
        counting.tell(ref, wait(gate))
        await wait_all_tasks_blocked()
        for number in range(10):
            counting.tell(ref, number)
            counting.check()
        lost = {"rejected": 7} if overflow == "reject" else {"dead": 7}
        counting.check(queued=3, in_flight=1, **lost)
        assert counting.seen["rejected"] == lost.get("rejected", 0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(counting.ask, ref, "times out", 1)
            with trio.move_on_after(2):
                await counting.send(ref, "cancelled, so not sent")
        counting.check(rejected=lost.get("rejected", 0) + 1)
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(counting.send, ref, number)
                nursery.start_soon(counting.ask, ref, number)
            await wait_all_tasks_blocked()
            gate.set()
        await wait_all_tasks_blocked()
        counting.check(queued=0, handled=4 + 8)


async def test_messages_to_nobody_and_to_the_stopped() -> None:
    async with Checked("s") as system:
        counting = Counting(system)
        gone = system.spawn(Doer)
        gone.stop()
        for ref in (gone, system.at("actor://s/nobody")):
            counting.tell(ref, 1)
            await counting.send(ref, 2)
            await counting.ask(ref, 3)
        counting.check(dead=4, rejected=2)
        assert counting.seen["ActorStopped"] == 2


async def test_messages_that_are_stashed() -> None:
    class Stashing(Actor):
        def receive(self, message: Any) -> Any:
            if message == "open":
                self.context.become(lambda message: message)
                self.context.unstash_all()
                return None
            return self.context.stash()

    async with Checked("s") as system:
        counting = Counting(system)
        ref = system.spawn(Stashing)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(counting.ask, ref, "asked")
            for number in range(5):
                counting.tell(ref, number)
                await wait_all_tasks_blocked()
                counting.check(queued=number + 2, handled=0)
            counting.tell(ref, "open")
        await wait_all_tasks_blocked()
        counting.check(queued=0, handled=7)
        assert counting.seen["replied"] == 1


async def test_messages_that_are_forwarded_and_deferred() -> None:
    class Forwarder(Actor):
        def __init__(self, to: ActorRef) -> None:
            self.to = to

        def receive(self, message: Any) -> None:
            self.context.forward(self.to)

    class Deferring(Actor):
        def receive(self, message: Any) -> None:
            self.reply = self.context.reply_later()
            self.context.after(0, "reply")
            self.context.become(self.replying)

        def replying(self, message: Any) -> None:
            self.reply.reply("later")

    async with Checked("s") as system:
        counting = Counting(system)
        ref = system.spawn(Recorder)
        forwarder = system.spawn(Forwarder, ref)
        await counting.ask(forwarder, 1)
        counting.tell(forwarder, 2)
        await wait_all_tasks_blocked()
        counting.sent += 2  # forwarding is sending again
        counting.check(handled=4)
        await counting.ask(system.spawn(Deferring), "later")
        await wait_all_tasks_blocked()
        counting.sent += 1  # the timer's message
        counting.check(handled=6)
        assert counting.seen["replied"] == 2


async def test_messages_of_an_actor_that_is_killed(autojump_clock: Any) -> None:
    counted: list[Counting] = []

    async def leave_by_an_error() -> None:
        async with Checked("s") as system, trio.open_nursery() as nursery:
            counting = Counting(system)
            counted.append(counting)
            gate = trio.Event()
            for make in (Doer, Recorder, PlainRecorder):
                ref = system.spawn(make)
                counting.tell(ref, wait(gate) if make is Doer else 0)
                for number in range(3):
                    counting.tell(ref, number)
                await wait_all_tasks_blocked()
            nursery.start_soon(counting.ask, system.children[0], "asked")
            await wait_all_tasks_blocked()
            counting.check(queued=4, in_flight=1, handled=8)
            raise ZeroDivisionError

    with pytest.raises(ExceptionGroup):
        await leave_by_an_error()
    # The asker was cancelled by its own nursery before the actors were.
    counted[0].check(queued=0, in_flight=0, handled=8, dead=4, expired=1)


async def test_messages_of_a_restarted_and_of_a_stopped_actor() -> None:
    async with Checked("s") as system:
        counting = Counting(system)
        parent = system.spawn(Parent, Doer, Restart())
        child = system.at(f"{parent}/child")
        await wait_all_tasks_blocked()
        for number in range(3):
            counting.tell(child, number)
            counting.tell(child, fail)
        await wait_all_tasks_blocked()
        ledger = counting.check(handled=3, failed=3)
        assert ledger.restarts == 3


async def test_notices_of_termination_are_counted() -> None:
    async with Checked("s") as system:
        counting = Counting(system)
        watched, watcher = system.spawn(Doer), system.spawn(Doer)
        await counting.ask(watcher, lambda actor: actor.context.watch(watched))
        await counting.ask(watcher, lambda actor: actor.context.watch(system.at("actor://s/no")))
        watched.stop()
        await wait_all_tasks_blocked()
        counting.sent += 2
        counting.check(handled=4)


async def test_the_ledger_is_whole_when_read_in_a_handler() -> None:
    ledgers: list[Ledger] = []

    async with Checked("s") as system:
        for make in (Doer, PlainDoer):
            ref = system.spawn(make)
            for _ in range(200):
                ref.tell(lambda _: ledgers.append(system.ledger))
            await wait_all_tasks_blocked()
        assert [ledger.missing for ledger in ledgers] == [0] * 400
        # Of the async one every message is seen at once: itself in flight, those before handled.
        assert [ledger.handled for ledger in ledgers[:200]] == list(range(200))
        assert {ledger.in_flight for ledger in ledgers[:200]} == {1}


async def test_the_ledger_is_whole_in_hooks_and_in_child_failed(autojump_clock: Any) -> None:
    ledgers: list[Ledger] = []

    class Reading(Doer):
        def __init__(self) -> None:
            ledgers.append(self.context.system.ledger)

        async def started(self) -> None:
            ledgers.append(self.context.system.ledger)
            await trio.sleep(1)
            ledgers.append(self.context.system.ledger)

        async def stopped(self) -> None:
            await trio.sleep(1)
            ledgers.append(self.context.system.ledger)

        async def restarting(self, failure: Any) -> None:
            await trio.sleep(1)
            ledgers.append(self.context.system.ledger)

    class Deciding(Parent):
        def child_failed(self, child: ActorRef, failure: Any) -> Any:
            ledgers.append(self.context.system.ledger)
            return super().child_failed(child, failure)

    async with Checked("s") as system:
        system.spawn(Deciding, Reading, Restart(), name="p")
        child = system.at("actor://s/p/child")
        for number in range(3):
            child.tell(number)
            child.tell(fail)
        await trio.sleep(20)
    assert len(ledgers) == 2 + 1 + 3 * (1 + 1 + 3) + 1 - 0
    assert [ledger.missing for ledger in ledgers] == [0] * len(ledgers)


async def test_a_snapshot_does_not_change() -> None:
    async with Checked("s") as system:
        before = system.ledger
        await system.spawn(Doer).ask(1)
        assert before.sent == 0
        assert system.ledger.sent == 1
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            before.sent = 5  # type: ignore[misc]


@pytest.mark.parametrize("seed", range(6))
async def test_a_random_crowd_is_accounted_for_message_by_message(
    seed: int, autojump_clock: Any
) -> None:
    """Counted on the sender's side here, and on the receiver's by what the handlers recorded."""
    env = Env(seed, slice_messages=seed * 7 + 1)
    random = env.random("crowd")
    handled = failed = 0

    def handler(kind: type[Actor]) -> type[Actor]:
        limited = Mailbox(
            capacity=random.choice([1, 2, 70, None]),
            overflow=random.choice(["reject", "drop_oldest", "drop_newest"]),
        )

        def count(message: float) -> None:
            nonlocal handled, failed
            if message < 0.1:
                failed += 1
                raise ValueError(message)
            handled += 1

        class Plain(Actor):
            mailbox = limited

            def receive(self, message: float) -> None:
                count(message)

        class Async(Actor):
            mailbox = limited

            async def receive(self, message: float) -> None:
                if message > 0.6:
                    await trio.sleep(message - 0.5)
                count(message)

        return Plain if kind is PlainDoer else Async

    async with Checked("s", env=env, max_restarts=None) as system:
        counting = Counting(system)
        refs = [system.spawn(handler(random.choice([Doer, PlainDoer]))) for _ in range(8)]
        async with trio.open_nursery() as nursery:
            for _ in range(1_500):
                ref, message = random.choice(refs), random.random()
                way = random.randrange(5)
                if way < 3:
                    counting.tell(ref, message)
                elif way == 3:
                    nursery.start_soon(counting.ask, ref, message, random.choice([0.01, 1, None]))
                else:
                    with trio.move_on_after(random.choice([0, 0.1, 10])):
                        await counting.send(ref, message)
                if random.random() < 0.01:
                    ref.stop()
                    refs[refs.index(ref)] = system.spawn(handler(Doer))
                if random.random() < 0.05:
                    # An ask that waits for room is not sent yet.
                    assert system.ledger.missing == 0
                    assert system.ledger.sent <= counting.sent
        counting.check()
        await trio.sleep(1_000)
        ledger = counting.check(queued=0, in_flight=0)
        assert ledger.handled == handled
        assert ledger.failed == failed
        # One that fails after its stop is not restarted.
        assert failed - 15 < ledger.restarts <= failed
    assert handled > 300
    assert failed > 30
