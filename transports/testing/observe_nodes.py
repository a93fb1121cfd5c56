"""Watching the nodes of a simulated cluster: their messages have identities, and are judged."""

from __future__ import annotations

import struct
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import attrs

from actors.errors import brief
from actors.waiting import PENDING
from transports.encoding.codec import Codec
from transports.errors import DecodeError
from transports.nodes.incoming import Incoming
from transports.nodes.node import Node
from transports.wire.frames import CLOSE, REFUSE
from transports.wire.handshake import Agreed
from transports.wire.inbound import Delivery
from transports.wire.session import Session

if TYPE_CHECKING:
    from actors.cell import Cell
    from transports.testing.cluster import SimulatedNode

_MARK: Final = b"\xc1sim"
"""Before the identity of a message, behind its body: 0xc1 is nothing in msgpack."""
_NUMBER: Final = struct.Struct(">4sHQI")
MOST: Final = 4096


def identity_of(body: bytes) -> bytes:
    """What is behind the body of a message; b"": it has none."""
    identity = body[-_NUMBER.size :]
    return identity if identity[: len(_MARK)] == _MARK else b""


@attrs.define(eq=False)
class Identity:
    """Of one message between nodes: who sent it, as the how-many-th; and to which actor."""

    sender: str
    number: int
    message: Any
    target: str = ""


class IdentityCodec(Codec):
    """Gives each message an identity that travels with it, so that a second copy is known as one.

    It stands beside the session, whose numbers are what is to be judged; and with it a checksum, so
    that a message which arrives as another one is found.
    """

    node: ObservedNode

    def encode_value(self, value: object, kind: Any = Any) -> bytes:
        body = super().encode_value(value, kind)
        if kind is not Any:
            return body
        identity = self.node.new_identity(zlib.crc32(body))
        run = self.node.simulated.run
        if run.describes:
            run.descriptions[identity] = brief(value, 60)
        return body + identity

    def decode_value(self, data: bytes, kind: Any = Any) -> Any:
        identity = identity_of(data) if kind is Any else b""
        if not identity:
            return super().decode_value(data, kind)
        body = data[: -_NUMBER.size]
        _, sender, number, checksum = _NUMBER.unpack(identity)
        if zlib.crc32(body) != checksum:
            self.node.altered(sender, number)
        value = super().decode_value(body, kind)
        if value.__class__ not in _SHARED:
            self.node.decoded(value, sender, number)
        return value


_SHARED: Final = (bool, int, float, str, bytes, type(None))
"""Values that may be one object in many messages: these go without."""


class ObservedSession(Session):
    """Judges what the peer says, and notes of which messages it says that it has accepted them."""

    node: ObservedNode

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._identities: dict[int, bytes] = {}

    def renewed(self) -> Session:
        made = super().renewed()
        assert isinstance(made, ObservedSession)
        made.node = self.node
        return made

    def send(self, payload: bytes, charged: bool = True) -> int:
        number = super().send(payload, charged)
        identity = identity_of(payload)
        if identity:
            self._identities[number] = identity
        return number

    def send_run(self, payloads: list[bytes]) -> int:
        first = super().send_run(payloads)
        for number, payload in enumerate(payloads, first):
            identity = identity_of(payload)
            if identity:
                self._identities[number] = identity
        return first

    def acknowledged(self) -> list[int]:
        numbers = super().acknowledged()
        for number in numbers:
            identity = self._identities.pop(number, None)
            if identity is not None and self.peer is not None:
                self.node.acknowledged(self.peer.node, identity)
        return numbers

    def connected(self, agreed: Agreed, now: float) -> None:
        self.node.talks_to(agreed.peer.node, agreed.peer.incarnation)
        try:
            super().connected(agreed, now)
        except DecodeError as error:
            self.node.not_believed(agreed.peer.node, error)
            raise

    def received(self, frame: bytes, now: float) -> list[Delivery]:
        try:
            return super().received(frame, now)
        except DecodeError as error:
            # A network that reorders frames can bring these too early, and others behind them.
            is_end = self.peer_closing or frame[:1] in (bytes([CLOSE]), bytes([REFUSE]))
            if self.peer is not None and not is_end:
                self.node.not_believed(self.peer.node, error)
            raise


