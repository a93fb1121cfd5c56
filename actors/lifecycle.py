"""From spawn to stop: what happens to an actor besides messages.

`attend` is what a cell's turn calls when something comes before the next message. The functions
that a sender or parent calls (`stop`, `kill`, `decide`) never wait: they note what is wanted
and wake the cell, whose own turn then does it. So two things never happen to an actor at once.
"""

from __future__ import annotations

import functools
import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from actors.actor import actor_class
from actors.address import check_name
from actors.ask import Ask
from actors.cell import Cell
from actors.dead_letters import DeadLetterReason
from actors.errors import ActorStopped, NameTaken, NotRunning
from actors.failure import (
    Directive,
    Escalate,
    ExitReason,
    Failure,
    Restart,
    Resume,
    Stop,
    Terminated,
)
from actors.mailbox import NOTHING
from actors.states import (
    DRAINING,
    FAILED,
    RESTARTING,
    RUNNING,
    STARTING,
    STOPPED,
    STOPPING,
    TRANSITIONS,
    State,
)
from actors.waiting import Waiter

if TYPE_CHECKING:
    from actors.actor import Actor
    from actors.ref import ActorRef
    from actors.root import Root

log = logging.getLogger("actors")


class ChildFailed:
    """Signal to a parent: decide about this child."""

    __slots__ = ("child", "failure")

    def __init__(self, child: Cell, failure: Failure) -> None:
        self.child = child
        self.failure = failure


def enter(cell: Cell, state: State) -> None:
    """Go to `state`, which must be one that may follow."""
    if state not in TRANSITIONS[cell._state]:
        raise AssertionError(f"{cell}: {cell._state.value} is not followed by {state.value}")
    cell._state = state


# -- spawn and start


def spawn(
    parent: Cell | Root, recipe: Callable[..., Actor], args: tuple[Any, ...], name: str | None
) -> Cell:
    """Make a child of `parent`. Its constructor runs here; its `started()` runs on its own turn.

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
    if parent._state in (STOPPING, STOPPED):
        raise NotRunning(
            dispatcher.system.name, f"{parent} is {parent._state.value}: it spawns no more children"
        )
    children = parent._children
    if children is None:
        children = parent._children = {}
    if name is None:
        name = f"{cls.__name__.lower()}~{dispatcher.env.next_id()}"
    else:
        check_name(name)
        if name in children:
            raise NameTaken(name, children[name])
    cell = Cell(dispatcher, parent, name, cls, recipe, args)
    children[name] = cell
    try:
        _construct(cell)
    except BaseException:
        _undo(cell)
        raise
    if cell._traits.has_started:
        cell._rare_part().urgent = True
        dispatcher.enqueue(cell)
    else:
        cell._state = RUNNING
        # A constructor can already have sent to its own ref.
        cell._settle()
    return cell


async def start(
    parent: Cell | Root, recipe: Callable[..., Actor], args: tuple[Any, ...], name: str | None
) -> Cell:
    """As `spawn`, and wait until `started()` has returned. A checkpoint.

    If cancelled, the child is stopped at once.

    Raises:
        Exception: whatever `started()` raised; the child is gone then, and its name is free.
        ActorStopped: it was stopped before `started()` had returned.
        otherwise as `spawn`.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    cell = spawn(parent, recipe, args, name)
    dispatcher = cell._dispatcher
    if cell._state is not STARTING:
        if dispatcher.current is None:
            await dispatcher.give_way()
        return cell
    waiter = Waiter(cell)
    cell._rare_part().starter = waiter
    try:
        await cell._wait_as(dispatcher.current or dispatcher.cell_of_task(), waiter)
    except trio.Cancelled:
        kill(cell)
        raise
    return cell


def _construct(cell: Cell) -> None:
    """Make an instance. Its context is there before its `__init__` runs."""
    from actors.context import Context

    recipe = cell._recipe
    args = cell._args
    keywords: dict[str, Any] = {}
    while isinstance(recipe, functools.partial):
        args = (*recipe.args, *args)
        keywords = {**recipe.keywords, **keywords}
        recipe = recipe.func
    cls = cell._traits.cls
    actor: Actor = cls.__new__(cls) if cls.__new__ is object.__new__ else cls.__new__(
        cls, *args, **keywords
    )
    object.__setattr__(actor, "context", Context(cell))
    cell._actor = actor
    try:
        actor.__init__(*args, **keywords)  # type: ignore[misc]
    except BaseException:
        cell._actor = None
        raise


