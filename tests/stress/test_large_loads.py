"""Large loads, each of them the same every time: what is slow, leaks or loses shows at this size.

No test here looks at a clock. One that became slow, say quadratic, runs into pytest's timeout.
"""

import gc
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import trio
import trio.testing

from actors import (
    Actor,
    ActorRef,
    ActorStopped,
    ActorSystem,
    AskTimeout,
    Directive,
    Failure,
    Ledger,
    Mailbox,
    Restart,
    Terminated,
)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Ten thousand failures would be ten thousand tracebacks in pytest's log capture."""
    logger = logging.getLogger("actors")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(level)


def settled(ledger: Ledger, **expected: int) -> bool:
    """Nothing is missing, nothing is under way, and the counts named are as expected."""
    assert (ledger.missing, ledger.queued, ledger.in_flight) == (0, 0, 0), ledger
    assert {name: getattr(ledger, name) for name in expected} == expected
    return True


class Counting(Actor):
    mailbox = Mailbox(None)

    def __init__(self) -> None:
        self.count = 0

    def receive(self, message: object) -> int:
        self.count += 1
        return self.count


class CountingAsync(Actor):
    mailbox = Mailbox(None)

    def __init__(self) -> None:
        self.count = 0

    async def receive(self, message: object) -> int:
        self.count += 1
        return self.count


async def test_a_million_messages_are_each_handled_once() -> None:
    async with ActorSystem("load") as system:
        plain, coroutine = system.spawn(Counting), system.spawn(CountingAsync)
        for slice_of in range(100):
            for number in range(5_000):
                plain.tell(number)
                coroutine.tell(number)
            # Let the mailboxes be full at times and nearly empty at others.
            if slice_of % 10 == 9:
                await trio.testing.wait_all_tasks_blocked()
        assert await plain.ask("how many", timeout=None) == 500_001
        assert await coroutine.ask("how many", timeout=None) == 500_001
        assert settled(system.ledger, sent=1_000_002, handled=1_000_002)


class Passing(Actor):
    """Passes a count to its neighbour, one less each time."""

    neighbour: ActorRef

    def __init__(self, done: trio.Event) -> None:
        self.done = done

    def receive(self, message: Any) -> None:
        if isinstance(message, ActorRef):
            self.neighbour = message
        elif message:
            self.neighbour.tell(message - 1)
        else:
            self.done.set()


async def test_a_ring_of_actors_passes_one_message_round_a_quarter_of_a_million_times() -> None:
    done = trio.Event()
    async with ActorSystem("ring") as system:
        ring = [system.spawn(Passing, done) for _ in range(1_000)]
        for one, other in zip(ring, [*ring[1:], ring[0]], strict=True):
            one.tell(other)
        ring[0].tell(250_000)
        await done.wait()
        assert settled(system.ledger, sent=251_001, handled=251_001)


class Waiting(Actor):
    mailbox = Mailbox(None)

    async def receive(self, gate: trio.Event) -> str:
        await gate.wait()
        return "open"


async def test_ten_thousand_handlers_wait_at_once_and_all_go_on(autojump_clock: Any) -> None:
    gate = trio.Event()
    async with ActorSystem("waiting") as system:
        refs = [system.spawn(Waiting) for _ in range(10_000)]
        for ref in refs:
            ref.tell(gate)
        await trio.testing.wait_all_tasks_blocked()
        assert system.ledger.in_flight == 10_000
        gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert settled(system.ledger, sent=10_000, handled=10_000)


@pytest.mark.long
async def test_leaving_cancels_ten_thousand_waiting_handlers_and_ends_every_task(
    autojump_clock: Any,
) -> None:
    living = trio.lowlevel.current_statistics().tasks_living
    gate = trio.Event()
    with pytest.raises(KeyError):
        async with ActorSystem("waiting") as system:
            for _ in range(10_000):
                system.spawn(Waiting).tell(gate)
            await trio.testing.wait_all_tasks_blocked()
            raise KeyError
    assert settled(system.ledger, sent=10_000, dead=10_000)
    assert trio.lowlevel.current_statistics().tasks_living == living


class Parent(Actor):
    def __init__(self) -> None:
        self.ended = 0

    def receive(self, message: Any) -> int:
        if isinstance(message, Terminated):
            self.ended += 1
        elif isinstance(message, int):
            for _ in range(message):
                self.context.watch(self.context.spawn(Counting))
        elif message == "stop":
            for child in self.context.children:
                child.stop()
        return self.ended


