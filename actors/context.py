"""An actor's own view of the system: `self.context`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from actors import handling
from actors.ask import Ask, Reply
from actors.ref import check_ref
from actors.threads import run_blocking
from actors.timers import Timer, check_period, check_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.actor import Actor
    from actors.cell import Cell
    from actors.placement import Placement
    from actors.ref import ActorRef
    from actors.system import ActorSystem

T = TypeVar("T")


class Context:
    """What an actor can do besides computing. Only the actor itself uses it."""

    __slots__ = ("_cell",)

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    @property
    def ref(self) -> ActorRef:
        """The actor's own ref: give this away, never `self`."""
        return self._cell

    @property
    def system(self) -> ActorSystem:
        """The system that the actor lives in."""
        return self._cell._dispatcher.system

    @property
    def parent(self) -> ActorRef | None:
        """The actor that spawned this one; None for a top-level actor."""
        return self._cell._parent.as_ref()

    @property
    def children(self) -> tuple[ActorRef, ...]:
        """The children that are alive, in order of start."""
        return tuple((self._cell._children or {}).values())

    @property
    def incarnation(self) -> int:
        """1, and one more with each restart."""
        return self._cell.incarnation

    @property
    def fence(self) -> int | None:
        """The fencing number of the `Singleton` or entity that it is, or belongs to; None: of none.

        It is larger for each later owner. Write it with whatever is kept outside, and let that
        refuse a smaller one than it has seen: an owner that was stopped in the middle of a handler,
        and goes on after its lease, then changes nothing.
        """
        rare = self._cell._rare
        return None if rare is None or rare.lease is None else rare.lease.fence

    def spawn(
        self,
        cls: Callable[..., Actor],
        *args: Any,
        name: str | None = None,
        on: str | Placement | None = None,
    ) -> ActorRef:
        """Make a child, as `ActorSystem.spawn` makes a top-level actor. Same errors.

        on: as there. It is stopped with this incarnation, as a child is; but it does not fail its
            parent: watch it to hear of that.
        """
        # They build on this module.
        from actors.elsewhere import elsewhere
        from actors.spawning import spawn

        if on is not None:
            return elsewhere(self._cell, cls, on).spawn(self._cell, cls, args, name, on)
        return spawn(self._cell, cls, args, name)

    async def start(
        self,
        cls: Callable[..., Actor],
        *args: Any,
        name: str | None = None,
        on: str | Placement | None = None,
    ) -> ActorRef:
        """Make a child and wait until its `started()` has returned, as `ActorSystem.start`."""
        # They build on this module.
        from actors.elsewhere import elsewhere
        from actors.spawning import start

        if on is not None:
            return await elsewhere(self._cell, cls, on).start(self._cell, cls, args, name, on)
        return await start(self._cell, cls, args, name)

    def watch(self, ref: ActorRef) -> None:
        """Be told Terminated(ref, reason), once, when `ref` stops or an incarnation of it fails.

        Told at once if it has stopped already: each watch ends with its one notice. Watching what
        is watched already changes nothing. The notice comes after what `ref` told before it
        ended, and is not refused for lack of room.

        Raises:
            TypeError: `ref` is no ref of an actor that can be watched.
        """
        self._cell._dispatcher.check_thread("watch")
        check_ref(ref, "watch")._watched_by(self._cell)

    def unwatch(self, ref: ActorRef) -> None:
        """No longer. A notice that has not been handled yet is taken back."""
        ref._unwatched_by(self._cell)

    def link(self, ref: ActorRef) -> None:
        """Let this actor and `ref` fall together, both ways, as linked processes in Erlang.

        When an incarnation of one fails, or one stops for any reason but NORMAL, the other fails
        with LinkBroken: its handler is cancelled, and its parent decides. A link is between two
        incarnations, so it is made anew in `started()`. If `ref` has stopped already, the link is
        broken at once. Linking twice is linking once; to oneself it is nothing.

        Raises:
            TypeError: `ref` is no ref of an actor that can be linked.
        """
        self._cell._dispatcher.check_thread("link")
        check_ref(ref, "link")._linked_by(self._cell)

    def unlink(self, ref: ActorRef) -> None:
        """No longer. A link that has broken already stays so."""
        ref._unlinked_by(self._cell)

    def after(self, delay: float, message: Any) -> Timer:
        """Tell oneself `message` in `delay` seconds. Ends with this incarnation.

        A message that finds the mailbox full goes to the dead letters.

        Raises:
            ValueError, TypeError: `delay` is no finite number of seconds from 0 up.
        """
        return handling.tell_later(self._cell, check_seconds(delay, "delay"), None, message)

    def every(self, period: float, message: Any) -> Timer:
        """Tell oneself `message` each `period` seconds, first in one period; otherwise as `after`.

        Beats are counted from now, so they do not drift; those missed in a busy moment are skipped.

        Raises:
            ValueError, TypeError: `period` is no finite number of seconds from 0.0001 up.
        """
        seconds = check_period(period)
        return handling.tell_later(self._cell, seconds, seconds, message)

    async def run_blocking(self, function: Callable[..., T], *args: Any) -> T:
        """Call a plain function in a thread, and return what it returns. Other actors go on.

        It must not touch the actor's state, nor use refs: it returns a value, or uses
        `system.from_thread`. At most 32 are run at once in one trio run; others wait.

        If cancelled, by a stop that takes too long or a time limit, the wait ends at once; the
        function goes on in its thread, which is said in the log, and what it returns is lost.

        Raises:
            Exception: whatever the function raised.
            TypeError: it is an async function.
        """
        return await run_blocking(self._cell, function, args)

    def become(self, handler: Callable[[Any], Any]) -> None:
        """Let `handler` (plain or async, taking a message) handle what comes next.

        It replaces the handler of an earlier `become`. A restart goes back to `receive`.
        """
        if not callable(handler):
            raise TypeError(f"become() takes a handler, not {handler!r}")
        handling.become(self._cell, handler)

    def unbecome(self) -> None:
        """Let `receive` handle what comes next."""
        handling.become(self._cell, None)

    def stash(self) -> None:
        """Put the message that is being handled aside until `unstash_all`.

        What the handler returns is then no reply. Stashed messages keep their room in the mailbox,
        so that it stays bounded; they survive a restart (which unstashes them).

        Raises:
            NotRunning: no message is being handled, or it was stashed already.
        """
        handling.stash(self._cell)

    def unstash_all(self) -> None:
        """Handle the stashed messages next, in the order they came, before all that wait."""
        handling.unstash_all(self._cell)

    def reply_later(self) -> Reply:
        """Take over the reply to the message in hand; what the handler returns is then none.

        For a message that was told and not asked it is a Reply that nobody wants.

        Raises:
            NotRunning: no message is being handled.
        """
        message = handling.in_hand(self._cell, "reply_later")
        if not isinstance(message, Ask):
            return Reply(None, self._cell)
        if message.where == "being handled":
            handling.defer(self._cell, message)
        return Reply(message, self._cell)

    def forward(self, ref: ActorRef) -> None:
        """Pass the message that is being handled on; if it was asked, `ref` answers the asker.

        The asker's remaining time goes along. What this handler returns is then no reply.

        Raises:
            MailboxFull: there is no room; the asker then still waits for this actor's reply.
            AskCycle: `ref` waits for the asker.
            NotRunning: no message is being handled.
        """
        handling.forward(self._cell, ref)

    def stop(self) -> None:
        """Stop this actor, as `ref.stop()`: what was queued before is handled first."""
        self._cell.stop()
