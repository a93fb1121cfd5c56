"""Streaming replies: items, backpressure, and each way in which a stream can end."""

from __future__ import annotations

import contextlib
import functools
import gc
import random
import re
from collections.abc import AsyncIterator, Callable
from math import inf
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
    AskCycle,
    AskTimeout,
    DeadLetterReason,
    Failure,
    ForgottenAwait,
    HandlerTimeout,
    Mailbox,
    NotAMessage,
    NotAskable,
    NotRunning,
    NotStreamable,
    Request,
    Resume,
    Stream,
    SystemClosed,
    message,
)
from actors.ask import Ask
from actors.cell import Cell
from actors.handling import put_back
from actors.sinks import Sink
from actors.testing import ActorKit, Deadlock, effects, run_virtually
from supervision import CircuitBreaker, CircuitOpen, Pool, RateLimit
from tests.actors.kit import Checked, Doer, Parent, fail

Made = Callable[[Actor], AsyncIterator[Any]]


class Async(Actor):
    """Answers with the stream that it is sent; or with anything else."""

    async def receive(self, message: Any) -> Any:
        return message(self) if callable(message) else message


class Plain(Actor):
    """The same with a plain handler."""

    def receive(self, message: Any) -> Any:
        return message(self) if callable(message) else message


class Generator(Actor):
    """Its handler is an async generator itself."""

    async def receive(self, message: Any) -> Any:
        async with contextlib.aclosing(message(self)) as items:
            async for item in items:
                yield item


PRODUCERS = [Async, Plain, Generator]
each_producer = pytest.mark.parametrize("producer", PRODUCERS)


@attrs.define
class Numbers:
    """A stream of numbers, and what became of it."""

    most: int | None = None
    before: dict[int, Callable[[], Any]] = attrs.field(factory=dict)
    at_end: Callable[[], Any] | None = None
    made: int = 0
    ended: list[str] = attrs.field(factory=list)

    def __call__(self, _: Actor) -> AsyncIterator[int]:
        return self.run()

    async def run(self) -> AsyncIterator[int]:
        how = "ended"
        try:
            while self.most is None or self.made < self.most:
                if self.made in self.before:
                    await self.before[self.made]()
                self.made += 1
                yield self.made - 1
        except BaseException as error:
            how = type(error).__name__
            raise
        finally:
            try:
                if self.at_end is not None:
                    await self.at_end()
            finally:
                self.ended.append(how)


def raising(error: BaseException) -> Callable[[], Any]:
    async def run() -> None:
        raise error

    return run


async def collect(stream: Any) -> list[Any]:
    return [item async for item in stream]


def consume(ref: ActorRef, made: Any, **options: Any) -> Callable[[Actor], Any]:
    """Sent to a Doer: consumes a stream."""
    return lambda _: collect(ref.stream(made, **options))


class Consumption:
    """A consumer that takes an item each time that it is told to: a task, or an actor."""

    def __init__(self, stream: Stream[Any]) -> None:
        self.stream = stream
        self.got: list[Any] = []
        self.error: BaseException | None = None
        self.gate = trio.Semaphore(0)
        self.scope = trio.CancelScope()

    async def run(self, _: object = None) -> None:
        with self.scope:
            try:
                async with self.stream as items:
                    async for item in items:
                        self.got.append(item)
                        await self.gate.acquire()
            except Exception as error:
                self.error = error

    async def take(self, number: int) -> None:
        for _ in range(number):
            self.gate.release()
        await wait_all_tasks_blocked()


# -- items


@each_producer
async def test_the_items_arrive_in_order_and_the_end_ends_the_loop(producer: Any) -> None:
    async with Checked("s", max_restarts=0) as system:
        ref = system.spawn(producer)
        numbers = Numbers(100)
        assert await collect(ref.stream(numbers)) == list(range(100))
        assert numbers.ended == ["ended"]
        assert await collect(ref.stream(Numbers(0))) == []
        assert await system.spawn(Doer).ask(consume(ref, Numbers(50))) == list(range(50))


@each_producer
@pytest.mark.parametrize("buffer", [1, 2, 3, 16, 1000])
async def test_any_buffer_gives_all_items(producer: Any, buffer: int) -> None:
    async with Checked("s", max_restarts=0) as system:
        ref, doer = system.spawn(producer), system.spawn(Doer)
        assert await collect(ref.stream(Numbers(200), buffer=buffer)) == list(range(200))
        assert await doer.ask(consume(ref, Numbers(200), buffer=buffer)) == list(range(200))


@each_producer
async def test_nothing_is_sent_before_the_first_item_is_wanted(producer: Any) -> None:
    async with Checked("s", max_restarts=0) as system:
        ref = system.spawn(producer)
        numbers = Numbers()
        stream = ref.stream(numbers)
        await wait_all_tasks_blocked()
        assert (system.ledger.sent, numbers.made) == (0, 0)
        async with stream as items:
            await wait_all_tasks_blocked()
            assert (system.ledger.sent, numbers.made) == (1, 16)
            assert await anext(items) == 0
        await stream.aclose()
        unopened = ref.stream(numbers)
        await unopened.aclose()
        assert await collect(unopened) == []
        async with unopened as items:
            assert await collect(items) == []
        assert system.ledger.sent == 1


async def test_the_arguments_are_checked_at_the_call() -> None:
    async with Checked("s") as system:
        ref = system.spawn(Async)
        for buffer in (0, -1, 1.0, True, "16"):
            with pytest.raises(ValueError, match="buffer is an int from 1 up"):
                ref.stream("a", buffer=buffer)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="timeout is a number of seconds"):
            ref.stream("a", timeout="5")  # type: ignore[call-overload]
        with pytest.raises(NotAMessage, match="stream takes an instance"):
            ref.stream(Numbers)
        assert "Stream of 'a' from actor://s/async" in repr(ref.stream("a"))


@each_producer
async def test_the_handling_of_the_message_lasts_as_long_as_the_stream(producer: Any) -> None:
    async with Checked("s", max_restarts=0) as system:
        ref = system.spawn(producer)
        async with ref.stream(Numbers()) as items:
            await anext(items)
            ref.tell(log_when_handled := [])
            if producer is Generator:
                ref.stop()
            await wait_all_tasks_blocked()
            assert (system.ledger.in_flight, system.ledger.queued) == (1, 1)
            assert system.ledger.missing == 0
        await wait_all_tasks_blocked()
        assert log_when_handled == []
        if producer is not Generator:
            assert (system.ledger.handled, system.ledger.queued) == (2, 0)


# -- backpressure


