"""A session: messages between two processes in order and exactly once, over connections that break.

What the peer has received is not sent again. What it has not accepted, which is later, since a
mailbox may have no room, counts against its window, and is lost if its process ends. The halves are
`outbound` and `inbound`, the states are in `session_states`; here are the connections, heartbeats
and the end. No I/O; time is an argument, in seconds.
"""

from __future__ import annotations

from math import inf
from typing import Final

from transports.errors import DecodeError, WrongState
from transports.wire import frames
from transports.wire.failure_detector import PhiAccrual
from transports.wire.frames import BATCH, BATCH_HEADER, DATA, DATA_HEADER, Hello
from transports.wire.handshake import Agreed
from transports.wire.inbound import Delivery, Inbound
from transports.wire.outbound import Outbound
from transports.wire.session_states import TABLE, Event, State

ACK_WITHIN: Final = 0.01
"""Seconds that an ACK may wait for more to acknowledge."""

MOST_UNSAID: Final = 32
"""Messages for which an ACK waits no longer."""

MOST_OF_BATCH: Final = 1 << 16
"""Bytes that are joined in one frame."""


class Session:
    """What one process has to tell another, and has heard from it.

    window: charged messages of the peer that may be here and not accepted. resend_after: seconds
        without progress until what the peer has not received is written again; twice as many each
        time, up to `resend_at_most`. heartbeat: seconds between PINGs; see `PhiAccrual` for how
        long may nothing be heard. max_frame: bytes of the largest frame. window_bytes: as
        `window`, of the messages' bytes, the last message not counted. number: which session
        with this peer it is, larger each time that this side has given one up; the same again if
        the peer's process or session is another (`renewed`).

    Memory: what is charged is bounded by the windows, on both sides. What is not charged is to be
    accepted at once where it is delivered, and bounded by whoever sends it.

    Raises:
        ValueError: a number is not in its range: seconds are positive, and `resend_at_most` is
            not below `resend_after`.
    """

    def __init__(
        self,
        window: int = 1024,
        resend_after: float = 0.5,
        *,
        resend_at_most: float = 8.0,
        heartbeat: float = 1.0,
        max_frame: int = 1 << 24,
        number: int = 1,
        window_bytes: int = 1 << 26,
    ) -> None:
        if not 0 < resend_after <= resend_at_most:
            raise ValueError(f"resend_after: above 0, to {resend_at_most}, not {resend_after!r}")
        if not 0 < heartbeat < inf:
            raise ValueError(f"heartbeat: above 0, and finite, not {heartbeat!r}")
        # What a HELLO cannot say is refused now.
        Hello("check", 1, number, 0, 0, 0, window, max_frame, window_bytes)
        self.number = number
        self.window = window
        self.window_bytes = window_bytes
        self._max_frame = max_frame
        self.max_payload = max_frame - DATA_HEADER.size
        """Bytes of the largest message."""
        self._resend_after = resend_after
        self._resend_at_most = resend_at_most
        self._heartbeat = heartbeat
        self._peer: Hello | None = None
        self._closing = self._peer_closing = self._close_written = False
        self._enter(State.NEW)

        most = min(MOST_OF_BATCH, max_frame - BATCH_HEADER.size)
        self._out = Outbound(resend_after, resend_at_most, most)
        self._in = Inbound(window, window_bytes)
        self._detector = PhiAccrual(heartbeat)
        self._ping_at = inf
        self._pings = 0
        self._pong: int | None = None
        self._ack_at = inf
        self._most_unsaid = min(MOST_UNSAID, max(1, window // 4))

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
        return self._out.has_credit

    @property
    def credit(self) -> int:
        """How many charged messages can be sent now."""
        out = self._out
        if not self.may_send or out.charged_bytes >= out.window_bytes:
            return 0
        return out.window - out.charged

    @property
    def room(self) -> int:
        """How many charged messages the peer's window has room for, whatever their bytes.

        Before the first connection, when there is no window yet: as many as its own has.
        """
        out = self._out
        return (out.window or self.window) - out.charged

    @property
    def most_bytes(self) -> int:
        """The peer's window in bytes; before the first connection, its own."""
        return self._out.window_bytes or self.window_bytes

    @property
    def credit_bytes(self) -> int:
        """How many bytes the messages before the last of them may have."""
        return self._out.window_bytes - self._out.charged_bytes

    @property
    def unacknowledged(self) -> int:
        """Messages that the peer has not accepted."""
        return len(self._out)

    @property
    def uncharged_bytes(self) -> int:
        """Memory that is held for messages that are not charged, and not accepted by the peer."""
        return self._out.uncharged_bytes

    @property
    def peer_closing(self) -> bool:
        """Whether the peer has said that it sends nothing more."""
        return self._peer_closing

    def _enter(self, state: State) -> None:
        self._state = state
        # Looked at for every message: an enum as a key of a dict is hashed in Python.
        self._takes = (state, Event.SEND) in TABLE
        self.may_send = self._takes and not self._closing
        """Whether `send` is possible: it is neither closing nor closed."""
        self._may_accept = (state, Event.ACCEPT) in TABLE
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
        return self.describe(node, incarnation)

    def describe(self, node: str, incarnation: int) -> Hello:
        """What this side is and remembers now, as a HELLO would say it.

        Raises:
            ValueError: as `hello`.
        """
        return Hello(
            node,
            incarnation,
            self.number,
            self._peer.incarnation if self._peer else 0,
            self._peer.session if self._peer else 0,
            self._in.received,
            self.window,
            self._max_frame,
            self.window_bytes,
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
        if before is not None and peer.window != before.window:
            raise DecodeError("$.window", f"{peer.window}, after {before.window}")
        if before is not None and peer.window_bytes != before.window_bytes:
            raise DecodeError("$.window_bytes", f"{peer.window_bytes}, after {before.window_bytes}")
        self._out.resume(agreed.peer_received)
        self._out.window = peer.window
        self._out.window_bytes = peer.window_bytes
        self._in.resume()
        self._advance(Event.CONNECT)
        self._peer = peer
        self._close_written = False
        self._detector.begin(now)
        self._ping_at = now + self._heartbeat
        self._pong = None
        self._ack_at = inf

    def disconnected(self) -> None:
        """The connection is gone, or none came of an attempt."""
        self._advance(Event.DISCONNECT)

    def close(self) -> None:
        """Send nothing more; say so to the peer once it has accepted everything.

        The session is closed when both have said so. Until then it goes on receiving.
        """
        self._advance(Event.CLOSE)
        self._closing = True
        self.may_send = False

    def lost(self) -> list[tuple[int, bytes, bool]]:
        """Close it, since the peer's process is gone: what it has not accepted, in order.

        Each is (sequence, payload, charged). Some of it the peer may have received; the last it
        accepted may be among it, if its ACK was lost. Empty from the second call on.
        """
        self._advance(Event.LOSE)
        return self._out.lost()

    def renewed(self) -> Session:
        """A new session with the same settings and number, for a peer whose process is another."""
        return type(self)(
            self.window,
            self._resend_after,
            resend_at_most=self._resend_at_most,
            heartbeat=self._heartbeat,
            max_frame=self._max_frame,
            number=self.number,
            window_bytes=self.window_bytes,
        )

    # -- what we send

    def send(self, payload: bytes, charged: bool = True) -> int:
        """Queue a message for `outgoing`; its sequence, from 1 up.

        The payload is one msgpack value. Several that are sent before something is written are
        joined: see `Delivery.payloads`.
        A charged one counts against the peer's window until the peer has accepted it. Before the
        first connection there is no window, and only what is not charged can be queued.

        Raises:
            WindowFull: it is charged, and there is no credit.
            ValueError: it does not fit into a frame.
            WrongState: the session is closed, or closing.
        """
        if not self.may_send:
            raise WrongState("closing" if self._takes else self._state.value, Event.SEND.value)
        if len(payload) > self.max_payload:
            raise ValueError(f"{len(payload)} bytes do not fit into a frame of {self._max_frame}")
        return self._out.send(payload, charged)

    def send_run(self, payloads: list[bytes]) -> int:
        """`send` charged messages, not more than there is credit for; the first one's sequence.

        Raises:
            WindowFull, WrongState: as `send`. Each is to be small.
        """
        if not self.may_send:
            raise WrongState("closing" if self._takes else self._state.value, Event.SEND.value)
        return self._out.send_run(payloads)

    def acknowledged(self) -> list[int]:
        """The sequences that the peer has accepted since the last call, in the order it said so."""
        return self._out.acknowledged()

    def outgoing(self, now: float) -> list[bytes]:
        """The payloads of the frames to write now, in order; nothing without a connection."""
        if not self._connected:
            return []
        written = []
        if now >= self._out.resend_at:
            self._out.wind_back()
            self._close_written = False
        if self._in.due and (self._in.urgent or now >= self._ack_at):
            written.append(self._in.ack())
            while self._in.urgent:
                written.append(self._in.ack())
            self._ack_at = inf
        if self._pong is not None:
            written.append(frames.encode_number(frames.PONG, self._pong))
            self._pong = None
        if self._out.due:
            written += self._out.write(now)
        if self._close_due:
            written.append(frames.encode_number(frames.CLOSE, self._out.last))
            self._close_written = True
            self._out.start_timer(now)
            self._end_if_both_closed()
        if now >= self._ping_at:
            self._pings += 1
            written.append(frames.encode_number(frames.PING, self._pings))
            self._ping_at = now + self._heartbeat
        return written

    @property
    def _close_due(self) -> bool:
        return self._closing and not self._close_written and not len(self._out)

    def wake_at(self, now: float) -> float:
        """When to call `outgoing` at the latest: `now` if there is something to write, inf if
        nothing will come of it.
        """
        if not self._connected:
            return inf
        if self.is_urgent:
            return now
        return self.timer_at

    @property
    def timer_at(self) -> float:
        """As `wake_at`, of a session that `is_urgent` does not say is due now."""
        return min(self._out.resend_at, self._ping_at, self._ack_at if self._in.due else inf)

    @property
    def is_urgent(self) -> bool:
        """Whether there is something to write that can wait for nothing."""
        return self._in.urgent or self._out.due or self._pong is not None or bool(self._close_due)

    @property
    def silent_at(self) -> float:
        """When the connection is to be broken unless something is heard before; inf without one."""
        return self._detector.suspect_at if self._connected else inf

    # -- what we are sent

    def heard(self, now: float) -> None:
        """Something came on the connection, perhaps only a part of a frame."""
        self._detector.heard = now

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
        # First what comes by the thousand.
        if frame and (frame[0] == BATCH or frame[0] == DATA):
            deliveries = self._in.take(frame, self._peer_closing)
            self._detector.heard = now
            if self._ack_at == inf:
                self._ack_at = now + ACK_WITHIN
            return deliveries
        kind = frames.kind(frame)
        if kind == frames.ACK:
            self._out.take(frames.decode_ack(frame), now)
        elif kind == frames.PING:
            self._pong = frames.decode_number(frame)
            # Repeats an ACK that was lost.
            self._in.due = self._in.urgent = True
            # The peer's own rhythm: what answers ours would be a second one in between.
            self._detector.heartbeat(now)
        elif kind == frames.PONG:
            if frames.decode_number(frame) > self._pings:
                raise DecodeError("$", "a PONG without its PING")
        elif kind == frames.CLOSE:
            if frames.decode_number(frame) != self._in.received:
                raise DecodeError("$", f"a CLOSE that is not behind {self._in.received}")
            self._peer_closing = True
            self._end_if_both_closed()
        elif kind == frames.REFUSE:
            raise DecodeError("$", "a REFUSE behind the handshake")
        # What is left are HELLO and WELCOME, doubled by the network.
        self._detector.heard = now
        return []

    def accepted(self, sequence: int, count: int = 1, lazily: bool = False) -> None:
        """`count` messages from this one on are in their mailboxes; in any order.

        lazily: the ACK may wait for those of other messages, up to ACK_WITHIN seconds.

        Raises:
            ValueError: one was not delivered, or is accepted already.
            WrongState: there never was a connection.
        """
        if not self._may_accept:
            self._advance(Event.ACCEPT)
        self._in.accept(sequence, count)
        if not lazily or self._in.unsaid >= self._most_unsaid:
            self._in.urgent = self._in.due

    def _end_if_both_closed(self) -> None:
        if self._close_written and self._peer_closing:
            self._advance(Event.BOTH_CLOSED)