class ObservedIncoming(Incoming):
    """Notes for which actor a message was, and that it was accepted."""

    in_place = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._identities: dict[int, bytes] = {}

    def deliver(self, delivery: Delivery) -> None:
        try:
            for number, payload in enumerate(delivery.payloads(), delivery.sequence):
                self._identities[number] = identity_of(payload)
            super().deliver(delivery)
        except DecodeError as error:
            node = self._node
            assert isinstance(node, ObservedNode)
            node.not_believed(self._peer, error)
            raise

    def accepted(self, sequence: int, count: int = 1, lazily: bool = False) -> None:
        node = self._node
        assert isinstance(node, ObservedNode)
        for number in range(sequence, sequence + count):
            node.accepted(self._identities.pop(number, b""))
        super().accepted(sequence, count, lazily)

    def put(self, cell: Cell, item: Any, sequence: int) -> bool:
        node = self._node
        assert isinstance(node, ObservedNode)
        found = node.identities.get(id(getattr(item, "message", item)))
        if found is not None:
            found.target = node.address_of(cell)
        return super().put(cell, item, sequence)


class ObservedNode(Node):
    """A node whose messages have identities, and whose peers are judged."""

    session_class = ObservedSession
    simulated: SimulatedNode

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._newest: dict[str, int] = {}
        self._addresses: dict[Cell, str] = {}

    def new_codec(self) -> Codec:
        self.identities: OrderedDict[int, Identity] = OrderedDict()
        codec = IdentityCodec(self._types, resolve=self.system.at, max_size=self.limits.max_message)
        codec.node = self
        return codec

    def new_incoming(self, *args: Any) -> Incoming:
        return ObservedIncoming(self, *args)

    def new_session(self, number: int) -> Session:
        session = super().new_session(number)
        assert isinstance(session, ObservedSession)
        session.node = self
        return session

    def new_identity(self, checksum: int) -> bytes:
        """For a message that is sent now."""
        sender = self.asker()
        name = f"{self.name}.{self.incarnation}" if sender is None else str(sender)
        number, index = self.simulated.run.observer.new_identity(name)
        return _NUMBER.pack(_MARK, index, number, checksum)

    def address_of(self, cell: Cell) -> str:
        """The address of an actor of this node, which stays what it is."""
        address = self._addresses.get(cell)
        if address is None:
            address = self._addresses[cell] = str(cell)
        return address

    def decoded(self, value: Any, sender: int, number: int) -> None:
        """A message has come."""
        name = self.simulated.run.observer.senders[sender]
        self.identities[id(value)] = Identity(name, number, value)
        if len(self.identities) > MOST:
            self.identities.popitem(last=False)

    def altered(self, sender: int, number: int) -> None:
        """A message has come that is not what was sent."""
        name = self.simulated.run.observer.senders[sender]
        self._violated("unaltered", f"message {number} of {name} is another one when it arrives")

    def talks_to(self, peer: str, incarnation: int) -> None:
        """A handshake with an incarnation of a peer has come to its end."""
        newest = self._newest.get(peer, 0)
        if incarnation < newest:
            self._violated(
                "fenced",
                f"{self.name} talks to incarnation {incarnation} of {peer}, after {newest}",
            )
        self._newest[peer] = max(newest, incarnation)

    def not_believed(self, peer: str, error: DecodeError) -> None:
        """A peer that is as honest as this node has said what none would say."""
        self._violated("protocol", f"{self.name} does not believe {peer}: {error}")

    def accepted(self, identity: bytes) -> None:
        """A message of a peer is in its mailbox, or has ended."""
        if identity:
            self.simulated.run.observer.accepted[self.name, identity] = None

    def acknowledged(self, peer: str, identity: bytes) -> None:
        """A peer has said that it has accepted a message."""
        if self.simulated.run.observer.accepted.pop((peer, identity), self) is self:
            _, sender, number, _ = _NUMBER.unpack(identity)
            name = self.simulated.run.observer.senders[sender]
            self._violated(
                "acknowledged is accepted",
                f"{peer} has acknowledged message {number} of {name}, which is in no mailbox",
            )

    def left(self) -> Iterator[str]:
        """What it still keeps of asks that have their reply, or whose asker has gone."""
        for link in self.links():
            outgoing, incoming = link.outgoing, link.incoming
            asks = (*outgoing.asks.by_number.values(), *outgoing.asks.numbers)
            asked = (answer.ask for answer in incoming.answers.open.values())
            for ask in (*asks, *asked):
                if ask is not None and ask.value is not PENDING:
                    yield f"{self.name} keeps an ask that is over: {brief(ask.message, 60)}"

    def _violated(self, oracle: str, text: str) -> None:
        # One that was taken for dead is not judged: the other one is the node now.
        if not self.simulated.gone and self.incarnation == self.simulated.incarnation:
            self.simulated.run.violated(oracle, text)