@each_producer
@pytest.mark.parametrize("buffer", [1, 2, 8, 16])
async def test_no_more_than_the_buffer_is_produced_ahead(producer: Any, buffer: int) -> None:
    async with Checked("s", max_restarts=0) as system, trio.open_nursery() as nursery:
        numbers = Numbers()
        consumption = Consumption(system.spawn(producer).stream(numbers, buffer=buffer))
        nursery.start_soon(consumption.run)
        await wait_all_tasks_blocked()
        for taken in range(1, 40):
            assert len(consumption.got) == taken
            # It goes on when half of the buffer has been taken.
            assert taken + buffer // 2 <= numbers.made <= taken + buffer
            await consumption.take(1)
        consumption.scope.cancel()


async def test_a_producer_that_waits_for_room_and_an_actor_that_waits_have_no_task() -> None:
    async with Checked("s", max_restarts=0) as system:
        gate = trio.Event()
        producers = [system.spawn(Async) for _ in range(20)]
        made = [Numbers() for _ in producers]
        opened = [
            await ref.stream(each).__aenter__() for ref, each in zip(producers, made, strict=True)
        ]
        await wait_all_tasks_blocked()
        assert [each.made for each in made] == [16] * 20
        # Set aside, all of them: one worker was enough.
        assert len(system._dispatcher.workers) == 1
        one = system.spawn(Async)
        slow = Numbers(2, before={1: gate.wait})
        waiting = [system.spawn(Doer) for _ in range(20)]
        for doer in waiting[:1]:
            doer.tell(consume(one, slow))
        for doer in waiting[1:]:
            doer.tell(consume(one, Numbers(1)))
        await wait_all_tasks_blocked()
        # Another one for the generator, which waits on trio; none for the twenty that consume.
        assert len(system._dispatcher.workers) <= 3
        gate.set()
        for stream in opened:
            await stream.aclose()


async def test_a_large_buffer_lets_others_have_their_turns() -> None:
    async with Checked("s", max_restarts=0) as system:
        made = Numbers(100_000)
        seen: list[int] = []
        ref, other = system.spawn(Async), system.spawn(Doer)
        async with ref.stream(made, buffer=1_000_000) as items:
            await anext(items)
            await other.ask(lambda _: seen.append(made.made))
            assert 0 < seen[0] < 100_000
            assert len(await collect(items)) == 99_999


async def test_a_thousand_streams_at_once_all_end() -> None:
    async with Checked("s", max_restarts=0) as system:
        refs = [system.spawn(PRODUCERS[n % 3]) for n in range(1000)]
        results: list[list[int]] = []
        doers = [system.spawn(Doer) for _ in range(500)]

        async def by_task(ref: ActorRef) -> None:
            results.append(await collect(ref.stream(Numbers(50), buffer=4, timeout=None)))

        async def by_actor(ref: ActorRef, doer: ActorRef) -> None:
            results.append(await doer.ask(consume(ref, Numbers(50), timeout=None), timeout=None))

        async with trio.open_nursery() as nursery:
            for ref in refs[:500]:
                nursery.start_soon(by_task, ref)
            for ref, doer in zip(refs[500:], doers, strict=True):
                nursery.start_soon(by_actor, ref, doer)
        assert results == [list(range(50))] * 1000
        assert (system.ledger.handled, system.ledger.sent) == (1500, 1500)


# -- the producer ends


@each_producer
async def test_a_generator_that_raises_fails_its_actor_after_the_items(producer: Any) -> None:
    async with Checked("s", max_restarts=None) as system:
        ref = system.spawn(producer)
        boom = ValueError("boom")
        got = []
        with pytest.raises(ActorFailed) as caught:
            async for item in ref.stream(Numbers(9, before={3: raising(boom)})):
                got.append(item)
        assert (got, caught.value.cause, caught.value.ref) == ([0, 1, 2], boom, ref)
        assert await collect(ref.stream(Numbers(2))) == [0, 1]
        ledger = system.ledger
        assert (ledger.failed, ledger.handled, ledger.restarts) == (1, 1, 1)


@each_producer
async def test_after_its_error_a_stream_is_at_its_end(producer: Any) -> None:
    async with Checked("s", max_restarts=None) as system:
        stream = system.spawn(producer).stream(Numbers(before={0: raising(KeyError("x"))}))
        with pytest.raises(ActorFailed):
            await anext(stream)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_a_handler_that_raises_before_it_returns_is_a_failure_like_any() -> None:
    async with Checked("s", max_restarts=None) as system:
        with pytest.raises(ActorFailed, match="on purpose"):
            await collect(system.spawn(Async).stream(fail))
        with pytest.raises(ActorFailed, match="on purpose"):
            await collect(system.spawn(Plain).stream(fail))


async def test_the_parent_decides_about_a_generator_that_failed() -> None:
    failures: list[Failure] = []

    def resume(failure: Failure) -> Any:
        failures.append(failure)
        return Resume()

    async with Checked("s") as system:
        await system.start(Parent, Async, resume)
        child = system.children[0].address
        ref = system.at(f"{child}/child")
        numbers = Numbers(before={1: raising(KeyError("x"))})
        with pytest.raises(ActorFailed):
            await collect(ref.stream(numbers))
        assert [failure.message for failure in failures] == [numbers]
        assert system.ledger.restarts == 0


@each_producer
async def test_a_stop_lets_the_stream_end_first(producer: Any) -> None:
    async with Checked("s") as system:
        ref = system.spawn(producer)
        got = []
        async for item in ref.stream(Numbers(100)):
            ref.stop()
            got.append(item)
        assert got == list(range(100))
        await ref.stopped()
        with pytest.raises(ActorStopped) as caught:
            await collect(ref.stream(Numbers(1)))
        assert not caught.value.started
        assert system.ledger.rejected == 1


@each_producer
async def test_a_stop_that_takes_too_long_ends_the_stream(
    producer: Any, autojump_clock: Any
) -> None:
    async with Checked("s") as system:
        ref = system.spawn(producer)
        numbers = Numbers()
        async with ref.stream(numbers) as items:
            assert await anext(items) == 0
            ref.stop()
            await ref.stopped()
            # Cancelled at its `yield`; an inner generator is closed by the outer one.
            assert numbers.ended == ["GeneratorExit" if producer is Generator else "Cancelled"]
            with pytest.raises(ActorStopped) as caught:
                await collect(items)
        assert caught.value.started
        assert [letter.reason for letter in system.dead_letters.recent] == [
            DeadLetterReason.CANCELLED
        ]


@each_producer
async def test_the_items_before_a_stop_still_arrive(producer: Any, autojump_clock: Any) -> None:
    async with Checked("s") as system:
        ref = system.spawn(producer)
        async with ref.stream(Numbers(before={3: trio.sleep_forever})) as items:
            assert await anext(items) == 0
            ref.stop()
            await ref.stopped()
            got = []
            with pytest.raises(ActorStopped):
                async for item in items:
                    got.append(item)
            assert got == [1, 2]


