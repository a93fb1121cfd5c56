"""Buckets: the same as nats-py sees, and what only our client says."""

from typing import Any

import nats.js.errors
import pytest
import trio

from tests.transports.nats.oracle import Oracle
from transports.nats import Client
from transports.nats.engine import Server
from transports.nats.errors import (
    ApiError,
    InvalidSubject,
    KeyExists,
    KeyNotFound,
    WrongRevision,
)
from transports.nats.kv import KeyValue
from transports.nats.kv_types import Entry, Operation
from transports.nats.protocol import Message
from transports.nats.subjects import escape
from transports.nats.watch import INITIAL_DONE, Watch


@pytest.fixture
def url(nats_server: Server) -> str:
    return nats_server.url


class Ours:
    def __init__(self, client: Client) -> None:
        self.client = client

    async def bucket(self, name: str) -> None:
        self.kv = await KeyValue.create_bucket(self.client, name, history=3, storage="memory")

    async def call(self, what: str, *args: Any) -> object:
        if what == "delete_if":
            what, named = "delete", {"revision": args[1]}
            args = args[:1]
        else:
            named = {}
        try:
            result = await getattr(self.kv, what)(*args, **named)
        except WrongRevision:
            return "wrong revision"
        except KeyNotFound:
            return "not found"
        if isinstance(result, Entry):
            return result.key, result.value, result.revision
        return None if what in {"delete", "purge"} else result

    async def watched(self) -> list[object]:
        seen: list[object] = []
        async with self.kv.watch() as watch:
            async for event in watch:
                if event is INITIAL_DONE:
                    return seen
                assert isinstance(event, Entry)
                seen.append((event.key, event.value, event.revision, event.operation.value))
        raise AssertionError


class Theirs:
    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle

    async def bucket(self, name: str) -> None:
        async def create() -> Any:
            jetstream = self.oracle.client.jetstream()
            return await jetstream.create_key_value(
                bucket=name, history=3, storage="memory", direct=True
            )

        self.kv = await self.oracle.run(create)

    async def call(self, what: str, *args: Any) -> object:
        async def call() -> Any:
            if what == "delete_if":
                return await self.kv.delete(args[0], last=args[1])
            return await getattr(self.kv, what)(*args)

        try:
            result = await self.oracle.run(call)
        except nats.js.errors.KeyWrongLastSequenceError:
            return "wrong revision"
        except (nats.js.errors.KeyNotFoundError, nats.js.errors.KeyDeletedError):
            return "not found"
        except nats.js.errors.APIError as error:
            assert error.err_code == 10071
            return "wrong revision"
        if what == "get":
            return result.key, result.value, result.revision
        if what == "keys":
            return sorted(result)
        return None if what in {"delete", "delete_if", "purge"} else result

    async def watched(self) -> list[object]:
        async def watch() -> list[object]:
            seen: list[object] = []
            watcher = await self.kv.watchall()
            async for entry in watcher:
                if entry is None:
                    break
                operation = entry.operation or "PUT"
                value = entry.value or b""
                seen.append((entry.key, value, entry.revision, operation))
            await watcher.stop()
            return seen

        return await self.oracle.run(watch)


SCRIPT: list[tuple[object, ...]] = [
    ("get", "a"),
    ("put", "a", b"1"),
    ("get", "a"),
    ("create", "a", b"2"),
    ("update", "a", b"3", 7),
    ("update", "a", b"3", 1),
    ("get", "a"),
    ("delete_if", "a", 1),
    ("delete", "a"),
    ("get", "a"),
    ("update", "a", b"4", 2),
    ("create", "a", b"5"),
    ("purge", "a"),
    ("create", "a", b"6"),
    ("create", "b.c/d=e_f-g", b""),
    ("put", "c", b"x" * 1000),
    ("delete", "c"),
    ("get", "c"),
    ("keys",),
]


