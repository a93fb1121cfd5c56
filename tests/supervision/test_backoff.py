"""Delays: tenacity's wait objects, with our clock and randomness."""

from __future__ import annotations

import random
from typing import Any

import pytest
import tenacity
from tenacity import (
    wait_chain,
    wait_combine,
    wait_exception,
    wait_exponential,
    wait_exponential_jitter,
    wait_fixed,
    wait_incrementing,
    wait_none,
    wait_random,
    wait_random_exponential,
)

from supervision.backoff import delay
from supervision.strategies import OneForOne

WAITS = [
    wait_none(),
    wait_fixed(2),
    wait_random(1, 3),
    wait_incrementing(1, 2),
    wait_exponential(min=0.1, max=5),
    wait_random_exponential(max=5),
    wait_exponential_jitter(max=5, jitter=0.5),
    wait_combine(wait_fixed(1), wait_random(0, 1)),
    wait_chain(wait_fixed(1), wait_random(2, 3)),
    wait_exception(lambda error: float(len(str(error)))),
    lambda state: state.attempt_number * 2,
    lambda state: state.seconds_since_start or 0.0,
]


def series(wait: Any, seed: int) -> list[float]:
    chance = random.Random(seed)
    return [delay(wait, n, ValueError("four"), n * 1.5, chance) for n in range(1, 9)]


@pytest.mark.parametrize("wait", WAITS)
def test_a_delay_depends_on_our_seed_and_on_nothing_else(wait: Any) -> None:
    random.seed(1)
    before = random.getstate()
    first = series(wait, 7)
    assert random.getstate() == before
    random.seed(2)
    assert series(wait, 7) == first
    assert all(seconds >= 0 for seconds in first)


@pytest.mark.parametrize("wait", [wait_random(1, 3), wait_exponential_jitter(max=5, jitter=0.5)])
def test_another_seed_gives_another_jitter(wait: Any) -> None:
    assert series(wait, 7) != series(wait, 8)


def test_attempts_exception_and_elapsed_time_are_those_of_the_restarts() -> None:
    assert series(wait_exponential(), 0) == [1, 2, 4, 8, 16, 32, 64, 128]
    assert series(WAITS[9], 0) == [4.0] * 8
    assert series(WAITS[11], 0) == [n * 1.5 for n in range(1, 9)]


def test_tenacity_has_its_own_randomness_back_also_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError):
        delay(lambda _: 1 / 0, 1, ValueError(), 0.0, random.Random(1))
    # The canary: the module still draws from what it imports by this name.
    assert tenacity.wait.random is random


@pytest.mark.parametrize("bad", [-1.0, float("inf"), float("nan")])
def test_a_delay_that_is_none_is_an_error(bad: float) -> None:
    with pytest.raises(ValueError, match="no number of seconds"):
        delay(lambda _: bad, 1, ValueError(), 0.0, random.Random(1))


def test_a_backoff_that_is_none_is_refused() -> None:
    with pytest.raises(TypeError, match="backoff is a tenacity wait object"):
        OneForOne(backoff=3)  # type: ignore[arg-type]