@each_producer
async def test_a_request_that_is_queued_when_the_actor_stops_is_answered(producer: Any) -> None:
    class Slow(producer):  # type: ignore[misc]
        shutdown = 0.0

    async with Checked("s") as system:
        ref = system.spawn(Slow)
        async with ref.stream(Numbers()) as first, ref.stream(Numbers()) as second:
            await anext(first)
            ref.stop()
            with pytest.raises(ActorStopped, match="before it came to it"):
                await anext(second)


async def test_leaving_the_system_ends_the_streams_of_those_who_wait() -> None:
    errors: list[BaseException] = []

    async def consumer(stream: Stream[Any]) -> None:
        try:
            await collect(stream)
        except ActorStopped as error:
            errors.append(error)

    class Slow(Async):
        shutdown = 0.0

    async with trio.open_nursery() as nursery, Checked("s") as system:
        ref = system.spawn(Slow)
        stream = ref.stream(Numbers(before={2: trio.sleep_forever}), timeout=None)
        nursery.start_soon(consumer, stream)
        await wait_all_tasks_blocked()
    assert len(errors) == 1
    with pytest.raises(SystemClosed):
        await collect(ref.stream(Numbers()))


# -- the consumer goes


async def by_break(opened: Callable[[], Stream[Any]]) -> None:
    async for item in opened():
        if item == 3:
            break


async def by_exception(opened: Callable[[], Stream[Any]]) -> None:
    async for item in opened():
        if item == 3:
            raise RuntimeError("enough")


async def by_async_with(opened: Callable[[], Stream[Any]]) -> None:
    async with opened() as items:
        async for item in items:
            if item == 3:
                break


async def by_aclosing(opened: Callable[[], Stream[Any]]) -> None:
    async with contextlib.aclosing(opened()) as items:
        async for item in items:
            if item == 3:
                return


async def by_cancellation_in_the_loop(opened: Callable[[], Stream[Any]]) -> None:
    with trio.CancelScope() as scope:
        async for item in opened():
            if item == 3:
                scope.cancel()


async def by_cancellation_in_the_body(opened: Callable[[], Stream[Any]]) -> None:
    with trio.CancelScope() as scope:
        async for item in opened():
            if item == 3:
                scope.cancel()
                await trio.sleep_forever()


WAYS = [
    by_break,
    by_exception,
    by_async_with,
    by_aclosing,
    by_cancellation_in_the_loop,
    by_cancellation_in_the_body,
]


@each_producer
@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("by_actor", [False, True])
@pytest.mark.parametrize("way", WAYS)
async def test_the_producer_ends_when_its_consumer_goes(
    producer: Any, way: Any, by_actor: bool, waits: bool
) -> None:
    """At its `yield` it sees GeneratorExit; where it waits, it is cancelled."""
    async with Checked("s", max_restarts=1 if way is by_exception else 0) as system:
        ref, doer = system.spawn(producer), system.spawn(Doer)
        numbers = Numbers(before={4: trio.sleep_forever} if waits else {})
        # No variable holds the stream: that would be for `async with`.
        opened = functools.partial(ref.stream, numbers)
        going = doer.ask(lambda _: way(opened)) if by_actor else way(opened)
        with contextlib.suppress(RuntimeError, ActorFailed):
            await going
        await wait_all_tasks_blocked()
        assert numbers.ended == ["Cancelled" if waits else "GeneratorExit"]
        assert await collect(ref.stream(Numbers(2))) == [0, 1]
        ledger = system.ledger
        # Both requests of `ref` are handled, and nothing has failed but who raised.
        failed = int(by_actor and way is by_exception)
        assert (ledger.failed, ledger.handled) == (failed, 2 + by_actor - failed)
        assert (ledger.expired, ledger.dead, ledger.missing) == (0, 0, 0)


@pytest.mark.parametrize("by_actor", [False, True])
async def test_a_consumer_that_is_cancelled_while_it_waits_for_an_item_is_gone(
    by_actor: bool,
) -> None:
    async with Checked("s", max_restarts=0) as system:
        ref, doer = system.spawn(Async), system.spawn(Doer)
        numbers = Numbers(before={2: trio.sleep_forever})
        consumption = Consumption(ref.stream(numbers, timeout=None))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(*((doer.ask, consumption.run) if by_actor else (consumption.run,)))
            await wait_all_tasks_blocked()
            await consumption.take(5)
            assert numbers.ended == []
            consumption.scope.cancel()
        assert consumption.got == [0, 1]
        await wait_all_tasks_blocked()
        assert numbers.ended == ["Cancelled"]


async def test_a_consuming_actor_that_is_killed_is_gone(autojump_clock: Any) -> None:
    class Hasty(Doer):
        shutdown = 1.0

    async with Checked("s", max_restarts=0) as system:
        ref = system.spawn(Async)
        for numbers in (Numbers(), Numbers(before={2: trio.sleep_forever})):
            consumption = Consumption(ref.stream(numbers, timeout=None))
            doer = system.spawn(Hasty)
            doer.tell(consumption.run)
            await wait_all_tasks_blocked()
            doer.stop()
            await doer.stopped()
            await wait_all_tasks_blocked()
            assert len(numbers.ended) == 1
        assert await collect(ref.stream(Numbers(1))) == [0]


async def test_a_consumer_that_fails_frees_its_producer_though_its_traceback_holds_the_stream(
    autojump_clock: Any,
) -> None:
    """Resume keeps the actor, and the failure keeps the frame with the variable `items`."""

    async with Checked("s") as system:
        ref = system.spawn(Async)
        numbers = Numbers()

        async def consumer(_: Actor) -> None:
            items = ref.stream(numbers)
            async for _item in items:
                raise KeyError("with the stream in a variable")

        await system.start(Parent, Doer, Resume(), name="p")
        child = system.at("actor://s/p/child")
        with pytest.raises(ActorFailed) as caught:
            await child.ask(consumer)
        assert numbers.ended == ["GeneratorExit"]
        assert isinstance(caught.value.cause, KeyError)


async def test_a_stream_that_an_actor_keeps_ends_with_its_incarnation() -> None:
    class Keeper(Actor):
        items: Stream[int]

        async def receive(self, message: Any) -> Any:
            if isinstance(message, Stream):
                self.items = message
            return await anext(self.items)

    async with Checked("s") as system:
        ref, keeper = system.spawn(Async), system.spawn(Keeper)
        numbers = Numbers()
        stream = ref.stream(numbers)
        assert [await keeper.ask(stream), await keeper.ask("next")] == [0, 1]
        assert numbers.ended == []
        keeper.stop()
        await keeper.stopped()
        await wait_all_tasks_blocked()
        assert numbers.ended == ["GeneratorExit"]
        assert await collect(stream) == []