def _undo(cell: Cell) -> None:
    """The constructor raised: what it spawned or sent is not to stay."""
    cell._close_door()
    cell._state = STOPPING
    for child in tuple((cell._children or {}).values()):
        kill(child)
    terminate(cell, ExitReason.KILLED)


# -- what comes before the next message


async def attend(cell: Cell) -> bool:
    """Do what is urgent. Returns whether messages may be handled now."""
    rare = cell._rare_part()
    while True:
        rare.urgent = False
        state = cell._state
        if state is STOPPED:
            return False
        if rare.killed:
            await _stop(cell, ExitReason.KILLED)
        elif state is STARTING:
            await _start(cell)
        elif state is FAILED:
            if rare.stop_reason is not None:
                await _stop(cell, rare.stop_reason)
            elif rare.decision is None:
                return False
            else:
                await _carry_out(cell, rare.decision)
        elif rare.signals:
            signal = rare.signals.popleft()
            rare.urgent = bool(rare.signals)
            if isinstance(signal, ChildFailed):
                _child_failed(cell, signal)
            else:
                _take_out_of_turn(cell, signal)
                return True
        else:
            return state is RUNNING or state is DRAINING


def _take_out_of_turn(cell: Cell, notice: object) -> None:
    """Let a notice of termination be the next message, before those that wait."""
    if cell._message is not NOTHING:
        if cell._queue is None:
            cell._queue = deque()
        cell._queue.appendleft(cell._message)
    cell._message = notice
    # It took no room when it came.
    cell._room -= 1
    cell._dispatcher.counters.at_the_door -= 1


async def _start(cell: Cell) -> None:
    rare = cell._rare_part()
    try:
        if cell._actor is not None and cell._traits.has_started:
            await cell._actor.started()
    except Exception as error:
        if rare.starter is not None:
            starter, rare.starter = rare.starter, None
            enter(cell, STOPPING)
            cell._close_door()
            _leave_unhandled(cell, DeadLetterReason.UNHANDLED_AT_STOP)
            await _stop_children(cell)
            terminate(cell, _failure(cell, error, "started"))
            starter.resolve(error=error)
        else:
            failed(cell, error, "started")
        return
    enter(cell, RUNNING if rare.stop_reason is None else DRAINING)
    if rare.starter is not None:
        starter, rare.starter = rare.starter, None
        starter.resolve()


# -- failure and the parent's decision


def _failure(cell: Cell, error: BaseException, during: str, message: object = None) -> Failure:
    return Failure(cell, error, during, message, cell.incarnation)


def failed(
    cell: Cell,
    error: BaseException,
    during: str,
    message: object = None,
    origin: Failure | None = None,
) -> None:
    """The actor failed: it handles nothing more until its parent has decided."""
    rare = cell._rare_part()
    failure = Failure(cell, error, during, message, cell.incarnation, origin)
    enter(cell, FAILED)
    cell._idle = False
    cell._plain = None
    rare.failure = failure
    rare.decision = None
    if rare.stop_reason is None:
        cell._parent._decide_about(cell, failure)
    else:
        # It was stopping: there is nothing left to decide.
        log.error("%s; it was stopping", failure.describe(), exc_info=error)
        decide(cell, Stop())


def decide_about(parent: Cell, child: Cell, failure: Failure) -> None:
    """A child failed: its parent decides on its own next turn."""
    if parent._state in (STOPPING, STOPPED):
        decide(child, Stop())
        return
    parent._rare_part().signals.append(ChildFailed(child, failure))
    parent._wake()


def _child_failed(cell: Cell, signal: ChildFailed) -> None:
    child = signal.child
    actor = cell._actor
    rare = child._rare
    if rare is None or child._state is not FAILED or rare.failure is not signal.failure:
        return  # Meanwhile it was stopped, or decided about.
    assert actor is not None
    try:
        directive = actor.child_failed(child, signal.failure)
        if not isinstance(directive, Directive):
            raise TypeError(
                f"{type(actor).__name__}.child_failed returned {directive!r}: "
                "it returns Escalate(), Restart(), Resume() or Stop()"
            )
    except Exception as error:
        failed(cell, error, "child_failed", signal.failure)
        return
    if isinstance(directive, Escalate):
        failed(cell, signal.failure.exception, "child_failed", None, signal.failure)
    else:
        log.error(
            "%s; its parent decides: %s",
            signal.failure.describe(),
            directive,
            exc_info=signal.failure.exception,
        )
        decide(child, directive)


