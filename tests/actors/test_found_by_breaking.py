"""One test for each fault that attacks on the runtime have found: none may come back."""

from __future__ import annotations

import contextvars
import functools
from typing import Any

import pytest
import trio
import trio.testing

from actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorSystem,
    AskCycle,
    AskTimeout,
    Directive,
    Env,
    Failure,
    Mailbox,
    MailboxFull,
    Reply,
    Restart,
    Stop,
    Terminated,
)

variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable", default=None)


class Recorder(Actor):
    """Adds what it gets to a list; fails, waits or stops as told."""

    def __init__(self, log: list[Any]) -> None:
        self.log = log

    async def receive(self, message: Any) -> Any:
        if message == "fail":
            raise ValueError(message)
        if isinstance(message, trio.Event):
            await message.wait()
        self.log.append(message)
        return message


class Restarter(Actor):
    """Has one child, and decides about it as told."""

    def __init__(self, make: Any, directive: Directive) -> None:
        self.child = self.context.spawn(make, name="child")
        self.directive = directive

    def receive(self, message: Any) -> ActorRef:
        return self.child

    def child_failed(self, child: ActorRef, failure: Failure) -> Directive:
        return self.directive


async def test_a_failed_actor_handles_nothing_before_its_parent_has_decided(
    autojump_clock: Any,
) -> None:
    gate = trio.Event()

    class BusyParent(Actor):
        def __init__(self, log: list[Any]) -> None:
            self.log = log
            self.child = self.context.spawn(Waiter, log, name="child")

        async def receive(self, message: Any) -> None:
            await gate.wait()
            self.log.append("parent is free")

        def child_failed(self, child: ActorRef, failure: Failure) -> Directive:
            self.log.append("decides")
            return Restart()

    class Waiter(Actor):
        def __init__(self, log: list[Any]) -> None:
            self.log = log

        async def receive(self, message: int) -> None:
            await trio.sleep(0.1)
            if message == 1:
                raise ValueError(message)
            self.log.append(message)

    log: list[Any] = []
    async with ActorSystem("s") as system:
        parent = system.spawn(BusyParent, log, name="p")
        parent.tell("be busy")
        child = system.at("actor://s/p/child")
        for number in range(4):
            child.tell(number)
        await trio.sleep(5)
        assert log == [0]
        gate.set()
    assert log == [0, "parent is free", "decides", 2, 3]
    assert system.ledger.missing == 0


async def test_a_system_entered_in_a_cancelled_scope_ends_at_once(autojump_clock: Any) -> None:
    with trio.fail_after(1), trio.CancelScope() as scope:
        scope.cancel()
        async with ActorSystem("s"):
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_an_actor_that_stops_itself_in_its_constructor_stops_after_what_is_queued(
    autojump_clock: Any,
) -> None:
    log: list[Any] = []

    class Brief(Recorder):
        def __init__(self, log: list[Any]) -> None:
            super().__init__(log)
            self.context.ref.tell("last words")
            self.context.stop()

    async with ActorSystem("s") as system:
        before = trio.current_time()
        await system.spawn(Brief, log).stopped()
        assert trio.current_time() == before
    assert log == ["last words"]


async def test_who_waits_for_room_learns_that_the_parent_has_decided_to_stop_the_actor(
    autojump_clock: Any,
) -> None:
    gate = trio.Event()

    class Small(Actor):
        mailbox = Mailbox(capacity=1)

        async def receive(self, message: Any) -> None:
            await gate.wait()
            raise ValueError(message)

    async with ActorSystem("s") as system:
        child = await system.spawn(Restarter, Small, Stop()).ask("child")
        child.tell(1)
        await trio.testing.wait_all_tasks_blocked()
        child.tell(2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child.send, 3)
            await trio.testing.wait_all_tasks_blocked()
            gate.set()
        with trio.fail_after(1):
            await child.stopped()
        assert system.ledger.missing == 0
        assert system.ledger.dead == 2


