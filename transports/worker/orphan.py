"""The end of a worker process whose parent is gone: seen by a thread, whatever the others do."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from typing import Final

from actors.threads import join_main_thread, start_daemon

LOOK_EVERY: Final = 1.0
"""Seconds. The pipe may be held open by another process that the parent had forked."""


class ParentWatch:
    """Ends this process when the other end of `pipe` is closed, or this process has a new parent.

    `clean_up` is called; then it gets a SIGTERM, and `grace` seconds to end in good order; then it
    is killed, with what it has started and is in its group.
    """

    def __init__(self, pipe: int, grace: float, clean_up: Callable[[], None]) -> None:
        self._pipe = pipe
        self._parent = os.getppid()
        self._grace = grace
        self._clean_up = clean_up
        start_daemon(self._watch, "trouper parent watch")

    def end(self) -> None:
        """The process ends in good order. If the parent is gone, nobody else ends the rest."""
        if os.getppid() != self._parent:
            self._clean_up()
            os.killpg(os.getpgrp(), signal.SIGKILL)

    def _watch(self) -> None:
        while not _is_closed(self._pipe) and os.getppid() == self._parent:
            pass
        # First: before it has begun to wait for a SIGTERM, that ends it at once.
        self._clean_up()
        os.kill(os.getpid(), signal.SIGTERM)
        join_main_thread(self._grace)
        self._clean_up()
        os.killpg(os.getpgrp(), signal.SIGKILL)


def _is_closed(pipe: int) -> bool:
    """Whether it is closed now; waits a while for that."""
    readable, _, _ = select.select([pipe], [], [], LOOK_EVERY)
    return bool(readable) and os.read(pipe, 1 << 12) == b""