async def test_a_bucket_is_seen_the_same_through_both_clients(
    url: str, oracle: Oracle, unique: str
) -> None:
    async with Client(url) as client:
        ours, theirs = Ours(client), Theirs(oracle)
        await ours.bucket(f"{unique}a")
        await theirs.bucket(f"{unique}b")
        for step in SCRIPT:
            what, *args = step
            mine = await ours.call(str(what), *args)
            other = await theirs.call(str(what), *args)
            assert mine == other, step
        assert await ours.watched() == await theirs.watched()
        # And each the other's bucket.
        ours.kv, theirs.kv = KeyValue(client, f"{unique}b"), ours.kv
        await theirs_bucket(theirs, f"{unique}a")
        assert await ours.call("get", "a") == await theirs.call("get", "a")
        assert await ours.watched() == await theirs.watched()


async def theirs_bucket(theirs: Theirs, name: str) -> None:
    async def bind() -> Any:
        return await theirs.oracle.client.jetstream().key_value(name)

    theirs.kv = await theirs.oracle.run(bind)


async def take(watch: Watch, count: int) -> list[tuple[str, bytes, str] | None]:
    """The next events: key, value, operation; None: INITIAL_DONE."""
    seen: list[tuple[str, bytes, str] | None] = []
    with trio.fail_after(10):
        while len(seen) < count:
            event = await watch.__anext__()
            if isinstance(event, Entry):
                seen.append((event.key, event.value, event.operation.name))
            else:
                seen.append(None)
    return seen


async def test_only_one_of_many_creates_a_key(url: str, unique: str) -> None:
    async with Client(url) as client:
        kv = await KeyValue.create_bucket(client, unique, storage="memory")
        await kv.put("lease", b"old")
        await kv.delete("lease")
        won: list[int] = []

        async def create(number: int) -> None:
            try:
                await kv.create("lease", b"%d" % number)
            except KeyExists as error:
                assert (error.bucket, error.key) == (unique, "lease")
            else:
                won.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(16):
                nursery.start_soon(create, number)
        [winner] = won
        assert (await kv.get("lease", from_leader=True)).value == b"%d" % winner


async def test_of_many_updates_of_one_revision_one_succeeds(url: str, unique: str) -> None:
    async with Client(url) as client:
        kv = await KeyValue.create_bucket(client, unique, storage="memory")
        revision = await kv.create("lease", b"")
        won: list[int] = []

        async def update(number: int) -> None:
            try:
                await kv.update("lease", b"%d" % number, revision)
            except WrongRevision as error:
                assert error.revision == revision
            else:
                won.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(16):
                nursery.start_soon(update, number)
        assert len(won) == 1


async def test_a_value_ends_with_its_own_time_and_a_watch_sees_it(url: str, unique: str) -> None:
    async with Client(url) as client:
        kv = await KeyValue.create_bucket(client, unique, marker_ttl=5, storage="memory")
        await kv.put("stays", b"1")
        async with kv.watch() as watch:
            assert await take(watch, 2) == [("stays", b"1", "PUT"), None]
            await kv.create("lease", b"mine", ttl=1)
            assert await take(watch, 2) == [
                ("lease", b"mine", "PUT"),
                ("lease", b"", "EXPIRED"),
            ]
            with pytest.raises(KeyNotFound):
                await kv.get("lease")
            # The marker of the server is in its place.
            await kv.create("lease", b"yours", ttl=60)
            assert await take(watch, 1) == [("lease", b"yours", "PUT")]
        assert await kv.keys() == ["lease", "stays"]


async def test_a_value_does_not_end_before_its_time_also_if_that_is_no_whole_second(
    url: str, unique: str
) -> None:
    async with Client(url) as client:
        kv = await KeyValue.create_bucket(client, unique, marker_ttl=5, storage="memory")
        async with kv.watch() as watch:
            assert await take(watch, 1) == [None]
            await kv.create("longer", b"", ttl=1.9)
            await kv.create("shorter", b"", ttl=1)
            assert await take(watch, 4) == [
                ("longer", b"", "PUT"),
                ("shorter", b"", "PUT"),
                ("shorter", b"", "EXPIRED"),
                ("longer", b"", "EXPIRED"),
            ]


