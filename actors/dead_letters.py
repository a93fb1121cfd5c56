"""Messages that nobody will handle: kept, counted, reported, never dropped in silence."""

from __future__ import annotations

import collections
import enum
import logging
from typing import TYPE_CHECKING, Final

import attrs

from actors.errors import brief
from actors.messages import notice
from actors.subscribers import Subscribers

if TYPE_CHECKING:
    from actors.failure import Failure
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
    NO_SUBSCRIBER = "nobody subscribes to that topic"
    SUBSCRIBER_FULL = "a subscriber's mailbox was full"
    NO_INSTANCE = "no instance of that service is alive"
    NEVER_ROOM = "waiting for room in the mailbox would never end"
    PEER_LOST = "its node was lost before it acknowledged"
    NO_NODE = "no such node is known"
    UNREADABLE = "it came from another node, and could not be read"
    NOT_STORED = "it can never be stored by the engine that keeps its queue"
    FAILED_TOO_OFTEN = "its handling failed each time that it was redelivered"


@notice
@attrs.frozen
class DeadLetter:
    """One dead letter: the message, the ref it was for, and why nobody handled it.

    failures: one a time that its handling failed, where that is the reason.
    """

    message: object
    ref: ActorRef
    reason: DeadLetterReason
    failures: tuple[Failure, ...] = ()


class DeadLetters(Subscribers):
    """The dead letters of one system: `system.dead_letters`.

    The newest 1,000 are in `recent`; `count` has them all. An actor that subscribes is told
    each as a DeadLetter. Each is also logged, at INFO, to the logger "actors.dead_letters".
    """

    def __init__(self, counters: Counters) -> None:
        super().__init__()
        self._counters = counters
        self._recent: collections.deque[DeadLetter] = collections.deque(maxlen=KEPT)

    @property
    def recent(self) -> tuple[DeadLetter, ...]:
        """The newest, oldest first."""
        return tuple(self._recent)

    @property
    def count(self) -> int:
        """How many there were since the system was entered."""
        return self._counters.dead

    def add(
        self,
        ref: ActorRef,
        message: object,
        reason: DeadLetterReason,
        failures: tuple[Failure, ...] = (),
    ) -> None:
        """Count, keep, log and tell one. (For the runtime and for resolvers of addresses.)"""
        self._counters.dead += 1
        letter = DeadLetter(message, ref, reason, failures)
        self._recent.append(letter)
        if log.isEnabledFor(logging.INFO):
            log.info("%s to %s: %s", brief(message), ref, reason.value)
        if not isinstance(message, DeadLetter):
            # A dead letter about a dead letter would be told to the one who could not take it.
            self._tell_all(letter)
