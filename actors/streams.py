"""Streaming replies: a handler returns an async generator, and `ref.stream()` iterates over it.

The request is an ordinary Ask. Only what waits for its outcome is no asker but a Sink: the items go
there, past the mailbox, and the outcome of the ask is the end of the stream. So whatever ends an
ask (a failure, a stop, a full mailbox) ends a stream, by the same code.
"""

from __future__ import annotations

import contextlib
import weakref
from collections import deque
from collections.abc import Callable
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import trio

from actors.ask import Ask, check_cycle
from actors.errors import AskTimeout, NotAMessage, brief
from actors.sinks import END, Sink
from actors.timers import Expiring, check_seconds
from actors.waiting import PAUSE, PENDING, Raised, Waiter

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.dispatcher import Dispatcher
    from actors.ref import ActorRef

T = TypeVar("T")

PAUSE_EVERY: Final = 64
"""Items that may be produced, where the buffer has room for more, before others have a turn."""


class ItemWait(Waiter):
    """A consumer that waits for an item."""

    __slots__ = ("channel", "deadline", "expected", "timeout")

    def __init__(self, channel: Channel, timeout: float | None) -> None:
        self.value: Any = PENDING
        self.waits = None
        self.channel = channel
        self.timeout = timeout
        self.deadline = inf
        self.expected: dict[Expiring, None] | None = None

    @property
    def holder(self) -> Cell | None:  # type: ignore[override] # a forward changes it meanwhile
        """Who has to produce the item; None if whoever holds a Reply may end the wait."""
        ask = self.channel.ask
        return None if ask is None or ask.where == "deferred" else ask.holder

    def resolve(self, value: Any = None) -> bool:
        if self.expected is not None:
            self.expected.pop(self, None)
        return super().resolve(value)

    def expire(self) -> None:
        """The time is up."""
        channel = self.channel
        assert channel.ask is not None
        seconds = channel.timeout or 0.0
        error = AskTimeout(channel.ask.holder, channel.ask.message, seconds, channel.ask.where)
        if super().resolve(Raised(error)):
            channel.leave_because(error)

    def abandoned(self) -> None:
        super().abandoned()
        if self.expected is not None:
            self.expected.pop(self, None)


class Channel(Sink):
    """A stream whose consumer is in this process: a bounded buffer between the two.

    The producer waits when the buffer is full, and goes on when half of it has been taken: so they
    take turns once in many items.
    """

    __slots__ = (
        "_dropped",
        "_listeners",
        "_taker",
        "_wakes_at",
        "dispatcher",
        "ended",
        "error",
        "first_timeout",
        "items",
        "owner",
        "size",
        "timeout",
    )

    def __init__(self, size: int, timeout: float | None) -> None:
        super().__init__()
        self.items: deque[Any] = deque()
        self.size = size
        self._wakes_at = size // 2
        self.timeout = timeout
        # What is left of it for the first item, where a part was used before the request was sent.
        self.first_timeout = timeout
        self.dispatcher: Dispatcher | None = None
        self.owner: Cell | None = None
        self._reset()

    def _reset(self) -> None:
        self.ended = False
        self.error: BaseException | None = None
        self._taker: ItemWait | None = None
        self._listeners: list[Callable[[BaseException | None], None]] = []
        self._dropped: weakref.ref[Stream[Any]] | None = None

    # -- the producing side

    async def put(self, item: Any) -> bool:
        if self.gone:
            return False
        items = self.items
        if len(items) >= self.size:
            # A scope of the generator has ended its wait for room, but there is none yet.
            await self.wait_for_room()
        items.append(item)
        taker = self._taker
        if taker is not None:
            self._taker = None
            taker.resolve()
        waiting = len(items)
        if waiting >= self.size:
            await self.wait_for_room()
        elif not waiting % PAUSE_EVERY:
            self.putting = True
            await PAUSE
            self.putting = False
        return not self.gone

    def end(self, error: BaseException | None) -> None:
        if not self.ended:
            self.error = error
            self._finish(error)

    def _finish(self, outcome: BaseException | None) -> None:
        self.ended = True
        self._dropped = None
        if self.owner is not None and self.owner._rare is not None:
            self.owner._rare.streams.pop(self, None)
        taker, self._taker = self._taker, None
        if taker is not None:
            taker.resolve()
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener(outcome)

    # -- the consuming side

    def open(self, cell: Cell, message: object) -> None:
        """Send the request to an actor.

        Raises:
            AskCycle: the actor waits for the one who consumes.
        """
        self.dispatcher = dispatcher = cell._dispatcher
        self.consumer = dispatcher.current
        self.owner = owner = self.consumer or dispatcher.workers.cell_of_task()
        if owner is not None:
            check_cycle(cell, owner)
            owner._rare_part().streams[self] = None
        self.request(Ask(message, owner, cell, inf, None))
        assert self.ask is not None
        cell._put_ask(self.ask)

    def open_again(self) -> None:
        """Nobody took the request: another actor is to be sent it."""
        assert self.ended
        assert not self.items
        self._reset()

    def when_ended(self, listener: Callable[[BaseException | None], None]) -> None:
        """Call it once: with None, the error the consumer gets, or GeneratorExit if it left."""
        if self.ended:
            listener(self.error)
        else:
            self._listeners.append(listener)

    async def take(self) -> Any:
        """The next item; END if there is none. As for `Stream.__anext__`."""
        items = self.items
        if not items and not self.ended:
            await self._wait_for_item()
        if items:
            item = items.popleft()
            if self._room is not None and len(items) <= self._wakes_at:
                self.there_is_room()
            return item
        error, self.error = self.error, None
        if error is None:
            return END
        try:
            raise error
        finally:
            # The traceback holds this frame, which must not hold the error.
            del error

    async def _wait_for_item(self) -> None:
        dispatcher = self.dispatcher
        assert dispatcher is not None
        assert self.ask is not None
        self.consumer = dispatcher.current
        consumer = self.consumer or dispatcher.workers.cell_of_task()
        producer = self.ask.holder
        if consumer is not None and (producer._waiting is not None or producer._rare is not None):
            check_cycle(producer, consumer)
        timeout, self.first_timeout = self.first_timeout, self.timeout
        self._taker = wait = ItemWait(self, timeout)
        if timeout is not None:
            dispatcher.timers.expect(wait)
        if consumer is None:
            await wait.wait(dispatcher)
        else:
            await consumer._wait_as(consumer, wait)

    def leave(self) -> None:
        self.leave_because(GeneratorExit())

    def leave_because(self, outcome: BaseException) -> None:
        """The consumer takes no more. Twice, or after the end, is no error."""
        self.items.clear()
        self.error = None
        super().leave()
        if not self.ended:
            self._finish(outcome)

    def leave_with(self, stream: Stream[Any]) -> None:
        """Leave when nobody holds `stream` any more: `break` drops it, and calls nothing.

        A collector may notice that at any moment and in any thread, so it is only noted then;
        what is to be done is done by trio, from its own loop, soon after.
        """
        if self.dispatcher is None or self.ended:
            return
        token = self.dispatcher.system.from_thread._token
        assert token is not None
        soon = token.run_sync_soon

        def leave() -> None:
            if self.dispatcher is not None and self.dispatcher.is_open:
                self.leave()

        def dropped(_: object) -> None:
            with contextlib.suppress(trio.RunFinishedError):
                soon(leave)

        self._dropped = weakref.ref(stream, dropped)


