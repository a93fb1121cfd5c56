"""All that happens later, of a whole system: one heap, one task, and a queue a timeout value.

Timers that are due fire in the order of their deadlines, and in the order made where those are
equal. Asks with the same timeout expire in the order made, so they need no heap: a dict keeps
them in order and forgets one that was answered in constant time.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

import trio

if TYPE_CHECKING:
    from actors.env import Env

COMPACT_ABOVE: Final = 64
"""Cancelled timers that may stay in the heap before it is rebuilt without them."""

TIMEOUT_VALUES: Final = 64
"""How many different timeouts of asks have a queue of their own."""

NOT_THERE: Final = object()


class Expiring(Protocol):
    """A wait that ends at its deadline: that of an ask, or for an item of a stream."""

    deadline: float
    timeout: float | None
    expected: dict[Expiring, None] | None

    def expire(self) -> None:
        """The time is up."""


class Timer:
    """A handle on something that will happen later. `cancel()` it, or let it happen."""

    __slots__ = ("_action", "_owner", "_period", "_timers", "deadline")

    def __init__(
        self,
        timers: Timers,
        deadline: float,
        period: float | None,
        action: Callable[[], None],
        owner: dict[Timer, None],
    ) -> None:
        self.deadline = deadline
        self._timers = timers
        self._period = period
        self._action: Callable[[], None] | None = action
        self._owner = owner
        owner[self] = None

    @property
    def active(self) -> bool:
        """Whether it can still happen."""
        return self._action is not None

    def cancel(self) -> None:
        """It will not happen (again). Twice, or after it happened, is no error."""
        if self._action is not None:
            self._action = None
            self._owner.pop(self, None)
            self._timers._cancelled_one()


class Timers:
    """The timers and ask deadlines of one system."""

    def __init__(self, env: Env) -> None:
        self.clock = env.clock()
        self._until = env.until
        self._heap: list[tuple[float, int, Timer]] = []
        self._made = 0
        self._cancelled = 0
        self.asks: dict[float, dict[Expiring, None]] = {}
        # Asks whose timeout is one of too many different ones: a heap serves them all.
        self._odd: dict[Expiring, None] = {}
        self._odd_heap: list[tuple[float, int, Expiring]] = []
        self.next = math.inf
        self._scope: trio.CancelScope | None = None
        self._ended = False

    def add(
        self,
        delay: float,
        period: float | None,
        action: Callable[[], None],
        owner: dict[Timer, None],
    ) -> Timer:
        """Call `action` in `delay` seconds, and then each `period` seconds if that is not None.

        While it can still happen, it is a key of `owner`. Beats that were missed are skipped.
        """
        timer = Timer(self, self.clock() + delay, period, action, owner)
        self._push(timer)
        if timer.deadline < self.next:
            self.wake_at(timer.deadline)
        return timer

    def _asks_within(self, timeout: float) -> dict[Expiring, None]:
        """Where asks with this timeout are kept, in the order made."""
        asks = self.asks.get(timeout)
        if asks is None:
            if len(self.asks) >= TIMEOUT_VALUES:
                self._drop_unused()
            if len(self.asks) >= TIMEOUT_VALUES:
                return self._odd
            asks = self.asks[timeout] = {}
        return asks

    def expect(self, ask: Expiring) -> None:
        """Expire `ask`, which has a timeout, unless it is answered before."""
        assert ask.timeout is not None
        if ask.deadline == math.inf:
            ask.deadline = self.clock() + ask.timeout
        expected = self.asks.get(ask.timeout)
        if expected is None:
            expected = self._asks_within(ask.timeout)
        ask.expected = expected
        expected[ask] = None
        if expected is self._odd:
            self._made += 1
            heapq.heappush(self._odd_heap, (ask.deadline, self._made, ask))
            if len(self._odd_heap) > 2 * len(self._odd) + COMPACT_ABOVE:
                self._odd_heap = [entry for entry in self._odd_heap if entry[2] in self._odd]
                heapq.heapify(self._odd_heap)
        if ask.deadline < self.next:
            self.wake_at(ask.deadline)

    def _drop_unused(self) -> None:
        for timeout in [timeout for timeout, asks in self.asks.items() if not asks]:
            del self.asks[timeout]

    async def run(self) -> None:
        """The timer task. Runs until `end`."""
        while not self._ended:
            self.next = self._earliest()
            with trio.CancelScope(deadline=self._until(self.next)) as self._scope:
                await trio.sleep_forever()
            self._fire(self.clock())

    def end(self) -> None:
        """End the timer task; nothing happens any more."""
        self._ended = True
        self._heap.clear()
        self.asks.clear()
        self._odd.clear()
        self._odd_heap.clear()
        if self._scope is not None:
            self._scope.cancel()

    def _push(self, timer: Timer) -> None:
        self._made += 1
        heapq.heappush(self._heap, (timer.deadline, self._made, timer))

    def _cancelled_one(self) -> None:
        self._cancelled += 1
        if self._cancelled > COMPACT_ABOVE and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].active]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def wake_at(self, deadline: float) -> None:
        self.next = deadline
        if self._scope is not None:
            self._scope.deadline = self._until(deadline)

    def _earliest(self) -> float:
        earliest = self._heap[0][0] if self._heap else math.inf
        self._drop_unused()
        if self._odd_heap:
            earliest = min(earliest, self._odd_heap[0][0])
        for asks in self.asks.values():
            earliest = min(earliest, next(iter(asks)).deadline)
        return earliest

    def _fire(self, now: float) -> None:
        for asks in tuple(self.asks.values()):
            # Not one by one from the front: to find the first key of a dict that has lost many is
            # slow. Nor a copy of all: most are not due.
            due: list[Expiring] = []
            for ask in asks:
                if ask.deadline > now:
                    break
                due.append(ask)
            for ask in due:
                if asks.pop(ask, NOT_THERE) is None:
                    ask.expire()
        while self._odd_heap and self._odd_heap[0][0] <= now:
            ask = heapq.heappop(self._odd_heap)[2]
            if self._odd.pop(ask, NOT_THERE) is None:
                ask.expire()
        heap = self._heap
        while heap and heap[0][0] <= now:
            timer = heapq.heappop(heap)[2]
            action = timer._action
            if action is None:
                self._cancelled -= 1
                continue
            if timer._period is None:
                timer._action = None
                timer._owner.pop(timer, None)
            else:
                # A slow moment must not be followed by a burst of beats that were missed.
                missed = math.floor((now - timer.deadline) / timer._period)
                timer.deadline += timer._period * (missed + 1)
                self._push(timer)
            action()
            heap = self._heap


SHORTEST_PERIOD: Final = 1e-4
"""Seconds; a float that counts seconds since long ago has no room for much less."""


def check_period(value: object) -> float:
    """Return `value` as a period in seconds.

    Raises:
        TypeError: it is no int or float.
        ValueError: it is not finite, or below SHORTEST_PERIOD.
    """
    seconds = check_seconds(value, "period", zero=False)
    if seconds < SHORTEST_PERIOD:
        raise ValueError(f"period is {SHORTEST_PERIOD:g} seconds or more: {value!r}")
    return seconds


def check_seconds(value: object, what: str, *, zero: bool = True) -> float:
    """Return `value` as seconds.

    Raises:
        TypeError: it is no int or float.
        ValueError: it is negative, nan, or zero where zero means nothing.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{what} is a number of seconds, not {value!r}")
    if not (value >= 0 if zero else value > 0) or value == math.inf:
        raise ValueError(
            f"{what} is a finite number of seconds {'from 0 up' if zero else 'above 0'}: {value!r}"
        )
    return float(value)
