"""A rate limit: the algorithm, and the ref."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors import AskTimeout
from supervision import CircuitBreaker, RateLimit, RateLimited
from supervision.rate_limit import CellRate
from tests.actors.kit import Checked, Doer, Recorder


async def test_tell_is_refused_when_it_is_too_soon(autojump_clock: Any) -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        ref = system.spawn(Recorder, log)
        limited = RateLimit(ref, rate=2, per=10, burst=2)
        limited.tell(1)
        limited.tell(2)
        with pytest.raises(RateLimited, match="try again in 5 s") as caught:
            limited.tell(3)
        assert (caught.value.ref, caught.value.message, caught.value.retry_after) == (ref, 3, 5)
        await trio.sleep(5)
        limited.tell(4)
        with pytest.raises(RateLimited):
            limited.tell(5)
    assert log == [1, 2, 4]


async def test_send_and_ask_wait_for_their_turn_in_the_order_they_came(
    autojump_clock: Any,
) -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        limited = RateLimit(system.spawn(Recorder, log), rate=1, per=2)

        async def send(number: int) -> None:
            await (limited.send(number) if number % 2 else limited.ask(number, timeout=None))
            log.append(("at", trio.current_time()))

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(send, number)
                await trio.sleep(0.01)
        assert [each for each in log if isinstance(each, int)] == [0, 1, 2, 3, 4]
        times = [each[1] for each in log if isinstance(each, tuple)]
        assert times == pytest.approx([0, 2, 4, 6, 8], abs=0.1)


async def test_an_ask_whose_turn_would_come_too_late_fails_at_once(autojump_clock: Any) -> None:
    async with Checked("s") as system:
        limited = RateLimit(system.spawn(Doer), rate=1, per=10)
        assert await limited.ask("x") == "x"
        with pytest.raises(AskTimeout, match="waiting for its turn"):
            await limited.ask("x", timeout=5)
        assert trio.current_time() < 1
        # It took no turn; and the wait is part of the timeout.
        with pytest.raises(AskTimeout, match="being handled"):
            await limited.ask(lambda _: trio.sleep(5), timeout=12)
        assert trio.current_time() == pytest.approx(12)


async def test_who_is_cancelled_while_waiting_gives_its_turn_back(autojump_clock: Any) -> None:
    log: list[Any] = []
    async with Checked("s") as system:
        limited = RateLimit(system.spawn(Recorder, log), rate=1, per=10)
        await limited.send("first")
        with trio.move_on_after(1):
            await limited.send("cancelled")
        await limited.send("second")
        assert trio.current_time() == pytest.approx(10)
    assert log == ["first", "second"]


async def test_it_works_in_a_handler_and_inside_a_circuit_breaker(autojump_clock: Any) -> None:
    async with Checked("s") as system:
        target, asker = system.spawn(Doer), system.spawn(Doer)
        limited = CircuitBreaker(RateLimit(target, rate=1, per=3))

        async def asks(_: Any) -> list[Any]:
            return [await limited.ask(number, timeout=None) for number in range(3)]

        assert await asker.ask(asks, timeout=None) == [0, 1, 2]
        assert trio.current_time() == pytest.approx(6)


@pytest.mark.parametrize("options", [{"rate": 0}, {"rate": 1, "per": 0}, {"rate": 1, "burst": 0}])
async def test_nonsense_is_refused(options: Any) -> None:
    async with Checked("s") as system:
        with pytest.raises(ValueError, match=list(options)[-1]):
            RateLimit(system.spawn(Doer), **options)


@given(
    st.lists(st.floats(0, 3), max_size=100), st.floats(0.1, 2), st.integers(1, 5), st.integers(1, 9)
)
def test_no_window_has_more_than_its_share(
    gaps: list[float], interval: float, burst: int, length: int
) -> None:
    rate, now, went = CellRate(interval, burst), 0.0, []
    for gap in gaps:
        now += gap
        went.append(now + rate.reserve(now))
    assert went == sorted(went)
    span = length * interval
    for start in went:
        inside = [each for each in went if start <= each <= start + span]
        assert len(inside) <= length + burst + 1e-6
