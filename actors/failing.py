"""What happens when an actor fails: its parent decides, and the decision is carried out."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING

import trio

from actors.ask import Ask, find_chain
from actors.errors import AskCycle
from actors.failure import (
    ChildFailed,
    ChildrenDue,
    Directive,
    Escalate,
    Failure,
    Restart,
    Resume,
    Stop,
)
from actors.handling import unstash_all
from actors.incarnation import construct
from actors.limits import nothing_left_open, stop_limit
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
from actors.stopping import cancel_timers, finish, stop_children
from actors.streams import ItemWait
from actors.waiting import Raised
from actors.watching import end_of_incarnation, keep_links, leave_streams

if TYPE_CHECKING:
    from actors.actor import Actor
    from actors.cell import Cell
    from actors.rare import Rare
    from actors.ref import ActorRef

log = logging.getLogger("actors")


def failed(
    cell: Cell,
    error: BaseException,
    during: str,
    message: object = None,
    origin: Failure | None = None,
) -> Failure:
    """The actor failed: it handles nothing more until its parent has decided."""
    rare = cell._rare_part()
    # What it consumed may be held by the traceback: its producers must not wait for that.
    leave_streams(rare)
    failure = Failure(cell, error, during, message, cell.incarnation, origin)
    enter(cell, FAILED)
    cell._idle = False
    cell._plain = None
    rare.failure = failure
    rare.decision = None
    rare.undecided = False
    # First, so that a parent that waits for it is not taken for one that could never decide.
    tell_parent(rare)
    if rare.stop_reason is None and not rare.killed and rare.ending is None:
        cell._parent._decide_about(cell, failure)
    else:
        # It was about to end: there is nothing left to decide.
        what = "it was stopping" if rare.ending is None else "it was being restarted"
        cell._dispatcher.crash_reports.publish(cell, failure, what)
        cell._wake()
    return failure


def decide_about(parent: Cell, child: Cell, failure: Failure) -> None:
    """A child failed: its parent decides on its own next turn."""
    if parent._state in (STOPPING, STOPPED):
        decide(child, Stop())
        return
    parent._rare_part().signals.append(ChildFailed(child, failure))
    child._rare_part().undecided = True
    parent._wake()
    chain = find_chain(parent, child)
    if chain is not None:
        _break_wait(chain, failure)


def _break_wait(chain: list[Cell], failure: Failure) -> None:
    """The parent cannot decide, as it waits for the very child: end the last of these waits."""
    child, last = chain[0], chain[-2]
    for waiter in tuple(last._waits_for()):
        if waiter.holder is not child:
            continue
        ask = waiter.channel.ask if isinstance(waiter, ItemWait) else waiter
        if isinstance(ask, Ask):
            ask.failed(failure.exception)
        else:
            child._rare_part().senders.pop(waiter, None)  # type: ignore[call-overload]
            waiter.resolve(Raised(AskCycle(chain)))


def child_failed(cell: Cell, signal: ChildFailed) -> None:
    child = signal.child
    actor = cell._actor
    rare = child._rare
    if rare is None or child._state is not FAILED or rare.failure is not signal.failure:
        return  # Meanwhile it was stopped, or decided about.
    rare.undecided = False
    assert actor is not None
    try:
        directive = ask_parent(actor, child, signal.failure)
    except Exception as error:
        failed(cell, error, "child_failed", None, signal.failure)
        return
    if isinstance(directive, Escalate):
        failed(cell, signal.failure.exception, "escalated", None, signal.failure)
    else:
        reports = cell._dispatcher.crash_reports
        if reports.wanted():
            reports.publish(child, signal.failure, f"its parent decides: {directive}")
        decide(child, directive)


def ask_parent(actor: Actor, child: ActorRef, failure: Failure) -> Directive:
    """What the parent decides.

    Raises:
        TypeError: it is no decision.
        Exception: whatever its `child_failed` raised.
    """
    directive = actor.child_failed(child, failure)
    if not isinstance(directive, Directive):
        raise TypeError(
            f"{type(actor).__name__}.child_failed returned {directive!r}: "
            "it returns Escalate(), Restart(), Resume() or Stop()"
        )
    return directive


def decide(cell: Cell, directive: Directive) -> None:
    """Tell a failed cell what its parent decided; the cell's own turn carries it out."""
    rare = cell._rare_part()
    failure = rare.failure
    assert failure is not None
    rare.undecided = False
    if rare.stop_reason is not None or rare.killed:
        return  # It is about to end, whatever its parent would have liked.
    if isinstance(directive, Resume) and failure.during in ("__init__", "started"):
        directive = Restart()
    if (
        isinstance(directive, Restart)
        and directive.after == 0
        and not cell._children
        and not rare.elsewhere
        # Its own turn looks first whether it holds.
        and rare.lease is None
        and not cell._traits.has_restarting
        # A constructor that always fails must not recurse from decision to decision.
        and failure.during != "__init__"
    ):
        # Nothing to wait for, so it can be done on the spot; what has to wait is `started()`.
        enter(cell, RESTARTING)
        new_incarnation(cell)
        if rare.suspended and cell._state is not FAILED:
            rare.suspended = False
            cell._settle()
        return
    rare.decision = directive
    cell._wake()


