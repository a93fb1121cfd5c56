"""A connection over an engine is a stream, as trio's own tests of streams demand; a gap ends it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
from trio.testing import assert_checkpoints, check_one_way_stream, check_two_way_stream

from actors import ActorError
from transports.nats.streams import DATA, END, HEAD, PIECE, READ, WINDOW, EngineStream

Filter = Callable[[bytes], list[bytes]]


@attrs.define
class Wire:
    """What an engine is between two ends: it hands on what is published, in order, or does not."""

    ends: dict[str, EngineStream] = attrs.Factory(dict)
    filters: dict[str, Filter] = attrs.Factory(dict)
    is_away: bool = False
    published: list[tuple[str, bytes]] = attrs.Factory(list)

    def publish(self, subject: str, data: bytes) -> None:
        if self.is_away:
            raise ActorError("the engine is away")
        self.published.append((subject, data))
        for message in self.filters.get(subject, lambda each: [each])(data):
            self.ends[subject].received(message)

    publish_now = publish

    async def send(self, subject: str, data: bytes) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self.publish(subject, data)


def pair(piece: int = 1 << 20) -> tuple[EngineStream, EngineStream, Wire]:
    wire = Wire()
    for here, there in (("a", "b"), ("b", "a")):
        wire.ends[here] = EngineStream(wire, there, piece, lambda: None)
    return wire.ends["a"], wire.ends["b"], wire


async def make() -> tuple[EngineStream, EngineStream]:
    return pair()[:2]


async def make_clogged() -> tuple[EngineStream, EngineStream]:
    left, right, _ = pair()
    await left.send_all(bytes(WINDOW))
    await right.send_all(bytes(WINDOW))
    return left, right


async def test_it_is_a_stream_as_trio_demands() -> None:
    await check_two_way_stream(make, make_clogged)  # type: ignore[arg-type]
    await check_one_way_stream(make, make_clogged)  # type: ignore[arg-type]


async def test_what_is_written_arrives_in_pieces_that_the_engine_takes() -> None:
    left, right, wire = pair(piece=100)
    text = bytes(range(256)) * 4
    await left.send_all(text)
    assert max(len(data) for _, data in wire.published) == 100
    read = b""
    while len(read) < len(text):
        read += await right.receive_some(7)
    assert read == text


async def test_no_piece_is_larger_than_others_could_wait_for() -> None:
    left, _, wire = pair(piece=1 << 26)
    await left.send_all(bytes(PIECE * 3))
    assert [len(data) - HEAD.size for _, data in wire.published] == [PIECE] * 3


async def test_a_sender_waits_while_the_window_is_full_and_goes_on_as_the_other_reads() -> None:
    left, right, _ = pair()
    done = trio.Event()

    async def write() -> None:
        await left.send_all(bytes(2 * WINDOW))
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        assert not done.is_set()
        read = 0
        while read < 2 * WINDOW:
            read += len(await right.receive_some())
        await done.wait()


@pytest.mark.parametrize("change", [lambda each: [], lambda each: [each, each]])
async def test_a_piece_that_is_lost_or_comes_twice_ends_it(change: Filter) -> None:
    left, right, wire = pair()
    await left.send_all(b"one")
    wire.filters["b"] = change
    await left.send_all(b"two")
    del wire.filters["b"]
    await left.send_all(b"three")
    with pytest.raises(trio.BrokenResourceError, match="piece"):
        while True:
            assert await right.receive_some() in {b"one", b"two"}


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"short",
        HEAD.pack(DATA, 2) + b"x",
        HEAD.pack(DATA, 0) + b"x",
        HEAD.pack(DATA, 1),
        HEAD.pack(READ, 1),
        HEAD.pack(END, 5),
        HEAD.pack(99, 0),
        HEAD.pack(DATA, 1) + bytes(WINDOW + 1),
    ],
)
async def test_what_makes_no_sense_ends_it_and_nothing_else(message: bytes) -> None:
    left, right, _ = pair()
    right.received(message)
    for work in (right.receive_some, lambda: right.send_all(b"x")):
        with assert_checkpoints(), pytest.raises(trio.BrokenResourceError):
            await work()
    await left.send_all(b"nobody reads this")


async def test_an_engine_that_is_away_ends_it_for_both_ways() -> None:
    left, right, wire = pair()
    wire.is_away = True
    works: list[Callable[[], Awaitable[object]]] = [lambda: left.send_all(b"x"), left.receive_some]
    for work in works:
        with pytest.raises(trio.BrokenResourceError, match="the engine is away"):
            await work()
    await left.aclose()
    await right.aclose()


async def test_its_end_is_told_once() -> None:
    ends: list[str] = []
    wire = Wire()
    wire.ends["a"] = EngineStream(wire, "b", 100, lambda: ends.append("a"))
    wire.ends["b"] = EngineStream(wire, "a", 100, lambda: ends.append("b"))
    wire.ends["a"].break_("why not")
    wire.ends["a"].break_("again")
    await wire.ends["a"].aclose()
    await wire.ends["b"].aclose()
    await wire.ends["b"].aclose()
    assert ends == ["a", "b"]


async def test_what_comes_is_taken_at_once_and_the_sender_goes_on_beyond_the_window() -> None:
    left, right, _ = pair()
    taken: list[bytes] = []
    await left.send_all(b"before")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(right.receive_each, taken.append)
        await trio.testing.wait_all_tasks_blocked()
        assert taken == [b"before"]
        assert left.send_now(b"behind")
        # No task has had a turn since.
        assert taken == [b"before", b"behind"]
        await left.send_all(bytes(3 * WINDOW))
        await left.aclose()
    assert sum(map(len, taken)) == len(b"beforebehind") + 3 * WINDOW


async def test_what_fails_to_take_it_is_called_no_more_and_the_reader_hears_why() -> None:
    left, right, _ = pair()
    taken: list[bytes] = []

    def take(data: bytes) -> None:
        taken.append(data)
        raise ValueError("no")

    async def read() -> None:
        with pytest.raises(ValueError, match="no"):
            await right.receive_each(take)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        assert left.send_now(b"one")
        assert left.send_now(b"two")
    assert taken == [b"one"]


async def test_without_waiting_all_is_written_or_nothing() -> None:
    left, right, wire = pair()
    await left.send_all(bytes(WINDOW - 2))
    assert not left.send_now(b"one")
    assert left.send_now(b"ab")
    assert not left.send_now(b"c")
    assert left.send_now(b"")
    wire.is_away = True
    assert not right.send_now(b"nobody hears this")
    wire.is_away = False
    assert right.send_now(b"this one")
    assert await left.receive_some() == b"this one"
    await right.aclose()
    assert not left.send_now(b"d")
    with pytest.raises(trio.BrokenResourceError):
        await left.send_all(b"d")