async def test_drop_oldest_keeps_the_order_while_the_actor_starts(autojump_clock: Any) -> None:
    log: list[Any] = []

    class Starting(Recorder):
        mailbox = Mailbox(capacity=2, overflow="drop_oldest")

        async def started(self) -> None:
            await trio.sleep(1)

    async with ActorSystem("s") as system:
        ref = system.spawn(Starting, log)
        for number in range(5):
            ref.tell(number)
    assert log == [3, 4]


@pytest.mark.parametrize("capacity", [1, 2, 64, 65, 100])
async def test_one_in_one_out_never_finds_a_full_mailbox(
    capacity: int, autojump_clock: Any
) -> None:
    class Echo(Actor):
        mailbox = Mailbox(capacity=capacity)
        left = 1_000

        def receive(self, message: int) -> None:
            if Echo.left:
                Echo.left -= 1
                self.context.ref.tell(message)

    async with ActorSystem("s", max_restarts=0) as system:
        ref = system.spawn(Echo)
        for number in range(capacity):
            ref.tell(number)
        with pytest.raises(MailboxFull):
            ref.tell("one too many")
        await trio.testing.wait_all_tasks_blocked()
    assert system.ledger.handled == capacity + 1_000
    assert system.ledger.missing == 0


async def test_drop_oldest_never_drops_what_an_asker_is_handling(autojump_clock: Any) -> None:
    class Asked(Actor):
        def __init__(self, asker: list[ActorRef]) -> None:
            self.asker = asker

        def receive(self, message: Any) -> str:
            for number in range(4):
                self.asker[0].tell(number)
            return "reply"

    class Asker(Actor):
        mailbox = Mailbox(capacity=1, overflow="drop_oldest")

        def __init__(self, asked: ActorRef, log: list[Any]) -> None:
            self.asked = asked
            self.log = log

        async def receive(self, message: Any) -> None:
            if message == "go":
                self.log.append(await self.asked.ask("question"))
            else:
                self.log.append(message)

    log: list[Any] = []
    refs: list[ActorRef] = []
    async with ActorSystem("s") as system:
        refs.append(system.spawn(Asker, system.spawn(Asked, refs), log))
        refs[0].tell("go")
        await trio.testing.wait_all_tasks_blocked()
    assert log == ["reply", 3]
    assert system.ledger.missing == 0


async def test_room_that_unwatch_frees_reaches_who_waits_for_it(autojump_clock: Any) -> None:
    gate = trio.Event()
    handled: list[Any] = []

    class Watcher(Actor):
        mailbox = Mailbox(capacity=1)

        def __init__(self, other: ActorRef) -> None:
            self.other = other
            self.context.watch(other)

        async def receive(self, message: Any) -> None:
            handled.append(message)
            if message == "wait":
                await gate.wait()
                self.context.unwatch(self.other)

    async with ActorSystem("s") as system:
        other = system.spawn(Recorder, [])
        watcher = system.spawn(Watcher, other)
        watcher.tell("wait")
        await trio.testing.wait_all_tasks_blocked()
        other.stop()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watcher.send, "sent")
            await trio.testing.wait_all_tasks_blocked()
            gate.set()
    assert handled == ["wait", "sent"]


def test_a_system_exit_in_an_actor_asked_on_the_spot_does_not_hang_the_system() -> None:
    class Quitter(Actor):
        def receive(self, message: Any) -> None:
            raise SystemExit(3)

    systems: list[ActorSystem] = []

    async def main() -> None:
        async with ActorSystem("s") as system:
            systems.append(system)
            await system.spawn(Quitter).ask("quit")

    with pytest.raises(SystemExit):
        trio.run(main)
    assert systems[0].ledger.missing == 0


