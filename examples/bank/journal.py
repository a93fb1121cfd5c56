"""What must survive a crash: lines in a file."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec


class Entry(msgspec.Struct, frozen=True):
    """One line: who did what, for which transfer, and how many cents changed hands there."""

    who: str
    what: str
    transfer: int
    cents: int = 0
    source: str = ""
    target: str = ""


class Journal:
    """An append-only file of entries. A line that was not written to its end does not count."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def repair(self) -> None:
        """Cut off a line that was not written to its end, before another one is written behind it.

        For its only writer, when it begins.
        """
        if self.path.exists():
            content = self.path.read_bytes()
            os.truncate(self.path, content.rfind(b"\n") + 1)

    def write(self, entry: Entry) -> None:
        """Add an entry; it is in the file when this returns.

        That outlives the process, however it ends, but not a power cut: that takes an `fsync`.
        """
        with self.path.open("ab") as file:
            file.write(msgspec.json.encode(entry) + b"\n")

    def read(self, who: str) -> Iterator[Entry]:
        """The entries of one actor, in the order written."""
        if not self.path.exists():
            return
        for line in self.path.read_bytes().split(b"\n")[:-1]:
            entry = msgspec.json.decode(line, type=Entry)
            if entry.who == who:
                yield entry
