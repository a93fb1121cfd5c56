"""Programs that know nothing of Trouper, here nats-py, ask services and publish to topics."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio

from actors import Actor, ActorRef, ActorSystem, Request, message
from tests.transports.nats.oracle import Oracle
from tests.transports.nats.test_nats_nodes import node_of, until
from transports.nats import Nats
from transports.nats.engine import Server
from transports.nats.gateway import check_exposed, subjects_of

pytestmark = pytest.mark.timeout(60)


@message(name="gateway.Reserve")
class Reserve(Request[int]):
    item: str
    count: int = 1


@message(name="gateway.Placed")
class Placed:
    order: str
    by: ActorRef | None = None


class Inventory(Actor):
    def __init__(self, stock: int = 10, gate: trio.Event | None = None) -> None:
        self.stock = stock
        self.gate = gate

    async def receive(self, message: Any) -> Any:
        if self.gate is not None:
            await self.gate.wait()
        if message.count > self.stock:
            raise ValueError(f"only {self.stock} of {message.item}")
        self.stock -= message.count
        return self.stock


class Listener(Actor):
    def __init__(self, heard: list[Any]) -> None:
        self.heard = heard

    def receive(self, message: Any) -> None:
        self.heard.append(message)


@contextlib.asynccontextmanager
async def shop(server: Server, cluster: str, *exposed: str) -> AsyncIterator[ActorSystem]:
    async with ActorSystem(
        "shop", transport=Nats(server.url, cluster=cluster, exposed=exposed)
    ) as system:
        # What the server has of this client, it has before what others publish now.
        await node_of(system)._client.flush()
        yield system
    assert system.ledger.missing == 0


@pytest.fixture(scope="module")
def other_program(nats_server: Server) -> Iterator[Oracle]:
    with Oracle(nats_server.url) as oracle:
        yield oracle


async def request(
    program: Oracle, subject: str, body: object, headers: dict[str, str] | None = None
) -> tuple[Any, dict[str, str]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def call() -> Any:
        return await program.client.request(subject, data, timeout=10, headers=headers)

    reply = await program.run(call)
    return json.loads(reply.data), dict(reply.headers or {})


async def test_a_request_is_answered_by_the_service(
    nats_server: Server, other_program: Oracle, unique: str
) -> None:
    async with shop(nats_server, unique, "service://inventory") as system:
        system.register("service://inventory", system.spawn(Inventory))
        body = {"name": "gateway.Reserve", "fields": {"item": "tea", "count": 3}}
        subject = f"trouper.{unique}.service.inventory"
        assert await request(other_program, subject, body) == ({"reply": 7}, {})
        # As `trouper` shows a message; and what has a default may be left out.
        body = {"name": "gateway.Reserve", "version": 1, "fields": {"item": "tea"}}
        assert await request(other_program, subject, body) == ({"reply": 6}, {})


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        (b"", "malformed", "no message as JSON"),
        (b"\xff\xfe", "malformed", "no message as JSON"),
        (b"[1]", "malformed", "no message as JSON"),
        (b'{"fields": {}}', "malformed", "name"),
        ({"name": 7}, "malformed", "name"),
        (b'{"name": "x", "fields": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "malformed", ""),
        ({"name": "gateway.Reverse"}, "no-such-message", "there is gateway.Reserve"),
        ({"name": "gateway.Reserve"}, "malformed", "item"),
        ({"name": "gateway.Reserve", "fields": []}, "malformed", "an object"),
        ({"name": "gateway.Reserve", "fields": {"item": 7}}, "malformed", "$.item"),
        ({"name": "gateway.Reserve", "fields": {"item": "a", "no": 1}}, "malformed", "$.no"),
        ({"name": "gateway.Reserve", "fields": {"item": "a", "count": 99}}, "failed", "only 10"),
    ],
)
async def test_what_goes_wrong_is_an_error_as_json(
    nats_server: Server, other_program: Oracle, unique: str, body: object, kind: str, text: str
) -> None:
    async with shop(nats_server, unique, "service://inventory") as system:
        system.register("service://inventory", system.spawn(Inventory))
        answer, headers = await request(other_program, f"trouper.{unique}.service.inventory", body)
        assert answer["error"]["kind"] == kind
        assert text in answer["error"]["text"]
        # As the framework of services of NATS says it.
        assert int(headers["Nats-Service-Error-Code"]) in {400, 404, 500}
        assert headers["Nats-Service-Error"]
        body = {"name": "gateway.Reserve", "fields": {"item": "tea"}}
        subject = f"trouper.{unique}.service.inventory"
        assert await request(other_program, subject, body) == ({"reply": 9}, {})


async def test_the_answer_may_take_as_long_as_the_request_says(
    nats_server: Server, other_program: Oracle, unique: str
) -> None:
    async with shop(nats_server, unique, "service://inventory") as system:
        body = {"name": "gateway.Reserve", "fields": {"item": "tea"}}
        subject = f"trouper.{unique}.service.inventory"
        answer, _ = await request(other_program, subject, body)
        assert answer["error"]["kind"] == "stopped"
        assert "no instance" in answer["error"]["text"]
        gate = trio.Event()
        system.register("service://inventory", system.spawn(Inventory, 10, gate))
        answer, _ = await request(other_program, subject, body, {"Trouper-Timeout": "0.05"})
        assert answer["error"]["kind"] == "timeout"
        for given in ("soon", "-1", "inf", "nan", "1e9"):
            answer, _ = await request(other_program, subject, body, {"Trouper-Timeout": given})
            assert answer["error"]["kind"] == "malformed", given
        gate.set()


async def test_each_subscriber_of_every_node_has_a_publication_once(
    nats_server: Server, other_program: Oracle, unique: str
) -> None:
    exposed = "topic://orders.**"
    async with (
        shop(nats_server, unique, exposed, "topic://orders.*") as one,
        ActorSystem(
            "two", transport=Nats(nats_server.url, cluster=unique, exposed=[exposed])
        ) as two,
    ):
        heard: list[list[Any]] = [[], [], []]
        refs = [
            system.spawn(Listener, each)
            for system, each in zip((one, one, two), heard, strict=True)
        ]
        one.subscribe("topic://orders.*", refs[0])
        one.subscribe("topic://orders.**", refs[1])
        two.subscribe("topic://orders.**", refs[2])
        with trio.fail_after(10):
            await node_of(one).reached("two")
            await node_of(two).reached("shop")
        await node_of(two)._client.flush()

        def body(order: str) -> dict[str, Any]:
            return {"name": "gateway.Placed", "fields": {"order": order}}

        async def publish(subject: str, order: str) -> None:
            data = json.dumps(body(order)).encode()
            await other_program.run(other_program.client.publish, subject, data)

        for number in range(20):
            await publish(f"trouper.{unique}.topic.orders.new", str(number))
        await publish(f"trouper.{unique}.topic.orders", "top")
        await publish(f"trouper.{unique}.topic.orders.eu.paris", "deep")
        await publish(f"trouper.{unique}.topic.other", "not exposed")
        report, _ = await request(
            other_program, f"trouper.{unique}.topic.orders.eu.rome", body("asked")
        )
        assert set(report["reply"]) == {"matched", "queued", "refused", "nodes"}
        assert report["reply"]["refused"] == 0
        await until(lambda: [len(each) for each in heard] == [20, 23, 23])
        numbers = [str(number) for number in range(20)]
        deeper = ["top", "deep", "asked"]
        for each, more in zip(heard, ([], deeper, deeper), strict=True):
            assert sorted(placed.order for placed in each) == sorted([*numbers, *more])


async def test_a_message_of_a_queue_goes_to_one_consumer_and_its_reply_comes_back(
    nats_server: Server, other_program: Oracle, unique: str
) -> None:
    async with shop(nats_server, unique, "queue://reservations") as system:
        for _ in range(2):
            system.consume("queue://reservations", system.spawn(Inventory))
        body = {"name": "gateway.Reserve", "fields": {"item": "tea"}}
        subject = f"trouper.{unique}.queue.reservations"
        replies = [(await request(other_program, subject, body))[0]["reply"] for _ in range(4)]
        assert sum(10 - each for each in replies) in {6, 10}


async def test_what_is_not_exposed_has_no_subject(
    nats_server: Server, other_program: Oracle, unique: str
) -> None:
    async with shop(nats_server, unique, "service://inventory") as system:
        system.register("service://secret", system.spawn(Inventory))
        body = json.dumps({"name": "gateway.Reserve", "fields": {"item": "a"}}).encode()
        for name in ("service.secret", "queue.inventory", "topic.inventory"):

            async def call(name: str = name) -> Any:
                return await other_program.client.request(
                    f"trouper.{unique}.{name}", body, timeout=5
                )

            with pytest.raises(Exception, match="no responders"):
                await other_program.run(call)


NASTY = [
    (b"_IN\x0bBOX", b""),
    (b"_IN\x0cBOX", b""),
    (b"_INBOX.1", b"NATS/1.0\r\nno colon\r\n\r\n"),
    (b"_INBOX.1", b"NATS/1.0 abc\r\n\r\n"),
    (b"_INBOX.1", b"no headers\r\n\r\n"),
    (b"_INBOX.*", b""),
    (b"\xff\xfe", b""),
    (b"x" * 3000, b""),
]


async def test_nothing_that_another_program_writes_costs_the_node_its_connection(
    nats_server: Server, other_program: Oracle, unique: str
) -> None:
    async with shop(nats_server, unique, "service://inventory", "topic://a.**") as system:
        system.register("service://inventory", system.spawn(Inventory))
        commands = [b"PUB trouper.%b.topic.a.x\x0by 2\r\n{}\r\n" % unique.encode()]
        for reply, headers in NASTY:
            size = len(headers)
            commands.append(
                b"HPUB trouper.%b.service.inventory %b %d %d\r\n%b{}\r\n"
                % (unique.encode(), reply, size, size + 2, headers)
            )
        await write(nats_server, b"".join(commands))
        body = {"name": "gateway.Reserve", "fields": {"item": "a"}}
        subject = f"trouper.{unique}.service.inventory"
        assert (await request(other_program, subject, body))[0] == {"reply": 9}
        assert node_of(system)._client.statistics.reconnects == 0


async def write(server: Server, commands: bytes) -> None:
    """As a program without a library, and wait until the server has taken them."""
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    async with stream:
        await stream.send_all(b'CONNECT {"headers":true}\r\n' + commands + b"PING\r\n")
        answer = b""
        while not answer.endswith(b"PONG\r\n"):
            some = await stream.receive_some()
            assert some, answer
            answer += some


async def test_no_answer_goes_where_it_would_be_a_command_or_a_write(
    nats_server: Server, other_program: Oracle, unique: str
) -> None:
    async with shop(nats_server, unique, "service://inventory") as system:
        system.register("service://inventory", system.spawn(Inventory))
        node = node_of(system)
        bucket = node.bucket_name
        key = f"node.{system.name}"
        before = await node.bucket.get(key)
        here = f"trouper.{unique}.node.{system.name}.{node.incarnation}"
        body = b'{"name":"gateway.Reserve","fields":{"item":"a"}}'
        call = b'{"back":"trouper.%b.node.x.1.to.1","id":"1"}' % unique.encode()
        commands = b""
        for subject, data, reply in (
            (f"trouper.{unique}.service.inventory", body, f"$KV.{bucket}.{key}"),
            (f"trouper.{unique}.service.inventory", body, f"{here}.call"),
            # An empty answer deletes it.
            (f"{here}.call", call, f"$JS.API.STREAM.DELETE.KV_{bucket}"),
        ):
            commands += b"PUB %b %b %d\r\n%b\r\n" % (
                subject.encode(),
                reply.encode(),
                len(data),
                data,
            )
        await write(nats_server, commands)
        # What came before is answered.
        subject = f"trouper.{unique}.service.inventory"
        assert (await request(other_program, subject, body))[0] == {"reply": 9}
        await node._client.flush()
        assert (await node.bucket.get(key)).value == before.value
        assert (await node.bucket.info()).name == f"KV_{bucket}"


async def test_a_ref_in_a_message_is_an_address(
    nats_server: Server, other_program: Oracle, unique: str
) -> None:
    async with shop(nats_server, unique, "topic://placed") as system:
        heard: list[Any] = []
        ref = system.spawn(Listener, heard, name="listener")
        system.subscribe("topic://placed", ref)
        for by in ("actor://shop/listener", "actor://elsewhere/x"):
            body = {"name": "gateway.Placed", "fields": {"order": "1", "by": by}}
            answer, _ = await request(other_program, f"trouper.{unique}.topic.placed", body)
            assert answer["reply"]["queued"] == 1
        assert [str(each.by) for each in heard] == [
            "actor://shop/listener",
            "actor://elsewhere/x",
        ]


async def test_more_requests_than_can_be_answered_at_once_are_refused(
    nats_server: Server, other_program: Oracle, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transports.nats.gateway.AT_ONCE", 4)
    async with shop(nats_server, unique, "service://inventory") as system:
        gate = trio.Event()
        system.register("service://inventory", system.spawn(Inventory, 100, gate))
        body = {"name": "gateway.Reserve", "fields": {"item": "tea"}}
        answers: list[Any] = []

        async def one() -> None:
            subject = f"trouper.{unique}.service.inventory"
            answers.append((await request(other_program, subject, body))[0])

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(one)
            await until(lambda: len(answers) == 6)
            assert {each["error"]["kind"] for each in answers} == {"busy"}
            gate.set()
        assert sorted(each["reply"] for each in answers if "reply" in each) == [96, 97, 98, 99]


@pytest.mark.parametrize(
    ("address", "subjects"),
    [
        ("service://a", ["trouper.c.service.a"]),
        ("service://a.b", ["trouper.c.service.a=2Eb"]),
        ("queue://a+b", ["trouper.c.queue.a=2Bb"]),
        ("topic://a.b", ["trouper.c.topic.a.b"]),
        ("topic://a.*.c", ["trouper.c.topic.a.*.c"]),
        ("topic://a.**", ["trouper.c.topic.a", "trouper.c.topic.a.>"]),
        ("topic://**", ["trouper.c.topic.>"]),
        ("topic://ä", ["trouper.c.topic.=C3=A4"]),
    ],
)
def test_an_address_has_these_subjects(address: str, subjects: list[str]) -> None:
    (parsed,) = check_exposed([address])
    assert subjects_of("c", parsed) == subjects
