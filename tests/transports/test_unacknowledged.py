"""Answers that are never acknowledged: they are bounded, and who does not is given up."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors import ActorSystem
from tests.transports.kit import Get, Remote, Wires, cluster
from tests.transports.test_hostile_peers import Peer, works
from transports import Limits, Node
from transports.encoding import envelope
from transports.wire import frames
from transports.wire.framing import encode_frame
from transports.wire.session import Session

ANSWERS = 100_000


class Grasping(Peer):
    """Asks on and on, and acknowledges no answer."""

    async def say(self, payload: bytes, charged: bool = False) -> None:
        self.session.send(payload, charged)
        for frame in self.session.outgoing(0.0):
            if frame[0] != frames.ACK:
                await self.stream.send_all(encode_frame(frame))


class Unread(Grasping):
    """The same, and acknowledges that it has received them, but not in their mailboxes."""

    async def say(self, payload: bytes, charged: bool = False) -> None:
        await super().say(payload, charged)
        ack = frames.encode_ack(frames.Ack(False, self.session._in.received, 0))
        await self.stream.send_all(encode_frame(ack))


@pytest.mark.parametrize("kind", [Grasping, Unread])
async def test_who_asks_on_and_acknowledges_no_answer_is_given_up(
    autojump_clock: MockClock, kind: type[Peer], caplog: pytest.LogCaptureFixture
) -> None:
    wires = Wires()
    node = Node(wires.endpoint("a"), peers=["good"], limits=Limits(answers=ANSWERS))
    async with ActorSystem("a", transport=node) as a:
        a.spawn(Remote, name="there")
        peer = kind(wires)
        await peer.connect("a")
        link = node._links["peer"]
        body = node.codec.encode_value(Get())
        most = asked = 0
        with trio.fail_after(100), pytest.raises(trio.BrokenResourceError):
            while True:
                asked += 1
                asks = envelope.Asked(asked, "there", None, "", body)
                await peer.say(envelope.encode(asks), charged=True)
                await trio.sleep(0.001)
                peer._take(peer.decoder.feed(await peer.stream.receive_some(65536)))
                most = max(most, link.session.uncharged_bytes)
        assert asked > 100
        assert most < ANSWERS + 1_000
        await trio.sleep(1)
        assert "has not acknowledged 100,000 bytes of answers" in caplog.text
        assert link.session.uncharged_bytes == 0
        # It may come again, and has the same to lose.
        again = Peer(wires)
        again.session = Session(number=2, max_frame=Limits().max_frame)
        await again.connect("a")
        await again.say(envelope.encode(envelope.Asked(1, "there", None, "", body)), True)
        await trio.sleep(0.1)
        again._take(again.decoder.feed(await again.stream.receive_some(65536)))
        assert [type(each) for each in again.heard].count(envelope.Replied) == 1
        await works(a, wires)
    assert (a.ledger.missing, a.ledger.queued) == (0, 0)


async def test_answers_that_are_acknowledged_may_be_any_number(autojump_clock: MockClock) -> None:
    async with cluster("a", "b", limits=Limits(answers=20_000)) as (a, b):
        b.spawn(Remote, name="there")
        there: Any = a.at("actor://b/there")
        node: Any = b._transport
        for _ in range(50):
            async with trio.open_nursery() as nursery:
                for _ in range(40):
                    nursery.start_soon(there.ask, "x" * 100)
        await trio.sleep(1)
        assert node._links["a"].session.uncharged_bytes == 0
        assert a.ledger.dead == 0
