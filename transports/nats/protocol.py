"""The protocol of NATS clients as bytes: what a server sends as events, and commands. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from transports.nats.errors import ProtocolFault
from transports.nats.headers import NO_HEADERS, Headers, decode_headers
from transports.nats.info import ServerInfo, decode_info

MOST_OF_LINE: Final = 1 << 16
"""Bytes of a line: an INFO lists the servers of a cluster."""

MOST_OF_PAYLOAD: Final = 1 << 26
"""Bytes of a message: no server can be configured to take more."""

PING: Final = b"PING\r\n"
PONG: Final = b"PONG\r\n"


class Message:
    """A message that came.

    reply: the subject that answers go to; "": none are expected. status: of messages that the
    server itself sends, with its description; 0: none. sid: the number of its subscription.
    """

    __slots__ = ("data", "description", "headers", "reply", "sid", "status", "subject")

    def __init__(
        self,
        subject: str,
        data: bytes,
        reply: str = "",
        headers: Headers = NO_HEADERS,
        sid: int = 0,
        status: int = 0,
        description: str = "",
    ) -> None:
        self.subject = subject
        self.data = data
        self.reply = reply
        self.headers = headers
        self.sid = sid
        self.status = status
        self.description = description

    def __repr__(self) -> str:
        more = f", status={self.status} {self.description!r}" if self.status else ""
        more += f", reply={self.reply!r}" if self.reply else ""
        return f"Message({self.subject!r}, {self.data[:100]!r}{more})"


@attrs.frozen
class Info:
    """The server says what it is, at the beginning and when something has changed."""

    info: ServerInfo


@attrs.frozen
class Ping:
    """The server wants a PONG."""


@attrs.frozen
class Pong:
    """All that was written before the PING has been taken by the server."""


@attrs.frozen
class Okay:
    """+OK, which is not asked for."""


@attrs.frozen
class Error:
    """-ERR with its text."""

    text: str


Event = Message | Info | Ping | Pong | Okay | Error

_PLAIN: Final[dict[bytes, Event]] = {b"PING": Ping(), b"PONG": Pong(), b"+OK": Okay()}


class Parser:
    """Turns pieces of what a server sends into events.

    Holds at most one message, or line, that is not whole. After a fault nothing more can be parsed.

    Raises:
        ValueError: a limit is no int from 1 up.
    """

    def __init__(self, max_payload: int = MOST_OF_PAYLOAD, max_line: int = MOST_OF_LINE) -> None:
        for limit in (max_payload, max_line):
            if type(limit) is not int or limit < 1:
                raise ValueError(f"a limit is a number of bytes from 1 up: {limit!r}")
        self._max_payload = max_payload
        self._max_line = max_line
        self._pieces: list[bytes] = []
        self._size = 0
        # Nothing comes of less than this: a large message is put together once.
        self._need = 0
        self._fault: ProtocolFault | None = None

    @property
    def buffered(self) -> int:
        """Bytes that wait for the rest of theirs."""
        return self._size

    def feed(self, data: bytes) -> list[Event]:
        """The events that are whole now, in order.

        Raises:
            ProtocolFault: no server would send that, or it is larger than allowed. What came before
                it in this piece is lost with the connection. Each later call raises it again.
        """
        if self._fault is not None:
            raise self._fault
        if self._size:
            self._pieces.append(data)
            self._size += len(data)
            if self._size < self._need:
                return []
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
        try:
            events, start = self._parse(data)
        except ProtocolFault as fault:
            self._fault = fault
            raise
        if start < len(data):
            self._pieces.append(data[start:] if start else data)
            self._size = len(data) - start
        return events

    def _parse(self, data: bytes) -> tuple[list[Event], int]:
        events: list[Event] = []
        start = 0
        size = len(data)
        max_line = self._max_line
        self._need = 0
        while start < size:
            end = data.find(b"\r\n", start, start + max_line + 2)
            if end < 0:
                if size - start >= max_line + 2:
                    raise ProtocolFault(f"a line of more than {max_line} bytes")
                break
            line = data[start:end]
            # At spaces alone: other white space may be in a subject that somebody has made.
            fields = line.split(b" ")
            verb = fields[0] if fields else b""
            if verb == b"MSG":
                stop = self._end_of_payload(fields, 4, data, end)
                if stop < 0:
                    self._need = -stop - start
                    break
                reply = fields[3].decode(errors="replace") if len(fields) == 5 else ""
                events.append(
                    Message(
                        fields[1].decode(errors="replace"),
                        data[end + 2 : stop],
                        reply,
                        NO_HEADERS,
                        _number(fields[2]),
                    )
                )
                start = stop + 2
            elif verb == b"HMSG":
                stop = self._end_of_payload(fields, 5, data, end)
                if stop < 0:
                    self._need = -stop - start
                    break
                events.append(_with_headers(fields, data[end + 2 : stop]))
                start = stop + 2
            else:
                events.append(_line(verb, line))
                start = end + 2
        return events, start

    def _end_of_payload(self, fields: list[bytes], least: int, data: bytes, end: int) -> int:
        """Where it ends; if it is not whole, where the message ends, negative."""
        if not least <= len(fields) <= least + 1:
            raise ProtocolFault(f"{fields[0].decode()} with {len(fields)} fields")
        payload = _number(fields[-1])
        if payload > self._max_payload:
            raise ProtocolFault(f"a message of {payload} bytes, of {self._max_payload} allowed")
        stop = end + 2 + payload
        if len(data) < stop + 2:
            return -stop - 2
        if data[stop : stop + 2] != b"\r\n":
            raise ProtocolFault("a message that does not end where it says")
        return stop


def _number(field: bytes) -> int:
    # More digits than any number here has: int() of thousands of them would take long.
    if not field.isdigit() or len(field) > 18:
        raise ProtocolFault(f"no number: {field[:40]!r}")
    return int(field)


def _with_headers(fields: list[bytes], data: bytes) -> Message:
    size = _number(fields[-2])
    if size > len(data):
        raise ProtocolFault(f"headers of {size} bytes in a message of {len(data)}")
    try:
        headers, status, description = decode_headers(data[:size])
    except ProtocolFault:
        # Whoever published it has made them: the server looks at their size only.
        headers, status, description = NO_HEADERS, 0, ""
    return Message(
        fields[1].decode(errors="replace"),
        data[size:],
        fields[3].decode(errors="replace") if len(fields) == 6 else "",
        headers,
        _number(fields[2]),
        status,
        description,
    )


def _line(verb: bytes, line: bytes) -> Event:
    plain = _PLAIN.get(line)
    if plain is not None:
        return plain
    if verb == b"-ERR":
        return Error(line[4:].strip().decode(errors="replace").strip("'"))
    if verb == b"INFO":
        return Info(decode_info(line[4:].strip()))
    raise ProtocolFault(f"an unknown line: {line[:80]!r}")


def encode_connect(options: Mapping[str, Any]) -> bytes:
    """CONNECT, the client's answer to the first INFO."""
    return b"CONNECT " + msgspec.json.encode(options) + b"\r\n"


def encode_publish(subject: bytes, data: bytes, reply: bytes = b"", headers: bytes = b"") -> bytes:
    """PUB, or HPUB if there are headers; the parts are checked already."""
    if reply:
        subject = b"%b %b" % (subject, reply)
    if headers:
        size = len(headers)
        return b"HPUB %b %d %d\r\n%b%b\r\n" % (subject, size, size + len(data), headers, data)
    return b"PUB %b %d\r\n%b\r\n" % (subject, len(data), data)


def encode_subscribe(pattern: bytes, sid: int, queue: bytes = b"") -> bytes:
    """SUB, with a queue group or without."""
    if queue:
        return b"SUB %b %b %d\r\n" % (pattern, queue, sid)
    return b"SUB %b %d\r\n" % (pattern, sid)


def encode_unsubscribe(sid: int) -> bytes:
    """UNSUB, at once."""
    return b"UNSUB %d\r\n" % sid
