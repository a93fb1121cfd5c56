"""The client of a control socket."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
import trio

from actors import ActorError
from transports.control import protocol
from transports.control.places import Place, find_places, place_of
from transports.control.protocol import BadRequest, Code, Request

ANSWER_WITHIN: Final = 10.0
"""Seconds for a node to answer what it can answer at once, until it is taken for stopped."""

ASK_WITHIN: Final = 2.0
"""Seconds beyond those of an ask, within which the node says itself that no reply came."""

CALL_AGAIN: Final = 0.05
"""Seconds until a socket is called again at which too many wait to be let in."""


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
        within = patience(request)
        await self._send(request)
        while True:
            reply = await self._reply(within)
            if isinstance(reply.item, msgspec.Raw):
                yield msgspec.json.decode(reply.item)
            else:
                return

    async def end(self, request: Request) -> Any:
        """What the answer to a request ends with.

        Raises:
            Refused: it is an error; or there was none in time, with the code TIMEOUT.
            NoNodeHere: the node went away.
        """
        within = patience(request)
        await self._send(request)
        while True:
            reply = await self._reply(within)
            if isinstance(reply.end, msgspec.Raw):
                return msgspec.json.decode(reply.end)

    async def _send(self, request: Request) -> None:
        try:
            await self._stream.send_all(protocol.encode_request(request))
        except (OSError, trio.BrokenResourceError) as error:
            raise self._gone() from error

    async def _reply(self, within: float) -> protocol.Reply:
        while not self._came:
            try:
                with trio.fail_after(within):
                    data = await self._stream.receive_some(1 << 16)
            except trio.TooSlowError:
                raise no_answer(self._place, within) from None
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


def patience(request: Request) -> float:
    """Seconds to wait for each line of an answer. (A process that is stopped takes calls, too.)"""
    match request:
        case protocol.Ask():
            return request.timeout + ASK_WITHIN
        case protocol.Tree():
            return request.observe + ANSWER_WITHIN
        case protocol.Listen() | protocol.DeadLetters(follow=True):
            return math.inf
    return ANSWER_WITHIN


def no_answer(place: Place, within: float) -> Refused:
    """What to raise when a node says nothing."""
    text = f"the node {place.name!r} did not answer within {within:g} s"
    return Refused(Code.TIMEOUT, f"{text}: its process is stopped, or a handler keeps the thread")


@contextlib.asynccontextmanager
async def connect(place: Place) -> AsyncIterator[Client]:
    """A connection to the control socket at a place.

    Raises:
        NoNodeHere: nobody answers there.
        Refused: somebody is there, and so many others wait already that nobody else can; TIMEOUT.
    """
    stream = None
    with trio.move_on_after(ANSWER_WITHIN):
        while True:
            if (stream := await _call(place)) is not None:
                break
            await trio.sleep(CALL_AGAIN)
    if stream is None:
        raise no_answer(place, ANSWER_WITHIN)
    async with stream:
        yield Client(place, stream)


async def _call(place: Place) -> trio.SocketStream | None:
    """Call once; None: too many wait there to be let in."""
    try:
        stream = await trio.open_unix_socket(str(place.path))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise NoNodeHere(f"no node {place.name!r} runs here: {place.path}: {why}") from error
    try:
        # Where the others that wait are too many, the operating system says EAGAIN, which trio
        # takes for a connection that is under way.
        stream.socket.getpeername()
    except OSError:
        await stream.aclose()
        return None
    return stream
