"""Asks that would wait on themselves fail at once; chains that end somewhere do not."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorSystem,
    AskCycle,
    AskTimeout,
    Mailbox,
    MailboxFull,
    Reply,
)
from tests.actors.kit import Checked, Doer

Ask = Callable[[ActorRef, Any], Awaitable[Any]]


async def directly(ref: ActorRef, what: Any) -> Any:
    return await ref.ask(what, timeout=None)


async def after_waiting(ref: ActorRef, what: Any) -> Any:
    await trio.lowlevel.checkpoint()
    return await ref.ask(what, timeout=None)


async def in_a_scope(ref: ActorRef, what: Any) -> Any:
    with trio.CancelScope():
        return await ref.ask(what, timeout=None)


async def in_a_nursery_child(ref: ActorRef, what: Any) -> Any:
    replies: list[Any] = []

    async def child() -> None:
        try:
            replies.append(await ref.ask(what, timeout=None))
        except Exception as error:
            replies.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
    if isinstance(replies[0], Exception):
        raise replies[0]
    return replies[0]


async def in_a_deep_nursery_child(ref: ActorRef, what: Any) -> Any:
    replies: list[Any] = []

    async def run(depth: int) -> None:
        if depth:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run, depth - 1)
            return
        try:
            replies.append(await ref.ask(what, timeout=None))
        except Exception as error:
            replies.append(error)

    await run(3)
    if isinstance(replies[0], Exception):
        raise replies[0]
    return replies[0]


WAYS: list[Ask] = [
    directly,
    after_waiting,
    in_a_scope,
    in_a_nursery_child,
    in_a_deep_nursery_child,
]


async def cycle_of(asking: Awaitable[Any]) -> AskCycle:
    """The AskCycle that ends it, however many ActorFailed it comes wrapped in; and at once."""
    before = trio.current_time()
    error: BaseException | None = None
    with trio.fail_after(1):
        try:
            await asking
        except (ActorFailed, AskCycle) as caught:
            error = caught
    while isinstance(error, ActorFailed):
        error = error.cause
    assert isinstance(error, AskCycle), error
    assert trio.current_time() == pytest.approx(before, abs=0.01)
    return error


def round_trip(way: Ask, refs: list[ActorRef]) -> Callable[[Actor], Any]:
    """Sent to a Doer: asks the first ref to ask the second one, and so on."""
    if not refs:
        return lambda _: "the end"
    return lambda _: way(refs[0], round_trip(way, refs[1:]))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("length", [1, 2, 3, 10])
async def test_a_circle_of_asks_fails_at_once_and_names_its_chain(
    way: Ask, length: int, autojump_clock: Any
) -> None:
    async with Checked("s", max_restarts=None) as system:
        refs = [system.spawn(Doer, name=f"a{n}") for n in range(length)]
        error = await cycle_of(refs[0].ask(round_trip(way, [*refs[1:], refs[0]])))
        # Closed by the last one, so it is told from there: last -> first -> ... -> last.
        assert error.chain == (refs[-1], *refs)
        words = " -> ".join(str(ref) for ref in error.chain)
        assert words in str(error)
        assert "use tell and a reply message, or reply_later()" in str(error)
        # Nobody is stuck afterwards.
        for ref in refs:
            assert await ref.ask("alive") == "alive"


async def test_a_circle_fails_only_the_ask_that_closes_it(autojump_clock: Any) -> None:
    async with Checked("s", max_restarts=0) as system:
        a, b = system.spawn(Doer), system.spawn(Doer)

        async def closing(_: Actor) -> str:
            with pytest.raises(AskCycle):
                await a.ask("never")
            return "caught"

        assert await a.ask(lambda _: b.ask(closing)) == "caught"


async def test_a_plain_handler_in_the_middle_cannot_hide_a_circle(autojump_clock: Any) -> None:
    """A plain handler defers its reply and hands it over: the circle does not go through it."""

    class Deferring(Actor):
        def __init__(self, helper: ActorRef) -> None:
            self.helper = helper

        def receive(self, message: Any) -> None:
            self.helper.tell((self.context.reply_later(), message))

    class Helper(Actor):
        async def receive(self, message: tuple[Reply, ActorRef]) -> None:
            reply, ref = message
            with pytest.raises(AskTimeout):
                await ref.ask("you wait for me", timeout=2)
            reply.reply("broken by the timeout")

    async with Checked("s", max_restarts=0) as system:
        a = system.spawn(Doer)
        deferring = system.spawn(Deferring, system.spawn(Helper))
        # The runtime cannot know who will give the reply, so the timeout ends this one.
        assert await a.ask(lambda _: deferring.ask(a, timeout=10), timeout=20) == (
            "broken by the timeout"
        )


async def test_asks_that_cross_fail_in_the_second_asker(autojump_clock: Any) -> None:
    """A asks B while B, busy with something else, asks A."""
    async with Checked("s", max_restarts=None) as system:
        a, b = system.spawn(Doer, name="a"), system.spawn(Doer, name="b")
        gate = trio.Event()

        async def later_ask(_: Actor) -> str:
            await gate.wait()
            with pytest.raises(AskCycle) as caught:
                await a.ask("you wait for me")
            assert caught.value.chain == (b, a, b)
            return "went on"

        outcome: list[Any] = []

        async def run(ref: ActorRef, what: Any) -> None:
            outcome.append(await ref.ask(what, timeout=None))

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run, b, later_ask)
                await wait_all_tasks_blocked()
                nursery.start_soon(run, a, lambda _: b.ask("when you are free"))
                await wait_all_tasks_blocked()
                gate.set()
        assert sorted(outcome) == ["went on", "when you are free"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_child_that_asks_its_parent_while_that_starts_it_is_a_circle(
    way: Ask, autojump_clock: Any
) -> None:
    class Child(Actor):
        async def started(self) -> None:
            parent = self.context.parent
            assert parent is not None
            await way(parent, "may I?")

    async with Checked("s", max_restarts=None) as system:
        parent = system.spawn(Doer, name="parent")
        error = await cycle_of(parent.ask(lambda actor: actor.context.start(Child, name="child")))
        assert [str(ref) for ref in error.chain] == [
            "actor://s/parent/child",
            "actor://s/parent",
            "actor://s/parent/child",
        ]
        assert await parent.ask("alive") == "alive"


class Small(Doer):
    mailbox = Mailbox(capacity=1)


@pytest.mark.parametrize("way", [None, "scope", "nursery"])
async def test_a_send_to_ones_own_full_mailbox_raises_with_the_chain(
    way: str | None, autojump_clock: Any
) -> None:
    async def overflow(ref: ActorRef) -> None:
        if way == "scope":
            with trio.CancelScope():
                await ref.send("none for this")
        elif way == "nursery":
            raise await failure_in_child(ref.send, "none for this")
        else:
            await ref.send("none for this")

    async def send_twice(actor: Actor) -> tuple[ActorRef, ...]:
        ref = actor.context.ref
        await ref.send("there is room for this")
        with pytest.raises(MailboxFull) as caught:
            await overflow(ref)
        assert "waiting for room would never end" in str(caught.value)
        assert caught.value.message == "none for this"
        return caught.value.chain

    async def failure_in_child(function: Any, *args: Any) -> BaseException:
        errors: list[BaseException] = []

        async def child() -> None:
            try:
                await function(*args)
            except MailboxFull as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
        return errors[0]

    async with Checked("s", max_restarts=0) as system:
        ref = system.spawn(Small)
        assert await ref.ask(send_twice) == (ref, ref)
        assert system.ledger.rejected == 0


async def test_a_send_to_the_full_mailbox_of_who_waits_for_one_raises_with_the_chain(
    autojump_clock: Any,
) -> None:
    async with Checked("s", max_restarts=0) as system:
        a, b = system.spawn(Small, name="a"), system.spawn(Small, name="b")

        async def send_back(_: Actor) -> tuple[ActorRef, ...]:
            a.tell("fills it")
            with pytest.raises(MailboxFull) as caught:
                await a.send("no room, and it waits for me")
            return caught.value.chain

        assert await a.ask(lambda _: b.ask(send_back)) == (b, a, b)


async def test_two_actors_that_send_to_each_others_full_mailbox_do_not_hang(
    autojump_clock: Any,
) -> None:
    outcomes: list[str] = []
    gate = trio.Event()

    def flood(to: Callable[[], ActorRef]) -> Callable[[Actor], Any]:
        async def sending(_: Actor) -> None:
            await gate.wait()
            for number in range(5):
                try:
                    await to().send(number)
                except MailboxFull as error:
                    outcomes.append("refused" if error.chain else "full")
                    return
            outcomes.append("sent")

        return sending

    async with Checked("s", max_restarts=0) as system:
        a, b = system.spawn(Small), system.spawn(Small)
        a.tell(flood(lambda: b))
        b.tell(flood(lambda: a))
        await wait_all_tasks_blocked()
        gate.set()
        with trio.fail_after(5):
            while len(outcomes) < 2:
                await trio.sleep(0.01)
    assert sorted(outcomes) == ["refused", "sent"]


@pytest.mark.parametrize("way", [None, "nursery"])
async def test_waiting_for_ones_own_end_is_a_circle(way: Any, autojump_clock: Any) -> None:
    async with Checked("s", max_restarts=0) as system:
        a, b = system.spawn(Doer), system.spawn(Doer)

        async def for_oneself(actor: Actor) -> tuple[ActorRef, ...]:
            with pytest.raises(AskCycle) as caught:
                await actor.context.ref.stopped()
            return caught.value.chain

        async def for_the_asker(_: Actor) -> tuple[ActorRef, ...]:
            with pytest.raises(AskCycle) as caught:
                await a.stopped()
            return caught.value.chain

        assert await a.ask(for_oneself) == (a, a)
        assert await a.ask(lambda _: b.ask(for_the_asker)) == (b, a, b)


async def test_a_forward_back_to_who_asks_is_a_circle(autojump_clock: Any) -> None:
    class Forwarder(Actor):
        def receive(self, message: Any) -> None:
            self.context.forward(message[0])

    async with Checked("s", max_restarts=None) as system:
        a = system.spawn(Doer, name="a")
        forwarder = system.spawn(Forwarder, name="f")
        error = await cycle_of(a.ask(lambda _: forwarder.ask((a,))))
        assert a in error.chain
        assert await a.ask("alive") == "alive"
        assert await forwarder.ask((a,)) == (a,)


# -- chains that are no circles


@pytest.mark.parametrize("way", WAYS)
async def test_a_long_chain_is_no_circle(way: Ask) -> None:
    async with Checked("s", max_restarts=0) as system:
        refs = [system.spawn(Doer) for _ in range(30)]
        assert await refs[0].ask(round_trip(way, refs[1:])) == "the end"


@pytest.mark.parametrize("way", WAYS)
async def test_two_ways_to_the_same_actor_are_no_circle(way: Ask) -> None:
    """A diamond: A asks B and C, one after the other and at once; both ask D."""
    async with Checked("s", max_restarts=0) as system:
        a, b, c, d = (system.spawn(Doer) for _ in range(4))
        to_d = round_trip(way, [d])

        async def both(_: Actor) -> list[Any]:
            replies = [await way(b, to_d), await way(c, to_d)]

            async def ask(ref: ActorRef) -> None:
                replies.append(await ref.ask(to_d))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, b)
                nursery.start_soon(ask, c)
            return replies

        assert await a.ask(both) == ["the end"] * 4


async def test_asking_back_after_the_reply_is_no_circle() -> None:
    async with Checked("s", max_restarts=0) as system:
        a, b = system.spawn(Doer), system.spawn(Doer)
        for _ in range(3):
            assert await a.ask(lambda _: b.ask("b")) == "b"
            assert await b.ask(lambda _: a.ask("a")) == "a"


@pytest.mark.parametrize("way", WAYS)
async def test_asking_who_asked_and_gave_up_is_no_circle(way: Ask, autojump_clock: Any) -> None:
    async with Checked("s", max_restarts=0) as system:
        a, b = system.spawn(Doer), system.spawn(Doer)
        reply: list[Any] = []

        async def ask_back_later(_: Actor) -> None:
            await trio.sleep(2)
            reply.append(await way(a, "free again"))

        async def gives_up(_: Actor) -> str:
            with pytest.raises(AskTimeout):
                await b.ask(ask_back_later, timeout=1)
            return "gave up"

        assert await a.ask(gives_up) == "gave up"
        await trio.sleep(5)
        assert reply == ["free again"]


async def test_a_tell_in_a_circle_is_no_circle() -> None:
    async with Checked("s", max_restarts=0) as system:
        a, b = system.spawn(Doer), system.spawn(Doer)
        told = trio.Event()
        await a.ask(lambda _: b.ask(lambda _: a.tell(lambda _: told.set())))
        with trio.fail_after(1):
            await told.wait()


async def test_a_task_outside_may_ask_from_both_ends_of_a_chain() -> None:
    """A trio task is waited for by no actor, so it closes no circle."""
    async with Checked("s", max_restarts=0) as system:
        a, b = system.spawn(Doer), system.spawn(Doer)
        gate = trio.Event()
        replies: list[Any] = []

        async def ask(ref: ActorRef, what: Any) -> None:
            replies.append(await ref.ask(what))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, a, lambda _: b.ask(lambda _: gate.wait()))
            await wait_all_tasks_blocked()
            nursery.start_soon(ask, b, "b")
            nursery.start_soon(ask, a, "a")
            await wait_all_tasks_blocked()
            gate.set()
        assert sorted(map(str, replies)) == ["None", "a", "b"]


async def test_a_task_that_an_actor_started_elsewhere_is_not_that_actor() -> None:
    """In a nursery of the program, not of the handler: the handler does not wait for it."""
    async with Checked("s", max_restarts=0) as system, trio.open_nursery() as nursery:
        a = system.spawn(Doer)
        replies: list[Any] = []

        async def ask_later() -> None:
            replies.append(await a.ask("no circle"))

        await a.ask(lambda _: nursery.start_soon(ask_later))
        await wait_all_tasks_blocked()
        assert replies == ["no circle"]


async def test_a_reply_that_is_deferred_lets_the_circle_through(autojump_clock: Any) -> None:
    """What AskCycle's text advises."""

    class Deferring(Actor):
        async def receive(self, message: Any) -> Any:
            if isinstance(message, ActorRef):
                reply = self.context.reply_later()
                self.context.ref.tell((reply, message))
                return None
            reply, asker = message
            # The asker is free again only when it has its reply.
            reply.reply("first")
            return await asker.ask("second")

    async with Checked("s", max_restarts=0) as system:
        a = system.spawn(Doer)
        deferring = system.spawn(Deferring)
        assert await a.ask(lambda actor: deferring.ask(actor.context.ref)) == "first"


