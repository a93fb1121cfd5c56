"""Who connects to a node and does not speak as one does no harm, and its peers go on."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from actors import Actor, ActorSystem, Request, message
from transports import Limits, Tcp
from transports.nodes.connecting import MOST_STRANGERS
from transports.wire.framing import FrameDecoder, encode_frame
from transports.wire.introduction import NONCE, Introduction, Role

SECRET = b"sixteen bytes or more"
LIMITS = Limits(handshake_within=0.5)


@message(name="hostile.Count")
class Count(Request[int]):
    """How many messages has the counter handled?"""


class Counter(Actor):
    def __init__(self) -> None:
        self.handled = 0

    def receive(self, _: object) -> int:
        self.handled += 1
        return self.handled


@contextlib.asynccontextmanager
async def served(limits: Limits = LIMITS) -> AsyncIterator[tuple[Tcp, Any, tuple[str, int]]]:
    """A node with a counter, a good peer's ref of it, and where the node listens."""
    server = Tcp("127.0.0.1:0", secret=SECRET, limits=limits)
    async with ActorSystem("a", transport=server) as a:
        a.spawn(Counter, name="counter")
        host, _, port = server.address.rpartition("@")[2].rpartition(":")
        good = Tcp(None, peers=[server.address], secret=SECRET, limits=LIMITS)
        async with ActorSystem("good", transport=good) as system:
            ref = system.at("actor://a/counter")
            assert await ref.ask(Count()) == 1
            yield server, ref, (host, int(port))
            assert await ref.ask(Count()) == 2, "nobody else was heard"
        assert a.ledger.missing == 0
        assert a.ledger.handled == 2


def introduce(version: int = 1) -> bytes:
    (frame,) = Introduction("mallory", Role.CALLER, bytes(NONCE), secret=SECRET).outgoing()
    return frame[:5] + struct.pack(">H", version) + frame[7:]


HOSTILE = {
    "noise": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 20,
    "zeros": bytes(1_000),
    "an oversized frame": struct.pack(">I", 1 << 31) + bytes(8),
    "a frame larger than an introduction": encode_frame(bytes(10_000)),
    "a hello before the introduction": encode_frame(b"\x01TRPR\x00\x01" + bytes(60)),
    "an empty frame": encode_frame(b""),
    "a wrong proof": encode_frame(introduce()) + encode_frame(b"\x0a" + bytes(32)),
    "half an introduction": encode_frame(introduce())[:30],
    "nothing": b"",
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_what_is_no_introduction_ends_its_connection_and_nothing_else(what: str) -> None:
    async with served() as (server, _, where):
        async with await trio.open_tcp_stream(*where) as stream:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(HOSTILE[what])
            # The node hangs up, at the latest when the time for a handshake is over.
            with trio.fail_after(10), contextlib.suppress(trio.BrokenResourceError):
                while await stream.receive_some():
                    pass
        assert [link.peer for link in server.links()] == ["good"]


async def test_an_introduction_byte_by_byte_has_no_more_time_than_any() -> None:
    async with served() as (_, _, where), await trio.open_tcp_stream(*where) as stream:
        with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
            while True:
                await stream.send_all(b"\x00")
                await trio.sleep(0.02)


async def test_a_version_that_is_not_spoken_is_refused_in_words() -> None:
    async with served() as (_, _, where), await trio.open_tcp_stream(*where) as stream:
        await stream.send_all(encode_frame(introduce(version=9)))
        decoder, said = FrameDecoder(), []
        with trio.fail_after(10):
            while data := await stream.receive_some():
                said += decoder.feed(bytes(data))
        assert [frame[0] for frame in said] == [9, 3]
        assert said[1][2:] == b"mallory speaks version 9 of the protocol, a version 1"


BURST = 100
"""Connections that wait to be accepted at one time: fewer than a listener lets wait."""


async def test_connections_that_are_opened_and_left_keep_nobody_out() -> None:
    async with served() as (server, ref, where):
        left = []
        try:
            for _ in range(MOST_STRANGERS + 50):
                stranger = socket.create_connection(where)
                left.append(stranger)
                await trio.lowlevel.checkpoint()
            late = Tcp(None, peers=[server.address], secret=SECRET, limits=LIMITS)
            async with ActorSystem("late", transport=late) as system, trio.open_nursery() as both:
                both.start_soon(_reaches, system)
                assert ref.address.node == "a"
        finally:
            for stranger in left:
                stranger.close()
        # Those that said nothing are gone when their time is over.
        connections = server._connections[0]
        with trio.fail_after(10):
            while connections._strangers:
                await trio.sleep(0.01)


async def test_of_connections_that_come_in_bursts_no_more_are_kept_either() -> None:
    async with served(Limits(handshake_within=50)) as (_, _, where):
        with contextlib.ExitStack() as left:
            before = len(os.listdir("/proc/self/fd"))
            bursts = (MOST_STRANGERS + 6 * BURST) // BURST
            for _ in range(bursts):
                for _ in range(BURST):
                    left.enter_context(socket.create_connection(where))
                # One is accepted at each step, and the last one has some more to its end.
                for _ in range(2 * BURST):
                    await trio.lowlevel.checkpoint()
            here = bursts * BURST
            kept = len(os.listdir("/proc/self/fd")) - before - here
            assert MOST_STRANGERS - BURST < kept < MOST_STRANGERS + BURST // 4


async def _reaches(system: ActorSystem) -> None:
    node = system._transport
    assert isinstance(node, Tcp)
    with trio.fail_after(10):
        await node.reached("a")