@pytest.mark.long
async def test_a_hundred_thousand_children_start_and_stop_and_leave_no_memory_behind() -> None:
    async with ActorSystem("wide") as system:
        parent = system.spawn(Parent)

        async def generation(size: int) -> int:
            parent.tell(size)
            parent.tell("stop")
            ended: int = await parent.ask("how many", timeout=None)
            while system.ledger.queued:
                await trio.testing.wait_all_tasks_blocked()
                ended = await parent.ask("how many", timeout=None)
            return ended

        await generation(5_000)
        gc.collect()
        before = len(gc.get_objects())
        for _ in range(20):
            ended = await generation(5_000)
        gc.collect()
        assert ended == 105_000
        assert len(gc.get_objects()) < before + 2_000
        assert system.ledger.missing == 0


async def test_leaving_stops_a_hundred_thousand_children_of_one_parent(
    autojump_clock: Any,
) -> None:
    async with ActorSystem("wide") as system:
        parent = system.spawn(Parent)
        parent.tell(100_000)
        await trio.testing.wait_all_tasks_blocked()
    # Each notice finds its watcher stopping.
    assert settled(system.ledger, sent=100_001, handled=1, dead=100_000)


class Level(Actor):
    """One level of a deep tree. Counts up what stops, from the deepest up."""

    def __init__(self, stops: list[int], depth: int) -> None:
        self.stops = stops
        self.depth = depth
        self.below: ActorRef | None = None

    def receive(self, message: Any) -> None:
        if message == "fail":
            if self.below is None:
                raise ValueError("deep down")
            self.below.tell(message)
        elif message:
            self.below = self.context.spawn(Level, self.stops, self.depth + 1, name="below")
            self.below.tell(message - 1)

    async def stopped(self) -> None:
        self.stops.append(self.depth)


async def test_a_tree_of_a_thousand_levels_stops_from_the_deepest_level_up(
    autojump_clock: Any,
) -> None:
    stops: list[int] = []
    async with ActorSystem("deep") as system:
        system.spawn(Level, stops, 0).tell(999)
        await trio.testing.wait_all_tasks_blocked()
    assert stops == list(range(999, -1, -1))


async def test_a_failure_escalates_through_a_thousand_levels_and_restarts_the_top(
    autojump_clock: Any,
) -> None:
    stops: list[int] = []
    async with ActorSystem("deep") as system:
        top = system.spawn(Level, stops, 0)
        top.tell(999)
        await trio.testing.wait_all_tasks_blocked()
        top.tell("fail")
        await trio.testing.wait_all_tasks_blocked()
        assert len(stops) == 999
        assert system.ledger.restarts == 1
        assert settled(system.ledger, failed=1)


async def test_a_tree_of_a_thousand_levels_is_cancelled_when_the_body_fails(
    autojump_clock: Any,
) -> None:
    stops: list[int] = []
    with pytest.raises(KeyError):
        async with ActorSystem("deep") as system:
            system.spawn(Level, stops, 0).tell(999)
            await trio.testing.wait_all_tasks_blocked()
            raise KeyError
    assert sorted(stops) == list(range(1_000))


class Failing(Actor):
    def receive(self, message: int) -> int:
        if message % 2:
            raise ValueError(message)
        return self.context.incarnation


class Forgiving(Actor):
    def __init__(self) -> None:
        self.child = self.context.spawn(Failing)
        self.decided = 0

    def receive(self, message: Any) -> Any:
        if message == "child":
            return self.child
        return self.decided

    def child_failed(self, child: ActorRef, failure: Failure) -> Directive:
        self.decided += 1
        return Restart()


async def test_ten_thousand_failures_are_ten_thousand_restarts_by_the_root() -> None:
    async with ActorSystem("failing", max_restarts=None) as system:
        ref = system.spawn(Failing)
        for number in range(20_000):
            await ref.send(number)
        assert await ref.ask(0, timeout=None) == 10_001
        assert settled(system.ledger, handled=10_001, failed=10_000, restarts=10_000)


async def test_ten_thousand_failures_are_ten_thousand_decisions_of_a_parent() -> None:
    async with ActorSystem("failing") as system:
        parent = system.spawn(Forgiving)
        child = await parent.ask("child")
        for number in range(20_000):
            await child.send(number)
        assert await child.ask(0, timeout=None) == 10_001
        assert await parent.ask("decided", timeout=None) == 10_000
        assert settled(system.ledger, failed=10_000, restarts=10_000)


