"""Streaming replies between nodes: each end stands where the other one would, in one process.

The consumer's node grants as many items as its buffer has room for; the producer's sends no more
than that, and waits. So the pressure of a slow consumer reaches the generator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors.ask import Ask
from actors.cell import Cell
from actors.messages import item_type
from actors.sinks import Sink
from actors.streams import Channel
from transports.encoding import envelope
from transports.errors import DecodeError

if TYPE_CHECKING:
    from transports.nodes.answers import Answers
    from transports.nodes.outgoing import Outgoing

MOST_AHEAD: Final = 65_536
"""Items that a peer may ask to be sent ahead."""


class RemoteSink(Sink):
    """The producing end of a stream whose consumer is on another node."""

    __slots__ = ("_answers", "_credit", "_kind", "number")

    def __init__(self, answers: Answers, number: int, credit: int, ask: Ask) -> None:
        super().__init__()
        self._answers = answers
        self._credit = min(credit, MOST_AHEAD)
        self._kind = item_type(type(ask.message))
        self.number = number
        self.request(ask)

    async def put(self, item: Any) -> bool:
        while self._credit < 1 and not self.gone:
            await self.wait_for_room()
        if self.gone:
            return False
        self._answers.send_item(self.number, item, self._kind)
        self._credit -= 1
        return True

    def grant(self, items: int) -> None:
        """The consumer has room for so many more."""
        self._credit = min(self._credit + items, MOST_AHEAD)
        self.there_is_room()

    def end(self, error: BaseException | None) -> None:
        self._answers.stream_ended(self, error)


class RemoteRoom:
    """Stands where a channel keeps a producer that waits: grants items as they are taken."""

    __slots__ = ("_ahead", "_channel", "_kind", "_number", "_outgoing")

    def __init__(self, outgoing: Outgoing, channel: Channel, number: int, message: object) -> None:
        self._outgoing = outgoing
        self._channel = channel
        self._number = number
        self._kind = item_type(type(message))
        self._ahead = channel.size

    def resolve(self, _: Any = None) -> bool:
        """Half of the buffer is empty, or more."""
        channel = self._channel
        more = channel.size - len(channel.items) - self._ahead
        if not channel.ended and more > 0 and 2 * more >= channel.size:
            self._ahead += more
            self._outgoing.control(envelope.Granted(self._number, more))
        return True

    def item(self, body: bytes) -> None:
        """An item has come.

        Raises:
            DecodeError: it cannot be read, or there is no room that was granted for it.
        """
        if self._ahead < 1:
            raise DecodeError("$", "an item of a stream that was not granted")
        self._ahead -= 1
        value = self._outgoing.node.codec.decode_value(body, self._kind)
        channel = self._channel
        if channel.gone or channel.ended:
            return
        channel.items.append(value)
        taker, channel._taker = channel._taker, None
        if taker is not None:
            taker.resolve()


def open_channel(channel: Channel, outgoing: Outgoing, ask: Ask, asker: Cell | None) -> None:
    """Let a channel take what comes for `ask` from another node."""
    channel.dispatcher = dispatcher = outgoing.node.dispatcher
    channel.consumer = dispatcher.current
    channel.owner = asker
    if asker is not None:
        asker._rare_part().streams[channel] = None
    channel.request(ask)