async def test_a_stream_that_is_dropped_in_a_cycle_ends_when_it_is_collected() -> None:
    async with Checked("s", max_restarts=0) as system:
        ref = system.spawn(Async)
        numbers = Numbers()

        async def drop() -> None:
            held: list[Any] = [ref.stream(numbers)]
            held.append(held)
            await anext(held[0])

        gc.disable()
        try:
            await drop()
            await wait_all_tasks_blocked()
            assert numbers.ended == []
            gc.collect()
            # Noted only: nothing happens inside of the collector.
            assert numbers.ended == []
            await wait_all_tasks_blocked()
            assert numbers.ended == ["GeneratorExit"]
        finally:
            gc.enable()


async def test_a_stream_dropped_after_its_system_was_left_does_nothing() -> None:
    async with Checked("s") as system:
        stream: Stream[Any] | None = system.spawn(Async).stream(Numbers(3))
        assert stream is not None
        await anext(stream)
    stream = None
    gc.collect()
    await wait_all_tasks_blocked()
    assert stream is None


async def test_a_finally_may_wait_after_generator_exit_and_its_actor_waits_for_it() -> None:
    async with Checked("s", max_restarts=0) as system:
        ref = system.spawn(Async)
        gate = trio.Event()
        numbers = Numbers(at_end=gate.wait)
        async with ref.stream(numbers) as items:
            await anext(items)
        async with ref.stream(Numbers(1)) as items:
            await wait_all_tasks_blocked()
            assert (numbers.ended, system.ledger.queued) == ([], 1)
            gate.set()
            assert await collect(items) == [0]
        assert numbers.ended == ["GeneratorExit"]


async def test_a_finally_that_raises_fails_the_actor() -> None:
    async with Checked("s") as system:
        ref = system.spawn(Async)
        async with ref.stream(Numbers(at_end=raising(KeyError("x")))) as items:
            await anext(items)
        await wait_all_tasks_blocked()
        assert (system.ledger.failed, system.ledger.restarts) == (1, 1)


async def test_a_generator_that_ignores_its_end_fails_its_actor() -> None:
    async def stubborn(_: object = None) -> AsyncIterator[int]:
        with contextlib.suppress(GeneratorExit):
            yield 1
        yield 2

    async with Checked("s") as system:
        ref = system.spawn(Async)
        async with ref.stream(stubborn, buffer=1):
            await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert (system.ledger.failed, system.ledger.restarts) == (1, 1)
        assert await collect(ref.stream(Numbers(1))) == [0]


async def test_a_generator_that_swallows_its_cancellation_is_closed_at_its_next_yield() -> None:
    ended = []

    async def swallowing(_: object) -> AsyncIterator[int]:
        try:
            yield 1
            with contextlib.suppress(trio.Cancelled):
                await trio.sleep_forever()
            yield 2
        finally:
            ended.append(True)

    async with Checked("s", max_restarts=0) as system:
        ref = system.spawn(Async)
        async with ref.stream(swallowing) as items:
            assert await anext(items) == 1
            await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert ended == [True]
        assert await collect(ref.stream(Numbers(1))) == [0]
        assert system.ledger.handled == 2


async def test_a_consumer_that_goes_before_the_handler_starts_expires_the_request() -> None:
    async with Checked("s", max_restarts=0) as system:
        ref = system.spawn(Doer)
        gate = trio.Event()
        ref.tell(lambda _: gate.wait())
        await wait_all_tasks_blocked()
        numbers = Numbers()
        async with ref.stream(numbers):
            await wait_all_tasks_blocked()
        gate.set()
        await wait_all_tasks_blocked()
        assert (system.ledger.expired, system.ledger.handled, numbers.made) == (1, 1, 0)


async def test_a_consumer_that_goes_while_the_handler_makes_the_stream_never_starts_it() -> None:
    gate = trio.Event()
    numbers = Numbers()

    class Slow(Actor):
        async def receive(self, message: Any) -> Any:
            await gate.wait()
            return numbers.run()

    async with Checked("s", max_restarts=0) as system:
        ref = system.spawn(Slow)
        async with ref.stream("x"):
            await wait_all_tasks_blocked()
        gate.set()
        await wait_all_tasks_blocked()
        assert (numbers.made, numbers.ended, system.ledger.handled) == (0, [], 1)


async def test_a_request_that_waits_for_room_is_rejected_when_its_consumer_goes() -> None:
    class Small(Doer):
        mailbox = Mailbox(capacity=1)

    async with Checked("s", max_restarts=0) as system:
        ref = system.spawn(Small)
        gate = trio.Event()
        ref.tell(lambda _: gate.wait())
        await wait_all_tasks_blocked()
        ref.tell("fills it")
        async with ref.stream(Numbers()):
            pass
        assert system.ledger.rejected == 1
        gate.set()


async def test_a_scope_of_the_generator_may_be_open_at_its_yield() -> None:
    async def in_scopes(_: object) -> AsyncIterator[int]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            with trio.CancelScope():
                for n in range(100):
                    yield n
            nursery.cancel_scope.cancel()

    async with Checked("s", max_restarts=0) as system:
        ref = system.spawn(Async)
        assert await collect(ref.stream(in_scopes)) == list(range(100))
        async with ref.stream(in_scopes) as items:
            assert await anext(items) == 0
        await wait_all_tasks_blocked()
        assert await collect(ref.stream(Numbers(2))) == [0, 1]
        doer = system.spawn(Doer)
        assert await doer.ask(consume(ref, in_scopes, buffer=1)) == list(range(100))


async def test_a_scope_of_the_generator_can_end_its_wait_at_a_yield(autojump_clock: Any) -> None:
    async def hasty(_: object) -> AsyncIterator[Any]:
        with trio.move_on_after(2) as scope:
            for n in range(10):
                yield n
        yield "too slow" if scope.cancelled_caught else "in time"

    async with Checked("s", max_restarts=0) as system:
        ref = system.spawn(Async)
        for buffer in (1, 4):
            channel_sizes = []
            async with ref.stream(hasty, buffer=buffer) as items:
                await trio.sleep(3)
                channel_sizes.append(len(items._channel.items))
                assert await collect(items) == [*range(buffer), "too slow"]
            assert channel_sizes == [buffer]
        assert await collect(ref.stream(hasty)) == [*range(10), "in time"]


