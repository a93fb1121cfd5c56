"""Actors that are told of each event of one kind: of dead letters, of crashes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from actors.errors import ActorError

if TYPE_CHECKING:
    from actors.ref import ActorRef

log = logging.getLogger("actors")


class Subscribers:
    """The refs that are told of each event, in the order in which they subscribed."""

    def __init__(self) -> None:
        self._subscribers: dict[ActorRef, None] = {}

    def subscribe(self, ref: ActorRef) -> None:
        """Tell `ref` of each event from now on. Twice is once."""
        self._subscribers[ref] = None

    def unsubscribe(self, ref: ActorRef) -> None:
        """No longer. A ref that never subscribed is no error."""
        self._subscribers.pop(ref, None)

    def _tell_all(self, event: object) -> None:
        for subscriber in tuple(self._subscribers):
            try:
                subscriber.tell(event)
            except ActorError:
                # A subscriber that is full or gone must not fail the one whose event it is.
                name = type(event).__name__
                log.warning("the subscriber %s could not be told of a %s", subscriber, name)
