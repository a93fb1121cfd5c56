"""The half of a session that sends: what the peer has not accepted, its window, and what to repeat.

Go-back-N: what the peer has not received is written again from the first on, when it asks, or when
nothing has come of it for a time that doubles. No I/O; time is an argument, in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from transports.errors import DecodeError, WindowFull
from transports.frames import DATA, DATA_HEADER, Ack
from transports.ranges import among


class Outbound:
    """Messages by sequence, each kept as its frame until the peer has accepted it.

    `window` and `window_bytes` are the peer's, 0 until they are known. `due` says that there are
    frames to write.
    """

    def __init__(self, resend_after: float, resend_at_most: float) -> None:
        self.window = 0
        self.window_bytes = 0
        self.resend_at = inf
        self.last = 0
        self._resend_after = resend_after
        self._resend_at_most = resend_at_most
        self._wait = resend_after
        self._frames: dict[int, bytes] = {}
        self._charged = 0
        self._charged_bytes = 0
        self._acknowledged: list[int] = []
        self._written = 0
        self._next = 1
        self._received = 0
        self._accepted = 0
        self._wound_back_to = -1

    def __len__(self) -> int:
        """Messages that the peer has not accepted."""
        return len(self._frames)

    @property
    def has_credit(self) -> bool:
        """Whether the peer's window has room for a charged message."""
        return self._charged < self.window and self._charged_bytes < self.window_bytes

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
            self._charged += 1
            self._charged_bytes += len(payload)
        self.last = number = self.last + 1
        self._frames[number] = DATA_HEADER.pack(DATA, charged, number) + payload
        return number

    def write(self, now: float) -> Iterable[bytes]:
        """The frames that are due, in order."""
        due = range(self._next, self.last + 1)
        if due:
            self._written = self.last
            self._next = self.last + 1
            self.start_timer(now)
        return map(self._frames.__getitem__, due)

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
        for number in numbers:
            frame = self._frames.pop(number, None)
            # An ACK repeats what those before it have said.
            if frame is not None:
                if frame[1]:
                    self._charged -= 1
                    self._charged_bytes -= len(frame) - DATA_HEADER.size
                self._acknowledged.append(number)

    def acknowledged(self) -> list[int]:
        """The sequences accepted since the last call, in the order in which the peer said so."""
        taken, self._acknowledged = self._acknowledged, []
        return taken

    def lost(self) -> list[tuple[int, bytes, bool]]:
        """Sequence, payload and charged of what was not accepted, in order; it is forgotten."""
        start = DATA_HEADER.size
        left = [(number, frame[start:], frame[1] == 1) for number, frame in self._frames.items()]
        self._frames.clear()
        return left