@pytest.mark.parametrize("where", ["__init__", "started"])
async def test_an_actor_that_never_starts_does_not_stop_time(
    where: str, autojump_clock: Any
) -> None:
    made = 0

    class Hopeless(Actor):
        def __init__(self) -> None:
            nonlocal made
            made += 1
            if where == "__init__" and made > 1:
                raise ValueError(where)

        async def started(self) -> None:
            if where == "started":
                raise ValueError(where)

        def receive(self, message: Any) -> None:
            raise ValueError(message)

    env = Env(1, slice_messages=100)
    async with ActorSystem("s", env=env, max_restarts=None) as system:
        system.spawn(Hopeless).tell("fail")
        for _ in range(10):
            await trio.lowlevel.checkpoint()
    assert made > 100


@pytest.mark.parametrize("period", [5e-324, 1e-10, 0.0, -1.0, float("nan"), float("inf")])
async def test_a_period_that_time_cannot_tell_is_refused(
    period: float, autojump_clock: Any
) -> None:
    class Beating(Actor):
        def __init__(self) -> None:
            self.context.every(period, "beat")

    async with ActorSystem("s") as system:
        with pytest.raises(ValueError, match="period"):
            system.spawn(Beating)


class StubbornCleaner(Actor):
    """Its `stopped()` raises from a nursery while it is cancelled."""

    shutdown = 1.0

    async def stopped(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.raise_when_cancelled)
            await trio.sleep_forever()

    async def raise_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("while it was cancelled")


async def test_a_hook_that_raises_while_it_is_cut_does_not_harm_the_system(
    autojump_clock: Any,
) -> None:
    async with ActorSystem("s") as system:
        ref = system.spawn(StubbornCleaner)
        ref.stop()
        with trio.fail_after(3):
            await ref.stopped()
        assert await system.spawn(Recorder, []).ask("alive?") == "alive?"


async def test_hooks_of_nested_actors_end_within_the_time_for_leaving(autojump_clock: Any) -> None:
    class Nested(StubbornCleaner):
        shutdown = 1_000.0

        def __init__(self, depth: int) -> None:
            if depth:
                self.context.spawn(Nested, depth - 1)

    before = trio.current_time()
    async with ActorSystem("s", stop_within=1) as system:
        system.spawn(Nested, 3)
    assert trio.current_time() - before <= 2.001


@pytest.mark.parametrize("slice_messages", range(1, 20))
async def test_an_ask_that_gave_way_first_still_times_out(
    slice_messages: int, autojump_clock: Any
) -> None:
    outcomes: list[str] = []

    class Deferring(Actor):
        def receive(self, message: str) -> None:
            if message == "defer":
                self.reply = self.context.reply_later()

    class Asker(Actor):
        def __init__(self, asked: ActorRef) -> None:
            self.asked = asked

        async def receive(self, message: Any) -> None:
            for _ in range(66):
                await self.asked.ask("now", timeout=0.5)
            try:
                await self.asked.ask("defer", timeout=0.5)
            except AskTimeout:
                outcomes.append("timed out")

    async with ActorSystem("s", env=Env(1, slice_messages=slice_messages)) as system:
        asker = system.spawn(Asker, system.spawn(Deferring))
        asker.tell("go")
        with trio.fail_after(5):
            while not outcomes:
                await trio.sleep(0.01)


async def test_a_parent_that_waits_for_its_failed_child_is_told_at_once(
    autojump_clock: Any,
) -> None:
    outcomes: list[Any] = []

    class Parent(Actor):
        async def receive(self, message: str) -> None:
            child = self.context.spawn(Recorder, [])
            child.tell("fail")
            try:
                if message == "stopped":
                    await child.stopped()
                else:
                    await child.ask("anything", timeout=None)
            except (AskCycle, ActorFailed) as error:
                outcomes.append(type(error))

        def child_failed(self, child: ActorRef, failure: Failure) -> Directive:
            outcomes.append("decides")
            return Stop()

    async with ActorSystem("s") as system:
        parent = system.spawn(Parent)
        parent.tell("stopped")
        parent.tell("ask")
        with trio.fail_after(1):
            while len(outcomes) < 4:
                await trio.sleep(0.01)
    assert sorted(map(str, outcomes)) == sorted(
        map(str, ["decides", "decides", AskCycle, ActorFailed])
    )


