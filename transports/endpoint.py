"""The one seam between nodes and the world: where their connections come from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import attrs
import trio

from actors.address import check_name
from transports.connection import Frames

Handle = Callable[[trio.abc.Stream], Awaitable[object]]


@attrs.frozen
class Peer:
    """A node to connect with.

    name: None until it has introduced itself. where: for `connect`. calls: whether it may call this
    node too.

    Raises:
        InvalidAddress: the name cannot stand in an address.
    """

    name: str | None
    where: str
    calls: bool = True

    def __attrs_post_init__(self) -> None:
        if self.name is not None:
            check_name(self.name, "peer's name")

    @classmethod
    def by_name(cls, name: str) -> Peer:
        """One that is found by its name."""
        return cls(name, name)

    def __str__(self) -> str:
        return self.where if self.name in {None, self.where} else f"{self.name}@{self.where}"


class Endpoint(Protocol):
    """What a node calls others by, and is called at. A connection is a stream of bytes."""

    async def connect(self, where: str) -> trio.abc.Stream:
        """A connection to what answers there.

        Raises:
            OSError: nobody does.
        """

    async def serve(self, handle: Handle) -> None:
        """Run `handle` for each connection from outside, in a task of its own; until cancelled."""

    async def introduce(
        self, connection: Frames, me: str, peer: str | None, *, called: bool
    ) -> str | None:
        """Find out who is at the other end of a new connection, before anything else is said.

        me: this node. peer: who should be there; None: whoever. called: by the other side.
        Returns its name, proven as far as this kind of endpoint proves; None: whatever name its
        HELLO will say. As here, where connections come from a network of this process.

        Raises:
            Broken: the connection has ended, or one side refuses the other.
            DecodeError: a frame is broken.
        """
        return peer
