"""A session: messages between two processes in order and exactly once, over connections that break.

Go-back-N: a receiver keeps nothing that is out of order, and asks once for each gap; a sender keeps
each message until the peer has accepted it, which is later than received: a mailbox may have had no
room. What the peer has received is not sent again; what it has not accepted counts against its
window, and is lost if its process ends. No I/O; time is an argument, in seconds.
"""

from __future__ import annotations

import enum
from math import inf
from typing import Final, NamedTuple

from transports import frames
from transports.errors import DecodeError, WindowFull, WrongState
from transports.frames import DATA_HEADER, MOST_RANGES, Ack, Hello
from transports.handshake import Agreed
from transports.ranges import Ranges


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
    # A connection that failed before anything came of it.
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


class Delivery(NamedTuple):
    """One message from the peer, to be put into a mailbox and then `accepted`."""

    sequence: int
    payload: bytes
    charged: bool


class Session:
    """What one process has to tell another, and has heard from it.

    window: charged messages of the peer that may be here and not accepted. resend_after: seconds
        without progress until what the peer has not received is written again; twice as many each
        time, up to `resend_at_most`. heartbeat: seconds between PINGs. silent_after: seconds
        without a frame after which a connection is not worth keeping. max_frame: bytes of the
        largest frame. number: which session with this peer it is, larger for each one that this
        process starts; the same again when the peer's process is another (see `renewed`).

    What the peer may do to memory: the window bounds what it sends and does not let us forget; what
    is not charged is accepted at once by whoever uses this, or bounded elsewhere.

    Raises:
        ValueError: a number is not in its range: seconds are positive, `silent_after` is above
            `heartbeat`, `resend_at_most` is not below `resend_after`.
    """

    __slots__ = (
        "_accepted",
        "_ack_due",
        "_acknowledged",
        "_ask_again",
        "_asked_at",
        "_buffer",
        "_charged_here",
        "_charged_there",
        "_close_written",
        "_closing",
        "_heard",
        "_last",
        "_next",
        "_peer",
        "_peer_accepted",
        "_peer_closing",
        "_peer_received",
        "_peer_window",
        "_ping_at",
        "_pings",
        "_pong",
        "_range_at",
        "_received",
        "_resend_at",
        "_resend_wait",
        "_settings",
        "_state",
        "_wound_back_to",
        "_written",
        "number",
        "window",
    )
