"""Between two processes, over a unix socket and over TCP: the better of the two is the figure.

The limits are plain trio programs that speak length-prefixed frames over the same kind of socket
with a process of their own; see `benchmarks.far`.
"""

import gc
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter

import trio

from actors import ActorSystem, TopicRef
from benchmarks.far import (
    COUNT,
    ECHO,
    READ_AT_ONCE,
    Blob,
    Frames,
    HowMany,
    News,
    Number,
    both,
    frame,
)
from benchmarks.harness import Result, sample
from benchmarks.workloads import routing
from transports import Tcp, Unix

PAYLOAD = b"x" * 100
NUMBER = Number()
NEWS = News()
#: Frames of a limit that are joined in one send.
JOINED = 64
IN_FLIGHT = 64
SUBSCRIBERS = 1_000
#: Publications before the last subscriber is asked whether it has had them.
AT_ONCE = 10
KINDS = ("unix", "tcp")


# -- over a link


async def one_way(system: ActorSystem, count: int) -> float:
    """Send messages to one actor there, waiting for room; it says that it has had them."""
    blob = Blob(PAYLOAD)
    sink = system.at("actor://far/sink")
    start = perf_counter()
    for _ in range(count):
        await sink.send(blob)
    assert await sink.ask(HowMany(), timeout=60) == count
    return count / (perf_counter() - start)


async def ask(system: ActorSystem, count: int) -> float:
    """One task asks one actor there, one ask after the other."""
    echo = system.at("actor://far/echo")
    start = perf_counter()
    for _ in range(count):
        await echo.ask(NUMBER)
    return count / (perf_counter() - start)


async def ask_at_once(system: ActorSystem, count: int) -> float:
    """64 tasks ask one actor there, each one ask after the other."""
    echo = system.at("actor://far/echo")
    return await _at_once(lambda: echo.ask(NUMBER), count)


