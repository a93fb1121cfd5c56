"""Ending an actor's incarnation from outside, and beginning the next: how siblings restart.

`suspend` is to a restart what `stop` is to an end: the message in hand is finished, the mailbox is
kept. The actor is then as one that failed and waits for its parent's decision: `begin` gives it.
Both are for the actor's parent, and wait on the parent's own turn.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from actors.ask import find_chain
from actors.failing import decide, end_incarnation, tell_parent
from actors.failure import ExitReason, Failure, Restart
from actors.limits import stop_limit
from actors.ref import ActorRef
from actors.states import (
    DRAINING,
    FAILED,
    RESTARTING,
    RUNNING,
    STARTING,
    STOPPED,
    STOPPING,
    enter,
)
from actors.stopping import stop
from actors.waiting import Waiter

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.rare import Rare

log = logging.getLogger("actors")


async def suspend(parent: Cell, child: Cell, cause: Failure) -> None:
    """End the child's incarnation and keep its mailbox; returns when it has ended, or stopped.

    The handler that runs may finish, for the child's `shutdown` seconds; then it is cancelled,
    and that is said. Its `restarting(cause)` hook runs.
    """
    if child._state in (STOPPED, STOPPING, DRAINING):
        await _ended(parent, child)
        return
    rare = child._rare_part()
    rare.ending = cause
    is_brutal = rare.terms is not None and rare.terms.brutal
    if child._state is RESTARTING:
        pass  # It is about to end this incarnation anyway; its hooks and children have limits.
    elif is_brutal or find_chain(child, parent) is not None:
        # (Its handler waits for its parent, which waits for it, or for one that its parent has
        # to begin again: that ends by a cancellation only.)
        child._dispatcher.workers.cancel(child)
    else:
        seconds = stop_limit(child)
        rare.limit = child._dispatcher.timers.add(
            seconds, None, functools.partial(_too_long, child, seconds), {}
        )
    child._wake()
    await _until(parent, child, lambda: rare.ending is None or child._state is STOPPED)


async def end(parent: Cell, child: Cell) -> None:
    """Stop the child; returns when it has stopped. A wait of its handler for us is cancelled."""
    stop(child, ExitReason.SHUTDOWN)
    await _ended(parent, child)


async def _ended(parent: Cell, child: Cell) -> None:
    if child._state is DRAINING and find_chain(child, parent) is not None:
        # The message in hand; the next one that asks gets AskCycle.
        child._dispatcher.workers.cancel(child)
        child._wake()
    await _until(parent, child, lambda: child._state is STOPPED)


def is_suspended(child: Cell) -> bool:
    """Whether it waits for `begin`, or is about to."""
    rare = child._rare
    return child._state is FAILED or (rare is not None and rare.ending is not None)


async def begin(parent: Cell, child: Cell) -> bool:
    """Begin a suspended child's next incarnation. Whether it runs; else it failed or stopped."""
    # (Who waited for it to be suspended may have been interrupted.)
    rare = child._rare_part()
    await _until(parent, child, lambda: rare.ending is None or child._state is STOPPED)
    if child._state is FAILED:
        decide(child, Restart())
    return await begun(parent, child)


async def begun(parent: Cell, child: Cell) -> bool:
    """Wait for the end of the child's start. Whether it runs; else it failed or stopped."""
    rare = child._rare_part()
    # (While there is a decision, it has yet to be carried out.)
    await _until(
        parent,
        child,
        lambda: (
            child._state is STOPPED
            or (child._state not in (STARTING, RESTARTING) and rare.decision is None)
        ),
    )
    return child._state is RUNNING


async def end_suspended(cell: Cell, rare: Rare) -> None:
    """The cell's own part: end the incarnation, as a restart does, and wait in FAILED."""
    cause = rare.ending
    assert cause is not None
    if rare.limit is not None:
        # The handler has ended in time; hooks and children have limits of their own.
        rare.limit.cancel()
        rare.limit = None
    if cell._state is not FAILED:
        enter(cell, RESTARTING)
    # What it failed of meanwhile is no longer to be decided.
    rare.failure = cause
    rare.decision = None
    rare.undecided = False
    await end_incarnation(cell, cause)
    if cell._state is not FAILED:
        enter(cell, FAILED)
    rare.ending = None
    rare.between = True
    # As one that failed: who waits for it waits for its parent, for the search of cycles.
    rare.undecided = isinstance(cell._parent.as_ref(), ActorRef)
    tell_parent(rare)


async def _until(parent: Cell, child: Cell, done: Callable[[], bool]) -> None:
    rare = child._rare_part()
    while not done():
        waiter = Waiter(child)
        rare.parent_waits = waiter
        await parent._wait_as(parent, waiter)


def _too_long(cell: Cell, seconds: float) -> None:
    if cell._rare is not None and cell._rare.ending is not None and cell._state is not RESTARTING:
        log.warning("%s did not end within %g s of its restart: it is cancelled", cell, seconds)
        cell._dispatcher.workers.cancel(cell)
        cell._wake()
