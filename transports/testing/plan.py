"""Which faults fire: decided by chance, or read from a list. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import combinations, permutations
from typing import Final, Protocol

from transports.testing.chance import Dice
from transports.testing.faults import FRAME_FAULTS, PERIOD, Fault, Faults

LONGEST_DELAY: Final = 1.0
LONGEST_STALL: Final = 6.0

ALL_CALLS: Final = ("store-lost", "store-unknown", "store-late", "store-slow")
OF_CALLS: Final = {
    "EVENT": ("store-lost", "store-late"),
    "EXPIRY": ("store-expiry",),
}
"""What can befall what is no call."""


class Plan(Protocol):
    """Says of each thing that could go wrong whether it does."""

    def on_frame(self, way: str, kind: str, number: int) -> Fault | None:
        """Of the frame with that number, of those of its kind from `n1` to `n2` (way: `n1->n2`)."""

    def on_step(self, address: str, step: str, number: int) -> Fault | None:
        """Of a step of the actor at that address."""

    def on_start(self, node: str, incarnation: int) -> Fault | None:
        """Of the clock of a node that starts."""

    def on_store(self, node: str, kind: str, number: int) -> Fault | None:
        """Of a node's call to the engine, a change that it watches, or the end of a key's time."""

    def of_engine(self, period: int, ends: Sequence[str]) -> list[Fault]:
        """Of the engine, and of what is between it and each end; as `in_period`."""

    def in_period(self, period: int, nodes: Sequence[str], ends: Sequence[str]) -> list[Fault]:
        """Of nodes and of links between ends, for PERIOD seconds from `period * PERIOD`; sorted."""


class Chance:
    """Decides by dice that are keyed by identity, so that one fault less changes no other.

    (FoundationDB's simulation and turmoil draw from one stream; a shrinker then loses the thread.)
    """

    def __init__(self, seed: int, faults: Faults) -> None:
        self._dice = Dice(seed)
        self.rates = dict(faults.rates(seed))
        self._of_frames = tuple(self.rates[kind] for kind in FRAME_FAULTS)
        self._any_of_frames = any(self._of_frames)

    def on_frame(self, way: str, kind: str, number: int) -> Fault | None:
        if not self._any_of_frames:
            return None
        drawn = self._dice.eight(f"{way} {kind} {number}")
        for place, rate in enumerate(self._of_frames):
            if drawn[place] < rate:
                fault = FRAME_FAULTS[place]
                by = 0.0
                if fault in ("delay", "reorder"):
                    by = round(0.002 + LONGEST_DELAY * drawn[6] ** 3, 4)
                elif fault == "corrupt":
                    by = float(math.floor(drawn[6] * 4096))
                return Fault(fault, way, kind, number, by=by)
        return None

    def on_step(self, address: str, step: str, number: int) -> Fault | None:
        rate = self.rates["raise"]
        if rate and self._dice.fraction("raise", address, step, number) < rate:
            return Fault("raise", address, step, number)
        return None

    def on_start(self, node: str, incarnation: int) -> Fault | None:
        drawn = self._dice.eight(f"skew {node} {incarnation}")
        if drawn[0] >= self.rates["skew"]:
            return None
        by = round((drawn[1] - 0.3) * 10 ** (1 + 4 * drawn[2]), 3)
        rate = round(1 + (drawn[3] - 0.5) * 0.02, 4)
        return Fault("skew", node, number=incarnation, by=by, rate=rate)

    def on_store(self, node: str, kind: str, number: int) -> Fault | None:
        drawn = self._dice.eight(f"store {node} {kind} {number}")
        for place, fault in enumerate(OF_CALLS.get(kind, ALL_CALLS)):
            if drawn[place] < self.rates[fault]:
                by = 0.0
                if fault not in ("store-lost", "store-unknown"):
                    by = round(0.01 + LONGEST_STALL * drawn[6] ** 2, 4)
                return Fault(fault, node, kind, number, by=by)
        return None

    def of_engine(self, period: int, ends: Sequence[str]) -> list[Fault]:
        found = list(self._timed("engine-away", "engine", period, 0.1, 6.0))
        for end in ends:
            found += self._timed("engine-part", end, period, 0.2, 15.0)
        return sorted(found, key=lambda fault: (fault.at, str(fault)))

    def in_period(self, period: int, nodes: Sequence[str], ends: Sequence[str]) -> list[Fault]:
        found: list[Fault] = []
        for node in nodes:
            for kind, shortest, longest in (
                ("crash", 0.1, 8.0),
                ("pause", 0.2, 8.0),
                ("double", 0.2, 8.0),
            ):
                found += self._timed(kind, node, period, shortest, longest)
        for one, other in combinations(ends, 2):
            found += self._timed("part", f"{one}<->{other}", period, 0.2, 20.0)
        for one, other in permutations(ends, 2):
            way = f"{one}->{other}"
            found += self._timed("part-one-way", way, period, 0.2, 20.0)
            found += self._timed("slow", way, period, 1.0, 10.0)
        return sorted(found, key=lambda fault: (fault.at, str(fault)))

    def _timed(
        self, kind: str, where: str, period: int, shortest: float, longest: float
    ) -> Iterable[Fault]:
        drawn = self._dice.eight(f"{kind} {where} {period}")
        if drawn[0] < self.rates[kind]:
            at = round((period + drawn[1]) * PERIOD, 4)
            # Short ones are the more frequent: most that take long hide the rest.
            lasts = round(shortest * (longest / shortest) ** drawn[2], 3)
            by = round(0.02 + 0.5 * drawn[3], 3) if kind == "slow" else 0.0
            yield Fault(kind, where, at=at, lasts=lasts, by=by)


class Listed:
    """Exactly the faults of a list, in a run that is otherwise the same."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._faults = {
            (fault.kind if fault.kind in ("raise", "skew") else "", *_identity(fault)): fault
            for fault in faults
            if fault.number
        }
        self._timed = sorted(
            (fault for fault in faults if not fault.number),
            key=lambda fault: (fault.at, str(fault)),
        )

    def on_frame(self, way: str, kind: str, number: int) -> Fault | None:
        return self._faults.get(("", way, kind, number))

    def on_step(self, address: str, step: str, number: int) -> Fault | None:
        return self._faults.get(("raise", address, step, number))

    def on_start(self, node: str, incarnation: int) -> Fault | None:
        return self._faults.get(("skew", node, "", incarnation))

    def on_store(self, node: str, kind: str, number: int) -> Fault | None:
        return self._faults.get(("", node, kind, number))

    def of_engine(self, period: int, ends: Sequence[str]) -> list[Fault]:
        return []

    def in_period(self, period: int, nodes: Sequence[str], ends: Sequence[str]) -> list[Fault]:
        start, end = period * PERIOD, (period + 1) * PERIOD
        return [fault for fault in self._timed if start <= fault.at < end]


def _identity(fault: Fault) -> tuple[str, str, int]:
    return fault.where, fault.what, fault.number
