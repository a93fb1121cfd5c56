"""The half of a session that receives: order, gaps, and what has been accepted.

Nothing that is out of order is kept. Received is what need not be sent again; accepted is what is
in its mailbox, perhaps later and in another order. No I/O and no clock.
"""

from __future__ import annotations

from typing import Final

import msgspec

from transports.errors import DecodeError
from transports.frames import DATA_HEADER, MOST_RANGES, Ack, decode_data, encode_ack
from transports.ranges import Ranges

HEADER_SIZE: Final = DATA_HEADER.size


# A Struct takes a third of the time that an attrs class or a named tuple takes to be made.
class Delivery(msgspec.Struct, frozen=True, gc=False):
    """One message from the peer, to be put into a mailbox and then `accepted`."""

    sequence: int
    payload: bytes
    charged: bool


class Inbound:
    """Messages of the peer up to `received`; `due` says that it should be sent an ACK.

    window, window_bytes: of charged messages that may be here and not accepted; of the bytes, the
    last message is not counted.
    """

    def __init__(self, window: int, window_bytes: int) -> None:
        self.received = 0
        self.due = False
        self._window = window
        self._window_bytes = window_bytes
        self._bytes = 0
        self._accepted = Ranges()
        # Bytes of those not accepted.
        self._charged: dict[int, int] = {}
        self._asked_at = -1
        self._ask = False
        self._told = 0

    def resume(self) -> None:
        """Go on over a new connection."""
        self._asked_at = -1
        self._ask = False
        # The last ACK of the connection before may not have arrived.
        self.due = self.received > 0

    def take(self, frame: bytes, at_end: bool) -> list[Delivery]:
        """Take a DATA; what can be delivered. `at_end`: the peer has said that nothing more comes.

        Raises:
            DecodeError: it is malformed, beyond the window, or new after the end.
        """
        sequence, charged = decode_data(frame)
        if sequence != self.received + 1:
            self.due = True
            # Asked once a gap: if the answer is lost too, the sender's timer repeats it.
            if sequence > self.received != self._asked_at:
                self._asked_at = self.received
                self._ask = True
            return []
        if at_end:
            raise DecodeError("$", f"message {sequence} behind a CLOSE")
        if charged:
            if len(self._charged) >= self._window:
                raise DecodeError("$", f"message {sequence} is beyond the window, {self._window}")
            if self._bytes >= self._window_bytes:
                size = f"the window of {self._window_bytes} bytes"
                raise DecodeError("$", f"message {sequence} is beyond {size}")
            self._charged[sequence] = size_of = len(frame) - HEADER_SIZE
            self._bytes += size_of
        self.received = sequence
        self.due = True
        return [Delivery(sequence, frame[HEADER_SIZE:], charged)]

    def accept(self, sequence: int) -> None:
        """It is in its mailbox.

        Raises:
            ValueError: it was not delivered, or is accepted already.
        """
        if not 0 < sequence <= self.received or not self._accepted.add(sequence):
            raise ValueError(f"message {sequence} was not delivered, or is accepted already")
        self._bytes -= self._charged.pop(sequence, 0)
        self.due = True

    def ack(self) -> bytes:
        """The frame of an ACK of everything until now."""
        ranges = self._accepted
        part: tuple[tuple[int, int], ...] = ()
        if len(ranges):
            # In turn, if there are too many for one ACK.
            start = self._told if self._told < len(ranges) else 0
            part = ranges.part(start, MOST_RANGES)
            self._told = start + MOST_RANGES
        ask, self._ask = self._ask, False
        self.due = False
        return encode_ack(Ack(ask, self.received, ranges.below, part))
