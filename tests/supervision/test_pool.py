"""A pool: identical workers behind one ref."""

from __future__ import annotations

import collections
import functools
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from actors import ActorFailed, Failure, Mailbox, Restart, Stop
from actors.hashing import stable_hash
from supervision import (
    Broadcast,
    ConsistentHash,
    LeastLoaded,
    OneForAll,
    OneForOne,
    Pool,
    Resize,
    RoundRobin,
    WhichChildren,
)
from supervision.routing import jump_hash
from tests.actors.kit import Checked, Doer, fail, nap, wait


class Worker(Doer):
    """Writes (its name, the message) into a list; does as it is told by a function."""

    def __init__(self, log: list[Any]) -> None:
        self.log = log

    async def receive(self, message: Any) -> Any:
        if callable(message):
            return await super().receive(message)
        self.log.append((self.context.ref.name, message))
        return self.context.ref.name


class Small(Worker):
    mailbox = Mailbox(capacity=2)


def pool_of(worker: Any = Worker, **options: Any) -> Any:
    return functools.partial(Pool, worker, **options)


async def test_round_robin_takes_each_worker_in_turn() -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        pool = await system.start(functools.partial(Pool, size=3), Worker, log)
        for number in range(7):
            pool.tell(number)
        await wait_all_tasks_blocked()
        assert sorted(log, key=lambda each: each[1]) == [(str(n % 3), n) for n in range(7)]


async def test_an_ask_is_answered_by_a_worker() -> None:
    async with Checked("s") as system:
        pool = await system.start(functools.partial(Pool, size=2), Worker, [])
        assert [await pool.ask("who?") for _ in range(3)] == ["0", "1", "0"]


async def test_least_loaded_avoids_who_is_busy() -> None:
    gate = trio.Event()
    log: list[Any] = []
    async with Checked("s") as system:
        pool = await system.start(
            functools.partial(Pool, size=3, routing=LeastLoaded()), Worker, log
        )
        pool.tell(wait(gate))
        await wait_all_tasks_blocked()
        for number in range(4):
            assert await pool.ask(number) == "1"
        pool.tell(wait(gate))
        await wait_all_tasks_blocked()
        assert await pool.ask("x") == "2"
        gate.set()


async def test_a_key_goes_to_the_same_worker_in_order() -> None:
    log: list[Any] = []
    routing = ConsistentHash(key=lambda message: message[0])
    async with Checked("s") as system:
        pool = await system.start(functools.partial(Pool, size=4, routing=routing), Worker, log)
        for number in range(400):
            pool.tell((f"key {number % 20}", number))
        await wait_all_tasks_blocked()
        by_key = collections.defaultdict(list)
        for name, (key, number) in log:
            by_key[key].append((name, number))
        assert len(by_key) == 20
        for messages in by_key.values():
            assert len({name for name, _ in messages}) == 1
            assert [number for _, number in messages] == sorted(n for _, n in messages)
        assert len({name for name, _ in log}) == 4


async def test_a_broadcast_reaches_all_and_cannot_be_asked() -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        pool = await system.start(functools.partial(Pool, size=3, routing=Broadcast()), Worker, log)
        pool.tell("all")
        await wait_all_tasks_blocked()
        assert log == [("0", "all"), ("1", "all"), ("2", "all")]
        with pytest.raises(ActorFailed, match="no one reply"):
            await pool.ask("who?")
        assert await pool.ask(Resize(2)) == 3


async def test_a_message_without_a_key_is_refused_and_the_pool_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    routing = ConsistentHash(key=lambda message: message)
    async with Checked("s") as system:
        pool = await system.start(functools.partial(Pool, size=2, routing=routing), Worker, [])
        with pytest.raises(ActorFailed, match="a key is a str"):
            await pool.ask(1.5)
        pool.tell(2.5)
        assert await pool.ask("a key") in ("0", "1")
        assert system.ledger.restarts == 0
    assert "not 2.5" in caplog.text


# -- pressure