def decide(cell: Cell, directive: Directive) -> None:
    """Tell a failed cell what its parent decided; the cell's own turn carries it out."""
    rare = cell._rare_part()
    if isinstance(directive, Resume) and rare.failure is not None:
        if rare.failure.during in ("__init__", "started"):
            directive = Restart()
    if isinstance(directive, Restart):
        if directive.after > 0:

            def begin() -> None:
                if cell._state is FAILED and rare.decision is None:
                    rare.decision = Restart()
                    cell._wake()

            cell._dispatcher.timers.add(directive.after, None, begin, rare.timers)
            return
        if not cell._children and not cell._traits.has_restarting:
            # Nothing to wait for, so it can be done on the spot; what has to wait is `started()`.
            _new_incarnation(cell)
            if cell._state is RUNNING and rare.suspended:
                rare.suspended = False
                cell._settle()
            elif cell._state is STARTING:
                cell._wake()
            return
    rare.decision = directive
    cell._wake()


async def _carry_out(cell: Cell, directive: Directive) -> None:
    rare = cell._rare_part()
    rare.decision = None
    failure = rare.failure
    assert failure is not None
    if isinstance(directive, Resume):
        enter(cell, RUNNING)
    elif isinstance(directive, Restart):
        enter(cell, RESTARTING)
        _cancel_timers(cell)
        await _stop_children(cell)
        if cell._actor is not None and cell._traits.has_restarting:
            try:
                await cell._actor.restarting(failure)
            except Exception as error:
                log.exception("%s: restarting() raised; the restart goes on", cell, exc_info=error)
        _new_incarnation(cell)
    else:
        await _stop(cell, failure)


def _new_incarnation(cell: Cell) -> None:
    """The old incarnation ends, for everyone who waits for it; a new one is made."""
    rare = cell._rare_part()
    failure = rare.failure
    assert failure is not None
    cell._dispatcher.counters.restarts += 1
    _cancel_timers(cell)
    _end_of_incarnation(cell, failure)
    cell._behaviour = None
    cell._actor = None
    if rare.stash:
        rare.stashed_now = False
        cell._unstash_all()
    rare.incarnation += 1
    try:
        _construct(cell)
    except Exception as error:
        if cell._state is not FAILED:
            cell._state = RUNNING  # failed() goes on from a state that can fail
            failed(cell, error, "__init__")
            return
        rare.failure = _failure(cell, error, "__init__")
        rare.decision = None
        cell._parent._decide_about(cell, rare.failure)
        return
    cell._state = STARTING if cell._traits.has_started else RUNNING
    rare.urgent = rare.urgent or cell._state is STARTING


def _end_of_incarnation(cell: Cell, reason: ExitReason | Failure) -> None:
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
        _notify(watcher, Terminated(cell, reason))
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


def _cancel_timers(cell: Cell) -> None:
    if cell._rare is not None:
        for timer in tuple(cell._rare.timers):
            timer.cancel()


# -- stopping


def stop(cell: Cell, reason: ExitReason) -> None:
    """Begin a graceful stop. Twice is once."""
    state = cell._state
    if state in (STOPPING, STOPPED, DRAINING):
        return
    if cell._idle and not cell._children and not cell._traits.has_stopped:
        rare = cell._rare
        if rare is None or not rare.stash:
            cell._close_door()
            terminate(cell, reason)
            return
    rare = cell._rare_part()
    if rare.stop_reason is not None:
        return
    rare.stop_reason = reason
    cell._close_door()
    # What waits for room was not queued before the stop.
    _turn_away_senders(cell)
    seconds = cell._traits.cls.shutdown
    rare.limit = cell._dispatcher.timers.add(
        seconds, None, functools.partial(_too_long, cell, seconds), {}
    )
    if state is RUNNING:
        enter(cell, DRAINING)
    cell._wake()


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
            _leave_unhandled(cell, DeadLetterReason.CANCELLED)
            terminate(cell, ExitReason.KILLED)
            continue
        rare = cell._rare_part()
        if rare.killed:
            continue
        rare.killed = True
        cell._close_door()
        _turn_away_senders(cell)
        if cell._state is not STOPPING:
            cell._dispatcher.cancel(cell)
            cell._wake()


async def drain_and_stop(cell: Cell) -> None:
    """The queue of a draining cell is empty."""
    await _stop(cell, cell._rare_part().stop_reason or ExitReason.NORMAL)