async def publish(system: ActorSystem, count: int) -> float:
    """Publish to 1,000 subscribers there; `count` deliveries."""
    topic = system.at("topic://news.today")
    last = system.at(f"actor://far/reader-{SUBSCRIBERS - 1}")
    assert isinstance(topic, TopicRef)
    left = rounds = max(1, count // SUBSCRIBERS)
    start = perf_counter()
    while left:
        part = min(AT_ONCE, left)
        for _ in range(part):
            topic.publish(NEWS)
        assert await last.ask(HowMany()) == part
        left -= part
    return rounds * SUBSCRIBERS / (perf_counter() - start)


# -- the limits


async def bare_one_way(stream: trio.SocketStream, count: int) -> float:
    """As many frames, joined 64 a send; the server says that it has had them."""
    await stream.send_all(COUNT)
    left = count
    start = perf_counter()
    while left:
        part = min(JOINED, left)
        await stream.send_all(b"".join([frame(PAYLOAD) for _ in range(part)]))
        left -= part
    await stream.send_all(frame(b""))
    assert await _next(stream, Frames()) == [str(count).encode()]
    return count / (perf_counter() - start)


async def bare_ask(stream: trio.SocketStream, count: int) -> float:
    """A frame there, and it comes back; one after the other."""
    await stream.send_all(ECHO)
    frames = Frames()
    start = perf_counter()
    for _ in range(count):
        await stream.send_all(frame(PAYLOAD))
        await _next(stream, frames)
    return count / (perf_counter() - start)


async def bare_ask_at_once(stream: trio.SocketStream, count: int) -> float:
    """64 tasks, each with one frame on the way, that are woken by its number.

    What they write meanwhile is joined, by the one of them that finds nobody writing.
    """
    await stream.send_all(ECHO)
    waiting: dict[bytes, trio.lowlevel.Task] = {}
    to_write: list[bytes] = []
    numbers = iter(range(1 << 62))
    wake = trio.Event()

    def cannot_abort(_: object) -> trio.lowlevel.Abort:
        return trio.lowlevel.Abort.FAILED

    async def echo() -> None:
        number = b"%d" % next(numbers)
        to_write.append(frame(number))
        wake.set()
        waiting[number] = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(cannot_abort)

    async def write() -> None:
        nonlocal wake
        while True:
            await wake.wait()
            wake = trio.Event()
            data = b"".join(to_write)
            to_write.clear()
            await stream.send_all(data)

    async def read() -> None:
        frames = Frames()
        while True:
            for number in await _next(stream, frames):
                trio.lowlevel.reschedule(waiting.pop(number))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        nursery.start_soon(read)
        figure = await _at_once(echo, count)
        nursery.cancel_scope.cancel()
    return figure


async def _next(stream: trio.SocketStream, frames: Frames) -> list[bytes]:
    while True:
        data = await stream.receive_some(READ_AT_ONCE)
        if not data:
            raise EOFError("the bare server has ended")
        if payloads := frames.feed(data):
            return payloads


async def _at_once(one: Callable[[], Awaitable[object]], count: int) -> float:
    askers = min(IN_FLIGHT, count)
    times = count // askers

    async def in_turn() -> None:
        for _ in range(times):
            await one()

    start = perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(askers):
            nursery.start_soon(in_turn)
    return askers * times / (perf_counter() - start)


# -- measuring

Workload = Callable[[ActorSystem, int], Awaitable[float]]
Limit = Callable[[trio.SocketStream, int], Awaitable[float]]


def near(workload: Workload, node: str, kind: str, count: int) -> float:
    """One figure over a link: a system of its own, connected with the node there."""

    async def main() -> float:
        transport = Unix(None, peers=[node]) if kind == "unix" else Tcp(None, peers=[node])
        async with ActorSystem("near", transport=transport) as system:
            await system.at("actor://far/echo").ask(NUMBER)
            await system.at("actor://far/sink").ask(HowMany())
            return await workload(system, count)

    gc.collect()
    return trio.run(main)


def bare(limit: Limit, place: str, kind: str, count: int) -> float:
    """One figure of a limit, over a connection of its own."""

    async def main() -> float:
        if kind == "unix":
            stream = await trio.open_unix_socket(place)
        else:
            host, _, port = place.rpartition(":")
            stream = await trio.open_tcp_stream(host, int(port))
        async with stream:
            return await limit(stream, count)

    gc.collect()
    return trio.run(main)


@dataclass(frozen=True, slots=True)
class Between:
    """A workload over a link beside its limit; None: the local publish."""

    name: str
    title: str
    workload: Workload
    limit: Limit | None
    limit_title: str
    count: int
    limit_count: int
    reach: float

    def run(self, *, rounds: int, scale: float = 1.0) -> Result:
        """As `Speed.run`, for each kind of sockets; the kind with the better median counts."""
        results = [self._over(kind, rounds, scale) for kind in KINDS]
        return max(results, key=lambda result: result.ratio)

    def _over(self, kind: str, rounds: int, scale: float) -> Result:
        count, limit_count = (
            max(1, round(each * scale)) for each in (self.count, self.limit_count)
        )
        pairs = []
        with both(kind) as (node, place):
            for _ in range(rounds + 1):
                figure = near(self.workload, node, kind, count)
                if self.limit is None:
                    limit = sample(routing.publish, limit_count)
                else:
                    limit = bare(self.limit, place, kind, limit_count)
                pairs.append((figure, limit))
        ratios = [figure / limit for figure, limit in pairs[1:]]
        return Result(
            name=self.name,
            title=f"{self.title} ({kind})",
            unit="/s",
            figure=statistics.median(figure for figure, _ in pairs[1:]),
            limit=statistics.median(limit for _, limit in pairs[1:]),
            limit_title=self.limit_title,
            ratio=statistics.median(ratios),
            low=min(ratios),
            high=max(ratios),
            reach=self.reach,
        )


BENCHMARKS = (
    Between(
        "link",
        "messages of 100 bytes to an actor of another process",
        one_way,
        bare_one_way,
        "bare frames, 64 a send",
        50_000,
        150_000,
        reach=0.30,
    ),
    Between(
        "link-ask",
        "ask of an actor of another process, one at a time",
        ask,
        bare_ask,
        "bare trio ping-pong",
        2_000,
        3_000,
        reach=0.60,
    ),
    Between(
        "link-ask-64",
        "ask of an actor of another process, 64 at a time",
        ask_at_once,
        bare_ask_at_once,
        "bare frames, 64 tasks",
        6_400,
        12_800,
        reach=0.40,
    ),
    Between(
        "link-publish",
        "publish to 1,000 subscribers of another process, each delivery",
        publish,
        None,
        "publish to 1,000 of this process",
        200_000,
        200_000,
        reach=0.50,
    ),
)
