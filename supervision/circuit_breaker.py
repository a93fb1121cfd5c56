"""A circuit breaker: who fails again and again is left alone for a while.

The pattern is M. Nygard's (Release It!, 2007), the table as in Akka and resilience4j.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import attrs
import trio

from actors import ActorFailed, ActorRef, ActorStopped, AskTimeout, MailboxFull
from actors.streams import Channel
from actors.timers import check_seconds
from supervision.errors import CircuitOpen
from supervision.wrapped_ref import Clock, WrappedRef


class CircuitState(enum.Enum):
    """Where a circuit is."""

    CLOSED = "closed"
    """All is let through."""
    OPEN = "open"
    """Nothing is let through, for a while."""
    HALF_OPEN = "half-open"
    """A few are let through, one result decides."""


class CircuitEvent(enum.Enum):
    """What happens to a circuit."""

    TOO_MANY_FAILURES = "too many failures in a row"
    TIME_OVER = "the reset time is over"
    TRIAL_SUCCEEDED = "a trial succeeded"
    TRIAL_FAILED = "a trial failed"


_S, _E = CircuitState, CircuitEvent

TRANSITIONS: Final[Mapping[tuple[CircuitState, CircuitEvent], CircuitState]] = MappingProxyType(
    {
        (_S.CLOSED, _E.TOO_MANY_FAILURES): _S.OPEN,
        (_S.OPEN, _E.TIME_OVER): _S.HALF_OPEN,
        (_S.HALF_OPEN, _E.TRIAL_SUCCEEDED): _S.CLOSED,
        (_S.HALF_OPEN, _E.TRIAL_FAILED): _S.OPEN,
    }
)
"""The whole of it; no other event happens in these states."""


@attrs.frozen
class Permit:
    """One call that is let through, in one period of the circuit."""

    period: int


class Circuit:
    """The circuit itself: no I/O, and time is an argument (seconds, never less than before).

    A result counts in the period in which its call began: the late success of a call from before
    the circuit opened closes nothing.
    """

    def __init__(
        self,
        max_failures: int,
        reset_after: float,
        trials: int,
        changed: Callable[[CircuitState, CircuitState], None] | None = None,
    ) -> None:
        for name, value in (("max_failures", max_failures), ("trials", trials)):
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} is an int from 1 up: {value!r}")
        self._max_failures = max_failures
        self._reset_after = check_seconds(reset_after, "reset_after", zero=False)
        self._trials = trials
        self._changed = changed
        self.state = CircuitState.CLOSED
        self._period = 0
        self._failures = 0
        self._under_way = 0
        self._opened_at = 0.0

    def admit(self, now: float) -> Permit | float:
        """A permit, or the seconds after which to try again."""
        if self.state is CircuitState.OPEN:
            left = self._opened_at + self._reset_after - now
            if left > 0:
                return left
            self._happens(CircuitEvent.TIME_OVER, now)
        if self.state is CircuitState.HALF_OPEN:
            if self._under_way >= self._trials:
                # When one of them ends is not known; nobody should ask again at once.
                return self._reset_after
            self._under_way += 1
        return Permit(self._period)

    def succeeded(self, permit: Permit, now: float) -> None:
        """The call was answered."""
        if permit.period != self._period:
            return
        self._failures = 0
        if self.state is CircuitState.HALF_OPEN:
            self._happens(CircuitEvent.TRIAL_SUCCEEDED, now)

    def failed(self, permit: Permit, now: float) -> None:
        """The call failed."""
        if permit.period != self._period:
            return
        if self.state is CircuitState.HALF_OPEN:
            self._happens(CircuitEvent.TRIAL_FAILED, now)
            return
        self._failures += 1
        if self._failures >= self._max_failures:
            self._happens(CircuitEvent.TOO_MANY_FAILURES, now)

    def given_up(self, permit: Permit) -> None:
        """The call says nothing: it was cancelled, or was the caller's own mistake."""
        if permit.period == self._period and self.state is CircuitState.HALF_OPEN:
            self._under_way -= 1

    def _happens(self, event: CircuitEvent, now: float) -> None:
        before, self.state = self.state, TRANSITIONS[self.state, event]
        self._period += 1
        self._failures = self._under_way = 0
        if self.state is CircuitState.OPEN:
            self._opened_at = now
        if self._changed is not None:
            self._changed(before, self.state)


