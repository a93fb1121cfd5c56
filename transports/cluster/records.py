"""What nodes write into the store: who lives, and who owns what."""

from __future__ import annotations

import re
from typing import Final, Literal

import attrs
import msgspec

SESSIONS: Final = "session."
OWNERS: Final = "owner."


@attrs.frozen
class Session:
    """A node lives: the value of a session's key, which the store deletes when it is not renewed.

    node: its name; incarnation: of the node; takes: the names of the regions that run there, and
    how many shards each has; beat: how often it was written.
    """

    node: str
    incarnation: int
    takes: dict[str, int] = attrs.Factory(dict)
    beat: int = 0


@attrs.frozen
class Record:
    """Who owns a shard. The revision with which it was written is the owner's fencing number.

    session: the key of the owner's session: while that is there, nobody else becomes the owner.
    state: "held", or "released": the owner has stopped all that there was of it.
    """

    session: str
    node: str
    state: Literal["held", "released"] = "held"


_OTHER: Final = re.compile(r"[^A-Za-z0-9_\-]")


def word(text: str) -> str:
    """A name as one word of a key, or of an address: what those cannot hold is written in hex."""
    return _OTHER.sub(lambda found: f"={ord(found[0]):x}=", text) or "="


def session_key(node: str, incarnation: int, number: int) -> str:
    """The key of a session. There is never a second one of the same key."""
    return f"{SESSIONS}{word(node)}.{incarnation}.{number:x}"


def owner_key(region: str, shard: int) -> str:
    """The key of a shard's record."""
    return f"{OWNERS}{word(region)}.{shard}"


def encode(value: Session | Record) -> bytes:
    """As JSON, for whoever looks into the store."""
    return msgspec.json.encode(attrs.asdict(value))


def decode_session(data: bytes) -> Session | None:
    """None: it is none that this version knows."""
    try:
        return msgspec.json.decode(data, type=Session)
    except msgspec.DecodeError:
        return None


def decode_record(data: bytes) -> Record | None:
    """None: it is none that this version knows."""
    try:
        return msgspec.json.decode(data, type=Record)
    except msgspec.DecodeError:
        return None
