"""What a worker process tells its parent over a pipe: that it is ready, and what it logs. No I/O.

Lines of JSON: ``{"ready": true}``, or a log record.
"""

from __future__ import annotations

import json
import logging
from typing import Any, Final

import attrs

READY: Final = b'{"ready":true}\n'
FD_VARIABLE: Final = "TROUPER_REPORTS_FD"
"""The environment variable with the number of the pipe."""

MOST: Final = 1 << 16
"""Bytes of a line. A longer one is given on in pieces."""


class Lines:
    """Bytes in, lines out, without their ends."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now."""
        *lines, rest = (self._rest + data).split(b"\n")
        while len(rest) > self._most:
            lines.append(rest[: self._most])
            rest = rest[self._most :]
        self._rest = rest
        return lines

    def end(self) -> list[bytes]:
        """The last line, if it was not ended."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


@attrs.frozen
class Logged:
    """A log record of a worker process. text: the message, with its traceback if it has one."""

    logger: str
    level: int
    created: float
    text: str


def encode_record(record: logging.LogRecord, formatter: logging.Formatter) -> bytes:
    """A line for a record. What cannot be formatted is said, not raised, as `logging` does."""
    try:
        text = formatter.format(record)
    except Exception as error:
        # A record's arguments belong to the user.
        text = f"{record.msg!r} could not be formatted: {error!r}"
    if len(text) > MOST // 8:
        text = f"{text[: MOST // 8]} ... ({len(text)} characters)"
    line = {"l": record.name, "n": record.levelno, "t": record.created, "m": text}
    return json.dumps(line).encode("ascii") + b"\n"


def decode(line: bytes) -> Logged | bool | None:
    """True for READY; a record; None: it is neither."""
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError):
        # Whatever runs in the process can write to the pipe.
        return None
    match value:
        case {"ready": True}:
            return True
        case {"l": str(logger), "n": int(level), "t": float(created), "m": str(text)}:
            return Logged(logger, level, created, text)
    return None


def log_again(node: str, logged: Logged) -> None:
    """Log a worker's record here, marked with its node; `record.worker` is its name."""
    logger = logging.getLogger(logged.logger)
    if logger.isEnabledFor(logged.level):
        text = f"[{node}] {logged.text}"
        record = logger.makeRecord(logger.name, logged.level, "(worker)", 0, text, (), None)
        record.created = logged.created
        record.msecs = logged.created % 1 * 1000
        record.worker = node
        logger.handle(record)


def levels() -> dict[str, int]:
    """The levels that loggers of this process have of their own; "" is the root."""
    found = {"": logging.getLogger().level}
    for name, logger in sorted(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and logger.level:
            found[name] = logger.level
    return found
