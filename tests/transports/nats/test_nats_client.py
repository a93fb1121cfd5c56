"""What our client promises besides what nats-py does, against real servers."""

import base64
import itertools
import json
import logging
import ssl
import sys
from functools import partial
from pathlib import Path
from typing import Any

import nkeys
import pytest
import trio
import trustme

from transports.nats import Client, CredentialsFile, Failed, NKey, Settings, Token, UserPassword
from transports.nats.engine import Server
from transports.nats.errors import (
    AuthorizationViolation,
    CannotConnect,
    ClientClosed,
    InvalidSubject,
    MissingExtra,
    NotConnected,
    OutboxFull,
    PayloadTooLarge,
    PermissionsViolation,
    Refused,
    ServerTooOld,
    SlowConsumer,
)


@pytest.fixture
def url(nats_server: Server) -> str:
    return nats_server.url


# -- its life


async def test_a_client_is_used_inside_its_async_with_only(url: str) -> None:
    client = Client(url)
    with pytest.raises(ClientClosed):
        client.publish("a")
    with pytest.raises(ClientClosed):
        await client.request("a")
    async with client:
        assert client.is_connected
        assert client.server in url
        subscription = client.subscribe("a")
    for attempt in (client.publish, client.subscribe):
        with pytest.raises(ClientClosed, match="left"):
            attempt("a")
    assert [message async for message in subscription] == []
    with pytest.raises(ClientClosed):
        await subscription.receive()
    with pytest.raises(ClientClosed, match="entered before"):
        await client.__aenter__()


async def test_the_body_s_exception_is_in_no_group(url: str) -> None:
    with pytest.raises(KeyError):
        async with Client(url):
            raise KeyError("mine")


async def test_leaving_ends_what_waits(url: str, unique: str) -> None:
    outcomes = []

    async def ask(client: Client) -> None:
        try:
            await client.request(unique)
        except ClientClosed:
            outcomes.append("request")

    async def receive(client: Client) -> None:
        subscription = client.subscribe(f"{unique}.other")
        async for _ in subscription:
            pass
        outcomes.append("iteration")

    async with trio.open_nursery() as nursery, Client(url) as client:
        heard = client.subscribe(unique)
        nursery.start_soon(ask, client)
        nursery.start_soon(receive, client)
        await heard.receive()
    assert sorted(outcomes) == ["iteration", "request"]


async def test_what_is_in_the_outbox_is_written_when_the_client_is_left(
    url: str, unique: str
) -> None:
    async with Client(url) as receiver:
        subscription = receiver.subscribe(unique)
        await receiver.flush()
        async with Client(url) as sender:
            for number in range(1000):
                sender.publish(unique, b"%d" % number)
        for number in range(1000):
            assert (await subscription.receive()).data == b"%d" % number


async def test_whoever_has_drained_a_client_goes_on(url: str) -> None:
    went_on = False
    try:
        async with Client(url) as client, Client(url) as other:
            subscription = client.subscribe("a")
            await client.drain()
            with pytest.raises(ClientClosed):
                await subscription.receive()
            await other.flush()
            went_on = True
    finally:
        # (A test that was cancelled is none that has failed.)
        assert went_on


async def test_a_drained_client_has_handled_what_had_come(url: str, unique: str) -> None:
    async with Client(url) as other, Client(url) as client:
        subscription = client.subscribe(unique)
        seen: list[bytes] = []
        client.listen(unique, lambda message: seen.append(message.data))
        await client.flush()
        for number in range(100):
            other.publish(unique, b"%d" % number)
        await other.flush()
        await client.drain()
        assert len([message async for message in subscription]) == len(seen) == 100
        with pytest.raises(ClientClosed, match="drained"):
            client.publish(unique)


async def test_a_cancelled_body_leaves_no_task_behind(url: str) -> None:
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with Client(url) as client:
                client.subscribe("a")
                scope.cancel()
                await trio.sleep_forever()
        assert not nursery.child_tasks


# -- the outbox


