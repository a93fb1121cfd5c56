"""Nodes on real sockets: who may listen where, who is let in, and what a refusal says."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trustme
from cryptography.hazmat.primitives import serialization

from actors import ActorStopped, ActorSystem, AskTimeout
from tests.transports.kit import Remote
from transports import CannotListen, Limits, Node, Tcp, Tls, Unix
from transports.wire.framing import FrameDecoder, encode_frame
from transports.wire.introduction import NONCE, Introduction, Role

SECRET = b"sixteen bytes or more"
FAST = Limits(handshake_within=1.0, dial_at_most=0.1)


@contextlib.asynccontextmanager
async def running(name: str, transport: Node) -> AsyncIterator[ActorSystem]:
    async with ActorSystem(name, transport=transport) as system:
        system.spawn(Remote, name="actor")
        yield system


async def connected(system: ActorSystem, peer: str) -> None:
    """Wait until a system has a connection with a peer."""
    node = system._transport
    assert isinstance(node, Node)
    with trio.fail_after(5):
        while not any(link.peer == peer and link.up for link in node.links()):
            await trio.sleep(0.005)


async def refused(caplog: pytest.LogCaptureFixture, *texts: str) -> None:
    """Wait until each of these has been logged as a warning."""
    with trio.fail_after(5):
        while not all(
            any(text in each.getMessage() and each.levelno == logging.WARNING for each in records)
            for records in [caplog.records]
            for text in texts
        ):
            await trio.sleep(0.005)


def place_of(node: Tcp) -> str:
    return node.address.rpartition("@")[2]


# -- listening


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:7400"])
def test_nobody_listens_to_strangers_without_a_secret_or_tls(listen: str) -> None:
    with pytest.raises(CannotListen, match="give all nodes a secret"):
        Tcp(listen)
    Tcp(listen, secret=SECRET)


def test_nobody_calls_strangers_without_a_secret_or_tls() -> None:
    with pytest.raises(CannotListen, match=r"cannot call 192\.0\.2\.1:7400: .*only loopback"):
        Tcp(None, peers=["192.0.2.1:7400"])


@pytest.mark.parametrize(
    "listen", ["", "7400", "127.0.0.1", ":7400", "::1:7400", "a:b", "a:70000", "a:-1"]
)
def test_what_is_no_address_is_refused_with_how_to_write_one(listen: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|in brackets"):
        Tcp(listen)


@pytest.mark.parametrize("peer", ["@127.0.0.1:1", "a/b@127.0.0.1:1", "127.0.0.1:0"])
def test_what_is_no_peer_is_refused(peer: str) -> None:
    with pytest.raises(ValueError, match=r"peer|named before"):
        Tcp(None, peers=[peer])
    with pytest.raises(TypeError, match="list of addresses"):
        Tcp(None, peers="127.0.0.1:1")


async def test_a_place_that_is_taken_is_an_error_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(CannotListen, match="Address already in use"):
            async with ActorSystem("a", transport=Tcp(where)):
                raise AssertionError("the body does not run")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
async def test_a_free_port_is_told_and_reached(host: str) -> None:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
    async with running("a", Tcp(f"{host}:0")) as a:
        address = a._transport.address  # type: ignore[union-attr]
        assert address.startswith("a@")
        async with running("b", Tcp(None, peers=[address])) as b:
            await connected(b, "a")


async def test_a_bare_address_is_enough_and_ones_own_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # A port is known only when it is bound: so take one that is free now.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{free.getsockname()[1]}"
    async with (
        running("a", Tcp(where, peers=[where])) as a,
        running("b", Tcp("127.0.0.1:0", peers=[where])) as b,
    ):
        await connected(b, "a")
        await connected(a, "b")
    assert "refused" not in caplog.text


# -- unix sockets


async def test_a_unix_socket_is_for_this_user_only_and_goes_with_its_node(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    before = os.umask(0)
    try:
        async with running("a", Unix(path)) as a:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            async with running("b", Unix(None, peers=[f"a@{path}"])) as b:
                await connected(b, "a")
                await connected(a, "b")
    finally:
        assert os.umask(before) == 0
    assert list(tmp_path.iterdir()) == []


async def test_a_socket_that_a_killed_process_has_left_is_cleared(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert path.exists()
    async with running("a", Unix(path)), running("b", Unix(None, peers=[str(path)])) as b:
        await connected(b, "a")


async def test_a_socket_that_somebody_listens_at_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    async with running("a", Unix(path)):
        with pytest.raises(CannotListen, match="a running process listens there"):
            async with ActorSystem("b", transport=Unix(path)):
                raise AssertionError("the body does not run")
        async with running("c", Unix(None, peers=[str(path)])) as c:
            await connected(c, "a")


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious.txt"
    path.write_text("mine")
    with pytest.raises(
        CannotListen, match=r"^cannot listen at \S+: there is a file that is no socket"
    ):
        async with ActorSystem("a", transport=Unix(path)):
            raise AssertionError("the body does not run")
    assert path.read_text() == "mine"


def test_a_path_that_is_too_long_says_so() -> None:
    with pytest.raises(ValueError, match="at most 107 bytes, not 120"):
        Unix("x" * 120)
    with pytest.raises(ValueError, match="no path"):
        Unix("")


# -- who is let in


async def test_the_secret_is_proven_by_both_and_another_one_is_refused_on_both_sides(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Tcp("127.0.0.1:0", secret=SECRET, limits=FAST)
    async with running("a", server) as a:
        wrong = Tcp(None, peers=[server.address], secret=b"another secret of that length")
        async with running("b", wrong):
            await refused(
                caplog,
                "a: b is refused: b and a have different secrets",
                "b: a has refused this node: b and a have different secrets",
            )
        none = Tcp(None, peers=[server.address])
        async with running("c", none):
            await refused(caplog, "c was given none")
        async with running("d", Tcp(None, peers=[server.address], secret=SECRET)) as d:
            await connected(d, "a")
        assert [link.peer for link in server.links()] == ["d"]
        assert a.ledger.missing == 0


async def test_a_recorded_introduction_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    server = Tcp("127.0.0.1:0", secret=SECRET, limits=FAST)
    async with running("a", server):
        host, _, port = place_of(server).rpartition(":")
        sent: list[list[bytes]] = []
        for nonce in (b"1" * NONCE, b"2" * NONCE):
            stream = await trio.open_tcp_stream(host, int(port))
            async with stream:
                decoder = FrameDecoder()
                if not sent:
                    honest = Introduction("mallory", Role.CALLER, nonce, secret=SECRET)
                    sent.append([])
                    while honest.result is None:
                        for frame in honest.outgoing():
                            sent[0].append(frame)
                            await stream.send_all(encode_frame(frame))
                        for frame in decoder.feed(bytes(await stream.receive_some())):
                            honest.received(frame)
                    continue
                for frame in sent[0]:
                    await stream.send_all(encode_frame(frame))
                kinds = []
                while data := await stream.receive_some():
                    kinds += [frame[0] for frame in decoder.feed(bytes(data))]
                # INTRODUCE and REFUSE: no proof is given for a replayed one.
                assert kinds == [9, 3]
        await refused(caplog, "mallory and a have different secrets")
        assert list(server.links()) == []


async def test_who_introduces_itself_by_one_name_and_says_hello_by_another_is_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Tcp("127.0.0.1:0", secret=SECRET, limits=FAST)
    async with running("a", server), running("b", Tcp(None, peers=[server.address], secret=SECRET)):
        await connected(server.system, "b")
        liar = Tcp(None, peers=[server.address], secret=SECRET)
        endpoint = liar._socket_endpoint
        introduce = endpoint.introduce

        async def lie(connection, me, peer, *, called):  # type: ignore[no-untyped-def]
            return await introduce(connection, "honest", peer, called=called)

        endpoint.introduce = lie  # type: ignore[method-assign]
        caplog.set_level(logging.DEBUG)
        async with running("b", liar):
            with trio.fail_after(5):
                while "introduced itself as honest, and then called itself b" not in caplog.text:
                    await trio.sleep(0.005)
        (link,) = server.links()
        assert link.up


async def test_what_answers_and_is_no_node_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    async def greet(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 mail.example ESMTP ready, at your service\r\n")
        await stream.receive_some()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(
            functools.partial(trio.serve_tcp, greet, 0, host="127.0.0.1")
        )
        where = f"127.0.0.1:{listener.socket.getsockname()[1]}"
        async with running("a", Tcp(None, peers=[where], limits=FAST)):
            await refused(caplog, f"a: somebody at {where} is refused: what it says is no intro")
        nursery.cancel_scope.cancel()


async def test_that_nobody_answers_is_said_once_it_has_lasted_and_to_who_asks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Bound, and never listening: nobody else can be there.
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        where = f"b@127.0.0.1:{nobody.getsockname()[1]}"
        limits = Limits(dial_at_most=0.01, lost_after=0.1)
        async with running("a", Tcp(None, peers=[where], limits=limits)) as system:
            await refused(
                caplog, f"a: nobody has answered at {where} for 0.1 s: Connection refused"
            )
            ref = system.at("actor://b/actor")
            with pytest.raises((AskTimeout, ActorStopped)) as asked:
                await ref.ask(1, timeout=0.01)
            if isinstance(asked.value, AskTimeout):
                assert asked.value.where.endswith("with node b: Connection refused")
            await trio.sleep(0.3)  # many calls more
    assert caplog.text.count("nobody has answered") == 1


# -- TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


def tls(authority: trustme.CA, folder: Path, name: str, issuer: trustme.CA | None = None) -> Tls:
    issued = (issuer or authority).issue_cert(name, key_type=trustme.KeyType.ECDSA)
    cert, key, ca = folder / f"{name}.pem", folder / f"{name}.key", folder / "ca.pem"
    cert.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(ca))
    return Tls(cert=cert, key=key, ca=ca)


async def test_certificates_let_in_whom_they_name(authority: trustme.CA, tmp_path: Path) -> None:
    server = Tcp("127.0.0.1:0", tls=tls(authority, tmp_path, "a"))
    async with (
        running("a", server),
        running("b", Tcp(None, peers=[server.address], tls=tls(authority, tmp_path, "b"))) as b,
    ):
        await connected(b, "a")


async def test_a_certificate_for_another_name_is_refused(
    authority: trustme.CA, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = Tcp("127.0.0.1:0", tls=tls(authority, tmp_path, "a"))
    certificate = tls(authority, tmp_path, "b")
    async with (
        running("a", server),
        running("good", Tcp(None, peers=[server.address], tls=certificate)),
    ):
        await refused(caplog, "good has a certificate for b")
        assert list(server.links()) == []


@pytest.mark.parametrize("wrong", ["another authority", "no TLS"])
async def test_who_has_no_certificate_of_the_authority_gets_nowhere(
    authority: trustme.CA, tmp_path: Path, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = Tcp("127.0.0.1:0", tls=tls(authority, tmp_path, "a"), limits=FAST)
    async with running("a", server):
        strangers = trustme.CA(key_type=trustme.KeyType.ECDSA)
        forged = tls(authority, tmp_path, "b", strangers) if wrong == "another authority" else None
        transport = Tcp(None, peers=[server.address], tls=forged, limits=FAST)
        async with running("b", transport):
            with trio.fail_after(5):
                while "a: a connection that was none" not in caplog.text:
                    await trio.sleep(0.005)
        assert list(server.links()) == []


@pytest.mark.parametrize("speaks", ["shop", "cart"])
async def test_of_two_nodes_of_which_only_one_speaks_tls_both_say_so(
    authority: trustme.CA, tmp_path: Path, caplog: pytest.LogCaptureFixture, speaks: str
) -> None:
    certificate = tls(authority, tmp_path, speaks)
    here = Tcp("127.0.0.1:0", tls=certificate if speaks == "shop" else None, limits=FAST)
    async with running("shop", here):
        place = f"shop@{place_of(here)}"
        there = Tcp(None, peers=[place], tls=certificate if speaks == "cart" else None, limits=FAST)
        async with running("cart", there):
            silent, speaker = ("cart", "shop") if speaks == "shop" else ("shop", "cart")
            await refused(
                caplog,
                f"{speaker}: {'somebody at 127.0.0.1' if silent == 'cart' else 'shop'} is refused: "
                "TLS: the other side does not speak it",
                f"{silent}: {'shop' if silent == 'cart' else 'somebody at 127.0.0.1'} is refused: "
                "it speaks TLS, and this node does not",
            )


def test_files_that_are_no_certificates_are_named(authority: trustme.CA, tmp_path: Path) -> None:
    tls(authority, tmp_path, "a")
    cert, key, ca = (tmp_path / name for name in ("a.pem", "a.key", "ca.pem"))
    with pytest.raises(ValueError, match=r"key: .*missing\.key: No such file"):
        Tls(cert=cert, key=tmp_path / "missing.key", ca=ca)
    (tmp_path / "text").write_text("no certificate")
    with pytest.raises(ValueError, match=r"a\.pem and .*text"):
        Tls(cert=cert, key=tmp_path / "text", ca=ca)
    encrypted = tmp_path / "encrypted.key"
    password = serialization.BestAvailableEncryption(b"secret")
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    encrypted.write_bytes(private.private_bytes(*form, password))
    with pytest.raises(ValueError, match=r"key: .*encrypted\.key: it is encrypted"):
        Tls(cert=cert, key=encrypted, ca=ca)
    with pytest.raises(ValueError, match=r"ca: .*text"):
        Tls(cert=cert, key=key, ca=tmp_path / "text")
