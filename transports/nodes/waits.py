"""What of a link's sending side waits: messages on the way, senders for room, and for a stop."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import msgspec

from actors import ActorRef
from actors.ask import Ask
from actors.rare import SendWait
from actors.waiting import Waiter

if TYPE_CHECKING:
    from transports.nodes.outgoing import Outgoing


# A Struct takes half the time that a class with slots takes to be made.
class Sent(msgspec.Struct, eq=False):
    """One message on the way: to whom, by address, and the ask if it is asked.

    size: its bytes, if it is a large one.
    """

    target: str
    ref: ActorRef
    message: Any
    ask: Ask | None = None
    written: bool = False
    size: int = 0


class Door(SendWait):
    """A `send` that waits until its receiver may have one more message on the way."""

    __slots__ = ("door",)

    def __init__(self, door: OrderedDict[Any, bytes], message: object) -> None:
        super().__init__(None, message)  # type: ignore[arg-type] # no cell of this process
        self.door = door

    def abandoned(self) -> None:
        super().abandoned()
        self.door.pop(self, None)


class StopWait(Waiter):
    """A wait for the answer to an AwaitStop, which others may wait for too."""

    __slots__ = ("number", "outgoing")

    def __init__(self, outgoing: Outgoing, number: int) -> None:
        super().__init__(None)
        self.number = number
        self.outgoing = outgoing

    def abandoned(self) -> None:
        super().abandoned()
        self.outgoing.stop_wait_gone(self)
