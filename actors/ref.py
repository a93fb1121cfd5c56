"""What a program holds of an actor: an address to send to, never the actor itself."""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, overload

import trio

from actors.errors import NotStreamable
from actors.streams import Stream

if TYPE_CHECKING:
    from actors.address import Address
    from actors.ask import Ask
    from actors.cell import Cell
    from actors.failure import ExitReason
    from actors.messages import Request
    from actors.streams import Channel
    from actors.waiting import Waiter

T = TypeVar("T")


class ActorRef(abc.ABC):
    """A reference to an actor, or to whatever an address stands for.

    Refs are compared by identity and can be dict keys. A ref outlives its actor: what is told to
    an actor that has stopped goes to the dead letters.
    """

    __slots__ = ()

    @property
    @abc.abstractmethod
    def address(self) -> Address:
        """Where it is: ``actor://demo/bank/savings``."""

    @property
    def name(self) -> str:
        """The last word of the address."""
        return self.address.path.rpartition("/")[2]

    @abc.abstractmethod
    def tell(self, message: object) -> None:
        """Put a message into the mailbox. Never waits.

        From one sender to one actor, messages arrive in the order sent. An actor that has stopped
        does not raise: the message goes to the dead letters.

        Raises:
            MailboxFull: there is no room (the actor's overflow policy may say otherwise).
            WrongThread: called from a thread that does not run the system. (Not looked for where
                messages wait behind another already; such a message arrives all the same.)
            SystemClosed: the system has been left.
        """

    @abc.abstractmethod
    async def send(self, message: object) -> None:
        """Put a message into the mailbox, waiting for room.

        Always a cancellation point; if cancelled, the message was not enqueued. Those who wait
        get room in the order they came. To a stopped actor as `tell`.

        Raises:
            MailboxFull: waiting could never end, because the actor waits for the sender.
            WrongThread, SystemClosed: as `tell`.
        """

    @overload
    async def ask(self, message: Request[T], timeout: float | None = ...) -> T: ...
    # The second one is met where T is taken from what the reply is assigned to, and is not what the
    # Request says. Without it, the last one would make any reply fit anything.
    @overload
    async def ask(  # type: ignore[overload-cannot-match]
        self, message: Request[object], timeout: float | None = ...
    ) -> object: ...
    @overload
    async def ask(self, message: object, timeout: float | None = ...) -> Any: ...

    @abc.abstractmethod
    async def ask(self, message: Any, timeout: float | None = 5.0) -> Any:
        """Send a message, waiting for room if there is none, and return the handler's reply.

        timeout: seconds for all of it; None: no limit. Always a cancellation point; if cancelled,
        a message whose handler has not started is dropped as expired. A handler that runs is let
        be, unless its actor says ``cancel_abandoned = True``.

        Raises:
            ActorFailed: the handler raised (at once; `.cause` is what it raised), or the actor
                failed before it gave a reply that it had deferred.
            ActorStopped: the actor has stopped, or stops before it answers.
            AskTimeout: the time is up; says where the message was.
            AskCycle: the actor, directly or not, waits for the one who asks.
            NotAMessage: a Request class was passed, not an instance.
            WrongThread, SystemClosed: as `tell`.
        """

    @overload
    def stream(
        self, request: Request[AsyncIterator[T]], *, buffer: int = ..., timeout: float | None = ...
    ) -> Stream[T]: ...
    @overload
    def stream(
        self, request: object, *, buffer: int = ..., timeout: float | None = ...
    ) -> Stream[Any]: ...

    def stream(self, request: Any, *, buffer: int = 16, timeout: float | None = 5.0) -> Stream[Any]:
        """Iterate over the items of a request whose handler returns an async generator.

            async for line in ref.stream(Lines("a.txt")): ...

        Nothing is sent before the first item is wanted. buffer: how many items may be produced
        ahead of the consumer; then the generator waits at its `yield`. timeout: seconds for each
        item (the first one: from the request on); None: no limit.

        The stream ends with the generator, or when the consumer goes: by `break`, an exception, a
        cancellation, a timeout, or its own actor's failure or end. The generator is then closed:
        it sees GeneratorExit at its `yield`, or trio.Cancelled where it waits. To leave the loop
        and keep the stream in a variable does not close it: `async with ref.stream(...) as items`
        does, whatever happens.

        The errors of the request are raised where its items are awaited: see
        `actors.streams.Stream`.

        Raises:
            ValueError, TypeError: `buffer` is no int from 1 up, or `timeout` no number of seconds.
            NotAMessage: a Request class was passed, not an instance.
            NotStreamable: this can be no stream, as of a topic.
        """
        return Stream(self, request, buffer, timeout)

    @abc.abstractmethod
    def stop(self) -> None:
        """Ask the actor to stop. Returns at once.

        What was queued before is handled first; then its children stop, the youngest first; then
        its `stopped()` hook runs. What comes later goes to the dead letters. If that takes longer
        than the actor's `shutdown` seconds, it is cancelled and said in the log. Twice is once.

        Raises:
            WrongThread: called from a thread that does not run the system.
        """

    @abc.abstractmethod
    async def stopped(self) -> None:
        """Wait until the actor has stopped for good (a restart does not count). A checkpoint.

        Raises:
            AskCycle: called by the actor itself, or by one that it waits for.
        """

    async def _open_stream(self, channel: Channel, request: object) -> None:
        """Send the request of a stream."""
        await trio.lowlevel.checkpoint()
        raise NotStreamable(self, "it is no ref of an actor that can answer with a stream")

    _takes_asks: ClassVar[bool] = False
    """Whether it stands for one actor that can be given an Ask, as a consumer of a queue is."""

    def _put_ask(self, ask: Ask) -> None:
        """Queue an ask, or let it wait for room. An actor that takes no more answers it at once."""
        raise TypeError(f"{self!r} takes no asks: it is no ref of one actor")

    def _whereabouts(self, ask: Ask) -> tuple[str, str]:
        """Where an ask is that it has, and what to call itself: see AskTimeout."""
        return ask.where, ""

    def _load(self) -> int:
        """How many messages it has, as far as is known here."""
        return 0

    def _waiting_messages(self) -> int:
        """How many messages wait in its mailbox, as far as is known here."""
        return 0

    def _closed(self) -> bool:
        """Whether it takes no more messages."""
        return False

    def _take_over(self, ask: Ask) -> None:
        """Take an ask that another actor forwards."""
        raise TypeError(f"forward() takes the ref of one actor, not {self!r}")

    def _watched_by(self, watcher: Cell) -> None:
        """Tell `watcher` when it ends."""
        raise TypeError(f"watch() takes the ref of one actor, not {self!r}")

    def _unwatched_by(self, watcher: Cell) -> None:
        """No longer. Never watched is no error."""
        return

    def _on_stop(self, callback: Callable[[], None]) -> None:
        """Call `callback` when it has stopped for good."""
        raise TypeError(f"{self!r} is no ref of one actor: only an actor can be registered")

    def _stop_as(self, reason: ExitReason) -> None:
        """Stop it as its parent would: by SHUTDOWN, or at once by KILLED."""
        raise TypeError(f"{self!r} is no ref of one actor")

    def _end(self) -> Waiter:
        """A wait that is over when it has stopped for good, or is out of reach."""
        raise TypeError(f"{self!r} is no ref of one actor")

    def _linked_by(self, other: Cell) -> None:
        """Link it to `other`."""
        raise TypeError(f"link() takes the ref of one actor, not {self!r}")

    def _unlinked_by(self, other: Cell) -> None:
        """No longer. Never linked is no error."""
        return

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"

    def __str__(self) -> str:
        return str(self.address)


def check_ref(ref: object, what: str) -> ActorRef:
    """Return `ref`.

    Raises:
        TypeError: it is no ref.
    """
    if not isinstance(ref, ActorRef):
        raise TypeError(f"{what}() takes the ref of one actor, not {ref!r}")
    return ref
