"""A probe: an actor that records what it gets, for a test to look at."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import trio

from actors.actor import Actor
from actors.ask import Reply
from actors.errors import brief
from actors.ref import ActorRef
from actors.system import ActorSystem
from actors.timers import check_seconds

T = TypeVar("T")


class _Recording(Actor):
    """The actor of a probe."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        probe._actor = self

    def receive(self, message: Any) -> Any:
        self.probe._messages.append(message)
        answer = self.probe._answer
        later = None if answer is not None else self.context.reply_later()
        self.probe._arrived.send_nowait((message, later))
        return None if answer is None else answer(message)


class Probe:
    """Stands where an actor is expected, and lets a test wait for what that actor gets.

        probe = Probe(system)
        account.tell(Subscribe(probe.ref))
        assert (await probe.expect(BalanceChanged)).amount == 10

    reply: a function from a message to the reply, for what it is asked; None: an ask waits until
    the test calls `reply(value)`. All seconds are on trio's clock.

    Attributes: `ref`; `messages`: all it ever got, in order, a new tuple each time.
    """

    def __init__(
        self,
        system: ActorSystem,
        *,
        name: str | None = None,
        reply: Callable[[Any], Any] | None = None,
    ) -> None:
        self._messages: list[Any] = []
        self._answer = reply
        self._arrived, self._arrivals = trio.open_memory_channel[tuple[Any, Reply | None]](math.inf)
        self._taken: Any = None
        self._last: Reply | None = None
        self._actor: Actor
        self.ref: ActorRef = system.spawn(_Recording, self, name=name)

    @property
    def messages(self) -> tuple[Any, ...]:
        """All that it got, in order; also what was expected already."""
        return tuple(self._messages)

    async def expect(
        self, kind: type[T], *, where: Callable[[T], bool] | None = None, within: float = 1.0
    ) -> T:
        """Wait for the next message, which must be a `kind` (for which `where` is true); return it.

        Raises:
            AssertionError: another message came, or none within so many seconds. With 0, what has
                come already is still looked at.
            ValueError, TypeError: `within` is no finite number from 0 up.
        """
        if await self._next(within):
            message = self._taken
            if not isinstance(message, kind) or (where is not None and not where(message)):
                what = "" if isinstance(message, kind) else f"a {type(message).__name__}, "
                raise AssertionError(
                    f"{self.ref} expected {self._expected(kind, where)} "
                    f"and got {what}{brief(message)}{self._before()}"
                )
            return message
        raise AssertionError(
            f"{self.ref} expected {self._expected(kind, where)} "
            f"and got nothing within {within:g} s{self._before(0)}"
        )

    async def expect_none(self, *, within: float = 0.1) -> None:
        """Wait so many seconds, in which nothing must come.

        Raises:
            AssertionError: a message came.
            ValueError, TypeError: `within` is no finite number from 0 up.
        """
        if await self._next(within):
            raise AssertionError(
                f"{self.ref} expected nothing and got {brief(self._taken)}{self._before()}"
            )

    def reply(self, value: Any = None) -> None:
        """Answer the ask that `expect` returned last.

        Raises:
            AssertionError: it was not asked, was answered already, or nobody waits any more.
        """
        if self._last is None or not self._last.reply(value):
            raise AssertionError(f"{self.ref} has no ask to reply to")

    def watch(self, ref: ActorRef) -> None:
        """Be told Terminated(ref, reason) when it ends."""
        self._actor.context.watch(ref)

    async def _next(self, within: float) -> bool:
        """Take the next message, if one comes in time."""
        check_seconds(within, "within")
        try:
            self._taken, self._last = self._arrivals.receive_nowait()
        except trio.WouldBlock:
            with trio.move_on_after(within):
                self._taken, self._last = await self._arrivals.receive()
                return True
            return False
        await trio.lowlevel.checkpoint()
        return True

    def _expected(self, kind: type[Any], where: object) -> str:
        return f"a {getattr(kind, '__name__', kind)}" + (" that fits" if where is not None else "")

    def _before(self, newest: int = 1) -> str:
        waiting = self._arrivals.statistics().current_buffer_used
        seen = self._messages[: len(self._messages) - newest - waiting]
        return f" (before: {', '.join(brief(each, 60) for each in seen[-3:])})" if seen else ""