async def test_a_full_outbox_gives_the_data_back_and_send_waits_for_room(
    url: str, unique: str
) -> None:
    async with Client(url, settings=Settings(outbox=1000)) as client:
        subscription = client.subscribe(unique)
        await client.flush()
        client.publish(unique, bytes(900))
        with pytest.raises(OutboxFull) as caught:
            client.publish(unique, b"mine" * 50)
        assert (caught.value.subject, caught.value.data) == (unique, b"mine" * 50)
        assert caught.value.capacity == 1000
        for number in range(20):
            await client.send(unique, bytes([number]) * 400)
        sizes = [len((await subscription.receive()).data) for _ in range(21)]
        assert sizes == [900] + 20 * [400]


async def test_a_message_that_no_server_takes_is_the_sender_s_error(url: str) -> None:
    async with Client(url) as client:
        with pytest.raises(PayloadTooLarge) as caught:
            client.publish("a", bytes((1 << 20) - 10), headers={"name": "value"})
        assert caught.value.max_payload == 1 << 20
        for subject in ("a b", "a\r\nPING", "a.*", ""):
            with pytest.raises(InvalidSubject):
                client.publish(subject)
        with pytest.raises(InvalidSubject):
            client.publish("a", reply="b c")
        with pytest.raises(InvalidSubject):
            client.subscribe("a", queue="b c")


# -- slow consumers


async def test_a_full_subscription_drops_the_newest_and_says_where(url: str, unique: str) -> None:
    async with Client(url) as client:
        slow = client.subscribe(unique, capacity=3)
        for number in range(5):
            client.publish(unique, b"%d" % number)
        await client.flush()
        assert slow.pending == 3
        assert [(await slow.receive()).data for _ in range(3)] == [b"0", b"1", b"2"]
        with pytest.raises(SlowConsumer) as caught:
            await slow.receive()
        assert (caught.value.dropped, slow.dropped, client.statistics.dropped) == (2, 2, 2)
        client.publish(unique, b"5")
        assert (await slow.receive()).data == b"5"


async def test_nothing_is_taken_behind_a_gap_before_it_was_told(url: str, unique: str) -> None:
    async with Client(url) as client:
        slow = client.subscribe(unique, capacity=2)
        for number in range(3):
            client.publish(unique, b"%d" % number)
        await client.flush()
        assert (await slow.receive()).data == b"0"
        client.publish(unique, b"there is room, but it would seem to be next")
        await client.flush()
        assert (await slow.receive()).data == b"1"
        with pytest.raises(SlowConsumer, match="2 messages"):
            await slow.receive()


async def test_what_is_dropped_can_be_had_by_a_function(url: str, unique: str) -> None:
    async with Client(url) as client:
        dropped: list[bytes] = []
        slow = client.subscribe(unique, capacity=1, on_full=lambda each: dropped.append(each.data))
        for number in range(3):
            client.publish(unique, b"%d" % number)
        await client.flush()
        assert dropped == [b"1", b"2"]
        assert (await slow.receive()).data == b"0"


async def test_a_slow_subscription_does_not_hold_up_the_others(url: str, unique: str) -> None:
    async with Client(url) as client:
        client.subscribe(unique, capacity=1)
        fast = client.subscribe(unique, capacity=1000)
        for _ in range(500):
            client.publish(unique)
        await client.flush()
        assert fast.pending == 500


