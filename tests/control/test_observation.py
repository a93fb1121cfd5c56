"""What is seen of actors from outside, and that nobody pays for it while nobody looks."""

from collections.abc import Iterable

import pytest
import trio
from trio.testing import MockClock

from actors import Actor, ActorSystem, Mailbox
from actors.observation import IDLE_AFTER, INTERVAL, Observation, Observed


class Slow(Actor):
    """Takes a second for each message."""

    mailbox = Mailbox(capacity=100)

    async def receive(self, message: object) -> None:
        await trio.sleep(1.0)


class Plain(Actor):
    def receive(self, message: object) -> None:
        if message == "fail":
            raise ValueError(message)


class Stashing(Actor):
    def receive(self, message: object) -> None:
        self.context.stash()


def by_name(observed: Iterable[Observed]) -> dict[str, Observed]:
    return {each.address.rpartition("/")[2]: each for each in observed}


async def test_the_age_of_the_oldest_message_is_how_long_it_has_waited(
    autojump_clock: MockClock,
) -> None:
    async with ActorSystem("demo") as system, trio.open_nursery() as nursery:
        observation = Observation(system)
        nursery.start_soon(observation.run)
        slow = system.spawn(Slow, name="slow")
        await observation.look()
        for wait in (0.0, 0.35, 0.4, 1.1, 1.7, 0.05):
            await trio.sleep(wait)
            slow.tell(trio.current_time())
        for _ in range(30):
            await trio.sleep(0.217)
            seen = by_name(await observation.look())["slow"]
            waiting = [*(slow._front or ())[::-1], *(slow._queue or ())]  # type: ignore[attr-defined]
            assert seen.depth == len(waiting)
            if waiting:
                assert seen.age is not None
                assert not seen.at_least
                assert trio.current_time() - waiting[0] == pytest.approx(seen.age, abs=INTERVAL)
            else:
                assert seen.age is None
        nursery.cancel_scope.cancel()


async def test_a_message_that_was_there_before_anybody_looked_is_at_least_so_old(
    autojump_clock: MockClock,
) -> None:
    async with ActorSystem("demo") as system, trio.open_nursery() as nursery:
        observation = Observation(system)
        nursery.start_soon(observation.run)
        slow = system.spawn(Slow, name="slow")
        for _ in range(4):
            slow.tell("x")
        seen = by_name(await observation.look(2.0))["slow"]
        assert seen.at_least
        assert seen.age == pytest.approx(2.0, abs=INTERVAL)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("cls", [Plain, Slow])
async def test_the_rate_and_the_count_are_those_of_the_messages_handled(
    cls: type[Actor], autojump_clock: MockClock
) -> None:
    async with ActorSystem("demo", stop_within=1.0) as system, trio.open_nursery() as nursery:
        observation = Observation(system)
        nursery.start_soon(observation.run)
        actor = system.spawn(cls, name="a")
        idle = system.spawn(Plain, name="idle")
        await observation.look()
        for _ in range(10):
            for _ in range(10 if cls is Plain else 1):
                actor.tell("x")
            await trio.sleep(1.0)
        seen = by_name(await observation.look())
        each = 10 if cls is Plain else 1
        assert seen["a"].handled == pytest.approx(10 * each, abs=1)
        assert seen["a"].rate == pytest.approx(each, rel=0.3)
        assert (seen["idle"].rate, seen["idle"].handled) == (0.0, 0)
        assert idle.address.path == "idle"
        nursery.cancel_scope.cancel()


async def test_asks_on_the_spot_and_between_actors_are_counted(autojump_clock: MockClock) -> None:
    class Asker(Actor):
        async def receive(self, message: object) -> None:
            await plain.ask("x")

    async with ActorSystem("demo") as system, trio.open_nursery() as nursery:
        observation = Observation(system)
        nursery.start_soon(observation.run)
        plain = system.spawn(Plain, name="plain")
        asker = system.spawn(Asker, name="asker")
        await observation.look()
        for _ in range(3):
            await plain.ask("x")
            await asker.ask("y")
        seen = by_name(await observation.look())
        assert seen["plain"].handled == 6
        assert seen["asker"].handled == 3
        nursery.cancel_scope.cancel()


async def test_states_restarts_stashed_messages_and_waiting_senders_are_shown(
    autojump_clock: MockClock,
) -> None:
    class Small(Slow):
        mailbox = Mailbox(capacity=2)

    async with ActorSystem("demo", stop_within=0.5) as system, trio.open_nursery() as nursery:
        observation = Observation(system)
        nursery.start_soon(observation.run)
        plain = system.spawn(Plain, name="plain")
        stashing = system.spawn(Stashing, name="stashing")
        small = system.spawn(Small, name="small")
        plain.tell("fail")
        for _ in range(3):
            stashing.tell("x")
        for _ in range(5):
            nursery.start_soon(small.send, "x")
        await trio.sleep(0.5)
        seen = by_name(await observation.look())
        assert seen["plain"].incarnation == 2
        assert seen["plain"].state == "running"
        assert (seen["stashing"].depth, seen["stashing"].capacity) == (3, 10_000)
        assert (seen["small"].depth, seen["small"].capacity) == (2, 2)
        assert (seen["small"].waiting, seen["small"].handling) == (2, True)
        nursery.cancel_scope.cancel()


async def test_nothing_is_counted_once_nobody_has_looked_for_a_while(
    autojump_clock: MockClock,
) -> None:
    async with ActorSystem("demo") as system, trio.open_nursery() as nursery:
        observation = Observation(system)
        nursery.start_soon(observation.run)
        plain = system.spawn(Plain, name="plain")
        dispatcher = system._dispatcher
        assert dispatcher.taken_of is None
        await observation.look()
        plain.tell("x")
        await trio.sleep(IDLE_AFTER / 2)
        assert dispatcher.taken_of == {plain: 1}
        await trio.sleep(IDLE_AFTER)
        assert dispatcher.taken_of is None
        assert observation._histories == {}
        # And it can be looked at again.
        assert by_name(await observation.look(1.0))["plain"].rate == 0.0
        nursery.cancel_scope.cancel()


async def test_actors_that_have_stopped_are_let_go(autojump_clock: MockClock) -> None:
    async with ActorSystem("demo") as system, trio.open_nursery() as nursery:
        observation = Observation(system)
        nursery.start_soon(observation.run)
        await observation.look()
        for _ in range(3):
            actor = system.spawn(Plain)
            actor.tell("x")
            await trio.sleep(2 * INTERVAL)
            actor.stop()
        await trio.sleep(2 * INTERVAL)
        assert observation._histories == {}
        assert system._dispatcher.taken_of == {}
        nursery.cancel_scope.cancel()


async def test_parents_come_before_their_children_and_in_order(autojump_clock: MockClock) -> None:
    class Parent(Actor):
        async def started(self) -> None:
            self.context.spawn(Plain, name="one")
            self.context.spawn(Plain, name="two")

        def receive(self, message: object) -> None: ...

    async with ActorSystem("demo") as system, trio.open_nursery() as nursery:
        observation = Observation(system)
        nursery.start_soon(observation.run)
        await system.start(Parent, name="p")
        await system.start(Parent, name="q")
        words = [each.address.partition("demo/")[2] for each in await observation.look()]
        assert words == ["p", "p/one", "p/two", "q", "q/one", "q/two"]
        nursery.cancel_scope.cancel()
