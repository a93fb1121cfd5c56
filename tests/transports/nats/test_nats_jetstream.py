"""Streams and pull consumers: the same as nats-py sees, and what only our client says."""

from typing import Any

import nats.js.api
import nats.js.errors
import pytest
import trio

from tests.transports.nats.oracle import Oracle
from transports.nats import Client
from transports.nats.engine import Server
from transports.nats.errors import ApiError, InvalidSubject, NoResponders
from transports.nats.jetstream import JetStream
from transports.nats.jetstream_types import ConsumerConfig, Position, StreamConfig
from transports.nats.protocol import Message


@pytest.fixture
def url(nats_server: Server) -> str:
    return nats_server.url


class Ours:
    def __init__(self, client: Client) -> None:
        self.jetstream = JetStream(client)

    async def stream(self, name: str) -> None:
        await self.jetstream.create_stream(
            StreamConfig(name=name, subjects=[f"{name}.>"], retention="workqueue", storage="memory")
        )

    async def publish(self, subject: str, data: bytes, headers: dict[str, str]) -> object:
        try:
            ack = await self.jetstream.publish(subject, data, headers=headers)
        except ApiError as error:
            return error.err_code
        return ack.stream, ack.sequence, ack.duplicate

    async def consumer(self, stream: str, name: str) -> Any:
        config = ConsumerConfig(name=name, ack_wait=30, max_deliver=5)
        return await self.jetstream.create_consumer(stream, config)

    async def fetch(self, consumer: Any, batch: int, expires: float = 0.2) -> list[Any]:
        found = await consumer.fetch(batch, expires=expires)
        return [
            ((each.data, each.position.deliveries, each.position.sequence), each) for each in found
        ]

    async def answer(self, message: Any, how: str, delay: float) -> None:
        if how == "ack_sync":
            await message.ack_sync()
        elif how == "nak":
            message.nak(delay)
        else:
            getattr(message, how)()
        await self.jetstream.client.flush()

    async def left(self, stream: str) -> tuple[int, int]:
        info = await self.jetstream.stream_info(stream)
        return info.messages, info.last_sequence

    async def delete(self, stream: str) -> None:
        await self.jetstream.delete_stream(stream)

    async def purge(self, stream: str) -> None:
        await self.jetstream.purge_stream(stream)


class Theirs:
    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle
        self.jetstream = oracle.client.jetstream()

    async def run(self, function: Any, *args: Any, **named: Any) -> Any:
        async def call() -> Any:
            return await function(*args, **named)

        return await self.oracle.run(call)

    async def stream(self, name: str) -> None:
        config = nats.js.api.StreamConfig(
            name=name,
            subjects=[f"{name}.>"],
            retention=nats.js.api.RetentionPolicy.WORK_QUEUE,
            storage=nats.js.api.StorageType.MEMORY,
        )
        await self.run(self.jetstream.add_stream, config)

    async def publish(self, subject: str, data: bytes, headers: dict[str, str]) -> object:
        try:
            ack = await self.run(self.jetstream.publish, subject, data, headers=headers)
        except nats.js.errors.APIError as error:
            return error.err_code
        return ack.stream, ack.seq, bool(ack.duplicate)

    async def consumer(self, stream: str, name: str) -> Any:
        config = nats.js.api.ConsumerConfig(ack_wait=30, max_deliver=5)
        return await self.run(
            self.jetstream.pull_subscribe, "", durable=name, stream=stream, config=config
        )

    async def fetch(self, consumer: Any, batch: int, expires: float = 0.2) -> list[Any]:
        try:
            found = await self.run(consumer.fetch, batch, expires)
        except TimeoutError:
            # Of either kind: nats.errors has one of its own below this.
            return []
        return [
            (
                (each.data, each.metadata.num_delivered, each.metadata.sequence.stream),
                each,
            )
            for each in found
        ]

    async def answer(self, message: Any, how: str, delay: float) -> None:
        if how == "nak":
            await self.run(message.nak, delay or None)
        elif how == "ack_sync":
            await self.run(message.ack_sync, 10)
        else:
            await self.run(getattr(message, how))
        await self.oracle.flush()

    async def left(self, stream: str) -> tuple[int, int]:
        info = await self.run(self.jetstream.stream_info, stream)
        return info.state.messages, info.state.last_seq

    async def delete(self, stream: str) -> None:
        await self.run(self.jetstream.delete_stream, stream)

    async def purge(self, stream: str) -> None:
        await self.run(self.jetstream.purge_stream, stream)


async def script(player: Ours | Theirs, name: str) -> list[object]:
    """Everything that can be seen of a work queue."""
    seen: list[object] = []
    await player.stream(name)
    for headers in (
        {"Nats-Msg-Id": "a"},
        {"Nats-Msg-Id": "a"},
        {"Nats-Expected-Last-Sequence": "1"},
        {"Nats-Expected-Last-Sequence": "1"},
        {"Nats-Expected-Last-Subject-Sequence": "7"},
        {"Nats-Expected-Stream": "other"},
        {},
    ):
        seen.append(await player.publish(f"{name}.x", b"%d" % len(seen), headers))
    consumer = await player.consumer(name, "worker")
    first, second, third = await player.fetch(consumer, 3, 5)
    seen += [first[0], second[0], third[0]]
    await player.answer(first[1], "ack", 0)
    await player.answer(second[1], "nak", 0)
    await player.answer(third[1], "in_progress", 0)
    [again] = await player.fetch(consumer, 1, 5)
    seen.append(again[0])
    await player.answer(again[1], "nak", 1.0)
    seen.append([each[0] for each in await player.fetch(consumer, 10, 0.05)])
    [later] = await player.fetch(consumer, 1, 5)
    seen.append(later[0])
    await player.answer(later[1], "ack_sync", 0)
    await player.answer(third[1], "term", 0)
    seen.append(await player.left(name))
    seen.append(await player.publish(f"{name}.y", b"last", {}))
    await player.purge(name)
    seen.append(await player.left(name))
    await player.delete(name)
    return seen


