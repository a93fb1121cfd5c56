"""Keys and entries of buckets."""

from __future__ import annotations

import datetime
import enum
import re
from typing import Final

import attrs

from transports.nats.errors import InvalidSubject
from transports.nats.headers import Headers

OPERATION: Final = "KV-Operation"
MARKER: Final = "Nats-Marker-Reason"
_KEY: Final = re.compile(r"[-/_=a-zA-Z0-9]+(?:\.[-/_=a-zA-Z0-9]+)*")


class Operation(enum.Enum):
    """What has happened to a key. EXPIRED: its time was over, or it is gone and nobody saw how."""

    PUT = "PUT"
    DELETE = "DEL"
    PURGE = "PURGE"
    EXPIRED = "MaxAge"


@attrs.frozen
class Entry:
    """A key at one revision. created: seconds since 1970. value: b"" unless it was PUT."""

    bucket: str
    key: str
    value: bytes
    revision: int
    operation: Operation
    created: float


def check_key(key: str) -> str:
    """A key that a bucket can have; `subjects.escape` makes one of any name.

    Raises:
        InvalidSubject: it has other characters, or an empty token.
    """
    if type(key) is not str or not _KEY.fullmatch(key):
        raise InvalidSubject(key, 'a key has letters, digits, and "_-=/", with dots between')
    return key


def operation_of(headers: Headers) -> Operation:
    """What the headers of a message in a bucket say."""
    reason = headers.get(MARKER)
    if reason is not None:
        # The server's own markers: by age, by a purge, by a deleted message.
        return {"MaxAge": Operation.EXPIRED, "Purge": Operation.PURGE}.get(reason, Operation.DELETE)
    said = headers.get(OPERATION, "PUT")
    return {"DEL": Operation.DELETE, "PURGE": Operation.PURGE}.get(said, Operation.PUT)


def seconds_of(text: str) -> float:
    """Of a time such as 2026-01-02T03:04:05.123456789Z."""
    whole, _, rest = text.partition(".")
    fraction = rest.rstrip("Z") if rest else "0"
    moment = datetime.datetime.fromisoformat(whole.rstrip("Z") + "+00:00")
    return moment.timestamp() + float(f"0.{fraction}")
