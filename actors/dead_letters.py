"""Messages that nobody will handle: kept, counted, reported, never dropped in silence."""

from __future__ import annotations

import collections
import enum
import logging
from typing import TYPE_CHECKING, Final

import attrs

from actors.errors import ActorError, brief

if TYPE_CHECKING:
    from actors.ledger import Counters
    from actors.ref import ActorRef

KEPT: Final = 1_000
"""How many of the newest dead letters `recent` holds."""

log = logging.getLogger("actors.dead_letters")


class DeadLetterReason(enum.StrEnum):
    """Why a message became a dead letter."""

    STOPPED = "the actor has stopped"
    NO_ACTOR = "no actor at that address"
    UNHANDLED_AT_STOP = "the actor stopped before it came to it"
    CANCELLED = "the handler was cancelled"
    DROPPED_OLDEST = "the mailbox was full: the oldest was dropped"
    DROPPED_NEWEST = "the mailbox was full: the newest was dropped"
    TIMER_MAILBOX_FULL = "a timer found the mailbox full"


@attrs.frozen
class DeadLetter:
    """One dead letter: the message, the ref it was for, and why nobody handled it."""

    message: object
    ref: ActorRef
    reason: DeadLetterReason


class DeadLetters:
    """The dead letters of one system: `system.dead_letters`.

    The newest 1,000 are in `recent`; `count` has them all. An actor that subscribes is told
    each as a DeadLetter. Each is also logged, at INFO, to the logger "actors.dead_letters".
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._recent: collections.deque[DeadLetter] = collections.deque(maxlen=KEPT)
        self._subscribers: dict[ActorRef, None] = {}

    @property
    def recent(self) -> tuple[DeadLetter, ...]:
        """The newest, oldest first."""
        return tuple(self._recent)

    @property
    def count(self) -> int:
        """How many there were since the system was entered."""
        return self._counters.dead

    def subscribe(self, ref: ActorRef) -> None:
        """Tell `ref` of each dead letter from now on. Twice is once."""
        self._subscribers[ref] = None

    def unsubscribe(self, ref: ActorRef) -> None:
        """No longer. A ref that never subscribed is no error."""
        self._subscribers.pop(ref, None)

    def add(self, ref: ActorRef, message: object, reason: DeadLetterReason) -> None:
        """Count, keep, log and tell one. (For the runtime and for resolvers of addresses.)"""
        self._counters.dead += 1
        letter = DeadLetter(message, ref, reason)
        self._recent.append(letter)
        if log.isEnabledFor(logging.INFO):
            log.info("%s to %s: %s", brief(message), ref, reason.value)
        if not self._subscribers or isinstance(message, DeadLetter):
            # A dead letter about a dead letter would be told to the one who could not take it.
            return
        for subscriber in tuple(self._subscribers):
            try:
                subscriber.tell(letter)
            except ActorError:
                # A subscriber that is full or gone must not fail the one who sent the message.
                log.warning("the subscriber %s could not be told of a dead letter", subscriber)
