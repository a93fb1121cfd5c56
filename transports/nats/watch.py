"""Watching a bucket: what it has, then what changes, over connections and servers that go."""

from __future__ import annotations

import enum
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Final

import attrs
import trio

from transports.nats.errors import (
    ApiError,
    NatsError,
    NoResponders,
    NotConnected,
    OutcomeUnknown,
    RequestTimeout,
)
from transports.nats.jetstream_types import Position, nanoseconds
from transports.nats.kv_types import Entry, Operation, operation_of
from transports.nats.protocol import Message

if TYPE_CHECKING:
    from transports.nats.kv import KeyValue
    from transports.nats.subscription import Listening

HEARTBEAT_STATUS: Final = 100
NOT_FOUND: Final = 404
CAPACITY: Final = 1 << 16
"""Messages that wait for whoever iterates; beyond that, the watch begins again."""

SILENT_AFTER: Final = 3
"""Heartbeats that may be missing."""

PAUSE: Final = 0.05
PAUSE_AT_MOST: Final = 1.0


class Marker(enum.Enum):
    """What a watch says besides entries."""

    INITIAL_DONE = "initial done"


INITIAL_DONE: Final = Marker.INITIAL_DONE
"""Everything that the bucket had when the watch began has been said."""


class Watch:
    """The entries of a bucket, then INITIAL_DONE, then each change; ``async with``, then iterate.

    Nothing is missing in the end, though what changed twice in between may be said once: where a
    message is missing, the server is silent for 3 `heartbeat` (seconds), or the connection was
    another one, it asks again for all that the bucket has, and says what differs from what it has
    said before. What is gone by then, and left no marker, is an entry with Operation.EXPIRED.
    It keeps the keys and their revisions for that.

    Raises, while it is iterated over:
        ApiError: of code 404, the bucket is gone.
        PermissionsViolation: this user must not watch it.
        ClientClosed: the client has been left.
    """

    def __init__(self, kv: KeyValue, pattern: str, headers_only: bool, heartbeat: float) -> None:
        if not heartbeat >= 0.1:
            raise ValueError(f"heartbeat: seconds, from 0.1 up, not {heartbeat!r}")
        self._kv = kv
        self._client = kv.jetstream.client
        self._pattern = pattern
        self._headers_only = headers_only
        self._heartbeat = heartbeat
        self._known: dict[str, tuple[int, float]] = {}
        self._messages: deque[Message] = deque()
        self._ready: deque[Entry | Marker] = deque()
        self._task: trio.lowlevel.Task | None = None
        self._listening: Listening | None = None
        self._error: NatsError | None = None
        self._broken = ""
        self._last = 0
        # The keys of the snapshot that is being taken; None: it is complete.
        self._seen: dict[str, None] | None = {}
        self._is_given_out = False
        self._said_initial = False
        self.restarts = 0
        """How often it had to ask again for everything."""

    async def __aenter__(self) -> Watch:
        """Begin.

        Raises:
            ApiError, NoResponders, RequestTimeout, OutcomeUnknown: there is no such bucket, or
                nobody knows.
        """
        self._client.when_connected.append(self._connected)
        try:
            await self._begin()
        except BaseException:
            self._end()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Entry | Marker:
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._ready:
            if self._broken:
                await self._begin_again()
            elif self._is_given_out:
                await self._make_sure()
            elif self._messages:
                self._take(self._messages.popleft())
            else:
                await self._wait()
        return self._ready.popleft()

    # -- beginning

    async def _begin(self) -> None:
        """Ask for everything: a consumer whose messages come to an inbox of its own."""
        client, jetstream = self._client, self._kv.jetstream
        if self._listening is not None:
            self._listening.unsubscribe()
        self._messages.clear()
        self._broken = ""
        self._last = 0
        self._seen = {}
        self._is_given_out = False
        inbox = client.new_inbox()
        self._listening = client.listen(inbox, self._came, on_error=self._refused)
        stream = self._kv.stream
        name = inbox.replace(".", "-")
        answer = await jetstream.api(
            f"CONSUMER.CREATE.{stream}.{name}",
            {
                "stream_name": stream,
                "config": {
                    "name": name,
                    "deliver_subject": inbox,
                    "deliver_policy": "last_per_subject",
                    "ack_policy": "none",
                    "replay_policy": "instant",
                    "filter_subject": self._kv.prefix + self._pattern,
                    "max_deliver": 1,
                    "flow_control": True,
                    "idle_heartbeat": nanoseconds(self._heartbeat),
                    "inactive_threshold": nanoseconds(10 * self._heartbeat),
                    "headers_only": self._headers_only,
                    "num_replicas": 1,
                    "mem_storage": True,
                },
            },
        )
        delivered = answer.get("delivered")
        given_out = delivered.get("consumer_seq", 0) if isinstance(delivered, dict) else 0
        self._is_given_out = not answer.get("num_pending", 0) and not given_out

    async def _begin_again(self) -> None:
        """Until it is done: servers may be gone, or elect a leader."""
        self.restarts += 1
        rng = self._client.env.random("nats", "watch", self.restarts)
        pause = PAUSE
        while True:
            try:
                await self._client.wait_connected()
                await self._begin()
            except (NoResponders, RequestTimeout, OutcomeUnknown, NotConnected):
                pass
            except ApiError as error:
                if error.code == NOT_FOUND:
                    raise
            else:
                return
            await trio.sleep(pause * (0.5 + rng.random() / 2))
            pause = min(2 * pause, PAUSE_AT_MOST)

    async def _make_sure(self) -> None:
        """Say what the server has left out of the snapshot, which is then complete.

        A key that is written while the snapshot is given out is not in it: its old place is gone,
        and the new one is behind. And who gives it out may lag behind the leader.
        """
        kv = self._kv
        assert self._seen is not None
        try:
            for key in await kv.subjects(self._pattern):
                if key not in self._seen and (last := await kv.last(key)) is not None:
                    self._say(attrs.evolve(last, value=b"") if self._headers_only else last)
        except (NoResponders, RequestTimeout, OutcomeUnknown, NotConnected, ApiError) as error:
            self._broken = str(error)
            return
        self._is_given_out = False
        self._complete()

    def _end(self) -> None:
        self._client.when_connected.remove(self._connected)
        if self._listening is not None:
            self._listening.unsubscribe()

    # -- called by the reader

    def _came(self, message: Message) -> None:
        if len(self._messages) >= CAPACITY:
            self._broken = "more came than was taken"
        else:
            self._messages.append(message)
        self._wake()

    def _connected(self) -> None:
        self._broken = "there is another connection"
        self._wake()

    def _refused(self, error: NatsError) -> None:
        self._error = error
        self._wake()

    def _wake(self) -> None:
        task = self._task
        if task is not None:
            self._task = None
            trio.lowlevel.reschedule(task)

    async def _wait(self) -> None:
        """Until there is a message, or it is silent for too long."""

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        if self._error is not None:
            raise self._error
        if self._task is not None:
            raise trio.BusyResourceError("another task iterates over this watch")
        with trio.move_on_after(SILENT_AFTER * self._heartbeat) as patience:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(abort)
        if patience.cancelled_caught:
            self._broken = "nothing was heard"

    # -- what came

    def _take(self, message: Message) -> None:
        if message.status:
            self._take_status(message)
            return
        position = Position.of(message)
        if position.consumer_sequence != self._last + 1:
            self._broken = "a message is missing"
            return
        self._last = position.consumer_sequence
        key = message.subject[len(self._kv.prefix) :]
        entry = Entry(
            self._kv.bucket,
            key,
            message.data,
            position.sequence,
            operation_of(message.headers),
            position.created,
        )
        self._say(entry)
        if self._seen is not None and not position.pending:
            self._is_given_out = True

    def _take_status(self, message: Message) -> None:
        if message.status != HEARTBEAT_STATUS:
            self._broken = message.description
        elif message.reply:
            # Flow control: more may come when what came before has been taken.
            self._client.publish(message.reply)
        else:
            last = message.headers.get("Nats-Last-Consumer", "")
            if last.isdigit() and int(last) != self._last:
                self._broken = "a message is missing"
            elif self._seen is not None:
                # It has nothing more, though it said that there was: that is gone by now.
                self._is_given_out = True
            stalled = message.headers.get("Nats-Consumer-Stalled")
            if stalled:
                self._client.publish(stalled)

    def _say(self, entry: Entry) -> None:
        known = self._known.get(entry.key)
        now = (entry.revision, entry.created)
        # (Of a bucket that was made anew, revisions are lower and come later.)
        is_news = known is None or entry.revision > known[0] or entry.created > known[1]
        if self._seen is not None:
            self._seen[entry.key] = None
            is_news &= not self._said_initial or known is not None or _is_put(entry)
        if not is_news:
            return
        if _is_put(entry):
            self._known[entry.key] = now
        else:
            self._known.pop(entry.key, None)
        self._ready.append(entry)

    def _complete(self) -> None:
        """Everything that the bucket has was said: what is not there any more is gone."""
        seen, self._seen = self._seen or {}, None
        for key in [key for key in self._known if key not in seen]:
            revision, created = self._known.pop(key)
            self._ready.append(
                Entry(self._kv.bucket, key, b"", revision, Operation.EXPIRED, created)
            )
        if not self._said_initial:
            self._said_initial = True
            self._ready.append(INITIAL_DONE)


def _is_put(entry: Entry) -> bool:
    return entry.operation is Operation.PUT
