"""How an actor ends: gracefully, by its time running out, or by being killed.

`stop` and `kill` never wait: they note what is wanted and wake the cell, whose own turn does it.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

import trio

from actors.ask import Ask
from actors.dead_letters import DeadLetterReason
from actors.errors import ActorStopped
from actors.failure import ExitReason, Failure
from actors.limits import nothing_left_open, stop_limit
from actors.mailbox import NOTHING
from actors.rare import Terms
from actors.states import DRAINING, RUNNING, STOPPED, STOPPING, enter
from actors.waiting import Raised, Waiter
from actors.watching import end_of_incarnation

if TYPE_CHECKING:
    from actors.actor import Actor
    from actors.cell import Cell
    from actors.rare import Rare

log = logging.getLogger("actors")


def stop(cell: Cell, reason: ExitReason) -> None:
    """Begin a graceful stop. Twice is once."""
    state = cell._state
    if reason is ExitReason.SHUTDOWN and _is_brutal(cell):
        kill(cell)
        return
    if state in (STOPPING, STOPPED, DRAINING):
        return
    if cell._idle and not cell._children and not cell._traits.has_stopped:
        rare = cell._rare
        if rare is None or not (rare.stash or rare.elsewhere):
            cell._close_door()
            terminate(cell, reason)
            return
    rare = cell._rare_part()
    if rare.stop_reason is not None:
        return
    rare.stop_reason = reason
    # If it has failed, it ends now, and needs no decision.
    rare.undecided = False
    cell._close_door()
    # What waits for room was not queued before the stop.
    _turn_away_senders(cell)
    seconds = stop_limit(cell)
    if rare.limit is not None:
        # That of a restart, which a stop has overtaken.
        rare.limit.cancel()
    rare.limit = cell._dispatcher.timers.add(
        seconds, None, functools.partial(_too_long, cell, seconds), {}
    )
    if state is RUNNING:
        enter(cell, DRAINING)
    cell._wake()


def _is_brutal(cell: Cell) -> bool:
    rare = cell._rare
    return rare is not None and rare.terms is not None and rare.terms.brutal


def _too_long(cell: Cell, seconds: float) -> None:
    if cell._state in (STOPPING, STOPPED):
        return
    log.warning(
        "%s did not finish what was queued within %g s of its stop: it is cancelled", cell, seconds
    )
    kill(cell)


def kill(top: Cell) -> None:
    """Stop an actor and all below it now: running handlers are cancelled, hooks still run."""
    todo = [top]
    while todo:
        cell = todo.pop()
        if cell._state is STOPPED:
            continue
        todo.extend((cell._children or {}).values())
        if cell._idle and not cell._children and not cell._traits.has_stopped:
            cell._close_door()
            leave_unhandled(cell)
            terminate(cell, ExitReason.KILLED)
            continue
        rare = cell._rare_part()
        if rare.killed:
            continue
        rare.killed = True
        if rare.waits_elsewhere is not None:
            rare.waits_elsewhere.resolve()
        cell._close_door()
        _turn_away_senders(cell)
        if cell._state is not STOPPING:
            cell._dispatcher.workers.cancel(cell)
            cell._wake()


def cut_off(top: Cell) -> None:
    """Kill an actor and all below it, without hooks: those that run end too. Its lease is over."""
    todo = [top]
    while todo:
        cell = todo.pop()
        rare = cell._rare_part()
        rare.terms = Terms(brutal=True)
        if rare.hook is not None:
            rare.hook.cancel()
        todo.extend((cell._children or {}).values())
    kill(top)


async def drain_and_stop(cell: Cell) -> None:
    """The queue of a draining cell is empty."""
    await finish(cell, cell._rare_part().stop_reason or ExitReason.NORMAL)


async def finish(cell: Cell, reason: ExitReason | Failure) -> None:
    rare = cell._rare_part()
    enter(cell, STOPPING)
    rare.undecided = False
    cell._close_door()
    if rare.limit is not None:
        rare.limit.cancel()
    cancel_timers(cell)
    leave_unhandled(cell)
    await stop_children(cell)
    hook_runs = cell._traits.has_stopped and not (rare.killed and _is_brutal(cell))
    if rare.lease is not None and not rare.lease.holds():
        hook_runs = False
    if cell._actor is not None and hook_runs:
        try:
            await _clean_up(cell, cell._actor)
        except BaseException:
            # At the very end of the system even hooks are cancelled; it has stopped all the same.
            terminate(cell, ExitReason.KILLED)
            raise
    if rare.killed and reason is ExitReason.SHUTDOWN:
        reason = ExitReason.KILLED
    terminate(cell, reason)


async def _clean_up(cell: Cell, actor: Actor) -> None:
    """Run `stopped()`, for a bounded time. What it raises is logged."""
    seconds = stop_limit(cell)
    if cell._dispatcher.workers.hooks_abandoned:
        seconds = 0.0
    with_time = trio.move_on_after(seconds)
    rare = cell._rare
    if rare is not None and rare.lease is not None:
        rare.hook = with_time
    try:
        with with_time:
            await nothing_left_open(cell, with_time, actor.stopped())
    except Exception as error:
        log.exception("%s: stopped() raised; it has stopped", cell, exc_info=error)
    if with_time.cancelled_caught and rare is not None and _is_brutal(cell):
        log.warning("%s: stopped() was cancelled: its lease is over", cell)
    elif with_time.cancelled_caught:
        log.warning("%s: stopped() took longer than %g s: it was cancelled", cell, seconds)


async def stop_children(cell: Cell) -> None:
    """Stop the children, the youngest first, each before the next (all at once if killed).

    Those on other nodes are stopped before those of this node; they are not waited for if killed.
    """
    if cell._rare is not None and cell._rare.elsewhere:
        await _stop_elsewhere(cell, cell._rare)
    children = cell._children
    if not children:
        return
    for child in tuple(reversed(children.values())):
        if cell._rare_part().killed:
            kill(child)
        else:
            stop(child, ExitReason.SHUTDOWN)
        if child._state is not STOPPED:
            waiter = Waiter(child)
            child._rare_part().stop_waiters.append(waiter)
            await cell._wait_as(cell, waiter)


async def _stop_elsewhere(cell: Cell, rare: Rare) -> None:
    while rare.elsewhere:
        ref = next(reversed(rare.elsewhere))
        try:
            if not rare.killed:
                ref._stop_as(ExitReason.SHUTDOWN)
                rare.waits_elsewhere = ref._end()
                await cell._wait_as(cell, rare.waits_elsewhere)
            if rare.killed:
                ref._stop_as(ExitReason.KILLED)
        finally:
            rare.waits_elsewhere = None
        rare.elsewhere.pop(ref, None)


def _turn_away_senders(cell: Cell) -> None:
    rare = cell._rare
    if rare is None:
        return
    while rare.senders:
        waiter, _ = rare.senders.popitem(last=False)
        if waiter.waits is None:
            continue  # It is being cancelled, and has yet to learn of it.
        counters = cell._dispatcher.counters
        if isinstance(waiter, Ask):
            counters.at_the_door += 1
            counters.rejected += 1
            waiter.stopped("it stopped before it had room")
        elif waiter.comes_back:
            waiter.resolve(Raised(ActorStopped(cell, waiter.message, "it stopped before")))
        else:
            counters.at_the_door += 1
            cell._dispatcher.dead_letters.add(cell, waiter.message, DeadLetterReason.STOPPED)
            waiter.resolve()


def leave_unhandled(cell: Cell) -> None:
    """What is left in the mailbox and the stash becomes dead letters; nobody gets room any more."""
    _turn_away_senders(cell)
    reason = DeadLetterReason.UNHANDLED_AT_STOP
    left: list[Any] = []
    rare = cell._rare
    if rare is not None:
        left.extend(rare.stash)
        rare.stash = []
    if cell._message is not NOTHING:
        left.append(cell._message)
        cell._message = NOTHING
    left.extend(reversed(cell._front or ()))
    # These took room; what is still in the queue did not yet.
    with_room = len(left)
    left.extend(cell._queue or ())
    cell._queue = cell._front = None
    dispatcher = cell._dispatcher
    cell._room += with_room
    if left and rare is not None and rare.terms is not None and rare.terms.returns_unhandled:
        left = cell._parent._take_back(left, rare)
    for item in left:
        dispatcher.counters.taken += 1
        if isinstance(item, Ask):
            if not item.stopped(reason.value):
                dispatcher.counters.expired += 1
                continue
            item = item.message
        failures = () if rare is None else rare.take_failures(item)
        dispatcher.dead_letters.add(cell, item, reason, failures)


def cancel_timers(cell: Cell) -> None:
    if cell._rare is not None:
        for timer in tuple(cell._rare.timers):
            timer.cancel()


def terminate(cell: Cell, reason: ExitReason | Failure) -> None:
    """The actor has stopped for good: everyone who waits for that is told, and all is let go."""
    enter(cell, STOPPED)
    cell._idle = False
    end_of_incarnation(cell, reason)
    cell._actor = None
    cell._args = ()
    cell._plain = None
    cell._queue = cell._front = None
    siblings = cell._parent._children
    if siblings is not None and siblings.get(cell._name) is cell:
        del siblings[cell._name]
    cell._parent._child_stopped(cell, reason)
    rare = cell._rare
    if rare is None:
        return
    rare.behaviour = None
    for ref in tuple(rare.elsewhere):
        # Of one that was killed, or whose constructor raised.
        ref._stop_as(ExitReason.KILLED)
    rare.elsewhere.clear()
    if rare.parent_waits is not None:
        parent_waits, rare.parent_waits = rare.parent_waits, None
        parent_waits.resolve()
    if rare.limit is not None:
        rare.limit.cancel()
    cancel_timers(cell)
    cleanups, rare.cleanups = rare.cleanups, []
    for cleanup in cleanups:
        cleanup()
    waiters, rare.stop_waiters = rare.stop_waiters, []
    for waiter in waiters:
        waiter.resolve()
    if rare.starter is not None:
        starter, rare.starter = rare.starter, None
        starter.resolve(Raised(ActorStopped(cell, None, "it was stopped before it had started")))
