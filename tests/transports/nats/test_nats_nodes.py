"""Nodes that meet over NATS: a real server, which is killed, paused, and full of noise."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from actors import (
    Actor,
    ActorStopped,
    ActorSystem,
    DeadLetterReason,
    NodeDown,
    NotAnActor,
    Terminated,
)
from tests.transports.kit import Do, Get, Remote
from transports import CannotJoin, Lease, Limits, Singleton
from transports.nats import Client, KeyValue, Nats
from transports.nats.engine import Cluster, Server
from transports.nats.kv_types import Entry

pytestmark = pytest.mark.timeout(60)

LIMITS = Limits(lost_after=20.0, dial_at_most=0.1, leave_within=1.0, resend_after=0.2)


async def until(holds: Callable[[], bool], within: float = 20.0) -> None:
    """What is awaited here is known to another process only."""
    with trio.fail_after(within):
        while not holds():
            await trio.sleep(0.005)


def node_of(system: ActorSystem) -> Nats:
    node = system._transport
    assert isinstance(node, Nats)
    return node


def accounted(system: ActorSystem) -> None:
    ledger = system.ledger
    assert (ledger.missing, ledger.queued, ledger.in_flight) == (0, 0, 0), ledger


def test_a_lease_that_the_store_cannot_keep_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 s"):
        Nats(cluster="c", lease=Lease(ttl=0.9))


async def test_nodes_of_a_cluster_meet_and_forget_who_has_left(
    nats_server: Server, unique: str
) -> None:
    async with ActorSystem("a", transport=Nats(nats_server.url, cluster=unique)) as a:
        a.spawn(Remote, name="actor")
        async with ActorSystem("b", transport=Nats(nats_server.url, cluster=unique)) as b:
            with trio.fail_after(10):
                await node_of(b).reached("a")
                async with ActorSystem("c", transport=Nats(nats_server.url, cluster=unique)) as c:
                    for name in ("a", "b"):
                        await node_of(c).reached(name)
                    assert await c.at("actor://a/actor").ask(Do("sleep", 0)) == 0
                    assert sorted(node_of(a).nodes) == ["a", "b", "c"]
            await until(lambda: sorted(node_of(a).nodes) == ["a", "b"])
            await until(lambda: [link.peer for link in node_of(a).links() if link.up] == ["b"])
    for system in (a, b, c):
        accounted(system)


async def test_who_was_there_before_is_known_to_a_node_that_has_just_entered(
    nats_server: Server, unique: str
) -> None:
    async with ActorSystem("a", transport=Nats(nats_server.url, cluster=unique)) as a:
        a.spawn(Remote, name="actor")
        for name in ("b", "c"):
            async with ActorSystem(name, transport=Nats(nats_server.url, cluster=unique)) as late:
                assert await late.at("actor://a/actor").ask(Do("sleep", 0), timeout=10) == 0


async def test_a_node_keeps_a_session_in_the_store_from_its_first_region_on(
    nats_server: Server, unique: str
) -> None:
    transport = Nats(nats_server.url, cluster=unique, lease=Lease(ttl=1.5))
    async with (
        ActorSystem("a", transport=transport) as a,
        Client(nats_server.url) as client,
    ):
        bucket = KeyValue(client, transport.bucket_name)
        assert await bucket.keys() == ["node.a"]
        only = await a.start(Singleton, Remote, name="only")
        assert await only.ask(Do("sleep", 0), timeout=10) == 0
        kinds = sorted(key.split(".")[1] for key in await bucket.keys("lease.>"))
        assert kinds == ["owner", "session"]


async def test_clusters_on_one_server_know_nothing_of_each_other(
    nats_server: Server, unique: str
) -> None:
    async with (
        ActorSystem("a", transport=Nats(nats_server.url, cluster=f"{unique}-1")) as a,
        ActorSystem("b", transport=Nats(nats_server.url, cluster=f"{unique}-2")) as b,
        ActorSystem("c", transport=Nats(nats_server.url, cluster=f"{unique}-2")) as c,
    ):
        b.spawn(Remote, name="actor")
        with trio.fail_after(10):
            await node_of(c).reached("b")
        a.at("actor://b/actor").tell(Do("note", 1))
        assert await c.at("actor://b/actor").ask(Get()) == []
        assert [letter.reason for letter in a.dead_letters.recent] == [DeadLetterReason.NO_NODE]


@pytest.mark.parametrize("name", ["a.b", "=2E", "knoten-ä", "a+b,c=d:e@f", "x" * 200])
async def test_no_name_of_a_node_is_more_than_a_name(
    nats_server: Server, unique: str, name: str
) -> None:
    async with (
        ActorSystem(name, transport=Nats(nats_server.url, cluster=unique)) as odd,
        ActorSystem("plain", transport=Nats(nats_server.url, cluster=unique)) as plain,
    ):
        odd.spawn(Remote, name="actor")
        with trio.fail_after(10):
            await node_of(plain).reached(name)
        assert await plain.at(f"actor://{name}/actor").ask(Do("sleep", 0)) == 0


async def test_what_is_sent_while_the_server_is_restarted_arrives_once_and_in_order(
    unique: str,
) -> None:
    async with Server() as server:
        options: dict[str, Any] = {"cluster": unique, "limits": LIMITS}
        async with (
            ActorSystem("a", transport=Nats(server.url, **options)) as a,
            ActorSystem("b", transport=Nats(server.url, **options)) as b,
        ):
            b.spawn(Remote, name="actor")
            with trio.fail_after(10):
                await node_of(a).reached("b")
            ref = a.at("actor://b/actor")

            async def send() -> None:
                for number in range(300):
                    await ref.send(Do("note", number))
                    await trio.sleep(0.002)

            with trio.fail_after(40):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send)
                    for _ in range(2):
                        await trio.sleep(0.1)
                        server.kill()
                        await server.start()
                assert await ref.ask(Get(), timeout=None) == list(range(300))
    accounted(a)
    accounted(b)


async def test_a_server_that_stands_still_is_one_that_is_away(unique: str) -> None:
    async with Server() as server:
        options: dict[str, Any] = {
            "cluster": unique,
            "limits": attrs.evolve(LIMITS, heartbeat=0.3),
        }
        async with (
            ActorSystem("a", transport=Nats(server.url, **options)) as a,
            ActorSystem("b", transport=Nats(server.url, **options)) as b,
        ):
            b.spawn(Remote, name="actor")
            with trio.fail_after(10):
                await node_of(a).reached("b")
            link = next(node_of(a).links())
            server.pause()
            ref = a.at("actor://b/actor")
            ref.tell(Do("note", 1))
            await until(lambda: not link.up)
            ref.tell(Do("note", 2))
            server.resume()
            with trio.fail_after(20):
                assert await ref.ask(Get(), timeout=None) == [1, 2]
    accounted(a)
    accounted(b)


async def test_what_was_on_its_way_when_the_engine_is_gone_for_good_is_told_to_its_sender(
    unique: str,
) -> None:
    async with Server() as server:
        options: dict[str, Any] = {
            "cluster": unique,
            "limits": attrs.evolve(LIMITS, lost_after=0.5, leave_within=0.1),
        }
        async with (
            ActorSystem("a", transport=Nats(server.url, **options)) as a,
            ActorSystem("b", transport=Nats(server.url, **options)) as b,
        ):
            b.spawn(Remote, name="actor")
            with trio.fail_after(10):
                await node_of(a).reached("b")
            ref = a.at("actor://b/actor")
            heard: list[object] = []

            class Watcher(Actor):
                async def started(self) -> None:
                    self.context.watch(ref)

                def receive(self, message: object) -> None:
                    heard.append(message)

            await a.start(Watcher)
            server.kill()
            ref.tell(Do("note", 1))
            with trio.fail_after(20), pytest.raises(ActorStopped):
                await ref.ask(Get(), timeout=None)
            await until(lambda: len(heard) == 1)
            (ended,) = heard
            assert isinstance(ended, Terminated)
            assert isinstance(ended.reason, NodeDown)
            lost = list(a.dead_letters.recent)
            assert [letter.message for letter in lost] == [Do("note", 1), Get()]
            assert {letter.reason for letter in lost} == {DeadLetterReason.PEER_LOST}
            # And when it is back, so are they.
            await server.start()
            with trio.fail_after(30):
                await node_of(a).reached("b")
                assert await ref.ask(Get(), timeout=None) == []
    accounted(a)
    accounted(b)


async def test_of_two_processes_with_one_name_the_later_is_the_node(
    nats_server: Server, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "transports")
    options: dict[str, Any] = {"cluster": unique, "ttl": 1.0, "limits": LIMITS}
    async with (
        ActorSystem("other", transport=Nats(nats_server.url, **options)) as other,
        ActorSystem("same", transport=Nats(nats_server.url, **options)) as first,
    ):
        first.spawn(Remote, name="actor")
        with trio.fail_after(10):
            await node_of(other).reached("same")
        async with ActorSystem("same", transport=Nats(nats_server.url, **options)) as second:
            second.spawn(Remote, name="actor")
            later = node_of(second).incarnation
            assert later > node_of(first).incarnation
            await until(lambda: node_of(other).nodes.get("same") == later)
            await until(lambda: "another process has taken this name" in caplog.text)
            link = node_of(other)._links["same"]
            await until(
                lambda: (
                    link.session.peer is not None
                    and link.session.peer.incarnation == later
                    and link.up
                )
            )
            await other.at("actor://same/actor").send(Do("note", 5))
            assert await other.at("actor://same/actor").ask(Get()) == [5]
            assert await first.at("actor://same/actor").ask(Get()) == []


async def test_of_two_processes_with_one_name_the_later_answers_other_programs(
    nats_server: Server, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    options: dict[str, Any] = {"cluster": unique, "ttl": 1.0, "exposed": ["service://actor"]}
    async with (
        ActorSystem("same", transport=Nats(nats_server.url, **options)) as first,
        ActorSystem("same", transport=Nats(nats_server.url, **options)) as second,
        Client(nats_server.url) as client,
    ):
        seen: list[list[float]] = [[], []]
        for system, numbers in zip((first, second), seen, strict=True):
            system.register("service://actor", system.spawn(Remote, numbers, name="actor"))
        await until(lambda: "another process has taken this name" in caplog.text)
        # Now the server knows as well that the first one takes no more.
        await node_of(first)._client.flush()
        body = b'{"name": "kit.Do", "fields": {"what": "note", "number": 5}}'
        for _ in range(20):
            await client.request(f"trouper.{unique}.service.actor", body)
    assert seen == [[], [5] * 20]


async def test_of_a_node_whose_process_is_gone_it_is_said_that_it_is(
    nats_server: Server, unique: str
) -> None:
    node = Nats(nats_server.url, cluster=unique)
    async with ActorSystem("a", transport=node):
        await node.bucket.put("node.ghost", b'{"incarnation": 5}')
        await until(lambda: "ghost" in node.nodes)
        with trio.fail_after(5), pytest.raises(OSError, match="its process, or its connection"):
            await node.endpoint.connect("ghost")


async def test_a_node_whose_key_has_ended_puts_it_there_again(unique: str) -> None:
    async with Server() as server:
        node = Nats(server.url, cluster=unique, ttl=1.0, limits=LIMITS)
        async with ActorSystem("a", transport=node), Client(server.url) as client:
            bucket = KeyValue(client, node.bucket_name)
            await bucket.delete("node.a")
            with trio.fail_after(10):
                async with bucket.watch("node.a") as watch:
                    async for event in watch:
                        if isinstance(event, Entry) and event.value:
                            break
                assert (await bucket.get("node.a")).value


class Fenced(Actor):
    """Replies with its fence."""

    def receive(self, message: object) -> list[float]:
        return [self.context.fence or 0.0]


async def test_a_bucket_that_somebody_has_deleted_is_made_anew_and_fences_grow(
    nats_server: Server, unique: str
) -> None:
    lease = Lease(ttl=1.5)
    a, b = (Nats(nats_server.url, cluster=unique, ttl=1.0, lease=lease) for _ in range(2))
    async with ActorSystem("a", transport=a) as one, ActorSystem("b", transport=b) as other:
        here, there = [await each.start(Singleton, Fenced, name="only") for each in (one, other)]
        before = await here.ask(Get(), timeout=10)
        async with Client(nats_server.url) as client:
            await KeyValue(client, a.bucket_name).delete_bucket()
        with trio.fail_after(20):
            while (after := await there.ask(Get(), timeout=None)) == before:
                await trio.sleep(0.05)
            assert after > before
            assert await here.ask(Get(), timeout=None) == after
            while await a.bucket.keys("node.>") != ["node.a", "node.b"]:
                await trio.sleep(0.05)


async def test_a_node_uses_the_bucket_that_is_there_as_it_was_made(
    nats_server: Server, unique: str
) -> None:
    node = Nats(nats_server.url, cluster=unique)
    async with Client(nats_server.url) as client:
        # As by a node that was told of other replicas.
        await KeyValue.create_bucket(client, node.bucket_name, marker_ttl=30, max_bytes=1 << 20)
    async with ActorSystem("a", transport=node):
        assert "a" in node.nodes or (await node.bucket.get("node.a")).value


async def test_a_bucket_whose_keys_do_not_end_is_refused(nats_server: Server, unique: str) -> None:
    node = Nats(nats_server.url, cluster=unique)
    async with Client(nats_server.url) as client:
        await KeyValue.create_bucket(client, node.bucket_name)
    with pytest.raises(CannotJoin, match="lets no keys end by themselves"):
        async with ActorSystem("a", transport=node):
            pass


async def test_those_who_have_the_same_secret_talk(nats_server: Server, unique: str) -> None:
    secret = b"sixteen bytes, and more"
    async with (
        ActorSystem("a", transport=Nats(nats_server.url, cluster=unique, secret=secret)) as a,
        ActorSystem("b", transport=Nats(nats_server.url, cluster=unique, secret=secret)) as b,
    ):
        a.spawn(Remote, name="actor")
        await until(lambda: any(link.up for link in node_of(b).links()))
        assert await b.at("actor://a/actor").ask(Get()) == []


async def test_the_secret_keeps_out_who_does_not_have_it(
    nats_server: Server, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "transports")
    ours, theirs = b"sixteen bytes, and more", b"sixteen bytes, but others"
    async with (
        ActorSystem("a", transport=Nats(nats_server.url, cluster=unique, secret=ours)) as a,
        ActorSystem("b", transport=Nats(nats_server.url, cluster=unique, secret=theirs)) as b,
    ):
        a.spawn(Remote, name="actor")
        b.at("actor://a/actor").tell(Do("note", 1))
        await until(lambda: "different secrets" in caplog.text)
        assert not any(link.up for link in node_of(a).links())
        assert await a.at("actor://a/actor").ask(Get()) == []


async def test_noise_at_a_nodes_subjects_disturbs_nobody(
    nats_server: Server, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        ActorSystem("a", transport=Nats(nats_server.url, cluster=unique)) as a,
        ActorSystem("b", transport=Nats(nats_server.url, cluster=unique)) as b,
        Client(nats_server.url) as client,
    ):
        b.spawn(Remote, name="actor")
        with trio.fail_after(10):
            await node_of(a).reached("b")
        link = next(node_of(a).links())
        here = f"trouper.{unique}.node.b.{node_of(b).incarnation}"
        refused = []
        for call in (
            b"",
            b"{}",
            b'{"back": 1, "id": 2}',
            b'{"back": "somewhere.else", "id": "x"}',
            f'{{"back": "trouper.{unique}.node.a.*.to.x", "id": "x"}}'.encode(),
            f'{{"back": "trouper.{unique}.node.a.1.to.x y", "id": "x y"}}'.encode(),
            b'{"back": "trouper.other.node.a.1.to.x", "id": "x"}',
        ):
            answer = await client.request(f"{here}.call", call, timeout=5)
            refused.append(answer.data)
        assert all(refused), refused
        (id_,) = node_of(b)._nats_endpoint.streams
        for subject in (f"{here}.to.nobody", f"{here}.else", f"{here}.call", f"{here}.to.a.b"):
            for data in (b"", b"\0" * 9, b"\1" + bytes(8) + b"x", bytes(range(256))):
                client.publish(subject, data)
        await client.flush()
        assert await a.at("actor://b/actor").ask(Do("sleep", 0)) == 0
        assert link.up
        # Where it hits a connection that there is, that one is broken, and the next goes on.
        client.publish(f"{here}.to.{id_}", b"\1" + bytes(8) + b"x")
        await client.flush()
        for number in range(10):
            await a.at("actor://b/actor").send(Do("note", number))
        with trio.fail_after(10):
            assert await a.at("actor://b/actor").ask(Get(), timeout=None) == list(range(10))
        assert id_ not in node_of(b)._nats_endpoint.streams
        # And in the end nothing is left of the bad calls.
        await until(lambda: len(node_of(b)._nats_endpoint.streams) == 1)


PERMITTED = """
authorization {
  users: [
    { user: node, password: secret, permissions: {
        publish: ["trouper.eu.>", "_INBOX.>", "$JS.API.>", "$KV.trouper-eu.>", "$JS.ACK.>"]
        subscribe: ["trouper.eu.>", "_INBOX.>"] } }
    { user: other, password: secret, permissions: {
        publish: ["trouper.eu.service.>"], subscribe: ["_INBOX.>"] } }
    { user: deaf, password: secret, permissions: {
        publish: [">"], subscribe: ["_INBOX.>"] } }
    { user: mute, password: secret, permissions: {
        publish: { deny: ["trouper.eu.node.b.>"] } } }
  ]
}
"""


async def test_a_node_does_with_the_permissions_that_the_page_gives_it() -> None:
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text("utf-8")
    for subject in ("$JS.API.>", "$KV.trouper-eu.>", "$JS.ACK.>", "_INBOX.>", "trouper.eu.>"):
        assert f"`{subject}`" in page
        assert f'"{subject}"' in PERMITTED
    async with Server(config=PERMITTED) as server:
        url = server.url.replace("//", "//node:secret@")
        options: dict[str, Any] = {
            "cluster": "eu",
            "durable": ["queue://jobs"],
            "exposed": ["service://actor"],
            "ttl": 1.0,
        }
        async with (
            ActorSystem("a", transport=Nats(url, **options)) as a,
            ActorSystem("b", transport=Nats(url, **options)) as b,
        ):
            numbers: list[float] = []
            actor = b.spawn(Remote, numbers, name="actor")
            b.register("service://actor", actor)
            b.consume("queue://jobs", actor)
            with trio.fail_after(15):
                await node_of(a).reached("b")
                await a.at("queue://jobs").ask(Do("note", 5))
                await until(lambda: numbers == [5])
                # The keys are renewed.
                await trio.sleep(1.5)
                assert sorted(node_of(a).nodes) == ["a", "b"]
                async with Client(server.url.replace("//", "//other:secret@")) as other:
                    body = b'{"name": "kit.Do", "fields": {"what": "sleep", "number": 0}}'
                    answer = await other.request("trouper.eu.service.actor", body)
                    assert answer.data == b'{"reply":0.0}', answer.data
        wrong = server.url.replace("//", "//node:wrong@")
        with trio.fail_after(15), pytest.raises(CannotJoin, match="Violation; the cred"):
            await entered(wrong, "eu")
        with trio.fail_after(15), pytest.raises(CannotJoin, match="permission.*operations.md"):
            await entered(url, "us")


async def test_a_node_that_may_not_hear_its_own_subjects_does_not_enter() -> None:
    async with Server(config=PERMITTED) as server:
        url = server.url.replace("//", "//node:secret@")
        async with ActorSystem("b", transport=Nats(url, cluster="eu")) as b:
            deaf = server.url.replace("//", "//deaf:secret@")
            text = r"no permission for subscription to 'trouper\.eu\.node\.a\..*operations\.md"
            with trio.fail_after(15), pytest.raises(CannotJoin, match=text):
                await entered(deaf, "eu")
            # Nobody goes on calling it.
            await until(lambda: sorted(node_of(b).nodes) == ["b"], within=5)


async def test_what_a_node_may_not_publish_is_said_in_its_log_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Server(config=PERMITTED) as server:
        url = server.url.replace("//", "//node:secret@")
        mute = server.url.replace("//", "//mute:secret@")
        # Its name comes first: it is the one that calls.
        async with (
            ActorSystem("b", transport=Nats(url, cluster="eu", limits=LIMITS)),
            ActorSystem("a", transport=Nats(mute, cluster="eu", limits=LIMITS)),
        ):
            text = "NATS: no permission for publish to 'trouper.eu.node.b."
            await until(lambda: text in caplog.text)
            calls = caplog.text.count(".call'")
            await trio.sleep(1.0)
            assert caplog.text.count(".call'") == calls == 1


def test_a_server_that_others_could_reach_needs_credentials_or_a_secret() -> None:
    for url in ("nats://192.0.2.1:4222", "192.0.2.1"):
        with pytest.raises(CannotJoin, match="talk to every actor"):
            Nats(url, cluster="c")
    Nats("nats://192.0.2.1", cluster="c", secret=b"sixteen bytes or more")
    Nats("nats://user:pass@192.0.2.1", cluster="c")
    Nats("tls://192.0.2.1", cluster="c")


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"cluster": ""}, ValueError, "cluster's name"),
        ({"cluster": "a.b"}, ValueError, "cluster's name"),
        ({"cluster": "a>"}, ValueError, "cluster's name"),
        ({"cluster": "x" * 65}, ValueError, "64 at most"),
        ({"cluster": "c", "ttl": 0.5}, ValueError, "ttl"),
        ({"cluster": "c", "servers": "http://x"}, ValueError, "URL"),
        ({"cluster": "c", "servers": []}, ValueError, "server"),
        ({"cluster": "c", "secret": b"short"}, ValueError, "16 bytes"),
        ({"cluster": "c", "spawnable": [int]}, NotAnActor, "int"),
        ({"cluster": "c", "exposed": "topic://a"}, TypeError, "list"),
        ({"cluster": "c", "exposed": ["actor://a/b"]}, ValueError, "can be exposed"),
        ({"cluster": "c", "exposed": ["service://*"]}, ValueError, "wildcards"),
        ({"cluster": "c", "replicas": 0}, ValueError, "replicas"),
        ({"cluster": "c", "replicas": 6}, ValueError, "replicas"),
        ({"cluster": None}, ValueError, "cluster's name"),
        ({"cluster": "c", "ttl": "10"}, TypeError, "ttl"),
        ({"cluster": "c", "lease": 3.0}, TypeError, "lease is Lease"),
        ({"cluster": "c", "limits": 3.0}, TypeError, "limits is Limits"),
        ({"cluster": "c", "credentials": "user.creds"}, TypeError, "CredentialsFile"),
        ({"cluster": "c", "tls": True}, TypeError, "SSLContext"),
    ],
)
def test_nonsense_is_refused_by_the_constructor(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        Nats(**options)


async def entered(url: str, unique: str) -> None:
    async with ActorSystem("a", transport=Nats(url, cluster=unique)):
        pass


async def test_no_engine_is_an_error_when_the_system_is_entered(unique: str) -> None:
    text = (
        f"cannot join cluster {unique}: no server could be reached: 127.0.0.1:1: Connection refused"
        "; is a nats-server running there? For a first try `trouper engine` starts one"
    )
    with trio.fail_after(20), pytest.raises(CannotJoin, match=f"^{re.escape(text)}$"):
        await entered("nats://127.0.0.1:1", unique)


async def test_an_engine_without_a_store_is_an_error_that_says_what_to_do(unique: str) -> None:
    async with Server(jetstream=False) as server:
        with trio.fail_after(20), pytest.raises(CannotJoin, match="JetStream"):
            await entered(server.url, unique)


@pytest.mark.long
async def test_who_starts_while_the_servers_have_no_leader_waits_for_one(unique: str) -> None:
    async with Cluster(3) as engine:
        first, *others = engine.servers
        async with ActorSystem("a", transport=Nats(engine.urls, cluster=unique, replicas=3)):
            pass
        for server in others:
            server.kill()
        entered = trio.Event()

        async def enter() -> None:
            async with ActorSystem("b", transport=Nats(first.url, cluster=unique)):
                entered.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(enter)
            await trio.sleep(1.0)
            assert not entered.is_set()
            for server in others:
                await server.start()
            with trio.fail_after(30):
                await entered.wait()


@pytest.mark.long
async def test_who_starts_where_there_is_no_leader_for_long_is_told(
    unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Cluster(3) as engine:
        first, *others = engine.servers
        async with ActorSystem("a", transport=Nats(engine.urls, cluster=unique, replicas=3)):
            pass
        monkeypatch.setattr("transports.nats.node.ENTER_WITHIN", 0.0)
        for server in others:
            server.kill()
        with trio.fail_after(30), pytest.raises(CannotJoin, match=f"cluster {unique}"):
            await entered(first.url, unique)


async def test_entering_can_be_cancelled_while_the_engine_does_not_answer(unique: str) -> None:
    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, silent, [listener])
        port = listener.socket.getsockname()[1]
        begin = trio.current_time()
        with trio.move_on_after(0.2) as scope:
            await entered(f"nats://127.0.0.1:{port}", unique)
        assert scope.cancelled_caught
        assert trio.current_time() - begin < 1.5
        nursery.cancel_scope.cancel()
