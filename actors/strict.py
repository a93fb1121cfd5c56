"""`ActorSystem(strict_messages=True)`: what is sent in one process is treated as between two.

Each message and each reply is encoded and decoded again, so its receiver has a copy, and what could
not cross to another process fails here, at its sender. The codec is in `transports`, which this
package does not know: it installs itself here when it is imported.

Only the cells of a strict system are of these classes, so that other systems pay nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from actors.ask import Ask
from actors.cell import Cell
from actors.errors import MailboxFull
from actors.messages import is_notice
from actors.ref import ActorRef
from actors.waiting import PENDING, Raised

Resolve = Callable[[str], ActorRef]


class RoundTripper(Protocol):
    """What encodes and decodes: `transports.encoding.round_trip.RoundTrip`.

    Both methods raise what the codec raises of what it cannot encode, or not decode to the same.
    """

    def message(self, message: object) -> Any:
        """A message as another process would get it."""

    def reply(self, value: object, request: object) -> Any:
        """A reply to that request, as another process would get it."""


_installed: Final[list[Callable[[Resolve], RoundTripper]]] = []


def install_round_tripper(make: Callable[[Resolve], RoundTripper]) -> None:
    """Let `make` make the round-tripper of each strict system, from what resolves its addresses."""
    _installed[:] = [make]


def make_round_tripper(resolve: Resolve) -> RoundTripper:
    """The round-tripper of one strict system.

    Raises:
        ValueError: none is installed.
    """
    if not _installed:
        raise ValueError(
            "strict_messages=True needs the codec of messages, which is in another package: "
            "write `import transports` before the system is made"
        )
    return _installed[0](resolve)


class StrictAsk(Ask):
    """An ask whose reply makes the round trip, on its way out of the actor that gives it.

    If it cannot, giving it raises: a handler that returned it fails, and so the asker gets
    ActorFailed. A reply given later cannot fail the handler that owed it: the asker gets
    ActorFailed at once, and whoever gave the reply gets the error.
    """

    __slots__ = ()

    @property  # type: ignore[misc] # nobody sets it
    def __class__(self) -> type[Ask]:  # type: ignore[override] # by intent
        """Ask: that is what the runtime looks for, at every message, by `is`."""
        return Ask

    def answer(self, value: Any = None) -> bool:
        if self.value is not PENDING or value.__class__ is Raised:
            return super().answer(value)
        round_trip = self.holder._dispatcher.round_trip
        assert round_trip is not None
        try:
            value = round_trip.reply(value, self.message)
        except Exception as error:
            if self.where != "being handled":
                self.failed(error)
            raise
        return super().answer(value)


class StrictCell(Cell):
    """The cell of an actor in a strict system. What it is sent makes the round trip first."""

    __slots__ = ()

    told_in_place = False

    def tell(self, message: object) -> None:
        if message.__class__ is Ask:
            super().tell(message)
            return
        try:
            super().tell(self._as_received(message))
        except MailboxFull as error:
            # The sender's own again, and not a copy.
            error.message = message
            raise

    def _as_received(self, message: Any) -> Any:
        if is_notice(message):
            return message
        round_trip = self._dispatcher.round_trip
        assert round_trip is not None
        return round_trip.message(message)

    def _put_ask(self, ask: Ask) -> None:
        ask.message = self._as_received(ask.message)
        if type(ask) is Ask:
            ask.__class__ = StrictAsk
        super()._put_ask(ask)

    def _take_over(self, ask: Ask) -> None:
        # Before the ask is this actor's, so that an error is still the one's who forwards it.
        self._as_received(ask.message)
        super()._take_over(ask)

    def _plain_handler(self) -> None:
        """None: a handler that is called in place would reply past its ask."""
        return
