"""Ctrl-C and SIGTERM: the first one asks for an end in good order, the second one ends at once."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final, NoReturn

import trio

from transports.cli.exit_codes import ExitCode

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

UNWIND_WITHIN: Final = 0.5
"""Seconds after the second signal for the program's `finally` blocks. A third ends these too."""


@contextlib.contextmanager
def stop_signals(
    stop: Callable[[], None], end: Callable[[], None], is_orderly: Callable[[], bool]
) -> Iterator[None]:
    """Call `stop` at the first SIGINT or SIGTERM, and `end` at the second one.

    Both are called in trio's loop. If the process still runs UNWIND_WITHIN seconds after `end`
    was due, because a handler keeps the thread or a clean-up takes long, it exits there and then.
    is_orderly: whether anything can be ended in good order; if not, the first is as a second one.
    """
    token = trio.lowlevel.current_trio_token()
    count = 0

    def received(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1 if count or is_orderly() else 2
        if count > 2:
            exit_at_once()
        if count == 2:
            signal.setitimer(signal.ITIMER_REAL, UNWIND_WITHIN)
            # The interpreter's own end takes the handlers away first: SIGALRM would then kill it.
            atexit.register(signal.setitimer, signal.ITIMER_REAL, 0.0)
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(stop if count == 1 else end)

    before = {number: signal.signal(number, received) for number in SIGNALS}
    before[signal.SIGALRM] = signal.signal(signal.SIGALRM, _exit)
    try:
        yield
    finally:
        if count < 2:
            # Otherwise it still has to end in time, whatever is left to do.
            for number, handler in before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGINT and SIGTERM end this process at once, where nothing else is installed meanwhile."""
    # Behind what the program registers. After that the interpreter has no handlers any more, and
    # SIGALRM would kill a process that has ended in time.
    atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)
    with _installed(_exit):
        yield


@contextlib.contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """SIGINT and SIGTERM end this process; what runs now may clean up for UNWIND_WITHIN seconds."""

    def received(number: int, frame: FrameType | None) -> NoReturn:
        signal.signal(signal.SIGALRM, _exit)
        signal.setitimer(signal.ITIMER_REAL, UNWIND_WITHIN)
        for each in SIGNALS:
            signal.signal(each, _exit)
        sys.exit(int(ExitCode.INTERRUPTED))

    with _installed(received):
        yield


@contextlib.contextmanager
def _installed(handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, former in before.items():
            # What the program has installed for itself stays.
            if signal.getsignal(number) is handler:
                signal.signal(number, former)


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    exit_at_once()


def exit_at_once() -> NoReturn:
    """End the process, with nothing more done than to show what has been printed."""
    for file in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            file.flush()
    os._exit(ExitCode.INTERRUPTED)
