"""Hashes that are the same in every process: for what nodes must decide alike."""

from __future__ import annotations

import hashlib
from typing import Any


def stable_hash(key: Any) -> int:
    """64 bits of a key's value, the same in every process and version of Python.

    Raises:
        TypeError: it is no str, bytes, int, or tuple of those.
    """
    return int.from_bytes(hashlib.blake2b(_encoded(key), digest_size=8).digest(), "big")


def _encoded(key: Any) -> bytes:
    # Each with its type and length, so that no two keys give the same bytes.
    if isinstance(key, str):
        body, kind = key.encode("utf-8", "surrogatepass"), b"s"
    elif isinstance(key, bytes):
        body, kind = key, b"b"
    elif isinstance(key, int):
        body, kind = b"%d" % key, b"i"
    elif isinstance(key, tuple):
        body, kind = b"".join(map(_encoded, key)), b"t"
    else:
        raise TypeError(f"a key is a str, bytes, int, or a tuple of those, not {key!r}")
    return b"%s%d:%s" % (kind, len(body), body)
