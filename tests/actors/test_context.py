"""`self.context`: what an actor can do besides computing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

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
    ExitReason,
    Failure,
    Mailbox,
    MailboxFull,
    NotRunning,
    Reply,
    Terminated,
    Timer,
)
from tests.actors.kit import (
    Checked,
    Doer,
    PlainDoer,
    PlainRecorder,
    Recorder,
    fail,
    wait,
)

BOTH = pytest.mark.parametrize("make", [Doer, PlainDoer])


# -- who is who


@BOTH
async def test_the_context_tells_ref_system_parent_children_and_incarnation(make: Any) -> None:
    async with Checked("s") as system:
        top = system.spawn(make, name="top")
        assert await top.ask(lambda a: a.context.ref) is top
        assert await top.ask(lambda a: a.context.system) is system
        assert await top.ask(lambda a: a.context.parent) is None
        assert await top.ask(lambda a: a.context.children) == ()
        children = [
            await top.ask(lambda a, n=name: a.context.spawn(make, name=n)) for name in "cab"
        ]
        assert await top.ask(lambda a: a.context.children) == tuple(children)
        assert await children[0].ask(lambda a: a.context.parent) is top
        children[1].stop()
        await children[1].stopped()
        assert await top.ask(lambda a: a.context.children) == (children[0], children[2])
        assert await top.ask(lambda a: a.context.incarnation) == 1
        assert system.children == (top,)


async def test_the_context_is_there_before_the_constructor_runs() -> None:
    class Early(Actor):
        def __init__(self) -> None:
            self.seen = (self.context.ref, self.context.system, self.context.incarnation)
            self.context.ref.tell("from the constructor")
            self.log: list[Any] = []

        def receive(self, message: Any) -> Any:
            self.log.append(message)
            return self.seen, self.log

    async with Checked("s") as system:
        ref = system.spawn(Early)
        seen, log = await ref.ask("hello")
        assert seen == (ref, system, 1)
        assert log == ["from the constructor", "hello"]


# -- spawn and start


class Keywords(Actor):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.given = args, kwargs

    def receive(self, message: Any) -> Any:
        if message == "fail":
            raise ValueError(message)
        return self.given


async def test_spawn_takes_positional_arguments_and_partial_takes_keywords() -> None:
    async with Checked("s") as system:
        assert await system.spawn(Keywords, 1, 2).ask("given?") == ((1, 2), {})
        made = system.spawn(functools.partial(Keywords, 1, a=2), 3)
        assert await made.ask("given?") == ((1, 3), {"a": 2})
        nested = functools.partial(functools.partial(Keywords, 1, a=1, b=1), 2, b=2)
        ref = system.spawn(nested, 3)
        assert await ref.ask("given?") == ((1, 2, 3), {"a": 1, "b": 2})
        with pytest.raises(ActorFailed):
            await ref.ask("fail")
        # The next incarnation is made from the same recipe.
        assert await ref.ask("given?") == ((1, 2, 3), {"a": 1, "b": 2})


async def test_a_constructor_that_raises_raises_where_it_was_spawned_and_leaves_nothing() -> None:
    class Picky(Actor):
        def __init__(self, log: list[Any]) -> None:
            self.context.ref.tell("to itself")
            self.context.after(0, "timer")
            child = self.context.spawn(Recorder, log, name="child")
            child.tell("to the child")
            raise KeyError("picky")

    log: list[Any] = []
    async with Checked("s", max_restarts=0) as system:
        with pytest.raises(KeyError, match="picky"):
            system.spawn(Picky, log, name="p")
        with pytest.raises(KeyError, match="picky"):
            await system.start(Picky, log, name="q")
        await wait_all_tasks_blocked()
        assert system.children == ()
        system.spawn(Doer, name="p")
        parent = system.spawn(Doer)

        async def spawn(actor: Actor) -> None:
            with pytest.raises(KeyError):
                actor.context.spawn(Picky, log)

        await parent.ask(spawn)
        await wait_all_tasks_blocked()
        assert await parent.ask(lambda a: a.context.children) == ()


async def test_start_returns_when_started_has_returned(autojump_clock: Any) -> None:
    log: list[Any] = []

    class Slow(Recorder):
        async def started(self) -> None:
            await trio.sleep(3)
            self.log.append("started")

    async with Checked("s") as system:
        ref = await system.start(Slow, log)
        assert trio.current_time() == pytest.approx(3)
        assert log == ["started"]
        assert await ref.ask("hello") == "hello"
        spawned = system.spawn(Slow, log)
        spawned.tell("queued meanwhile")
        assert log == ["started", "hello"]
        assert await spawned.ask("last") == "last"
        assert log == ["started", "hello", "started", "queued meanwhile", "last"]


@pytest.mark.parametrize("where", ["system", "handler"])
async def test_start_raises_what_started_raised_and_the_name_is_free(
    where: str, autojump_clock: Any
) -> None:
    log: list[str] = []

    class Failing(Actor):
        def __init__(self) -> None:
            self.context.spawn(Recorder, name="child")

        async def started(self) -> None:
            await trio.sleep(1)
            raise KeyError("in started")

        async def stopped(self) -> None:
            log.append("stopped")

    async def start(context: Any) -> None:
        with pytest.raises(KeyError, match="in started"):
            await context.start(Failing, name="f")
        assert context.children == ()
        ref = await context.start(Doer, name="f")
        assert await ref.ask("hello") == "hello"

    async with Checked("s", max_restarts=0) as system:
        if where == "system":
            await start(system)
        else:
            await system.spawn(Doer).ask(lambda actor: start(actor.context))
        assert system.ledger.restarts == 0
    assert log == []


async def test_a_start_that_is_cancelled_leaves_no_actor(autojump_clock: Any) -> None:
    class Slow(Doer):
        async def started(self) -> None:
            await trio.sleep_forever()

    async with Checked("s") as system:
        with trio.move_on_after(1):
            await system.start(Slow, name="slow")
        await wait_all_tasks_blocked()
        assert system.children == ()
        with trio.CancelScope() as scope:
            scope.cancel()
            await system.start(Doer)
        assert scope.cancelled_caught
        assert system.children == ()


async def test_what_was_queued_for_an_actor_that_did_not_start_is_answered() -> None:
    gate = trio.Event()

    class Failing(Doer):
        async def started(self) -> None:
            await gate.wait()
            raise KeyError("in started")

    async with Checked("s") as system, trio.open_nursery() as nursery:

        async def start() -> None:
            with pytest.raises(KeyError):
                await system.start(Failing, name="f")

        async def ask() -> None:
            with pytest.raises(ActorStopped):
                await system.at("actor://s/f").ask("hello", timeout=None)

        nursery.start_soon(start)
        await wait_all_tasks_blocked()
        system.at("actor://s/f").tell("told")
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        gate.set()
        await wait_all_tasks_blocked()
        assert [letter.message for letter in system.dead_letters.recent] == ["told", "hello"]


async def test_a_start_that_is_stopped_first_raises_actor_stopped(autojump_clock: Any) -> None:
    class Slow(Doer):
        shutdown = 1.0

        async def started(self) -> None:
            await trio.sleep_forever()

    async with Checked("s") as system, trio.open_nursery() as nursery:

        async def start() -> None:
            with pytest.raises(ActorStopped, match="before it had started"):
                await system.start(Slow, name="slow")

        nursery.start_soon(start)
        await wait_all_tasks_blocked()
        system.at("actor://s/slow").stop()


# -- become


class Door(Actor):
    """Closed at first."""

    def __init__(self, log: list[Any]) -> None:
        self.log = log

    def receive(self, message: Any) -> Any:
        self.log.append(("closed", message))
        if message == "open":
            self.context.become(self.opened)
        return "closed"

    async def opened(self, message: Any) -> Any:
        await trio.lowlevel.checkpoint()
        self.log.append(("opened", message))
        if message == "close":
            self.context.unbecome()
        if message == "lock":
            self.context.become(self.locked)
        if message == "fail":
            raise ValueError(message)
        return "opened"

    def locked(self, message: Any) -> Any:
        self.log.append(("locked", message))
        if message == "close":
            self.context.unbecome()
        return "locked"


@pytest.mark.parametrize("way", ["tell", "ask"])
async def test_become_replaces_the_handler_from_the_next_message_on(way: str) -> None:
    log: list[Any] = []
    messages = ["a", "open", "b", "lock", "c", "close", "d", "open", "e", "close", "f"]
    async with Checked("s") as system:
        ref = system.spawn(Door, log)
        for message in messages:
            if way == "tell":
                ref.tell(message)
            else:
                assert await ref.ask(message) == log[-1][0]
    assert log == [
        ("closed", "a"),
        ("closed", "open"),
        ("opened", "b"),
        ("opened", "lock"),
        ("locked", "c"),
        # unbecome goes back to receive, however many handlers there were.
        ("locked", "close"),
        ("closed", "d"),
        ("closed", "open"),
        ("opened", "e"),
        ("opened", "close"),
        ("closed", "f"),
    ]


async def test_a_restart_goes_back_to_receive() -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        ref = system.spawn(Door, log)
        for message in ("open", "fail", "x"):
            ref.tell(message)
        await wait_all_tasks_blocked()
    assert log == [("closed", "open"), ("opened", "fail"), ("closed", "x")]


async def test_become_in_the_constructor_and_in_started_counts(autojump_clock: Any) -> None:
    class Becoming(Actor):
        def __init__(self) -> None:
            self.context.become(lambda message: ("constructor", message))

        def receive(self, message: Any) -> Any:
            return ("receive", message)

    class BecomingLate(Becoming):
        async def started(self) -> None:
            self.context.become(functools.partial(self.partial, "partial"))

        async def partial(self, what: str, message: Any) -> Any:
            return (what, message)

    async with Checked("s") as system:
        assert await system.spawn(Becoming).ask(1) == ("constructor", 1)
        assert await system.spawn(BecomingLate).ask(1) == ("partial", 1)


async def test_an_object_with_an_async_call_can_handle() -> None:
    class Handler:
        async def __call__(self, message: Any) -> Any:
            await trio.lowlevel.checkpoint()
            return ("object", message)

    async with Checked("s") as system:
        ref = system.spawn(PlainDoer)
        await ref.ask(lambda a: a.context.become(Handler()))
        assert await ref.ask(1) == ("object", 1)


async def test_what_is_no_handler_is_refused() -> None:
    async with Checked("s") as system:

        def become(actor: Actor) -> None:
            with pytest.raises(TypeError, match="become.. takes a handler, not 7"):
                actor.context.become(7)  # type: ignore[arg-type]

        await system.spawn(PlainDoer).ask(become)


# -- stash


class Stashing(Actor):
    """Stashes until it is opened; then handles what comes."""

    mailbox = Mailbox(capacity=5)

    def __init__(self, log: list[Any]) -> None:
        self.log = log
        self.open = False

    def receive(self, message: Any) -> Any:
        if message == "open":
            self.open = True
            self.context.unstash_all()
        elif message == "fail":
            raise ValueError(message)
        elif not self.open:
            self.context.stash()
            return "not a reply"
        self.log.append(message)
        return ("reply", message)


class AsyncStashing(Stashing):
    async def receive(self, message: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return super().receive(message)


STASHING = pytest.mark.parametrize("make", [Stashing, AsyncStashing])


@STASHING
async def test_stashed_messages_come_next_in_the_order_they_came(make: Any) -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        ref = system.spawn(make, log)
        for message in (1, 2, "open", 3):
            ref.tell(message)
    assert log == ["open", 1, 2, 3]


@STASHING
async def test_a_stashed_ask_is_answered_when_it_is_handled(make: Any) -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        ref = system.spawn(make, log)
        replies: list[Any] = []

        async def ask() -> None:
            replies.append(await ref.ask(1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            assert replies == []
            ref.tell("open")
        assert replies == [("reply", 1)]


@STASHING
async def test_stashed_messages_keep_their_room(make: Any) -> None:
    async with Checked("s") as system:
        ref = system.spawn(make, [])
        for number in range(5):
            ref.tell(number)
        await wait_all_tasks_blocked()
        with pytest.raises(MailboxFull):
            ref.tell("no room")
        with trio.move_on_after(0) as scope:
            await ref.send("no room")
        assert scope.cancelled_caught
        assert system.ledger.queued == 5


@STASHING
async def test_the_stash_survives_a_restart_which_unstashes_it(make: Any) -> None:
    log: list[Any] = []

    class Incarnated(make):  # type: ignore[misc]
        def __init__(self, log: list[Any]) -> None:
            super().__init__(log)
            self.open = self.context.incarnation == 2

    async with Checked("s") as system:
        ref = system.spawn(Incarnated, log)
        for message in (1, 2, "fail", 3):
            ref.tell(message)
        await wait_all_tasks_blocked()
    assert log == [1, 2, 3]
    assert system.ledger.failed == 1


@STASHING
async def test_a_message_that_is_stashed_again_stays_stashed(make: Any) -> None:
    log: list[Any] = []

    def unstash(actor: Actor) -> None:
        actor.context.unstash_all()

    class Plain(Stashing):
        def receive(self, message: Any) -> Any:
            return unstash(self) if message == "unstash" else super().receive(message)

    class Async(AsyncStashing):
        async def receive(self, message: Any) -> Any:
            return unstash(self) if message == "unstash" else await super().receive(message)

    async with Checked("s") as system:
        ref = system.spawn(Plain if make is Stashing else Async, log)
        for message in (1, "unstash", "unstash", 2, "unstash", "open", 3):
            ref.tell(message)
            await wait_all_tasks_blocked()
            assert system.ledger.missing == 0
    assert log == ["open", 1, 2, 3]


@BOTH
async def test_a_message_is_stashed_once(make: Any) -> None:
    async with Checked("s") as system:
        ref = system.spawn(make)
        seen: list[str] = []

        def stash(actor: Actor) -> None:
            if seen:
                return
            actor.context.stash()
            with pytest.raises(NotRunning, match="has stashed this message already"):
                actor.context.stash()
            seen.append("once")

        ref.tell(stash)
        await wait_all_tasks_blocked()
        assert system.ledger.queued == 1
        await ref.ask(lambda actor: actor.context.unstash_all())
        assert seen == ["once"]


@BOTH
async def test_a_handler_that_stashes_and_raises_has_failed_with_that_message(make: Any) -> None:
    async with Checked("s") as system:
        ref = system.spawn(make)

        def stash_and_fail(actor: Actor) -> None:
            actor.context.stash()
            raise ValueError("after the stash")

        with pytest.raises(ActorFailed):
            await ref.ask(stash_and_fail)
        await ref.ask(lambda actor: actor.context.unstash_all())
        await wait_all_tasks_blocked()
        assert (system.ledger.failed, system.ledger.queued) == (1, 0)


async def test_an_asked_message_cannot_be_stashed_after_its_reply_was_taken() -> None:
    async with Checked("s") as system:
        other = system.spawn(Recorder)

        def defer_and_stash(actor: Actor) -> None:
            reply = actor.context.reply_later()
            with pytest.raises(NotRunning, match="after reply_later"):
                actor.context.stash()
            reply.reply("replied")

        def forward_and_stash(actor: Actor) -> None:
            actor.context.forward(other)
            with pytest.raises(NotRunning, match="or forward"):
                actor.context.stash()

        ref = system.spawn(Doer)
        assert await ref.ask(defer_and_stash) == "replied"
        assert await ref.ask(forward_and_stash) is forward_and_stash


# -- reply_later


class Deferring(Actor):
    def __init__(self) -> None:
        self.replies: list[Reply] = []

    async def receive(self, message: Any) -> Any:
        if message == "replies?":
            return self.replies
        if message == "fail":
            raise ValueError(message)
        self.replies.append(self.context.reply_later())
        return "not a reply"


async def defer(system: ActorSystem, nursery: trio.Nursery) -> tuple[ActorRef, Reply, list[Any]]:
    ref = system.spawn(Deferring)
    outcome: list[Any] = []

    async def ask() -> None:
        try:
            outcome.append(await ref.ask("defer", timeout=10))
        except Exception as error:
            outcome.append(error)

    nursery.start_soon(ask)
    await wait_all_tasks_blocked()
    replies = await ref.ask("replies?")
    return ref, replies[0], outcome


async def test_a_reply_can_be_given_later_by_anyone_and_once() -> None:
    async with Checked("s") as system, trio.open_nursery() as nursery:
        _, reply, outcome = await defer(system, nursery)
        assert reply.wanted
        assert outcome == []
        assert reply.reply("later") is True
        assert not reply.wanted
        await wait_all_tasks_blocked()
        assert outcome == ["later"]
        assert reply.reply("again") is False
        assert reply.fail(ValueError()) is False


async def test_a_reply_can_be_given_by_another_actor_and_by_a_helper_task() -> None:
    async with Checked("s") as system, trio.open_nursery() as nursery:
        _, reply, outcome = await defer(system, nursery)
        assert await system.spawn(PlainDoer).ask(lambda _: reply.reply("by another")) is True
        _, second, outcome_2 = await defer(system, nursery)

        async def helper() -> None:
            second.reply("by a helper")

        async def with_helper(_: Actor) -> None:
            async with trio.open_nursery() as inner:
                inner.start_soon(helper)

        await system.spawn(Doer).ask(with_helper)
        await wait_all_tasks_blocked()
        assert (outcome, outcome_2) == (["by another"], ["by a helper"])


async def test_a_reply_can_be_given_before_the_handler_returns() -> None:
    async with Checked("s") as system:
        for make in (Doer, PlainDoer):

            def reply_at_once(actor: Actor) -> str:
                assert actor.context.reply_later().reply("given") is True
                return "not a reply"

            assert await system.spawn(make).ask(reply_at_once) == "given"


async def test_a_reply_that_fails_raises_actor_failed_with_that_cause() -> None:
    async with Checked("s", max_restarts=0) as system, trio.open_nursery() as nursery:
        ref, reply, outcome = await defer(system, nursery)
        cause = KeyError("given")
        assert reply.fail(cause) is True
        await wait_all_tasks_blocked()
        assert isinstance(outcome[0], ActorFailed)
        assert outcome[0].cause is cause
        assert outcome[0].ref is ref
        with pytest.raises(TypeError, match="fail.. takes an exception"):
            reply.fail("text")  # type: ignore[arg-type]


async def test_a_reply_that_comes_too_late_is_not_wanted(autojump_clock: Any) -> None:
    async with Checked("s") as system, trio.open_nursery() as nursery:
        _, reply, outcome = await defer(system, nursery)
        await trio.sleep(11)
        assert isinstance(outcome[0], AskTimeout)
        assert outcome[0].where == "deferred"
        assert not reply.wanted
        assert reply.reply("too late") is False


async def test_the_reply_to_a_tell_is_wanted_by_nobody() -> None:
    async with Checked("s") as system:
        ref = system.spawn(Deferring)
        ref.tell("defer")
        (reply,) = await ref.ask("replies?")
        assert not reply.wanted
        assert reply.reply("to nobody") is False


@pytest.mark.parametrize("how", ["fail", "stop", "leave"])
async def test_who_waits_for_a_deferred_reply_learns_of_the_actors_end(how: str) -> None:
    outcomes: list[Any] = []

    async with trio.open_nursery() as nursery, Checked("s") as system:
        ref, reply, outcomes = await defer(system, nursery)
        if how == "fail":
            ref.tell("fail")
        elif how == "stop":
            ref.stop()
        await wait_all_tasks_blocked()
        if how != "leave":
            assert len(outcomes) == 1
            assert reply.reply("too late") is False
    if how == "fail":
        assert isinstance(outcomes[0], ActorFailed)
        assert isinstance(outcomes[0].cause, ValueError)
    else:
        assert isinstance(outcomes[0], ActorStopped)


# -- forward


@BOTH
async def test_forward_passes_the_asker_on(make: Any) -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        last = system.spawn(Recorder, log)

        class Forwarder(make):  # type: ignore[misc]
            def __init__(self, to: ActorRef) -> None:
                self.to = to

            def receive(self, message: Any) -> str:
                self.context.forward(self.to)
                return "not a reply"

        chain = last
        for _ in range(5):
            chain = system.spawn(Forwarder, chain)
        assert await chain.ask("hello") == "hello"
        chain.tell("told")
        await wait_all_tasks_blocked()
        assert log == ["hello", "told"]
        assert system.ledger.sent == 12


async def test_a_forwarded_ask_keeps_its_time(autojump_clock: Any) -> None:
    class Forwarder(Actor):
        def __init__(self, to: ActorRef) -> None:
            self.to = to

        async def receive(self, message: Any) -> None:
            await trio.sleep(3)
            self.context.forward(self.to)

    async with Checked("s") as system:
        gate = trio.Event()
        slow = system.spawn(Doer)
        slow.tell(wait(gate))
        before = trio.current_time()
        with pytest.raises(AskTimeout) as caught:
            await system.spawn(Forwarder, slow).ask("question", timeout=5)
        assert trio.current_time() - before == pytest.approx(5)
        assert caught.value.ref is slow
        assert caught.value.where == "queued"
        gate.set()
        await wait_all_tasks_blocked()
        assert system.ledger.expired == 1


@pytest.mark.parametrize("to", ["stopped", "nobody", "failing", "full"])
async def test_a_forward_that_cannot_arrive_tells_the_asker(to: str) -> None:
    class Small(Doer):
        mailbox = Mailbox(capacity=1)

    class Forwarder(Actor):
        def __init__(self, ref: ActorRef) -> None:
            self.ref = ref

        def receive(self, message: Any) -> str:
            try:
                self.context.forward(self.ref)
            except MailboxFull:
                return "no room"
            return "not a reply"

    async with Checked("s") as system:
        ref = system.at("actor://s/nobody") if to == "nobody" else system.spawn(Small)
        gate = trio.Event()
        if to == "stopped":
            ref.stop()
            await ref.stopped()
        elif to == "full":
            ref.tell(wait(gate))
            await wait_all_tasks_blocked()
            ref.tell("fills it")
        forwarder = system.spawn(Forwarder, ref)
        if to == "full":
            assert await forwarder.ask("x") == "no room"
        else:
            with pytest.raises(ActorFailed if to == "failing" else ActorStopped) as caught:
                await forwarder.ask(fail)
            assert caught.value.ref is ref
        gate.set()


# -- only in a handler


@pytest.mark.parametrize("what", ["stash", "reply_later", "forward"])
async def test_what_concerns_the_message_in_hand_is_refused_where_there_is_none(
    what: str, autojump_clock: Any
) -> None:
    errors: list[str] = []

    def try_it(actor: Actor) -> None:
        args = [actor.context.ref] if what == "forward" else []
        try:
            getattr(actor.context, what)(*args)
        except NotRunning as error:
            errors.append(str(error))

    class Hooked(Doer):
        def __init__(self) -> None:
            try_it(self)

        async def started(self) -> None:
            try_it(self)
            await trio.lowlevel.checkpoint()
            try_it(self)

        async def restarting(self, failure: Failure) -> None:
            try_it(self)

        async def stopped(self) -> None:
            try_it(self)

    async with Checked("s") as system:
        ref = system.spawn(Hooked)
        # Messages that wait are not in hand.
        ref.tell(fail)
        ref.tell("x")
        await wait_all_tasks_blocked()
        context = await ref.ask(lambda actor: actor.context)
        actor = Doer()
        actor.context = context
        try_it(actor)
        ref.stop()
        await ref.stopped()
        try_it(actor)
    assert len(errors) == 10
    for error in errors:
        assert f"context.{what}() belongs in a handler" in error


# -- watch


@pytest.mark.parametrize("make", [Recorder, PlainRecorder])
async def test_a_watcher_is_told_once_and_why(make: Any, autojump_clock: Any) -> None:
    class Watcher(make):  # type: ignore[misc]
        def __init__(self, log: list[Any], *watched: ActorRef) -> None:
            super().__init__(log)
            for ref in watched:
                self.context.watch(ref)
                if ref.name in ("stopped", "failed"):
                    self.context.watch(ref)

    log: list[Any] = []
    async with Checked("s") as system:
        gone = system.spawn(Doer)
        gone.stop()
        await gone.stopped()
        nobody = system.at("actor://s/nobody")
        stopped, failed = (system.spawn(Doer, name=name) for name in ("stopped", "failed"))
        parent = system.spawn(Doer)
        child = await parent.ask(lambda a: a.context.spawn(Doer))
        system.spawn(Watcher, log, gone, nobody, stopped, failed, child)
        await wait_all_tasks_blocked()
        assert log == [
            Terminated(gone, ExitReason.NO_ACTOR),
            Terminated(nobody, ExitReason.NO_ACTOR),
        ]
        log.clear()
        stopped.stop()
        await wait_all_tasks_blocked()
        failed.tell(fail)
        await wait_all_tasks_blocked()
        parent.stop()
        await parent.stopped()
        await wait_all_tasks_blocked()
        assert [notice.ref for notice in log] == [stopped, failed, child]
        assert log[0].reason is ExitReason.NORMAL
        assert isinstance(log[1].reason, Failure)
        assert isinstance(log[1].reason.exception, ValueError)
        assert log[1].reason.incarnation == 1
        assert log[2].reason is ExitReason.SHUTDOWN
        # A watch is on one incarnation.
        log.clear()
        failed.tell(fail)
        failed.stop()
        await failed.stopped()
        await wait_all_tasks_blocked()
        assert log == []


async def test_the_reason_of_one_that_was_killed_by_its_time_says_so(autojump_clock: Any) -> None:
    class Stubborn(Doer):
        shutdown = 1.0

    class Watcher(Recorder):
        def __init__(self, log: list[Any], ref: ActorRef) -> None:
            super().__init__(log)
            self.context.watch(ref)

    log: list[Any] = []
    async with Checked("s") as system:
        killed = system.spawn(Stubborn)
        system.spawn(Watcher, log, killed)
        killed.tell(lambda _: trio.sleep_forever())
        await wait_all_tasks_blocked()
        killed.stop()
        await killed.stopped()
        await wait_all_tasks_blocked()
    assert log == [Terminated(killed, ExitReason.KILLED)]


async def test_two_actors_may_watch_each_other_and_themselves() -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        one, other = system.spawn(Recorder, log), system.spawn(Recorder, log)
        contexts = {}
        for ref in (one, other):
            system_ref: Any = ref
            contexts[ref] = system_ref._actor.context
        contexts[one].watch(other)
        contexts[other].watch(one)
        one.stop()
        await wait_all_tasks_blocked()
        assert log == [Terminated(one, ExitReason.NORMAL)]
        other.stop()
        await other.stopped()
    assert len(log) == 1


async def test_unwatch_ends_it_also_where_nothing_was_watched() -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        watched = system.spawn(Doer)
        watcher = system.spawn(Doer)

        def never(actor: Actor) -> None:
            actor.context.become(log.append)
            actor.context.watch(watched)
            actor.context.unwatch(watched)
            actor.context.unwatch(watched)
            actor.context.unwatch(actor.context.ref)

        await watcher.ask(never)
        watched.stop()
        await watched.stopped()
        await wait_all_tasks_blocked()
        assert log == []


async def test_a_notice_finds_room_in_a_full_mailbox_and_no_policy_drops_it() -> None:
    for overflow in ("reject", "drop_oldest", "drop_newest"):

        class Small(Recorder):
            mailbox = Mailbox(capacity=1, overflow=overflow)  # type: ignore[arg-type]

            def __init__(self, log: list[Any], *watched: ActorRef) -> None:
                super().__init__(log)
                for ref in watched:
                    self.context.watch(ref)

        log: list[Any] = []
        async with Checked("s") as system:
            watched = [system.spawn(Doer) for _ in range(5)]
            watcher = system.spawn(Small, log, *watched)
            gate = trio.Event()
            watcher.tell(gate)
            await wait_all_tasks_blocked()
            watcher.tell("fills it")
            for ref in watched:
                ref.stop()
            await wait_all_tasks_blocked()
            for _ in range(3):
                try:
                    watcher.tell("more")
                except MailboxFull:
                    assert overflow == "reject"
            gate.set()
            await wait_all_tasks_blocked()
            notices = [m for m in log if isinstance(m, Terminated)]
            assert [notice.ref for notice in notices] == watched
            # And the room is what it was before.
            gate = trio.Event()
            watcher.tell(gate)
            await wait_all_tasks_blocked()
            dead = system.dead_letters.count
            watcher.tell("fills it")
            try:
                watcher.tell("too many")
            except MailboxFull:
                dead += 1
            assert (
                system.dead_letters.count + (overflow == "reject") == dead + (overflow != "reject")
                or overflow == "reject"
            )
            gate.set()


async def test_only_a_ref_of_an_actor_can_be_watched() -> None:
    from actors import Address

    class Topic(ActorRef):
        address = Address("topic", "", "t")

        def tell(self, message: object) -> None: ...
        async def send(self, message: object) -> None: ...
        async def ask(self, message: Any, timeout: float | None = 5.0) -> Any: ...
        def stop(self) -> None: ...
        async def stopped(self) -> None: ...

    async with Checked("s") as system:

        def watch(actor: Actor) -> None:
            with pytest.raises(TypeError, match=r"watch\(\) takes the ref of one actor"):
                actor.context.watch(Topic())
            actor.context.unwatch(Topic())

        def forward(actor: Actor) -> str:
            with pytest.raises(TypeError, match=r"forward\(\) takes the ref of one actor"):
                actor.context.forward(Topic())
            return "still mine"

        ref = system.spawn(PlainDoer)
        await ref.ask(watch)
        assert await ref.ask(forward) == "still mine"


# -- timers


def timing(log: list[Any]) -> Callable[[str], Callable[[Actor], None]]:
    return lambda what: lambda _: log.append((what, trio.current_time()))


async def test_after_tells_once_at_its_time(autojump_clock: Any) -> None:
    log: list[Any] = []
    note = timing(log)

    def set_timers(actor: Actor) -> None:
        for delay in (3, 1, 2, 0, 1):
            actor.context.after(delay, note(f"after {delay}"))

    for make in (Doer, PlainDoer):
        async with Checked("s") as system:
            began = trio.current_time()
            system.spawn(make).tell(set_timers)
            await trio.sleep(5)
        assert [what for what, _ in log] == [f"after {delay}" for delay in (0, 1, 1, 2, 3)]
        assert [at - began for _, at in log] == pytest.approx([0, 1, 1, 2, 3])
        log.clear()


async def test_every_tells_each_period_without_drift_until_cancelled(autojump_clock: Any) -> None:
    log: list[Any] = []
    timers: list[Timer] = []

    async def slow_beat(_: Actor) -> None:
        log.append(trio.current_time())
        await trio.sleep(0.3)

    async with Checked("s") as system:
        ref = system.spawn(Doer)
        began = trio.current_time()
        await ref.ask(lambda actor: timers.append(actor.context.every(1, slow_beat)))
        await trio.sleep(5.5)
        assert timers[0].active
        timers[0].cancel()
        timers[0].cancel()
        assert not timers[0].active
        await trio.sleep(5)
    assert [at - began for at in log] == pytest.approx([1, 2, 3, 4, 5])


async def test_a_timer_of_another_moment_can_be_cancelled(autojump_clock: Any) -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        ref = system.spawn(Doer)
        timer = await ref.ask(lambda a: a.context.after(2, lambda _: log.append("fired")))
        assert timer.active
        assert timer.deadline == pytest.approx(trio.current_time() + 2)
        await trio.sleep(1)
        timer.cancel()
        await trio.sleep(5)
        assert log == []
        fired = await ref.ask(lambda a: a.context.after(1, lambda _: log.append("fired")))
        await trio.sleep(2)
        assert log == ["fired"]
        assert not fired.active
        fired.cancel()


async def test_the_timers_of_an_incarnation_end_with_it(autojump_clock: Any) -> None:
    log: list[Any] = []
    for end in ("fail", "stop"):
        async with Checked("s") as system:
            ref = system.spawn(Doer)

            def set_timers(actor: Actor) -> list[Timer]:
                return [
                    actor.context.after(2, lambda _: log.append("after")),
                    actor.context.every(0.7, lambda _: log.append("every")),
                ]

            timers = await ref.ask(set_timers)
            await trio.sleep(1)
            assert log == ["every"]
            log.clear()
            if end == "fail":
                ref.tell(fail)
            else:
                ref.stop()
            await trio.sleep(5)
            assert log == []
            assert [timer.active for timer in timers] == [False, False]


async def test_timers_are_cancelled_in_great_numbers_without_trouble(autojump_clock: Any) -> None:
    log: list[int] = []
    async with Checked("s") as system:

        def set_timers(actor: Actor) -> None:
            for number in range(2_000):
                timer = actor.context.after(1 + number % 7, lambda _, n=number: log.append(n))
                if number % 10:
                    timer.cancel()

        system.spawn(PlainDoer).tell(set_timers)
        await trio.sleep(10)
    kept = range(0, 2_000, 10)
    assert log == sorted(kept, key=lambda number: (number % 7, number))


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf")])
async def test_a_delay_that_time_does_not_know_is_refused(delay: float) -> None:
    async with Checked("s") as system:

        def set_timer(actor: Actor) -> None:
            with pytest.raises(ValueError, match="delay is a finite number of seconds"):
                actor.context.after(delay, "x")
            with pytest.raises(TypeError, match="delay is a number of seconds"):
                actor.context.after("1", "x")  # type: ignore[arg-type]

        await system.spawn(PlainDoer).ask(set_timer)


async def test_a_stopped_actor_has_no_timers() -> None:
    async with Checked("s") as system:
        ref = system.spawn(Doer)
        context = await ref.ask(lambda actor: actor.context)
        ref.stop()
        await ref.stopped()
        with pytest.raises(NotRunning, match="has no timers"):
            context.after(1, "x")


# -- stop


@BOTH
async def test_an_actor_stops_itself_after_what_is_queued(make: Any) -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        ref = system.spawn(make)
        ref.tell(lambda actor: actor.context.stop())
        ref.tell(lambda _: log.append("queued before"))
        await ref.stopped()
        ref.tell("after")
        assert log == ["queued before"]
        assert system.ledger.dead == 1


async def test_who_asks_an_actor_that_stops_itself_still_gets_the_reply() -> None:
    async with Checked("s") as system:
        for make in (Doer, PlainDoer):

            def stop_and_reply(actor: Actor) -> str:
                actor.context.stop()
                return "bye"

            ref = system.spawn(make)
            assert await ref.ask(stop_and_reply) == "bye"
            await ref.stopped()


async def test_an_actor_that_is_stopping_spawns_no_children(autojump_clock: Any) -> None:
    errors: list[str] = []

    class Stopping(Doer):
        async def stopped(self) -> None:
            try:
                self.context.spawn(Doer)
            except NotRunning as error:
                errors.append(str(error))

    async with Checked("s") as system:
        ref = system.spawn(Stopping)
        context = await ref.ask(lambda actor: actor.context)
        ref.stop()
        await ref.stopped()
        with pytest.raises(NotRunning, match="spawns no more children"):
            context.spawn(Doer)
    assert len(errors) == 1
    assert "is stopping: it spawns no more children" in errors[0]
