"""The same script through our client and through nats-py, against one server: the same comes out.

Each script runs four times: sender and receiver are each of the two clients. What it has seen must
be what it says in the end, whoever has played.
"""

import pytest
import trio

from tests.transports.nats.oracle import Oracle
from tests.transports.nats.players import two
from transports.nats import Client
from transports.nats.engine import Server
from transports.nats.subjects import escape

WHO = pytest.mark.parametrize("who", ["ours-ours", "ours-theirs", "theirs-ours", "theirs-theirs"])


@pytest.fixture
def url(nats_server: Server) -> str:
    return nats_server.url


@WHO
async def test_what_is_published_arrives_in_order(
    who: str, oracle: Oracle, url: str, unique: str
) -> None:
    async with two(who, oracle, url) as (sender, receiver):
        subscription = await receiver.subscribe(unique)
        for number in range(20):
            await sender.publish(unique, b"%d" % number, reply="an.answer" if number % 2 else "")
        seen = [await receiver.next(subscription) for _ in range(20)]
        assert seen == [
            (unique, b"%d" % number, "an.answer" if number % 2 else "", {}) for number in range(20)
        ]
        await receiver.unsubscribe(subscription)


@WHO
@pytest.mark.parametrize("data", [b"", b"\r\n", bytes(range(256)), b"x" * 1_000_000], ids=len)
async def test_data_are_any_bytes(
    who: str, data: bytes, oracle: Oracle, url: str, unique: str
) -> None:
    async with two(who, oracle, url) as (sender, receiver):
        subscription = await receiver.subscribe(unique)
        await sender.publish(unique, data)
        await sender.publish(unique, data, {"A": "1"})
        assert await receiver.next(subscription) == (unique, data, "", {})
        assert await receiver.next(subscription) == (unique, data, "", {"A": "1"})
        await receiver.unsubscribe(subscription)


@WHO
async def test_wildcards_match_a_token_or_the_rest(
    who: str, oracle: Oracle, url: str, unique: str
) -> None:
    async with two(who, oracle, url) as (sender, receiver):
        star = await receiver.subscribe(f"{unique}.*.c")
        rest = await receiver.subscribe(f"{unique}.a.>")
        for tail in ("a", "a.c", "b.c", "a.b.c", "a.b", "b"):
            await sender.publish(f"{unique}.{tail}", tail.encode())
        # Each subscription has an end of its own.
        await sender.publish(f"{unique}.end.c", b"end")
        await sender.publish(f"{unique}.a.end", b"end")
        for subscription, expected in (
            (star, [b"a.c", b"b.c"]),
            (rest, [b"a.c", b"a.b.c", b"a.b"]),
        ):
            seen = []
            while (data := (await receiver.next(subscription))[1]) != b"end":
                seen.append(data)
            assert seen == expected
            await receiver.unsubscribe(subscription)


@WHO
async def test_headers_arrive_as_they_were(who: str, oracle: Oracle, url: str, unique: str) -> None:
    headers = {"Nats-Msg-Id": "a", "X-Text": "two words: and a colon", "x": "Grüße"}
    async with two(who, oracle, url) as (sender, receiver):
        subscription = await receiver.subscribe(unique)
        await sender.publish(unique, b"data", headers)
        assert await receiver.next(subscription) == (unique, b"data", "", headers)
        await receiver.unsubscribe(subscription)


@WHO
async def test_of_a_queue_group_one_has_each_message(
    who: str, oracle: Oracle, url: str, unique: str
) -> None:
    async with two(who, oracle, url) as (sender, receiver):
        group = [await receiver.subscribe(unique, "workers") for _ in range(3)]
        everything = await receiver.subscribe(unique)
        for number in range(60):
            await sender.publish(unique, b"%d" % number)
        seen = [await receiver.next(everything) for _ in range(60)]
        assert [data for _, data, _, _ in seen] == [b"%d" % number for number in range(60)]
        numbers: list[int] = []
        counts = []
        for subscription in group:
            await receiver.unsubscribe(subscription)
        for subscription in group:
            counts.append(0)
            while pending(subscription):
                numbers.append(int((await receiver.next(subscription))[1]))
                counts[-1] += 1
        assert sorted(numbers) == list(range(60))
        assert min(counts) > 0


