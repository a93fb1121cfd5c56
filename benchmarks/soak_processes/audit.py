"""The audit: what the journals say, and nobody else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import attrs


@attrs.frozen
class Audit:
    """What the journals say.

    lines: numbers written. lost: acknowledged numbers that are nowhere. twice: numbers that are
    there more than once. refused: numbers that are there, though their clients were told that
    nobody had handled them. strange: lines that are no number that was ever sent.
    """

    journals: int
    lines: int
    lost: list[int]
    twice: list[int]
    refused: list[int]
    strange: list[str]

    @property
    def problems(self) -> list[str]:
        """What must not be, in words."""
        kinds: dict[str, list[int] | list[str]] = {
            "acknowledged and lost": self.lost,
            "handled twice": self.twice,
            "refused and handled": self.refused,
            "never sent": self.strange,
        }
        return [f"{len(found)} {kind}: {_some(found)}" for kind, found in kinds.items() if found]


def audit(folder: Path, sent: int, acknowledged: Iterable[int], refused: Iterable[int]) -> Audit:
    """Read all journals of a folder, when all who write them have ended.

    sent: the numbers from 0 up to this one were sent, once each. A line without an end was not
    written, as its writer was killed within `write`.
    """
    counts: Counter[int] = Counter()
    strange: list[str] = []
    paths = sorted(folder.glob("*.journal"))
    for path in paths:
        for line in path.read_bytes().split(b"\n")[:-1]:
            if line.isdigit() and int(line) < sent:
                counts[int(line)] += 1
            else:
                strange.append(f"{line!r} in {path.name}")
    return Audit(
        journals=len(paths),
        lines=counts.total(),
        lost=[number for number in acknowledged if not counts[number]],
        twice=sorted(number for number, count in counts.items() if count > 1),
        refused=[number for number in refused if counts[number]],
        strange=strange,
    )


def _some(found: list[int] | list[str]) -> str:
    more = ", ..." if len(found) > 10 else ""
    return ", ".join(map(str, found[:10])) + more
