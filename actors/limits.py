"""Limits of time on what an actor does: each handler, its start, its stop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import trio

from actors._trio_private import cancel_status, close_what_is_open, is_left_open
from actors.errors import HandlerTimeout, LeftOpen, StartTimeout

if TYPE_CHECKING:
    from actors.cell import Cell


def stop_limit(cell: Cell) -> float:
    """The seconds that a stop may take: what its parent said of this child, or else its class."""
    rare = cell._rare
    if rare is not None and rare.terms is not None and rare.terms.shutdown is not None:
        return rare.terms.shutdown
    return cell._traits.cls.shutdown


async def nothing_left_open(cell: Cell, scope: trio.CancelScope, work: Awaitable[Any]) -> Any:
    """Await work inside a scope of ours; leave first what it has entered and not left.

    Raises:
        LeftOpen: there was something.
        Exception: whatever the work raised.
    """
    task = trio.lowlevel.current_task()
    status = cancel_status(scope)
    try:
        return await work
    finally:
        if is_left_open(task, status):
            # Our scope would be torn out from around it.
            raised = await close_what_is_open(task, status)
            raise LeftOpen(cell, raised)


async def handle_in_time(
    cell: Cell, receive: Callable[[Any], Coroutine[Any, Any, Any]], message: Any
) -> Any:
    """Run an async handler, for its class's `handle_within` seconds at the most.

    Raises:
        HandlerTimeout: the time was over; the handler has been cancelled.
    """
    seconds = cell._traits.cls.handle_within
    assert seconds is not None
    with trio.move_on_after(seconds) as limit:
        return await nothing_left_open(cell, limit, receive(message))
    # Only a cancellation by this very scope comes here.
    assert limit.cancelled_caught
    raise HandlerTimeout(cell, message, seconds)


async def start_in_time(cell: Cell) -> None:
    """Run the start hooks of the incarnation, for as long as its parent allows.

    Raises:
        StartTimeout: the time was over; the hook has been cancelled.
        Exception: whatever the hook raised.
    """
    actor, rare = cell._actor, cell._rare
    assert actor is not None
    seconds = None if rare is None or rare.terms is None else rare.terms.start_within
    if seconds is None:
        await actor._start()
        return
    with trio.move_on_after(seconds) as limit:
        await nothing_left_open(cell, limit, actor._start())
    if limit.cancelled_caught:
        raise StartTimeout(cell, seconds)
