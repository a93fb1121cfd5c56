"""The delay before a restart, computed by tenacity's wait objects with our clock and randomness.

Tenacity is used for nothing else: its retry loop swallows cancellation, its stops read the wall
clock, and its jitter draws from Python's global generator. Its wait objects are functions of a
RetryCallState, which is made here and filled with what they read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, Protocol

import tenacity
import tenacity.wait

Wait = Callable[[tenacity.RetryCallState], float | int]
"""What a tenacity wait object is: seconds, from the state of the attempts."""

_RETRYING: Final = tenacity.Retrying()


class _HasRandom(Protocol):
    random: Any


_module: Final[_HasRandom] = tenacity.wait  # type: ignore[assignment] # it imports the module random


def check_wait(_: object, attribute: Any, wait: Wait | None) -> None:
    """Raises TypeError: it is neither None nor something to call."""
    if wait is not None and not callable(wait):
        raise TypeError(
            f"{attribute.name} is a tenacity wait object, such as "
            f"wait_exponential(multiplier=0.1, max=5), not {wait!r}"
        )


def delay(wait: Wait, attempt: int, exception: BaseException, elapsed: float, chance: Any) -> float:
    """Seconds before restart number `attempt` (from 1) in a row.

    elapsed: seconds since the first failure in that row. chance: a `random.Random`, where jitter
    comes from. (While it is computed, tenacity's module draws from `chance`; a thread that computes
    a wait of its own in that microsecond would do so too.)

    Raises:
        ValueError: the wait object returned what is no finite number of seconds from 0 up.
        Exception: whatever it raised.
    """
    state = tenacity.RetryCallState(_RETRYING, None, (), {})
    state.attempt_number = attempt
    state.set_exception((type(exception), exception, exception.__traceback__))
    state.start_time, state.outcome_timestamp = 0.0, elapsed
    before, _module.random = _module.random, chance
    try:
        seconds = wait(state)
    finally:
        _module.random = before
    if not 0 <= seconds < math.inf:
        raise ValueError(f"backoff {wait!r} returned {seconds!r}, which is no number of seconds")
    return float(seconds)