async def test_full_workers_make_the_pool_wait_and_nothing_is_lost(autojump_clock: Any) -> None:
    log: list[Any] = []
    gate = trio.Event()
    async with Checked("s") as system:
        pool = await system.start(functools.partial(Pool, size=2), Small, log)
        for _ in range(2):
            pool.tell(wait(gate))
        await wait_all_tasks_blocked()
        for number in range(50):
            pool.tell(number)
        await wait_all_tasks_blocked()
        assert log == []
        assert system.ledger.queued > 40
        gate.set()
        await trio.sleep(1)
        assert sorted(number for _, number in log) == list(range(50))
        for name in "01":
            mine = [number for worker, number in log if worker == name]
            assert mine == sorted(mine)


async def test_a_worker_that_fails_while_the_pool_waits_for_its_room_is_restarted() -> None:
    log: list[Any] = []
    gate = trio.Event()

    async def fails_later(_: Any) -> None:
        await gate.wait()
        raise ValueError("later")

    async with Checked("s") as system:
        pool = await system.start(functools.partial(Pool, size=1), Small, log)
        pool.tell(fails_later)
        await wait_all_tasks_blocked()
        for number in range(10):
            pool.tell(number)
        await wait_all_tasks_blocked()
        gate.set()
        await wait_all_tasks_blocked()
        assert [number for _, number in log] == list(range(10))
        assert system.ledger.restarts == 1


async def test_a_worker_that_asks_its_own_full_pool_does_not_hang_it(autojump_clock: Any) -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        pool = await system.start(functools.partial(Pool, size=1), Small, log)
        gate = trio.Event()

        async def asks_back(_: Any) -> Any:
            await gate.wait()
            try:
                return await pool.ask("back", timeout=5)
            except Exception as error:
                return type(error).__name__

        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                log.append(await pool.ask(asks_back, timeout=100))

            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            for number in range(2):
                pool.tell(number)
            await wait_all_tasks_blocked()
            gate.set()
        await trio.sleep(1)
        assert log == [("0", 0), ("0", 1), "ActorFailed"]
        assert trio.current_time() < 2


async def test_a_worker_that_asks_its_own_pool_is_answered_by_another_one() -> None:
    async with Checked("s") as system:
        pool = await system.start(functools.partial(Pool, size=2), Worker, [])
        for _ in range(4):
            # Whoever's turn it is next, it is never the asker.
            assert await pool.ask(lambda actor: pool.ask("who?")) in ("0", "1")


# -- workers that end


async def test_a_worker_that_fails_is_restarted_and_keeps_its_mailbox() -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        pool = await system.start(functools.partial(Pool, size=2), Worker, log)
        pool.tell(fail)
        for number in range(4):
            pool.tell(number)
        await wait_all_tasks_blocked()
        assert sorted(log) == [("0", 1), ("0", 3), ("1", 0), ("1", 2)]


@pytest.mark.parametrize("size", [1, 2])
async def test_what_a_stopped_worker_had_not_started_goes_to_its_successors(size: int) -> None:
    log: list[Any] = []
    gate = trio.Event()

    async def stops_for_good(_: Any) -> None:
        await gate.wait()
        raise KeyError("for good")

    async with Checked("s") as system:
        pool = await system.start(
            functools.partial(Pool, size=size, strategy=OneForOne(decisions={KeyError: Stop()})),
            Worker,
            log,
        )
        before = (await pool.ask(WhichChildren()))[0].ref
        pool.tell(stops_for_good)
        await wait_all_tasks_blocked()
        for number in range(6):
            pool.tell(number)
        await wait_all_tasks_blocked()
        gate.set()
        await wait_all_tasks_blocked()
        assert sorted(number for _, number in log) == list(range(6))
        after = await pool.ask(WhichChildren())
        assert len(after) == size
        assert after[0].ref is not before
        assert system.ledger.dead == 0


async def test_asks_too_go_to_the_successors(autojump_clock: Any) -> None:
    gate = trio.Event()

    async def stops_for_good(_: Any) -> None:
        await gate.wait()
        raise KeyError("for good")

    replies: list[str] = []
    async with Checked("s") as system:
        pool = await system.start(
            functools.partial(Pool, size=1, strategy=OneForOne(decisions={KeyError: Stop()})),
            Worker,
            [],
        )
        pool.tell(stops_for_good)
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                replies.append(await pool.ask("who?"))

            for _ in range(3):
                nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            gate.set()
        assert replies == ["0", "0", "0"]


