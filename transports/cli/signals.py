"""Ctrl-C and SIGTERM: the first one asks for an end in good order, the second one ends at once."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final, NoReturn

import trio

from transports.cli.exit_codes import ExitCode

UNWIND_WITHIN: Final = 0.5
"""Seconds after the second signal for the program's `finally` blocks. A third ends these too."""


@contextlib.contextmanager
def stop_signals(stop: Callable[[], None], end: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at the first SIGINT or SIGTERM, and `end` at the second one.

    Both are called in trio's loop. If the process still runs UNWIND_WITHIN seconds after `end`
    was due, because a handler keeps the thread or a clean-up takes long, it exits there and then.
    """
    token = trio.lowlevel.current_trio_token()
    count = 0

    def received(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        if count > 2:
            exit_at_once()
        if count == 2:
            signal.setitimer(signal.ITIMER_REAL, UNWIND_WITHIN)
            # The interpreter's own end takes the handlers away first: SIGALRM would then kill it.
            atexit.register(signal.setitimer, signal.ITIMER_REAL, 0.0)
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(stop if count == 1 else end)

    handlers = {
        signal.SIGINT: received,
        signal.SIGTERM: received,
        signal.SIGALRM: lambda number, frame: exit_at_once(),
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        if count < 2:
            # Otherwise it still has to end in time, whatever is left to do.
            for number, handler in before.items():
                signal.signal(number, handler)


def exit_at_once() -> NoReturn:
    """End the process, with nothing more done than to show what has been printed."""
    for file in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            file.flush()
    os._exit(ExitCode.INTERRUPTED)
