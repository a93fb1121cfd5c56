"""How an actor begins: `spawn` and `start`."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from actors.actor import actor_class
from actors.address import check_name
from actors.cell import Cell
from actors.errors import NameTaken, NotRunning
from actors.failure import ExitReason
from actors.incarnation import construct
from actors.mailbox import NOTHING
from actors.states import DRAINING, RUNNING, STARTING, STOPPED, STOPPING, enter
from actors.stopping import kill, leave_unhandled, terminate
from actors.waiting import Waiter

if TYPE_CHECKING:
    from actors.actor import Actor
    from actors.rare import Terms
    from actors.root import Root


def spawn(
    parent: Cell | Root,
    recipe: Callable[..., Actor],
    args: tuple[Any, ...],
    name: str | None,
    terms: Terms | None = None,
    *,
    is_checked: bool = False,
) -> Cell:
    """Make a child of `parent`. Its constructor runs here; its `started()` runs on its own turn.

    is_checked: the name can stand in an address; it may be one that only the runtime gives.

    Raises:
        NotAnActor, NameTaken, InvalidAddress: as their texts say.
        NotRunning, SystemClosed: the parent has stopped, or stops.
        WrongThread: called from a thread that does not run the system.
        Exception: whatever the constructor raised; nothing is spawned then.
    """
    dispatcher = parent._dispatcher
    dispatcher.check_thread("spawn")
    dispatcher.check_open()
    cls = actor_class(recipe)
    traits = cls._traits
    if parent._state in (STOPPING, STOPPED):
        raise NotRunning(
            dispatcher.system.name, f"{parent} is {parent._state.value}: it spawns no more children"
        )
    children = parent._children
    if children is None:
        children = parent._children = {}
    if name is None:
        name = f"{traits.name}~{dispatcher.env.next_id()}"
    else:
        if not is_checked:
            check_name(name)
        if name in children:
            raise NameTaken(name, children[name])
    make = dispatcher.cell_class or Cell
    cell = make(dispatcher, parent, name, traits, recipe, args)
    children[name] = cell
    above = parent._rare if isinstance(parent, Cell) else None
    if above is not None and above.lease is not None:
        # What belongs to an owner acts by the same lease.
        cell._rare_part().lease = above.lease
    if terms is not None:
        rare_part = cell._rare_part()
        rare_part.terms = terms
        rare_part.lease = terms.lease or rare_part.lease
    try:
        # In a copy of the caller's context: it may read there, but what it sets stays its own.
        contextvars.copy_context().run(construct, cell)
    except BaseException:
        try:
            _undo(cell)
        finally:
            if cell._state is STARTING and children.get(name) is cell and not cell._children:
                # Not even that was possible (no stack left): at least it is not in the tree.
                del children[name]
        raise
    if traits.has_started:
        cell._rare_part().urgent = True
        dispatcher.enqueue(cell)
    else:
        rare = cell._rare
        enter(cell, RUNNING if rare is None or rare.stop_reason is None else DRAINING)
        if cell._message is NOTHING and cell._queue is None and cell._rare is None:
            cell._idle = True
        else:
            # The constructor has sent to its own ref already, or has made timers or children.
            cell._settle()
    return cell


async def start(
    parent: Cell | Root,
    recipe: Callable[..., Actor],
    args: tuple[Any, ...],
    name: str | None,
    terms: Terms | None = None,
) -> Cell:
    """As `spawn`, and wait until `started()` has returned. A checkpoint.

    If cancelled, the child is stopped at once.

    Raises:
        Exception: whatever `started()` raised; the child is gone then, and its name is free.
        ActorStopped: it was stopped before `started()` had returned.
        otherwise as `spawn`.
    """
    dispatcher = parent._dispatcher
    dispatcher.check_thread("start")
    if dispatcher.current is None:
        await dispatcher.give_way()
    else:
        await trio.lowlevel.checkpoint_if_cancelled()
    cell = spawn(parent, recipe, args, name, terms)
    if cell._state is not STARTING:
        return cell
    waiter = Waiter(cell)
    cell._rare_part().starter = waiter
    try:
        await cell._wait_as(dispatcher.current or dispatcher.workers.cell_of_task(), waiter)
    except trio.Cancelled:
        kill(cell)
        raise
    return cell


def _undo(cell: Cell) -> None:
    """The constructor raised: what it sent to itself or spawned is not to stay."""
    cell._close_door()
    if cell._children:
        # The name stays taken until they have stopped.
        kill(cell)
        cell._dispatcher.enqueue(cell)
    else:
        enter(cell, STOPPING)
        leave_unhandled(cell)
        terminate(cell, ExitReason.KILLED)
