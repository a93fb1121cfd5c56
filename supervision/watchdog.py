"""A watchdog: says who holds the thread, and where, while it is held."""

from __future__ import annotations

import logging
import sys
import traceback

import attrs
import trio

from actors import Actor, ActorError, ActorRef
from actors.ask import Ask
from actors.mailbox import NOTHING
from actors.messages import notice
from actors.threads import Ticker
from actors.timers import check_seconds

log = logging.getLogger("supervision.watchdog")


@notice
@attrs.frozen
class ThreadHeld:
    """The thread was held for too long by one step of a task.

    ref: the actor whose handler it was, or None; task: the name of trio's task. message: the type
    of the message in hand, or None. seconds: for how long, in real time. stack: where it was found.
    """

    ref: ActorRef | None
    task: str
    message: type | None
    seconds: float
    stack: str


class _Steps(trio.abc.Instrument):
    """Notes when the step of a task began; costs 1.5 us a step."""

    def __init__(self, watchdog: Watchdog) -> None:
        self._watchdog = watchdog
        self._clock = watchdog.context.system.env.wall_clock
        self.since: float | None = None
        self.task = ""
        self.found: ThreadHeld | None = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.task = task.name
        self.since = self._clock()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        since, self.since = self.since, None
        found, self.found = self.found, None
        if found is not None and since is not None:
            self._watchdog._ended(attrs.evolve(found, seconds=self._clock() - since))


class Watchdog(Actor):
    """Reports handlers that hold the thread, so that no other actor can run: loops, blocking calls.

        system.spawn(Watchdog, 1.0)

    limit: real seconds that one step of a task may take. What takes longer is logged, as a WARNING
    of the logger "supervision.watchdog", with the actor, the type of its message, and the stack of
    the thread; once each time, while it lasts. report_to: a ref that is told ThreadHeld afterwards.

    It looks from a thread of its own, four times in `limit` seconds; each step of trio's tasks
    costs 1.5 us more. Time is real time, also under a virtual clock: no use in a simulation.

    Raises:
        ValueError, TypeError: `limit` is no number of seconds above 0.
    """

    def __init__(self, limit: float, report_to: ActorRef | None = None) -> None:
        self._limit = check_seconds(limit, "limit", zero=False)
        self._report_to = report_to
        self._reported: float | None = None

    async def started(self) -> None:
        """Begin to look."""
        self._steps = _Steps(self)
        trio.lowlevel.add_instrument(self._steps)
        self._ticker = Ticker(self._limit / 4, self._look, "trouper watchdog")

    async def stopped(self) -> None:
        """No longer. The thread has ended when this returns."""
        trio.lowlevel.remove_instrument(self._steps)
        self._ticker.stop()

    async def restarting(self, failure: object) -> None:
        """Its next incarnation begins anew."""
        await self.stopped()

    def receive(self, message: object) -> None:
        """It takes no messages."""
        log.warning("a watchdog takes no messages, and was sent a %s", type(message).__name__)

    def _look(self) -> None:
        """In the watchdog's own thread."""
        steps = self._steps
        since = steps.since
        if since is None or since == self._reported:
            return
        seconds = self.context.system.env.wall_clock() - since
        if seconds < self._limit:
            return
        dispatcher = self.context._cell._dispatcher
        frame = sys._current_frames().get(dispatcher.thread)
        cell = dispatcher.current
        item = NOTHING if cell is None else cell._message
        message = item.message if isinstance(item, Ask) else item
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        if steps.since != since:
            return  # It has ended meanwhile: this stack is not its.
        self._reported = since
        held = ThreadHeld(
            cell, steps.task, None if message is NOTHING else type(message), seconds, stack
        )
        steps.found = held
        log.warning(
            "%s has held the thread for %.3g s%s:\n%s",
            cell if cell is not None else f"task {held.task}",
            seconds,
            "" if held.message is None else f" handling a {held.message.__name__}",
            stack,
        )

    def _ended(self, held: ThreadHeld) -> None:
        if self._report_to is None:
            return
        try:
            self._report_to.tell(held)
        except ActorError as error:
            log.warning("%s could not be told: %s", self._report_to, error)
