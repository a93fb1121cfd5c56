"""The NATS client against nats-py under plain asyncio, over one server, with one other process."""

import asyncio
import gc
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import nats
import trio

from benchmarks.far.nats import BLAST, ECHO, PAYLOAD, SUBJECT, both
from benchmarks.harness import Result
from transports.nats import Client, Message

IN_FLIGHT = 64

Ours = Callable[[Client, int], Awaitable[float]]
Theirs = Callable[[Any, int], Awaitable[float]]


# -- ours


async def publish(client: Client, count: int) -> float:
    """Publish; the server has them all at the end."""
    start = perf_counter()
    for _ in range(count):
        await client.send("bench.out", PAYLOAD)
    await client.flush(60)
    return count / (perf_counter() - start)


async def request(client: Client, count: int) -> float:
    """One request after the other."""
    start = perf_counter()
    for _ in range(count):
        await client.request(ECHO, PAYLOAD)
    return count / (perf_counter() - start)


async def request_at_once(client: Client, count: int) -> float:
    """64 tasks, each with one request after the other."""
    left = iter(range(count))

    async def ask() -> None:
        for _ in left:
            await client.request(ECHO, PAYLOAD)

    start = perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(IN_FLIGHT):
            nursery.start_soon(ask)
    return count / (perf_counter() - start)


async def received(client: Client, count: int) -> float:
    """Messages that another process writes, to a function."""
    left = count
    done = trio.Event()

    def take(message: Message) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    listening = client.listen(SUBJECT, take)
    await client.flush()
    start = perf_counter()
    client.publish(BLAST, b"%d" % count)
    await done.wait()
    figure = count / (perf_counter() - start)
    listening.unsubscribe()
    return figure


async def iterated(client: Client, count: int) -> float:
    """As `received`, by an ``async for``."""
    subscription = client.subscribe(SUBJECT, capacity=count)
    await client.flush()
    left = count
    start = perf_counter()
    client.publish(BLAST, b"%d" % count)
    async for _ in subscription:
        left -= 1
        if not left:
            break
    figure = count / (perf_counter() - start)
    subscription.unsubscribe()
    return figure


# -- nats-py


async def their_publish(client: Any, count: int) -> float:
    """The same."""
    start = perf_counter()
    for _ in range(count):
        await client.publish("bench.out", PAYLOAD)
    await client.flush(60)
    return count / (perf_counter() - start)


async def their_request(client: Any, count: int) -> float:
    """The same."""
    start = perf_counter()
    for _ in range(count):
        await client.request(ECHO, PAYLOAD, 5)
    return count / (perf_counter() - start)


async def their_request_at_once(client: Any, count: int) -> float:
    """The same."""
    left = iter(range(count))

    async def ask() -> None:
        for _ in left:
            await client.request(ECHO, PAYLOAD, 5)

    start = perf_counter()
    await asyncio.gather(*[ask() for _ in range(IN_FLIGHT)])
    return count / (perf_counter() - start)


async def their_received(client: Any, count: int) -> float:
    """The same, to a coroutine function: it takes no other."""
    left = count
    done = asyncio.Event()

    async def take(message: Any) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    subscription = await client.subscribe(SUBJECT, cb=take)
    await client.flush()
    start = perf_counter()
    await client.publish(BLAST, b"%d" % count)
    await done.wait()
    figure = count / (perf_counter() - start)
    await subscription.unsubscribe()
    return figure


async def their_iterated(client: Any, count: int) -> float:
    """The same."""
    subscription = await client.subscribe(SUBJECT)
    await client.flush()
    left = count
    start = perf_counter()
    await client.publish(BLAST, b"%d" % count)
    async for _ in subscription.messages:
        left -= 1
        if not left:
            break
    figure = count / (perf_counter() - start)
    await subscription.unsubscribe()
    return figure


@dataclass(frozen=True, slots=True)
class OverNats:
    """A workload of our client beside the same of nats-py, in turn, over the same server."""

    name: str
    title: str
    ours: Ours
    theirs: Theirs
    count: int
    reach: float | None

    def run(self, *, rounds: int, scale: float = 1.0) -> Result:
        """As `Speed.run`."""
        count = max(1, round(self.count * scale))
        with both() as url:
            pairs = [
                (self._our_sample(url, count), self._their_sample(url, count))
                for _ in range(rounds + 1)
            ]
        ratios = [figure / limit for figure, limit in pairs[1:]]
        return Result(
            name=self.name,
            title=self.title,
            unit="/s",
            figure=statistics.median(figure for figure, _ in pairs[1:]),
            limit=statistics.median(limit for _, limit in pairs[1:]),
            limit_title="nats-py, asyncio",
            ratio=statistics.median(ratios),
            low=min(ratios),
            high=max(ratios),
            reach=self.reach,
        )

    def _our_sample(self, url: str, count: int) -> float:
        async def main() -> float:
            async with Client(url) as client:
                return await self.ours(client, count)

        gc.collect()
        return trio.run(main)

    def _their_sample(self, url: str, count: int) -> float:
        async def main() -> float:
            client = await nats.connect(url)
            try:
                return await self.theirs(client, count)
            finally:
                await client.close()

        gc.collect()
        return asyncio.run(main())


BENCHMARKS = (
    OverNats(
        "nats-publish",
        "NATS: publish 100 bytes",
        publish,
        their_publish,
        50_000,
        1.0,
    ),
    OverNats(
        "nats-request",
        "NATS: request, one at a time",
        request,
        their_request,
        2_000,
        1.0,
    ),
    OverNats(
        "nats-request-64",
        "NATS: request, 64 at a time",
        request_at_once,
        their_request_at_once,
        10_000,
        1.0,
    ),
    OverNats(
        "nats-received",
        "NATS: messages received, by a function",
        received,
        their_received,
        100_000,
        1.5,
    ),
    OverNats(
        "nats-iterated",
        "NATS: messages received, by `async for`",
        iterated,
        their_iterated,
        100_000,
        1.5,
    ),
)
