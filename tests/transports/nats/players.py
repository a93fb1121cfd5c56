"""One interface to two clients, so that the same script runs through both."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nats.errors

from tests.transports.nats.oracle import Oracle
from transports.nats import Client
from transports.nats.errors import NoResponders, PayloadTooLarge, RequestTimeout

WITHIN = 5.0


class Ours:
    """The client of this package."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def subscribe(self, subject: str, queue: str = "") -> Any:
        subscription = self.client.subscribe(subject, queue=queue)
        await self.client.flush()
        return subscription

    async def unsubscribe(self, subscription: Any) -> None:
        subscription.unsubscribe()
        await self.client.flush()

    async def next(self, subscription: Any) -> Any:
        message = await subscription.receive()
        return message.subject, message.data, message.reply, dict(message.headers)

    async def publish(self, subject: str, data: bytes, headers: Any = None, reply: str = "") -> str:
        try:
            self.client.publish(subject, data, headers=headers, reply=reply)
        except PayloadTooLarge:
            return "too large"
        await self.client.flush()
        return "published"

    async def answer(self, subject: str) -> None:
        def respond(message: Any) -> None:
            self.client.publish(message.reply, b"re:" + message.data, headers=message.headers)

        self.client.listen(subject, respond)
        await self.client.flush()

    async def request(self, subject: str, data: bytes, timeout: float, headers: Any = None) -> Any:
        try:
            message = await self.client.request(subject, data, timeout=timeout, headers=headers)
        except NoResponders:
            return "no responders"
        except RequestTimeout:
            return "timeout"
        return message.data, dict(message.headers)


class Theirs:
    """nats-py."""

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle
        self.client = oracle.client

    async def subscribe(self, subject: str, queue: str = "") -> Any:
        subscription = await self.oracle.run(self.client.subscribe, subject, queue)
        await self.oracle.flush()
        return subscription

    async def unsubscribe(self, subscription: Any) -> None:
        await self.oracle.run(subscription.unsubscribe)
        await self.oracle.flush()

    async def next(self, subscription: Any) -> Any:
        message = await self.oracle.run(subscription.next_msg, WITHIN)
        return message.subject, message.data, message.reply, dict(message.headers or {})

    async def publish(self, subject: str, data: bytes, headers: Any = None, reply: str = "") -> str:
        try:
            await self.oracle.run(self.client.publish, subject, data, reply, headers)
        except nats.errors.MaxPayloadError:
            return "too large"
        await self.oracle.flush()
        return "published"

    async def answer(self, subject: str) -> None:
        async def respond(message: Any) -> None:
            await self.client.publish(message.reply, b"re:" + message.data, headers=message.headers)

        async def subscribe() -> None:
            await self.client.subscribe(subject, cb=respond)

        await self.oracle.run(subscribe)
        await self.oracle.flush()

    async def request(self, subject: str, data: bytes, timeout: float, headers: Any = None) -> Any:
        async def request() -> Any:
            return await self.client.request(subject, data, timeout, headers=headers)

        try:
            message = await self.oracle.run(request)
        except nats.errors.NoRespondersError:
            return "no responders"
        except nats.errors.TimeoutError:
            return "timeout"
        return message.data, dict(message.headers or {})


Player = Ours | Theirs


@asynccontextmanager
async def two(who: str, oracle: Oracle, url: str) -> AsyncIterator[tuple[Player, Player]]:
    """The players of a word such as "ours-theirs": the first one sends, the second one receives."""
    async with Client(url) as client:
        players: dict[str, Player] = {"ours": Ours(client), "theirs": Theirs(oracle)}
        first, second = who.split("-")
        yield players[first], players[second]