async def test_a_listener_that_raises_is_logged_and_the_next_message_comes(
    url: str, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Client(url) as client:
        seen: list[bytes] = []

        def listener(message: object) -> None:
            seen.append(message.data)  # type: ignore[attr-defined]
            if len(seen) == 1:
                raise KeyError("a mistake")

        client.listen(unique, listener)
        client.publish(unique, b"1")
        client.publish(unique, b"2")
        with caplog.at_level(logging.ERROR):
            await client.flush()
        assert seen == [b"1", b"2"]
        assert "a mistake" in caplog.text


# -- who may


USERS = """
authorization { users: [
  { user: "all", password: "right" }
  { user: "few", password: "right", permissions: {
      publish: ["allowed.>", "_INBOX.>"], subscribe: ["allowed.>", "_INBOX.>"] } }
] }
"""


@pytest.fixture(scope="session")
def guarded() -> object:
    server = Server(config=USERS, jetstream=False)
    trio.run(server.start)
    yield server
    server.close()


@pytest.mark.parametrize(
    "credentials", [None, UserPassword("all", "wrong"), UserPassword("who", "x"), Token("right")]
)
async def test_wrong_credentials_are_an_error_at_once(
    guarded: Server, credentials: UserPassword
) -> None:
    with trio.fail_after(5), pytest.raises(AuthorizationViolation) as caught:
        async with Client(guarded.url, credentials=credentials):
            pass
    assert caught.value.server == f"127.0.0.1:{guarded.port}"
    assert "right" not in str(caught.value)


async def test_credentials_may_be_in_the_url(guarded: Server) -> None:
    async with Client(f"nats://all:right@127.0.0.1:{guarded.port}") as client:
        await client.flush()


async def test_a_publish_without_permission_is_reported_and_its_request_ends(
    guarded: Server,
) -> None:
    events: list[object] = []
    async with Client(
        guarded.url, credentials=UserPassword("few", "right"), on_event=events.append
    ) as client:
        client.publish("forbidden.a", b"x")
        with pytest.raises(PermissionsViolation) as caught:
            await client.flush()
        assert (caught.value.operation, caught.value.subject) == ("publish", "forbidden.a")
        [failed] = [event.error for event in events if isinstance(event, Failed)]
        assert str(failed) == str(caught.value)
        await client.flush()
        # A request to another subject is not touched.
        heard = client.subscribe("allowed.slow")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(client.request, "allowed.slow", timeout=20))
            message = await heard.receive()
            with trio.fail_after(5), pytest.raises(PermissionsViolation):
                await client.request("forbidden.b", timeout=600)
            client.publish(message.reply)


async def test_a_subscription_without_permission_ends_with_the_error(guarded: Server) -> None:
    async with Client(guarded.url, credentials=UserPassword("few", "right")) as client:
        refused: list[object] = []
        subscription = client.subscribe("forbidden.>")
        client.listen("forbidden.a", print, on_error=refused.append)
        allowed = client.subscribe("allowed.a")
        with trio.fail_after(5), pytest.raises(PermissionsViolation):
            await subscription.receive()
        client.publish("allowed.a", b"x")
        assert (await allowed.receive()).data == b"x"
        assert [type(each) for each in refused] == [PermissionsViolation]


async def test_a_client_that_must_not_hear_replies_is_told(guarded: Server) -> None:
    async with Client(
        guarded.url, credentials=UserPassword("few", "right"), inbox="elsewhere"
    ) as client:
        client.listen("allowed.service", lambda message: client.publish("allowed.b"))
        with trio.fail_after(5), pytest.raises(PermissionsViolation) as caught:
            await client.request("allowed.service", timeout=600)
        assert caught.value.operation == "subscription"


async def test_an_nkey_signs_what_the_server_asks() -> None:
    seed = bytes(nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_USER))
    public = nkeys.from_seed(bytearray(seed)).public_key.decode()
    config = f'authorization {{ users: [ {{ nkey: "{public}" }} ] }}'
    other = bytes(nkeys.encode_seed(bytes(32), nkeys.PREFIX_BYTE_USER))
    async with Server(config=config, jetstream=False) as server:
        async with Client(server.url, credentials=NKey(seed)) as client:
            await client.flush()
        with pytest.raises(AuthorizationViolation):
            async with Client(server.url, credentials=NKey(other)):
                pass
    assert seed.decode() not in repr(NKey(seed))


def keys(number: int, kind: int) -> Any:
    return nkeys.from_seed(bytearray(nkeys.encode_seed(bytes([number]) * 32, kind)))