class Silent(Actor):
    mailbox = Mailbox(None)

    def __init__(self) -> None:
        self.replies: list[Any] = []

    def receive(self, message: object) -> None:
        self.replies.append(self.context.reply_later())


async def test_ten_thousand_asks_expire_at_once_and_as_many_one_by_one(
    autojump_clock: Any,
) -> None:
    timed_out = 0

    async def ask(ref: ActorRef, timeout: float) -> None:
        nonlocal timed_out
        with pytest.raises(AskTimeout):
            await ref.ask("anybody?", timeout=timeout)
        timed_out += 1

    async with ActorSystem("expiring") as system:
        ref = system.spawn(Silent)
        async with trio.open_nursery() as nursery:
            for number in range(10_000):
                nursery.start_soon(ask, ref, 1.0)
                if number % 4 == 0:
                    # Each with a timeout of its own.
                    nursery.start_soon(ask, ref, 2.0 + number / 1_000)
        assert timed_out == 12_500
        assert settled(system.ledger, sent=12_500, handled=12_500)


class Asking(Actor):
    def __init__(self, other: ActorRef) -> None:
        self.other = other

    async def receive(self, message: int) -> int:
        answer: int = await self.other.ask(message)
        return answer + 1


async def test_a_chain_of_a_thousand_actors_asks_from_end_to_end() -> None:
    async with ActorSystem("chain") as system:
        ref = system.spawn(Failing)
        for _ in range(999):
            ref = system.spawn(Asking, ref)
        for _ in range(5):
            assert await ref.ask(2, timeout=None) == 1_000


async def test_a_thousand_senders_get_room_in_a_mailbox_for_one_in_the_order_they_came() -> None:
    order: list[int] = []

    class Slow(Actor):
        mailbox = Mailbox(1)

        async def receive(self, message: int) -> None:
            await trio.lowlevel.checkpoint()
            order.append(message)

    async def send(ref: ActorRef, number: int, task_status: Any) -> None:
        task_status.started()
        await ref.send(number)

    async with ActorSystem("narrow") as system:
        ref = system.spawn(Slow)
        async with trio.open_nursery() as nursery:
            for number in range(1_000):
                await nursery.start(send, ref, number)
        ref.stop()
        await ref.stopped()
        assert order == list(range(1_000))
        assert settled(system.ledger, sent=1_000, handled=1_000)


async def test_the_asks_of_ten_thousand_tasks_are_answered_when_their_actor_stops(
    autojump_clock: Any,
) -> None:
    stopped = 0

    async def ask(ref: ActorRef) -> None:
        nonlocal stopped
        with pytest.raises(ActorStopped):
            await ref.ask("anybody?", timeout=None)
        stopped += 1

    async with ActorSystem("stopping") as system:
        ref = system.spawn(Silent)
        async with trio.open_nursery() as nursery:
            for _ in range(10_000):
                nursery.start_soon(ask, ref)
            await trio.testing.wait_all_tasks_blocked()
            ref.stop()
        assert stopped == 10_000


async def test_ten_thousand_cancelled_asks_leave_no_memory_behind(autojump_clock: Any) -> None:
    async with ActorSystem("cancelling") as system:
        ref = system.spawn(Waiting)
        gate = trio.Event()
        ref.tell(gate)

        # Those that wait in the mailbox keep their room until the actor comes to them.
        async def many(size: int) -> None:
            with trio.move_on_after(1):
                async with trio.open_nursery() as nursery:
                    for _ in range(size):
                        nursery.start_soon(ref.ask, gate, 1_000.0)

        await many(100)
        gc.collect()
        before = len(gc.get_objects())
        for _ in range(20):
            await many(500)
        gate.set()
        await trio.testing.wait_all_tasks_blocked()
        gc.collect()
        assert len(gc.get_objects()) < before + 1_000
        assert settled(system.ledger, handled=1, expired=10_100)


async def test_constructors_that_spawn_too_deep_leave_nothing_behind(autojump_clock: Any) -> None:
    class Nested(Actor):
        def __init__(self, depth: int) -> None:
            if depth:
                self.context.spawn(Nested, depth - 1)

    async with ActorSystem("nested") as system:
        with pytest.raises(RecursionError):
            system.spawn(Nested, sys.getrecursionlimit())
        await trio.testing.wait_all_tasks_blocked()
        assert system.children == ()
