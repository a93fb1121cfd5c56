"""Chance that is keyed by identity: what is drawn for one thing depends on nothing else."""

from __future__ import annotations

import hashlib
import struct
from typing import Final

_EIGHT: Final = struct.Struct(">8I")
_RANGE: Final = 1 / (1 << 32)


class Dice:
    """Draws for keys. The same seed and key give the same, in any process and any order."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._start = hashlib.blake2b(repr(seed).encode(), digest_size=32)

    def eight(self, key: str) -> tuple[float, ...]:
        """Eight independent numbers in [0, 1) for this key: one look-up where many are needed."""
        state = self._start.copy()
        state.update(key.encode("utf-8", "backslashreplace"))
        return tuple([number * _RANGE for number in _EIGHT.unpack(state.digest())])

    def fraction(self, *key: str | int) -> float:
        """A number in [0, 1)."""
        return self.eight(repr(key))[0]

    def between(self, low: float, high: float, *key: str | int) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self.fraction(*key)

    def number(self, *key: str | int) -> int:
        """An int in [0, 2**32)."""
        return int(self.fraction(*key) / _RANGE)