def jwt(issuer: Any, subject: Any, claims: dict[str, object]) -> str:
    """A token as `nsc` makes them."""

    def encode(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    body = {
        "jti": "id",
        "iat": 1_700_000_000,
        "iss": issuer.public_key.decode(),
        "sub": subject.public_key.decode(),
        "name": "test",
        "nats": {"version": 2, **claims},
    }
    head = encode(b'{"typ":"JWT","alg":"ed25519-nkey"}')
    signed = f"{head}.{encode(json.dumps(body).encode())}"
    return f"{signed}.{encode(issuer.sign(signed.encode()))}"


async def test_a_file_of_credentials_signs_with_the_seed_in_it(tmp_path: Path) -> None:
    operator = keys(1, nkeys.PREFIX_BYTE_OPERATOR)
    account = keys(2, nkeys.PREFIX_BYTE_ACCOUNT)
    user = keys(3, nkeys.PREFIX_BYTE_USER)
    limits = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    config = "\n".join(
        [
            f"operator: {jwt(operator, operator, {'type': 'operator'})}",
            "resolver: MEMORY",
            f"resolver_preload {{ {account.public_key.decode()}: "
            + jwt(operator, account, {"type": "account", "limits": {**limits, "wildcards": True}})
            + " }",
        ]
    )
    token = jwt(account, user, {"type": "user", "subs": -1, "data": -1, "payload": -1})
    file = tmp_path / "user.creds"

    def write(seed: bytes) -> None:
        file.write_text(
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            "************************* IMPORTANT *************************\n"
            f"-----BEGIN USER NKEY SEED-----\n{seed.decode()}\n------END USER NKEY SEED------\n"
        )

    write(bytes(user.seed))
    credentials = CredentialsFile(file)
    async with Server(config=config, jetstream=False) as server:
        async with Client(server.url, credentials=credentials) as client:
            await client.flush()
        # It is read again for each connection.
        write(bytes(keys(4, nkeys.PREFIX_BYTE_USER).seed))
        with pytest.raises(AuthorizationViolation):
            async with Client(server.url, credentials=credentials):
                pass


async def test_a_package_that_is_missing_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "nkeys", None)
    with pytest.raises(MissingExtra, match=r"trouper\[nats\]") as caught:
        NKey("SU" + "A" * 56)
    assert (caught.value.package, caught.value.extra) == ("nkeys", "nats")


# -- TLS


