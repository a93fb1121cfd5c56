"""Commands that wait to be written, bounded by their bytes."""

from __future__ import annotations

from typing import Final

MOST_AT_ONCE: Final = 1 << 18
"""Bytes of one write, if there are more."""

KEPT: Final = (b"PUB ", b"HPUB")


class Outbox:
    """A queue of commands. What is being written still takes its room.

    capacity: bytes of messages; a message that alone is larger fits an empty outbox. SUB, PING and
    so on are taken in any case: they are not from whoever publishes in a loop.

    Attribute: `size` (bytes that wait, or are being written).
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.size = 0
        self._commands: list[bytes] = []
        self._writing: list[bytes] = []

    def __len__(self) -> int:
        return len(self._commands)

    def has_room(self, size: int) -> bool:
        """Whether a message of that many bytes fits."""
        return self.size + size <= self.capacity or not self.size

    def put(self, command: bytes) -> None:
        """Take one."""
        self._commands.append(command)
        self.size += len(command)

    def take(self) -> bytes:
        """The next ones, to be written in one piece; b"" if there are none."""
        commands = self._commands
        if self.size <= MOST_AT_ONCE:
            self._commands = []
        else:
            size = count = 0
            for command in commands:
                size += len(command)
                if size > MOST_AT_ONCE and count:
                    break
                count += 1
            self._commands = commands[count:]
            del commands[count:]
        self._writing = commands
        return b"".join(commands)

    def written(self) -> None:
        """What was taken has been written."""
        self.size -= sum(map(len, self._writing))
        self._writing = []

    def broken(self, done: int) -> None:
        """The connection broke when `done` bytes of what was taken had been written.

        What is not written whole was not understood by the server: it is first in the next
        connection. Only messages stay: a connection begins with subscriptions of its own.
        """
        left = []
        for command in self._writing:
            if done >= len(command):
                done -= len(command)
            else:
                done = 0
                left.append(command)
        self._writing = []
        self._commands = [command for command in left + self._commands if command.startswith(KEPT)]
        self.size = sum(map(len, self._commands))

    def count(self, command: bytes) -> int:
        """How many of these wait."""
        return self._commands.count(command)

    def identities(self) -> frozenset[int]:
        """The `id` of each command of which nothing is written."""
        return frozenset(map(id, self._commands))

    def remove(self, command: bytes) -> None:
        """Let it not be written, if nothing of it is yet."""
        if command in self._commands:
            self._commands.remove(command)
            self.size -= len(command)

    def remove_larger(self, max_payload: int) -> list[tuple[str, int]]:
        """Take out the messages that a server does not take: their subjects and sizes."""
        kept, removed = [], []
        for command in self._commands:
            fields = command[: command.index(b"\r\n")].split()
            size = int(fields[-1]) if command.startswith(KEPT) else 0
            if size > max_payload:
                removed.append((fields[1].decode(), size))
                self.size -= len(command)
            else:
                kept.append(command)
        self._commands = kept
        return removed

    def drop(self) -> int:
        """Forget everything; how many messages that were."""
        self.broken(0)
        count = len(self._commands)
        self._commands = []
        self.size = 0
        return count