async def test_a_child_spawned_in_restarting_does_not_outlive_the_incarnation(
    autojump_clock: Any,
) -> None:
    children: list[tuple[ActorRef, ...]] = []

    class Leaving(Actor):
        async def restarting(self, failure: Failure) -> None:
            self.context.spawn(Recorder, [], name="child")

        def receive(self, message: str) -> None:
            if message == "fail":
                raise ValueError(message)
            children.append(self.context.children)

    async with ActorSystem("s") as system:
        ref = system.spawn(Leaving)
        ref.tell("fail")
        ref.tell("look")
        await trio.testing.wait_all_tasks_blocked()
    assert children == [()]


async def test_unwatch_of_a_new_actor_leaves_the_notice_about_the_old_one(
    autojump_clock: Any,
) -> None:
    log: list[Any] = []

    class Watcher(Actor):
        async def receive(self, message: Any) -> None:
            if message == "go":
                old = self.context.spawn(Recorder, [], name="child")
                self.context.watch(old)
                old.stop()
                await old.stopped()
                new = self.context.spawn(Recorder, [], name="child")
                self.context.watch(new)
                self.context.unwatch(new)
            log.append(type(message))

    async with ActorSystem("s") as system:
        system.spawn(Watcher).tell("go")
        await trio.testing.wait_all_tasks_blocked()
    assert log == [str, Terminated]


async def test_a_cancelled_send_was_not_enqueued_whoever_runs_first(autojump_clock: Any) -> None:
    for _ in range(50):
        log: list[Any] = []
        gate = trio.Event()
        returned = False

        class Small(Recorder):
            mailbox = Mailbox(capacity=1)

        async def send(ref: ActorRef, scope: trio.CancelScope) -> None:
            nonlocal returned
            with scope:
                await ref.send("sent")
                returned = True

        async with ActorSystem("s") as system:
            ref = system.spawn(Small, log)
            ref.tell(gate)
            await trio.testing.wait_all_tasks_blocked()
            ref.tell("fills the mailbox")
            scope = trio.CancelScope()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send, ref, scope)
                await trio.testing.wait_all_tasks_blocked()
                gate.set()
                scope.cancel()
        assert ("sent" in log) == returned
        assert system.ledger.missing == 0


async def test_who_forwards_and_then_fails_does_not_fail_the_ask(autojump_clock: Any) -> None:
    class Forwarder(Actor):
        def __init__(self, to: ActorRef) -> None:
            self.to = to

        def receive(self, message: Any) -> None:
            self.context.forward(self.to)
            raise ValueError("afterwards")

    async with ActorSystem("s") as system:
        to = system.spawn(Recorder, [])
        assert await system.spawn(Forwarder, to).ask("question") == "question"


class Ambiguous:
    """As an array: it cannot say whether it is equal."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("ambiguous")

    __hash__ = None  # type: ignore[assignment]


class AlwaysEqual:
    """Says that it is equal to anything."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


class Setter(Actor):
    def receive(self, message: Any) -> None:
        variable.set(message)


class Getter(Actor):
    def receive(self, message: Any) -> Any:
        return variable.get()


@pytest.mark.parametrize("kind", [Ambiguous, AlwaysEqual, object])
async def test_a_context_variable_is_private_whatever_its_equality_says(
    kind: type, autojump_clock: Any
) -> None:
    inherited = kind()
    variable.set(inherited)
    async with ActorSystem("s") as system:
        setter = system.spawn(Setter)
        getter = system.spawn(Getter)
        setter.tell(kind())
        reply = trio.Event()

        async def ask() -> None:
            assert await getter.ask("what is it?") is inherited
            reply.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
        assert reply.is_set()


