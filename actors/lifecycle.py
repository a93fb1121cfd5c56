"""What comes before an actor's next message: its start, its end, a failed child, a notice.

`attend` is called by the cell's own turn, so two things never happen to one actor at once. It
reads the states of `states` like a table; what each one takes is in `spawning`, `failing`,
`stopping` and `watching`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.failing import carry_out, child_failed, failed, tell_parent
from actors.failure import ChildFailed, ExitReason, Failure, Signal
from actors.limits import start_in_time
from actors.states import DRAINING, FAILED, RUNNING, STARTING, STOPPED, STOPPING, enter
from actors.stopping import finish, leave_unhandled, stop_children, terminate
from actors.suspending import end_suspended
from actors.waiting import Raised

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.rare import Rare


async def attend(cell: Cell) -> bool:
    """Do what is urgent. Returns whether messages may be handled now."""
    rare = cell._rare_part()
    rare.attending = True
    try:
        return await _attend(cell, rare)
    finally:
        rare.attending = False


async def _attend(cell: Cell, rare: Rare) -> bool:
    while True:
        if cell._state is STOPPED or rare.cut:
            # Cut: this turn is over; what is urgent still is so in the next one.
            return False
        rare.urgent = False
        state = cell._state
        if rare.killed:
            await finish(cell, ExitReason.KILLED)
        elif rare.lease is not None and not rare.lease.holds():
            # A node that stood still may go on with this before it has noticed that.
            rare.lease.has_ended(cell)
            return False
        elif rare.ending is not None and rare.stop_reason is None:
            await end_suspended(cell, rare)
            return False
        elif rare.link_broken is not None:
            # Before the start: one that was cancelled because of this must not begin again.
            broken, rare.link_broken = rare.link_broken, None
            if state in (STARTING, RUNNING):
                await _fail(cell, broken, "link")
                return False
        elif state is STARTING:
            incarnation = rare.incarnation
            await _start(cell)
            if cell._state is FAILED or rare.incarnation != incarnation:
                # What always fails must not be restarted for ever within one turn.
                return False
        elif state is FAILED:
            if rare.stop_reason is not None:
                # Between two incarnations the failure is over and done with.
                await finish(cell, (not rare.between and rare.failure) or rare.stop_reason)
            elif rare.decision is None:
                return False
            else:
                await carry_out(cell, rare.decision)
                if cell._state is FAILED:
                    return False
        elif rare.signals:
            signal = rare.signals.popleft()
            if cell._traits.supervises:
                await _supervise(cell, signal)
            elif isinstance(signal, ChildFailed):
                child_failed(cell, signal)
        else:
            return state is RUNNING or state is DRAINING


async def _supervise(cell: Cell, signal: Signal) -> None:
    """Let a supervisor see to a child: it may have to wait for others."""
    assert cell._actor is not None
    try:
        await cell._actor._supervise(signal)
    except Exception as error:
        if cell._state in (RUNNING, DRAINING):
            origin = signal.failure if isinstance(signal, ChildFailed) else None
            failed(cell, error, "child_failed", None, origin)
        else:
            raise


async def _start(cell: Cell) -> None:
    rare = cell._rare_part()
    try:
        if cell._actor is not None and cell._traits.has_started:
            await start_in_time(cell)
    except Exception as error:
        await _fail(cell, error, "started")
        return
    if rare.link_broken is not None:
        # It linked itself to one that is gone, and did not wait for anything after that.
        broken, rare.link_broken = rare.link_broken, None
        await _fail(cell, broken, "link")
        return
    enter(cell, RUNNING if rare.stop_reason is None else DRAINING)
    if rare.starter is not None:
        starter, rare.starter = rare.starter, None
        starter.resolve()
    tell_parent(rare)


async def _fail(cell: Cell, error: Exception, during: str) -> None:
    """It failed; if somebody waits for its very start, that one is told instead of the parent."""
    rare = cell._rare_part()
    if rare.starter is None:
        failed(cell, error, during)
        return
    starter, rare.starter = rare.starter, None
    enter(cell, STOPPING)
    cell._close_door()
    leave_unhandled(cell)
    await stop_children(cell)
    terminate(cell, Failure(cell, error, during))
    starter.resolve(Raised(error))
