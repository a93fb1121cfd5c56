"""The one source of time, chance and identity. No other module imports `random` or `time`.

A run can be replayed only if everything that could differ between two runs comes from one place.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

import trio

if TYPE_CHECKING:
    from actors.actor import Actor
    from actors.cell import Cell

Clock = Callable[[], float]
Random = random.Random

MOST_AT_ONCE: Final = 64
"""Messages that may run between two looks at the clock: the clock then costs 1 ns a message."""


class Pacer(Protocol):
    """Says when the dispatcher must let trio run: timers, sockets and other tasks."""

    def begin(self) -> None:
        """A slice of work begins."""

    def grant(self, done: int) -> int:
        """How many messages may run before the next call, after `done` ran; 0: no more now."""


class ClockPacer:
    """Slices of about `seconds`, never more than one handler longer.

    It reads the clock once for each grant, and grants as many messages as the last ones say will
    fit, MOST_AT_ONCE at most. A handler that turns slow from one message to the next delays
    the others by at most one grant, once.
    """

    __slots__ = ("_clock", "_each", "_end", "_granted_at", "_seconds")

    def __init__(self, seconds: float, clock: Clock = time.perf_counter) -> None:
        if not seconds > 0:
            raise ValueError(f"a slice lasts more than 0 seconds: {seconds!r}")
        self._seconds = seconds
        self._clock = clock
        self._each = seconds / 8
        self._granted_at = self._end = 0.0

    def begin(self) -> None:
        self._granted_at = self._clock()
        self._end = self._granted_at + self._seconds

    def grant(self, done: int) -> int:
        now = self._clock()
        if done:
            self._each = (now - self._granted_at) / done
        self._granted_at = now
        left = self._end - now
        if left <= 0:
            return 0
        if self._each * MOST_AT_ONCE <= left:
            return MOST_AT_ONCE
        return int(left / self._each) or 1


class CountPacer:
    """Slices of so many messages: the same in every run, whatever the machine does."""

    __slots__ = ("_left", "_messages")

    def __init__(self, messages: int) -> None:
        if messages < 1:
            raise ValueError(f"a slice has at least 1 message: {messages!r}")
        self._messages = self._left = messages

    def begin(self) -> None:
        self._left = self._messages

    def grant(self, done: int) -> int:
        self._left -= done
        return min(self._left, MOST_AT_ONCE) if self._left > 0 else 0


class Env:
    """Clock, randomness and identities of one actor system.

    seed: an int; the same seed gives the same `random(...)` for the same key. Left out, one is
        drawn from the operating system; it is in `env.seed`, so a run can be told again.
    slice_messages: None: the dispatcher gives way to trio by the clock, about every 2 ms. An int:
        after that many messages, so that a run does not depend on the machine's speed.

    One Env belongs to one system.
    """

    def __init__(self, seed: int | None = None, *, slice_messages: int | None = None) -> None:
        self.seed = random.SystemRandom().getrandbits(63) if seed is None else int(seed)
        self._slice_messages = slice_messages
        self._last_id = 0
        if slice_messages is not None:
            CountPacer(slice_messages)

    def clock(self) -> Clock:
        """A function that reads the clock, in seconds: trio's own, so that a test's clock counts.

        Raises:
            RuntimeError: not called from inside trio.
        """
        return trio.lowlevel.current_clock().current_time

    def until(self, time: float) -> float:
        """A time on this Env's clock as a deadline for trio, whose clock may be another one."""
        return time

    @staticmethod
    def wall_clock() -> float:
        """Real seconds, since whenever: only for what concerns the machine, not the program."""
        return time.perf_counter()

    def incarnation(self) -> int:
        """A number that is larger each time that a process of this machine starts a node."""
        return time.time_ns()

    def now(self) -> float:
        """The time in seconds, on trio's clock.

        Raises:
            RuntimeError: not called from inside trio.
        """
        return trio.current_time()

    def random(self, *key: str | int) -> random.Random:
        """A random generator of its own for this key: (actor, purpose, n) rather than one stream.

        Draws for one key do not depend on what was drawn for another, so that taking one fault
        out of a run leaves every other decision as it was.
        """
        # repr quotes, so that no two keys run into one another.
        text = repr((self.seed, *key)).encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(text, digest_size=8).digest()
        return random.Random(int.from_bytes(digest, "big"))

    @staticmethod
    def nonce(size: int) -> bytes:
        """Bytes that nobody can foretell, for what keeps strangers out; not of the seed."""
        return random.SystemRandom().randbytes(size)

    def next_id(self) -> int:
        """1, 2, 3, ...: each once in this Env."""
        self._last_id += 1
        return self._last_id

    def ready(self) -> deque[Cell]:
        """Where actors with messages wait for their turn; `popleft` says whose it is."""
        return deque()

    def constructed(self, actor: Actor) -> None:
        """Called with each new incarnation of an actor, before its `started()`."""

    def pacer(self) -> Pacer:
        """What tells the dispatcher to give way to trio."""
        if self._slice_messages is None:
            return ClockPacer(0.002)
        return CountPacer(self._slice_messages)
