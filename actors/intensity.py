"""How many restarts are too many: the restart intensity of OTP, as an exact window."""

from __future__ import annotations

from collections import deque

from actors.timers import check_seconds


class Intensity:
    """Admits `max_restarts` restarts within any `within` seconds, and refuses the next one.

    The window is exact and slides: a restart is admitted at `now` if fewer than `max_restarts`
    were admitted after `now - within`. It takes `max_restarts` numbers of memory.

    max_restarts: an int from 0 up; None: no limit.

    Raises:
        ValueError, TypeError: a limit that is none.
    """

    __slots__ = ("_admitted", "max_restarts", "within")

    def __init__(self, max_restarts: int | None, within: float) -> None:
        if max_restarts is not None and (type(max_restarts) is not int or max_restarts < 0):
            raise ValueError(f"max_restarts is an int from 0 up, or None: {max_restarts!r}")
        self.max_restarts = max_restarts
        self.within = check_seconds(within, "within", zero=False)
        self._admitted: deque[float] = deque(maxlen=max_restarts)

    def admit(self, now: float) -> bool:
        """Whether a restart at `now` (seconds, never less than the last time) is within limits.

        It then counts; a refused one does not.
        """
        if self.max_restarts is None:
            return True
        admitted = self._admitted
        if len(admitted) == self.max_restarts and (not admitted or now - admitted[0] < self.within):
            return False
        admitted.append(now)
        return True