@each_producer
async def test_a_generator_that_asks_is_cancelled_there_when_its_consumer_goes(
    producer: Any,
) -> None:
    async with Checked("s", max_restarts=0) as system:
        ref, other = system.spawn(producer), system.spawn(Doer)
        gate = trio.Event()
        asks = Numbers(before={1: lambda: other.ask(lambda _: gate.wait(), timeout=None)})
        async with ref.stream(asks) as items:
            assert await anext(items) == 0
            await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert asks.ended == ["Cancelled"]
        assert await collect(ref.stream(Numbers(2))) == [0, 1]
        gate.set()


@pytest.mark.parametrize("seed", range(40))
async def test_whatever_happens_each_request_ends_once_and_no_producer_stays_busy(
    seed: int, autojump_clock: Any
) -> None:
    chance = random.Random(seed)

    def pause() -> Callable[[], Any]:
        return chance.choice([trio.lowlevel.checkpoint, lambda: trio.sleep(chance.random() / 10)])

    def numbers() -> Numbers:
        before: dict[int, Callable[[], Any]] = {
            chance.randrange(20): pause() for _ in range(chance.randrange(4))
        }
        if chance.random() < 0.2:
            before[chance.randrange(20)] = raising(ValueError("on purpose"))
        return Numbers(chance.choice([None, 0, 1, 30]), before, chance.choice([None, pause()]))

    async with Checked("s", max_restarts=None) as system:
        producers = [system.spawn(chance.choice(PRODUCERS)) for _ in range(4)]
        doers = [system.spawn(Doer) for _ in range(4)]

        async def consume_some(_: object = None) -> None:
            ref = chance.choice(producers)
            most = chance.randrange(40)
            timeout = chance.choice([None, 5.0, 0.01, 0.2])
            stream = ref.stream(numbers(), buffer=chance.choice([1, 2, 16]), timeout=timeout)
            got = 0
            with trio.move_on_after(chance.choice([0, 0.05, 1.0])):
                async with stream as items:
                    async for item in items:
                        assert item == got
                        got += 1
                        if got >= most:
                            if chance.random() < 0.3:
                                raise KeyError("consumer")
                            break
                        if chance.random() < 0.2:
                            await pause()()

        async def one() -> None:
            await trio.sleep(chance.random() / 5)
            with contextlib.suppress(ActorFailed, ActorStopped, AskTimeout, AskCycle, KeyError):
                if chance.random() < 0.5:
                    await consume_some()
                else:
                    await chance.choice(doers).ask(consume_some, timeout=chance.choice([None, 0.1]))

        async def disturb() -> None:
            for _ in range(3):
                await trio.sleep(chance.random() / 5)
                place = chance.randrange(4)
                if chance.random() < 0.5:
                    producers[place].stop()
                    producers[place] = system.spawn(chance.choice(PRODUCERS))
                else:
                    doers[place].stop()
                    doers[place] = system.spawn(Doer)
                assert system.ledger.missing == 0

        async with trio.open_nursery() as nursery:
            nursery.start_soon(disturb)
            for _ in range(40):
                nursery.start_soon(one)
        for ref in producers:
            with trio.fail_after(30):
                assert await collect(ref.stream(Numbers(3), timeout=None)) == [0, 1, 2]
        assert system.ledger.missing == 0


async def test_two_tasks_cannot_wait_for_items_of_one_stream() -> None:
    async with Checked("s", max_restarts=0) as system, trio.open_nursery() as nursery:
        stream = system.spawn(Async).stream(Numbers(before={0: trio.sleep_forever}))
        nursery.start_soon(collect, stream)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await anext(stream)
        await stream.aclose()


# -- time


@pytest.mark.parametrize("by_actor", [False, True])
@each_producer
async def test_each_item_has_the_whole_timeout(
    producer: Any, by_actor: bool, autojump_clock: Any
) -> None:
    def later(seconds: float) -> Callable[[], Any]:
        return lambda: trio.sleep(seconds)

    async with Checked("s", max_restarts=None) as system:
        ref, doer = system.spawn(producer), system.spawn(Doer)
        numbers = Numbers(before={0: later(2), 1: later(2), 2: later(2), 3: later(9)})
        got: list[int] = []

        async def run(_: object) -> None:
            async for item in ref.stream(numbers, timeout=3):
                got.append(item)
                await trio.sleep(1.5)

        began = trio.current_time()
        with pytest.raises((AskTimeout, ActorFailed)) as caught:
            await (doer.ask(run, timeout=None) if by_actor else run(None))
        error = caught.value.cause if isinstance(caught.value, ActorFailed) else caught.value
        assert isinstance(error, AskTimeout)
        assert (error.ref, error.message, error.timeout) == (ref, numbers, 3)
        assert error.where == "being streamed"
        assert got == [0, 1, 2]
        await wait_all_tasks_blocked()
        assert numbers.ended == ["Cancelled"]
        assert trio.current_time() - began == pytest.approx(2 + 2 + 2 + 1.5 + 3)


async def test_a_timeout_says_where_the_request_was(autojump_clock: Any) -> None:
    class Small(Doer):
        mailbox = Mailbox(capacity=1)

    async with Checked("s", max_restarts=0) as system:
        ref = system.spawn(Small)
        gate = trio.Event()
        ref.tell(lambda _: gate.wait())
        await wait_all_tasks_blocked()
        where = []
        for _ in range(2):
            with pytest.raises(AskTimeout) as caught:
                await collect(ref.stream("x", timeout=1))
            where.append(caught.value.where)
            ref.stream("y")
            if not system.ledger.rejected:
                with contextlib.suppress(Exception):
                    ref.tell("full")
        assert where == ["queued", "waiting for room"]
        gate.set()
        with pytest.raises(AskTimeout) as caught:
            await collect(ref.stream(lambda _: trio.sleep(5), timeout=1))
        assert caught.value.where == "being handled"


async def test_without_a_timeout_a_consumer_waits_for_ever(autojump_clock: Any) -> None:
    async with Checked("s", max_restarts=0) as system:
        numbers = Numbers(2, before={1: lambda: trio.sleep(1e6)})
        assert await collect(system.spawn(Async).stream(numbers, timeout=None)) == [0, 1]


async def test_handle_within_is_for_the_whole_stream(autojump_clock: Any) -> None:
    class Limited(Async):
        handle_within = 3.0

    class LimitedGenerator(Generator):
        handle_within = 3.0

    async with Checked("s", max_restarts=None) as system:
        for cls in (Limited, LimitedGenerator):
            got = []
            with pytest.raises(ActorFailed) as caught:
                async for item in system.spawn(cls).stream(
                    Numbers(before={n: lambda: trio.sleep(1) for n in range(9)})
                ):
                    got.append(item)
            assert isinstance(caught.value.cause, HandlerTimeout)
            assert len(got) in (2, 3)
            assert await collect(system.spawn(cls).stream(Numbers(2))) == [0, 1]


