"""The watchdog says who holds the thread: real threads, real time, and nothing said of how long."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio

from actors.testing import Probe
from supervision import ThreadHeld, Watchdog
from tests.actors.kit import Checked, Doer, PlainDoer

LIMIT = 0.05


class Said(logging.Handler):
    """What the watchdog's thread has said: who holds the thread goes on until it has."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())

    def hold(self, by: Callable[[], None]) -> None:
        """Hold the thread until it is said, or for ever (that is, ten seconds)."""
        before, end = len(self.texts), time.perf_counter() + 10
        while len(self.texts) == before and time.perf_counter() < end:
            by()


@pytest.fixture
def said() -> Iterator[Said]:
    handler = Said()
    logger = logging.getLogger("supervision.watchdog")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def computes() -> None:
    sum(range(1000))


def blocks() -> None:
    time.sleep(0.01)


@pytest.mark.parametrize("cls", [Doer, PlainDoer])
@pytest.mark.parametrize("by", [computes, blocks])
async def test_who_holds_the_thread_is_reported_with_the_stack(
    cls: Any, by: Callable[[], None], said: Said
) -> None:
    def holds(_: Any) -> None:
        said.hold(by)

    async with Checked("s") as system:
        probe = Probe(system)
        await system.start(functools.partial(Watchdog, LIMIT, probe.ref))
        ref = system.spawn(cls, name="culprit")
        for _ in range(2):
            await ref.ask(holds, timeout=None)
        held = [await probe.expect(ThreadHeld, within=10) for _ in range(2)]
        assert [each.ref for each in held] == [ref, ref]
        assert held[0].message is type(holds)
        assert "in holds" in held[0].stack
        assert held[0].seconds >= LIMIT
    mine = [text for text in said.texts if "culprit" in text]
    assert len(mine) == 2
    assert "handling a function" in mine[0]


async def test_a_task_that_is_no_actor_is_named(said: Said) -> None:
    async with Checked("s") as system:
        await system.start(Watchdog, LIMIT)
        await trio.sleep(0.01)
        said.hold(blocks)
    assert "test_a_task_that_is_no_actor_is_named" in said.texts[0]
    assert "has held the thread" in said.texts[0]


async def test_waiting_is_not_holding(caplog: pytest.LogCaptureFixture) -> None:
    async with Checked("s") as system:
        await system.start(Watchdog, 2.0)
        await system.spawn(Doer).ask(lambda _: trio.sleep(2.5), timeout=None)
    assert "has held the thread" not in caplog.text


async def test_nothing_is_left_behind() -> None:
    before = threading.active_count()
    async with Checked("s") as system:
        watchdog = await system.start(Watchdog, LIMIT)
        assert any(each.name == "trouper watchdog" for each in threading.enumerate())
        watchdog.tell("what?")
        system.spawn(Doer).tell(lambda _: blocks())
    assert not any(each.name == "trouper watchdog" for each in threading.enumerate())
    assert threading.active_count() <= before


async def test_a_limit_that_is_none_is_refused() -> None:
    async with Checked("s") as system:
        with pytest.raises(ValueError, match="limit"):
            system.spawn(Watchdog, 0)