class Certified:
    """An authority, and a server with its certificate."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1")
        certificate.private_key_pem.write_to_path(folder / "key.pem")
        certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        self.config = f'tls {{ cert_file: "{folder}/cert.pem", key_file: "{folder}/key.pem"'
        self.trusted = ssl.create_default_context()
        authority.configure_trust(self.trusted)


@pytest.fixture(scope="session")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    return Certified(tmp_path_factory.mktemp("nats-tls"))


@pytest.mark.parametrize("first", [False, True], ids=["after INFO", "first"])
async def test_messages_over_tls(certified: Certified, first: bool) -> None:
    config = certified.config + (", handshake_first: true }" if first else " }")
    async with Server(config=config, jetstream=False) as server:
        async with Client(server.url, tls=certified.trusted, tls_first=first) as client:
            subscription = client.subscribe("a")
            for number in range(200):
                client.publish("a", bytes(number) * 100)
            for number in range(200):
                assert (await subscription.receive()).data == bytes(number) * 100
            client.listen("b", lambda message: client.publish(message.reply, message.data))
            assert (await client.request("b", b"x")).data == b"x"
        if not first:
            with pytest.raises(Refused, match="TLS"):
                async with Client(server.url.replace("nats:", "tls:")):
                    pass
            # A server that asks for TLS gets it, also if nobody has said so here.
            with pytest.raises(Refused, match="TLS"):
                async with Client(server.url):
                    pass


async def test_no_word_without_tls_where_it_is_wanted(url: str, certified: Certified) -> None:
    with pytest.raises(Refused, match="has no TLS"):
        async with Client(url, tls=certified.trusted, credentials=UserPassword("a", "b")):
            pass


# -- servers that are none


async def serve(data: bytes, nursery: trio.Nursery) -> str:
    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(data)
            while await stream.receive_some():
                pass

    listen = partial(trio.serve_tcp, answer, 0, host="127.0.0.1")
    [listener] = await nursery.start(listen)
    return f"nats://127.0.0.1:{listener.socket.getsockname()[1]}"


async def test_an_old_server_is_named_in_the_error() -> None:
    async with trio.open_nursery() as nursery:
        url = await serve(b'INFO {"version":"2.10.7","headers":true}\r\n', nursery)
        with pytest.raises(ServerTooOld, match=r"nats-server 2\.10\.7 is too old: 2\.11 or later"):
            async with Client(url):
                pass
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"INFO {\r\n", b""])
async def test_what_is_no_server_of_nats_is_not_connected_with(data: bytes) -> None:
    async with trio.open_nursery() as nursery:
        url = await serve(data, nursery)
        with pytest.raises(CannotConnect):
            async with Client(url, settings=Settings(connect_within=0.1)):
                pass
        nursery.cancel_scope.cancel()


async def test_a_server_that_goes_on_before_tls_is_not_believed() -> None:
    async with trio.open_nursery() as nursery:
        url = await serve(b'INFO {"version":"2.11.0","tls_required":true}\r\nPING\r\n', nursery)
        with pytest.raises(CannotConnect, match="before TLS"):
            async with Client(url):
                pass
        nursery.cancel_scope.cancel()


async def test_a_connection_whose_pings_are_answered_stays() -> None:
    pings = 0
    enough = trio.Event()

    async def answer(stream: trio.SocketStream) -> None:
        nonlocal pings
        async with stream:
            await stream.send_all(b'INFO {"version":"2.11.0"}\r\n')
            while data := await stream.receive_some():
                pings += data.count(b"PING\r\n")
                await stream.send_all(data.count(b"PING\r\n") * b"PONG\r\n")
                if pings >= 8:
                    enough.set()

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        url = f"nats://127.0.0.1:{listener.socket.getsockname()[1]}"
        async with Client(url, settings=Settings(ping_every=0.02)) as client:
            with trio.fail_after(10):
                await enough.wait()
            assert client.is_connected
            assert client.statistics.reconnects == 0
        nursery.cancel_scope.cancel()


async def test_each_server_is_named_if_none_can_be_reached() -> None:
    with pytest.raises(CannotConnect) as caught:
        async with Client(["nats://127.0.0.1:1", "nats://127.0.0.1:2"]):
            pass
    assert sorted(place for place, _ in caught.value.reasons) == ["127.0.0.1:1", "127.0.0.1:2"]
    assert all("refused" in why for _, why in caught.value.reasons)


async def test_one_of_several_servers_is_enough(url: str) -> None:
    for number in range(4):
        servers = ["nats://127.0.0.1:1", url, f"nats://127.0.0.1:{number + 2}"]
        async with Client(servers) as client:
            await client.flush()


async def test_a_client_waits_for_a_server_that_comes_later(autojump_clock: object) -> None:
    with pytest.raises(CannotConnect):
        async with Client("nats://127.0.0.1:1", settings=Settings(patience=5.0)):
            pass
    assert trio.current_time() >= 5


async def test_a_client_that_is_offline_may_refuse_to_keep_messages(url: str) -> None:
    async with Client(url, settings=Settings(offline=False)) as client:
        client.reconnect()
        while client.is_connected:
            await trio.lowlevel.checkpoint()
        with pytest.raises(NotConnected):
            client.publish("a")
        with pytest.raises(NotConnected):
            await client.request("a")
        await client.wait_connected()
        client.publish("a")


def test_inboxes_of_two_clients_differ() -> None:
    clients = [Client() for _ in range(3)]
    inboxes = [client.new_inbox() for client in itertools.chain(clients, clients)]
    assert len({*inboxes}) == len(inboxes)


def test_no_connection_is_said_without_a_subject_where_no_message_is_meant() -> None:
    with pytest.raises(NotConnected, match="^there is no connection with a server of NATS$"):
        _ = Client().server_info
