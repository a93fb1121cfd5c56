"""What a handler can do with the message in hand and with its own mailbox; see `Context`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actors.actor import is_async
from actors.ask import STREAMED, Ask, check_cycle, find_chain
from actors.dead_letters import DeadLetterReason
from actors.errors import AskCycle, MailboxFull, NotRunning
from actors.rare import SendWait
from actors.states import RUNNING, STOPPED

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.ref import ActorRef
    from actors.timers import Timer


def in_hand(cell: Cell, what: str) -> Any:
    """The message that is being handled, or its Ask.

    Raises:
        NotRunning: none is.
    """
    if not cell._handles():
        raise NotRunning(
            cell._dispatcher.system.name,
            f"context.{what}() belongs in a handler of {cell}: no message is being handled now",
        )
    if isinstance(cell._message, Ask) and cell._message.where == STREAMED:
        raise NotRunning(
            cell._dispatcher.system.name,
            f"context.{what}() belongs in the handler of {cell}, and not in the async generator "
            "that it has returned: its items are the reply already",
        )
    return cell._message


def tell_later(cell: Cell, delay: float, period: float | None, message: object) -> Timer:
    """See `Context.after` and `Context.every`."""
    dispatcher = cell._dispatcher
    dispatcher.check_thread("a timer")
    if cell._state is STOPPED:
        raise NotRunning(dispatcher.system.name, f"{cell} has stopped: it has no timers")

    # Checked now, while somebody is there to be told by an error.
    message = cell._as_received(message)

    def fire() -> None:
        try:
            cell.tell(message)
        except MailboxFull:
            # Nobody is there to catch it, so it becomes a dead letter instead of rejected.
            dispatcher.counters.rejected -= 1
            dispatcher.dead_letters.add(cell, message, DeadLetterReason.TIMER_MAILBOX_FULL)

    return dispatcher.timers.add(delay, period, fire, cell._rare_part().timers)


def become(cell: Cell, handler: Callable[[Any], Any] | None) -> None:
    """See `Context.become`."""
    rare = cell._rare_part()
    rare.behaviour = handler
    rare.behaviour_waits = handler is not None and is_async(handler)
    # The turn that runs now sees that the handler has changed, and settles anew.
    cell._plain = None


def stash(cell: Cell) -> None:
    """See `Context.stash`."""
    message = in_hand(cell, "stash")
    rare = cell._rare_part()
    name = cell._dispatcher.system.name
    if rare.stashed_now:
        raise NotRunning(name, f"{cell} has stashed this message already")
    if isinstance(message, Ask):
        if message.where != "being handled":
            raise NotRunning(
                name, f"{cell} cannot stash a message after reply_later() or forward()"
            )
        message.where = "queued"
        message.handed_on = True
    rare.stash.append(message)
    rare.stashed_now = True
    cell._plain = None


def was_stashed(cell: Cell) -> bool:
    """Whether the handler that just ended stashed its message. Asking resets it."""
    rare = cell._rare
    if rare is None or not rare.stashed_now:
        return False
    rare.stashed_now = False
    return True


def unstash_all(cell: Cell) -> None:
    """See `Context.unstash_all`."""
    rare = cell._rare
    if rare is None or not rare.stash:
        return
    # The message in hand, if it was stashed just now, stays stashed until the next time.
    kept = [rare.stash.pop()] if rare.stashed_now else []
    cell._put_first(rare.stash)
    rare.stash = kept
    if cell._idle or (rare.suspended and cell._state is RUNNING):
        cell._wake()


def defer(cell: Cell, ask: Ask) -> None:
    """Its reply comes later; see `Context.reply_later`."""
    ask.where = "deferred"
    cell._rare_part().deferred[ask] = None


def put_back(cell: Cell) -> None:
    """Let the message in hand be handled again, next, after all that is urgent.

    The handler returns at once after it.
    """
    message = in_hand(cell, "put_back")
    if isinstance(message, Ask):
        message.where = "queued"
        message.holder = cell
    cell._put_first([message])
    # As for a stashed one: it has not been handled, and keeps its room.
    cell._rare_part().stashed_now = True


async def forward_when_room(cell: Cell, target: Cell) -> None:
    """As `forward`, waiting for room in the target's mailbox. The message then counts twice.

    Raises:
        AskCycle: waiting could never end, because the target waits for this actor (if it has
            failed, for its decision).
        ActorStopped: the target stopped while this waited; the message is still this actor's.
    """
    message = in_hand(cell, "forward")
    asked = isinstance(message, Ask)
    if asked and message.asker is not None:
        check_cycle(target, message.asker)
    has_room = target._idle or target._has_room() or target._closed()
    if not has_room and (chain := find_chain(target, cell)) is not None:
        raise AskCycle(chain)
    if asked:
        message.where = "queued"
        message.holder = target
    if has_room and asked:
        target._put_ask(message)
        return
    if has_room:
        target.tell(message)
        return
    waiter = SendWait(target, message if asked else target._as_received(message), comes_back=True)
    target._rare_part().senders[waiter] = None
    target._plain = None
    await cell._wait_as(cell, waiter)


def forward(cell: Cell, ref: ActorRef) -> None:
    """See `Context.forward`."""
    message = in_hand(cell, "forward")
    if not isinstance(message, Ask):
        ref.tell(message)
    elif message.where == "being handled":
        message.handed_on = True
        ref._take_over(message)
    else:
        ref.tell(message.message)