# -- what is no stream


@pytest.mark.parametrize("by_actor", [False, True])
@each_producer
async def test_an_ask_where_a_stream_answers_is_told_to_stream(
    producer: Any, by_actor: bool
) -> None:
    async with Checked("s", max_restarts=0) as system:
        ref, doer = system.spawn(producer), system.spawn(Doer)
        numbers = Numbers()

        async def asking(_: object) -> None:
            with pytest.raises(NotAskable, match=r"async for item in ref\.stream"):
                await ref.ask(numbers)

        await (doer.ask(asking) if by_actor else asking(None))
        # That was the asker's mistake: the actor is as it was.
        assert (numbers.made, system.ledger.failed, system.ledger.restarts) == (0, 0, 0)


@each_producer
async def test_a_stream_that_is_told_fails_the_actor_and_says_why(producer: Any) -> None:
    async with Checked("s") as system:
        ref = system.spawn(producer)
        failures = []
        system.crash_reports.subscribe(doer := system.spawn(Doer))
        doer.tell(None)
        numbers = Numbers()
        ref.tell(numbers)
        ref.tell(numbers)
        await wait_all_tasks_blocked()
        assert (numbers.made, system.ledger.failed, system.ledger.restarts) == (0, 2, 2)
        failures.append(ForgottenAwait(ref, "Async.receive", streams=True))
        assert "use `async for item in ref.stream(...)`" in str(failures[0])


@pytest.mark.parametrize("producer", [Async, Plain])
@pytest.mark.parametrize("value", [None, 7, [1, 2]])
async def test_a_stream_where_a_value_answers_is_told_to_ask(producer: Any, value: Any) -> None:
    async with Checked("s", max_restarts=0) as system:
        ref = system.spawn(producer)
        with pytest.raises(NotStreamable, match="with a value; use `await ref.ask"):
            await collect(ref.stream(value))
        assert await ref.ask(value) == value
        assert system.ledger.handled == 2


async def test_what_a_handler_can_do_with_its_message_its_generator_cannot() -> None:
    refused = []

    def tries(what: str) -> Made:
        async def items(actor: Actor) -> AsyncIterator[int]:
            try:
                if what == "put_back":
                    put_back(actor.context._cell)
                else:
                    getattr(actor.context, what)(*([other] if what == "forward" else []))
            except NotRunning as error:
                refused.append(str(error))
            yield 1

        return items

    async with Checked("s", max_restarts=0) as system:
        ref, other = system.spawn(Async), system.spawn(Async)
        for what in ("stash", "forward", "reply_later", "put_back"):
            assert await collect(ref.stream(tries(what))) == [1]
        assert len(refused) == 4
        assert all("not in the async generator" in each for each in refused)


async def test_a_request_can_be_stashed_and_forwarded() -> None:
    class Front(Actor):
        def __init__(self, behind: ActorRef) -> None:
            self.behind = behind
            self.ready = False

        def receive(self, message: Any) -> Any:
            if message == "ready":
                self.ready = True
                self.context.unstash_all()
            elif not self.ready:
                self.context.stash()
            else:
                self.context.forward(self.behind)

    async with Checked("s", max_restarts=0) as system:
        front = system.spawn(Front, system.spawn(Plain))
        async with front.stream(Numbers(20)) as items:
            front.tell("ready")
            assert await collect(items) == list(range(20))
        assert await collect(front.stream(Numbers(5))) == list(range(5))


async def test_a_reply_given_later_is_no_stream() -> None:
    def later(actor: Actor) -> None:
        actor.context.reply_later().reply(5)

    async with Checked("s", max_restarts=0) as system:
        with pytest.raises(NotStreamable):
            await collect(system.spawn(Plain).stream(later))


# -- waiting in circles


async def cycle(stream: Any) -> AskCycle:
    """The AskCycle in which it ends, however many ActorFailed it comes wrapped in."""
    error: BaseException | None = None
    with trio.fail_after(1):
        try:
            await stream
        except (ActorFailed, AskCycle) as caught:
            error = caught
    while isinstance(error, ActorFailed):
        error = error.cause
    assert isinstance(error, AskCycle)
    return error


async def test_an_actor_cannot_stream_from_itself(autojump_clock: Any) -> None:
    async with Checked("s") as system:
        ref = system.spawn(Doer)
        error = await cycle(ref.ask(consume(ref, Numbers())))
        assert error.chain == (ref, ref)


async def test_a_producer_that_asks_its_consumer_is_a_circle(autojump_clock: Any) -> None:
    async with Checked("s", max_restarts=None) as system:
        consumer, producer = system.spawn(Doer), system.spawn(Async)

        async def asks(_: Actor) -> AsyncIterator[Any]:
            yield 1
            yield await consumer.ask("x", timeout=None)

        error = await cycle(consumer.ask(consume(producer, asks, timeout=None), timeout=None))
        # In the second one's wait, whichever that is.
        assert error.chain in ((producer, consumer, producer), (consumer, producer, consumer))
        assert await consumer.ask("alive") == "alive"


async def test_a_consumer_that_asks_its_producer_is_a_circle(autojump_clock: Any) -> None:
    async with Checked("s", max_restarts=None) as system:
        consumer, producer = system.spawn(Doer), system.spawn(Doer)

        async def asking(_: Actor) -> None:
            async for _item in producer.stream(Numbers().__call__):
                await producer.ask("x", timeout=None)

        error = await cycle(consumer.ask(asking, timeout=None))
        assert error.chain in ((producer, consumer, producer), (consumer, producer, consumer))


@pytest.mark.parametrize("buffer", [1, 16])
async def test_two_actors_that_stream_from_each_other_are_a_circle(
    buffer: int, autojump_clock: Any
) -> None:
    async with Checked("s", max_restarts=None) as system:
        a, b = system.spawn(Async, name="a"), system.spawn(Async, name="b")

        async def from_b(_: Actor) -> AsyncIterator[Any]:
            async with contextlib.aclosing(b.stream(from_a, timeout=None, buffer=buffer)) as items:
                async for item in items:
                    yield item

        async def from_a(_: Actor) -> AsyncIterator[Any]:
            async with contextlib.aclosing(a.stream(from_b, timeout=None, buffer=buffer)) as items:
                async for item in items:
                    yield item

        error = await cycle(collect(a.stream(from_b, timeout=None)))
        assert error.chain == (b, a, b)