async def test_a_worker_whose_replacement_does_not_start_at_first_loses_nothing(
    autojump_clock: Any,
) -> None:
    log: list[Any] = []

    class Flaky(Worker):
        made = 0

        def __init__(self, log: list[Any]) -> None:
            Flaky.made += 1
            if Flaky.made in (2, 3):
                raise OSError("not yet")
            super().__init__(log)

    async with Checked("s") as system:
        strategy = OneForOne(decisions={KeyError: Stop()}, backoff=lambda _: 1.0)
        pool = await system.start(functools.partial(Pool, size=1, strategy=strategy), Flaky, log)

        async def stop(_: Any) -> None:
            raise KeyError

        pool.tell(stop)
        for number in range(5):
            pool.tell(number)
            await trio.sleep(0.1)
        assert log == []
        await trio.sleep(3)
        assert [number for _, number in log] == list(range(5))
        assert Flaky.made == 4


async def test_a_broadcast_is_handled_once_by_each_worker_also_if_one_stops() -> None:
    log: list[Any] = []
    gate = trio.Event()

    async def stops_for_good(actor: Any) -> None:
        if actor.context.ref.name == "0":
            await gate.wait()
            raise KeyError("for good")

    async with Checked("s") as system:
        strategy = OneForOne(decisions={KeyError: Stop()})
        pool = await system.start(
            functools.partial(Pool, size=2, routing=Broadcast(), strategy=strategy), Worker, log
        )
        pool.tell(stops_for_good)
        pool.tell("x")
        await wait_all_tasks_blocked()
        gate.set()
        await wait_all_tasks_blocked()
        assert log == [("1", "x")]
        assert [each.message for each in system.dead_letters.recent] == ["x"]


# -- sizes


async def test_a_pool_is_resized_and_loses_nothing() -> None:
    log: list[Any] = []
    gate = trio.Event()
    async with Checked("s") as system:
        pool = await system.start(functools.partial(Pool, size=2), Worker, log)
        for _ in range(2):
            pool.tell(wait(gate))
        for number in range(10):
            pool.tell(number)
        await wait_all_tasks_blocked()
        assert await pool.ask(Resize(1)) == 2
        assert await pool.ask(Resize(4)) == 1
        assert len({info.name for info in await pool.ask(WhichChildren())}) == 5
        gate.set()
        await wait_all_tasks_blocked()
        assert sorted(number for _, number in log) == list(range(10))
        assert len(await pool.ask(WhichChildren())) == 4
        log.clear()
        for number in range(8):
            pool.tell(number)
        await wait_all_tasks_blocked()
        assert len({name for name, _ in log}) == 4
        with pytest.raises(ActorFailed, match="an int from 1 up"):
            await pool.ask(Resize(0))


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"size": 0}, ValueError, "from 1 up"),
        ({"routing": RoundRobin}, TypeError, "routing is"),
        ({"strategy": OneForAll()}, TypeError, "OneForOne"),
        ({"shutdown": -1}, ValueError, "shutdown"),
    ],
)
async def test_a_pool_refuses_nonsense(
    options: dict[str, Any], error: type[Exception], match: str
) -> None:
    async with Checked("s") as system:
        with pytest.raises(error, match=match):
            system.spawn(functools.partial(Pool, **options), Worker, [])


# -- consistent hashing


@given(st.integers(0, 2**64 - 1), st.integers(1, 200))
def test_a_bucket_changes_only_to_the_new_one(key: int, buckets: int) -> None:
    before, after = jump_hash(key, buckets), jump_hash(key, buckets + 1)
    assert 0 <= before < buckets
    assert after in (before, buckets)


def test_keys_are_spread_evenly() -> None:
    counts = collections.Counter(jump_hash(stable_hash(f"key {n}"), 10) for n in range(10_000))
    assert sorted(counts) == list(range(10))
    assert max(counts.values()) < 1.15 * min(counts.values())


def test_the_hash_of_a_key_is_the_same_in_every_process() -> None:
    assert stable_hash(("a", 1, b"b")) == 11420182925700511896
    assert stable_hash(("a", "b")) != stable_hash(("ab",)) != stable_hash("ab")


_ = Failure, Restart, nap, pool_of