async def _stop(cell: Cell, reason: ExitReason | Failure) -> None:
    rare = cell._rare_part()
    enter(cell, STOPPING)
    cell._close_door()
    if rare.limit is not None:
        rare.limit.cancel()
    _cancel_timers(cell)
    _leave_unhandled(
        cell,
        DeadLetterReason.CANCELLED if rare.killed else DeadLetterReason.UNHANDLED_AT_STOP,
    )
    await _stop_children(cell)
    actor = cell._actor
    if actor is not None and cell._traits.has_stopped:
        seconds = cell._traits.cls.shutdown
        with trio.move_on_after(seconds) as scope:
            try:
                await actor.stopped()
            except Exception as error:
                log.exception("%s: stopped() raised; it has stopped", cell, exc_info=error)
            except trio.Cancelled:
                # By its own limit or, at the very end of the system, by that one.
                if not scope.cancel_called:
                    terminate(cell, ExitReason.KILLED)
                raise
        if scope.cancelled_caught:
            log.warning("%s: stopped() took longer than %g s: it was cancelled", cell, seconds)
    if rare.killed and reason is ExitReason.SHUTDOWN:
        reason = ExitReason.KILLED
    terminate(cell, reason)


async def _stop_children(cell: Cell) -> None:
    """Stop the children, the youngest first, each before the next (all at once if killed)."""
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


def _turn_away_senders(cell: Cell) -> None:
    rare = cell._rare
    if rare is None:
        return
    while rare.senders:
        waiter, _ = rare.senders.popitem(last=False)
        counters = cell._dispatcher.counters
        counters.at_the_door += 1
        if isinstance(waiter, Ask):
            counters.rejected += 1
            waiter.stopped("it stopped before it had room")
        else:
            cell._dispatcher.dead_letters.add(cell, waiter.message, DeadLetterReason.STOPPED)
            waiter.resolve()


def _leave_unhandled(cell: Cell, reason: DeadLetterReason) -> None:
    """What is left in the mailbox and the stash becomes dead letters."""
    left: list[Any] = []
    rare = cell._rare
    if rare is not None:
        left.extend(rare.stash)
        rare.stash = []
    if cell._message is not NOTHING and not cell._started:
        left.append(cell._message)
        cell._message = NOTHING
    if cell._queue:
        left.extend(cell._queue)
    cell._queue = None
    dispatcher = cell._dispatcher
    for item in left:
        cell._room += 1
        dispatcher.counters.taken += 1
        if isinstance(item, Ask):
            if not item.stopped(f"{reason.value}"):
                dispatcher.counters.expired += 1
                continue
            item = item.message
        dispatcher.dead_letters.add(cell, item, reason)


def terminate(cell: Cell, reason: ExitReason | Failure) -> None:
    """The actor has stopped for good: everyone who waits for that is told, and all is let go."""
    enter(cell, STOPPED)
    cell._idle = False
    _end_of_incarnation(cell, reason)
    cell._actor = None
    cell._behaviour = None
    cell._plain = None
    cell._queue = None
    siblings = cell._parent._children
    if siblings is not None and siblings.get(cell._name) is cell:
        del siblings[cell._name]
    cell._parent._child_stopped(cell, reason)
    rare = cell._rare
    if rare is None:
        return
    if rare.limit is not None:
        rare.limit.cancel()
    _cancel_timers(cell)
    waiters, rare.stop_waiters = rare.stop_waiters, []
    for waiter in waiters:
        waiter.resolve()
    if rare.starter is not None:
        starter, rare.starter = rare.starter, None
        starter.resolve(error=ActorStopped(cell, None, "it was stopped before it had started"))


# -- watching


def watch(watcher: Cell, ref: ActorRef) -> None:
    """See `Context.watch`."""
    watcher._dispatcher.check_thread("watch")
    if not isinstance(ref, Cell):
        raise TypeError(f"watch() takes the ref of an actor, not {ref!r}")
    if ref._state is STOPPED:
        _notify(watcher, Terminated(ref, ExitReason.NO_ACTOR))
        return
    ref._rare_part().watchers[watcher] = None
    watcher._rare_part().watching[ref] = None


def unwatch(watcher: Cell, ref: ActorRef) -> None:
    """See `Context.unwatch`."""
    rare = watcher._rare
    if rare is None or not isinstance(ref, Cell):
        return
    rare.watching.pop(ref, None)
    if ref._rare is not None:
        ref._rare.watchers.pop(watcher, None)
    for signal in tuple(rare.signals):
        if isinstance(signal, Terminated) and signal.ref is ref:
            rare.signals.remove(signal)
            # Taken back: it was never sent.
            watcher._dispatcher.counters.at_the_door -= 1


def _notify(watcher: Cell, notice: Terminated) -> None:
    counters = watcher._dispatcher.counters
    counters.at_the_door += 1
    if watcher._state in (STOPPING, STOPPED):
        watcher._dispatcher.dead_letters.add(watcher, notice, DeadLetterReason.STOPPED)
        return
    watcher._rare_part().signals.append(notice)
    watcher._wake()
