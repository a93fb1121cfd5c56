"""A restart, and what else goes on: other delays, stops, links, waits, a supervisor that fails."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import trio
from trio.testing import MockClock

from actors import (
    Actor,
    ActorRef,
    ActorSystem,
    DeadLetterReason,
    Escalate,
    LinkBroken,
    Resume,
    Stop,
    Terminated,
)
from supervision import (
    ChildSpec,
    CountChildren,
    DynamicSupervisor,
    OneForAll,
    OneForOne,
    Pool,
    RestartChild,
    StartChild,
    StopChild,
    Strategy,
    Supervisor,
    TooManyRestarts,
    WhichChildren,
    child,
)
from tests.actors.kit import Checked, Doer


@pytest.fixture(autouse=True)
def quietly() -> Any:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class Gone(Exception):
    """A failure that is not like the others."""


class Family(Supervisor):
    def __init__(self, strategy: Strategy, *specs: ChildSpec) -> None:
        self.strategy = strategy
        self.specs = specs

    def children(self) -> tuple[ChildSpec, ...]:
        return self.specs


def names(*text: str, **terms: Any) -> list[ChildSpec]:
    return [child(Doer, name=name, **terms) for name in text]


async def states(supervisor: ActorRef) -> dict[str, str]:
    return {each.name: each.state for each in await supervisor.ask(WhichChildren())}


def later(seconds: float) -> Callable[[Actor], Any]:
    return lambda _: trio.sleep(seconds)


async def fails_with(ref: ActorRef, error: Exception) -> None:
    def fail(_: Actor) -> None:
        raise error

    ref.tell(fail)
    await trio.sleep(0.01)


# -- delays


async def test_children_that_stopped_have_a_delay_each(autojump_clock: MockClock) -> None:
    started: list[tuple[str, float]] = []
    begin = trio.current_time()

    class Timed(Doer):
        async def started(self) -> None:
            started.append((self.context.ref.name, round(trio.current_time() - begin, 1)))

    waits = {"a": 10.0, "b": 0.1}
    async with Checked("s") as system:
        strategy = OneForOne(backoff=lambda state: waits[state.outcome.exception().ref.name])
        await system.start(
            Family, strategy, child(Timed, name="a"), child(Timed, name="b"), name="f"
        )
        system.at("actor://s/f/a").stop()
        await trio.sleep(1)
        system.at("actor://s/f/b").stop()
        await trio.sleep(20)
    assert started == [("a", 0.0), ("b", 0.0), ("b", 1.1), ("a", 10.0)]


async def test_a_stop_in_a_delay_is_a_stop_and_not_the_failure_of_a_sibling(
    autojump_clock: MockClock,
) -> None:
    notices: list[Any] = []

    class Watcher(Actor):
        def receive(self, message: Any) -> None:
            if isinstance(message, Terminated):
                notices.append(message.reason)
            else:
                self.context.watch(message)

    async with Checked("s") as system:
        family = await system.start(
            Family,
            OneForAll(backoff=lambda _: 5.0),
            child(Doer, name="a"),
            child(Doer, name="b", kind="transient"),
            name="f",
        )
        await fails_with(system.at("actor://s/f/a"), ValueError())
        stopping = system.at("actor://s/f/b")
        system.spawn(Watcher).tell(stopping)
        await trio.sleep(1)
        stopping.stop()
        await trio.sleep(20)
        assert await states(family) == {"a": "running", "b": "not running"}
    assert [getattr(reason, "value", reason) for reason in notices] == ["normal"]


async def test_a_transient_child_stopped_in_the_delay_of_its_own_restart_stays_so(
    autojump_clock: MockClock,
) -> None:
    async with Checked("s") as system:
        specs = names("a", kind="transient")
        family = await system.start(Family, OneForOne(backoff=lambda _: 5.0), *specs, name="f")
        failing = system.at("actor://s/f/a")
        await fails_with(failing, ValueError())
        failing.stop()
        await trio.sleep(20)
        assert await states(family) == {"a": "not running"}


async def test_a_stop_at_the_very_moment_of_the_next_start_leaves_nobody_waiting(
    autojump_clock: MockClock,
) -> None:
    class Slow(Doer):
        async def restarting(self, failure: Any) -> None: ...

        async def started(self) -> None: ...

    class Stopper(Actor):
        async def started(self) -> None:
            self.context.after(5.0, "now")

        def receive(self, message: Any) -> None:
            self.context.system.at("actor://s/f/a").stop()

    async with Checked("s") as system:
        specs = [child(Slow, name=name) for name in "ab"]
        family = await system.start(Family, OneForAll(backoff=lambda _: 5.0), *specs, name="f")
        await fails_with(system.at("actor://s/f/b"), ValueError())
        system.spawn(Stopper)
        await trio.sleep(20)
        assert (await family.ask(CountChildren())).active == 2


# -- children that are to stay down


async def test_a_restart_of_siblings_begins_nobody_that_was_stopped_on_purpose(
    autojump_clock: MockClock,
) -> None:
    async with Checked("s") as system:
        family = await system.start(
            Family, OneForAll(decisions={Gone: Stop()}), *names("a", "b", "c"), name="f"
        )
        await fails_with(system.at("actor://s/f/a"), Gone())
        await family.ask(StopChild("b"))
        down = {"a": "not running", "b": "not running", "c": "running"}
        assert await states(family) == down
        await fails_with(system.at("actor://s/f/c"), ValueError())
        assert await states(family) == down
        await family.ask(RestartChild("a"))
        # It is as any other child again.
        await fails_with(system.at("actor://s/f/a"), ValueError())
        assert await states(family) == {**down, "a": "running"}


async def test_a_significant_temporary_child_that_a_siblings_restart_ends_counts(
    autojump_clock: MockClock,
) -> None:
    class Together(Family):
        auto_shutdown = "any_significant"

    async with Checked("s") as system:
        family = await system.start(
            Together,
            OneForAll(),
            child(Doer, name="a"),
            child(Doer, name="b", kind="temporary", significant=True),
            name="f",
        )
        await fails_with(system.at("actor://s/f/a"), ValueError())
        with trio.fail_after(1):
            await family.stopped()


# -- waits that could not end


async def test_stop_child_ends_a_child_that_waits_for_its_supervisor(
    autojump_clock: MockClock,
) -> None:
    class Busy(DynamicSupervisor):
        max_children: ClassVar[int | None] = 1

        async def receive(self, message: Any) -> Any:
            return await (trio.sleep(1) if message == "busy" else super().receive(message))

    async def ask_parent(actor: Actor) -> Any:
        parent = actor.context.parent
        assert parent is not None
        return await parent.ask(WhichChildren())

    async with Checked("s") as system:
        supervisor = await system.start(Busy, name="d")
        one = await supervisor.ask(StartChild(child(Doer, name="c")))
        supervisor.tell("busy")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.ask, StopChild("c"))
            await trio.sleep(0.1)
            one.tell(ask_parent)
        with trio.fail_after(1):
            await one.stopped()
        assert (await supervisor.ask(CountChildren())).specs == 0
        await supervisor.ask(StartChild(child(Doer, name="c")))


async def test_a_draining_sibling_that_waits_for_the_supervisor_holds_up_nobody(
    autojump_clock: MockClock,
) -> None:
    async def ask_parent(actor: Actor) -> Any:
        parent = actor.context.parent
        assert parent is not None
        return await parent.ask(CountChildren(), timeout=None)

    async with Checked("s") as system:
        begin = trio.current_time()
        family = await system.start(Family, OneForAll(), *names("a", "b"), name="f")
        second = system.at("actor://s/f/b")
        second.tell(later(0.5))
        second.tell(ask_parent)
        await trio.sleep(0)
        second.stop()
        await trio.sleep(0.1)
        await fails_with(system.at("actor://s/f/a"), ValueError())
        assert (await family.ask(CountChildren(), timeout=20)).active == 2
        assert trio.current_time() - begin < 2


async def test_a_sibling_that_waits_for_the_failed_one_is_cancelled_at_once(
    autojump_clock: MockClock,
) -> None:
    async with Checked("s") as system:
        begin = trio.current_time()
        family = await system.start(Family, OneForAll(), *names("a", "b"), name="f")
        first, second = (system.at(f"actor://s/f/{name}") for name in "ab")

        async def fail_late(_: Actor) -> None:
            await trio.sleep(0.1)
            raise ValueError

        first.tell(fail_late)
        second.tell(lambda _: first.ask("hello", timeout=None))
        await trio.sleep(0.2)
        assert (await family.ask(CountChildren(), timeout=20)).active == 2
        assert trio.current_time() - begin < 1


async def test_a_request_whose_asker_gave_up_forgets_the_child_even_so(
    autojump_clock: MockClock,
) -> None:
    class Patient(DynamicSupervisor):
        cancel_abandoned = True

    async with Checked("s") as system:
        supervisor = await system.start(Patient, name="d")
        one = await supervisor.ask(StartChild(child(Doer, name="c")))
        one.tell(later(2))
        await trio.sleep(0.01)
        with trio.move_on_after(0.5):
            await supervisor.ask(StopChild("c"))
        await trio.sleep(5)
        assert await supervisor.ask(WhichChildren()) == ()
        assert (await supervisor.ask(StartChild(child(Doer, name="c")))).name == "c"


# -- links


@pytest.mark.parametrize("strategy", [OneForOne, OneForAll])
async def test_siblings_that_link_each_other_restart_once_each(
    autojump_clock: MockClock,
    strategy: Callable[..., Strategy],
) -> None:
    class Linked(Doer):
        def __init__(self, other: str) -> None:
            self.other = other

        async def started(self) -> None:
            self.context.link(self.context.system.at(f"actor://s/f/{self.other}"))

    async with Checked("s") as system:
        specs = [
            child(Linked, "b", name="a", start_within=None),
            child(Linked, "a", name="b", start_within=None),
        ]
        # At the very first start the other one is not there yet: so it is linked after that.
        one = child(Doer, name="a")
        del specs[0]
        family = await system.start(Family, strategy(max_restarts=10), one, *specs, name="f")
        first, second = (system.at(f"actor://s/f/{name}") for name in "ab")
        for _ in range(3):
            await fails_with(first, ValueError())
            first.tell(lambda actor: actor.context.link(second))
            await trio.sleep(0.1)
        counted = {each.name: each.restarts for each in await family.ask(WhichChildren())}
        assert counted == {"a": 3, "b": 3}


async def test_two_that_link_each_other_at_each_start_do_not_break_the_new_link_for_ever(
    autojump_clock: MockClock,
) -> None:
    class Linked(Doer):
        async def started(self) -> None:
            other = "b" if self.context.ref.name == "a" else "a"
            ref = self.context.system.at(f"actor://s/f/{other}")
            if self.context.incarnation > 1 or other == "a":
                self.context.link(ref)

    async with Checked("s") as system:
        specs = [child(Linked, name=name) for name in "ab"]
        family = await system.start(Family, OneForOne(max_restarts=None), *specs, name="f")
        for count in range(1, 4):
            await fails_with(system.at("actor://s/f/a"), ValueError())
            await trio.sleep(1)
            restarts = {each.name: each.restarts for each in await family.ask(WhichChildren())}
            assert restarts == {"a": count, "b": count}


async def test_a_link_to_one_that_is_between_two_incarnations_is_to_the_next_one(
    autojump_clock: MockClock,
) -> None:
    async with Checked("s") as system:
        family = await system.start(
            Family, OneForOne(backoff=lambda _: 5.0, max_restarts=9), *names("a", "b"), name="f"
        )
        first, second = (system.at(f"actor://s/f/{name}") for name in "ab")
        await fails_with(first, ValueError())
        second.tell(lambda actor: actor.context.link(first))
        await trio.sleep(10)
        restarts = {each.name: each.restarts for each in await family.ask(WhichChildren())}
        assert restarts == {"a": 1, "b": 0}
        await fails_with(first, ValueError())
        await trio.sleep(10)
        restarts = {each.name: each.restarts for each in await family.ask(WhichChildren())}
        assert restarts == {"a": 2, "b": 1}


async def test_a_link_to_one_that_failed_and_is_then_stopped_breaks(
    autojump_clock: MockClock,
) -> None:
    async with Checked("s") as system:
        family = await system.start(
            Family, OneForOne(backoff=lambda _: 5.0), *names("a", "b"), name="f"
        )
        first, second = (system.at(f"actor://s/f/{name}") for name in "ab")
        await fails_with(first, ValueError())
        second.tell(lambda actor: actor.context.link(first))
        await trio.sleep(1)
        await family.ask(StopChild("a"))
        await trio.sleep(10)
        restarts = {each.name: each.restarts for each in await family.ask(WhichChildren())}
        assert restarts["b"] == 1


# -- a supervisor that fails itself, and is resumed


async def test_a_supervisor_resumed_between_siblings_begins_the_rest_of_them(
    autojump_clock: MockClock,
) -> None:
    class Bad(Exception): ...

    class FailsOnce(Doer):
        async def started(self) -> None:
            if self.context.incarnation == 2:
                raise Bad

    async with Checked("s") as system:
        inner = child(
            Family,
            OneForAll(decisions={Bad: Escalate()}),
            child(Doer, name="a"),
            child(FailsOnce, name="b"),
            child(Doer, name="c"),
            name="in",
        )
        resume = {Bad: Resume(), TooManyRestarts: Resume()}
        await system.start(Family, OneForOne(decisions=resume), inner, name="top")
        await fails_with(system.at("actor://s/top/in/a"), ValueError())
        await trio.sleep(1)
        assert await states(system.at("actor://s/top/in")) == dict.fromkeys("abc", "running")
        assert await system.at("actor://s/top/in/c").ask("alive") == "alive"


async def test_a_supervisor_resumed_while_a_sibling_was_about_to_end_begins_it_too(
    autojump_clock: MockClock,
) -> None:
    class Inner(Family):
        async def started(self) -> None:
            self.context.link(self.context.system.at("actor://s/peer"))

    async with Checked("s") as system:
        peer = system.spawn(Doer, name="peer")
        inner = child(Inner, OneForAll(), *names("a", "b", "c"), name="in")
        strategy = OneForOne(decisions={LinkBroken: Resume()})
        await system.start(Family, strategy, inner, name="top")
        system.at("actor://s/top/in/a").tell(later(1))
        await trio.sleep(0.1)
        await fails_with(system.at("actor://s/top/in/b"), ValueError())
        await fails_with(peer, ValueError())
        await trio.sleep(10)
        assert await states(system.at("actor://s/top/in")) == dict.fromkeys("abc", "running")


# -- pools


def stopping_pool(worker: Callable[..., Actor], **options: Any) -> Callable[..., Actor]:
    strategy = OneForOne(max_restarts=None, decisions={Gone: Stop()})
    return functools.partial(Pool, worker, strategy=strategy, **options)


async def test_redeliveries_are_counted_across_the_workers_of_a_pool(
    autojump_clock: MockClock,
) -> None:
    tried: list[str] = []

    class Worker(Actor):
        redeliver = 2

        def receive(self, message: Any) -> None:
            if message == "poison":
                tried.append(self.context.ref.name)
                raise Gone(len(tried))

    async with Checked("s") as system:
        pool = system.spawn(stopping_pool(Worker, size=3))
        pool.tell("poison")
        for number in range(20):
            pool.tell(number)
        await trio.sleep(5)
        (letter,) = system.dead_letters.recent
    assert len(tried) == 3
    assert len(dict.fromkeys(tried)) > 1
    assert letter.reason is DeadLetterReason.FAILED_TOO_OFTEN
    assert [failure.exception.args for failure in letter.failures] == [(1,), (2,), (3,)]


async def test_what_a_workers_own_watches_brought_goes_to_no_other_worker(
    autojump_clock: MockClock,
) -> None:
    got: list[Any] = []

    class Worker(Doer):
        async def receive(self, message: Any) -> Any:
            if isinstance(message, Terminated):
                got.append(message)
                return None
            return await super().receive(message)

    async with Checked("s") as system:
        watched = system.spawn(Doer)
        pool = await system.start(stopping_pool(Worker, size=2), name="pool")
        worker = system.at("actor://s/pool/0")

        async def watch_and_fail(actor: Actor) -> None:
            actor.context.watch(watched)
            await trio.sleep(1)
            raise Gone

        worker.tell(watch_and_fail)
        await trio.sleep(0.1)
        watched.stop()
        await trio.sleep(5)
        assert (await pool.ask(CountChildren())).active == 2
        (letter,) = system.dead_letters.recent
        assert isinstance(letter.message, Terminated)
    assert got == []


async def test_a_message_that_is_to_be_redelivered_dies_with_its_failures_if_its_actor_stops(
    autojump_clock: MockClock,
) -> None:
    class Stubborn(Actor):
        redeliver = 5

        def receive(self, message: Any) -> None:
            raise Gone

    async with ActorSystem("s") as system:
        family = await system.start(
            Family, OneForOne(decisions={Gone: Stop()}), child(Stubborn, name="a"), name="f"
        )
        system.at("actor://s/f/a").tell("poison")
        await trio.sleep(1)
        (letter,) = system.dead_letters.recent
        assert [type(failure.exception) for failure in letter.failures] == [Gone]
        assert await states(family) == {"a": "not running"}