async def test_a_nursery_may_consume_in_one_task_and_ask_the_producer_in_another(
    autojump_clock: Any,
) -> None:
    """The producer waits for room while the ask is queued behind its stream: no circle."""
    async with Checked("s", max_restarts=0) as system:
        consumer, producer = system.spawn(Doer), system.spawn(Async)
        results: list[Any] = []

        async def both(_: Actor) -> None:
            async def slowly() -> None:
                async for item in producer.stream(Numbers(5), buffer=1, timeout=None):
                    results.append(item)
                    await trio.sleep(1)

            async def ask() -> None:
                await trio.sleep(0.5)
                results.append(await producer.ask("reply", timeout=None))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(slowly)
                nursery.start_soon(ask)

        await consumer.ask(both, timeout=None)
        assert sorted(results, key=str) == [0, 1, 2, 3, 4, "reply"]


async def test_a_producer_that_asks_the_actor_of_a_consuming_task_is_a_circle(
    autojump_clock: Any,
) -> None:
    async with Checked("s", max_restarts=None) as system:
        consumer, producer = system.spawn(Doer), system.spawn(Async)
        errors: list[Exception] = []

        async def asks(_: Actor) -> AsyncIterator[Any]:
            yield 1
            yield await consumer.ask("x", timeout=None)

        async def in_a_nursery(_: Actor) -> None:
            async def child() -> None:
                try:
                    await collect(producer.stream(asks, timeout=None))
                except Exception as error:
                    errors.append(error)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(child)

        with trio.fail_after(1):
            await consumer.ask(in_a_nursery, timeout=None)
        error = errors[0].cause if isinstance(errors[0], ActorFailed) else errors[0]
        assert isinstance(error, AskCycle)


async def test_a_parent_that_streams_from_a_child_that_failed_before_is_told(
    autojump_clock: Any,
) -> None:
    """The parent cannot decide while it waits, so its stream fails as an ask would."""
    async with Checked("s") as system:
        gate = trio.Event()

        async def failing(_: Actor) -> None:
            await gate.wait()
            raise KeyError("x")

        async def consuming(actor: Any) -> str:
            actor.child.tell(failing)
            async with actor.child.stream(Numbers().__call__, timeout=None) as items:
                gate.set()
                with pytest.raises(ActorFailed):
                    await anext(items)
            return "told"

        parent = system.spawn(Parent, Doer, Resume())
        assert await parent.ask(consuming) == "told"


def test_the_oracle_shows_who_waits_for_an_item_and_for_room() -> None:
    async def main() -> None:
        async with Checked("s") as system:
            producer = system.spawn(Async, name="producer")
            silent = system.spawn(Async, name="silent")
            consumer = system.spawn(Doer, name="consumer")
            other = system.spawn(Doer, name="other")

            async def stuck(_: Actor) -> None:
                async for _item in producer.stream(Numbers(), timeout=None):
                    await trio.sleep_forever()

            consumer.tell(stuck)
            forever = Numbers(before={0: trio.sleep_forever})
            other.tell(consume(silent, forever, timeout=None))
            await wait_all_tasks_blocked()
            async with producer.stream(Numbers(), timeout=None) as items:
                await anext(items)

    with pytest.raises(Deadlock) as caught:
        run_virtually(main)
    waits = caught.value.waits
    assert waits["actor://s/producer"] == "actor://s/consumer"
    assert waits["actor://s/other"] == "actor://s/silent"
    text = str(caught.value)
    assert re.search(r"other .* waits for the next item of the stream of .*silent for .*", text)
    assert re.search(r"producer .* waits for .*consumer to take items of the stream", text)
    assert re.search(r"task .* for the next item of the stream of .*producer for .*queued", text)


# -- other refs


async def test_a_stream_works_through_an_address_a_service_and_a_pool() -> None:
    async with Checked("s", max_restarts=0) as system:
        system.spawn(Async, name="a")
        path = system.at("actor://s/later")
        with pytest.raises(ActorStopped, match="no actor lives at that address"):
            await collect(path.stream(Numbers(3)))
        system.spawn(Plain, name="later")
        assert await collect(path.stream(Numbers(3))) == [0, 1, 2]

        service = system.at("service://numbers")
        with pytest.raises(ActorStopped, match="no instance"):
            await collect(service.stream(Numbers(3)))
        for ref in (system.at("actor://s/a"), system.at("actor://s/later")):
            system.register("service://numbers", ref)
        for _ in range(4):
            assert await collect(service.stream(Numbers(3))) == [0, 1, 2]


async def test_a_stream_from_a_pool_comes_from_a_worker_and_leaves_the_pool_free() -> None:
    async with Checked("s") as system:
        pool = await system.start(functools.partial(Pool, Async, size=2), name="pool")
        async with pool.stream(Numbers()) as one, pool.stream(Numbers()) as two:
            assert [await anext(one), await anext(two)] == [0, 0]
        assert await collect(pool.stream(Numbers(40))) == list(range(40))
        assert await pool.ask(7) == 7


async def test_another_instance_of_a_service_is_taken_only_if_the_first_never_began() -> None:
    async with Checked("s") as system:
        first, second = system.spawn(Async, name="first"), system.spawn(Async, name="second")
        for ref in (first, second):
            system.register("service://numbers", ref)
        # It takes no more, and is registered as long as it has not stopped.
        async with first.stream(Numbers()) as items:
            await anext(items)
            first.stop()
            for _ in range(3):
                assert await collect(system.at("service://numbers").stream(Numbers(3))) == [0, 1, 2]


async def test_a_topic_and_a_queue_refuse_a_stream() -> None:
    async with Checked("s", max_restarts=0) as system:
        consumer = system.spawn(Async)
        system.subscribe("topic://t", consumer)
        with pytest.raises(NotStreamable, match="any number of subscribers"):
            await collect(system.at("topic://t").stream(Numbers()))
        system.consume("queue://q", consumer)
        with pytest.raises(NotStreamable, match="no streams"):
            await collect(system.at("queue://q").stream(Numbers()))
        with pytest.raises(ActorFailed) as caught:
            await system.at("queue://q").ask(Numbers())
        assert isinstance(caught.value.cause, NotAskable)
        system.at("queue://q").tell(Numbers())
        await wait_all_tasks_blocked()
        assert [letter.reason for letter in system.dead_letters.recent] == [
            DeadLetterReason.FAILED_TOO_OFTEN
        ] * 2


async def test_a_stream_counts_for_a_circuit_breaker_at_its_end() -> None:
    async with Checked("s", max_restarts=None) as system:
        breaker = CircuitBreaker(system.spawn(Async), max_failures=2, reset_after=1.0)
        broken = Numbers(before={1: raising(KeyError("x"))})
        async with breaker.stream(Numbers()) as items:
            await anext(items)
        for _ in range(2):
            assert await collect(breaker.stream(Numbers(2))) == [0, 1]
            with pytest.raises(ActorFailed):
                await collect(breaker.stream(broken))
        with pytest.raises(ActorFailed):
            broken.made = 0
            await collect(breaker.stream(broken))
        with pytest.raises(CircuitOpen):
            await collect(breaker.stream(Numbers(2)))


