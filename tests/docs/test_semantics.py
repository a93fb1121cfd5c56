"""What docs/semantics.md promises, case by case. The clock jumps, so no test waits."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorStopped,
    ActorSystem,
    AskCycle,
    AskTimeout,
    DeadLetterReason,
    Directive,
    Escalate,
    ExitReason,
    Failure,
    Mailbox,
    MailboxFull,
    Restart,
    Resume,
    Stop,
    SystemClosed,
    Terminated,
)


class Doer(Actor):
    """Does what it is sent: a function of the actor, or a value that is the reply."""

    async def receive(self, message: Any) -> Any:
        result = message(self) if callable(message) else message
        return await result if hasattr(result, "__await__") else result


def fail(_: Actor) -> None:
    raise ValueError("on purpose")


def nap(seconds: float) -> Callable[[Actor], Any]:
    return lambda _: trio.sleep(seconds)


class Small(Doer):
    mailbox = Mailbox(capacity=2)


class Parent(Doer):
    """Has one child, and a decision for its failures."""

    def __init__(self, child: Callable[..., Actor], decision: Directive) -> None:
        self.decision = decision
        self.context.spawn(child, name="child")

    def child_failed(self, child: ActorRef, failure: Failure) -> Directive:
        return self.decision


class Watcher(Actor):
    """Remembers what it is told."""

    def __init__(self, *watched: ActorRef) -> None:
        self.told: list[object] = []
        for ref in watched:
            self.context.watch(ref)

    def receive(self, message: object) -> object:
        if message == "told?":
            return self.told
        self.told.append(message)
        return None


# -- the promises


async def test_an_actor_takes_no_message_while_its_handler_waits(autojump_clock: MockClock) -> None:
    running: list[int] = []

    async def alone(_: Actor) -> int:
        running.append(1)
        await trio.sleep(1)
        return len(running) - running.pop()

    async with ActorSystem("s") as system:
        actor = system.spawn(Doer)
        for _ in range(4):
            actor.tell(alone)
        assert await actor.ask(alone, timeout=None) == 0


async def test_messages_of_two_senders_keep_each_senders_order() -> None:
    class Sender(Actor):
        def __init__(self, to: ActorRef) -> None:
            self.to = to

        async def receive(self, name: str) -> None:
            for number in range(100):
                await self.to.send((name, number))

    class Small(Watcher):
        mailbox = Mailbox(capacity=3)

    async with ActorSystem("s") as system:
        to = system.spawn(Small)
        senders = [system.spawn(Sender, to) for _ in range(2)]
        senders[0].tell("a")
        senders[1].tell("b")
        await wait_all_tasks_blocked()
        told = await to.ask("told?")
    for name in ("a", "b"):
        assert [number for who, number in told if who == name] == list(range(100))


async def test_each_ending_is_counted_and_nothing_is_missing(autojump_clock: MockClock) -> None:
    async with ActorSystem("s") as system:
        actor = system.spawn(Small)
        actor.tell(fail)
        await wait_all_tasks_blocked()
        actor.tell(nap(1))
        await wait_all_tasks_blocked()
        with pytest.raises(AskTimeout, match="queued"):
            await actor.ask("expires", timeout=0.1)
        actor.tell("queued")
        with pytest.raises(MailboxFull):
            actor.tell("rejected")
        ledger = system.ledger
        assert (ledger.queued, ledger.in_flight, ledger.failed) == (2, 1, 1)
        assert (ledger.rejected, ledger.missing) == (1, 0)
        actor.stop()
        await actor.stopped()
        actor.tell("dead")
        ledger = system.ledger
        assert (ledger.sent, ledger.handled, ledger.failed, ledger.expired) == (6, 2, 1, 1)
        assert (ledger.rejected, ledger.dead, ledger.missing) == (1, 1, 0)


async def test_the_ledger_read_inside_a_plain_handler_is_whole() -> None:
    missing: list[int] = []

    class Reader(Actor):
        def receive(self, message: object) -> None:
            missing.append(self.context.system.ledger.missing)

    async with ActorSystem("s") as system:
        reader = system.spawn(Reader)
        for number in range(5):
            reader.tell(number)
    assert missing == [0] * 5


async def test_a_message_is_delivered_once_and_not_again_after_a_failure() -> None:
    seen: list[str] = []

    class Once(Actor):
        def receive(self, message: str) -> None:
            seen.append(message)
            if message == "fail":
                raise ValueError(message)

    async with ActorSystem("s") as system:
        actor = system.spawn(Once)
        for message in ("a", "fail", "b"):
            actor.tell(message)
        await wait_all_tasks_blocked()
    assert seen == ["a", "fail", "b"]


@pytest.mark.parametrize(
    ("overflow", "kept", "reason"),
    [
        ("drop_oldest", [3, 4], DeadLetterReason.DROPPED_OLDEST),
        ("drop_newest", [1, 2], DeadLetterReason.DROPPED_NEWEST),
    ],
)
async def test_a_full_mailbox_drops_to_the_dead_letters(
    overflow: Any, kept: list[int], reason: DeadLetterReason, autojump_clock: MockClock
) -> None:
    class Full(Watcher):
        mailbox = Mailbox(capacity=2, overflow=overflow)

        async def receive(self, message: object) -> object:
            await trio.sleep(0.1)
            return super().receive(message)

    async with ActorSystem("s") as system:
        actor = system.spawn(Full)
        actor.tell(0)
        await wait_all_tasks_blocked()
        for number in range(1, 5):
            actor.tell(number)
        assert await actor.ask("told?") == [0, *kept]
        assert [letter.reason for letter in system.dead_letters.recent] == [reason] * 2


async def test_send_waits_for_room_and_sends_nothing_if_cancelled(
    autojump_clock: MockClock,
) -> None:
    async with ActorSystem("s") as system:
        actor = system.spawn(Small)
        actor.tell(nap(1))
        await wait_all_tasks_blocked()
        actor.tell(1)
        actor.tell(2)
        with trio.move_on_after(0.5) as scope:
            await actor.send(3)
        assert scope.cancelled_caught
        assert system.ledger.sent == 3
        await actor.send(4)
        assert system.ledger.sent == 4


async def test_an_ask_whose_time_is_up_is_dropped_before_it_starts(
    autojump_clock: MockClock,
) -> None:
    ran: list[int] = []
    async with ActorSystem("s") as system:
        actor = system.spawn(Doer)
        actor.tell(nap(1))
        with pytest.raises(AskTimeout, match="the message was queued"):
            await actor.ask(lambda _: ran.append(1), timeout=0.5)
        await actor.ask("behind it")
        assert not ran
        assert system.ledger.expired == 1


@pytest.mark.parametrize("abandoned", [False, True])
async def test_a_running_handler_is_cancelled_only_if_its_class_says_so(
    abandoned: bool, autojump_clock: MockClock
) -> None:
    ended: list[bool] = []

    class Slow(Doer):
        cancel_abandoned = abandoned

    async def slowly(_: Actor) -> None:
        try:
            await trio.sleep(1)
            ended.append(True)
        except trio.Cancelled:
            ended.append(False)
            raise

    async with ActorSystem("s") as system:
        actor = system.spawn(Slow)
        with pytest.raises(AskTimeout, match="being handled"):
            await actor.ask(slowly, timeout=0.5)
        assert await actor.ask("next") == "next"
        assert ended == [not abandoned]
        assert system.ledger.expired == int(abandoned)


async def test_an_ask_circle_fails_at_once_with_its_chain() -> None:
    async with ActorSystem("s", max_restarts=None) as system:
        a, b, c = (system.spawn(Doer, name=name) for name in "abc")
        with pytest.raises(ActorFailed) as caught:
            await a.ask(lambda _: b.ask(lambda _: c.ask(lambda _: a.ask("never"))))
        error: BaseException = caught.value
        while isinstance(error, ActorFailed):
            error = error.cause
        assert isinstance(error, AskCycle)
        assert error.chain == (c, a, b, c)


async def test_a_send_to_oneself_that_could_never_end_raises_mailbox_full() -> None:
    async def fill(actor: Actor) -> None:
        for number in range(3):
            await actor.context.ref.send(number)

    async with ActorSystem("s") as system:
        actor = system.spawn(Small)
        with pytest.raises(ActorFailed) as caught:
            await actor.ask(fill)
        assert isinstance(caught.value.cause, MailboxFull)
        assert caught.value.cause.chain == (actor, actor)


async def test_all_of_the_old_incarnation_has_ended_before_the_next_one_is_made(
    autojump_clock: MockClock,
) -> None:
    story: list[str] = []

    class Grandchild(Doer):
        async def stopped(self) -> None:
            story.append("child stopped")

    class Fails(Doer):
        def __init__(self) -> None:
            story.append(f"made {self.context.incarnation}")
            self.context.spawn(Grandchild)

        async def restarting(self, failure: Failure) -> None:
            await trio.sleep(0.1)
            story.append("restarting")

    async def defer(actor: Actor) -> None:
        actor.context.reply_later()

    async with ActorSystem("s") as system:
        actor = system.spawn(Fails)
        watcher = system.spawn(Watcher, actor)

        async def ask() -> None:
            with pytest.raises(ActorFailed):
                await actor.ask(defer)
            story.append("asker told")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            actor.tell(fail)
            actor.tell(lambda _: story.append("queued message handled"))
        await wait_all_tasks_blocked()
        (notice,) = await watcher.ask("told?")
        assert isinstance(notice.reason, Failure)
        assert story[:4] == ["made 1", "child stopped", "restarting", "made 2"]
        assert "queued message handled" in story


async def test_leaving_the_system_leaves_no_task_behind(autojump_clock: MockClock) -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    async with ActorSystem("s") as system:
        for _ in range(20):
            system.spawn(Doer).tell(nap(1))
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living > before
    assert trio.lowlevel.current_statistics().tasks_living == before
    with pytest.raises(SystemClosed):
        system.spawn(Doer)


# -- decisions


class Stateful(Doer):
    """Has one of everything that a decision keeps or ends."""

    def __init__(self) -> None:
        self.state: list[str] = []

    async def started(self) -> None:
        if self.context.incarnation == 1:
            self.context.spawn(Doer, name="grandchild")
            self.context.after(10, lambda actor: actor.state.append("timer"))


@pytest.mark.parametrize(
    ("decision", "state", "children", "incarnation"),
    [(Resume(), ["before", "timer"], 1, 1), (Restart(), [], 0, 2), (Restart(after=1), [], 0, 2)],
    ids=["resume", "restart", "restart later"],
)
async def test_what_a_decision_keeps(
    decision: Directive,
    state: list[str],
    children: int,
    incarnation: int,
    autojump_clock: MockClock,
) -> None:
    async with ActorSystem("s") as system:
        await system.start(Parent, Stateful, decision, name="parent")
        actor = system.at("actor://s/parent/child")
        watcher = system.spawn(Watcher, actor)
        actor.tell(lambda each: each.state.append("before"))
        actor.tell(fail)
        assert await actor.ask("the queue is kept") == "the queue is kept"
        await trio.sleep(20)
        assert await actor.ask(lambda each: each.state) == state
        assert await actor.ask(lambda each: len(each.context.children)) == children
        assert await actor.ask(lambda each: each.context.incarnation) == incarnation
        assert len(await watcher.ask("told?")) == (0 if decision == Resume() else 1)


async def test_a_stop_decision_makes_dead_letters_of_the_queue() -> None:
    async with ActorSystem("s") as system:
        await system.start(Parent, Doer, Stop(), name="parent")
        actor = system.at("actor://s/parent/child")
        actor.tell(fail)
        with pytest.raises(ActorStopped):
            await actor.ask("queued")
        (letter,) = system.dead_letters.recent
        assert letter.reason is DeadLetterReason.UNHANDLED_AT_STOP


async def test_resuming_who_escalated_resumes_the_child_too() -> None:
    async with ActorSystem("s") as system:

        class Middle(Parent):
            def __init__(self) -> None:
                super().__init__(Doer, Escalate())

        await system.start(Parent, Middle, Resume(), name="top")
        child = system.at("actor://s/top/child/child")
        child.tell(fail)
        assert await child.ask("still here") == "still here"


async def test_the_system_fails_with_notes_after_one_failure_too_many(
    autojump_clock: MockClock,
) -> None:
    system = ActorSystem("s", max_restarts=1)

    async def fail_twice() -> None:
        async with system:
            actor = system.spawn(Doer, name="a")
            actor.tell(fail)
            actor.tell(fail)
            await trio.sleep(1)

    with pytest.raises(ExceptionGroup) as caught:
        await fail_twice()
    (error,) = caught.value.exceptions
    assert isinstance(error, ValueError)
    assert error.__notes__[0].startswith("actor://s/a (incarnation 2) failed handling")
    assert system.ledger.missing == 0


# -- ends


async def test_a_stop_handles_what_was_queued_and_refuses_what_comes_later() -> None:
    handled: list[str] = []
    async with ActorSystem("s") as system:
        actor = system.spawn(Doer)
        actor.tell(lambda _: handled.append("before"))
        actor.stop()
        actor.tell(lambda _: handled.append("after"))
        with pytest.raises(ActorStopped):
            await actor.ask("after")
        await actor.stopped()
        assert handled == ["before"]
        assert [each.reason for each in system.dead_letters.recent] == [DeadLetterReason.STOPPED]


async def test_children_stop_before_their_parent_the_youngest_first() -> None:
    story: list[str] = []

    class Says(Doer):
        async def started(self) -> None:
            if self.context.parent is None:
                for name in "abc":
                    self.context.spawn(Says, name=name)

        async def stopped(self) -> None:
            story.append(self.context.ref.name)

    async with ActorSystem("s") as system:
        await system.start(Says, name="top")
    assert story == ["c", "b", "a", "top"]


async def test_a_stop_that_takes_too_long_cancels_the_handler_and_then_the_hook(
    autojump_clock: MockClock,
) -> None:
    class Slow(Doer):
        shutdown = 1.0

        async def stopped(self) -> None:
            await trio.sleep(10)

    async with ActorSystem("s") as system:
        actor = system.spawn(Slow)
        watcher = system.spawn(Watcher, actor)
        actor.tell(nap(10))
        actor.tell("queued")
        await wait_all_tasks_blocked()
        start = trio.current_time()
        actor.stop()
        await actor.stopped()
        assert trio.current_time() - start == pytest.approx(2.0)
        assert [each.reason for each in system.dead_letters.recent] == [
            DeadLetterReason.CANCELLED,
            DeadLetterReason.UNHANDLED_AT_STOP,
        ]
        await wait_all_tasks_blocked()
        assert await watcher.ask("told?") == [Terminated(actor, ExitReason.KILLED)]


async def test_an_actor_that_fails_while_draining_stops_at_once(autojump_clock: MockClock) -> None:
    async with ActorSystem("s") as system:
        actor = system.spawn(Doer)
        actor.tell(fail)
        actor.tell("queued")
        actor.stop()
        start = trio.current_time()
        await actor.stopped()
        assert trio.current_time() == start
        (letter,) = system.dead_letters.recent
        assert letter.message == "queued"


async def test_leaving_by_an_exception_cancels_handlers_and_runs_hooks(
    autojump_clock: MockClock,
) -> None:
    stopped: list[str] = []

    class Says(Doer):
        async def stopped(self) -> None:
            stopped.append(self.context.ref.name)

    system = ActorSystem("s")
    start = trio.current_time()

    async def leave() -> None:
        async with system:
            actor = system.spawn(Says, name="a")
            actor.tell(nap(10))
            await wait_all_tasks_blocked()
            raise KeyError

    with pytest.raises(KeyError):
        await leave()
    assert stopped == ["a"]
    assert trio.current_time() == start
    assert system.dead_letters.recent[0].reason is DeadLetterReason.CANCELLED


async def test_a_cancelled_body_can_still_talk_to_its_actors(autojump_clock: MockClock) -> None:
    replies: list[str] = []
    with trio.move_on_after(1):
        async with ActorSystem("s") as system:
            actor = system.spawn(Doer)
            try:
                await trio.sleep(10)
            finally:
                with trio.CancelScope(shield=True):
                    replies.append(await actor.ask("goodbye"))
    assert replies == ["goodbye"]


# -- watches, timers, context


async def test_terminated_comes_behind_what_the_watched_actor_told() -> None:
    class LastWords(Actor):
        def receive(self, to: ActorRef) -> None:
            to.tell("last words")
            self.context.stop()

    async with ActorSystem("s") as system:
        actor = system.spawn(LastWords)
        watcher = system.spawn(Watcher, actor)
        actor.tell(watcher)
        await wait_all_tasks_blocked()
        assert await watcher.ask("told?") == ["last words", Terminated(actor, ExitReason.NORMAL)]


async def test_a_watch_of_nobody_is_answered_at_once_and_can_be_taken_back() -> None:
    async with ActorSystem("s") as system:
        nobody = system.at("actor://s/nobody")
        watcher = system.spawn(Watcher, nobody)
        await wait_all_tasks_blocked()
        assert await watcher.ask("told?") == [Terminated(nobody, ExitReason.NO_ACTOR)]

        class Undecided(Watcher):
            def __init__(self) -> None:
                super().__init__(nobody)
                self.context.unwatch(nobody)

        undecided = system.spawn(Undecided)
        await wait_all_tasks_blocked()
        assert await undecided.ask("told?") == []


async def test_beats_that_nobody_could_take_go_to_the_dead_letters(
    autojump_clock: MockClock,
) -> None:
    class Busy(Doer):
        mailbox = Mailbox(capacity=1)

        async def started(self) -> None:
            self.context.every(1.0, "beat")

    async with ActorSystem("s") as system:
        busy = system.spawn(Busy)
        busy.tell(nap(3.5))
        await trio.sleep(3.6)
        assert [each.reason for each in system.dead_letters.recent] == [
            DeadLetterReason.TIMER_MAILBOX_FULL
        ] * 2


async def test_a_stash_keeps_its_room_until_it_is_unstashed() -> None:
    class Stashes(Actor):
        mailbox = Mailbox(capacity=2)

        def receive(self, message: object) -> None:
            self.context.stash()

    async with ActorSystem("s") as system:
        actor = system.spawn(Stashes)
        actor.tell(1)
        actor.tell(2)
        await wait_all_tasks_blocked()
        with pytest.raises(MailboxFull):
            actor.tell(3)
        assert system.ledger.queued == 2


async def test_a_constructor_that_raises_spawns_nothing() -> None:
    class Fails(Doer):
        def __init__(self) -> None:
            raise OSError("constructor")

    async with ActorSystem("s") as system:
        with pytest.raises(OSError, match="constructor"):
            system.spawn(Fails, name="a")
        with pytest.raises(OSError, match="constructor"):
            await system.start(Fails, name="a")
        assert system.children == ()
        assert system.spawn(Doer, name="a").name == "a"
