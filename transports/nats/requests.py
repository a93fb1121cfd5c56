"""Requests that wait for their reply, all on one inbox subscription."""

from __future__ import annotations

from collections.abc import Callable

import outcome
import trio

from transports.nats.errors import NatsError, NoResponders
from transports.nats.headers import NO_RESPONDERS
from transports.nats.protocol import Message


class Call:
    """One request, from its PUB to its reply, error or cancellation."""

    __slots__ = ("command", "subject", "task")

    def __init__(self, subject: str, command: bytes, task: trio.lowlevel.Task) -> None:
        self.subject = subject
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
        self._last = 0
        self._idle: list[tuple[list[str], Callable[[], None]]] = []

    def __len__(self) -> int:
        return len(self._calls)

    def new_token(self) -> str:
        """What its reply subject ends with."""
        self._last += 1
        return str(self._last)

    def add(self, token: str, subject: str, command: bytes) -> None:
        """A call of the current task, which is to `wait` before anything else."""
        self._calls[token] = Call(subject, command, trio.lowlevel.current_task())

    def remove(self, token: str) -> None:
        """It is not waited for any more; no error if that is so already."""
        self._calls.pop(token, None)
        if self._idle:
            self._tell_idle()

    async def wait(self, token: str) -> Message:
        """The reply to a call of this task.

        Raises:
            NoResponders, OutcomeUnknown, PermissionsViolation, ClientClosed.
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