class Stream(Generic[T]):
    """The items of a streaming reply, one at a time: what `ref.stream()` returns.

        async for line in ref.stream(Lines("a.txt")): ...

        async with ref.stream(Lines("a.txt")) as lines:
            async for line in lines: ...

    The request is sent by the first `__anext__`, or by `async with`. See `ActorRef.stream`.
    """

    __slots__ = ("__weakref__", "_busy", "_channel", "_closed", "_opened", "_ref", "_request")

    def __init__(self, ref: ActorRef, request: object, buffer: int, timeout: float | None) -> None:
        if request.__class__ is type:
            raise NotAMessage(request, "is a class; stream takes an instance of it")
        if type(buffer) is not int or buffer < 1:
            raise ValueError(f"buffer is an int from 1 up, a number of items: {buffer!r}")
        if timeout is not None:
            check_seconds(timeout, "timeout")
        self._ref = ref
        self._request = request
        self._channel = Channel(buffer, timeout)
        self._opened = self._closed = self._busy = False

    def __aiter__(self) -> Stream[T]:
        return self

    async def __anext__(self) -> T:
        """The next item. A cancellation point; if cancelled, the stream is closed.

        Raises:
            StopAsyncIteration: the generator has come to its end, or the stream was closed.
            ActorFailed: the generator raised; `.cause` is what. The items before it come first.
            ActorStopped: the actor stops, or had stopped. The items before it come first.
            AskTimeout: no item came in time; the stream is closed.
            AskCycle: the actor, directly or not, waits for the one who consumes.
            NotStreamable: the handler answered with a plain value.
            trio.BusyResourceError: another task waits for an item of this stream.
        """
        if self._closed:
            raise StopAsyncIteration
        if self._busy:
            raise trio.BusyResourceError("another task waits for an item of this stream")
        channel = self._channel
        self._busy = True
        item: Any = END
        try:
            if not self._opened:
                await self._open()
            elif channel.dispatcher is not None:
                await give_way(channel.dispatcher)
            item = await channel.take()
        finally:
            self._busy = False
            if item is END:
                self._close()
        if item is END:
            raise StopAsyncIteration
        return item  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        """Take no more items: the producer's generator is closed. Never waits for that."""
        self._close()

    async def __aenter__(self) -> Stream[T]:
        if not self._opened and not self._closed:
            try:
                await self._open()
            except BaseException:
                self._close()
                raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    async def _open(self) -> None:
        self._opened = True
        await self._ref._open_stream(self._channel, self._request)
        self._channel.leave_with(self)

    def _close(self) -> None:
        self._closed = True
        self._channel.leave()

    def __repr__(self) -> str:
        return f"<Stream of {brief(self._request, 80)} from {self._ref}>"


async def give_way(dispatcher: Dispatcher) -> None:
    """A cancellation point. A trio task lets others run now and then; an actor has its turns."""
    if dispatcher.current is None:
        await dispatcher.give_way()
    else:
        await trio.lowlevel.checkpoint_if_cancelled()
