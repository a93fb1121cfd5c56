"""The frames of a link: what the payload of each frame of `transports.wire.framing` says.

The first byte is the kind, a fixed header follows; integers are big-endian. See docs/wire.md.
Every decoder here takes arbitrary bytes, and returns a valid frame or raises `DecodeError`.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from typing import Final

import attrs

from actors.address import check_name
from transports.errors import DecodeError

HELLO: Final = 1
WELCOME: Final = 2
REFUSE: Final = 3
DATA: Final = 4
ACK: Final = 5
PING: Final = 6
PONG: Final = 7
CLOSE: Final = 8
#: 9 and 10 are those of `introduction`.
BATCH: Final = 11

MAGIC: Final = b"TRPR"
VERSION: Final = 1

#: Accepted ranges in one ACK; later ones tell the rest.
MOST_RANGES: Final = 64
#: Bytes of a frame that every peer has to take: the largest ACK, with room to spare.
LEAST_FRAME: Final = 2048
#: Messages that a peer may grant. What it does not accept is kept here, so there is an end to it.
MOST_WINDOW: Final = 1 << 20
#: Messages in one BATCH.
MOST_IN_BATCH: Final = 256
_MOST_64: Final = (1 << 64) - 1
_MOST_32: Final = (1 << 32) - 1

DATA_HEADER: Final = struct.Struct(">BBQ")
#: As of a DATA; and then what a msgpack array with a length of 16 bits begins with.
BATCH_HEADER: Final = struct.Struct(">BBQBH")
ARRAY_16: Final = 0xDC
_PREFIX: Final = struct.Struct(">B4sH")
_HELLO: Final = struct.Struct(">QQQQQIIIB")
_ACK: Final = struct.Struct(">BBQQB")
_RANGE: Final = struct.Struct(">QQ")
_NUMBER: Final = struct.Struct(">BQ")
_TEXT_AT: Final = 2


class Reason(enum.IntEnum):
    """Why a handshake is refused, as the byte on the wire."""

    MALFORMED = 1
    MAGIC = 2
    VERSION = 3
    OWN_NAME = 4
    WRONG_NAME = 5
    FENCED = 6
    FRAME_SIZE = 7
    SECRET = 8
    CERTIFICATE = 9
    SESSION_OVER = 10


@attrs.frozen
class Hello:
    """What a node says of itself first on each connection.

    node: its name. incarnation: larger for each start of its process. session: which session of
        this process with this peer, larger each time that it has given one up.
    peer_incarnation, peer_session: the session of the peer that it remembers, both 0 if none.
    received: the highest sequence that it has in order of that session. window: charged messages
        that it holds before it has accepted any. max_frame: bytes of the largest payload of a frame
        that it takes and sends. window_bytes: of charged messages that it holds, the last one, with
        which they pass it, not counted.

    Raises:
        ValueError: a field is not in its range, or something is remembered of no session.
    """

    node: str
    incarnation: int
    session: int
    peer_incarnation: int
    peer_session: int
    received: int
    window: int
    max_frame: int
    window_bytes: int

    def __attrs_post_init__(self) -> None:
        # InvalidAddress is a ValueError.
        if len(check_name(self.node, "node").encode()) > 255:
            raise ValueError(f"node: a name of at most 255 bytes in UTF-8, not {self.node!r}")
        _check("incarnation", self.incarnation, 1, _MOST_64)
        _check("session", self.session, 1, _MOST_64)
        _check("peer_incarnation", self.peer_incarnation, 0, _MOST_64)
        _check("peer_session", self.peer_session, 0, _MOST_64)
        _check("received", self.received, 0, _MOST_64)
        _check("window", self.window, 1, MOST_WINDOW)
        _check("max_frame", self.max_frame, LEAST_FRAME, _MOST_32)
        _check("window_bytes", self.window_bytes, 1, _MOST_32)
        if (self.peer_incarnation == 0) != (self.peer_session == 0):
            raise ValueError("peer_incarnation and peer_session: both 0, or neither")
        if self.received and not self.peer_session:
            raise ValueError(f"received: 0 of no session, not {self.received}")

    def knows(self, other: Hello) -> bool:
        """Whether the session remembered is the one that `other` speaks of."""
        remembered = (self.peer_incarnation, self.peer_session)
        return remembered == (other.incarnation, other.session)


def _check(what: str, value: int, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{what}: an int from {low} to {high}, not {value!r}")


@attrs.frozen
class Ack:
    """Received and accepted up to, the ranges accepted above that, and whether to send again."""

    resend: bool
    received: int
    accepted: int
    ranges: tuple[tuple[int, int], ...] = ()


@attrs.frozen
class Refuse:
    """The handshake is over: the reason, and a sentence for a log."""

    reason: Reason
    text: str


def kind(frame: bytes) -> int:
    """The kind of a frame.

    Raises:
        DecodeError: it is empty, or its kind is unknown.
    """
    if not frame:
        raise DecodeError("$", "a frame without a kind")
    if not HELLO <= frame[0] <= CLOSE and frame[0] != BATCH:
        raise DecodeError("$", f"no frame is of kind {frame[0]}")
    return frame[0]


def encode_hello(hello: Hello) -> bytes:
    """The frame of a HELLO."""
    name = hello.node.encode()
    return (
        _PREFIX.pack(HELLO, MAGIC, VERSION)
        + _HELLO.pack(
            hello.incarnation,
            hello.session,
            hello.peer_incarnation,
            hello.peer_session,
            hello.received,
            hello.window,
            hello.max_frame,
            hello.window_bytes,
            len(name),
        )
        + name
    )


def hello_version(frame: bytes) -> tuple[bytes, int]:
    """Magic and version of a HELLO: this much of it is the same in all versions.

    Raises:
        DecodeError: it ends before.
    """
    if len(frame) < _PREFIX.size:
        raise DecodeError("$", "a HELLO ends within its magic and version")
    _, magic, version = _PREFIX.unpack_from(frame)
    return magic, version


def decode_hello(frame: bytes) -> Hello:
    """The HELLO of a frame of that kind.

    Raises:
        DecodeError: magic or version is another, it is too short or too long, or a field is not in
            its range.
    """
    if hello_version(frame) != (MAGIC, VERSION):
        raise DecodeError("$", "a HELLO of another protocol or version")
    start = _PREFIX.size + _HELLO.size
    if len(frame) < start:
        raise DecodeError("$", f"a HELLO of {len(frame)} bytes ends within its header")
    *numbers, length = _HELLO.unpack_from(frame, _PREFIX.size)
    if len(frame) != start + length:
        raise DecodeError("$", f"{len(frame) - start} bytes for a name of {length}")
    try:
        return Hello(frame[start:].decode(), *numbers)
    except ValueError as error:
        raise DecodeError("$", str(error)) from error


def encode_welcome() -> bytes:
    """The frame of a WELCOME."""
    return bytes([WELCOME])


def decode_welcome(frame: bytes) -> None:
    """Check a frame of that kind.

    Raises:
        DecodeError: it has more than a kind.
    """
    if len(frame) != 1:
        raise DecodeError("$", f"a WELCOME of {len(frame)} bytes, not 1")


def encode_refuse(refuse: Refuse) -> bytes:
    """The frame of a REFUSE; its text is cut to 255 bytes."""
    text = refuse.text.encode()[:255].decode(errors="ignore").encode()
    return bytes([REFUSE, refuse.reason]) + text


def decode_refuse(frame: bytes) -> Refuse:
    """The REFUSE of a frame of that kind.

    Raises:
        DecodeError: its reason is unknown, or its text is too long or no UTF-8.
    """
    if not _TEXT_AT <= len(frame) <= _TEXT_AT + 255:
        raise DecodeError("$", f"a REFUSE of {len(frame)} bytes")
    try:
        return Refuse(Reason(frame[1]), frame[_TEXT_AT:].decode())
    except ValueError as error:
        raise DecodeError("$", str(error)) from error


def decode_data(frame: bytes) -> tuple[int, bool]:
    """Sequence and charged; the payload is what follows `DATA_HEADER`.

    Raises:
        DecodeError: it ends within its header, charged is neither 0 nor 1, or the sequence is 0.
    """
    try:
        _, charged, sequence = DATA_HEADER.unpack_from(frame)
    except struct.error as error:
        raise DecodeError("$", f"a DATA of {len(frame)} bytes ends within its header") from error
    if charged > 1 or not sequence:
        raise DecodeError("$", f"a DATA with charged {charged} and sequence {sequence}")
    return sequence, charged == 1


def encode_batch(charged: bool, sequence: int, payloads: Sequence[bytes]) -> bytes:
    """The frame of a BATCH; `sequence` is that of the first. Each payload is one msgpack value."""
    head = BATCH_HEADER.pack(BATCH, charged, sequence, ARRAY_16, len(payloads))
    return head + b"".join(payloads)


def decode_batch(frame: bytes) -> tuple[int, bool, int]:
    """First sequence, charged and how many; the payloads, as an array, follow `DATA_HEADER`.

    Not looked at is whether the array has as many elements.

    Raises:
        DecodeError: it ends within its header, or a field of that is not in its range.
    """
    try:
        _, charged, sequence, array, count = BATCH_HEADER.unpack_from(frame)
    except struct.error as error:
        raise DecodeError("$", f"a BATCH of {len(frame)} bytes ends within its header") from error
    if charged > 1 or not sequence or array != ARRAY_16 or not 2 <= count <= MOST_IN_BATCH:
        raise DecodeError(
            "$", f"a BATCH with charged {charged}, sequence {sequence}, array {array} of {count}"
        )
    if sequence + count > _MOST_64:
        raise DecodeError("$", f"a BATCH of {count} from {sequence} on")
    return sequence, charged == 1, count


def encode_ack(ack: Ack) -> bytes:
    """The frame of an ACK, which has at most `MOST_RANGES` ranges."""
    head = _ACK.pack(ACK, ack.resend, ack.received, ack.accepted, len(ack.ranges))
    return head + b"".join([_RANGE.pack(*each) for each in ack.ranges]) if ack.ranges else head


def decode_ack(frame: bytes) -> Ack:
    """The ACK of a frame of that kind.

    Raises:
        DecodeError: its length is wrong, or it contradicts itself: more is accepted than received,
            or the ranges are too many, not ascending or not apart.
    """
    if len(frame) < _ACK.size:
        raise DecodeError("$", f"an ACK of {len(frame)} bytes ends within its header")
    _, resend, received, accepted, count = _ACK.unpack_from(frame)
    if len(frame) != _ACK.size + count * _RANGE.size or count > MOST_RANGES:
        raise DecodeError("$", f"an ACK of {len(frame)} bytes for {count} ranges")
    if resend > 1:
        raise DecodeError("$", f"an ACK with resend {resend}")
    if accepted > received:
        raise DecodeError("$", f"{accepted} accepted of {received} received")
    if not count:
        return Ack(resend == 1, received, accepted)
    ranges = tuple(_RANGE.iter_unpack(frame[_ACK.size :]))
    below = accepted
    for first, last in ranges:
        # Ranges that touch would be one, and one that touches `accepted` would be part of it.
        if not below + 1 < first <= last <= received:
            raise DecodeError("$", f"the range from {first} to {last} cannot be accepted")
        below = last
    return Ack(resend == 1, received, accepted, ranges)


def encode_number(what: int, number: int) -> bytes:
    """The frame of a PING, PONG or CLOSE: its kind and one number."""
    return _NUMBER.pack(what, number)


def decode_number(frame: bytes) -> int:
    """The number of a PING or PONG, or the last sequence of a CLOSE.

    Raises:
        DecodeError: its length is wrong.
    """
    if len(frame) != _NUMBER.size:
        raise DecodeError("$", f"a frame of {len(frame)} bytes, of kind and number only")
    number: int = _NUMBER.unpack_from(frame)[1]
    return number
