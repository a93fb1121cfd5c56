"""A watch by who is no actor: a wait for the end of an incarnation that returns its notice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from actors.ask import find_chain
from actors.cell import Cell
from actors.errors import AskCycle
from actors.failure import Terminated
from actors.mailbox import NOTHING
from actors.rare import Rare
from actors.ref import ActorRef
from actors.waiting import PENDING, Waiter

if TYPE_CHECKING:
    from actors.dispatcher import Dispatcher


class Monitor(Waiter):
    """Stands where a cell that watches stands, with what `actors.watching` needs of one."""

    _idle = True
    _front = _queue = None
    _message = NOTHING

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__(None)
        self._dispatcher = dispatcher
        self._rare = Rare()

    def _rare_part(self) -> Rare:
        return self._rare

    def _closed(self) -> bool:
        return False

    def tell(self, notice: Terminated) -> None:
        """The incarnation has ended."""
        self.resolve(notice)

    def abandoned(self) -> None:
        super().abandoned()
        # Not of the ref that was passed: at its address another actor may live by now.
        for watched in tuple(self._rare.watching):
            watched._unwatched_by(self)  # type: ignore[arg-type] # see the class


async def monitor(dispatcher: Dispatcher, ref: ActorRef) -> Terminated:
    """See `ActorSystem.watch`."""
    dispatcher.check_thread("watch")
    dispatcher.check_open()
    await trio.lowlevel.checkpoint_if_cancelled()
    asker = dispatcher.current or dispatcher.workers.cell_of_task()
    waiter = Monitor(dispatcher)
    ref._watched_by(waiter)  # type: ignore[arg-type] # see Monitor
    if waiter.value is not PENDING:
        await trio.lowlevel.checkpoint()
        notice = waiter.value
    elif asker is None:
        notice = await waiter.wait(dispatcher)
    else:
        for watched in waiter._rare.watching:
            if isinstance(watched, Cell):
                waiter.holder = watched
        if waiter.holder is not None and (chain := find_chain(waiter.holder, asker)) is not None:
            waiter.abandoned()
            raise AskCycle(chain)
        notice = await asker._wait_as(asker, waiter)
    assert isinstance(notice, Terminated)
    return notice
