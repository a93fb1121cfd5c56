"""Virtual time: a clock for `trio.run` that jumps when nothing can run, or is moved by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import trio
import trio.testing

from actors.threads import threads_at_work
from actors.timers import check_seconds

if TYPE_CHECKING:
    from actors.testing.deadlock import Deadlock

IO_GRACE: Final = 0.02
"""Real seconds that sockets are given, where tasks wait for them, before time jumps."""

GLANCE: Final = 1e-9
"""A timeout so short that it only lets tasks wake that wait for all others to be blocked."""

NEVER: Final = 1e6


class _Steps(trio.abc.Instrument):
    """Notes that a task has run."""

    def __init__(self) -> None:
        self.any = True

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.any = True


class VirtualClock(trio.abc.Clock):
    """Time that begins at 0 and moves only when nothing else does.

        trio.run(main, clock=VirtualClock())     # or the fixture `virtual_clock`

    auto: True: when no task can run, time jumps to the next deadline; so a test of an hour takes no
    time, in the same order. False: only `advance` moves it.

    While a thread of trio's default limiter works, time stands still: what takes real time takes no
    virtual one. Where tasks wait for sockets, these get 20 ms of real time before each jump, since
    nobody can know whether something is under way. When every task waits, nothing is due and
    neither thread nor socket can wake one, the run is over: see `deadlock`.
    """

    def __init__(self, *, auto: bool = True) -> None:
        self.auto = auto
        self._now = 0.0
        self._steps = _Steps()
        self._waited = False
        self._on_deadlock: Callable[[], None] | None = None
        self.deadlock: Deadlock | None = None
        """The deadlock that this clock has found."""

    # -- for trio

    def start_clock(self) -> None:
        """A run begins."""
        self._now = 0.0
        self.deadlock = None
        trio.lowlevel.add_instrument(self._steps)

    def current_time(self) -> float:
        """Virtual seconds since the run began."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Trio asks this when no task can run: real seconds until it should look again."""
        if deadline <= self._now:
            return 0.0
        if self._steps.any:
            # First those who wait for all tasks to be blocked: they come before time does.
            self._steps.any = self._waited = False
            return GLANCE
        if not self.auto:
            return NEVER
        if threads_at_work():
            return IO_GRACE
        if tasks_waiting_for_io():
            if deadline == math.inf:
                return NEVER
            if not self._waited:
                self._waited = True
                return IO_GRACE
        if deadline == math.inf:
            self._report_deadlock()
            return GLANCE
        self._waited = False
        self._now = deadline
        return 0.0

    # -- for tests

    async def advance(self, seconds: float) -> None:
        """Move time, deadline by deadline, letting everything settle at each one.

        When it returns, all that was due has happened, in order.

        Raises:
            ValueError, TypeError: `seconds` is no finite number from 0 up.
        """
        target = self._now + check_seconds(seconds, "seconds")
        while True:
            await trio.testing.wait_all_tasks_blocked()
            ahead = trio.lowlevel.current_statistics().seconds_to_next_deadline
            if self._now + ahead > target:
                break
            self._now += max(ahead, 0.0)
        self._now = target
        await trio.testing.wait_all_tasks_blocked()

    # -- deadlocks

    def _report_deadlock(self) -> None:
        from actors.testing.deadlock import find_deadlock

        if self.deadlock is not None:
            # Its tasks have been cancelled, and hang all the same: nothing more can be done.
            raise self.deadlock
        self.deadlock = find_deadlock()
        if self._on_deadlock is None:
            raise self.deadlock
        self._on_deadlock()


def tasks_waiting_for_io() -> bool:
    """Whether a task waits for a socket (trio itself waits for one, to be woken by threads)."""
    statistics = trio.lowlevel.current_statistics().io_statistics
    reading = getattr(statistics, "tasks_waiting_read", 1)
    writing = getattr(statistics, "tasks_waiting_write", 0)
    return reading + writing > 1
