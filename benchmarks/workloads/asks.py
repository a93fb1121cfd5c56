"""Asks: from a trio task against bare task switches, from an actor against the deque loop.

An ask from a task needs the way asker -> actor -> asker: two task switches, if the actor were a
task. The limit is a pair of tasks that wake each other and do nothing else, two switches a round.
An ask from an actor to an actor needs no task, so its limit is the deque loop: one pair appended,
taken, the method called, and its return value is the reply.
"""

from collections import deque
from time import perf_counter

import trio
import trio.testing

from actors import Actor, ActorRef, ActorSystem, Request, message
from benchmarks.harness import Speed

#: Asks on their way at once, where it is not one.
IN_FLIGHT = 1_000


@message
class Question(Request[int]):
    """The request that is asked, one object over and over; the reply is a number."""


@message
class Begin:
    """Tells an `Asker` to ask `times` times, and then to report to `finish`."""

    times: int
    finish: "Finish"


QUESTION = Question()


class Finish:
    """Where `askers` actors report once they have their last reply."""

    def __init__(self, askers: int) -> None:
        self.left = askers
        self.all_done = trio.Event()

    def done(self) -> None:
        """One more asker is done."""
        self.left -= 1
        if not self.left:
            self.all_done.set()


class Answerer:
    """The handler body: replies with the number of the question."""

    def __init__(self) -> None:
        self.count = 0

    def receive(self, message: object) -> int:
        """Reply."""
        self.count += 1
        return self.count


class AnsweringActor(Actor):
    """An `Answerer` as an actor."""

    def __init__(self) -> None:
        self.count = 0

    def receive(self, message: object) -> int:
        """Reply."""
        self.count += 1
        return self.count


class AsyncAnsweringActor(Actor):
    """The same with an `async def` handler, which does not wait."""

    def __init__(self) -> None:
        self.count = 0

    async def receive(self, message: object) -> int:
        """Reply."""
        self.count += 1
        return self.count


class Asker(Actor):
    """An actor that asks another."""

    def __init__(self, target: ActorRef) -> None:
        self.target = target

    async def receive(self, message: Begin) -> None:
        """Ask as often as told, one ask after the other."""
        for _ in range(message.times):
            await self.target.ask(QUESTION)
        message.finish.done()


async def _ask_in_turn(ref: ActorRef, count: int) -> float:
    start = perf_counter()
    for _ in range(count):
        await ref.ask(QUESTION)
    return count / (perf_counter() - start)


async def ask(system: ActorSystem, count: int) -> float:
    """One task asks one actor with a plain handler, `count` times, one after the other."""
    return await _ask_in_turn(system.spawn(AnsweringActor), count)


async def ask_async(system: ActorSystem, count: int) -> float:
    """As `ask`, of an actor with an `async def` handler that never waits."""
    return await _ask_in_turn(system.spawn(AsyncAnsweringActor), count)


async def _ask_at_once(ref: ActorRef, count: int) -> float:
    askers = min(IN_FLIGHT, count)
    times = count // askers

    async def asker() -> None:
        for _ in range(times):
            await ref.ask(QUESTION)

    start = perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(askers):
            nursery.start_soon(asker)
    return askers * times / (perf_counter() - start)


async def ask_at_once(system: ActorSystem, count: int) -> float:
    """1,000 tasks ask one actor with a plain handler at once, each one ask after the other."""
    return await _ask_at_once(system.spawn(AnsweringActor), count)


async def ask_at_once_async(system: ActorSystem, count: int) -> float:
    """As `ask_at_once`, of an actor with an `async def` handler that never waits."""
    return await _ask_at_once(system.spawn(AsyncAnsweringActor), count)


def two_switches(count: int) -> float:
    """Two trio tasks wake each other: `count` times there and back, two task switches each."""

    async def main() -> float:
        wake, wait = trio.lowlevel.reschedule, trio.lowlevel.wait_task_rescheduled

        def cannot_abort(_: object) -> trio.lowlevel.Abort:
            return trio.lowlevel.Abort.FAILED

        async def partner() -> None:
            for _ in range(count):
                await wait(cannot_abort)
                wake(asker)

        asker = trio.lowlevel.current_task()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partner)
            await trio.testing.wait_all_tasks_blocked()
            (task,) = nursery.child_tasks
            start = perf_counter()
            for _ in range(count):
                wake(task)
                await wait(cannot_abort)
            return count / (perf_counter() - start)

    return trio.run(main)


