"""Request and reply: an ask's envelope, its one-shot reply, and asks that wait on themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import trio

from actors.errors import ActorFailed, ActorStopped, AskCycle, AskTimeout
from actors.waiting import PENDING, Raised, Task, Waiter

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.timers import Expiring

STREAMED: Final = "being streamed"


class Ask(Waiter):
    """The envelope in which an asked message travels, and the asker's wait for its reply.

    where: "waiting for room", "queued", "being handled", "deferred" or "being streamed"; for
    AskTimeout.
    """

    __slots__ = ("asker", "deadline", "expected", "handed_on", "message", "timeout", "where")

    holder: Cell
    handed_on: bool
    """True: a handler had begun with it and stashed or forwarded it. Otherwise not even set."""

    def __init__(
        self,
        message: object,
        asker: Cell | None,
        holder: Cell,
        deadline: float,
        timeout: float | None,
    ) -> None:
        # Not super().__init__(): a call saved on the path of every ask.
        self.holder = holder
        self.value: Any = PENDING
        self.waits = None
        self.message = message
        self.asker = asker
        self.deadline = deadline
        self.timeout = timeout
        self.expected: dict[Expiring, None] | None = None
        self.where = "queued"

    def answer(self, value: Any = None) -> bool:
        """Give the asker its reply. False if nobody waits for it any more."""
        if self.value is not PENDING:
            return False
        expected = self.expected
        if expected is not None:
            expected.pop(self, None)
        # As Waiter.resolve, without the call.
        self.value = value
        waits = self.waits
        if waits is not None:
            self.waits = None
            if waits.__class__ is Task:
                trio.lowlevel.reschedule(waits)
            else:
                waits._dispatcher.enqueue(waits)
        return True

    def failed(self, cause: BaseException) -> bool:
        """The handler raised."""
        return self.answer(Raised(ActorFailed(self.holder, self.message, cause)))

    def stopped(self, reason: str) -> bool:
        """The actor stopped before it answered."""
        started = self.where in ("being handled", "deferred", STREAMED) or hasattr(
            self, "handed_on"
        )
        error = ActorStopped(self.holder, self.message, reason, started=started)
        return self.answer(Raised(error))

    def expire(self) -> None:
        """The time is up."""
        where, who = self.holder._whereabouts(self)
        error = AskTimeout(self.holder, self.message, self.timeout or 0.0, where, who)
        if self.resolve(Raised(error)):
            self._nobody_waits()

    def abandoned(self) -> None:
        """The asker was cancelled."""
        if self.value is PENDING:
            self.value = None
            if self.expected is not None:
                self.expected.pop(self, None)
            self._nobody_waits()

    def _nobody_waits(self) -> None:
        self.holder._asker_gone(self)


class Reply:
    """A reply to be given later, once: what `context.reply_later()` returns.

    It may be given by a later handler, by a helper task, or by another actor that it was sent to.
    If the actor that made it fails or stops first, the asker gets ActorFailed or ActorStopped.
    """

    __slots__ = ("_ask", "_owner")

    def __init__(self, ask: Ask | None, owner: Cell) -> None:
        self._ask = ask
        self._owner = owner

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits for it."""
        return self._ask is not None and self._ask.value is PENDING

    def reply(self, value: object = None) -> bool:
        """Give the reply.

        Returns whether the asker got it: False if it was told and not asked, had its reply, has
        gone, or its time was up.

        Raises:
            WrongThread: called from a thread that does not run the system.
        """
        return self._settle(value, None)

    def fail(self, error: BaseException) -> bool:
        """Make the asker's `ask` raise ActorFailed with this cause. Returns as `reply` does.

        Raises:
            TypeError: `error` is no exception.
            WrongThread: called from a thread that does not run the system.
        """
        if not isinstance(error, BaseException):
            raise TypeError(f"fail() takes an exception, not {error!r}")
        return self._settle(None, error)

    def _settle(self, value: object, error: BaseException | None) -> bool:
        self._owner._dispatcher.check_thread("Reply")
        ask, self._ask = self._ask, None
        if ask is None:
            return False
        if self._owner._rare is not None:
            self._owner._rare.deferred.pop(ask, None)
        return ask.failed(error) if error is not None else ask.answer(value)


def find_chain(start: Cell, asker: Cell) -> list[Cell] | None:
    """The cells from `asker` through `start` back to `asker`, if each waits for the next one.

    A cell waits for another one if its handler cannot go on before that one acts: an ask that is
    queued or being handled there, its start, its end, or room in its mailbox;
    or, if it has failed, before its parent decides.
    """
    if start is asker:
        return [asker, asker]
    came_from: dict[Cell, Cell] = {start: asker}
    todo = [start]
    while todo:
        cell = todo.pop()
        for held_by in _held_by(cell):
            if held_by is asker:
                chain = [asker, cell]
                while cell is not start:
                    cell = came_from[cell]
                    chain.append(cell)
                chain.append(asker)
                return chain[::-1]
            if held_by not in came_from:
                came_from[held_by] = cell
                todo.append(held_by)
    return None


def _held_by(cell: Cell) -> Iterator[Cell]:
    """The cells that have to act before `cell` can go on."""
    rare = cell._rare
    if rare is not None and rare.undecided:
        # It failed, and its parent (never the root: that decides at once) has not decided yet.
        yield cell._parent  # type: ignore[misc]
    for waiter in cell._waits_for():
        if waiter.holder is None or waiter.value is not PENDING:
            continue
        if isinstance(waiter, Ask) and waiter.where == "deferred":
            continue  # Whoever holds its Reply may give it while the actor waits.
        yield waiter.holder


def check_cycle(target: Cell, asker: Cell) -> None:
    """Refuse an ask from `asker` to `target` that would wait on itself.

    Raises:
        AskCycle: with the chain.
    """
    chain = find_chain(target, asker)
    if chain is not None:
        raise AskCycle(chain)
