"""What happened in a simulated cluster, in order: its hash, and its last events."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import Final, Literal

import attrs

Kind = Literal["sent", "arrived", "fault", "node", "actor", "note"]

KEPT: Final = 4_000
"""Last events that a trace keeps; its hash is of all."""


@attrs.frozen
class Event:
    """One thing that happened.

    number: 1, 2, ... in the order of the run. time: virtual seconds since it began. kind: `sent`:
    a frame left `node` for `peer`; `arrived`: it came to `peer`, so `node` is its sender there too;
    `fault`: one fired; `node`: a node started, crashed, paused, ...; `actor`: a handler or hook
    began or ended; `note`: what the run itself says. frame: the number of a frame, where it is sent
    and where it arrives (twice, if a fault has doubled it; never, if it was lost); 0: no frame.
    fault: the identity of the fault that this event is, or was caused by; "": none.
    """

    number: int
    time: float
    kind: Kind
    node: str
    peer: str = ""
    text: str = ""
    frame: int = 0
    fault: str = ""

    def __str__(self) -> str:
        where = f"{self.node}->{self.peer}" if self.peer else self.node
        fault = f"  [{self.fault}]" if self.fault and self.kind != "fault" else ""
        return f"{self.number:>7} {self.time:12.6f}  {self.kind:<8} {where:<12} {self.text}{fault}"


AT_ONCE: Final = 256
"""Lines that are hashed together."""


class Trace:
    """Takes the events of one run. `count`: of all."""

    def __init__(self, keep: int = KEPT) -> None:
        self.count = 0
        # What Event is made of: most of them are never looked at.
        self._kept: deque[tuple[int, float, Kind, str, str, str, int, str]] = deque(maxlen=keep)
        self._lines: list[str] = []
        self._hash = hashlib.blake2b(digest_size=16)

    def add(
        self,
        time: float,
        kind: Kind,
        node: str,
        peer: str = "",
        text: str = "",
        frame: int = 0,
        fault: str = "",
        detail: str = "",
    ) -> None:
        """Note that something has happened now. detail: in place of the text, for people."""
        self.count = count = self.count + 1
        self._kept.append((count, time, kind, node, peer, detail or text, frame, fault))
        lines = self._lines
        lines.append(f"{time!r}|{kind}|{node}|{peer}|{text}|{frame}|{fault}\n")
        if len(lines) >= AT_ONCE:
            self._digest()

    def _digest(self) -> None:
        self._hash.update("".join(self._lines).encode("utf-8", "backslashreplace"))
        self._lines.clear()

    @property
    def events(self) -> tuple[Event, ...]:
        """The last KEPT of them."""
        return tuple(Event(*each) for each in self._kept)

    @property
    def hash(self) -> str:
        """32 hexadecimal digits: equal for equal runs, in any process."""
        self._digest()
        return self._hash.hexdigest()
