"""A connection as frames: what a stream of bytes is to everybody who does not care for pieces."""

from __future__ import annotations

import contextlib
import os
from abc import abstractmethod
from collections.abc import Callable
from typing import Final

import trio

from transports.wire.framing import FrameDecoder, encode_frame

READ_AT_ONCE = 1 << 16

_ENDED = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


PART_WITHIN: Final = 1.0
"""Seconds for a peer to read why it is refused."""


class Broken(Exception):
    """This connection is of no more use; the session may go on over another one. Private."""


class Ourselves(Broken):
    """A node has called itself. Private."""


class DirectStream(trio.abc.Stream):
    """A stream that can be used with less waiting than `trio.abc.Stream` allows."""

    @abstractmethod
    def send_now(self, data: bytes) -> bool:
        """Write all of it without waiting, or nothing. False: nothing was written.

        Not while a `send_all` is under way. That it is broken is for `send_all` to say.
        """

    @abstractmethod
    async def receive_each(self, take: Callable[[bytes], object]) -> None:
        """Have `take` called with all that comes, by whichever task brings it; until it ends.

        Raises: as `receive_some`; and what `take` has raised, after which it is called no more.
        """


class Frames:
    """A connection as frames.

    max_frame: bytes of the largest payload that is read; it may be raised by `allow`.
    """

    def __init__(self, stream: trio.abc.Stream, max_frame: int) -> None:
        self.stream = stream
        self._decoder = FrameDecoder(max_frame)
        self._read: list[bytes] = []
        self.unwritten = b""
        """What `write_now` could not write: the rest of a frame, and more."""
        self._direct = stream if isinstance(stream, DirectStream) else None
        self.is_direct = isinstance(stream, trio.SocketStream | DirectStream)
        """Whether `write_now` is possible."""

    @property
    def is_tls(self) -> bool:
        """Whether the peer speaks TLS where frames are read."""
        return self._decoder.is_tls

    def allow(self, max_frame: int) -> None:
        """Take payloads of that many bytes from now on."""
        self._decoder.max_frame = max_frame

    async def read(self) -> list[bytes]:
        """The payloads that have come, at least one.

        Raises:
            Broken: the connection has ended.
            DecodeError: a frame is broken.
        """
        while not (taken := await self.read_some()):
            pass
        return taken

    async def read_some(self) -> list[bytes]:
        """The payloads that have come; none, if it was a part of one.

        Raises:
            Broken: the connection has ended.
            DecodeError: a frame is broken.
        """
        if not self._read:
            try:
                if isinstance(self.stream, trio.SocketStream):
                    # As `receive_some`, without its layers; mostly there is nothing yet.
                    file = self.stream.socket
                    await trio.lowlevel.wait_readable(file)
                    # Its number again: closed meanwhile, it may be another file's by now.
                    data = os.read(file.fileno(), READ_AT_ONCE)
                else:
                    data = bytes(await self.stream.receive_some(READ_AT_ONCE))
            except BlockingIOError:
                return []
            except _ENDED as error:
                raise Broken(_text(error)) from error
            if not data:
                raise Broken("the peer has closed it")
            self._read = self._decoder.feed(data)
        taken, self._read = self._read, []
        return taken

    async def read_each(self, take: Callable[[list[bytes]], None]) -> None:
        """Have `take` called with what `read_some` returns, until the connection ends.

        It must not block: whichever task brings it calls.

        Raises: as `read_some`, and what `take` raises.
        """
        while self._direct is None or self._read:
            take(await self.read_some())
        decoder = self._decoder
        try:
            await self._direct.receive_each(lambda data: take(decoder.feed(data)))
        except _ENDED as error:
            raise Broken(_text(error)) from error
        raise Broken("the peer has closed it")

    def unread(self, payloads: list[bytes]) -> None:
        """Let these be read again, first."""
        self._read = payloads + self._read

    async def write(self, payloads: list[bytes]) -> None:
        """Write frames, in one piece.

        Raises:
            Broken: the connection has ended.
        """
        data = self.unwritten + b"".join(map(encode_frame, payloads))
        self.unwritten = b""
        if self._direct is not None and self._direct.send_now(data):
            return
        try:
            await self.stream.send_all(data)
        except _ENDED as error:
            raise Broken(_text(error)) from error

    def write_now(self, payloads: list[bytes]) -> bool:
        """Write frames without waiting, while no `write` is under way; False: some are left."""
        if len(payloads) == 1:
            data = encode_frame(payloads[0])
        else:
            data = b"".join(map(encode_frame, payloads))
        if self._direct is not None:
            self.unwritten = b"" if self._direct.send_now(data) else data
            return not self.unwritten
        assert isinstance(self.stream, trio.SocketStream)
        try:
            done = os.write(self.stream.socket.fileno(), data)
        except OSError:
            # No room; or there is no connection any more, as `write` will find.
            done = 0
        self.unwritten = data[done:]
        return not self.unwritten

    async def part(self, payloads: list[bytes]) -> None:
        """Write the last frames, and let the peer read them: at most PART_WITHIN seconds."""
        data = self.unwritten + b"".join(map(encode_frame, payloads))
        self.unwritten = b""
        await send_last(self.stream, data)


async def send_last(stream: trio.abc.Stream, data: bytes) -> None:
    """Write the last that is said on a connection, and let the peer read it; it may break.

    A socket that is closed with bytes unread is reset, and the peer might lose what was written
    last. So what still comes is read, and thrown away, until the peer closes it: for at most
    PART_WITHIN seconds.
    """
    with trio.move_on_after(PART_WITHIN), contextlib.suppress(*_ENDED):
        await stream.send_all(data)
        if isinstance(stream, trio.abc.HalfCloseableStream):
            await stream.send_eof()
        while await stream.receive_some(READ_AT_ONCE):
            pass


def _text(error: BaseException) -> str:
    # trio hides the reason in the cause.
    return str(error) or str(error.__cause__ or type(error).__name__)
