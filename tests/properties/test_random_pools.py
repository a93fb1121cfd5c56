"""Random pools under random faults: every message is handled once, whoever dies meanwhile.

Each run is made of one seed, in virtual time and with trio's order of tasks fixed.
"""

from __future__ import annotations

import collections
import functools
import logging
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
import trio
from tenacity import wait_random

from actors import ActorError, ActorSystem, Env, Mailbox, Resume, Stop
from actors._trio_private import deterministic_scheduling
from actors.testing import run_virtually
from supervision import ConsistentHash, LeastLoaded, OneForOne, Pool, Resize, RoundRobin
from tests.actors.kit import Doer


@pytest.fixture
def quietly() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("actors", "supervision")]
    for each in loggers:
        each.disabled = True
    yield
    for each in loggers:
        each.disabled = False


def worker(chance: Random, done: collections.Counter[int], order: dict[int, list[int]]) -> Any:
    class Worker(Doer):
        mailbox = Mailbox(capacity=chance.choice((1, 3, 100)))
        redeliver = 1_000_000

        async def receive(self, message: int) -> int:
            draw = chance.random()
            if draw < 0.3:
                await trio.sleep(draw)
            if draw > 0.95:
                raise KeyError("restart")
            if draw > 0.93:
                raise OSError("resume")
            if draw > 0.91:
                raise ValueError("stop")
            if draw > 0.90:
                self.context.stop()
            done[message] += 1
            order[message % 7].append(message)
            return message

    return Worker


@pytest.mark.usefixtures("quietly")
@pytest.mark.parametrize("seed", range(30))
def test_every_message_is_handled_once(seed: int) -> None:
    chance = Random(seed)
    done: collections.Counter[int] = collections.Counter()
    order: dict[int, list[int]] = collections.defaultdict(list)
    made: list[ActorSystem] = []
    by_key = seed % 3 == 0
    routing = (
        ConsistentHash(lambda message: message % 7)
        if by_key
        else chance.choice((RoundRobin, LeastLoaded))()
    )
    strategy = OneForOne(
        max_restarts=None,
        backoff=chance.choice((None, wait_random(0, 1))),
        decisions={OSError: Resume(), ValueError: Stop()},
    )

    async def main() -> None:
        env = Env(seed, slice_messages=20)
        async with ActorSystem("s", env=env, max_restarts=None) as system:
            made.append(system)
            make = functools.partial(
                Pool, size=chance.randint(1, 4), routing=routing, strategy=strategy
            )
            pool = await system.start(make, worker(chance, done, order), name="pool")
            replies = 0

            async def ask(number: int) -> None:
                nonlocal replies
                while True:
                    try:
                        assert await pool.ask(number, timeout=None) == number
                    except ActorError:
                        # An ask that fails is not redelivered: its asker decides, and asks again.
                        continue
                    replies += 1
                    return

            async with trio.open_nursery() as nursery:
                for number in range(300):
                    if chance.random() < 0.3:
                        nursery.start_soon(ask, number)
                    elif chance.random() < 0.5:
                        pool.tell(number)
                    else:
                        await pool.send(number)
                    if chance.random() < 0.03 and not by_key:
                        await pool.ask(Resize(chance.randint(1, 5)), timeout=None)
                    await trio.sleep(chance.choice((0, 0, 0.1)))
            await trio.sleep(200)

    with deterministic_scheduling(seed):
        run_virtually(main)
    ledger = made[0].ledger
    assert sorted(done) == list(range(300))
    assert set(done.values()) == {1}
    assert (ledger.missing, ledger.queued, ledger.in_flight, ledger.dead) == (0, 0, 0, 0), ledger
