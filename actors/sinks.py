"""Where the items of a stream go: the seam between a producing actor and its consumer."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, Final

from actors.ask import STREAMED, Ask, find_chain
from actors.errors import AskCycle, NotStreamable, brief
from actors.waiting import PENDING, Raised, Waiter

if TYPE_CHECKING:
    from actors.cell import Cell


class _End:
    __slots__ = ()


END: Final = _End()
"""The outcome of an ask whose stream has come to its end."""


class Sink(abc.ABC):
    """Where the items of one stream go: its producing side.

    A Channel if the consumer is in this process. A transport has its own: it calls `request` with
    the Ask that it puts into the mailbox, and `leave` when it hears that the consumer has gone.

    gone: the consumer takes no more. consumer: the actor that consumes in its own turn, if it is
    one of this process: for the search of cycles. (Tasks in its nurseries consume whatever the
    others wait for.)
    """

    __slots__ = ("_room", "ask", "consumer", "gone", "putting")

    def __init__(self) -> None:
        self.ask: Ask | None = None
        self.consumer: Cell | None = None
        self.gone = False
        self.putting = False
        self._room: RoomWait | None = None

    @abc.abstractmethod
    async def put(self, item: Any) -> bool:
        """Give the consumer an item, and wait while it is behind. False: the consumer has gone.

        Raises:
            AskCycle: waiting could never end, because the consumer waits for the producer.
        """

    @abc.abstractmethod
    def end(self, error: BaseException | None) -> None:
        """Nothing more comes; what was put before still arrives. Called once, also without a start.

        error: what the consumer is to be told: ActorFailed, ActorStopped, NotStreamable...; None:
        the generator has come to its end.
        """

    def request(self, ask: Ask) -> None:
        """Let what answers `ask` go here."""
        self.ask = ask
        ask.waits = self  # type: ignore[assignment] # stands where the cell that waits stands

    def leave(self) -> None:
        """The consumer has gone: the generator is closed, or cancelled where it waits."""
        self.gone = True
        ask = self.ask
        if ask is None or ask.value is not PENDING:
            return
        ask.abandoned()
        ask.waits = None
        if ask.where != STREAMED:
            return
        if self.putting:
            self.there_is_room()
        else:
            ask.holder._dispatcher.workers.cancel(ask.holder)

    async def wait_for_room(self) -> None:
        """Wait until `there_is_room`, or the consumer has gone. For `put`.

        Raises:
            AskCycle: see `put`.
        """
        assert self.ask is not None
        producer = self.ask.holder
        room = RoomWait(self)
        consumer = room.holder
        if consumer is not None and (chain := find_chain(consumer, producer)) is not None:
            raise AskCycle(chain)
        self._room = room
        self.putting = True
        try:
            await producer._wait_as(producer, self._room)
        finally:
            self.putting = False
            self._room = None

    def there_is_room(self) -> None:
        """Let the producer go on, if it waits for room."""
        if self._room is not None:
            self._room.resolve()

    # -- as the cell that waits for the reply

    @property
    def _dispatcher(self) -> Sink:
        return self

    def enqueue(self, _: object) -> None:
        """The ask has its outcome."""
        assert self.ask is not None
        outcome = self.ask.value
        if outcome is END:
            self.end(None)
        elif outcome.__class__ is Raised:
            self.end(outcome.error)
        else:
            what = f"its handler answers {brief(self.ask.message, 80)} with a value"
            self.end(NotStreamable(self.ask.holder, f"{what}; use `await ref.ask(...)`"))


class RoomWait(Waiter):
    """A producer that waits for its consumer."""

    __slots__ = ("sink",)

    def __init__(self, sink: Sink) -> None:
        self.value: Any = PENDING
        self.waits = None
        self.sink = sink

    @property
    def holder(self) -> Cell | None:  # type: ignore[override] # it may change meanwhile
        """Who has to take items; None if that may go on whatever the consuming actor waits for."""
        consumer = self.sink.consumer
        if consumer is None or (consumer._rare is not None and consumer._rare.helper_waits):
            return None
        return consumer
