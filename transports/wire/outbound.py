"""The half of a session that sends: what the peer has not accepted, its window, and what to repeat.

Go-back-N: what the peer has not received is written again from the first on, when it asks, or when
nothing has come of it for a time that doubles. No I/O; time is an argument, in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Final

from transports.errors import DecodeError, WindowFull
from transports.wire.frames import (
    BATCH,
    BATCH_HEADER,
    DATA,
    DATA_HEADER,
    MOST_IN_BATCH,
    Ack,
    encode_batch,
)
from transports.wire.inbound import HEADER_SIZE, Delivery
from transports.wire.ranges import among

AROUND: Final = 100
"""Bytes that are held for each message besides its own, about."""


class Outbound:
    """Messages by sequence, each kept as its frame until the peer has accepted it.

    Of several that are sent before something is written, those that are charged, or not, alike are
    one frame, a BATCH of at most `most` bytes.
    `window` and `window_bytes` are the peer's, 0 until they are known. `due` says that there are
    frames to write.
    """

    def __init__(self, resend_after: float, resend_at_most: float, most: int = 1 << 16) -> None:
        self.window = 0
        self.window_bytes = 0
        self.resend_at = inf
        self.last = 0
        self._resend_after = resend_after
        self._resend_at_most = resend_at_most
        self._wait = resend_after
        self._most = most
        self._frames: dict[int, bytes] = {}
        # The last ones, which are in no frame yet.
        self._run: list[bytes] = []
        self._run_charged = False
        self._run_size = 0
        self.charged = 0
        self.charged_bytes = 0
        self.uncharged_bytes = 0
        """Memory that is held for those that no window bounds."""
        self._acknowledged: list[int] = []
        self._written = 0
        self._next = 1
        self._received = 0
        self._accepted = 0
        self._wound_back_to = -1

    def __len__(self) -> int:
        """Messages that the peer has not accepted."""
        return len(self._frames) + len(self._run)

    @property
    def has_credit(self) -> bool:
        """Whether the peer's window has room for a charged message."""
        return self.charged < self.window and self.charged_bytes < self.window_bytes

    @property
    def due(self) -> bool:
        """Whether there are frames to write."""
        return self._next <= self.last

    def send(self, payload: bytes, charged: bool) -> int:
        """Queue a message; its sequence.

        Raises:
            WindowFull: it is charged, and there is no credit.
        """
        if charged:
            if not self.has_credit:
                raise WindowFull(self.window)
            self.charged += 1
            self.charged_bytes += len(payload)
        else:
            self.uncharged_bytes += len(payload) + AROUND
        self._run_size += len(payload)
        run = self._run
        if run and (
            charged is not self._run_charged
            or self._run_size > self._most
            or len(run) >= MOST_IN_BATCH
        ):
            self._end_run()
            self._run_size = len(payload)
            run = self._run
        self._run_charged = charged
        run.append(payload)
        self.last = number = self.last + 1
        return number

    def send_run(self, payloads: list[bytes]) -> int:
        """Queue small charged messages; the sequence of the first.

        Raises:
            WindowFull: there is less credit.
        """
        count = len(payloads)
        size = sum(map(len, payloads))
        if self.charged + count > self.window or self.charged_bytes + size > self.window_bytes:
            raise WindowFull(self.window)
        first = self.last + 1
        if self._run or count > MOST_IN_BATCH or size > self._most:
            for payload in payloads:
                self.send(payload, True)
            return first
        self.charged += count
        self.charged_bytes += size
        self._run = payloads
        self._run_charged = True
        self._run_size = size
        self.last += count
        return first

    def _end_run(self) -> None:
        """Make a frame of the last ones."""
        run = self._run
        if not run:
            return
        last = self.last
        if len(run) == 1:
            self._frames[last] = DATA_HEADER.pack(DATA, self._run_charged, last) + run[0]
        else:
            first = last - len(run) + 1
            frame = encode_batch(self._run_charged, first, run)
            self._frames.update(dict.fromkeys(range(first, last + 1), frame))
        self._run = []
        self._run_size = 0

    def write(self, now: float) -> Iterable[bytes]:
        """The frames that are due, in order."""
        self._end_run()
        found = []
        number, last = self._next, self.last
        if number <= last:
            self._written = last
            self._next = last + 1
            self.start_timer(now)
        while number <= last:
            frame = self._frames[number]
            found.append(frame)
            number = last_of(frame) + 1
        return found

    def start_timer(self, now: float) -> None:
        """Something was written of which the peer has to say that it has it."""
        if self.resend_at == inf:
            self.resend_at = now + self._wait

    def wind_back(self) -> None:
        """Nothing has come of it for too long: repeat it, and wait twice as long."""
        self._next = self._received + 1
        # The repeated frames may meet a gap of their own.
        self._wound_back_to = -1
        self._wait = min(2 * self._wait, self._resend_at_most)
        self.resend_at = inf

    def resume(self, received: int) -> None:
        """Go on over a new connection behind what the peer has received.

        Raises:
            DecodeError: it is what was never written, or less than the peer has said before.
        """
        if not self._received <= received <= self._written:
            raise DecodeError(
                "$.received",
                f"{received} received, after {self._received}, of {self._written} written",
            )
        self._received = received
        self._next = received + 1
        self._wound_back_to = -1
        self._wait = self._resend_after
        self.resend_at = inf

    def take(self, ack: Ack, now: float) -> None:
        """Believe an ACK; an old one that comes late says nothing new.

        Raises:
            DecodeError: it is of something never written.
        """
        if ack.received > self._written:
            raise DecodeError("$.received", f"{ack.received} received, of {self._written} written")
        if ack.received > self._received:
            self._received = ack.received
            self._next = max(self._next, ack.received + 1)
            self._wait = self._resend_after
            self.resend_at = now + self._wait if ack.received < self._written else inf
        if ack.resend and ack.received == self._received != self._wound_back_to:
            # Once a gap: a network that doubles the request would double all that follows.
            self._wound_back_to = ack.received
            self._next = ack.received + 1
        if ack.accepted > self._accepted:
            self._free(range(self._accepted + 1, ack.accepted + 1))
            self._accepted = ack.accepted
        if ack.ranges:
            self._free(among(self._frames, ack.ranges))

    def _free(self, numbers: Iterable[int]) -> None:
        pop, append = self._frames.pop, self._acknowledged.append
        of: bytes | None = None
        count = 0
        for number in numbers:
            frame = pop(number, None)
            # An ACK repeats what those before it have said.
            if frame is not None:
                append(number)
                if frame is of:
                    count += 1
                    continue
                if of is not None:
                    self._give_back(of, count)
                of, count = frame, 1
        if of is not None:
            self._give_back(of, count)

    def _give_back(self, frame: bytes, count: int) -> None:
        """So many messages of a frame were accepted, and no longer count."""
        charged = frame[1] == 1
        if frame[0] != BATCH:
            size = len(frame) - DATA_HEADER.size
        elif count_of(frame) == count:
            size = len(frame) - BATCH_HEADER.size
        else:
            # The others may wait for room for long: each is kept, and counts, for itself.
            size = self._take_apart(frame)
        if charged:
            self.charged -= count
            self.charged_bytes -= size
        else:
            self.uncharged_bytes -= size + AROUND * count

    def _take_apart(self, batch: bytes) -> int:
        """Keep what is left of a BATCH as a DATA each; the bytes of what is not."""
        size = 0
        for number, payload in enumerate(payloads_of(batch), first_of(batch)):
            if number in self._frames:
                self._frames[number] = DATA_HEADER.pack(DATA, batch[1], number) + payload
            else:
                size += len(payload)
        return size

    def acknowledged(self) -> list[int]:
        """The sequences accepted since the last call, in the order in which the peer said so."""
        taken, self._acknowledged = self._acknowledged, []
        return taken

    def lost(self) -> list[tuple[int, bytes, bool]]:
        """Sequence, payload and charged of what was not accepted, in order; it is forgotten."""
        self._end_run()
        left = []
        of: bytes | None = None
        payloads: list[bytes] = []
        for number, frame in self._frames.items():
            if frame is not of:
                of = frame
                payloads = payloads_of(frame)
            left.append((number, payloads[number - last_of(frame) - 1], frame[1] == 1))
        self._frames.clear()
        return left


def count_of(frame: bytes) -> int:
    """How many messages are in a DATA or BATCH that was made here."""
    return int.from_bytes(frame[11:13]) if frame[0] == BATCH else 1


def first_of(frame: bytes) -> int:
    """The first sequence of a DATA or BATCH that was made here."""
    return int.from_bytes(frame[2:10])


def last_of(frame: bytes) -> int:
    """The last sequence of a DATA or BATCH that was made here."""
    return first_of(frame) + count_of(frame) - 1


def payloads_of(frame: bytes) -> list[bytes]:
    """The messages in a DATA or BATCH that was made here."""
    return Delivery(0, frame[HEADER_SIZE:], True, count_of(frame)).payloads()