async def test_a_random_web_of_asks_never_hangs(autojump_clock: Any) -> None:
    """Each of 12 actors asks others at random, three levels deep: all end, in one way or another.

    Without a timeout: if a circle went unseen, this would not end.
    """
    ends = {"reply": 0, "cycle": 0}
    async with ActorSystem("s", max_restarts=0) as system:
        refs = [system.spawn(Doer) for _ in range(12)]

        def asking(key: tuple[int, ...], depth: int) -> Callable[[Actor], Any]:
            random = system.env.random("web", *key)

            async def ask(_: Actor) -> None:
                if random.random() < 0.5:
                    await trio.sleep(random.choice([0, 0.1, 1]))
                if not depth:
                    return
                for number in range(2):
                    ref = random.choice(refs)
                    way = random.choice(WAYS)
                    try:
                        result = await way(ref, asking((*key, number), depth - 1))
                        assert not inspect.isawaitable(result)
                        ends["reply"] += 1
                    except AskCycle:
                        ends["cycle"] += 1

            return ask

        with trio.fail_after(10_000):
            async with trio.open_nursery() as nursery:
                for number in range(60):
                    nursery.start_soon(refs[number % 12].ask, asking((number,), 3), None)
        assert system.ledger.missing == 0
    assert ends["reply"] > 50
    assert ends["cycle"] > 50
