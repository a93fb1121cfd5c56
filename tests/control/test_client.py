"""The client of a control socket: whatever is behind it, it ends, and says why."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio
from trio.testing import MockClock

from transports.control import Refused, connect, place_of, protocol
from transports.control.client import patience
from transports.control.places import Place
from transports.control.protocol import Code


@pytest.fixture
def stopped() -> Iterator[tuple[Place, socket.socket]]:
    """A socket of a process that takes nobody, as a stopped one; one caller can wait."""
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
        place = place_of("demo", Path(folder) / "c.sock")
        listening.bind(str(place.path))
        listening.listen(0)
        yield place, listening


async def test_a_node_that_says_nothing_is_given_up(
    stopped: tuple[Place, socket.socket], autojump_clock: MockClock
) -> None:
    place, _ = stopped
    ask = protocol.Ask("actor://demo/a", "Get", timeout=3.0)
    for request, seconds in ((ask, 5), (protocol.About(), 10), (protocol.Tree(observe=2.0), 12)):
        async with connect(place) as client:
            with pytest.raises(Refused, match=f"did not answer within {seconds} s") as caught:
                await client.end(request)
            assert caught.value.code == Code.TIMEOUT
            stopped[1].accept()[0].close()


async def test_a_socket_at_which_too_many_wait_is_called_again(
    stopped: tuple[Place, socket.socket], autojump_clock: MockClock
) -> None:
    place, listening = stopped
    with socket.socket(socket.AF_UNIX) as first:
        first.connect(str(place.path))
        with pytest.raises(Refused, match="did not answer within 10 s"):
            async with connect(place):
                pass
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_reach, place)
            await trio.sleep(1)
            listening.accept()[0].close()
            await trio.sleep(1)
            listening.accept()[0].close()


async def _reach(place: Place) -> None:
    async with connect(place):
        pass


def test_whoever_listens_waits_for_ever() -> None:
    assert patience(protocol.Listen("orders.*")) == math.inf
    assert patience(protocol.DeadLetters(follow=True)) == math.inf
    assert patience(protocol.DeadLetters()) == 10
