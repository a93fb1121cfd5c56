"""What one node says to another: the payloads of a session. No I/O.

Each is a msgpack array that begins with a number, its kind. `target` and `path` are the path of an
actor of the receiving node; a body is a message or a value, as `codec` has it. docs/wire.md has
them as a table.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from transports.errors import DecodeError


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """The base of them all."""


class Tell(Envelope, frozen=True, array_like=True, tag=1):
    """A message for one actor."""

    target: str
    body: bytes


class Asked(Envelope, frozen=True, array_like=True, tag=2):
    """A message for one actor, whose reply is wanted.

    number: of the ask, each once in a session. remaining: seconds that the asker still waits, when
    it was sent; None: no limit. asker: the address of the actor that asks, or "".
    """

    number: int
    target: str
    remaining: float | None
    asker: str
    body: bytes


class Replied(Envelope, frozen=True, array_like=True, tag=3):
    """The reply to an ask."""

    number: int
    body: bytes


class Refused(Envelope, frozen=True, array_like=True, tag=4):
    """An ask has no reply.

    kind: one of KINDS. text: why. started: whether its handler has begun. chain: the addresses of
    a circle of asks. trace: the traceback of what the handler raised, as text.
    """

    number: int
    kind: str
    text: str
    started: bool = False
    chain: tuple[str, ...] = ()
    trace: str = ""


class Cancelled(Envelope, frozen=True, array_like=True, tag=5):
    """The asker has gone, or its time is up."""

    number: int


class Watch(Envelope, frozen=True, array_like=True, tag=6):
    """Say when this actor's incarnation ends."""

    path: str


class Unwatch(Envelope, frozen=True, array_like=True, tag=7):
    """No longer."""

    path: str


class Ended(Envelope, frozen=True, array_like=True, tag=8):
    """An incarnation that was watched has ended: an ExitReason's value, or "failed" and of what."""

    path: str
    reason: str
    text: str = ""
    trace: str = ""


class Stop(Envelope, frozen=True, array_like=True, tag=9):
    """Stop this actor: "normal" or "shutdown" (gracefully), or "killed" (at once)."""

    path: str
    reason: str = "normal"


class AwaitStop(Envelope, frozen=True, array_like=True, tag=10):
    """Say when this actor has stopped for good; answered by Replied."""

    number: int
    path: str


class Probe(Envelope, frozen=True, array_like=True, tag=11):
    """Along a chain of actors that wait for one another: does the last one wait for the first?

    chain: their addresses, the last an actor of the receiving node. number: the ask that the last
    wait is. This is the edge chasing of Chandy, Misra and Haas (1983), for asks.
    """

    chain: tuple[str, ...]


class Subscribed(Envelope, frozen=True, array_like=True, tag=12):
    """From now on there are subscribers to these patterns here, or (present=False) no more."""

    patterns: tuple[str, ...]
    present: bool


class Publish(Envelope, frozen=True, array_like=True, tag=13):
    """A message for all subscribers of a topic here: one, however many they are."""

    topic: str
    body: bytes


class Registered(Envelope, frozen=True, array_like=True, tag=14):
    """This actor is an instance of a service; weight 0: no longer."""

    service: str
    path: str
    weight: int
    version: str


class Consumes(Envelope, frozen=True, array_like=True, tag=15):
    """This actor is a consumer of a queue; prefetch 0: no longer."""

    queue: str
    path: str
    prefetch: int


KINDS: Final = (
    *("failed", "stopped", "timeout", "cycle", "unreadable", "not askable"),
    *("not taken", "name taken"),
)


class Streamed(Envelope, frozen=True, array_like=True, tag=16):
    """A message for one actor, whose reply is wanted as a stream. credit: items to send ahead."""

    number: int
    target: str
    credit: int
    asker: str
    body: bytes


class Item(Envelope, frozen=True, array_like=True, tag=17):
    """One item of a stream."""

    number: int
    body: bytes


class Granted(Envelope, frozen=True, array_like=True, tag=18):
    """The consumer of a stream has room for so many items more."""

    number: int
    items: int


class StreamEnded(Envelope, frozen=True, array_like=True, tag=19):
    """A stream has come to its end. (If it has failed, that is Refused.)"""

    number: int


class Spawnable(Envelope, frozen=True, array_like=True, tag=20):
    """Actors of these classes, and no others, may be spawned here."""

    classes: tuple[str, ...]


class Spawn(Envelope, frozen=True, array_like=True, tag=21):
    """Make an actor, as `spawned/NAME`, and say when it ends, as if Watch had followed.

    number: of the wait for its start, answered by Replied or Refused; 0: nobody waits. cls: one of
    the names in Spawnable. shutdown, brutal, start_within: what its parent demands; None: as its
    class says. args: a list of the positional arguments and a dict of the others, as a value.
    """

    number: int
    cls: str
    name: str
    shutdown: float | None
    brutal: bool
    start_within: float | None
    args: bytes


_Any = (
    Tell
    | Asked
    | Replied
    | Refused
    | Cancelled
    | Watch
    | Unwatch
    | Ended
    | Stop
    | AwaitStop
    | Probe
    | Subscribed
    | Publish
    | Registered
    | Consumes
    | Streamed
    | Item
    | Granted
    | StreamEnded
    | Spawnable
    | Spawn
)

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final[msgspec.msgpack.Decoder[Any]] = msgspec.msgpack.Decoder(_Any)
_decoder_of_many: Final[msgspec.msgpack.Decoder[Any]] = msgspec.msgpack.Decoder(list[_Any])

CHARGED: Final = (Tell, Asked, Publish, Streamed)

encode = _encoder.encode


#: What precedes a body of so many bytes.
BIN_8: Final = tuple(bytes([0xC4, size]) for size in range(256))


def tell_head(path: str) -> bytes:
    """What all Tells for one actor begin with; then comes one of BIN_8, and the body."""
    return encode(Tell(path, b"")).removesuffix(BIN_8[0])


def decode(payload: bytes) -> Any:
    """The envelope that a payload is.

    Raises:
        DecodeError: it is none.
    """
    try:
        return _decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError("$", f"no envelope: {error}") from error


def decode_many(payload: bytes, count: int) -> list[Any]:
    """The envelopes that an array is.

    Raises:
        DecodeError: it is none, or not of so many.
    """
    try:
        found: list[Any] = _decoder_of_many.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError("$", f"no envelopes: {error}") from error
    if len(found) != count:
        raise DecodeError("$", f"a batch of {len(found)} envelopes, not {count}")
    return found
