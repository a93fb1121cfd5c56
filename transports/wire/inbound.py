"""The half of a session that receives: order, gaps, and what has been accepted.

Nothing that is out of order is kept. Received is what need not be sent again; accepted is what is
in its mailbox, perhaps later and in another order. No I/O and no clock.
"""

from __future__ import annotations

from typing import Final

import msgspec

from transports.errors import DecodeError
from transports.wire.frames import (
    BATCH,
    BATCH_HEADER,
    DATA_HEADER,
    MOST_RANGES,
    Ack,
    decode_batch,
    decode_data,
    encode_ack,
)
from transports.wire.ranges import Ranges

HEADER_SIZE: Final = DATA_HEADER.size
ARRAY_SIZE: Final = BATCH_HEADER.size - HEADER_SIZE

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

    @property
    def size(self) -> int:
        """Bytes of all payloads."""
        return len(self.payload) - (ARRAY_SIZE if self.count > 1 else 0)

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

    window, window_bytes: of charged messages that may be here and not accepted; of the bytes, the
    last message is not counted.
    """

    def __init__(self, window: int, window_bytes: int) -> None:
        self.received = 0
        self.due = False
        self.urgent = False
        self.unsaid = 0
        """Messages received since the last ACK."""
        self._window = window
        self._window_bytes = window_bytes
        self._bytes = 0
        self._accepted = Ranges()
        # Of those not accepted: how many are charged, and which are not (a dict is ordered).
        self._charged = 0
        self._uncharged: dict[int, None] = {}
        # Bytes of the charged ones: of a batch while none of it is accepted, or of each message.
        self._whole: dict[int, Delivery] = {}
        self._sizes: dict[int, int] = {}
        self._asked_at = -1
        self._ask = False
        self._told = 0
        # Of the ranges, which are to be told: what was accepted since the last ACK.
        self._fresh: list[int] = []

    def resume(self) -> None:
        """Go on over a new connection."""
        self._fresh = self._accepted.firsts()
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
            if self._bytes >= self._window_bytes:
                size = f"the window of {self._window_bytes} bytes"
                raise DecodeError("$", f"message {sequence} is beyond {size}")
            self._charged += count
        else:
            self._uncharged.update(dict.fromkeys(range(sequence, last + 1)))
        self.received = last
        self.unsaid += count
        self.due = True
        delivery = Delivery(sequence, frame[HEADER_SIZE:], charged, count)
        if charged:
            self._bytes += delivery.size
            self._whole[sequence] = delivery
        return [delivery]

    def accept(self, sequence: int, count: int = 1) -> None:
        """It is in its mailbox, and so are those behind it, `count` of them in all.

        Raises:
            ValueError: one was not delivered, or is accepted already.
        """
        last = sequence + count - 1
        if not 0 < sequence <= last <= self.received or not self._accepted.add_run(sequence, last):
            raise ValueError(f"message {sequence} was not delivered, or is accepted already")
        if last > self._accepted.below:
            self._fresh.append(sequence)
        uncharged = self._uncharged
        if uncharged:
            for number in range(sequence, last + 1):
                if number in uncharged:
                    del uncharged[number]
                    count -= 1
        if count:
            self._charged -= count
            self._give_back(sequence, last)
        self.due = True

    def _give_back(self, first: int, last: int) -> None:
        """The bytes of these messages are no longer held for the peer."""
        whole = self._whole.pop(first, None)
        if whole is not None:
            if whole.sequence + whole.count - 1 == last:
                self._bytes -= whole.size
                return
            self._take_apart(whole)
        numbers = range(first, last + 1)
        # (What is not found may be of a batch that is whole, or not charged.)
        if not all(number in self._sizes for number in numbers):
            for each in tuple(self._whole.values()):
                if each.sequence <= last and first < each.sequence + each.count:
                    del self._whole[each.sequence]
                    self._take_apart(each)
        for number in numbers:
            self._bytes -= self._sizes.pop(number, 0)

    def _take_apart(self, batch: Delivery) -> None:
        for number, payload in enumerate(batch.payloads(), batch.sequence):
            self._sizes[number] = len(payload)

    def ack(self) -> bytes:
        """The frame of an ACK of everything until now; it is urgent still if there is another.

        What was accepted since the last one is told at once, in as many ACKs as that takes: the
        sender's window waits for it. An ACK that has nothing new repeats the ranges in turn.
        """
        ranges = self._accepted
        part: tuple[tuple[int, int], ...] = ()
        fresh, self._fresh = self._fresh, []
        if len(ranges) > MOST_RANGES and fresh:
            found = list(ranges.around(sorted(fresh)).items())
            part = tuple(found[:MOST_RANGES])
            self._fresh = [first for first, _ in found[MOST_RANGES:]]
        elif len(ranges):
            start = self._told if self._told < len(ranges) else 0
            part = ranges.part(start, MOST_RANGES)
            self._told = start + MOST_RANGES
        ask, self._ask = self._ask, False
        self.due = self.urgent = bool(self._fresh)
        self.unsaid = 0
        return encode_ack(Ack(ask, self.received, ranges.below, part))
