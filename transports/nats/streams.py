"""A connection between two nodes over an engine: a stream of bytes as numbered messages.

The engine delivers a message at most once. So each carries a number, and a gap ends the stream: the
session then goes on over another one, as over a socket that has broken. What is lost last, with
nothing behind it, is found by the heartbeats of the session.
"""

from __future__ import annotations

import contextlib
import operator
import struct
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import outcome
import trio

from actors import ActorError
from transports.connection import DirectStream

WINDOW: Final = 1 << 20
"""Bytes that are on their way or unread in one direction; a sender waits then."""
PIECE: Final = 1 << 17
"""Bytes of the largest message that is made of a stream."""

HEAD: Final = struct.Struct(">BQ")
"""Kind and number, before what a message carries."""
DATA: Final = 1
"""A piece of the stream; the number counts them, from 1 up."""
READ: Final = 2
"""So many bytes have been read in all."""
END: Final = 3
"""The sender has closed its end; the number is that of the last piece."""


class Carrier(Protocol):
    """What messages are published by."""

    def publish(self, subject: str, data: bytes) -> None:
        """Publish without waiting. Raises: an ActorError if it is not taken."""

    def publish_now(self, subject: str, data: bytes) -> None:
        """As `publish`, and if nothing else is to be written, write it from this task."""

    async def send(self, subject: str, data: bytes) -> None:
        """Publish, waiting for room. Raises: an ActorError if it is not taken."""


