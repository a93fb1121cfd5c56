"""What a run came to, and how that is told."""

from __future__ import annotations

import traceback
from typing import Final

import attrs

from actors.testing.deadlock import Deadlock
from transports.testing.faults import Fault
from transports.testing.trace import Event


class Violation(AssertionError):
    """What must always hold did not. `oracle`: which promise it was."""

    def __init__(self, oracle: str, text: str) -> None:
        self.oracle = oracle
        super().__init__(f"{oracle}: {text}")


@attrs.frozen
class Outcome:
    """What a run came to.

    error: what failed it, or None. hash: of its trace. fired: the faults, in order. missed: those
    whose time came, and that found nothing to befall. counts: how often each kind fired, and each
    `sometimes`. frames: that were sent. events: the last ones.
    seconds: virtual ones. messages: that handlers have begun. unknown: messages that were in a node
    when it crashed.
    """

    error: Exception | None
    hash: str
    fired: tuple[Fault, ...]
    missed: tuple[Fault, ...]
    counts: dict[str, int]
    frames: int
    messages: int
    seconds: float
    unknown: int
    events: tuple[Event, ...]
    names: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """What failed, for people; "": nothing. An application's error with its kind and place."""
        if self.error is None:
            return ""
        return told(self.error)

    @property
    def oracle(self) -> str:
        """In one word, what failed; "": nothing."""
        if self.error is None:
            return ""
        if isinstance(self.error, Violation):
            return self.error.oracle
        return type(self.error).__name__


def told(error: BaseException) -> str:
    """An error in a few words, and the line of the application that raised it."""
    if isinstance(error, Violation | Deadlock):
        return str(error)
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(told(each) for each in error.exceptions)
    kind, text = type(error).__name__, str(error)
    if isinstance(error, AssertionError) and text:
        what = text
    else:
        what = f"{kind}: {text}" if text else kind
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] not in _NOT_OF_APPLICATIONS:
            file = frame.f_code.co_filename.replace("\\", "/").rpartition("/")[2]
            place = f" (in {frame.f_code.co_name}, {file}:{line})"
    return f"{what}{place}"


_NOT_OF_APPLICATIONS: Final = ("actors", "supervision", "transports", "trio", "outcome")