async def test_a_watch_says_what_there_is_then_what_changes(url: str, unique: str) -> None:
    async with Client(url) as client:
        kv = await KeyValue.create_bucket(client, unique, history=5, storage="memory")
        async with kv.watch() as empty:
            assert await take(empty, 1) == [None]
            await kv.put("n.a", b"1")
            await kv.put("n.a", b"2")
            await kv.put("m.b", b"3")
            async with kv.watch("n.*") as some, kv.watch(headers_only=True) as bare:
                assert await take(some, 2) == [("n.a", b"2", "PUT"), None]
                assert await take(bare, 3) == [("n.a", b"", "PUT"), ("m.b", b"", "PUT"), None]
                await kv.purge("n.a")
                await kv.delete("m.b")
                assert await take(some, 1) == [("n.a", b"", "PURGE")]
            assert await take(empty, 5) == [
                ("n.a", b"1", "PUT"),
                ("n.a", b"2", "PUT"),
                ("m.b", b"3", "PUT"),
                ("n.a", b"", "PURGE"),
                ("m.b", b"", "DELETE"),
            ]
            assert empty.restarts == 0
        assert client.when_connected == []


async def test_a_watch_of_many_keys_is_complete(url: str, unique: str) -> None:
    async with Client(url) as client:
        kv = await KeyValue.create_bucket(client, unique, storage="memory")
        async with trio.open_nursery() as nursery:
            for number in range(300):
                nursery.start_soon(kv.put, f"k{number}", bytes(1000))
        async with kv.watch() as watch:
            seen = await take(watch, 301)
            assert seen[-1] is None
            assert sorted(each[0] for each in seen if each) == sorted(f"k{n}" for n in range(300))
            assert watch.restarts == 0


async def test_keys_that_are_written_while_a_watch_begins_are_in_what_it_says_first(
    url: str, unique: str
) -> None:
    async with Client(url) as client, Client(url) as other:
        kv = await KeyValue.create_bucket(client, unique, storage="memory")
        theirs = KeyValue(other, unique)
        keys = [f"k{number}" for number in range(300)]
        for key in keys:
            await kv.put(key, b"")

        async def write(keys: list[str]) -> None:
            while True:
                for key in keys:
                    await kv.put(key, b"")

        async with trio.open_nursery() as nursery:
            for start in range(8):
                nursery.start_soon(write, keys[start::8])
            # Each of some 25 is incomplete, by what the server gives out.
            for _ in range(200):
                assert sorted(await theirs.keys()) == sorted(keys)
            nursery.cancel_scope.cancel()


async def test_what_a_server_that_lags_does_not_know_of_is_not_gone(url: str, unique: str) -> None:
    async with Client(url) as client:
        kv = await KeyValue.create_bucket(client, unique, storage="memory")
        await kv.put("a", b"1")
        await kv.put("b", b"2")
        async with kv.watch() as watch:
            assert await take(watch, 3) == [("a", b"1", "PUT"), ("b", b"2", "PUT"), None]
            came = watch._came

            def lags(message: Message) -> None:
                tokens = message.reply.split(".")
                if message.subject.endswith(".a"):
                    place = 8 if len(tokens) == 9 else 10
                    message.reply = ".".join([*tokens[:place], "0", *tokens[place + 1 :]])
                    came(message)

            # Another server gives out all that there is, and does not know of "b" yet.
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(watch, "_came", lags)
                client.reconnect()
                with trio.move_on_after(0.5):
                    assert await take(watch, 1) == []
            assert watch.restarts == 1
            await kv.put("c", b"3")
            assert await take(watch, 1) == [("c", b"3", "PUT")]


async def test_a_watch_finds_that_a_message_is_missing_and_asks_again(
    url: str, unique: str
) -> None:
    async with Client(url) as client:
        kv = await KeyValue.create_bucket(client, unique, storage="memory")
        await kv.put("a", b"1")
        async with kv.watch() as watch:
            assert await take(watch, 2) == [("a", b"1", "PUT"), None]
            await kv.put("a", b"lost")
            await kv.put("b", b"2")
            while not watch._messages or watch._messages[-1].data != b"2":
                await trio.lowlevel.checkpoint()
            watch._messages.popleft()
            assert await take(watch, 2) == [("a", b"lost", "PUT"), ("b", b"2", "PUT")]
            assert watch.restarts == 1


