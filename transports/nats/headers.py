"""Headers of messages: ``NATS/1.0``, perhaps with a status, and lines of names and values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from transports.nats.errors import InvalidHeader, ProtocolFault

VERSION: Final = b"NATS/1.0"

NO_RESPONDERS: Final = 503

# What the server allows: printable ASCII but the colon.
_NAME: Final = re.compile(r"[!-9;-~]+")
_STATUS: Final = re.compile(rb" ?([0-9]{3})(?:[ \t]+([^\r\n]*))?")


class Headers(Mapping[str, str]):
    """The headers of a message that came: names are compared without their case.

    A name may come more than once: `[...]` is its first value, `all` has them in order.
    """

    __slots__ = ("_values",)

    def __init__(self, pairs: list[tuple[str, str]] | tuple[()] = ()) -> None:
        self._values: dict[str, tuple[str, list[str]]] = {}
        for name, value in pairs:
            self._values.setdefault(name.lower(), (name, []))[1].append(value)

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()][1][0]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._values.values())

    def __len__(self) -> int:
        return len(self._values)

    def all(self, name: str) -> list[str]:
        """Its values in order; none if it is not there."""
        found = self._values.get(name.lower())
        return [] if found is None else list(found[1])

    def __repr__(self) -> str:
        return f"Headers({dict(self)!r})"


NO_HEADERS: Final = Headers()


def encode_headers(headers: Mapping[str, str]) -> bytes:
    """The bytes before the payload.

    Raises:
        InvalidHeader: a name is not printable ASCII without a colon, or a value would begin another
            line, begins or ends with white space (which does not arrive), or is no str.
    """
    lines = [VERSION]
    for name, value in headers.items():
        if type(name) is not str or not _NAME.fullmatch(name):
            raise InvalidHeader(name, "a name is printable ASCII without a colon")
        if type(value) is not str or "\r" in value or "\n" in value or value.strip() != value:
            raise InvalidHeader(
                name, "a value is a str of one line, without white space at its ends"
            )
        try:
            lines.append(f"{name}: {value}".encode())
        except UnicodeEncodeError:
            raise InvalidHeader(name, "its value has a lone surrogate") from None
    return b"\r\n".join(lines) + b"\r\n\r\n"


def decode_headers(data: bytes) -> tuple[Headers, int, str]:
    """The headers, the status (0: none) and its description.

    Raises:
        ProtocolFault: the bytes are no headers.
    """
    if not data.startswith(VERSION) or not data.endswith(b"\r\n\r\n"):
        raise ProtocolFault("headers that do not begin with NATS/1.0 or do not end")
    first, *lines = data[len(VERSION) : -4].split(b"\r\n")
    status, description = 0, ""
    if first.strip():
        found = _STATUS.fullmatch(first)
        if found is None:
            raise ProtocolFault(f"a status of headers: {first[:80]!r}")
        status = int(found[1])
        description = (found[2] or b"").decode(errors="replace").strip()
    pairs = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name:
            raise ProtocolFault(f"a line of headers: {line[:80]!r}")
        pairs.append((name.decode(errors="replace"), value.strip().decode(errors="replace")))
    return (Headers(pairs) if pairs else NO_HEADERS), status, description
