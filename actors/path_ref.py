"""A ref by path: for an address where no actor lives, yet or any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from actors.address import Address
from actors.dead_letters import DeadLetterReason
from actors.errors import ActorStopped, LinkBroken
from actors.failure import ExitReason, Terminated
from actors.ref import ActorRef
from actors.waiting import Raised
from actors.watching import break_link, link, notify, take_back, unlink, unwatch, watch

if TYPE_CHECKING:
    from actors.ask import Ask
    from actors.cell import Cell
    from actors.streams import Channel
    from actors.system import ActorSystem


class PathRef(ActorRef):
    """Looks at each use who lives at its address now."""

    __slots__ = ("_address", "_system")

    def __init__(self, system: ActorSystem, address: Address) -> None:
        self._system = system
        self._address = address

    @property
    def address(self) -> Address:
        return self._address

    def tell(self, message: object) -> None:
        cell = self._system._find(self._address)
        if cell is not None:
            cell.tell(message)
            return
        dispatcher = self._system._dispatcher
        dispatcher.check_thread("tell")
        dispatcher.check_open()
        dispatcher.counters.at_the_door += 1
        dispatcher.dead_letters.add(self, message, DeadLetterReason.NO_ACTOR)

    async def send(self, message: object) -> None:
        cell = self._system._find(self._address)
        if cell is not None:
            await cell.send(message)
            return
        await trio.lowlevel.checkpoint()
        self.tell(message)

    async def ask(self, message: Any, timeout: float | None = 5.0) -> Any:
        cell = self._system._find(self._address)
        if cell is not None:
            return await cell.ask(message, timeout)
        await trio.lowlevel.checkpoint()
        dispatcher = self._system._dispatcher
        dispatcher.check_open()
        dispatcher.counters.at_the_door += 1
        dispatcher.counters.rejected += 1
        raise ActorStopped(self, message, self._nobody())

    def _nobody(self) -> str:
        if self._address.node == self._system.name:
            return "no actor lives at that address"
        return (
            f"no actor lives at that address: this system is {self._system.name!r}, "
            f"not {self._address.node!r}"
        )

    def _take_over(self, ask: Ask) -> None:
        cell = self._system._find(self._address)
        if cell is not None:
            cell._take_over(ask)
            return
        dispatcher = self._system._dispatcher
        dispatcher.counters.at_the_door += 1
        dispatcher.counters.rejected += 1
        ask.where = "forwarded"
        # Somebody had begun with it, or it could not have been forwarded.
        ask.answer(Raised(ActorStopped(self, ask.message, self._nobody(), started=True)))

    async def _open_stream(self, channel: Channel, request: object) -> None:
        cell = self._system._find(self._address)
        if cell is not None:
            await cell._open_stream(channel, request)
            return
        await trio.lowlevel.checkpoint()
        dispatcher = self._system._dispatcher
        dispatcher.check_open()
        dispatcher.counters.at_the_door += 1
        dispatcher.counters.rejected += 1
        raise ActorStopped(self, request, self._nobody())

    def _watched_by(self, watcher: Cell) -> None:
        cell = self._system._find(self._address)
        if cell is not None:
            watch(watcher, cell)
        else:
            notify(watcher, Terminated(self, ExitReason.NO_ACTOR))

    def _unwatched_by(self, watcher: Cell) -> None:
        cell = self._system._find(self._address)
        if cell is not None:
            unwatch(watcher, cell)
        else:
            take_back(
                watcher, lambda ref: isinstance(ref, PathRef) and ref.address == self._address
            )

    def _on_stop(self, callback: Callable[[], None]) -> None:
        cell = self._system._find(self._address)
        if cell is None:
            raise ActorStopped(self, None, self._nobody())
        cell._on_stop(callback)

    def _linked_by(self, other: Cell) -> None:
        cell = self._system._find(self._address)
        if cell is not None:
            link(other, cell)
        else:
            break_link(other, LinkBroken(self, ExitReason.NO_ACTOR))

    def _unlinked_by(self, other: Cell) -> None:
        cell = self._system._find(self._address)
        if cell is not None:
            unlink(other, cell)

    def stop(self) -> None:
        cell = self._system._find(self._address)
        if cell is not None:
            cell.stop()

    async def stopped(self) -> None:
        cell = self._system._find(self._address)
        if cell is not None:
            await cell.stopped()
        else:
            await trio.lowlevel.checkpoint()