async def test_a_stream_waits_for_its_turn_at_a_rate_limit(autojump_clock: Any) -> None:
    async with Checked("s", max_restarts=0) as system:
        limit = RateLimit(system.spawn(Async), rate=1, per=3.0)
        began = trio.current_time()
        for _ in range(2):
            assert await collect(limit.stream(Numbers(2))) == [0, 1]
        assert trio.current_time() - began == pytest.approx(3.0)
        with pytest.raises(AskTimeout, match="waiting for its turn"):
            await collect(limit.stream(Numbers(2), timeout=1))
        # What is left of the time is for the first item; each other one has all of it.
        slow = Numbers(3, before={0: lambda: trio.sleep(3), 1: lambda: trio.sleep(4.5)})
        with pytest.raises(AskTimeout):
            await collect(limit.stream(slow))


async def test_another_sink_than_a_channel_can_take_the_items() -> None:
    """The seam for a transport: put, end, and the signal that the consumer has gone."""

    class Remote(Sink):
        def __init__(self, credit: int) -> None:
            super().__init__()
            self.credit = credit
            self.log: list[Any] = []

        async def put(self, item: Any) -> bool:
            self.log.append(item)
            self.credit -= 1
            if self.credit <= 0 and not self.gone:
                await self.wait_for_room()
            return not self.gone

        def end(self, error: BaseException | None) -> None:
            self.log.append(("end", error))

    async with Checked("s", max_restarts=None) as system:
        ref = system.spawn(Plain)
        assert isinstance(ref, Cell)

        def open_with(sink: Sink, request: Any) -> None:
            sink.request(Ask(request, None, ref, inf, None))
            assert sink.ask is not None
            ref._put_ask(sink.ask)

        open_with(all_of_it := Remote(100), Numbers(3))
        await wait_all_tasks_blocked()
        assert all_of_it.log == [0, 1, 2, ("end", None)]

        open_with(slow := Remote(2), numbers := Numbers())
        await wait_all_tasks_blocked()
        assert slow.log == [0, 1]
        slow.credit = 1
        slow.there_is_room()
        await wait_all_tasks_blocked()
        assert slow.log == [0, 1, 2]
        slow.leave()
        await wait_all_tasks_blocked()
        assert (slow.log, numbers.ended) == ([0, 1, 2], ["GeneratorExit"])

        open_with(failing := Remote(9), Numbers(before={1: raising(KeyError("x"))}))
        await wait_all_tasks_blocked()
        assert failing.log[0] == 0
        assert isinstance(failing.log[1][1], ActorFailed)


# -- in between


async def test_a_plain_handlers_stream_survives_what_comes_before_its_next_turn() -> None:
    """It has answered, and its actor is restarted before it could produce: it answers anew."""

    class Counting(Actor):
        mailbox = Mailbox(capacity=2, overflow="drop_oldest")

        def receive(self, message: Any) -> Any:
            if message == "value":
                return 5
            self.context.ref.tell("value")
            self.context.ref.tell("value")
            return message.run()

    async with Checked("s", max_restarts=0) as system:
        ref = system.spawn(Counting)
        numbers = Numbers(3)
        with contextlib.suppress(ActorStopped):
            assert await collect(ref.stream(numbers)) == [0, 1, 2]
        assert await ref.ask("value") == 5
        assert await collect(ref.stream(Numbers(3))) == [0, 1, 2]


async def test_streams_and_other_messages_keep_their_order() -> None:
    log: list[Any] = []

    class Logging(Actor):
        def receive(self, message: Any) -> Any:
            log.append(message)
            return self._items(message) if message == "stream" else None

        async def _items(self, message: Any) -> AsyncIterator[Any]:
            for n in range(20):
                log.append(n)
                yield n

    async with Checked("s", max_restarts=0) as system:
        ref = system.spawn(Logging)
        ref.tell("before")
        async with ref.stream("stream") as items:
            ref.tell("behind")
            assert await collect(items) == list(range(20))
        await wait_all_tasks_blocked()
        assert log == ["before", "stream", *range(20), "behind"]


async def test_a_behaviour_may_answer_with_a_stream() -> None:
    async def other(_: Any) -> AsyncIterator[int]:
        yield 42

    async with Checked("s", max_restarts=0) as system:
        ref = system.spawn(Doer)
        await ref.ask(lambda actor: actor.context.become(other))
        for _ in range(2):
            assert await collect(ref.stream("x")) == [42]
        with pytest.raises(NotAskable):
            await ref.ask("x")


# -- the kit, and typed requests


def test_a_kit_runs_a_handler_that_answers_with_a_stream() -> None:
    for producer in PRODUCERS:
        kit = ActorKit(producer)
        assert kit.stream(Numbers(4)) == [0, 1, 2, 3]
        numbers = Numbers()
        assert kit.stream(numbers, most=2) == [0, 1]
        assert numbers.ended == ["GeneratorExit"]
        if producer is not Generator:
            with pytest.raises(TypeError, match=r"kit\.stream"):
                kit.handle(Numbers(1))
            with pytest.raises(TypeError, match="no stream"):
                kit.stream(7)
            with pytest.raises(AssertionError, match="stream_async"):
                kit.stream(Numbers(before={0: trio.sleep_forever}))


async def test_a_kit_records_a_stream_that_its_actor_consumes() -> None:
    kit = ActorKit(Doer)
    ref = kit.ref("numbers")
    kit.answer(ref, [1, 2, 3])
    assert kit.handle(consume(ref, "all")) == [1, 2, 3]
    assert kit.effects == [effects.Streamed(ref, "all", 5.0)]
    assert await ActorKit(Async).stream_async(Numbers(2, before={1: trio.lowlevel.checkpoint})) == [
        0,
        1,
    ]
    kit.answer(ref, AskTimeout(ref, "all", 5.0, "queued"))
    with pytest.raises(AskTimeout):
        kit.handle(consume(ref, "all"))


@message
class Count(Request[AsyncIterator[int]]):
    """A stream of so many numbers."""

    most: int


async def test_a_typed_request_is_streamed() -> None:
    class Counter(Actor):
        async def receive(self, message: Count) -> AsyncIterator[int]:
            for n in range(message.most):
                yield n

    async with Checked("s", max_restarts=0) as system:
        total = 0
        async for n in system.spawn(Counter).stream(Count(10)):
            total += n
        assert total == 45
