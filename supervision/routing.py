"""Which worker of a pool gets a message: pure policies."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, ClassVar

from actors.hashing import stable_hash

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


def jump_hash(key: int, buckets: int) -> int:
    """The bucket of a 64-bit key, from 0 to `buckets` - 1."""
    bucket, candidate = -1, 0
    while candidate < buckets:
        bucket = candidate
        key = (key * 2862933555777941757 + 1) & 0xFFFF_FFFF_FFFF_FFFF
        candidate = int((bucket + 1) * ((1 << 31) / ((key >> 33) + 1)))
    return bucket
