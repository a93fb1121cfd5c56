"""A ref around a ref: what circuit breakers and rate limits have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from actors import ActorRef, Address
from actors.ask import Ask
from actors.cell import Cell
from actors.streams import Channel

Clock = Callable[[], float]


class WrappedRef(ActorRef):
    """Is to all but its wrapper's rules the ref that it wraps: address, stop, watch, link.

    clock: what tells the time in seconds; trio's, unless a test says otherwise.

    Raises:
        TypeError: `ref` is no ref.
    """

    def __init__(self, ref: ActorRef, clock: Clock = trio.current_time) -> None:
        if not isinstance(ref, ActorRef):
            raise TypeError(f"{type(self).__name__} wraps a ref, not {ref!r}")
        self.ref = ref
        self._clock = clock

    @property
    def address(self) -> Address:
        return self.ref.address

    def tell(self, message: object) -> None:
        self.ref.tell(message)

    async def send(self, message: object) -> None:
        await self.ref.send(message)

    async def ask(self, message: Any, timeout: float | None = 5.0) -> Any:
        return await self.ref.ask(message, timeout)

    async def _open_stream(self, channel: Channel, request: object) -> None:
        await self.ref._open_stream(channel, request)

    def stop(self) -> None:
        self.ref.stop()

    async def stopped(self) -> None:
        await self.ref.stopped()

    def _take_over(self, ask: Ask) -> None:
        self.ref._take_over(ask)

    def _watched_by(self, watcher: Cell) -> None:
        self.ref._watched_by(watcher)

    def _unwatched_by(self, watcher: Cell) -> None:
        self.ref._unwatched_by(watcher)

    def _on_stop(self, callback: Callable[[], None]) -> None:
        self.ref._on_stop(callback)

    def _linked_by(self, other: Cell) -> None:
        self.ref._linked_by(other)

    def _unlinked_by(self, other: Cell) -> None:
        self.ref._unlinked_by(other)
