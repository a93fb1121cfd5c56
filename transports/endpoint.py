"""The one seam between nodes and the world: where their connections come from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio


class Endpoint(Protocol):
    """What a node calls others by, and is called at. A connection is a stream of bytes."""

    async def connect(self, peer: str) -> trio.abc.Stream:
        """A connection to the node of that name.

        Raises:
            OSError: nobody answers.
        """

    async def serve(self, handle: Callable[[trio.abc.Stream], Awaitable[object]]) -> None:
        """Run `handle` for each connection from outside, in a task of its own; until cancelled."""
