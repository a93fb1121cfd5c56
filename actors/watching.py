"""Watches: who is told when an actor ends. The monitors of Erlang."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.dead_letters import DeadLetterReason
from actors.failure import ChildFailed, ExitReason, Failure, Terminated
from actors.states import FAILED, STOPPED, STOPPING

if TYPE_CHECKING:
    from actors.cell import Cell


def watch(watcher: Cell, watched: Cell) -> None:
    """See `Context.watch`."""
    if watched._state is STOPPED:
        notify(watcher, Terminated(watched, ExitReason.NO_ACTOR))
        return
    watched._rare_part().watchers[watcher] = None
    watcher._rare_part().watching[watched] = None


def unwatch(watcher: Cell, watched: Cell) -> None:
    """See `Context.unwatch`."""
    rare = watcher._rare
    if rare is None:
        return
    rare.watching.pop(watched, None)
    if watched._rare is not None:
        watched._rare.watchers.pop(watcher, None)
    for signal in tuple(rare.signals):
        if isinstance(signal, Terminated) and signal.ref is watched:
            rare.signals.remove(signal)
            # Taken back: it was never sent.
            watcher._dispatcher.counters.at_the_door -= 1


def notify(watcher: Cell, notice: Terminated) -> None:
    counters = watcher._dispatcher.counters
    counters.at_the_door += 1
    if watcher._state in (STOPPING, STOPPED):
        watcher._dispatcher.dead_letters.add(watcher, notice, DeadLetterReason.STOPPED)
        return
    watcher._rare_part().signals.append(notice)
    watcher._wake()


def end_of_incarnation(cell: Cell, reason: ExitReason | Failure) -> None:
    """Its deferred asks fail, its watchers are told, and it watches nobody any more."""
    rare = cell._rare
    if rare is None:
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
    kept: list[object] = []
    for signal in rare.signals:
        if isinstance(signal, Terminated):
            cell._dispatcher.dead_letters.add(cell, signal, DeadLetterReason.UNHANDLED_AT_STOP)
        elif isinstance(signal, ChildFailed) and signal.child._state is FAILED:
            kept.append(signal)
    rare.signals.clear()
    rare.signals.extend(kept)
