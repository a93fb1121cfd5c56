"""A system with a control socket, and a client that may say anything."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trio

from actors import Actor, ActorRef, ActorSystem, Mailbox, Request, message
from transports.control import Control, claim, place_of, serve


@message(name="test_control.Put")
class Put:
    number: int
    data: bytes = b""
    ref: ActorRef | None = None


@message(name="test_control.Get")
class Get(Request[int]):
    pass


class Counter(Actor):
    mailbox = Mailbox(capacity=100)

    def __init__(self) -> None:
        self.number = 0

    def receive(self, message: Put | Get) -> int | None:
        if isinstance(message, Get):
            return self.number
        if message.number < 0:
            raise ValueError("negative")
        self.number += message.number
        return None


class Silent(Actor):
    """Replies never."""

    def receive(self, message: object) -> None:
        self.context.reply_later()


@asynccontextmanager
async def served(name: str = "demo") -> AsyncIterator[tuple[ActorSystem, Control]]:
    """A system with a counter, a silent actor, and a control socket."""
    with TemporaryDirectory() as folder:
        place = place_of(name, Path(folder) / "c.sock")
        with claim(place):
            async with ActorSystem(name) as system, serve(system, place) as control:
                system.spawn(Counter, name="counter")
                system.spawn(Silent, name="silent")
                yield system, control


class Raw:
    """A connection to a control socket, as bytes and as lines."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._begun = b""

    async def say(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def line(self) -> Any:
        """The next line that comes; None at the end."""
        while b"\n" not in self._begun:
            data = await self.stream.receive_some(65536)
            if not data:
                return None
            self._begun += data
        line, _, self._begun = self._begun.partition(b"\n")
        return json.loads(line)

    async def ask(self, **request: Any) -> Any:
        """What the answer to a request ends with."""
        await self.say(json.dumps(request).encode() + b"\n")
        while "item" in (line := await self.line()):
            pass
        return line


@asynccontextmanager
async def call(control: Control) -> AsyncIterator[Raw]:
    async with await trio.open_unix_socket(str(control.place.path)) as stream:
        yield Raw(stream)