async def test_what_a_constructor_sets_is_not_seen_by_who_spawns_or_asks(
    autojump_clock: Any,
) -> None:
    class SettingAtOnce(Actor):
        def __init__(self) -> None:
            variable.set("of the actor")

        def receive(self, message: Any) -> None:
            raise ValueError(message)

    async with ActorSystem("s") as system:
        ref = system.spawn(SettingAtOnce)
        assert variable.get() is None
        with pytest.raises(ActorFailed):
            await ref.ask("fail, and be made again")
        assert variable.get() is None


async def test_changing_context_variables_does_not_hold_up_the_others(autojump_clock: Any) -> None:
    class Changing(Actor):
        def receive(self, message: int) -> None:
            variable.set(message)
            self.context.ref.tell(message + 1)

    async with ActorSystem("s", env=Env(1, slice_messages=10), stop_within=0) as system:
        system.spawn(Changing).tell(1)
        for _ in range(5):
            await trio.lowlevel.checkpoint()


async def test_a_cancelled_handler_keeps_its_context_variables_to_the_end_and_no_further(
    autojump_clock: Any,
) -> None:
    seen: list[Any] = []

    class Slow(Actor):
        async def receive(self, message: Any) -> None:
            await trio.sleep(1)

    class Asker(Actor):
        cancel_abandoned = True

        def __init__(self, slow: ActorRef) -> None:
            self.slow = slow

        async def receive(self, message: str) -> None:
            if message == "set":
                variable.set("secret")
                try:
                    await self.slow.ask("wait", timeout=100)
                finally:
                    seen.append(variable.get())
            else:
                await self.slow.ask("wait")
                seen.append(variable.get())

    async with ActorSystem("s") as system:
        asker = system.spawn(Asker, system.spawn(Slow))
        with trio.move_on_after(0.5):
            await asker.ask("set")
        await asker.ask("look")
    assert seen == ["secret", None]


async def test_constructors_that_exhaust_the_stack_leave_nothing_behind(
    autojump_clock: Any,
) -> None:
    class Nesting(Actor):
        def __init__(self) -> None:
            self.context.spawn(Nesting)

    async with ActorSystem("s") as system:
        with pytest.raises(RecursionError):
            system.spawn(Nesting)
        with trio.fail_after(60):
            while system.children:
                await trio.sleep(0.1)
    assert system.ledger.missing == 0


async def test_a_failure_that_came_from_deep_below_can_be_printed(autojump_clock: Any) -> None:
    reasons: list[Any] = []

    class Deep(Actor):
        def __init__(self, depth: int) -> None:
            self.below = self.context.spawn(Deep, depth - 1) if depth else None

        def receive(self, message: Any) -> None:
            if self.below is None:
                raise ValueError("deep")
            self.below.tell(message)

    class Top(Actor):
        def __init__(self) -> None:
            # Not nested, as constructors are: a chain of spawns from handlers has no stack.
            self.deep = self.context.spawn(Deep, 100)

        def receive(self, message: Any) -> None:
            self.deep.tell(message)

        def child_failed(self, child: ActorRef, failure: Failure) -> Directive:
            reasons.append(failure)
            return Stop()

    async with ActorSystem("s") as system:
        system.spawn(Top).tell("down")
        await trio.testing.wait_all_tasks_blocked()
    assert "deep" in repr(reasons[0])


async def test_a_stray_cancelled_fails_its_actor_and_not_the_system(autojump_clock: Any) -> None:
    class Keeper(Actor):
        async def receive(self, message: str) -> None:
            with trio.CancelScope() as scope:
                scope.cancel()
                try:
                    await trio.lowlevel.checkpoint()
                except trio.Cancelled as kept:
                    self.kept = kept
                    raise
            raise self.kept

    async with ActorSystem("s", max_restarts=5) as system:
        ref = system.spawn(Keeper)
        with pytest.raises((ActorFailed, Exception)):
            await ref.ask("raise what you kept")
        assert await system.spawn(Recorder, []).ask("alive?") == "alive?"
        assert system.ledger.restarts == 1
        assert system.ledger.missing == 0


