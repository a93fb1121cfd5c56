"""A store that has lost what it was to keep: deleted, emptied, or started without its files."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors import Actor, AskTimeout
from tests.cluster.test_singleton import LEASE, Tally, Where, World
from transports import MemoryStore, Singleton
from transports.cluster.records import Record, Session, encode, owner_key, session_key


class Forgetful(MemoryStore):
    """Forgets; who watches it hears of nothing any more until he begins again."""

    def forget(self, prefix: str = "") -> None:
        for entry in self._bucket.under(prefix):
            del self._bucket._entries[entry.key]
            self._expires.pop(entry.key, None)
        self._watches.clear()


class Busy(Actor):
    """Acts all the time, as long as it may."""

    def __init__(self, acts: list[tuple[str, int | None]]) -> None:
        self.acts = acts

    async def started(self) -> None:
        self.acts.append((self.context.system.name, self.context.fence))

    async def receive(self, message: Any) -> None:
        while True:
            self.acts.append((self.context.system.name, self.context.fence))
            await trio.sleep(0.01)


@pytest.mark.parametrize("sixths", range(6))
async def test_what_is_lost_is_owned_anew_when_whoever_owned_it_has_stopped(
    autojump_clock: trio.abc.Clock, sixths: int
) -> None:
    world, acts = World(), []  # type: ignore[var-annotated]
    store = world.store = Forgetful()
    async with world.system("one", "two") as one:
        first = await one.start(Singleton, Busy, acts, name="busy")
        first.tell("begin")
        # Each renews its session at times of its own: who finds out first differs.
        await trio.sleep(LEASE.renew_after / 2)
        async with world.system("two", "one") as two:
            second = await two.start(Singleton, Busy, acts, name="busy")
            await trio.sleep((2 + sixths / 6) * LEASE.renew_after)
            store.forget()
            second.tell("begin")
            await trio.sleep(4 * LEASE.ttl)
            fences = [fence for _, fence in acts]
            assert fences == sorted(fences), "two have acted at once"
            assert len(set(acts)) == 2, "nobody owns it any more"
            one._stop_within = two._stop_within = 0.1


async def test_a_session_whose_end_was_not_said_is_not_waited_for(
    autojump_clock: trio.abc.Clock,
) -> None:
    world = World()
    store = world.store = Forgetful()
    ghost = session_key("ghost", 1, 1)
    await store.create(ghost, encode(Session("ghost", 1, {"tally": 1})))
    await store.create(owner_key("tally", 0), encode(Record(ghost, "ghost")))
    async with world.system("one") as one:
        tally = await one.start(Singleton, Tally, name="tally")
        with pytest.raises(AskTimeout, match="nobody owns it"):
            await tally.ask(Where(), timeout=LEASE.ttl)
        store.forget(ghost)
        with trio.fail_after(4 * LEASE.ttl):
            assert await tally.ask(Where(), timeout=None) == "one"
