"""The wire without I/O: sessions and the codec, against framing alone and msgspec alone."""

from time import perf_counter
from typing import Any

import attrs
import msgspec

from actors import ActorSystem, message
from benchmarks.harness import Limit, Speed, Workload
from transports.encoding.codec import Codec
from transports.wire.framing import FrameDecoder, encode_frame
from transports.wire.handshake import Agreed
from transports.wire.session import Session

#: 100 bytes, with its two of length.
PAYLOAD = msgspec.msgpack.encode(b"x" * 98)
#: Messages in one write, as when an actor was busy while the connection was written to.
BATCH = 32


@message
class Small:
    account: str
    amount: int


@message
class Lines:
    number: int
    lines: list[Small] = attrs.field(factory=list)


SMALL = Small("savings", 42)
LINES = Lines(7, [Small(f"account {number}", number) for number in range(20)])
CODEC = Codec([Small, Lines])


async def session(system: ActorSystem, count: int) -> float:
    """Send through one session and accept in another, a batch at a time, with its ACK back."""
    near, far = Session(), Session()
    near_says, far_says = near.hello("near", 1), far.hello("far", 1)
    near.connected(Agreed(far_says, False, 0), 0.0)
    far.connected(Agreed(near_says, False, 0), 0.0)
    done = 0
    start = perf_counter()
    while done < count:
        for _ in range(min(BATCH, count - done)):
            near.send(PAYLOAD)
        for frame in near.outgoing(0.0):
            for delivery in far.received(frame, 0.0):
                far.accepted(delivery.sequence, delivery.count)
        for frame in far.outgoing(0.0):
            near.received(frame, 0.0)
        done += len(near.acknowledged())
    return count / (perf_counter() - start)


def framing(count: int) -> float:
    """The same payloads as frames, a batch at a time, and out of them again."""
    decoder = FrameDecoder()
    done = 0
    start = perf_counter()
    while done < count:
        frames = [encode_frame(PAYLOAD) for _ in range(min(BATCH, count - done))]
        done += len(decoder.feed(b"".join(frames)))
    return count / (perf_counter() - start)


def _codec(value: Any) -> Workload:
    async def through_codec(system: ActorSystem, count: int) -> float:
        encode, decode = CODEC.encode, CODEC.decode
        start = perf_counter()
        for _ in range(count):
            decode(encode(value))
        return count / (perf_counter() - start)

    return through_codec


def _msgspec(value: Any) -> Limit:
    def through_msgspec(count: int) -> float:
        encode = msgspec.msgpack.Encoder().encode
        decode = msgspec.msgpack.Decoder(type(value)).decode
        start = perf_counter()
        for _ in range(count):
            decode(encode(value))
        return count / (perf_counter() - start)

    return through_msgspec


BENCHMARKS = (
    Speed(
        "session",
        "session: send, write, receive, accept, acknowledge; batches of 32",
        session,
        framing,
        "frames with checksums, encoded and decoded",
        50_000,
        50_000,
        reach=0.75,
    ),
    Speed(
        "codec-small",
        "encode and decode a message of two fields",
        _codec(SMALL),
        _msgspec(SMALL),
        "msgspec, the same class",
        100_000,
        200_000,
        reach=0.625,
    ),
    Speed(
        "codec-list",
        "encode and decode a message with a list of 20 messages",
        _codec(LINES),
        _msgspec(LINES),
        "msgspec, the same class",
        20_000,
        20_000,
        reach=0.625,
    ),
)