class CircuitBreaker(WrappedRef):
    """A ref that fails at once, with CircuitOpen, while the actor behind it keeps failing.

        prices = CircuitBreaker(system.at("actor://shop/prices"), max_failures=5, reset_after=30.0)
        await prices.ask(Price("tea"))

    max_failures: so many asks in a row that fail open the circuit. reset_after: seconds that it
    stays open; then `trials` calls at a time are let through, and the first result closes or opens
    it. failures: the errors of an ask that count: by default ActorFailed, AskTimeout, ActorStopped
    and MailboxFull, which all say something of the actor. Other errors, and cancelled asks, count
    for nothing. changed: called with the old and the new state.

    A tell or send succeeds when the message is in the mailbox, which says little: it counts only
    as a trial; MailboxFull is a failure. A stream counts at its end, as an ask; one that its
    consumer leaves before counts for nothing. `state` is where the circuit is.

    Raises:
        ValueError, TypeError: an argument is none of what is said above.
    """

    def __init__(
        self,
        ref: ActorRef,
        *,
        max_failures: int = 5,
        reset_after: float = 30.0,
        trials: int = 1,
        failures: tuple[type[Exception], ...] = (
            ActorFailed,
            AskTimeout,
            ActorStopped,
            MailboxFull,
        ),
        changed: Callable[[CircuitState, CircuitState], None] | None = None,
        clock: Clock = trio.current_time,
    ) -> None:
        super().__init__(ref, clock)
        self._circuit = Circuit(max_failures, reset_after, trials, changed)
        self._failures = failures

    @property
    def state(self) -> CircuitState:
        """Where the circuit is. (It goes from open to half-open at the next call only.)"""
        return self._circuit.state

    def _admit(self, message: object) -> Permit:
        admitted = self._circuit.admit(self._clock())
        if isinstance(admitted, Permit):
            return admitted
        raise CircuitOpen(self.ref, message, admitted)

    def tell(self, message: object) -> None:
        permit = self._admit(message)
        try:
            self.ref.tell(message)
        except BaseException as error:
            self._ended(permit, error)
            raise
        self._taken(permit)

    async def send(self, message: object) -> None:
        permit = self._admit(message)
        try:
            await self.ref.send(message)
        except BaseException as error:
            self._ended(permit, error)
            raise
        self._taken(permit)

    async def ask(self, message: Any, timeout: float | None = 5.0) -> Any:
        permit = self._admit(message)
        try:
            reply = await self.ref.ask(message, timeout)
        except BaseException as error:
            self._ended(permit, error)
            raise
        self._circuit.succeeded(permit, self._clock())
        return reply

    async def _open_stream(self, channel: Channel, request: object) -> None:
        permit = self._admit(request)
        try:
            await self.ref._open_stream(channel, request)
        except BaseException as error:
            self._ended(permit, error)
            raise

        def ended(error: BaseException | None) -> None:
            if error is None:
                self._circuit.succeeded(permit, self._clock())
            else:
                self._ended(permit, error)

        channel.when_ended(ended)

    def _taken(self, permit: Permit) -> None:
        if self._circuit.state is CircuitState.HALF_OPEN:
            self._circuit.succeeded(permit, self._clock())

    def _ended(self, permit: Permit, error: BaseException) -> None:
        if isinstance(error, self._failures):
            self._circuit.failed(permit, self._clock())
        else:
            self._circuit.given_up(permit)
