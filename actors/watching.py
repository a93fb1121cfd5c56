"""Watches: who is told when an actor ends. The monitors of Erlang."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from actors.dead_letters import DeadLetterReason
from actors.errors import LinkBroken
from actors.failure import ChildFailed, ExitReason, Failure, Terminated
from actors.mailbox import NOTHING
from actors.states import FAILED, RUNNING, STARTING, STOPPED

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.rare import Rare
    from actors.ref import ActorRef


def watch(watcher: Cell, watched: Cell) -> None:
    """See `Context.watch`."""
    if watched._state is STOPPED:
        notify(watcher, Terminated(watched, ExitReason.NO_ACTOR))
        return
    watched._rare_part().watchers[watcher] = None
    watcher._rare_part().watching[watched] = None


def unwatch(watcher: Cell, watched: Cell) -> None:
    """See `Context.unwatch`."""
    if watcher._rare is not None:
        watcher._rare.watching.pop(watched, None)
    if watched._rare is not None:
        watched._rare.watchers.pop(watcher, None)
    take_back(watcher, lambda ref: ref is watched)


def notify(watcher: Cell, notice: Terminated) -> None:
    """Put a notice into the watcher's mailbox, behind what it was sent before.

    There is room for it even in a full mailbox: there are only as many as watches. (In Erlang too
    a DOWN message comes after everything that the process had sent.)
    """
    dispatcher = watcher._dispatcher
    if watcher._closed():
        dispatcher.counters.at_the_door += 1
        dispatcher.dead_letters.add(watcher, notice, DeadLetterReason.STOPPED)
    elif watcher._idle:
        watcher.tell(notice)
    else:
        watcher._put(notice)
        if watcher._state is RUNNING and watcher._rare_part().suspended:
            watcher._wake()


def take_back(watcher: Cell, about: Callable[[ActorRef], bool]) -> None:
    """Take notices about such refs out of the mailbox, as if they were never sent."""

    def unwanted(item: object) -> bool:
        return isinstance(item, Terminated) and about(item.ref)

    for waiting in (watcher._front, watcher._queue):
        if waiting and any(unwanted(item) for item in waiting):
            kept = [item for item in waiting if not unwanted(item)]
            if waiting is watcher._front:
                watcher._room += len(waiting) - len(kept)
            waiting[:] = kept
    if not watcher._queue:
        # An idle actor has no queue, not even an empty one: tell looks for that first.
        watcher._queue = None
    if unwanted(watcher._message) and not watcher._handles():
        # It is next: the turn that is due finds nothing in hand.
        watcher._message = NOTHING
        watcher._room += 1
        watcher._wake()
    if watcher._rare is not None and watcher._rare.senders:
        # There may be room for them now.
        watcher._wake()


def link(cell: Cell, other: Cell) -> None:
    """See `Context.link`."""
    if other is cell:
        return
    if other._state is STOPPED:
        break_link(cell, LinkBroken(other, ExitReason.NO_ACTOR))
        return
    cell._rare_part().links[other] = _is_about_to_end(cell)
    other._rare_part().links[cell] = _is_about_to_end(other)


def _is_about_to_end(cell: Cell) -> bool:
    """Whether its incarnation is, so that a link is to its next one.

    Otherwise two that link each other as they start, and restart one after the other, would break
    each other's new link for ever.
    """
    rare = cell._rare
    return cell._state is FAILED or (
        rare is not None and (rare.link_broken is not None or rare.ending is not None)
    )


def keep_links(rare: Rare) -> None:
    """The next incarnation has begun, or this one goes on: its links are its own."""
    for other in rare.links:
        rare.links[other] = False


def unlink(cell: Cell, other: Cell) -> None:
    """See `Context.unlink`."""
    for one, two in ((cell, other), (other, cell)):
        if one._rare is not None:
            one._rare.links.pop(two, None)


def break_link(cell: Cell, broken: LinkBroken) -> None:
    """The cell fails before its next message, and what it handles now is cancelled."""
    rare = cell._rare_part()
    if cell._state in (STARTING, RUNNING) and rare.stop_reason is None and rare.link_broken is None:
        rare.link_broken = broken
        cell._dispatcher.workers.cancel(cell)
        cell._wake()


def leave_streams(rare: Rare) -> None:
    """Its incarnation consumes no more: who produces for it is not to wait."""
    for channel in tuple(rare.streams):
        channel.leave()


def end_of_incarnation(cell: Cell, reason: ExitReason | Failure) -> None:
    """Its deferred asks fail, its watchers are told, its links break, its watches end."""
    rare = cell._rare
    if rare is None:
        return
    rare.link_broken = None
    leave_streams(rare)
    for other, is_to_the_next in tuple(rare.links.items()):
        if is_to_the_next and cell._state is not STOPPED:
            continue
        unlink(cell, other)
        if reason is not ExitReason.NORMAL:
            break_link(other, LinkBroken(cell, reason))
    if not (rare.deferred or rare.watchers or rare.watching or rare.signals):
        return
    for ask in tuple(rare.deferred):
        if isinstance(reason, Failure):
            ask.failed(reason.exception)
        else:
            ask.stopped(f"it stopped ({reason.value}) before it replied")
    rare.deferred.clear()
    watchers = tuple(rare.watchers)
    rare.watchers.clear()
    for watcher in watchers:
        if watcher._rare is not None:
            watcher._rare.watching.pop(cell, None)
        notify(watcher, Terminated(cell, reason))
    for watched in tuple(rare.watching):
        if watched._rare is not None:
            watched._rare.watchers.pop(cell, None)
    rare.watching.clear()
    for signal in tuple(rare.signals):
        if not isinstance(signal, ChildFailed) or signal.child._state is not FAILED:
            rare.signals.remove(signal)
