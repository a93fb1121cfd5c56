"""The end of a worker process that goes on after the others have given it up."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Final, NoReturn

import trio

BEATS: Final = 4
"""Looks at the clock within the time for which it may stand still."""


class FreezeGuard:
    """Ends this process where it is continued (SIGCONT) after it stood still for too long.

    within: seconds. By then the others may take it for lost, and have given others what it had in
    its mailboxes. It would go on with that, until it heard from them: so it ends before, with what
    it has started and is in its group.

    Made in the main thread; `run` in a task.
    """

    def __init__(self, within: float, clock: Callable[[], float]) -> None:
        self._within = within
        self._clock = clock
        self._seen = clock()
        signal.signal(signal.SIGCONT, self._continued)

    async def run(self) -> NoReturn:
        """Note the time, again and again."""
        while True:
            self._seen = self._clock()
            await trio.sleep(self._within / BEATS)

    def _continued(self, number: int, frame: FrameType | None) -> None:
        stood = self._clock() - self._seen
        if stood > self._within:
            text = f"it stood still for {stood:.1f} s, and is given up by then: it ends\n"
            os.write(2, text.encode())
            os.killpg(os.getpgrp(), signal.SIGKILL)
