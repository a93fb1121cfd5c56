"""A session: messages between two processes in order and exactly once, over connections that break.

Go-back-N: a receiver keeps nothing that is out of order, and asks once for each gap; a sender keeps
each message until the peer has accepted it, which is later than received: a mailbox may have had no
room. What the peer has received is not sent again; what it has not accepted counts against its
window, and is lost if its process ends. No I/O; time is an argument, in seconds.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable
from math import inf
from typing import Final, NamedTuple

from transports import frames
from transports.errors import DecodeError, WindowFull, WrongState
from transports.frames import DATA, DATA_HEADER, MOST_RANGES, Ack, Hello
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
        process starts; the same again if it was the peer that ended the last one (see `renewed`).

    Memory: what is charged is bounded by the windows, on both sides. What is not charged is to be
    accepted at once where it is delivered, and bounded by whoever sends it.

    Raises:
        ValueError: a number is not in its range: seconds are positive, `resend_at_most` is not
            below `resend_after`, nor `silent_after` below `heartbeat`.
    """

    def __init__(
        self,
        window: int = 1024,
        resend_after: float = 0.5,
        *,
        resend_at_most: float = 8.0,
        heartbeat: float = 1.0,
        silent_after: float = 5.0,
        max_frame: int = 1 << 24,
        number: int = 1,
    ) -> None:
        if not 0 < resend_after <= resend_at_most:
            raise ValueError(f"resend_after: above 0, to {resend_at_most}, not {resend_after!r}")
        if not 0 < heartbeat <= silent_after:
            raise ValueError(f"heartbeat: above 0, to {silent_after}, not {heartbeat!r}")
        # What a HELLO cannot say is refused now.
        Hello("check", 1, number, 0, 0, 0, window, max_frame)
        self.number = number
        self.window = window
        self._max_frame = max_frame
        self._max_payload = max_frame - DATA_HEADER.size
        self._resend_after = resend_after
        self._resend_at_most = resend_at_most
        self._heartbeat = heartbeat
        self._silent_after = silent_after
        self._peer: Hello | None = None
        self._closing = self._peer_closing = self._close_written = False
        self._enter(State.NEW)

        # What we send. Each payload is kept as its frame, by its sequence, until it is accepted.
        self._buffer: dict[int, bytes] = {}
        self._acknowledged: list[int] = []
        self._credit = 0
        self._last = 0
        self._written = 0
        self._next = 1
        self._peer_received = 0
        self._peer_accepted = 0
        self._wound_back_to = -1
        self._resend_wait = resend_after
        self._resend_at = inf

        # What we are sent.
        self._received = 0
        self._accepted = Ranges()
        self._charged_here: dict[int, None] = {}
        self._range_at = 0
        self._asked_at = -1
        self._ask_again = False
        self._ack_due = False

        self._heard = 0.0
        self._ping_at = inf
        self._pings = 0
        self._pong: int | None = None

    # -- state

    @property
    def state(self) -> State:
        """Where it is in `TABLE`."""
        return self._state

    @property
    def peer(self) -> Hello | None:
        """What the peer said of itself last, once there was a connection."""
        return self._peer

    @property
    def has_credit(self) -> bool:
        """Whether the peer's window has room for a charged message."""
        return self._credit > 0

    @property
    def unacknowledged(self) -> int:
        """Messages that the peer has not accepted."""
        return len(self._buffer)

    @property
    def peer_closing(self) -> bool:
        """Whether the peer has said that it sends nothing more."""
        return self._peer_closing

    def _enter(self, state: State) -> None:
        self._state = state
        # Looked at for every message: an enum as a key of a dict is hashed in Python.
        self._may_send = (state, Event.SEND) in TABLE
        self._connected = state is State.CONNECTED

    def _advance(self, event: Event) -> None:
        after = TABLE.get((self._state, event))
        if after is None:
            raise WrongState(self._state.value, event.value)
        if after is not self._state:
            self._enter(after)

    # -- connections

    def hello(self, node: str, incarnation: int) -> Hello:
        """What to say first on a new connection, once the one before it is `disconnected`.

        Raises:
            WrongState: the session is connected, so that this would be out of date, or closed.
            ValueError: `node` is no name, or `incarnation` no int of 64 bits from 1 up.
        """
        self._advance(Event.HELLO)
        return Hello(
            node,
            incarnation,
            self.number,
            self._peer.incarnation if self._peer else 0,
            self._peer.session if self._peer else 0,
            self._received,
            self.window,
            self._max_frame,
        )

    def connected(self, agreed: Agreed, now: float) -> None:
        """Go on over a new connection, with what follows the last that the peer has received.

        Raises:
            WrongState: it is connected already, or closed.
            ValueError: `agreed` is about another session: see `Agreed.resumed` and `renewed`.
            DecodeError: the peer has received what was never written, or forgotten what it had
                received, or changed its window; the connection is to be closed.
        """
        if (self._state, Event.CONNECT) not in TABLE:
            raise WrongState(self._state.value, Event.CONNECT.value)
        peer, before = agreed.peer, self._peer
        if agreed.resumed != (before is not None):
            raise ValueError("agreed about another session: this one is lost() and to be renewed()")
        if not self._peer_received <= agreed.peer_received <= self._written:
            raise DecodeError(
                "$.received",
                f"{agreed.peer_received} received, of {self._written} written, "
                f"after {self._peer_received}",
            )
        if before is None:
            self._credit += peer.window
        elif peer.window != before.window:
            raise DecodeError("$.window", f"{peer.window}, after {before.window}")
        self._advance(Event.CONNECT)
        self._peer = peer
        self._peer_received = agreed.peer_received
        self._next = agreed.peer_received + 1
        self._wound_back_to = self._asked_at = -1
        self._resend_wait = self._resend_after
        self._resend_at = inf
        self._close_written = self._ask_again = False
        # The last ACK of the connection before may not have arrived.
        self._ack_due = self._received > 0
        self._heard = now
        self._ping_at = now + self._heartbeat
        self._pong = None

    def disconnected(self) -> None:
        """The connection is gone, or none came of an attempt.

        Raises:
            WrongState: there never was one.
        """
        self._advance(Event.DISCONNECT)

    def close(self) -> None:
        """Send nothing more; say so to the peer once it has accepted everything.

        The session is closed when both have said so. Until then it goes on receiving.
        """
        self._advance(Event.CLOSE)
        self._closing = True

    def lost(self) -> list[tuple[int, bytes, bool]]:
        """Close it, since the peer's process is gone: what it has not accepted, in order.

        Each is (sequence, payload, charged). Some of it the peer may have received; the last it
        accepted may be among it, if its ACK was lost. Empty from the second call on.
        """
        self._advance(Event.LOSE)
        start = DATA_HEADER.size
        left = [(number, frame[start:], frame[1] == 1) for number, frame in self._buffer.items()]
        self._buffer.clear()
        self._charged_here.clear()
        return left

    def renewed(self) -> Session:
        """A new session with the same settings and number, for a peer whose process is another."""
        return Session(
            self.window,
            self._resend_after,
            resend_at_most=self._resend_at_most,
            heartbeat=self._heartbeat,
            silent_after=self._silent_after,
            max_frame=self._max_frame,
            number=self.number,
        )

    # -- what we send

    def send(self, payload: bytes, charged: bool = True) -> int:
        """Queue a message for `outgoing`; its sequence, from 1 up.

        A charged one counts against the peer's window until the peer has accepted it. Before the
        first connection there is no window, and only what is not charged can be queued.

        Raises:
            WindowFull: it is charged, and there is no credit.
            ValueError: it does not fit into a frame.
            WrongState: the session is closed, or closing.
        """
        if self._closing or not self._may_send:
            raise WrongState("closing" if self._may_send else self._state.value, Event.SEND.value)
        if len(payload) > self._max_payload:
            raise ValueError(f"{len(payload)} bytes do not fit into a frame of {self._max_frame}")
        if charged:
            if self._credit <= 0:
                raise WindowFull(self._peer.window if self._peer else 0)
            self._credit -= 1
        self._last = number = self._last + 1
        self._buffer[number] = frames.encode_data(number, payload, charged)
        return number

    def acknowledged(self) -> list[int]:
        """The sequences that the peer has accepted since the last call, in the order it said so."""
        taken, self._acknowledged = self._acknowledged, []
        return taken

    def outgoing(self, now: float) -> list[bytes]:
        """The payloads of the frames to write now, in order; nothing without a connection."""
        if not self._connected:
            return []
        written = []
        if now >= self._resend_at:
            self._next = self._peer_received + 1
            self._wound_back_to = -1
            self._close_written = False
            self._resend_wait = min(2 * self._resend_wait, self._resend_at_most)
            self._resend_at = inf
        if self._ack_due:
            written.append(self._ack())
        if self._pong is not None:
            written.append(frames.encode_number(frames.PONG, self._pong))
            self._pong = None
        if self._next <= self._last:
            written += map(self._buffer.__getitem__, range(self._next, self._last + 1))
            self._written = self._last
            self._next = self._last + 1
            self._start_timer(now)
        if self._closing and not self._close_written and not self._buffer:
            written.append(frames.encode_number(frames.CLOSE, self._last))
            self._close_written = True
            self._start_timer(now)
        if now >= self._ping_at:
            self._pings += 1
            written.append(frames.encode_number(frames.PING, self._pings))
            self._ping_at = now + self._heartbeat
        self._end_if_both_closed()
        return written

    def _start_timer(self, now: float) -> None:
        if self._resend_at == inf:
            self._resend_at = now + self._resend_wait

    def _ack(self) -> bytes:
        ranges = self._accepted
        told: tuple[tuple[int, int], ...] = ()
        if len(ranges):
            # In turn, if there are too many for one ACK.
            start = self._range_at if self._range_at < len(ranges) else 0
            told = ranges.part(start, MOST_RANGES)
            self._range_at = start + MOST_RANGES
        ack = Ack(self._ask_again, self._received, ranges.below, told)
        self._ask_again = self._ack_due = False
        return frames.encode_ack(ack)

    def wake_at(self, now: float) -> float:
        """When to call `outgoing` at the latest: `now` if there is something to write, inf if
        nothing will come of it; also when to ask `is_silent`.
        """
        if not self._connected:
            return inf
        closes = self._closing and not self._close_written and not self._buffer
        if self._ack_due or closes or self._next <= self._last or self._pong is not None:
            return now
        return min(self._resend_at, self._ping_at, self._heard + self._silent_after)

    def is_silent(self, now: float) -> bool:
        """Whether nothing was heard for so long that the connection is to be broken."""
        return self._connected and now >= self._heard + self._silent_after

    # -- what we are sent

    def received(self, frame: bytes, now: float) -> list[Delivery]:
        """Take one frame, of whatever bytes; the messages that can be delivered now.

        Nothing of a frame in error is taken. A closed session ignores frames.

        Raises:
            DecodeError: it is malformed, or no peer that keeps to the rules would send it; the
                connection is to be closed.
            WrongState: there is no connection.
        """
        if not self._connected:
            self._advance(Event.RECEIVE)
            return []
        kind = frames.kind(frame)
        if kind == DATA:
            number, charged = frames.decode_data(frame)
            self._heard = now
            if number == self._received + 1:
                return [self._deliver(number, charged, frame)]
            self._ack_due = True
            if number > self._received and self._asked_at != self._received:
                self._asked_at = self._received
                self._ask_again = True
            return []
        if kind == frames.ACK:
            self._take_ack(frames.decode_ack(frame), now)
        elif kind == frames.PING:
            self._pong = frames.decode_number(frame)
            # Repeats an ACK that was lost.
            self._ack_due = True
        elif kind == frames.PONG:
            if frames.decode_number(frame) > self._pings:
                raise DecodeError("$", "a PONG without its PING")
        elif kind == frames.CLOSE:
            if frames.decode_number(frame) != self._received:
                raise DecodeError("$", f"a CLOSE that is not behind {self._received}")
            self._peer_closing = True
            self._end_if_both_closed()
        elif kind == frames.REFUSE:
            raise DecodeError("$", "a REFUSE behind the handshake")
        # What is left are HELLO and WELCOME, doubled by the network.
        self._heard = now
        return []

    def _deliver(self, number: int, charged: bool, frame: bytes) -> Delivery:
        if self._peer_closing:
            raise DecodeError("$", f"message {number} behind a CLOSE")
        if charged:
            if len(self._charged_here) >= self.window:
                raise DecodeError("$", f"message {number} is beyond the window of {self.window}")
            self._charged_here[number] = None
        self._received = number
        self._ack_due = True
        return Delivery(number, frame[DATA_HEADER.size :], charged)

    def accepted(self, sequence: int) -> None:
        """The message is in its mailbox, and may be acknowledged; in any order.

        Raises:
            ValueError: it was not delivered, or is accepted already.
            WrongState: there never was a connection.
        """
        if self._state is State.NEW:
            self._advance(Event.ACCEPT)
        if not 0 < sequence <= self._received or not self._accepted.add(sequence):
            raise ValueError(f"message {sequence} was not delivered, or is accepted already")
        self._charged_here.pop(sequence, None)
        self._ack_due = True

    def _take_ack(self, ack: Ack, now: float) -> None:
        if ack.received > self._written:
            raise DecodeError("$", f"{ack.received} received, of {self._written} written")
        if ack.received > self._peer_received:
            self._peer_received = ack.received
            self._next = max(self._next, ack.received + 1)
            self._resend_wait = self._resend_after
            self._resend_at = now + self._resend_wait if ack.received < self._written else inf
        if ack.resend and ack.received == self._peer_received != self._wound_back_to:
            # Once a gap: the same request may come twice.
            self._wound_back_to = ack.received
            self._next = ack.received + 1
        if ack.accepted > self._peer_accepted:
            self._free(range(self._peer_accepted + 1, ack.accepted + 1))
            self._peer_accepted = ack.accepted
        if ack.ranges:
            self._free(_among(self._buffer, ack.ranges))

    def _free(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            frame = self._buffer.pop(number, None)
            # An ACK repeats what those before it have said.
            if frame is not None:
                self._credit += frame[1]
                self._acknowledged.append(number)

    def _end_if_both_closed(self) -> None:
        if self._close_written and self._peer_closing:
            self._advance(Event.BOTH_CLOSED)


def _among(buffer: Collection[int], ranges: tuple[tuple[int, int], ...]) -> list[int]:
    """The numbers of the ranges, as far as they may be in the buffer, at the cost of the lesser.

    The buffer is in order.
    """
    if sum(last - first + 1 for first, last in ranges) <= len(buffer):
        return [number for first, last in ranges for number in range(first, last + 1)]
    found: list[int] = []
    rest = iter(ranges)
    first, last = next(rest)
    for number in buffer:
        while last < number:
            after = next(rest, None)
            if after is None:
                return found
            first, last = after
        if first <= number:
            found.append(number)
    return found
