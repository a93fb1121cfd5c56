"""The half of a session that receives: order, gaps, and what has been accepted.

Nothing that is out of order is kept. Received is what need not be sent again; accepted is what is
in its mailbox, perhaps later and in another order. No I/O and no clock.
"""

from __future__ import annotations

from typing import Final

import msgspec

from transports.errors import DecodeError
from transports.frames import (
    BATCH,
    DATA_HEADER,
    MOST_RANGES,
    Ack,
    decode_batch,
    decode_data,
    encode_ack,
)
from transports.ranges import Ranges

HEADER_SIZE: Final = DATA_HEADER.size

_split: Final = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


# A Struct takes a third of the time that an attrs class or a named tuple takes to be made.
class Delivery(msgspec.Struct, frozen=True, gc=False):
    """Messages from the peer, to be put into mailboxes and then `accepted`.

    sequence: of the first. payload: of the only one; of `count` of them, if that is not 1, the
    msgpack array of theirs.
    """

    sequence: int
    payload: bytes
    charged: bool
    count: int = 1

    def payloads(self) -> list[bytes]:
        """The payload of each.

        Raises:
            DecodeError: it is no array of so many.
        """
        if self.count == 1:
            return [self.payload]
        try:
            found = [bytes(each) for each in _split(self.payload)]
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise DecodeError("$", f"no batch: {error}") from error
        if len(found) != self.count:
            raise DecodeError("$", f"a batch of {len(found)}, not {self.count}")
        return found


class Inbound:
    """Messages of the peer up to `received`; `due` says that it should be sent an ACK, `urgent`
    that this can wait for nothing.

    window: charged messages that may be here and not accepted.
    """

    def __init__(self, window: int) -> None:
        self.received = 0
        self.due = False
        self.urgent = False
        self._window = window
        self._accepted = Ranges()
        # Of those not accepted: how many are charged, and which are not (a dict is ordered).
        self._charged = 0
        self._uncharged: dict[int, None] = {}
        self._asked_at = -1
        self._ask = False
        self._told = 0

    def resume(self) -> None:
        """Go on over a new connection."""
        self._asked_at = -1
        self._ask = False
        # The last ACK of the connection before may not have arrived.
        self.due = self.urgent = self.received > 0

    def take(self, frame: bytes, at_end: bool) -> list[Delivery]:
        """Take a DATA or BATCH; what can be delivered. `at_end`: the peer sends nothing more.

        Raises:
            DecodeError: it is malformed, beyond the window, or new after the end.
        """
        if frame[0] == BATCH:
            sequence, charged, count = decode_batch(frame)
        else:
            sequence, charged = decode_data(frame)
            count = 1
        if sequence != self.received + 1:
            self.due = self.urgent = True
            # Asked once a gap: if the answer is lost too, the sender's timer repeats it.
            if sequence > self.received != self._asked_at:
                self._asked_at = self.received
                self._ask = True
            return []
        if at_end:
            raise DecodeError("$", f"message {sequence} behind a CLOSE")
        last = self.received + count
        if charged:
            if self._charged + count > self._window:
                raise DecodeError("$", f"message {last} is beyond the window, {self._window}")
            self._charged += count
        else:
            self._uncharged.update(dict.fromkeys(range(sequence, last + 1)))
        self.received = last
        self.due = True
        return [Delivery(sequence, frame[HEADER_SIZE:], charged, count)]

    def accept(self, sequence: int, count: int = 1) -> None:
        """It is in its mailbox, and so are those behind it, `count` of them in all.

        Raises:
            ValueError: one was not delivered, or is accepted already.
        """
        last = sequence + count - 1
        if not 0 < sequence <= last <= self.received or not self._accepted.add_run(sequence, last):
            raise ValueError(f"message {sequence} was not delivered, or is accepted already")
        uncharged = self._uncharged
        if uncharged:
            for number in range(sequence, last + 1):
                if number in uncharged:
                    del uncharged[number]
                    count -= 1
        self._charged -= count
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
        self.due = self.urgent = False
        return encode_ack(Ack(ask, self.received, ranges.below, part))
