"""Subscriptions: messages of a subject, one after another, in a bounded buffer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from transports.nats.errors import ClientClosed, NatsError, SlowConsumer
from transports.nats.protocol import Message

if TYPE_CHECKING:
    from transports.nats.client import Client


class Listening:
    """A subscription whose messages a function takes, called by the reader.

    Attributes: `subject`, `queue` ("" if it is of no queue group), `sid`, `error` (why the server
    has refused it, or None).
    """

    __slots__ = ("_client", "_on_error", "deliver", "error", "queue", "sid", "subject")

    def __init__(
        self,
        client: Client,
        subject: str,
        queue: str,
        sid: int,
        deliver: Callable[[Message], object],
        on_error: Callable[[NatsError], object] | None,
    ) -> None:
        self._client = client
        self.subject = subject
        self.queue = queue
        self.sid = sid
        self.deliver = deliver
        self.error: NatsError | None = None
        self._on_error = on_error

    def unsubscribe(self) -> None:
        """No more messages, from now on. Twice is once."""
        self._client._unsubscribe(self.sid)

    def _ended(self, error: NatsError | None) -> None:
        """The server has refused it, or the client is closed, or it was given up (None)."""
        self.error = error
        if error is not None and self._on_error is not None:
            self._on_error(error)


class Subscription(Listening):
    """A subscription to iterate over, by one task.

    It ends when `unsubscribe` was called, or the client is left. Where messages were dropped,
    because `capacity` of them waited, the iteration raises SlowConsumer once, at that place, and
    can go on: with ``receive``, or a new ``async for``.
    """

    __slots__ = ("_buffer", "_closed", "_gap", "_on_full", "_task", "capacity", "dropped")

    def __init__(
        self,
        client: Client,
        subject: str,
        queue: str,
        sid: int,
        capacity: int,
        on_full: Callable[[Message], object] | None,
    ) -> None:
        if type(capacity) is not int or capacity < 1:
            raise ValueError(f"capacity: messages, an int from 1 up, not {capacity!r}")
        super().__init__(client, subject, queue, sid, self._take, None)
        self.capacity = capacity
        self.dropped = 0
        self._buffer: deque[Message] = deque()
        self._on_full = on_full
        self._gap = 0
        self._task: trio.lowlevel.Task | None = None
        self._closed = False

    @property
    def pending(self) -> int:
        """How many messages wait."""
        return len(self._buffer)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Message:
        if self._buffer:
            return self._buffer.popleft()
        await self._wait()
        if self._buffer:
            return self._buffer.popleft()
        raise StopAsyncIteration

    async def receive(self) -> Message:
        """The next message.

        Raises:
            SlowConsumer: messages were dropped here.
            ClientClosed: there will be none.
            PermissionsViolation: the server does not allow this subscription.
        """
        try:
            return await self.__anext__()
        except StopAsyncIteration:
            raise ClientClosed(f"the subscription to {self.subject!r} has ended") from None

    def unsubscribe(self) -> None:
        """No more messages; those that wait can still be taken. Twice is once."""
        super().unsubscribe()
        self._ended(None)

    async def drain(self) -> None:
        """`unsubscribe`, but with the messages that the server has sent by now.

        Raises:
            OutcomeUnknown: the connection broke meanwhile.
        """
        self._client._unsubscribe(self.sid, keep=True)
        try:
            await self._client.flush()
        finally:
            self.unsubscribe()

    async def _wait(self) -> None:
        while not self._buffer:
            if self._gap:
                gap, self._gap = self._gap, 0
                raise SlowConsumer(self.subject, gap, self.capacity)
            if self._closed:
                await trio.lowlevel.checkpoint()
                if self.error is not None:
                    raise self.error
                return
            if self._task is not None:
                raise trio.BusyResourceError("another task iterates over this subscription")
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)

    def _stop_waiting(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _take(self, message: Message) -> None:
        # Behind a gap nothing is taken until it was told: it would seem to be before it.
        if self._gap or len(self._buffer) >= self.capacity:
            self.dropped += 1
            self._client.statistics.dropped += 1
            if self._on_full is None:
                self._gap += 1
            else:
                self._on_full(message)
            return
        self._buffer.append(message)
        self._wake()

    def _ended(self, error: NatsError | None) -> None:
        self.error = self.error or error
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        task = self._task
        if task is not None:
            self._task = None
            trio.lowlevel.reschedule(task)
