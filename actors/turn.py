"""A turn: what one actor does before the next one may.

`turn` is the general one: a coroutine that first does what is urgent, then handles up to a batch
of messages. In the common case, a plain handler and nothing urgent, the dispatcher's innermost
loop handles the first message itself and `plain_rest` those behind it, by plain calls.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import AsyncGeneratorType, CoroutineType
from typing import TYPE_CHECKING, Any

from actors.ask import STREAMED, Ask
from actors.dead_letters import DeadLetterReason
from actors.errors import ForgottenAwait
from actors.failing import failed
from actors.handling import was_stashed
from actors.lifecycle import attend
from actors.limits import handle_in_time
from actors.mailbox import NOTHING
from actors.producing import begun, produce, produce_next
from actors.states import DRAINING, RUNNING
from actors.stopping import drain_and_stop
from actors.waiting import PENDING

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.failure import Failure


def plain_rest(cell: Cell, receive: Callable[[Any], Any], most: int) -> int:
    """After a plain handler has handled the message in hand: up to `most` of those behind it.

    Returns how many; the caller adds that to `taken` and `handled`, and what ended otherwise
    is corrected here. Leaves the cell ready, idle or suspended.
    """
    done = 0
    front = cell._front
    if not front and (front := cell._queue):
        cell._turn_around(front)
    if front and cell._plain is receive:
        if most > cell._traits.batch:
            most = cell._traits.batch
        if most > len(front):
            most = len(front)
        take = front.pop
        message = None
        try:
            for done in range(1, most + 1):
                try:
                    cell._message = message = take()
                except IndexError:
                    # The handler has made its own mailbox shorter, by unwatch or drop_oldest.
                    done -= 1
                    break
                if message.__class__ is Ask:
                    answer(cell, receive, message)
                else:
                    result = receive(message)
                    if result is not None and (
                        (kind := result.__class__) is CoroutineType or kind is AsyncGeneratorType
                    ):
                        raise forgotten(cell, receive, result)
                if cell._plain is not receive:
                    break
        except Exception as error:
            _give_back(cell, done)
            plain_failure(cell, message, error)
            return done
        _give_back(cell, done)
    if cell._plain is receive:
        if front or cell._queue:
            cell._message = cell._next()
            cell._dispatcher.enqueue(cell)
        else:
            cell._front = None
            cell._message = NOTHING
            cell._idle = True
        return done
    if was_stashed(cell):
        # It is in the mailbox again, and keeps its room there.
        cell._room -= 1
        counters = cell._dispatcher.counters
        counters.taken -= 1
        counters.handled -= 1
    cell._message = NOTHING
    cell._settle()
    return done


def _give_back(cell: Cell, done: int) -> None:
    """Give back the room of a batch: together, less what `_settle_batch` gave before."""
    dispatcher = cell._dispatcher
    cell._room += done - dispatcher.given
    dispatcher.given = 0
    if dispatcher.taken_of is not None:
        dispatcher.note_taken(cell, done)


def plain_failure(cell: Cell, message: Any, error: Exception) -> None:
    """What a plain handler raised becomes the failure of its actor."""
    counters = cell._dispatcher.counters
    counters.handled -= 1
    counters.failed += 1
    _failed(cell, message, error)
    cell._settle()


def _failed(cell: Cell, message: Any, error: Exception) -> None:
    _take_back_stashed(cell)
    cell._message = NOTHING
    if isinstance(message, Ask):
        rare = cell._rare
        if rare is not None:
            rare.deferred.pop(message, None)
        if message.holder is cell:  # else it was forwarded, and another actor answers it
            message.failed(error)
        message = message.message
        failed(cell, error, "receive", message)
    elif cell._traits.cls.redeliver:
        _redeliver(cell, message, failed(cell, error, "receive", message))
    else:
        failed(cell, error, "receive", message)


def _redeliver(cell: Cell, message: Any, failure: Failure) -> None:
    """A message has failed that its actor wants to try again: next, or never more."""
    rare = cell._rare_part()
    failures = (*rare.take_failures(message), failure)
    # It has not ended: it is in the mailbox again, or else a dead letter.
    counters = cell._dispatcher.counters
    counters.failed -= 1
    if len(failures) > cell._traits.cls.redeliver:
        reason = DeadLetterReason.FAILED_TOO_OFTEN
        cell._dispatcher.dead_letters.add(cell, message, reason, failures)
        return
    rare.redelivered.append((message, failures))
    counters.taken -= 1
    cell._room -= 1
    cell._put_first([message])


def _take_back_stashed(cell: Cell) -> None:
    """A handler that stashed its message and then raised: the message failed, and stays out."""
    if was_stashed(cell) and cell._rare is not None:
        cell._rare.stash.pop()


def answer(cell: Cell, receive: Callable[[Any], Any], ask: Ask) -> None:
    """Handle an asked message with a plain handler."""
    if _too_late(cell, ask):
        return
    ask.where = "being handled"
    result = receive(ask.message)
    if result is not None and (
        (kind := result.__class__) is CoroutineType or kind is AsyncGeneratorType
    ):
        if kind is CoroutineType:
            raise forgotten(cell, receive, result)
        if ask.where == "being handled":
            produce_next(cell, ask, result)
        return
    # Stashed, deferred or forwarded: then what the handler returns is no reply.
    if ask.where == "being handled":
        ask.answer(result)


def forgotten(cell: Cell, receive: Callable[[Any], Any], result: Any) -> ForgottenAwait:
    """The error of a handler that returned a coroutine, or a stream that nobody consumes."""
    streams = result.__class__ is AsyncGeneratorType
    if not streams:
        # A generator that has not begun needs no end.
        result.close()
    name = getattr(receive, "__qualname__", repr(receive))
    return ForgottenAwait(cell, name, streams=streams)


def stray(error: BaseException) -> RuntimeError:
    """The error for a trio.Cancelled that belongs to no scope around the handler."""
    stray_error = RuntimeError(
        "a trio.Cancelled left the handler that no cancel scope around it has caused: "
        "it was kept from elsewhere and raised again"
    )
    stray_error.__cause__ = error
    return stray_error


def _too_late(cell: Cell, ask: Ask) -> bool:
    """Whether the asker has gone, or its time is up: then the ask ends here, not handled."""
    if ask.value is PENDING and ask.waits is not None:
        if ask.deadline > cell._dispatcher.timers.clock():
            return False
        if ask.expected is not None:
            ask.expected.pop(ask, None)
        ask.expire()
    counters = cell._dispatcher.counters
    counters.expired += 1
    counters.handled -= 1
    return True


async def turn(cell: Cell, most: int) -> None:
    """Do what is urgent, then handle up to `most` messages. Leaves the cell to be settled.

    Runs on whatever steps it: a worker that leads, or one that really waits. What it has begun is
    in `cell._done`, and counted as handled at its end; what ended otherwise is corrected here.
    """
    counters = cell._dispatcher.counters
    done = 0
    try:
        while True:
            rare = cell._rare
            if rare is not None:
                if rare.cut or (rare.urgent and not await attend(cell)):
                    return
                if cell._state is not RUNNING and cell._state is not DRAINING:
                    # It failed, and its parent has not decided yet.
                    return
                if rare.senders:
                    cell._admit(rare)
            message = cell._message
            if message is NOTHING:
                if not (cell._queue or cell._front):
                    if cell._state is DRAINING:
                        await drain_and_stop(cell)
                    return
                if done >= most:
                    return
                message = cell._message = cell._next()
            elif done >= most:
                return
            if rare is not None and rare.lease is not None and not rare.lease.holds():
                # Not begun: whoever sent it is to know that another one may have it.
                rare.lease.has_ended(cell)
                return
            if rare is not None and rare.behaviour is not None:
                receive: Callable[[Any], Any] = rare.behaviour
                waits = rare.behaviour_waits
            else:
                actor = cell._actor
                assert actor is not None
                receive = actor.receive
                waits = cell._traits.waits
            if rare is not None and rare.begun is not None:
                stream = begun(cell, message)
                if stream is not None:
                    receive, waits = stream, True
            if waits and cell._traits.limited:
                receive = functools.partial(handle_in_time, cell, receive)
            try:
                while True:
                    cell._room += 1
                    cell._done = done = done + 1
                    if rare is not None and rare.senders:
                        cell._admit(rare)
                    if message.__class__ is Ask:
                        if waits:
                            await _answer_async(cell, receive, message)
                        else:
                            answer(cell, receive, message)
                    else:
                        result = receive(message)
                        if waits:
                            result = await result
                        if result is not None and (
                            (kind := result.__class__) is CoroutineType
                            or kind is AsyncGeneratorType
                        ):
                            raise forgotten(cell, receive, result)
                    if cell._rare is not None:
                        break
                    front = cell._front
                    if done >= most:
                        cell._message = NOTHING
                        return
                    if front:
                        cell._message = message = front.pop()
                    else:
                        cell._message = message = cell._next()
                        if message is NOTHING:
                            return
            except Exception as error:
                counters.handled -= 1
                counters.failed += 1
                _failed(cell, message, error)
                return
            except BaseException:
                interrupted(cell, message)
                raise
            # Something rare may have been asked for: look at everything again.
            cell._message = NOTHING
            if rare is not None and rare.redelivered:
                rare.take_failures(message)
            if was_stashed(cell):
                cell._room -= 1
                counters.taken -= 1
                counters.handled -= 1
    finally:
        counters.taken += done
        counters.handled += done
        cell._done = 0
        if cell._dispatcher.taken_of is not None:
            cell._dispatcher.note_taken(cell, done)


async def _answer_async(cell: Cell, receive: Callable[[Any], Any], ask: Ask) -> None:
    """Handle an asked message with an async handler."""
    if _too_late(cell, ask):
        return
    ask.where = "being handled"
    result = await receive(ask.message)
    if result is not None and (
        (kind := result.__class__) is CoroutineType or kind is AsyncGeneratorType
    ):
        if kind is CoroutineType:
            raise forgotten(cell, receive, result)
        if ask.where != "being handled" or ask.holder is not cell:
            return
        if cell._traits.limited:
            await handle_in_time(cell, lambda _: produce(cell, ask, result), ask.message)
        else:
            await produce(cell, ask, result)
        return
    # Not if it was forwarded: the other actor may be handling it by now.
    if ask.where == "being handled" and ask.holder is cell:
        ask.answer(result)


def interrupted(cell: Cell, message: Any) -> None:
    """The handler was cancelled (or Ctrl-C ends the program): its message ends here."""
    _take_back_stashed(cell)
    cell._message = NOTHING
    counters = cell._dispatcher.counters
    counters.handled -= 1
    if isinstance(message, Ask):
        if message.value is not PENDING:
            if message.where == STREAMED:
                # Its consumer had enough of it.
                counters.handled += 1
            else:
                counters.expired += 1
            return
        if message.holder is cell:  # else it was forwarded, and another actor answers it
            message.stopped("its handler was cancelled")
        message = message.message
    cell._dispatcher.dead_letters.add(cell, message, DeadLetterReason.CANCELLED)