class OneTask:
    """Lets one task in at a time; the second one is a mistake."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._is_in = False

    def __enter__(self) -> None:
        if self._is_in:
            raise trio.BusyResourceError(f"another task is {self._doing}")
        self._is_in = True

    def __exit__(self, *_: object) -> None:
        self._is_in = False


class EngineStream(DirectStream):
    """One end of a connection.

    subject: where the other end hears. piece: bytes that the engine takes in one message.
    ended: is called when it is of no more use.
    """

    def __init__(
        self, carrier: Carrier, subject: str, piece: int, ended: Callable[[], object]
    ) -> None:
        self._carrier = carrier
        self._subject = subject
        self._piece = min(piece - HEAD.size, PIECE)
        self._ended = ended
        self._pieces: deque[bytes] = deque()
        self._changed = trio.lowlevel.ParkingLot()
        self._written = self._taken = 0
        self._sent = self._read = self._told = 0
        self._heard = self._arrived = 0
        # What is called with what comes, while there is a `receive_each`; how it has failed.
        self._take: Callable[[bytes], object] | None = None
        self._taking: outcome.Error | None = None
        self._why: str | None = None
        self._at_end = self._closed = False
        self._reader, self._writer = OneTask("reading"), OneTask("writing")

    # -- what comes

    def received(self, message: bytes) -> None:
        """Take a message that has come, of whatever bytes."""
        if self._why is not None or self._closed:
            return
        if len(message) < HEAD.size:
            self.break_("a message that is no part of a stream")
            return
        kind, number = HEAD.unpack_from(message)
        if kind == DATA:
            self._take_piece(number, message[HEAD.size :])
        elif kind == READ and self._taken <= number <= self._sent:
            self._taken = number
            self._changed.unpark_all()
        elif kind == END and number == self._heard:
            self._at_end = True
            self._changed.unpark_all()
        else:
            self.break_(f"a message of kind {kind}, number {number}, which cannot be")

    def _take_piece(self, number: int, data: bytes) -> None:
        if number != self._heard + 1:
            self.break_(f"piece {number} came behind piece {self._heard}")
        elif not data:
            # To who reads it, that would be the end.
            self.break_(f"piece {number} is empty")
        elif self._arrived + len(data) > self._told + WINDOW:
            self.break_("more came than was allowed")
        else:
            self._heard = number
            self._arrived += len(data)
            if self._take is None:
                self._pieces.append(data)
                self._changed.unpark_all()
                return
            self._read += len(data)
            taking = outcome.capture(self._take, data)
            if isinstance(taking, outcome.Error):
                self._taking, self._take = taking, None
            if self._take is None or self._read - self._told >= WINDOW // 4:
                # For the reader: to raise it, or to say how far it has read.
                self._changed.unpark_all()

    def break_(self, why: str) -> None:
        """It is of no more use, for both ends' sessions to notice."""
        if self._why is None and not self._closed:
            self._why = why
            self._pieces.clear()
            self._changed.unpark_all()
            self._ended()

    # -- trio.abc.Stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write; waits while the other end has WINDOW bytes to read.

        If cancelled, a part may have been written.

        Raises:
            trio.BrokenResourceError: the connection has ended.
            trio.ClosedResourceError: this end was closed.
            trio.BusyResourceError: another task is writing.
        """
        with self._writer:
            await trio.lowlevel.checkpoint()
            rest = memoryview(data)
            while rest:
                await self._until_room()
                piece = rest[: min(self._piece, WINDOW - (self._sent - self._taken))]
                # Counted first: in a test's engine it may arrive, and be read, at once.
                self._written += 1
                self._sent += len(piece)
                try:
                    await self._publish(DATA, self._written, bytes(piece))
                except trio.Cancelled:
                    # It was not published.
                    self._written -= 1
                    self._sent -= len(piece)
                    raise
                rest = rest[len(piece) :]
            self._check_open()

    def send_now(self, data: bytes) -> bool:
        """See `DirectStream`."""
        size = len(data)
        if not size:
            return True
        if self._closed or self._why is not None or self._at_end or size > self._piece:
            return False
        if self._sent + size > self._taken + WINDOW:
            return False
        # Counted first, as in `send_all`.
        self._written += 1
        self._sent += size
        try:
            self._carrier.publish_now(self._subject, HEAD.pack(DATA, self._written) + data)
        except ActorError:
            # `send_all` waits for room, or finds out why it is not taken.
            self._written -= 1
            self._sent -= size
            return False
        return True

    async def _until_room(self) -> None:
        while True:
            self._check_open()
            if self._at_end:
                raise trio.BrokenResourceError("the other end was closed")
            if self._sent - self._taken < WINDOW:
                return
            await self._changed.park()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room."""
        with self._writer:
            await trio.lowlevel.checkpoint()
            await self._until_room()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Read what there is; b"" once the other end was closed and all is read.

        Raises:
            trio.BrokenResourceError: the connection has ended.
            trio.ClosedResourceError: this end was closed.
            trio.BusyResourceError: another task is reading.
            ValueError: max_bytes is below 1. TypeError: it is no int.
        """
        if max_bytes is not None and operator.index(max_bytes) < 1:
            raise ValueError(f"max_bytes is from 1 up: {max_bytes!r}")
        with self._reader:
            await trio.lowlevel.checkpoint()
            while not self._pieces:
                self._check_open()
                if self._at_end:
                    return b""
                await self._changed.park()
        return await self._was_read(self._next(max_bytes))

    def _next(self, max_bytes: int | None) -> bytes:
        taken = self._pieces.popleft()
        if max_bytes is not None and len(taken) > max_bytes:
            self._pieces.appendleft(taken[max_bytes:])
            taken = taken[:max_bytes]
        return taken

    async def receive_each(self, take: Callable[[bytes], object]) -> None:
        """See `DirectStream`."""
        with self._reader:
            while True:
                while self._pieces:
                    take(await self._was_read(self._next(None)))
                self._check_open()
                if self._at_end:
                    return
                self._take = take
                try:
                    await self._changed.park()
                finally:
                    self._take = None
                if self._taking is not None:
                    taking, self._taking = self._taking, None
                    taking.unwrap()
                await self._was_read(b"")

    async def _was_read(self, taken: bytes) -> bytes:
        self._read += len(taken)
        if self._read - self._told >= WINDOW // 4:
            await self._publish(READ, self._read, b"")
            self._told = self._read
        return taken

    async def aclose(self) -> None:
        """End the connection; the other end may still read what has arrived there."""
        if not self._closed:
            broken = self._why is not None
            self._closed = True
            self._pieces.clear()
            self._changed.unpark_all()
            if not broken:
                # Nobody is there to hear that it is not taken; the other end hears no more.
                with contextlib.suppress(ActorError):
                    self._carrier.publish(self._subject, HEAD.pack(END, self._written))
                self._ended()
        await trio.lowlevel.checkpoint()

    # -- both

    async def _publish(self, kind: int, number: int, data: bytes) -> None:
        try:
            await self._carrier.send(self._subject, HEAD.pack(kind, number) + data)
        except ActorError as error:
            self.break_(str(error))
            raise trio.BrokenResourceError(str(error)) from error
        self._check_open()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this end was closed")
        if self._why is not None:
            raise trio.BrokenResourceError(self._why)
