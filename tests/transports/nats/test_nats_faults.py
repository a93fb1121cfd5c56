"""Servers that are killed, paused, and told to go: what the client does, and what it says."""

import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from transports.nats import (
    Client,
    Connected,
    Disconnected,
    Failed,
    LameDuck,
    Settings,
    UserPassword,
)
from transports.nats.engine import Cluster, Server
from transports.nats.errors import (
    ApiError,
    AuthorizationViolation,
    NoResponders,
    NotConnected,
    OutboxFull,
    OutcomeUnknown,
    PayloadTooLarge,
    RequestTimeout,
)
from transports.nats.jetstream import JetStream
from transports.nats.jetstream_types import ConsumerConfig, StreamConfig
from transports.nats.kv import KeyValue
from transports.nats.kv_types import Entry

QUICK = Settings(ping_every=0.1, connect_within=0.3, backoff=0.01, backoff_at_most=0.05)


class Events:
    """What a client has reported, and a way to wait for more."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._changed = trio.Event()

    def __call__(self, event: object) -> None:
        self.all.append(event)
        self._changed.set()

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.all if isinstance(event, kind)]

    async def wait(self, kind: type, count: int = 1) -> Any:
        with trio.fail_after(20):
            while len(self.of(kind)) < count:
                self._changed = trio.Event()
                await self._changed.wait()
        return self.of(kind)[count - 1]


@asynccontextmanager
async def connected(
    *urls: str, settings: Settings = QUICK, **options: Any
) -> AsyncIterator[tuple[Client, Events]]:
    events = Events()
    with trio.fail_after(45):
        async with Client(list(urls), settings=settings, on_event=events, **options) as client:
            yield client, events


# -- one server


async def test_a_killed_server_that_comes_back_is_found_again_with_all_subscriptions() -> None:
    async with Server(jetstream=False) as server, connected(server.url) as (client, events):
        subscription = client.subscribe("a.*")
        group = client.subscribe("a.*", queue="q")
        client.listen("echo", lambda each: client.publish(each.reply, each.data))
        await client.request("echo", b"1")
        server.kill()
        await events.wait(Disconnected)
        assert not client.is_connected
        # What is published meanwhile waits.
        for number in range(10):
            client.publish("a.b", b"%d" % number)
        client.subscribe("later")
        await server.start()
        await events.wait(Connected, 2)
        assert [event.again for event in events.of(Connected)] == [False, True]
        for each in (subscription, group):
            assert [(await each.receive()).data for _ in range(10)] == [
                b"%d" % number for number in range(10)
            ]
        assert (await client.request("echo", b"2")).data == b"2"
        assert client.statistics.reconnects == 1


async def test_a_request_in_flight_when_the_server_is_killed_has_an_unknown_outcome() -> None:
    async with Server(jetstream=False) as server, connected(server.url) as (client, events):
        heard = client.subscribe("service")
        await client.flush()
        errors: list[BaseException] = []

        async def ask() -> None:
            try:
                await client.request("service", timeout=600)
            except OutcomeUnknown as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
            for _ in range(3):
                await heard.receive()
            server.kill()
        assert [error.subject for error in errors] == 3 * ["service"]  # type: ignore[attr-defined]
        assert (await events.wait(Disconnected)).in_flight == 3
        assert len(client.requests) == 0


async def test_a_request_without_a_connection_is_sent_once_when_there_is_one() -> None:
    async with Server(jetstream=False) as server, connected(server.url) as (client, events):
        seen: list[bytes] = []

        def service(message: Any) -> None:
            seen.append(message.data)
            client.publish(message.reply, b"re:" + message.data)

        client.listen("service", service)
        await client.flush()
        server.kill()
        await events.wait(Disconnected)
        with pytest.raises(RequestTimeout):
            await client.request("service", b"given up", timeout=0.05)
        replies = []

        async def ask() -> None:
            replies.append((await client.request("service", b"kept", timeout=20)).data)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await server.start()
        assert replies == [b"re:kept"]
        assert seen == [b"kept"]


async def test_an_outbox_that_is_full_without_a_connection_says_so_and_loses_nothing() -> None:
    settings = Settings(outbox=2000, backoff=0.01, backoff_at_most=0.05)
    async with (
        Server(jetstream=False) as server,
        connected(server.url, settings=settings) as (client, events),
    ):
        subscription = client.subscribe("a")
        await client.flush()
        server.kill()
        await events.wait(Disconnected)
        taken = 0
        with pytest.raises(OutboxFull) as caught:
            while True:
                client.publish("a", b"%03d" % taken + bytes(100))
                taken += 1
        assert caught.value.data[:3] == b"%03d" % taken
        assert taken > 10

        async def wait_for_room() -> None:
            await client.send("a", b"%03d" % taken + bytes(100))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_room)
            await server.start()
        numbers = [int((await subscription.receive()).data[:3]) for _ in range(taken + 1)]
        assert numbers == [*range(taken + 1)]


async def test_what_is_written_in_part_when_the_server_dies_is_written_again() -> None:
    async with Server(jetstream=False) as server, connected(server.url) as (client, events):
        subscription = client.subscribe("a")
        await client.flush()
        server.pause()
        # Far more than the buffers of the sockets: the rest is in the outbox.
        for number in range(7):
            client.publish("a", b"%d" % number + bytes(1_000_000))
        await events.wait(Disconnected)
        server.kill()
        await server.start()
        await events.wait(Connected, 2)
        last = (await subscription.receive()).data[:1]
        while last != b"6":
            following = (await subscription.receive()).data[:1]
            assert int(following) == int(last) + 1
            last = following


async def test_nothing_waits_for_another_connection_if_that_is_not_wanted() -> None:
    """Not what was not written, nor what waited for room: the next connection begins empty."""
    settings = attrs.evolve(QUICK, offline=False, outbox=2_000_000)
    async with (
        Server(jetstream=False) as server,
        connected(server.url, settings=settings) as (client, events),
    ):
        ended: list[type] = []

        async def ask(data: bytes) -> None:
            try:
                await client.request("service", data, timeout=600)
            except (NotConnected, OutcomeUnknown) as error:
                ended.append(type(error))

        heard = client.subscribe("service")
        await client.flush()
        server.pause()
        async with trio.open_nursery() as nursery:
            # The sockets have the first of them; of the second there is a part in the outbox.
            for number in range(12):
                nursery.start_soon(ask, b"%d" % number + bytes(1_000_000))
                await trio.testing.wait_all_tasks_blocked()
        assert NotConnected in ended
        assert len(ended) == 12
        written = 12 - ended.count(NotConnected)
        server.resume()
        await events.wait(Connected, 2)
        await client.flush()
        assert client.outbox.size == 0
        assert heard.pending <= written


async def test_what_waits_and_is_too_large_for_the_next_server_is_reported() -> None:
    async with Server(jetstream=False) as server, connected(server.url) as (client, events):
        subscription = client.subscribe("a")
        await client.flush()
        server.kill()
        await events.wait(Disconnected)
        client.publish("a", bytes(2000))
        client.publish("a", b"small")
        server.config = "max_payload: 1000"
        await server.start()
        failed = await events.wait(Failed)
        assert isinstance(failed.error, PayloadTooLarge)
        assert (failed.error.subject, failed.error.size) == ("a", 2000)
        assert (await subscription.receive()).data == b"small"
        with pytest.raises(PayloadTooLarge):
            client.publish("a", bytes(2000))


async def test_a_paused_server_is_given_up_and_found_again_when_it_goes_on() -> None:
    async with Server(jetstream=False) as server, connected(server.url) as (client, events):
        subscription = client.subscribe("a")
        await client.flush()
        server.pause()
        gone = await events.wait(Disconnected)
        assert "PINGs without an answer" in gone.why
        client.publish("a", b"waits")
        server.resume()
        await events.wait(Connected, 2)
        assert (await subscription.receive()).data == b"waits"


async def test_credentials_that_are_taken_away_are_reported_until_they_are_back() -> None:
    def users(*names: str) -> str:
        lines = ", ".join(f'{{ user: "{name}", password: "x" }}' for name in names)
        return f"authorization {{ users: [ {lines} ] }}"

    async with (
        Server(config=users("me", "other"), jetstream=False) as server,
        connected(server.url, credentials=UserPassword("me", "x")) as (client, events),
    ):
        subscription = client.subscribe("a")
        await client.flush()
        server.reload(users("other"))
        await events.wait(Disconnected)
        client.publish("a", b"waits")
        while not any(isinstance(each.error, AuthorizationViolation) for each in events.of(Failed)):
            await events.wait(Failed, len(events.of(Failed)) + 1)
        server.reload(users("me", "other"))
        await events.wait(Connected, 2)
        assert (await subscription.receive()).data == b"waits"


async def test_a_connection_that_is_cut_off_again_and_again_loses_no_subscription() -> None:
    async with Server(jetstream=False) as server, connected(server.url) as (client, events):
        subscription = client.subscribe("a")
        for number in range(20):
            client.reconnect()
            await events.wait(Disconnected, number + 1)
            client.publish("a", b"%d" % number)
            assert (await subscription.receive()).data == b"%d" % number
        assert client.statistics.reconnects == 20


async def test_of_thousands_of_requests_under_faults_none_is_handled_twice() -> None:
    handled: dict[bytes, int] = {}
    answered: list[bytes] = []
    stop = trio.Event()
    async with (
        Server(jetstream=False) as server,
        connected(server.url) as (client, events),
        connected(server.url) as (service, theirs),
    ):

        def answer(message: Any) -> None:
            handled[message.data] = handled.get(message.data, 0) + 1
            service.publish(message.reply, message.data)

        service.listen("service", answer)
        await service.flush()

        async def ask(name: int) -> None:
            number = 0
            while not stop.is_set():
                number += 1
                data = b"%d.%d" % (name, number)
                try:
                    # A reply may be lost with the connection of the service: at most once.
                    reply = await client.request("service", data, timeout=1)
                except (OutcomeUnknown, RequestTimeout):
                    pass
                except NoResponders:
                    assert data not in handled
                    await trio.sleep(0.005)
                else:
                    assert reply.data == data
                    answered.append(data)

        async with trio.open_nursery() as nursery:
            for name in range(32):
                nursery.start_soon(ask, name)
            for fault in ("kill", "cut", "pause", "cut theirs", "kill", "pause", "cut"):
                enough = len(answered) + 300
                while len(answered) < enough:
                    await trio.sleep(0.002)
                before = len(events.of(Disconnected)), len(theirs.of(Disconnected))
                if fault == "kill":
                    server.kill()
                    await server.start()
                elif fault == "pause":
                    server.pause()
                elif fault == "cut":
                    client.reconnect()
                else:
                    service.reconnect()
                if fault != "cut theirs":
                    await events.wait(Disconnected, before[0] + 1)
                if fault != "cut":
                    await theirs.wait(Disconnected, before[1] + 1)
                server.resume()
            stop.set()
        assert len(answered) >= 2100
        assert {*handled.values()} == {1}
        assert all(data in handled for data in answered)
        assert len(client.requests) == 0
        assert client.outbox.size == 0


# -- a cluster of three


@pytest.fixture(scope="module")
def cluster() -> Any:
    cluster = Cluster(config="lame_duck_duration: 30s, lame_duck_grace_period: 1s")
    trio.run(cluster.start)
    yield cluster
    cluster.close()


@asynccontextmanager
async def all_running(cluster: Cluster) -> AsyncIterator[list[Server]]:
    """The servers; those that are killed are started again at the end."""
    try:
        yield cluster.servers
    finally:
        with trio.CancelScope(shield=True):
            for server in cluster.servers:
                server.resume()
                if not server.is_running:
                    await server.start()


async def until(function: Callable[[], Any]) -> Any:
    """What it returns when JetStream has its leaders; nothing that is tried twice matters."""
    with trio.fail_after(30):
        while True:
            try:
                return await function()
            except (ApiError, NoResponders, RequestTimeout, OutcomeUnknown):
                await trio.sleep(0.05)


async def test_a_client_with_one_url_finds_the_others_when_that_server_is_killed(
    cluster: Cluster,
) -> None:
    async with all_running(cluster) as servers, connected(servers[0].url) as (client, events):
        subscription = client.subscribe("a")
        with trio.fail_after(10):
            while len(client.pool) < 3:
                await client.flush()
        servers[0].kill()
        await events.wait(Connected, 2)
        assert client.server in {f"127.0.0.1:{each.port}" for each in servers[1:]}
        client.publish("a", b"x")
        assert (await subscription.receive()).data == b"x"


async def test_a_paused_server_is_left_for_another_one(cluster: Cluster) -> None:
    async with all_running(cluster) as servers, connected(*cluster.urls) as (client, events):
        [paused] = [each for each in servers if client.server == f"127.0.0.1:{each.port}"]
        client.listen("echo", lambda each: client.publish(each.reply, each.data))
        await client.flush()
        paused.pause()
        await events.wait(Connected, 2)
        assert client.server != f"127.0.0.1:{paused.port}"
        assert (await client.request("echo", b"x")).data == b"x"


async def test_a_lame_duck_is_left_without_a_request_that_fails(cluster: Cluster) -> None:
    async with (
        all_running(cluster) as servers,
        connected(*cluster.urls) as (client, events),
        connected(*cluster.urls) as (service, others),
    ):
        # The service stays where it is.
        while service.server == client.server:
            count = len(others.of(Connected))
            service.reconnect()
            await others.wait(Connected, count + 1)
        [lame] = [each for each in servers if client.server == f"127.0.0.1:{each.port}"]
        release = trio.Event()
        late: list[str] = []

        def answer(message: Any) -> None:
            if message.data == b"late":
                late.append(message.reply)
            else:
                service.publish(message.reply, message.data)

        # What the servers tell each other of subscriptions, they tell in this order.
        arrived = service.subscribe("numbers", capacity=1_000_000)
        service.listen("service", answer)
        await until(lambda: client.request("service", b"first"))
        answered = []

        async def ask_late() -> None:
            answered.append((await client.request("service", b"late", timeout=20)).data)

        async def ask_on() -> None:
            number = 0
            while not release.is_set():
                number += 1
                reply = await client.request("service", b"%d" % number, timeout=20)
                assert reply.data == b"%d" % number
            answered.append(b"others")

        async def publish_on() -> None:
            number = 0
            while not release.is_set():
                for _ in range(10):
                    client.publish("numbers", b"%d" % number)
                    number += 1
                await client.flush()
            for each in range(number):
                assert (await arrived.receive()).data == b"%d" % each
            answered.append(b"published")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_late)
            nursery.start_soon(ask_on)
            nursery.start_soon(publish_on)
            while not late:
                await trio.sleep(0.01)
            lame.lame_duck()
            await events.wait(LameDuck)
            # It was asked before the client leaves, and is answered before it has left.
            service.publish(late[0], b"done")
            await events.wait(Connected, 2)
            release.set()
        assert sorted(answered) == [b"done", b"others", b"published"]
        assert client.server != f"127.0.0.1:{lame.port}"
        assert events.of(Disconnected)[0].why == "the server is about to go"
        lame.kill()


@pytest.mark.long
async def test_nothing_acknowledged_is_lost_and_a_watch_goes_on_when_their_leader_is_killed(
    cluster: Cluster,
) -> None:
    async with all_running(cluster) as servers, connected(*cluster.urls) as (client, _):
        jetstream = JetStream(client, timeout=2)
        config = StreamConfig(name="WORK", subjects=["work.*"], retention="workqueue", replicas=3)
        info = await until(lambda: jetstream.create_stream(config))
        consumer = await until(
            lambda: jetstream.create_consumer("WORK", ConsumerConfig(name="c", ack_wait=5))
        )
        kv = await until(lambda: KeyValue.create_bucket(client, "names", replicas=3, timeout=2))
        await until(lambda: led_by(kv, info.leader))
        [leader] = [each for each in servers if each.name == info.leader]
        acknowledged: list[int] = []
        handled: list[int] = []
        newest: dict[str, int] = {}

        async def publish_all() -> None:
            for number in range(100):
                # The same message id: what was stored already is not stored twice.
                await until(
                    lambda data=b"%d" % number: jetstream.publish(  # type: ignore[misc]
                        "work.a", data, message_id=data.decode()
                    )
                )
                acknowledged.append(number)
                await until(lambda value=b"%d" % number: kv.put("newest", value))  # type: ignore[misc]

        async def work() -> None:
            while len({*handled}) < 100:
                for message in await until(lambda: consumer.fetch(20, expires=1.0, heartbeat=0.2)):
                    handled.append(int(message.data))
                    await until(message.ack_sync)

        async def watch() -> None:
            async with kv.watch(heartbeat=0.2) as watching:
                async for event in watching:
                    if isinstance(event, Entry):
                        assert int(event.value) >= newest.get(event.key, 0)
                        newest[event.key] = int(event.value)
                        if newest[event.key] == 99:
                            return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            nursery.start_soon(publish_all)
            nursery.start_soon(work)
            while len(acknowledged) < 30:
                await trio.sleep(0.005)
            leader.kill()
        assert acknowledged == [*range(100)]
        # An acknowledgement that was lost with the leader has its message handled again.
        assert sorted({*handled}) == [*range(100)]
        assert newest == {"newest": 99}


async def led_by(kv: KeyValue, name: str) -> None:
    """Have a server lead the stream of a bucket."""
    if (await kv.info()).leader != name:
        with contextlib.suppress(ApiError):
            await kv.jetstream.api(
                f"STREAM.LEADER.STEPDOWN.{kv.stream}", {"placement": {"preferred": name}}
            )
        raise NoResponders("not yet")


# -- the engine


async def test_a_server_leaves_no_file_and_no_process_behind() -> None:
    async with Server() as server:
        folder = server._path
        assert folder.exists()
        process = server._process
    assert process is not None
    assert process.returncode is not None
    assert not folder.exists()


async def test_a_server_ends_with_the_process_that_has_started_it_however_that_ends(
    repository: Path,
) -> None:
    code = (
        "import sys, trio; from transports.nats.engine import Server; server = Server();"
        "trio.run(server.start); print(server.process_id, server._path, flush=True);"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=repository,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        number, folder = process.stdout.readline().split()
        assert Path(folder).is_dir()
        os.kill(int(number), 0)
        process.kill()
    with trio.fail_after(10):
        while Path(folder).exists() or is_there(int(number)):
            await trio.sleep(0.01)


def is_there(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


async def test_a_restarted_server_has_its_port_and_what_it_stored() -> None:
    async with Server() as server:
        port = server.port
        async with Client(server.url) as client:
            await KeyValue.create_bucket(client, "b")
            await KeyValue(client, "b").put("a", b"stored")
        await server.restart()
        assert server.port == port
        async with Client(server.url) as client:
            assert (await KeyValue(client, "b").get("a")).value == b"stored"


async def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(OSError, match="Parse error"):
        async with Server(config="nonsense: yes: no"):
            pass
