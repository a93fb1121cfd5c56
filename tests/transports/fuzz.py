"""All decoders on one piece of bytes: a slice of this is a test, `make fuzz` goes on for longer.

Whatever is wrong is a DecodeError; any other exception is what is looked for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import attrs

from actors import message
from transports.encoding import envelope
from transports.encoding.codec import Codec
from transports.errors import DecodeError
from transports.nats.errors import ProtocolFault
from transports.nats.protocol import Parser
from transports.wire import frames
from transports.wire.frames import Ack, Hello, Reason, Refuse
from transports.wire.framing import FrameDecoder, encode_frame
from transports.wire.handshake import Agreed, Handshake
from transports.wire.inbound import Delivery
from transports.wire.introduction import (
    PROVE,
    Introduced,
    Introduction,
    Role,
    decode_introduce,
    prefix,
)
from transports.wire.session import Session


@message
class Item:
    name: str
    count: int = 1


@message
class Order:
    number: int
    items: list[Item] = attrs.field(factory=list)
    price: float | None = None
    tags: dict[str, int] = attrs.field(factory=dict)
    raw: bytes = b""


@message
class Private:
    _secret: int
    items: tuple[Item, ...] = ()


NEAR: Final = Hello("near", 7, 1, 0, 0, 0, 8, 4096, 1 << 26)
FAR: Final = Hello("far", 9, 2, 7, 1, 0, 8, 4096, 1 << 26)
CODEC: Final = Codec([Item, Order, Private], max_size=4096)
MESSAGES: Final = (Item("tea", 2), Order(1, [Item("a")], 0.5, {"b": 1}, b"c"), Private(3))

VALUES: Final = ([1, None, "tea", -0.5, b"b"], {"a": {1: [True]}}, [MESSAGES[1]])
ENVELOPES: Final = (
    envelope.Tell("bank/savings", CODEC.encode_value(MESSAGES[0])),
    envelope.Asked(1, "bank", 2.5, "actor://far/x", b"\xc0"),
    envelope.Refused(1, "cycle", "why", True, ("actor://far/x",), "trace"),
    envelope.Ended("bank", "failed", "why", "trace"),
    envelope.Probe(("actor://far/x", "actor://near/y")),
    envelope.Subscribed(("orders.*", "**"), True),
    envelope.Registered("shop", "bank", 3, "1.4"),
    envelope.Streamed(2, "bank", 8, "", b"\xc0"),
    envelope.Granted(2, 4),
)

SECRET: Final = b"sixteen bytes or more"
CALLER: Final = Introduction("far", Role.CALLER, b"n" * 32, secret=SECRET).outgoing()[0]

#: Valid payloads to begin with: each kind of frame, messages, and frames with their checksums.
CORPUS: Final[tuple[bytes, ...]] = (
    frames.encode_hello(FAR),
    frames.encode_welcome(),
    CALLER,
    bytes([PROVE]) + bytes(32),
    frames.encode_refuse(Refuse(Reason.FENCED, "over")),
    frames.DATA_HEADER.pack(frames.DATA, 1, 1) + b"payload",
    frames.encode_batch(True, 1, [envelope.encode(each) for each in ENVELOPES[:2]]),
    frames.encode_batch(False, 1, [b"\xc0", b"\x01", b"\xa1x"]),
    frames.encode_ack(Ack(False, 3, 1, ((3, 3),))),
    frames.encode_ack(Ack(True, 2, 2)),
    frames.encode_number(frames.PING, 1),
    frames.encode_number(frames.PONG, 0),
    frames.encode_number(frames.CLOSE, 0),
    *map(CODEC.encode, MESSAGES),
    *map(CODEC.encode_value, VALUES),
    *map(envelope.encode, ENVELOPES),
    *(encode_frame(CODEC.encode(each)) for each in MESSAGES),
    CODEC.encode_value([[1, Item("tea")], {"name": "x"}]),
    envelope.encode(envelope.Tell("bank/savings", CODEC.encode(MESSAGES[0]))),
    b'INFO {"version":"2.11.0","connect_urls":["a:1"]}\r\nMSG a.b 1 r 2\r\nhi\r\n-ERR \'x\'\r\n',
    b"HMSG a.b 1 r 23 25\r\nNATS/1.0 503 x\r\nA:b\r\n\r\nhi\r\nPING\r\nPONG\r\n+OK\r\n",
    envelope.encode(envelope.Stop("spawned/x", "killed")),
    envelope.encode(envelope.Spawnable(("Indexer", "Reporter"))),
    envelope.encode(envelope.Spawn(7, "Indexer", "x~a.1.2", 5.0, True, None, b"\x92\x90\x80")),
)

DECODERS: Final[tuple[Callable[[bytes], Any], ...]] = (
    frames.kind,
    prefix,
    decode_introduce,
    frames.hello_version,
    frames.decode_hello,
    frames.decode_welcome,
    frames.decode_refuse,
    frames.decode_data,
    frames.decode_batch,
    frames.decode_ack,
    frames.decode_number,
    CODEC.decode,
    CODEC.decode_value,
    functools.partial(CODEC.decode_value, kind=Order | None),
    functools.partial(CODEC.decode_value, kind=Order | Item),
    functools.partial(CODEC.decode_value, kind=tuple[Private, ...]),
    envelope.decode,
    functools.partial(envelope.decode_many, count=2),
    lambda data: Delivery(1, data, True, 2).payloads(),
)


def each(data: bytes) -> None:
    """Give the bytes to every decoder, handshake state and session."""
    for decode in DECODERS:
        with suppress(DecodeError):
            decode(data)
    _framing(data)
    _nats(data)
    _introductions(data)
    _handshakes(data)
    # As one frame, and cut into several by their lengths.
    _session([data])
    _session(_cut(data))


def _framing(data: bytes) -> None:
    decoder = FrameDecoder(max_frame=4096)
    with suppress(DecodeError):
        for start in range(0, len(data), 7):
            decoder.feed(data[start : start + 7])
    assert decoder.buffered <= 4096 + 8


def _nats(data: bytes) -> None:
    parser = Parser(max_payload=4096, max_line=4096)
    with suppress(ProtocolFault):
        for start in range(0, len(data), 7):
            parser.feed(data[start : start + 7])
    assert parser.buffered <= 2 * 4096 + 8


def _introductions(data: bytes) -> None:
    for secret in (None, SECRET):
        first = Introduction("near", Role.CALLED, bytes(32), secret=secret)
        first.received(data)
        second = Introduction("near", Role.CALLED, bytes(32), secret=SECRET)
        second.received(CALLER)
        second.received(data)
        assert not isinstance(second.result, Introduced)
        assert secret is None or not isinstance(first.result, Introduced)


def _handshakes(data: bytes) -> None:
    first = Handshake(NEAR)
    first.received(data)
    second = Handshake(NEAR)
    second.received(frames.encode_hello(FAR))
    second.received(data)
    for handshake in (first, second):
        # A refusal can be told, whatever caused it.
        for frame in handshake.outgoing():
            frames.kind(frame)


def _session(pieces: list[bytes]) -> None:
    session = Session(8, max_frame=4096)
    session.connected(Agreed(FAR, False, 0), 0.0)
    for _ in range(4):
        session.send(b"\xa3msg")
    session.outgoing(0.0)
    held = 0
    for turn, piece in enumerate(pieces):
        try:
            deliveries = session.received(piece, float(turn))
        except DecodeError:
            # As a link does: the connection is over, and the session waits for another.
            session.disconnected()
            session.hello("near", 7)
            break
        for delivery in deliveries:
            held += delivery.charged * delivery.count
            if delivery.sequence % 2:
                session.accepted(delivery.sequence, delivery.count)
                held -= delivery.charged * delivery.count
            with suppress(DecodeError):
                assert len(delivery.payloads()) == delivery.count
        session.outgoing(float(turn))
        session.wake_at(float(turn))
        session.acknowledged()
    assert held <= 8
    assert session.unacknowledged == len(session.lost()) <= 4


def _cut(data: bytes) -> list[bytes]:
    pieces = []
    while data:
        length = data[0]
        pieces.append(data[1 : 1 + length])
        data = data[1 + length :]
    return pieces
