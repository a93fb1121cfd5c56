"""Where a session is, and what leads from there to where."""

from __future__ import annotations

import enum
from typing import Final


class State(enum.Enum):
    """Where a session is."""

    NEW = "new"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    CLOSED = "closed"


class Event(enum.Enum):
    """What can be asked of a session, or happens to it."""

    SEND = "send"
    HELLO = "hello"
    CONNECT = "connected"
    DISCONNECT = "disconnected"
    RECEIVE = "received"
    ACCEPT = "accepted"
    CLOSE = "close"
    BOTH_CLOSED = "both closed"
    LOSE = "lost"


#: What is not in the table raises WrongState.
TABLE: Final[dict[tuple[State, Event], State]] = {
    (State.NEW, Event.SEND): State.NEW,
    (State.NEW, Event.HELLO): State.NEW,
    (State.NEW, Event.CONNECT): State.CONNECTED,
    # A connection that failed before anything came of it.
    (State.NEW, Event.DISCONNECT): State.NEW,
    (State.NEW, Event.CLOSE): State.NEW,
    (State.NEW, Event.LOSE): State.CLOSED,
    (State.CONNECTED, Event.SEND): State.CONNECTED,
    (State.CONNECTED, Event.DISCONNECT): State.DISCONNECTED,
    (State.CONNECTED, Event.RECEIVE): State.CONNECTED,
    (State.CONNECTED, Event.ACCEPT): State.CONNECTED,
    (State.CONNECTED, Event.CLOSE): State.CONNECTED,
    (State.CONNECTED, Event.BOTH_CLOSED): State.CLOSED,
    (State.CONNECTED, Event.LOSE): State.CLOSED,
    (State.DISCONNECTED, Event.SEND): State.DISCONNECTED,
    (State.DISCONNECTED, Event.DISCONNECT): State.DISCONNECTED,
    (State.DISCONNECTED, Event.HELLO): State.DISCONNECTED,
    (State.DISCONNECTED, Event.CONNECT): State.CONNECTED,
    (State.DISCONNECTED, Event.ACCEPT): State.DISCONNECTED,
    (State.DISCONNECTED, Event.CLOSE): State.DISCONNECTED,
    (State.DISCONNECTED, Event.LOSE): State.CLOSED,
    # The rest of what was read with the last CLOSE, and mailboxes that get room too late.
    (State.CLOSED, Event.DISCONNECT): State.CLOSED,
    (State.CLOSED, Event.RECEIVE): State.CLOSED,
    (State.CLOSED, Event.ACCEPT): State.CLOSED,
    (State.CLOSED, Event.CLOSE): State.CLOSED,
    (State.CLOSED, Event.LOSE): State.CLOSED,
}
