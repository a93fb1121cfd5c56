"""The client of a control socket."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import trio

from actors import ActorError
from transports.control import protocol
from transports.control.places import Place, find_places, place_of
from transports.control.protocol import BadRequest, Request


class NoNodeHere(ActorError):
    """No node can be reached, or which one is meant is not clear; the text says what to do."""


class Refused(ActorError):
    """The node answered by an error. Attributes: `code` (see `protocol.Code`), `text`."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def choose_place(name: str | None, path: str | None) -> Place:
    """The place that is meant: at `path`, or of the node `name`, or of the only one that runs here.

    Raises:
        NoNodeHere: none runs here, or several do and none is named.
        NoPlace: the folder is not this user's own.
    """
    if path is not None:
        return place_of(name or path, path)
    if name is not None:
        return place_of(name)
    places = find_places()
    if len(places) == 1:
        return places[0]
    if not places:
        raise NoNodeHere("no node runs here (`trouper run` starts one; --control names its socket)")
    names = ", ".join(place.name for place in places)
    raise NoNodeHere(f"several nodes run here: {names}; choose one by --node")


class Client:
    """A connection to a control socket; see `connect`."""

    def __init__(self, place: Place, stream: trio.abc.Stream) -> None:
        self._place = place
        self._stream = stream
        self._lines = protocol.Lines(protocol.MAX_REPLY)
        self._came: list[bytes | None] = []

    async def items(self, request: Request) -> AsyncIterator[Any]:
        """What the answer to a request consists of, without what it ends with.

        Raises: as `end`.
        """
        await self._send(request)
        while True:
            reply = await self._reply()
            if isinstance(reply.item, msgspec.Raw):
                yield msgspec.json.decode(reply.item)
            else:
                return

    async def end(self, request: Request) -> Any:
        """What the answer to a request ends with.

        Raises:
            Refused: it is an error.
            NoNodeHere: the node went away.
        """
        await self._send(request)
        while True:
            reply = await self._reply()
            if isinstance(reply.end, msgspec.Raw):
                return msgspec.json.decode(reply.end)

    async def _send(self, request: Request) -> None:
        try:
            await self._stream.send_all(protocol.encode_request(request))
        except (OSError, trio.BrokenResourceError) as error:
            raise self._gone() from error

    async def _reply(self) -> protocol.Reply:
        while not self._came:
            try:
                data = await self._stream.receive_some(1 << 16)
            except (OSError, trio.BrokenResourceError) as error:
                raise self._gone() from error
            if not data:
                raise self._gone()
            self._came = self._lines.feed(bytes(data))
        line = self._came.pop(0)
        if line is None:
            raise NoNodeHere(f"{self._place.path} answers by a line that is too long")
        try:
            reply = protocol.decode_reply(line)
        except BadRequest as error:
            raise NoNodeHere(f"{self._place.path} is no control socket: {error}") from error
        if isinstance(reply.error, protocol.Fault):
            raise Refused(reply.error.code, reply.error.text)
        return reply

    def _gone(self) -> NoNodeHere:
        return NoNodeHere(f"the node {self._place.name!r} went away")


@contextlib.asynccontextmanager
async def connect(place: Place) -> AsyncIterator[Client]:
    """A connection to the control socket at a place.

    Raises:
        NoNodeHere: nobody answers there.
    """
    try:
        stream = await trio.open_unix_socket(str(place.path))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise NoNodeHere(f"no node {place.name!r} runs here: {place.path}: {why}") from error
    async with stream:
        yield Client(place, stream)