async def test_the_message_after_a_cancelled_one_is_not_cancelled(autojump_clock: Any) -> None:
    log: list[Any] = []

    class Sleeper(Actor):
        cancel_abandoned = True

        async def receive(self, seconds: float) -> None:
            await trio.sleep(seconds)
            log.append(seconds)

    async with ActorSystem("s") as system:
        ref = system.spawn(Sleeper)
        # The handler's sleep and the asker's time end at the same moment, in either order.
        for _ in range(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(functools.partial(ask_and_forget, ref))
                await trio.testing.wait_all_tasks_blocked()
                ref.tell(0.5)
            await trio.sleep(2)
    assert log.count(0.5) == 20
    assert system.ledger.missing == 0


async def ask_and_forget(ref: ActorRef) -> None:
    try:
        await ref.ask(1.0, timeout=1.0)
    except AskTimeout:
        return


async def test_a_deferred_reply_of_another_actor_is_no_cycle(autojump_clock: Any) -> None:
    """A asked B, which gave the Reply to C; B may ask A meanwhile only if C can still answer."""
    replies: list[Reply] = []
    outcome: list[Any] = []

    class B(Actor):
        def __init__(self) -> None:
            self.a: ActorRef | None = None

        async def receive(self, message: Any) -> None:
            if isinstance(message, ActorRef):
                self.a = message
            elif message == "defer":
                replies.append(self.context.reply_later())
            else:
                assert self.a is not None
                outcome.append(await self.a.ask("free again?", timeout=5))

    class A(Actor):
        def __init__(self, b: ActorRef) -> None:
            self.b = b

        async def receive(self, message: str) -> str:
            if message == "go":
                outcome.append(await self.b.ask("defer", timeout=5))
            return "free"

    async with ActorSystem("s") as system:
        b = system.spawn(B)
        a = system.spawn(A, b)
        b.tell(a)
        a.tell("go")
        await trio.sleep(1)
        b.tell("ask a")
        await trio.sleep(1)
        assert replies[0].reply("by a third party")
    assert outcome == ["by a third party", "free"]


async def test_send_start_and_ask_always_are_cancellation_points(autojump_clock: Any) -> None:
    async with ActorSystem("s") as system:
        ref = system.spawn(Getter)
        for _ in range(300):
            for call in (
                functools.partial(ref.send, 1),
                functools.partial(ref.ask, 1),
                functools.partial(system.start, Getter),
            ):
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await call()
                assert scope.cancelled_caught
        assert system.ledger.sent == 0
        assert system.children == (ref,)


async def test_what_an_actor_tells_itself_in_its_constructor_is_not_lost(
    autojump_clock: Any,
) -> None:
    log: list[Any] = []

    class Talking(Recorder):
        mailbox = Mailbox(capacity=1, overflow="drop_oldest")

        def __init__(self, log: list[Any]) -> None:
            super().__init__(log)
            for number in range(3):
                self.context.ref.tell(number)

    async with ActorSystem("s") as system:
        ref = system.spawn(Talking, log)
        ref.tell("last")
        await trio.testing.wait_all_tasks_blocked()
        assert log == ["last"]
        assert system.ledger.missing == 0
        assert system.ledger.dead == 3


async def test_a_subscriber_that_drops_its_own_letters_keeps_its_capacity(
    autojump_clock: Any,
) -> None:
    class Subscriber(Recorder):
        mailbox = Mailbox(capacity=10, overflow="drop_oldest")

    gate = trio.Event()
    async with ActorSystem("s") as system:
        subscriber = system.spawn(Subscriber, [])
        system.dead_letters.subscribe(subscriber)
        subscriber.tell(gate)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(50):
            subscriber.tell(number)
            assert system.ledger.queued <= 10
            assert system.ledger.missing == 0
        gate.set()