async def _ask_from_actors(
    system: ActorSystem, count: int, askers: int, target: type[Actor]
) -> float:
    ref = system.spawn(target)
    askers = min(askers, count)
    times = count // askers
    refs = [system.spawn(Asker, ref) for _ in range(askers)]
    finish = Finish(askers)
    begin = Begin(times, finish)
    start = perf_counter()
    for asker in refs:
        asker.tell(begin)
    await finish.all_done.wait()
    return askers * times / (perf_counter() - start)


async def ask_from_actor(system: ActorSystem, count: int) -> float:
    """One actor asks another with a plain handler, `count` times, one after the other."""
    return await _ask_from_actors(system, count, 1, AnsweringActor)


async def ask_from_actor_async(system: ActorSystem, count: int) -> float:
    """As `ask_from_actor`, of an actor with an `async def` handler that never waits."""
    return await _ask_from_actors(system, count, 1, AsyncAnsweringActor)


async def ask_from_actors(system: ActorSystem, count: int) -> float:
    """1,000 actors ask one with a plain handler at once, each one ask after the other."""
    return await _ask_from_actors(system, count, IN_FLIGHT, AnsweringActor)


async def ask_from_actors_async(system: ActorSystem, count: int) -> float:
    """As `ask_from_actors`, of an actor with an `async def` handler that never waits."""
    return await _ask_from_actors(system, count, IN_FLIGHT, AsyncAnsweringActor)


def reply_loop(count: int) -> float:
    """Append one (object, message), take it, call and keep the reply; `count` times."""
    answerer = Answerer()
    pairs: deque[tuple[Answerer, object]] = deque()
    reply = 0
    start = perf_counter()
    for _ in range(count):
        pairs.append((answerer, QUESTION))
        target, message = pairs.popleft()
        reply = target.receive(message)
    return reply / (perf_counter() - start)


def reply_loop_at_once(count: int) -> float:
    """As `reply_loop`, with 1,000 pairs in the deque before the first is taken."""
    answerer = Answerer()
    pairs: deque[tuple[Answerer, object]] = deque()
    at_once = min(IN_FLIGHT, count)
    reply = 0
    start = perf_counter()
    for _ in range(count // at_once):
        for _ in range(at_once):
            pairs.append((answerer, QUESTION))
        while pairs:
            target, message = pairs.popleft()
            reply = target.receive(message)
    return reply / (perf_counter() - start)


SWITCHES = "two trio task switches"
LOOP = "deque loop"

BENCHMARKS = (
    Speed(
        "ask",
        "ask from a task, one at a time, plain handler",
        ask,
        two_switches,
        SWITCHES,
        20_000,
        20_000,
        reach=0.85,
    ),
    Speed(
        "ask-async",
        "ask from a task, one at a time, async def handler",
        ask_async,
        two_switches,
        SWITCHES,
        20_000,
        20_000,
    ),
    Speed(
        "ask-1000",
        "ask from 1,000 tasks at once, plain handler",
        ask_at_once,
        two_switches,
        SWITCHES,
        40_000,
        20_000,
        reach=2.0,
    ),
    Speed(
        "ask-1000-async",
        "ask from 1,000 tasks at once, async def handler",
        ask_at_once_async,
        two_switches,
        SWITCHES,
        40_000,
        20_000,
    ),
    Speed(
        "ask-actor",
        "ask from actor to actor, one at a time, plain handler",
        ask_from_actor,
        reply_loop,
        LOOP,
        150_000,
        1_000_000,
        reach=0.12,
    ),
    Speed(
        "ask-actor-async",
        "ask from actor to actor, one at a time, async def handler",
        ask_from_actor_async,
        reply_loop,
        LOOP,
        150_000,
        1_000_000,
    ),
    Speed(
        "ask-actor-1000",
        "ask from 1,000 actors at once, plain handler",
        ask_from_actors,
        reply_loop_at_once,
        LOOP,
        150_000,
        1_000_000,
        reach=0.12,
    ),
    Speed(
        "ask-actor-1000-async",
        "ask from 1,000 actors at once, async def handler",
        ask_from_actors_async,
        reply_loop_at_once,
        LOOP,
        150_000,
        1_000_000,
    ),
)
