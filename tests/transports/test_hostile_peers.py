"""Whatever a peer says: it costs its connection at the most, and nobody else anything."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from actors import ActorRef, ActorSystem, DeadLetterReason
from tests.transports.kit import Get, Remote, Wires
from transports import Limits, Node
from transports.encoding import envelope
from transports.wire import frames
from transports.wire.framing import FrameDecoder, encode_frame
from transports.wire.handshake import Agreed, Handshake
from transports.wire.session import Session


class Peer:
    """A peer of a node that says what the test wants, by a real handshake and session."""

    def __init__(self, wires: Wires, name: str = "peer") -> None:
        self.wires = wires
        self.name = name
        self.session = Session(max_frame=Limits().max_frame)
        self.decoder = FrameDecoder(1 << 25)
        self.heard: list[Any] = []
        self.stream: Any = None

    async def connect(self, node: str) -> None:
        self.stream, there = memory_stream_pair()
        nursery, handle = await served(self.wires, node)
        nursery.start_soon(handle, there)
        handshake = Handshake(self.session.hello(self.name, 1))
        agreed = None
        rest: list[bytes] = []
        while not isinstance(agreed, Agreed):
            for frame in handshake.outgoing():
                await self.stream.send_all(encode_frame(frame))
            payloads = self.decoder.feed(await self.stream.receive_some(65536))
            for place, payload in enumerate(payloads):
                agreed = handshake.received(payload)
                if agreed is not None:
                    rest = payloads[place + 1 :]
                    break
        for frame in handshake.outgoing():
            await self.stream.send_all(encode_frame(frame))
        self.session.connected(agreed, 0.0)
        self._take(rest)

    def _take(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            for delivery in self.session.received(payload, 0.0):
                self.heard.extend(envelope.decode(each) for each in delivery.payloads())
                self.session.accepted(delivery.sequence, delivery.count)

    async def say(self, payload: bytes, charged: bool = False) -> None:
        self.session.send(payload, charged)
        for frame in self.session.outgoing(0.0):
            await self.stream.send_all(encode_frame(frame))

    async def until_closed(self) -> None:
        with trio.fail_after(30):
            while data := await self.stream.receive_some(65536):
                self._take(self.decoder.feed(data))


async def served(wires: Wires, node: str) -> Any:
    while node not in wires.served:
        await trio.sleep(0.01)
    return wires.served[node]


@contextlib.asynccontextmanager
async def one_node() -> AsyncIterator[tuple[ActorSystem, Wires]]:
    wires = Wires()
    async with ActorSystem("a", transport=Node(wires.endpoint("a"), peers=["good"])) as system:
        yield system, wires
    assert system.ledger.missing == 0
    assert system.ledger.queued == 0


async def works(system: ActorSystem, wires: Wires) -> None:
    """Another peer of that node can talk to it."""
    ref = system.spawn(Remote)
    good = Node(wires.endpoint("good"), peers=["a"])
    async with ActorSystem("good", transport=good) as other:
        assert await other.at(str(ref)).ask(Get()) == []


def spawn(cls: str, name: str = "x", args: bytes = b"\x92\x90\x80", **terms: Any) -> envelope.Spawn:
    """A spawn; without `terms`, one that is in order."""
    limits = {"shutdown": None, "brutal": False, "start_within": None, **terms}
    return envelope.Spawn(5, cls, name, args=args, **limits)


HOSTILE: dict[str, Callable[[ActorRef], tuple[bytes, bool]]] = {
    "no msgpack": lambda _: (b"\xc1", False),
    "nothing": lambda _: (b"", False),
    "an unknown kind": lambda _: (b"\x91\x63", False),
    "a spawn that is charged": lambda _: (envelope.encode(spawn("Counted")), True),
    "a spawn with half of its fields": lambda _: (b"\x93\x15\x01\xa1x", False),
    "a type that is wrong": lambda _: (b"\x93\x01\x01\x01", False),
    "deep nesting": lambda _: (b"\x91" * 100_000, False),
    "a tell that is not charged": lambda ref: (
        envelope.encode(envelope.Tell(ref.address.path, b"\x00")),
        False,
    ),
    "a reply that is charged": lambda _: (envelope.encode(envelope.Replied(1, b"")), True),
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_what_is_no_envelope_closes_that_connection_only(
    autojump_clock: MockClock, what: str
) -> None:
    async with one_node() as (system, wires):
        payload, charged = HOSTILE[what](system.spawn(Remote))
        peer = Peer(wires)
        await peer.connect("a")
        await peer.say(payload, charged)
        await peer.until_closed()
        await works(system, wires)


HARMLESS: dict[str, envelope.Envelope] = {
    "a reply to nobody": envelope.Replied(77, b"\x00"),
    "a refusal to nobody": envelope.Refused(77, "failed", "x"),
    "a cancellation of nothing": envelope.Cancelled(77),
    "an item of no stream": envelope.Item(77, b"\x00"),
    "a grant to no stream": envelope.Granted(77, 1 << 60),
    "the end of no stream": envelope.StreamEnded(77),
    "a watch of an odd path": envelope.Watch("../../x//"),
    "an end of what is not watched": envelope.Ended("x", "failed", "x"),
    "a stop of nobody": envelope.Stop("nobody"),
    "a pattern that is none": envelope.Subscribed(("a.**.b", "", "x" * 10_000), True),
    "an unsubscription that never was": envelope.Subscribed(("a.b",), False),
    "a service without a name": envelope.Registered("", "x", 1, ""),
    "a service of odd words": envelope.Registered("a b/c", "x//y", 1, "v v"),
    "a service of no weight": envelope.Registered("x", "y", 0, ""),
    "a consumer of nothing": envelope.Consumes("", "x", 1),
    "a consumer with an odd path": envelope.Consumes("jobs", "..", 1),
    "a probe of nobody": envelope.Probe(("actor://a/x", "actor://a/y")),
    "an empty probe": envelope.Probe(()),
    "a probe of no addresses": envelope.Probe(("x", "y")),
    "classes with odd names": envelope.Spawnable(("", "x" * 10_000, "a/b")),
    "a stop for no reason": envelope.Stop("nobody", "because"),
    "a spawn where nothing is taken": spawn("Remote"),
}


@pytest.mark.parametrize("what", HARMLESS)
async def test_what_makes_no_sense_is_left_out(autojump_clock: MockClock, what: str) -> None:
    async with one_node() as (system, wires):
        ref = system.spawn(Remote, name="here")
        peer = Peer(wires)
        await peer.connect("a")
        await peer.say(envelope.encode(HARMLESS[what]))
        await peer.say(envelope.encode(envelope.Watch(ref.address.path)))
        ref.stop()
        with trio.fail_after(30):
            while not any(isinstance(each, envelope.Ended) for each in peer.heard):
                peer._take(peer.decoder.feed(await peer.stream.receive_some(65536)))
        await works(system, wires)


async def test_a_body_that_cannot_be_read_is_a_dead_letter_or_refuses_the_ask(
    autojump_clock: MockClock,
) -> None:
    async with one_node() as (system, wires):
        path = system.spawn(Remote).address.path
        peer = Peer(wires)
        await peer.connect("a")
        await peer.say(envelope.encode(envelope.Tell(path, b"\x05nope!\x00\x01\x80")), charged=True)
        asked = envelope.Asked(1, path, 5.0, "", b"\x05nope!\x00\x01\x80")
        await peer.say(envelope.encode(asked), charged=True)
        with trio.fail_after(30):
            while not any(isinstance(each, envelope.Refused) for each in peer.heard):
                peer._take(peer.decoder.feed(await peer.stream.receive_some(65536)))
        (refused,) = [each for each in peer.heard if isinstance(each, envelope.Refused)]
        assert refused.kind == "unreadable"
        (letter,) = system.dead_letters.recent
        assert letter.reason is DeadLetterReason.UNREADABLE
        assert letter.message == b"\x05nope!\x00\x01\x80"


async def test_a_publication_that_cannot_be_read_is_a_dead_letter(
    autojump_clock: MockClock,
) -> None:
    async with one_node() as (system, wires):
        peer = Peer(wires)
        await peer.connect("a")
        for topic in ("orders.new", "no..topic"):
            said = envelope.encode(envelope.Publish(topic, b"\xc1"))
            await peer.say(said, charged=True)
        await trio.sleep(1)
        (letter,) = system.dead_letters.recent
        assert (str(letter.ref), letter.message) == ("topic://orders.new", b"\xc1")
        assert letter.reason is DeadLetterReason.UNREADABLE
        assert system.ledger.missing == 0
        await works(system, wires)


async def test_a_peer_that_awaits_one_stop_again_and_again_costs_one_waiter(
    autojump_clock: MockClock,
) -> None:
    async with one_node() as (system, wires):
        ref: Any = system.spawn(Remote)
        path = ref.address.path
        peer = Peer(wires)
        await peer.connect("a")
        for number in range(1, 200):
            await peer.say(envelope.encode(envelope.AwaitStop(number, path)))
            # The number of another one's is taken for it.
            await peer.say(envelope.encode(envelope.AwaitStop(number, "nobody")))
        await trio.sleep(1)
        assert len(ref._rare.cleanups) == 1
        await peer.say(envelope.encode(envelope.Cancelled(199)))
        await trio.sleep(1)
        assert ref._rare.cleanups == []
        await peer.say(envelope.encode(envelope.AwaitStop(200, path)))
        await trio.sleep(1)
        await peer.stream.aclose()
        await trio.sleep(20)
        # Nothing of a peer that is lost is left.
        assert ref._rare.cleanups == []
        await works(system, wires)


@pytest.mark.parametrize("seed", range(20))
async def test_arbitrary_bytes_on_a_connection_close_it(
    autojump_clock: MockClock, seed: int
) -> None:
    async with one_node() as (system, wires):
        chance = random.Random(seed)
        stream, there = memory_stream_pair()
        nursery, handle = await served(wires, "a")
        nursery.start_soon(handle, there)
        data = chance.randbytes(chance.randint(1, 3000))
        if seed % 2:
            data = encode_frame(bytes([chance.choice((frames.HELLO, frames.DATA, 99))]) + data)
        await stream.send_all(data)
        await stream.send_eof()
        with trio.fail_after(30):
            while await stream.receive_some(65536):
                pass
        await works(system, wires)


class Counted(Remote):
    """An actor that peers may spawn; how often they have."""

    made: ClassVar[list[str]] = []

    def __init__(self, label: str = "") -> None:
        super().__init__()
        self.made.append(label)


class Secret(Counted):
    """One that they may not."""


REFUSED: dict[str, tuple[envelope.Spawn, str]] = {
    "a class that is not listed": (spawn("Secret"), "not taken"),
    "a class by its module": (spawn("tests.transports.test_hostile_peers.Counted"), "not taken"),
    "a class that is everywhere": (spawn("os.system"), "not taken"),
    "an empty name": (spawn("Counted", ""), "failed"),
    "a name of two words": (spawn("Counted", "x/y"), "failed"),
    "a name that is a way up": (spawn("Counted", ".."), "failed"),
    "a name of odd characters": (spawn("Counted", "x y\0"), "failed"),
    "arguments that are no value": (spawn("Counted", args=b"\xc1"), "unreadable"),
    "no arguments": (spawn("Counted", args=b""), "unreadable"),
    "arguments that are one": (spawn("Counted", args=b"\x01"), "unreadable"),
    "keywords that are no names": (spawn("Counted", args=b"\x92\x90\x81\x01\x02"), "unreadable"),
    "an unknown message as argument": (
        spawn("Counted", args=b"\x92\x91\xc7\x04\x01\x01x\x00\x01\x80"),
        "unreadable",
    ),
    "too many arguments": (spawn("Counted", args=b"\x92\x92\x01\x02\x80"), "failed"),
    "a keyword for its insides": (spawn("Counted", args=b"\x92\x90\x81\xa4self\x02"), "failed"),
    "less than no time": (spawn("Counted", shutdown=-1.0), "failed"),
    "no number of seconds": (spawn("Counted", start_within=float("nan")), "failed"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_a_spawn_that_is_not_in_order_is_refused_and_makes_nobody(
    autojump_clock: MockClock, what: str
) -> None:
    Counted.made = []
    wires = Wires()
    node = Node(wires.endpoint("a"), peers=["good"], spawnable=[Counted])
    async with ActorSystem("a", transport=node) as system:
        peer = Peer(wires)
        await peer.connect("a")
        said, kind = REFUSED[what]
        await peer.say(envelope.encode(said))
        with trio.fail_after(30):
            while not any(isinstance(each, envelope.Ended) for each in peer.heard):
                peer._take(peer.decoder.feed(await peer.stream.receive_some(65536)))
        (refused,) = [each for each in peer.heard if isinstance(each, envelope.Refused)]
        assert (refused.number, refused.kind) == (5, kind)
        assert peer.heard[0] == envelope.Spawnable(("Counted",))
        (parent,) = system.children
        assert parent._children in (None, {})  # type: ignore[attr-defined]
        assert Counted.made == []
        # One that is in order is made.
        await peer.say(envelope.encode(spawn("Counted", "right")))
        with trio.fail_after(30):
            while Counted.made == []:
                await trio.sleep(0.01)
        await works(system, wires)
    assert system.ledger.missing == 0
