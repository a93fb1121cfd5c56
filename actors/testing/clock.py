"""Virtual time: a clock for `trio.run` that jumps when nothing can run, or is moved by hand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import trio
import trio.testing

from actors._trio_private import somebody_waits_for_idle
from actors.threads import threads_at_work
from actors.timers import check_seconds

if TYPE_CHECKING:
    from actors.testing.deadlock import Deadlock, Guard

IO_GRACE: Final = 0.02
"""Real seconds that sockets are given, where tasks wait for them, before time jumps."""

GLANCE: Final = 1e-9
"""A timeout so short that it only lets tasks wake that wait for all others to be blocked."""

NEVER: Final = 1e6


class _Steps(trio.abc.Instrument):
    """Notes that a task has run, and puts the main task under the oracle."""

    def __init__(self, clock: VirtualClock) -> None:
        self.any = True
        self._clock = clock
        self._has_main = False

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        # Trio's own first task has no nursery; the next one is what trio.run was called with.
        if not self._has_main and task.parent_nursery is not None:
            from actors.testing.deadlock import Guard

            self._has_main = True
            guarded: Any = Guard(self._clock).around(task.coro)
            task.coro = guarded

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
    neither thread nor socket can wake one, the run is cancelled and raises Deadlock. With
    auto=False nothing is ever due then: who would call `advance` waits too.

    Not known, so not waited for: threads and processes that trio did not start.

    Attributes: `deadlock`: the newest Deadlock of this run, or None.
    """

    def __init__(self, *, auto: bool = True) -> None:
        self.auto = auto
        self._now = 0.0
        self._steps = _Steps(self)
        self._waited = False
        self._guards: list[Guard] = []
        self.deadlock: Deadlock | None = None

    # -- for trio

    def start_clock(self) -> None:
        """A run begins."""
        self._now = 0.0
        self.deadlock = None
        self._guards.clear()
        self._steps = _Steps(self)
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
            # Any timeout above 0 costs a millisecond, so only where somebody is to be woken by it.
            return GLANCE if somebody_waits_for_idle() else 0.0
        if threads_at_work():
            return IO_GRACE
        stands = deadline == math.inf or not self.auto
        if tasks_waiting_for_io():
            if stands:
                return NEVER
            if not self._waited:
                self._waited = True
                return IO_GRACE
        if stands:
            return self._nobody_acts()
        self._waited = False
        self._now = deadline
        return 0.0

    # -- for tests

    async def advance(self, seconds: float) -> None:
        """Move time, deadline by deadline, letting everything settle at each one.

        When it returns, all that was due has happened, in order. Threads that trio started are
        waited for at each one; where tasks wait for sockets, these get 10 ms of real time.

        Raises:
            ValueError, TypeError: `seconds` is no finite number from 0 up.
        """
        target = self._now + check_seconds(seconds, "seconds")
        while True:
            await self._settle()
            ahead = trio.lowlevel.current_statistics().seconds_to_next_deadline
            if self._now + ahead > target:
                break
            self._now += max(ahead, 0.0)
        self._now = target
        await self._settle()

    async def _settle(self) -> None:
        await trio.testing.wait_all_tasks_blocked()
        looked = False
        while threads_at_work() or (not looked and tasks_waiting_for_io()):
            # Real time, since no deadline is set; below IO_GRACE, so that it ends before a jump.
            looked = not threads_at_work()
            await trio.testing.wait_all_tasks_blocked(IO_GRACE / 2)

    # -- deadlocks

    def _nobody_acts(self) -> float:
        from actors.testing.deadlock import find_deadlock, waits_outside

        if waits_outside():
            return NEVER
        self.deadlock = found = find_deadlock()
        # The innermost first. One that was cancelled, and hangs all the same, is given up.
        for guard in reversed(self._guards):
            if guard.cancel(found):
                return GLANCE
        raise found


def tasks_waiting_for_io() -> bool:
    """Whether a task waits for a socket (trio itself waits for one, to be woken by threads)."""
    statistics: Any = trio.lowlevel.current_statistics().io_statistics
    # Where trio is built on kqueue, there is one count of them all.
    kinds = ("tasks_waiting_read", "tasks_waiting_write", "tasks_waiting")
    return sum(getattr(statistics, kind, 0) for kind in kinds) > 1