def pending(subscription: object) -> int:
    ours = getattr(subscription, "pending", None)
    return ours if ours is not None else subscription.pending_msgs  # type: ignore[attr-defined, no-any-return]


@WHO
async def test_a_request_has_its_reply(who: str, oracle: Oracle, url: str, unique: str) -> None:
    async with two(who, oracle, url) as (sender, receiver):
        await receiver.answer(unique)
        assert await sender.request(unique, b"x", 5.0) == (b"re:x", {})
        assert await sender.request(unique, b"", 5.0, {"A": "b"}) == (b"re:", {"A": "b"})


@WHO
async def test_a_request_that_nobody_hears_ends_at_once(
    who: str, oracle: Oracle, url: str, unique: str
) -> None:
    async with two(who, oracle, url) as (sender, _):
        with trio.fail_after(5):
            assert await sender.request(unique, b"x", 600.0) == "no responders"


@WHO
async def test_a_request_that_nobody_answers_ends_with_its_time(
    who: str, oracle: Oracle, url: str, unique: str
) -> None:
    async with two(who, oracle, url) as (sender, receiver):
        subscription = await receiver.subscribe(unique)
        assert await sender.request(unique, b"x", 0.05) == "timeout"
        assert (await receiver.next(subscription))[1] == b"x"
        await receiver.unsubscribe(subscription)


@WHO
async def test_a_message_beyond_max_payload_is_refused_here(
    who: str, oracle: Oracle, url: str, unique: str
) -> None:
    async with two(who, oracle, url) as (sender, _):
        assert await sender.publish(unique, bytes((1 << 20) + 1)) == "too large"
        assert await sender.publish(unique, bytes(1 << 20)) == "published"


@pytest.mark.parametrize("name", ["a.b", "*", ">", "", "x\r\nPUB y 0\r\n", "Grüße", "=2E", " "])
async def test_a_user_s_name_in_a_subject_is_only_that_name(
    name: str, oracle: Oracle, url: str, unique: str
) -> None:
    async with two("ours-theirs", oracle, url) as (sender, receiver):
        right = await receiver.subscribe(f"{unique}.{escape(name)}")
        everything = await receiver.subscribe(f"{unique}.>")
        assert await sender.publish(f"{unique}.{escape(name)}", b"1") == "published"
        assert (await receiver.next(right))[1] == b"1"
        assert (await receiver.next(everything))[0] == f"{unique}.{escape(name)}"
        await receiver.unsubscribe(right)
        await receiver.unsubscribe(everything)


async def test_64_requests_in_flight_have_each_its_own_reply(
    oracle: Oracle, url: str, unique: str
) -> None:
    async with two("ours-theirs", oracle, url) as (sender, receiver):
        await receiver.answer(unique)
        replies: dict[int, object] = {}

        async def ask(number: int) -> None:
            replies[number] = (await sender.request(unique, b"%d" % number, 5.0))[0]

        async with trio.open_nursery() as nursery:
            for number in range(64):
                nursery.start_soon(ask, number)
        assert replies == {number: b"re:%d" % number for number in range(64)}


async def test_a_request_that_is_cancelled_is_forgotten_and_its_reply_ignored(
    url: str, unique: str
) -> None:
    async with Client(url) as client:
        subscription = client.subscribe(unique)
        with trio.move_on_after(0.05):
            await client.request(unique, b"1")
        message = await subscription.receive()
        client.publish(message.reply, b"too late")
        client.listen(f"{unique}.x", lambda message: client.publish(message.reply, b"right"))
        assert (await client.request(f"{unique}.x")).data == b"right"
        assert len(client.requests) == 0
