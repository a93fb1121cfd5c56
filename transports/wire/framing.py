"""Frames on a stream of bytes: length, two checksums, payload. No I/O.

A frame is four bytes, the length of the payload, big-endian; four bytes, the CRC-32 of these; four
bytes, the CRC-32 of length and payload; the payload. A flipped bit is found before anything looks
at the payload; in a length, before anybody waits for bytes that will never come.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

from transports.errors import DecodeError

HEADER: Final = struct.Struct(">III")
LENGTH: Final = struct.Struct(">I")
TLS_RECORDS: Final = tuple(bytes((kind, 3)) for kind in (20, 21, 22, 23))
"""The first bytes of a record of TLS: as a length, more than any frame has."""


def encode_frame(payload: bytes) -> bytes:
    """The frame of a payload.

    Raises:
        ValueError: it has 4 GiB or more.
    """
    if len(payload) > 0xFFFF_FFFF:
        raise ValueError(f"a frame holds less than 4 GiB, not {len(payload)} bytes")
    check = zlib.crc32(LENGTH.pack(len(payload)))
    return HEADER.pack(len(payload), check, zlib.crc32(payload, check)) + payload


class FrameDecoder:
    """Turns pieces of a stream into payloads; holds at most one frame that is not whole.

    max_frame: bytes of one payload; a frame that says it is larger is refused by its header. After
    an error nothing more can be decoded: the connection is to be closed.

    Raises:
        ValueError: `max_frame` is no int from 1 up.
    """

    def __init__(self, max_frame: int = 1 << 24) -> None:
        if type(max_frame) is not int or max_frame < 1:
            raise ValueError(f"max_frame is a number of bytes from 1 up: {max_frame!r}")
        self.max_frame = max_frame
        self._buffer = bytearray()
        self._broken: DecodeError | None = None
        self._is_tls = False

    @property
    def is_tls(self) -> bool:
        """Whether what came last, and is no frame, is a record of TLS."""
        return self._is_tls or self._buffer.startswith(TLS_RECORDS)

    @property
    def buffered(self) -> int:
        """Bytes that wait for the rest of their frame."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that are whole now, in order.

        Raises:
            DecodeError: a frame is too large, or its checksum is wrong; the payloads before it in
                this piece are lost with the connection. Each later call raises it again.
        """
        if self._broken is not None:
            raise self._broken
        # Mostly nothing is left of the piece before, and nothing has to be copied.
        buffer: bytes | bytearray = data
        if self._buffer:
            self._buffer += data
            buffer = self._buffer
        payloads = []
        start = 0
        size = len(buffer)
        while size - start >= HEADER.size:
            length, check, checksum = HEADER.unpack_from(buffer, start)
            if zlib.crc32(buffer[start : start + LENGTH.size]) != check:
                self._is_tls = buffer.startswith(TLS_RECORDS, start)
                self._refuse("the checksum of a frame's length is wrong")
            if length > self.max_frame:
                self._refuse(f"a frame of {length} bytes, of {self.max_frame} allowed")
            end = start + HEADER.size + length
            if size < end:
                break
            payload = bytes(buffer[start + HEADER.size : end])
            if zlib.crc32(payload, check) != checksum:
                self._refuse("the checksum of a frame is wrong")
            payloads.append(payload)
            start = end
        if buffer is not self._buffer:
            if start < len(buffer):
                self._buffer += buffer[start:]
        elif start:
            del self._buffer[:start]
        return payloads

    def _refuse(self, why: str) -> None:
        self._broken = DecodeError("$", why)
        self._buffer.clear()
        raise self._broken
