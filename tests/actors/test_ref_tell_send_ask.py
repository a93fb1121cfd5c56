"""tell, send and ask: what each does, when it waits, and what it raises."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorStopped,
    AskTimeout,
    DeadLetterReason,
    Env,
    Mailbox,
    MailboxFull,
    Request,
    message,
)
from tests.actors.kit import (
    Checked,
    Doer,
    PlainDoer,
    PlainRecorder,
    Recorder,
    fail,
    nap,
    wait,
)


@message
class Question(Request[str]):
    text: str = ""


class Small(Recorder):
    mailbox = Mailbox(capacity=1)


class SmallDoer(Doer):
    mailbox = Mailbox(capacity=1)


async def full(ref: ActorRef) -> trio.Event:
    """Let it wait in its handler, with one message behind that."""
    gate = trio.Event()
    ref.tell(gate)
    await wait_all_tasks_blocked()
    ref.tell("fills it")
    return gate


# -- tell


async def test_a_handler_that_forwards_and_goes_on_does_not_answer_in_the_others_place(
    autojump_clock: Any,
) -> None:
    async with Checked("s") as system:
        slow = system.spawn(Doer, name="slow")

        async def answers_later(actor: Any) -> str:
            await trio.sleep(5)
            return str(actor.context.ref.name)

        class Front(Doer):
            async def receive(self, message: Any) -> Any:
                self.context.forward(slow)
                # Meanwhile the other one begins; this handler ends before that one does.
                await trio.sleep(1)

        assert await system.spawn(Front).ask(answers_later, timeout=None) == "slow"


@pytest.mark.parametrize("make", [Recorder, PlainRecorder])
async def test_tells_arrive_in_the_order_sent(make: Any) -> None:
    log: list[int] = []
    async with Checked("s") as system:
        ref = system.spawn(make, log)
        for number in range(5_000):
            ref.tell(number)
    assert log == list(range(5_000))


async def test_a_tell_does_not_run_the_handler_before_it_returns() -> None:
    log: list[int] = []
    async with Checked("s") as system:
        ref = system.spawn(PlainRecorder, log)
        ref.tell(1)
        assert log == []
        await wait_all_tasks_blocked()
        assert log == [1]


async def test_a_tell_of_an_actor_does_not_run_the_handler_within_its_own() -> None:
    log: list[str] = []
    async with Checked("s") as system:
        other = system.spawn(PlainRecorder, log)

        def tell(_: Actor) -> None:
            other.tell("told")
            log.append("goes on")

        await system.spawn(PlainDoer).ask(tell)
        await wait_all_tasks_blocked()
    assert log == ["goes on", "told"]


async def test_an_exception_of_a_told_handler_does_not_reach_the_teller() -> None:
    async with Checked("s") as system:
        ref = system.spawn(Recorder)
        ref.tell(ValueError("of the handler"))
        await wait_all_tasks_blocked()
        assert await ref.ask("still there?") == "still there?"
        assert system.ledger.failed == 1


async def test_a_tell_to_a_stopped_actor_is_a_dead_letter_and_no_error() -> None:
    async with Checked("s") as system:
        ref = system.spawn(Recorder)
        ref.stop()
        await ref.stopped()
        ref.tell("late")
        await ref.send("late too")
        assert [(letter.message, letter.ref) for letter in system.dead_letters.recent] == [
            ("late", ref),
            ("late too", ref),
        ]
        assert {x.reason for x in system.dead_letters.recent} == {DeadLetterReason.STOPPED}


# -- send


async def test_a_send_with_room_returns_at_once(autojump_clock: Any) -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        ref = system.spawn(Recorder, log)
        for number in range(300):
            await ref.send(number)
    assert log == list(range(300))
    assert trio.current_time() == pytest.approx(0, abs=0.01)


async def test_a_send_waits_until_there_is_room() -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        ref = system.spawn(Small, log)
        gate = await full(ref)
        returned = trio.Event()

        async def send() -> None:
            await ref.send("sent")
            returned.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            assert not returned.is_set()
            assert system.ledger.queued == 1
            gate.set()
            await returned.wait()
    assert log == ["fills it", "sent"]


async def test_who_waits_for_room_gets_it_in_the_order_they_came() -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        ref = system.spawn(Small, log)
        gate = await full(ref)
        async with trio.open_nursery() as nursery:
            for number in range(20):
                # Every third one asks: they stand in the same line.
                nursery.start_soon(ref.ask if number % 3 == 0 else ref.send, number)
                await wait_all_tasks_blocked()
            gate.set()
    assert log == ["fills it", *range(20)]


async def test_a_cancelled_send_was_not_enqueued() -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        ref = system.spawn(Small, log)
        gate = await full(ref)
        sent = system.ledger.sent
        scopes = [trio.CancelScope() for _ in range(3)]

        async def send(number: int) -> None:
            with scopes[number]:
                await ref.send(number)

        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(send, number)
                await wait_all_tasks_blocked()
            scopes[1].cancel()
            await wait_all_tasks_blocked()
            assert system.ledger.sent == sent
            gate.set()
        assert [scope.cancelled_caught for scope in scopes] == [False, True, False]
    assert log == ["fills it", 0, 2]
    assert system.ledger.sent == 4


@pytest.mark.parametrize("room", [True, False])
async def test_a_send_in_a_cancelled_scope_sends_nothing(room: bool) -> None:
    async with Checked("s") as system:
        ref = system.spawn(Small)
        gate = None if room else await full(ref)
        before = system.ledger.sent
        with trio.CancelScope() as scope:
            scope.cancel()
            await ref.send("not sent")
        assert scope.cancelled_caught
        assert system.ledger.sent == before
        if gate is not None:
            gate.set()


async def test_a_cancelled_send_of_an_actor_was_not_enqueued() -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        ref = system.spawn(Small, log)
        gate = await full(ref)
        scope = trio.CancelScope()

        async def send(_: Actor) -> bool:
            with scope:
                await ref.send("not sent")
            return scope.cancelled_caught

        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                assert await system.spawn(Doer).ask(send) is True

            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            scope.cancel()
            await wait_all_tasks_blocked()
            gate.set()
    assert log == ["fills it"]


async def test_a_send_to_an_actor_that_stops_meanwhile_is_a_dead_letter() -> None:
    async with Checked("s") as system:
        ref = system.spawn(Small)
        gate = await full(ref)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ref.send, "waits")
            await wait_all_tasks_blocked()
            ref.stop()
        assert [letter.message for letter in system.dead_letters.recent] == ["waits"]
        gate.set()
        await ref.stopped()
        assert system.dead_letters.count == 1


# -- ask


class PlainAnswerer(Actor):
    def receive(self, message: Any) -> Any:
        return ("plain", message)


class AsyncAnswerer(Actor):
    async def receive(self, message: Any) -> Any:
        return ("async", message)


class WaitingAnswerer(Actor):
    async def receive(self, message: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return ("waiting", message)


ANSWERERS = [(PlainAnswerer, "plain"), (AsyncAnswerer, "async"), (WaitingAnswerer, "waiting")]


async def ask_from_task(system: Any, ref: ActorRef) -> Any:
    return await ref.ask(1)


async def ask_from_handler(system: Any, ref: ActorRef) -> Any:
    return await system.spawn(Doer).ask(lambda _: ref.ask(1))


async def ask_after_waiting(system: Any, ref: ActorRef) -> Any:
    async def ask(_: Actor) -> Any:
        await trio.lowlevel.checkpoint()
        return await ref.ask(1)

    return await system.spawn(Doer).ask(ask)


async def ask_in_scope(system: Any, ref: ActorRef) -> Any:
    async def ask(_: Actor) -> Any:
        with trio.move_on_after(10):
            return await ref.ask(1)

    return await system.spawn(Doer).ask(ask)


async def ask_from_nursery(system: Any, ref: ActorRef) -> Any:
    replies: list[Any] = []

    async def child() -> None:
        replies.append(await ref.ask(1))

    async def ask(_: Actor) -> Any:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
        return replies[0]

    return await system.spawn(Doer).ask(ask)


async def ask_from_started(system: Any, ref: ActorRef) -> Any:
    class Starting(Actor):
        async def started(self) -> None:
            self.reply = await ref.ask(1)

        def receive(self, message: Any) -> Any:
            return self.reply

    return await (await system.start(Starting)).ask("what was it?")


async def ask_from_become(system: Any, ref: ActorRef) -> Any:
    class Becoming(Actor):
        def receive(self, message: Any) -> None:
            self.context.become(self.asking)

        async def asking(self, message: Any) -> Any:
            return await ref.ask(1)

    becoming = system.spawn(Becoming)
    await becoming.ask("become")
    return await becoming.ask("ask")


ASKERS = [
    ask_from_task,
    ask_from_handler,
    ask_after_waiting,
    ask_in_scope,
    ask_from_nursery,
    ask_from_started,
    ask_from_become,
]


@pytest.mark.parametrize("ask", ASKERS)
@pytest.mark.parametrize(("make", "kind"), ANSWERERS)
async def test_whoever_asks_gets_what_the_handler_returned(ask: Any, make: Any, kind: str) -> None:
    async with Checked("s") as system:
        with trio.fail_after(5):
            assert await ask(system, system.spawn(make)) == (kind, 1)


class PlainFailing(Actor):
    def receive(self, message: Any) -> Any:
        raise KeyError(message)


class AsyncFailing(Actor):
    async def receive(self, message: Any) -> Any:
        raise KeyError(message)


class WaitingFailing(Actor):
    async def receive(self, message: Any) -> Any:
        await trio.lowlevel.checkpoint()
        raise KeyError(message)


@pytest.mark.parametrize("ask", ASKERS[:5])
@pytest.mark.parametrize("make", [PlainFailing, AsyncFailing, WaitingFailing])
async def test_whoever_asks_a_handler_that_raises_gets_actor_failed_with_the_cause(
    ask: Any, make: Any, autojump_clock: Any
) -> None:
    caught: list[ActorFailed] = []

    def failures(error: BaseException) -> list[ActorFailed]:
        """Out of a nursery it comes in a group, and out of an actor as the cause of another one."""
        if isinstance(error, BaseExceptionGroup):
            return [each for one in error.exceptions for each in failures(one)]
        assert isinstance(error, ActorFailed)
        if isinstance(error.cause, (ActorFailed, BaseExceptionGroup)):
            return failures(error.cause)
        return [error]

    async with Checked("s", max_restarts=None) as system:
        ref = system.spawn(make, name="failing")
        try:
            await ask(system, ref)
        except ActorFailed as error:
            caught = failures(error)
        assert len(caught) == 1
        assert isinstance(caught[0].cause, KeyError)
        assert caught[0].cause.args == (1,)
        assert caught[0].__cause__ is caught[0].cause
        assert caught[0].ref is ref
        assert caught[0].message == 1
        assert "actor://s/failing failed handling 1: KeyError(1)" in str(caught[0])
        assert trio.current_time() == pytest.approx(0, abs=0.01)


async def test_an_ask_of_a_stopped_actor_raises_actor_stopped_at_once(autojump_clock: Any) -> None:
    async with Checked("s") as system:
        ref = system.spawn(Recorder, name="gone")
        ref.stop()
        await ref.stopped()
        with pytest.raises(ActorStopped, match="has stopped") as caught:
            await ref.ask(Question("why"))
        assert caught.value.ref is ref
        assert caught.value.message == Question("why")
        assert caught.value.reason == "it has stopped"
        assert "actor://s/gone" in str(caught.value)
        assert trio.current_time() == pytest.approx(0, abs=0.01)
        assert system.ledger.rejected == 1


async def test_an_ask_of_a_stopping_actor_raises_actor_stopped_at_once() -> None:
    async with Checked("s") as system:
        ref = system.spawn(Recorder)
        gate = trio.Event()
        ref.tell(gate)
        await wait_all_tasks_blocked()
        ref.stop()
        with pytest.raises(ActorStopped, match="is stopping"):
            await ref.ask("late")
        gate.set()


async def test_asks_that_were_queued_are_answered_by_an_actor_that_is_killed() -> None:
    outcomes: list[Any] = []

    async def ask(ref: ActorRef, what: Any) -> None:
        try:
            outcomes.append(await ref.ask(what, timeout=None))
        except ActorStopped as error:
            outcomes.append((error.message, error.reason))

    gate = trio.Event()

    async def leave_by_an_error(nursery: trio.Nursery) -> None:
        async with Checked("s") as system:
            ref = system.spawn(Recorder)
            nursery.start_soon(ask, ref, gate)
            await wait_all_tasks_blocked()
            nursery.start_soon(ask, ref, "queued")
            await wait_all_tasks_blocked()
            raise ZeroDivisionError

    async with trio.open_nursery() as nursery:
        with pytest.raises(ZeroDivisionError):
            await leave_by_an_error(nursery)
    assert sorted(outcomes, key=str) == sorted(
        [
            (gate, "its handler was cancelled"),
            ("queued", "the actor stopped before it came to it"),
        ],
        key=str,
    )


# -- the time of an ask


async def test_the_ask_timeout_says_where_the_message_was(autojump_clock: Any) -> None:
    async def timed_out(ref: ActorRef, what: Any) -> AskTimeout:
        before = trio.current_time()
        with pytest.raises(AskTimeout) as caught:
            await ref.ask(what, timeout=2)
        assert trio.current_time() - before == pytest.approx(2)
        assert caught.value.ref is ref
        assert caught.value.message is what
        assert caught.value.timeout == 2
        assert isinstance(caught.value, TimeoutError)
        assert f"no reply from {ref}" in str(caught.value)
        assert type(what).__name__ in str(caught.value)
        assert f"the message was {caught.value.where}" in str(caught.value)
        return caught.value

    async with Checked("s") as system:
        ref = system.spawn(SmallDoer, name="slow")
        gate = trio.Event()
        assert (await timed_out(ref, wait(gate))).where == "being handled"
        ref.tell("fills it")
        assert (await timed_out(ref, Question("a"))).where == "waiting for room"
        gate.set()
        await wait_all_tasks_blocked()

        gate = trio.Event()
        ref.tell(wait(gate))
        await wait_all_tasks_blocked()
        assert (await timed_out(ref, Question("b"))).where == "queued"
        gate.set()
        await wait_all_tasks_blocked()

        def defer(actor: Actor) -> None:
            actor.context.reply_later()

        assert (await timed_out(ref, defer)).where == "deferred"
        # handled: 2 waits, "fills it", defer. expired: b. rejected: a.
        assert system.ledger.handled == 4
        assert system.ledger.expired == 1
        assert system.ledger.rejected == 1


async def test_a_stashed_ask_times_out_as_queued(autojump_clock: Any) -> None:
    class Stashing(Actor):
        def receive(self, message: Any) -> None:
            self.context.stash()

    async with Checked("s") as system:
        with pytest.raises(AskTimeout) as caught:
            await system.spawn(Stashing).ask("stashed", timeout=1)
        assert caught.value.where == "queued"
    assert system.ledger.expired == 1


async def test_a_message_whose_time_is_up_is_dropped_before_it_starts(autojump_clock: Any) -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        ref = system.spawn(Recorder, log)
        gate = trio.Event()
        ref.tell(gate)
        with pytest.raises(AskTimeout):
            await ref.ask("too late", timeout=1)
        gate.set()
        assert await ref.ask("in time") == "in time"
    assert log == ["in time"]
    assert system.ledger.expired == 1


async def test_a_message_whose_asker_was_cancelled_is_dropped_before_it_starts() -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        ref = system.spawn(Recorder, log)
        gate = trio.Event()
        ref.tell(gate)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ref.ask, "nobody waits")
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        gate.set()
    assert log == []
    assert system.ledger.expired == 1


async def test_an_ask_in_a_cancelled_scope_asks_nothing() -> None:
    async with Checked("s") as system:
        for make in (Recorder, PlainRecorder):
            log: list[Any] = []
            ref = system.spawn(make, log)
            with trio.CancelScope() as scope:
                scope.cancel()
                await ref.ask("not asked")
            assert scope.cancelled_caught
            await wait_all_tasks_blocked()
            assert log == []


async def test_an_ask_without_a_timeout_waits_for_as_long_as_it_takes(autojump_clock: Any) -> None:
    async with Checked("s") as system:
        ref = system.spawn(Doer)

        async def slow(_: Actor) -> str:
            await trio.sleep(1e6)
            return "at last"

        assert await ref.ask(slow, timeout=None) == "at last"


async def test_an_ask_times_out_after_five_seconds_unless_told_otherwise(
    autojump_clock: Any,
) -> None:
    async with Checked("s") as system:
        with pytest.raises(AskTimeout) as caught:
            await system.spawn(Doer).ask(nap(6))
        assert caught.value.timeout == 5
        assert trio.current_time() == pytest.approx(5)


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        (-1, ValueError),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        ("1", TypeError),
        (True, TypeError),
    ],
)
@pytest.mark.parametrize("asker", [ask_from_task, ask_from_handler])
async def test_a_timeout_that_is_none_is_refused(timeout: Any, error: Any, asker: Any) -> None:
    async with Checked("s", max_restarts=None) as system:
        ref = system.spawn(Doer)

        async def ask(_: Any = None) -> None:
            with pytest.raises(error, match="timeout is a"):
                await ref.ask(1, timeout=timeout)

        if asker is ask_from_task:
            await ask()
        else:
            await system.spawn(Doer).ask(ask)
        assert await ref.ask("nothing arrived") == "nothing arrived"


async def test_a_timeout_of_zero_expires_unless_the_reply_is_there_at_once(
    autojump_clock: Any,
) -> None:
    async with Checked("s") as system:
        assert await system.spawn(PlainDoer).ask("now", timeout=0) == "now"
        with pytest.raises(AskTimeout):
            await system.spawn(Doer).ask(nap(1), timeout=0)


async def test_a_thousand_different_timeouts_expire_each_at_its_own_time(
    autojump_clock: Any,
) -> None:
    env = Env(5)
    timeouts = [round(1 + n / 7, 6) for n in range(1_000)]
    env.random("order").shuffle(timeouts)
    ends: list[tuple[float, float]] = []

    async def ask(ref: ActorRef, timeout: float) -> None:
        began = trio.current_time()
        with pytest.raises(AskTimeout):
            await ref.ask("never", timeout=timeout)
        ends.append((timeout, trio.current_time() - began))

    async with Checked("s", env=env) as system:
        ref = system.spawn(Doer)
        gate = trio.Event()
        ref.tell(wait(gate))
        async with trio.open_nursery() as nursery:
            for timeout in timeouts:
                nursery.start_soon(ask, ref, timeout)
        gate.set()
    assert [timeout for timeout, _ in ends] == sorted(timeouts)
    assert all(took == pytest.approx(timeout) for timeout, took in ends)
    assert system.ledger.expired == 1_000


async def test_a_shorter_ask_made_later_expires_first(autojump_clock: Any) -> None:
    order: list[float] = []

    async def ask(ref: ActorRef, timeout: float) -> None:
        with pytest.raises(AskTimeout):
            await ref.ask("never", timeout=timeout)
        order.append(timeout)

    async with Checked("s") as system:
        ref = system.spawn(Doer)
        gate = trio.Event()
        ref.tell(wait(gate))
        async with trio.open_nursery() as nursery:
            for timeout in (9, 3, 6, 1):
                nursery.start_soon(ask, ref, timeout)
                await wait_all_tasks_blocked()
        gate.set()
    assert order == [1, 3, 6, 9]


async def test_a_running_handler_is_let_be_when_its_asker_goes(autojump_clock: Any) -> None:
    done: list[str] = []

    async def slow(_: Actor) -> None:
        await trio.sleep(10)
        done.append("done")

    async with Checked("s") as system:
        ref = system.spawn(Doer)
        with pytest.raises(AskTimeout):
            await ref.ask(slow, timeout=1)
        await trio.sleep(20)
    assert done == ["done"]
    assert system.ledger.handled == 1


async def test_waiting_for_room_is_part_of_the_asks_time(autojump_clock: Any) -> None:
    async with Checked("s") as system:
        ref = system.spawn(SmallDoer)
        ref.tell(nap(3))
        await wait_all_tasks_blocked()
        ref.tell("fills it")
        began = trio.current_time()
        with pytest.raises(AskTimeout) as caught:
            await ref.ask(nap(3), timeout=5)
        assert caught.value.where == "being handled"
        assert trio.current_time() - began == pytest.approx(5)


async def test_replies_of_many_asks_at_once_reach_each_its_own_asker() -> None:
    async with Checked("s") as system:
        targets = [system.spawn(make) for make, _ in ANSWERERS]
        kinds = [kind for _, kind in ANSWERERS]
        replies: dict[int, Any] = {}

        async def ask(number: int) -> None:
            replies[number] = await targets[number % 3].ask(number)

        async with trio.open_nursery() as nursery:
            for number in range(3_000):
                nursery.start_soon(ask, number)
        assert replies == {n: (kinds[n % 3], n) for n in range(3_000)}


# -- order over all ways to send


@pytest.mark.parametrize("capacity", [1, 3, 100])
@pytest.mark.parametrize("sender", ["task", "actor", "waiting actor"])
async def test_one_senders_tells_sends_and_asks_arrive_in_the_order_sent(
    capacity: int, sender: str
) -> None:
    log: list[int] = []

    class Limited(Recorder):
        mailbox = Mailbox(capacity=capacity)

    random = Env(11).random("ways", capacity, sender)

    async def send_all(ref: ActorRef) -> None:
        for number in range(400):
            way = random.choice(["tell", "send", "send", "ask", "checkpoint"])
            if way == "ask":
                assert await ref.ask(number) == number
                continue
            if way == "checkpoint":
                await trio.lowlevel.checkpoint()
            if way == "tell":
                try:
                    ref.tell(number)
                except MailboxFull:
                    await ref.send(number)
            else:
                await ref.send(number)

    async with Checked("s") as system:
        ref = system.spawn(Limited, log)
        if sender == "task":
            await send_all(ref)
        elif sender == "actor":
            await system.spawn(Doer).ask(lambda _: send_all(ref))
        else:

            async def in_scope(_: Actor) -> None:
                with trio.CancelScope():
                    await send_all(ref)

            await system.spawn(Doer).ask(in_scope)
    assert log == list(range(400))


async def test_each_of_many_senders_keeps_its_own_order() -> None:
    log: list[tuple[int, int]] = []

    class Limited(Recorder):
        mailbox = Mailbox(capacity=7)

    async def send(ref: ActorRef, sender: int) -> None:
        for number in range(100):
            await ref.send((sender, number))

    async with Checked("s") as system:
        ref = system.spawn(Limited, log)
        async with trio.open_nursery() as nursery:
            for sender in range(10):
                nursery.start_soon(send, ref, sender)
            for sender in range(10, 20):
                doer = system.spawn(Doer)
                nursery.start_soon(doer.ask, lambda _, n=sender: send(ref, n), 60.0)
    for sender in range(20):
        assert [n for s, n in log if s == sender] == list(range(100))
    # They did take turns, so the order was at stake.
    assert len(list(itertools.groupby(log, key=lambda entry: entry[0]))) > 40


# -- refs


async def test_a_ref_outlives_the_incarnation_it_was_made_for() -> None:
    async with Checked("s") as system:
        ref = system.spawn(Doer, name="phoenix")
        with pytest.raises(ActorFailed):
            await ref.ask(fail)
        assert await ref.ask(lambda actor: actor.context.incarnation) == 2
        assert await ref.ask(lambda actor: actor.context.ref) is ref
        assert system.at("actor://s/phoenix") is ref


async def test_refs_are_equal_by_identity_and_can_be_dict_keys() -> None:
    async with Checked("s") as system:
        one, other = system.spawn(Doer), system.spawn(Doer)
        assert one != other
        assert {one: 1, other: 2}[one] == 1
        assert str(one) == str(one.address)


async def test_what_never_waits_can_be_called_where_nothing_can_wait() -> None:
    """tell, stop, spawn, watch, timers: from a plain handler, and from a plain function."""

    class Plain(Actor):
        def receive(self, message: Any) -> Any:
            child = self.context.spawn(Recorder)
            self.context.watch(child)
            self.context.unwatch(child)
            self.context.after(1, "later").cancel()
            self.context.every(1, "again").cancel()
            child.tell("hello")
            child.stop()
            return child

    async with Checked("s") as system:
        child = await system.spawn(Plain).ask("go")
        await child.stopped()
    assert system.ledger.handled == 2


async def test_stopped_can_be_waited_for_by_many_and_after_the_end() -> None:
    async with Checked("s") as system:
        ref = system.spawn(Doer)
        waited: list[int] = []

        async def until_stopped(number: int) -> None:
            await ref.stopped()
            waited.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(until_stopped, number)
            await wait_all_tasks_blocked()
            assert waited == []
            ref.stop()
        assert sorted(waited) == list(range(5))
        await ref.stopped()
    await ref.stopped()
    ref.stop()


async def test_a_wait_for_the_end_can_be_cancelled() -> None:
    async with Checked("s") as system:
        ref = system.spawn(Doer)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ref.stopped)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert await ref.ask("still alive") == "still alive"