async def carry_out(cell: Cell, directive: Directive) -> None:
    """Do what the parent decided."""
    rare = cell._rare_part()
    rare.decision = None
    failure = rare.failure
    assert failure is not None
    if isinstance(directive, Resume):
        enter(cell, RUNNING)
        keep_links(rare)
        if cell._traits.supervises:
            # It may have failed while it restarted its children: the rest of them is still due.
            rare.signals.append(ChildrenDue())
        _resume_origin(failure)
    elif isinstance(directive, Restart):
        enter(cell, RESTARTING)
        await end_incarnation(cell, failure)
        # (Hooks of the last one may have outlived the lease: then its turn looks again.)
        if directive.after == 0 and (rare.lease is None or rare.lease.holds()):
            new_incarnation(cell)
        else:
            # Failed it stays meanwhile: so a stop is immediate, and the mailbox keeps its order.
            enter(cell, FAILED)
            rare.between = True
            cell._dispatcher.timers.add(
                directive.after, None, functools.partial(_restart_now, cell), rare.timers
            )
    else:
        await finish(cell, failure)


def _restart_now(cell: Cell) -> None:
    decide(cell, Restart())


def _resume_origin(failure: Failure) -> None:
    """Who escalated is resumed; so is the child whose failure that was."""
    origin = failure.origin
    if origin is None:
        return
    child = origin.ref
    rare = getattr(child, "_rare", None)
    if getattr(rare, "failure", None) is origin and child._state is FAILED:  # type: ignore[attr-defined]
        decide(child, Resume())  # type: ignore[arg-type]


def tell_parent(rare: Rare) -> None:
    """Let a parent that waits for a change of this child look again."""
    waiter, rare.parent_waits = rare.parent_waits, None
    if waiter is not None:
        waiter.resolve()


async def end_incarnation(cell: Cell, failure: Failure) -> None:
    """Before the next incarnation: children stop, it cleans up, and who waits for it is told."""
    cancel_timers(cell)
    await stop_children(cell)
    if cell._actor is not None and cell._traits.has_restarting:
        await _restarting(cell, cell._actor, failure)
    # The hook too may have spawned, or set timers.
    await stop_children(cell)
    cancel_timers(cell)
    end_of_incarnation(cell, failure)
    cell._actor = None


async def _restarting(cell: Cell, actor: Actor, failure: Failure) -> None:
    """Run `restarting()`, for a bounded time. What it raises is logged."""
    seconds = stop_limit(cell)
    try:
        with trio.move_on_after(seconds) as limit:
            await nothing_left_open(cell, limit, actor.restarting(failure))
    except Exception as error:
        log.exception("%s: restarting() raised; the restart goes on", cell, exc_info=error)
    else:
        if limit.cancelled_caught:
            log.warning(
                "%s: restarting() took longer than %g s: it was cancelled; the restart goes on",
                cell,
                seconds,
            )


def new_incarnation(cell: Cell) -> None:
    """Make the next incarnation; the old one has nothing left to wait for."""
    rare = cell._rare_part()
    failure = rare.failure
    assert failure is not None
    cell._dispatcher.counters.restarts += 1
    cancel_timers(cell)
    end_of_incarnation(cell, failure)
    keep_links(rare)
    rare.between = False
    rare.behaviour = None
    rare.begun = None
    cell._actor = None
    if rare.stash:
        unstash_all(cell)
    rare.incarnation += 1
    try:
        # In a context of its own: who asked or decided is not to see what it sets.
        cell._dispatcher.base.copy().run(construct, cell)
    except Exception as error:
        failed(cell, error, "__init__")
        return
    if cell._traits.has_started:
        enter(cell, STARTING)
        rare.urgent = True
    else:
        enter(cell, RUNNING if rare.stop_reason is None else DRAINING)
        tell_parent(rare)
