"""What is said on a control socket: requests and replies, a line of JSON each. No I/O.

A request is one line, `{"do": "tell", ...}`. Its answer is any number of lines `{"item": ...}`, and
then one line, `{"end": ...}` or `{"error": {"code": ..., "text": ...}}`. Requests of one
connection are answered one after another. One that goes on until it is stopped (`listen`, and
`dead-letters` with `follow`) ends when the next line comes, or the connection ends.

See docs/operations.md.
"""

from __future__ import annotations

import enum
import re
from typing import Annotated, Any, Final, TypeAlias

import msgspec

MAX_LINE: Final = 1 << 20
"""Bytes of one request, at the most."""

MAX_REPLY: Final = 1 << 26
"""Bytes of one line of an answer, at the most."""

LONGEST: Final = 86_400.0
"""Seconds that a request may wait for a reply."""


class Code(enum.StrEnum):
    """What kind of error an error line is about."""

    BAD_REQUEST = "bad-request"
    """The line is no request: no JSON, an unknown one, a wrong field, too long."""
    BAD_MESSAGE = "bad-message"
    """No message has that name, or its fields are not these."""
    REFUSED = "refused"
    """It was not taken: no such actor, no room, nobody subscribes."""
    FAILED = "failed"
    """It was taken and came to no good: the handler raised, the actor stopped."""
    TIMEOUT = "timeout"
    """No reply came in time."""
    CLOSED = "closed"
    """The node takes no more requests: it is stopping, or has too many connections."""


class BadRequest(ValueError):
    """A line is no request. The text says why, and which field is wrong."""


Seconds = Annotated[float, msgspec.Meta(ge=0, le=LONGEST)]
_NO_FIELDS: Final = msgspec.Raw(b"{}")


class _Request(msgspec.Struct, tag_field="do", forbid_unknown_fields=True, frozen=True):
    pass


class About(_Request, tag="about", frozen=True):
    """Who is there: one end, and no items."""


class Tree(_Request, tag="tree", frozen=True):
    """All actors: an item for each, and for each node, before its actors.

    observe: seconds to look at them before, if nobody does yet. peers: those of connected nodes
    too. most: actors of one node, at the most.
    """

    observe: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.0
    peers: bool = False
    most: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000


class Tell(_Request, tag="tell", frozen=True):
    """Tell the ref of an address a message."""

    to: str
    name: str
    fields: msgspec.Raw = _NO_FIELDS


class Ask(_Request, tag="ask", frozen=True):
    """Ask it. The end has the reply."""

    to: str
    name: str
    fields: msgspec.Raw = _NO_FIELDS
    timeout: Seconds = 5.0


class Publish(_Request, tag="publish", frozen=True):
    """Publish a message. The end says how many have it."""

    topic: str
    name: str
    fields: msgspec.Raw = _NO_FIELDS


class Listen(_Request, tag="listen", frozen=True):
    """What is published to topics of a pattern, from now on: an item each."""

    topic: str


class DeadLetters(_Request, tag="dead-letters", frozen=True):
    """The newest dead letters, at most `last`, oldest first; and with `follow`, those to come."""

    last: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 1_000
    follow: bool = False


Request: TypeAlias = About | Tree | Tell | Ask | Publish | Listen | DeadLetters

_requests: Final = msgspec.json.Decoder(Request)
_encode: Final = msgspec.json.Encoder().encode
_PATH: Final = re.compile(r" - at `\$\.?([^`]*)`$")


def decode_request(line: bytes) -> Request:
    """The request that a line is.

    Raises:
        BadRequest: it is none.
    """
    try:
        return _requests.decode(line)  # type: ignore[no-any-return] # the decoder is of Request
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        found = _PATH.search(str(error))
        where = f"{found[1]}: " if found and found[1] else ""
        raise BadRequest(f"no request: {where}{_PATH.sub('', str(error))}") from error


def encode_request(request: Request) -> bytes:
    """The line of a request."""
    return _encode(request) + b"\n"


def item(value: Any) -> bytes:
    """The line of one item of an answer."""
    return _encode({"item": value}) + b"\n"


def end(value: Any = None) -> bytes:
    """The line with which an answer ends well."""
    return _encode({"end": value}) + b"\n"


def error(code: Code, text: str) -> bytes:
    """The line with which an answer ends otherwise."""
    return _encode({"error": {"code": code, "text": text}}) + b"\n"


class Fault(msgspec.Struct, frozen=True):
    """What an error line says."""

    code: str
    text: str


class Reply(msgspec.Struct, frozen=True):
    """One line of an answer: exactly one of the three is set."""

    item: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    end: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: Fault | msgspec.UnsetType = msgspec.UNSET


_replies: Final = msgspec.json.Decoder(Reply)


def decode_reply(line: bytes) -> Reply:
    """The line of an answer.

    Raises:
        BadRequest: it is none.
    """
    try:
        reply = _replies.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"no line of an answer: {error}") from error
    if [reply.item, reply.end, reply.error].count(msgspec.UNSET) != 2:
        raise BadRequest("no line of an answer: it has not exactly one of item, end and error")
    return reply


class Lines:
    """Turns pieces of a stream into lines; holds at most one that is not whole, and bounded.

    A line that is longer than `most` bytes is given as None, once, and its rest is left out.

    Raises:
        ValueError: `most` is below 1.
    """

    def __init__(self, most: int = MAX_LINE) -> None:
        if most < 1:
            raise ValueError(f"a line has at least one byte: {most!r}")
        self._most = most
        self._begun = bytearray()
        self._skipping = False

    @property
    def buffered(self) -> int:
        """Bytes of the line that is not whole."""
        return len(self._begun)

    def feed(self, data: bytes) -> list[bytes | None]:
        """The lines that are whole now, without their ends; None for one that was too long."""
        found: list[bytes | None] = []
        *whole, rest = data.split(b"\n")
        for piece in whole:
            if self._skipping:
                self._skipping = False
            elif len(self._begun) + len(piece) > self._most:
                found.append(None)
            else:
                found.append(bytes(self._begun + piece))
            self._begun.clear()
        if not self._skipping:
            if len(self._begun) + len(rest) > self._most:
                self._skipping = True
                self._begun.clear()
                found.append(None)
            else:
                self._begun += rest
        return found
