"""A limit on how often an actor is sent messages through one ref."""

from __future__ import annotations

from typing import Any

import trio

from actors import ActorRef, AskTimeout
from actors.streams import Channel
from actors.timers import check_seconds
from supervision.errors import RateLimited
from supervision.wrapped_ref import Clock, WrappedRef


class CellRate:
    """The generic cell rate algorithm (ITU-T I.371): no I/O, time is an argument, in seconds.

    One message each `interval` seconds in the long run, and up to `burst` at once.
    """

    def __init__(self, interval: float, burst: int) -> None:
        self._interval = interval
        self._tolerance = interval * (burst - 1)
        # When the next message would come if all came as slowly as they may.
        self._due = 0.0

    def wait(self, now: float) -> float:
        """Seconds until a message may go; 0: now. Takes nothing."""
        return max(0.0, max(self._due, now) - self._tolerance - now)

    def reserve(self, now: float) -> float:
        """Take the next turn, and return the seconds until it comes."""
        seconds = self.wait(now)
        self._due = max(self._due, now) + self._interval
        return seconds

    def give_back(self) -> None:
        """A turn that was reserved is not used: those who come later have theirs sooner."""
        self._due -= self._interval


class RateLimit(WrappedRef):
    """A ref through which at most `rate` messages go in `per` seconds, `burst` of them at once.

        mails = RateLimit(system.at("actor://shop/mailer"), rate=10, per=60.0, burst=3)

    `tell` raises RateLimited when it is too soon. `send`, `ask` and `stream` wait for their turn,
    first come first served; that is part of an ask's timeout (of a stream's, for its first item),
    and an ask whose turn would come too late fails at once. If cancelled while it waits, its turn
    goes to those who come later. The limit is that of this ref: the actor can be reached by others.

    Raises:
        ValueError, TypeError: a limit that is none.
    """

    def __init__(
        self,
        ref: ActorRef,
        *,
        rate: float,
        per: float = 1.0,
        burst: int = 1,
        clock: Clock = trio.current_time,
    ) -> None:
        super().__init__(ref, clock)
        check_seconds(per, "per", zero=False)
        if not 0 < rate < float("inf"):
            raise ValueError(f"rate is a number of messages above 0: {rate!r}")
        if type(burst) is not int or burst < 1:
            raise ValueError(f"burst is an int from 1 up: {burst!r}")
        self._rate = CellRate(per / rate, burst)

    def tell(self, message: object) -> None:
        now = self._clock()
        seconds = self._rate.wait(now)
        if seconds > 0:
            raise RateLimited(self.ref, message, seconds)
        self._rate.reserve(now)
        self.ref.tell(message)

    async def send(self, message: object) -> None:
        await self._turn(self._rate.reserve(self._clock()))
        await self.ref.send(message)

    async def ask(self, message: Any, timeout: float | None = 5.0) -> Any:
        return await self.ref.ask(message, await self._turn_within(timeout, message))

    async def _open_stream(self, channel: Channel, request: object) -> None:
        # What is left of the time is for the first item.
        channel.first_timeout = await self._turn_within(channel.first_timeout, request)
        await self.ref._open_stream(channel, request)

    async def _turn_within(self, timeout: float | None, message: object) -> float | None:
        """Wait for the next turn, and return the seconds that are left; AskTimeout if too few."""
        now = self._clock()
        if timeout is not None and self._rate.wait(now) >= check_seconds(timeout, "timeout"):
            await trio.lowlevel.checkpoint()
            raise AskTimeout(self.ref, message, timeout, "waiting for its turn")
        seconds = self._rate.reserve(now)
        await self._turn(seconds)
        return None if timeout is None else timeout - seconds

    async def _turn(self, seconds: float) -> None:
        if seconds <= 0:
            return
        try:
            await trio.sleep(seconds)
        except BaseException:
            self._rate.give_back()
            raise
