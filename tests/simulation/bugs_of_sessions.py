"""Bugs of frames, handshakes and sessions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import attrs
import trio

from tests.simulation.apps import Letters
from tests.simulation.planting import Change, bug
from transports.nodes.link import Frames, Link
from transports.wire.frames import BATCH, Hello, Reason, decode_batch, decode_data
from transports.wire.framing import HEADER, FrameDecoder
from transports.wire.handshake import Handshake
from transports.wire.inbound import HEADER_SIZE, Delivery, Inbound
from transports.wire.outbound import Outbound, count_of, last_of
from transports.wire.session import Session

take = Inbound.take
accept = Inbound.accept
write = Outbound.write
send_within = Outbound.send
hello = Session.hello


def accept_again(self: Inbound, sequence: int, count: int = 1) -> None:
    """Of a session that may see a message twice, and takes that for nothing unusual."""
    for number in range(sequence, sequence + count):
        with contextlib.suppress(ValueError):
            accept(self, number)


def decode(frame: bytes) -> tuple[int, bool, int]:
    """First sequence, charged, and how many."""
    return decode_batch(frame) if frame[0] == BATCH else (*decode_data(frame), 1)


@bug(Letters)
def no_deduplication() -> Iterable[Change]:
    """A session delivers a frame again that the network has doubled."""

    def take_all(self: Inbound, frame: bytes, at_end: bool) -> list[Delivery]:
        sequence, charged, count = decode(frame)
        if sequence <= self.received:
            return [Delivery(sequence, frame[HEADER_SIZE:], charged, count)]
        return take(self, frame, at_end)

    yield Inbound, "take", take_all
    yield Inbound, "accept", accept_again


@bug(Letters)
def resumes_behind_what_was_accepted() -> Iterable[Change]:
    """After a reconnect a session goes on behind what was accepted, and not what was received."""

    def says_accepted(self: Session, node: str, incarnation: int) -> Hello:
        said = hello(self, node, incarnation)
        return attrs.evolve(said, received=self._in._accepted.below)

    def forget(self: Inbound) -> None:
        self.received = self._accepted.below
        self._charged = 0
        self._bytes = 0
        self._uncharged.clear()
        self._whole.clear()
        self._sizes.clear()
        self._asked_at = -1
        self._ask = False
        self.due = self.urgent = self.received > 0

    def believe(self: Outbound, received: int) -> None:
        self._received = received
        self._next = received + 1
        self._wound_back_to = -1
        self._wait = self._resend_after
        self.resend_at = float("inf")

    yield Session, "hello", says_accepted
    yield Inbound, "resume", forget
    yield Inbound, "accept", accept_again
    yield Outbound, "resume", believe


@bug(Letters)
def acknowledged_before_it_is_in_a_mailbox() -> Iterable[Change]:
    """A session acknowledges a message that still waits for room in its mailbox."""

    def take_and_accept(self: Inbound, frame: bytes, at_end: bool) -> list[Delivery]:
        deliveries = take(self, frame, at_end)
        for delivery in deliveries:
            accept(self, delivery.sequence, delivery.count)
        return deliveries

    yield Inbound, "take", take_and_accept
    yield Inbound, "accept", lambda self, sequence, count=1: None


@bug(Letters)
def delivered_after_a_checkpoint() -> Iterable[Change]:
    """What was read is received at once, and delivered a step later: a cut between forgets it."""

    async def read(self: Link, connection: Frames, scope: trio.CancelScope) -> None:
        clock = self.node.dispatcher.timers.clock
        while True:
            payloads = await connection.read()
            self._check_current(scope)
            found = [self.session.received(payload, clock()) for payload in payloads]
            self.outgoing.acknowledged()
            self.wake()
            await trio.lowlevel.checkpoint()
            for deliveries in found:
                for delivery in deliveries:
                    self.incoming.deliver(delivery)
            self.wake()

    yield Link, "_read", read


@bug(Letters)
def resend_forgets_the_first() -> Iterable[Change]:
    """A resend begins one frame too late, when the peer asks and when time is up."""
    wind_back = Outbound.wind_back
    take_ack = Outbound.take

    def too_late(self: Outbound) -> None:
        wind_back(self)
        self._next += 1

    def take_too_late(self: Outbound, ack: Any, now: float) -> None:
        before = self._wound_back_to
        take_ack(self, ack, now)
        if self._wound_back_to != before:
            self._next += 1

    yield Outbound, "wind_back", too_late
    yield Outbound, "take", take_too_late


@bug(Letters)
def resend_forgets_the_last() -> Iterable[Change]:
    """A resend ends one frame too early."""

    def too_short(self: Outbound, now: float) -> Iterable[bytes]:
        again = self._written if self._next <= self._written else 0
        frames = dict(self._frames)
        written = list(write(self, now))
        return [frame for frame in written if again not in frames or frame is not frames[again]]

    yield Outbound, "write", too_short


@bug(Letters)
def resend_out_of_order() -> Iterable[Change]:
    """What is behind a gap is kept, and delivered before what was resent to fill it."""

    def keep(self: Inbound, frame: bytes, at_end: bool) -> list[Delivery]:
        kept: dict[int, bytes] = self.__dict__.setdefault("kept", {})
        sequence, _, _ = decode(frame)
        if sequence > self.received + 1:
            kept[sequence] = frame
        found = take(self, frame, at_end)
        while found and (behind := kept.pop(self.received + 1, None)) is not None:
            found = take(self, behind, at_end) + found
        return found

    yield Inbound, "take", keep


@bug(Letters)
def gap_not_noticed() -> Iterable[Change]:
    """A session takes whatever is newer than what it has: a lost frame is never asked for."""

    def take_newer(self: Inbound, frame: bytes, at_end: bool) -> list[Delivery]:
        sequence, _, _ = decode(frame)
        if sequence > self.received:
            self.received = sequence - 1
        return take(self, frame, at_end)

    yield Inbound, "take", take_newer


@bug(Letters)
def checksum_not_verified() -> Iterable[Change]:
    """Frames are taken whatever their checksum says."""

    def feed(self: FrameDecoder, data: bytes) -> list[bytes]:
        self._buffer += data
        payloads = []
        while len(self._buffer) >= HEADER.size:
            length, *_ = HEADER.unpack_from(self._buffer, 0)
            if length > self.max_frame:
                self._refuse(f"a frame of {length} bytes")
            end = HEADER.size + length
            if len(self._buffer) < end:
                break
            payloads.append(bytes(self._buffer[HEADER.size : end]))
            del self._buffer[:end]
        return payloads

    yield FrameDecoder, "feed", feed


@bug(Letters)
def credit_counted_twice() -> Iterable[Change]:
    """A message that is sent again is charged again, and its credit is given back once."""

    def charge_again(self: Outbound, now: float) -> Iterable[bytes]:
        written = self._written
        frames = list(write(self, now))
        self.charged += sum(
            frame[1] * count_of(frame) for frame in frames if last_of(frame) <= written
        )
        return frames

    yield Outbound, "write", charge_again


@bug(Letters)
def credit_ignored() -> Iterable[Change]:
    """A sender does not look at the window of its peer."""

    def send(self: Outbound, payload: bytes, charged: bool) -> int:
        window, self.window = self.window, 1 << 30
        try:
            return send_within(self, payload, charged)
        finally:
            self.window = window

    yield Outbound, "send", send
    yield Session, "credit", property(lambda self: int(self.may_send and self._out.window > 0))


@bug(Letters)
def new_session_taken_for_the_old_one() -> Iterable[Change]:
    """A handshake compares the numbers of sessions, and not the incarnations of processes."""

    def knows(self: Hello, other: Hello) -> bool:
        return self.peer_session == other.session

    yield Hello, "knows", knows


@bug(Letters, double=0.1)
def old_incarnation_not_fenced() -> Iterable[Change]:
    """A handshake with an incarnation, or a session, that is over is not refused."""
    objection = Handshake._objection

    def no_fence(self: Handshake, peer: Hello) -> Any:
        found = objection(self, peer)
        return None if found is not None and found[0] is Reason.FENCED else found

    yield Handshake, "_objection", no_fence