async def test_a_heartbeat_tells_of_the_last_message_that_is_missing(url: str, unique: str) -> None:
    async with Client(url) as client:
        kv = await KeyValue.create_bucket(client, unique, storage="memory")
        async with kv.watch(heartbeat=0.3) as watch:
            assert await take(watch, 1) == [None]
            await kv.put("a", b"lost")
            while all(message.status for message in watch._messages):
                await trio.lowlevel.checkpoint()
            watch._messages.clear()
            assert await take(watch, 1) == [("a", b"lost", "PUT")]
            assert watch.restarts == 1


async def test_a_watch_sees_after_a_new_connection_what_it_has_missed(
    url: str, unique: str
) -> None:
    async with Client(url) as client, Client(url) as other:
        kv = await KeyValue.create_bucket(client, unique, storage="memory")
        theirs = KeyValue(other, unique)
        for key in ("same", "changed", "deleted", "vanished"):
            await kv.put(key, b"1")
        async with kv.watch() as watch:
            assert len(await take(watch, 5)) == 5
            client.reconnect()
            await theirs.put("changed", b"2")
            await theirs.delete("deleted")
            await theirs.jetstream.purge_stream(theirs.stream, subject=theirs.prefix + "vanished")
            await theirs.put("new", b"3")
            await client.wait_connected()
            assert sorted(each for each in await take(watch, 4) if each) == [
                ("changed", b"2", "PUT"),
                ("deleted", b"", "DELETE"),
                ("new", b"3", "PUT"),
                ("vanished", b"", "EXPIRED"),
            ]
            await theirs.put("same", b"4")
            assert await take(watch, 1) == [("same", b"4", "PUT")]


async def test_a_watch_of_a_bucket_that_is_deleted_ends_with_an_error(
    url: str, unique: str
) -> None:
    async with Client(url) as client:
        kv = await KeyValue.create_bucket(client, unique, storage="memory")
        async with kv.watch(heartbeat=0.1) as watch:
            assert await take(watch, 1) == [None]
            await kv.delete_bucket()
            with trio.fail_after(10), pytest.raises(ApiError) as caught:
                await watch.__anext__()
            assert caught.value.code == 404
        with pytest.raises(ApiError):
            async with kv.watch():
                pass
        assert client.when_connected == []


async def test_a_bucket_is_made_once_and_another_of_its_name_is_refused(
    url: str, unique: str
) -> None:
    async with Client(url) as client:
        for _ in range(2):
            await KeyValue.create_bucket(client, unique, ttl=60, storage="memory")
        with pytest.raises(ApiError):
            await KeyValue.create_bucket(client, unique, ttl=61, storage="memory")
        info = await KeyValue(client, unique).info()
        assert info.config["max_age"] == 60_000_000_000


@pytest.mark.parametrize("key", ["", ".a", "a.", "a..b", "a b", "a*", ">", "ü", "a\r\nb"])
async def test_what_is_no_key_is_refused_but_any_name_can_be_one(
    key: str, url: str, unique: str
) -> None:
    async with Client(url) as client:
        kv = await KeyValue.create_bucket(client, f"{unique}", storage="memory")
        with pytest.raises(InvalidSubject):
            await kv.put(key, b"")
        await kv.put(f"n.{escape(key)}", b"x")
        assert await kv.keys() == [f"n.{escape(key)}"]


async def test_nonsense_is_refused(url: str) -> None:
    client = Client(url)
    for wrong in ({"history": 0}, {"history": 65}, {"marker_ttl": 0.5}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            await KeyValue.create_bucket(client, "b", **wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidSubject):
        KeyValue(client, "a.b")
    with pytest.raises(ValueError, match="ttl"):
        await KeyValue(client, "b").put("a", b"", ttl=0.5)
    with pytest.raises(ValueError, match="heartbeat"):
        KeyValue(client, "b").watch(heartbeat=0)


def test_operations_have_the_words_of_the_protocol() -> None:
    assert [each.value for each in Operation] == ["PUT", "DEL", "PURGE", "MaxAge"]
