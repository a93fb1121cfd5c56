"""Which worker of a pool gets a message: pure policies."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Callable
from typing import Any, ClassVar

ALL = -1
"""In the place of a worker's number: every one of them."""


class Routing(abc.ABC):
    """The base of RoundRobin, LeastLoaded, ConsistentHash and Broadcast. Each pool has its own."""

    any_worker: ClassVar[bool] = False
    """Whether another worker would do as well as the chosen one."""

    @abc.abstractmethod
    def choose(self, message: Any, workers: int, load: Callable[[int], int]) -> int:
        """The number of the worker, from 0 to `workers` - 1, or ALL. load(n): its messages."""


class RoundRobin(Routing):
    """Each in turn."""

    any_worker = True

    def __init__(self) -> None:
        self._last = -1

    def choose(self, message: Any, workers: int, load: Callable[[int], int]) -> int:
        """The one after the last."""
        self._last = (self._last + 1) % workers
        return self._last


class LeastLoaded(Routing):
    """The one with the fewest messages, waiting or in hand; of equals, the first one."""

    any_worker = True

    def choose(self, message: Any, workers: int, load: Callable[[int], int]) -> int:
        """The first with the smallest load."""
        return min(range(workers), key=load)


class ConsistentHash(Routing):
    """Messages with the same key go to the same worker, in order.

    key: from a message to a str, bytes, int, or tuple of those; its value decides, in every
        process alike. When a pool of N becomes one of M, only the least possible share of the
        keys moves: jump consistent hash (Lamping and Veach, 2014). A message without such a key is
        refused: its asker gets ActorFailed, or it is logged.

    Raises:
        TypeError: `key` cannot be called.
    """

    def __init__(self, key: Callable[[Any], Any]) -> None:
        if not callable(key):
            raise TypeError(f"key is a function of a message, not {key!r}")
        self._key = key

    def choose(self, message: Any, workers: int, load: Callable[[int], int]) -> int:
        """The key's worker.

        Raises:
            TypeError: the key is of none of those types.
            Exception: whatever the key function raised.
        """
        return jump_hash(stable_hash(self._key(message)), workers)


class Broadcast(Routing):
    """Every worker gets every message. It cannot be asked: there would be many replies."""

    def choose(self, message: Any, workers: int, load: Callable[[int], int]) -> int:
        """All of them."""
        return ALL


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


def jump_hash(key: int, buckets: int) -> int:
    """The bucket of a 64-bit key, from 0 to `buckets` - 1."""
    bucket, candidate = -1, 0
    while candidate < buckets:
        bucket = candidate
        key = (key * 2862933555777941757 + 1) & 0xFFFF_FFFF_FFFF_FFFF
        candidate = int((bucket + 1) * ((1 << 31) / ((key >> 33) + 1)))
    return bucket