async def test_a_work_queue_is_seen_the_same_through_both_clients(
    url: str, oracle: Oracle, unique: str
) -> None:
    async with Client(url) as client:
        ours = await script(Ours(client), f"{unique}-stream")
    theirs = await script(Theirs(oracle), f"{unique}-stream")
    assert ours == theirs
    assert ours[:3] == [
        (f"{unique}-stream", 1, False),
        (f"{unique}-stream", 1, True),
        (f"{unique}-stream", 2, False),
    ]


async def test_what_one_publishes_the_other_fetches(url: str, oracle: Oracle, unique: str) -> None:
    async with Client(url) as client:
        for first, second in (
            (Ours(client), Theirs(oracle)),
            (Theirs(oracle), Ours(client)),
        ):
            await first.stream(unique)
            for number in range(10):
                await first.publish(f"{unique}.a", b"%d" % number, {"A": "b"})
            consumer = await second.consumer(unique, "worker")
            found = await second.fetch(consumer, 10, 5)
            assert [each[0][0] for each in found] == [b"%d" % number for number in range(10)]
            await first.delete(unique)


async def test_errors_of_the_api_have_their_codes(url: str, unique: str) -> None:
    async with Client(url) as client:
        jetstream = JetStream(client)
        with pytest.raises(ApiError) as caught:
            await jetstream.stream_info(unique)
        assert (caught.value.code, caught.value.err_code) == (404, 10059)
        with pytest.raises(InvalidSubject):
            await jetstream.stream_info("a.b")
        with pytest.raises(NoResponders):
            await jetstream.publish(f"{unique}.nobody", b"")
        with pytest.raises(NoResponders):
            await jetstream.consumer(unique, "none").fetch(1)


async def test_a_stream_is_changed_and_purged_by_subject(url: str, unique: str) -> None:
    async with Client(url) as client:
        jetstream = JetStream(client)
        config = StreamConfig(name=unique, subjects=[f"{unique}.*"], storage="memory")
        assert (await jetstream.create_stream(config)).messages == 0
        wider = StreamConfig(
            name=unique, subjects=[f"{unique}.*", f"{unique}.*.*"], storage="memory"
        )
        with pytest.raises(ApiError, match="already in use"):
            await jetstream.create_stream(wider)
        assert len((await jetstream.update_stream(wider)).config["subjects"]) == 2
        for subject in ("a", "b", "a"):
            await jetstream.publish(f"{unique}.{subject}", b"x", expected_stream=unique)
        assert await jetstream.purge_stream(unique, subject=f"{unique}.a", keep=1) == 1
        assert (await jetstream.stream_info(unique)).messages == 2
        await jetstream.delete_stream(unique)


async def test_a_message_that_is_not_acknowledged_comes_again(url: str, unique: str) -> None:
    async with Client(url) as client:
        jetstream = JetStream(client)
        await jetstream.create_stream(StreamConfig(name=unique, subjects=[unique]))
        await jetstream.publish(unique, b"x")
        config = ConsumerConfig(name="c", ack_wait=0.2, max_deliver=2)
        consumer = await jetstream.create_consumer(unique, config)
        for deliveries in (1, 2):
            [found] = await consumer.fetch(1, expires=5, heartbeat=1)
            assert found.position.deliveries == deliveries
        # max_deliver
        assert await consumer.fetch(1, expires=0.4, heartbeat=0.2) == []
        await jetstream.delete_stream(unique)


async def test_a_fetch_ends_when_its_consumer_is_deleted(url: str, unique: str) -> None:
    async with Client(url) as client:
        jetstream = JetStream(client)
        await jetstream.create_stream(StreamConfig(name=unique, subjects=[unique]))
        consumer = await jetstream.create_consumer(unique, ConsumerConfig(name="c"))

        async def fetch() -> None:
            with pytest.raises(ApiError, match="Consumer Deleted"):
                await consumer.fetch(1, expires=60)

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fetch)
                while not (await jetstream.api(f"CONSUMER.INFO.{unique}.c"))["num_waiting"]:
                    pass
                await jetstream.delete_consumer(unique, "c")
        await jetstream.delete_stream(unique)


async def test_a_fetch_that_is_cancelled_leaves_no_subscription(url: str, unique: str) -> None:
    async with Client(url) as client:
        jetstream = JetStream(client)
        await jetstream.create_stream(StreamConfig(name=unique, subjects=[unique]))
        consumer = await jetstream.create_consumer(unique, ConsumerConfig(name="c"))
        before = len(client._registry.by_sid)
        with trio.move_on_after(0.05):
            await consumer.fetch(1, expires=60)
        assert len(client._registry.by_sid) == before
        await jetstream.delete_stream(unique)


@pytest.mark.parametrize(
    "reply", ["", "a.b", "$JS.ACK.S.c.1.1.1.x.0", "$JS.ACK." + "1." * 20, "$JS.ACK.S.c"]
)
def test_a_message_that_is_not_from_a_consumer_is_a_fault(reply: str) -> None:
    with pytest.raises(ValueError, match="not from a consumer"):
        Position.of(Message("a", b"", reply))


def test_the_position_is_the_same_with_a_domain() -> None:
    old = Position.of(Message("a", b"", "$JS.ACK.S.c.2.10.11.3000000000.5"))
    new = Position.of(Message("a", b"", "$JS.ACK.hub.acc.S.c.2.10.11.3000000000.5.rnd"))
    assert old == new == Position(2, 10, 11, 3.0, 5)
