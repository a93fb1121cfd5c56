"""Requests that wait for their reply, all on one inbox subscription."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import inf
from typing import Final

import outcome
import trio

from transports.nats.errors import NatsError, NoResponders, RequestTimeout
from transports.nats.headers import NO_RESPONDERS
from transports.nats.protocol import Message

MOST_ENDED: Final = 4096
"""Deadlines of requests that have ended which are kept, beyond those that wait."""


class Call:
    """One request, from its PUB to its reply, error or cancellation."""

    __slots__ = ("command", "subject", "task", "timeout")

    def __init__(
        self, subject: str, command: bytes, timeout: float, task: trio.lowlevel.Task
    ) -> None:
        self.subject = subject
        self.timeout = timeout
        self.command = command
        self.task = task


class Requests:
    """What waits for replies to PREFIX.NUMBER.

    Attribute: `prefix`.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._start = len(prefix) + 1
        self._calls: dict[str, Call] = {}
        self._deadlines: list[tuple[float, str]] = []
        self._alarm = trio.CancelScope()
        self._last = 0
        self._idle: list[tuple[list[str], Callable[[], None]]] = []

    def __len__(self) -> int:
        return len(self._calls)

    def new_token(self) -> str:
        """What its reply subject ends with."""
        self._last += 1
        return str(self._last)

    def add(self, token: str, subject: str, command: bytes, timeout: float) -> None:
        """A call of the current task, which is to `wait` before anything else."""
        self._calls[token] = Call(subject, command, timeout, trio.lowlevel.current_task())
        if timeout == inf:
            return
        # A cancel scope for each would be a third of what a request costs.
        deadline = trio.current_time() + timeout
        deadlines = self._deadlines
        heappush(deadlines, (deadline, token))
        if deadline < self._alarm.deadline:
            self._alarm.deadline = deadline
        if len(deadlines) > 2 * len(self._calls) + MOST_ENDED:
            self._deadlines = [each for each in deadlines if each[1] in self._calls]
            heapify(self._deadlines)

    async def run(self) -> None:
        """End those whose time is up; until cancelled."""
        while True:
            with self._alarm:
                await trio.sleep_forever()
            now = trio.current_time()
            deadlines = self._deadlines
            while deadlines and (deadlines[0][0] <= now or deadlines[0][1] not in self._calls):
                _, token = heappop(deadlines)
                call = self._calls.pop(token, None)
                if call is not None:
                    _end(call, RequestTimeout(call.subject, call.timeout))
            self._alarm = trio.CancelScope(deadline=deadlines[0][0] if deadlines else inf)
            if self._idle:
                self._tell_idle()

    def remove(self, token: str) -> None:
        """It is not waited for any more; no error if that is so already."""
        self._calls.pop(token, None)
        if self._idle:
            self._tell_idle()

    async def wait(self, token: str) -> Message:
        """The reply to a call of this task.

        Raises:
            NoResponders, RequestTimeout, OutcomeUnknown, PermissionsViolation, ClientClosed.
        """

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            self.remove(token)
            return trio.lowlevel.Abort.SUCCEEDED

        message: Message = await trio.lowlevel.wait_task_rescheduled(abort)
        return message

    def answered(self, message: Message) -> None:
        """Something came to the inbox. What nobody waits for any more is ignored."""
        call = self._calls.pop(message.subject[self._start :], None)
        if call is None:
            return
        if message.status == NO_RESPONDERS and not message.data:
            _end(call, NoResponders(call.subject))
        else:
            trio.lowlevel.reschedule(call.task, outcome.Value(message))
        if self._idle:
            self._tell_idle()

    def fail(
        self, error: Callable[[str], NatsError], which: Callable[[Call], bool] | None = None
    ) -> int:
        """End the calls, or those of `which`, with the error for their subject; how many."""
        failed = [token for token, call in self._calls.items() if which is None or which(call)]
        for token in failed:
            call = self._calls.pop(token)
            _end(call, error(call.subject))
        if self._idle:
            self._tell_idle()
        return len(failed)

    def when_answered(self, done: Callable[[], None], which: Callable[[Call], bool]) -> None:
        """Call `done` once the calls of `which` that there are now have ended; perhaps at once."""
        self._idle.append(([t for t, call in self._calls.items() if which(call)], done))
        self._tell_idle()

    def _tell_idle(self) -> None:
        still = []
        for tokens, done in self._idle:
            if any(token in self._calls for token in tokens):
                still.append((tokens, done))
            else:
                done()
        self._idle = still


def _end(call: Call, error: NatsError) -> None:
    trio.lowlevel.reschedule(call.task, outcome.Error(error))
