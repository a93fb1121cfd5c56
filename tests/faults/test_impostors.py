"""Who is not whom it says it is: no message of it reaches any actor, and honest peers go on."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trustme

from actors import ActorError, ActorSystem
from tests.faults.test_hostile_connections import LIMITS, SECRET, Count, Counter
from transports import Tcp, Tls

#: Who is refused calls again, at once.
INSISTS = attrs.evolve(LIMITS, dial_at_most=0.01, lost_after=0.5)
MESSAGES = 20


class Authorities:
    """One that the nodes trust, and one that they do not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trusted, self.other = (trustme.CA(key_type=trustme.KeyType.ECDSA) for _ in range(2))
        self.trusted.cert_pem.write_to_path(str(folder / "ca.pem"))

    def tls(self, name: str, *, forged: bool = False) -> Tls:
        authority = self.other if forged else self.trusted
        issued = authority.issue_cert(name, key_type=trustme.KeyType.ECDSA)
        cert, key = (self.folder / f"{name}-{forged}.{kind}" for kind in ("pem", "key"))
        cert.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key))
        return Tls(cert=cert, key=key, ca=self.folder / "ca.pem")


@pytest.fixture
def authorities(tmp_path: Path) -> Authorities:
    return Authorities(tmp_path)


Security = Callable[[Authorities, str], dict[str, Any]]


def secret(_: Authorities, name: str) -> dict[str, Any]:
    return {"secret": SECRET}


def certificate(authorities: Authorities, name: str) -> dict[str, Any]:
    return {"tls": authorities.tls(name)}


@contextlib.asynccontextmanager
async def served(authorities: Authorities, security: Security) -> AsyncIterator[tuple[Tcp, Any]]:
    """A node with a counter, and a peer that is let in. Nobody else is heard."""
    server = Tcp("127.0.0.1:0", limits=LIMITS, **security(authorities, "a"))
    async with ActorSystem("a", transport=server) as a:
        a.spawn(Counter, name="counter")
        good = Tcp(None, peers=[server.address], limits=LIMITS, **security(authorities, "good"))
        async with ActorSystem("good", transport=good) as system:
            ref = system.at("actor://a/counter")
            assert await ref.ask(Count()) == 1
            yield server, ref
            assert await ref.ask(Count()) == 2, "somebody else was heard"
        assert a.ledger.handled == 2
        assert a.ledger.missing == 0


def calls_itself_another(system: ActorSystem, name: str) -> None:
    """It introduces itself by that name, and says HELLO by its own."""
    transport: Any = system._transport
    introduce = transport.endpoint.introduce

    async def lie(connection: Any, me: str, peer: str | None, *, called: bool) -> Any:
        return await introduce(connection, name, peer, called=called)

    transport.endpoint.introduce = lie


WRONG: dict[str, tuple[Security, str, Security]] = {
    "another secret": (secret, "mallory", lambda _, name: {"secret": b"quite another secret"}),
    "no secret": (secret, "mallory", lambda _, name: {}),
    "a certificate of another authority": (
        certificate,
        "mallory",
        lambda authorities, name: {"tls": authorities.tls(name, forged=True)},
    ),
    "a certificate for another name": (
        certificate,
        "good",
        lambda authorities, name: {"tls": authorities.tls("mallory")},
    ),
    "no certificate": (certificate, "mallory", lambda _, name: {}),
    "a secret instead of a certificate": (certificate, "mallory", secret),
    "another's name in the introduction": (secret, "mallory", secret),
}


@pytest.mark.parametrize("what", WRONG)
async def test_no_message_of_an_impostor_reaches_any_actor(
    what: str, authorities: Authorities
) -> None:
    security, name, wrong = WRONG[what]
    async with served(authorities, security) as (server, _):
        transport = Tcp(None, peers=[server.address], limits=INSISTS, **wrong(authorities, name))
        system = ActorSystem(name, transport=transport)
        if what.startswith("another's name"):
            calls_itself_another(system, "good")
        async with system:
            ref = system.at("actor://a/counter")
            for _ in range(MESSAGES):
                with contextlib.suppress(ActorError):
                    ref.tell(Count())
            with pytest.raises(ActorError):
                await ref.ask(Count(), timeout=1)
        assert [link.peer for link in server.links()] == ["good"]


class Tap:
    """Passes on what a peer and a node say to each other, and keeps what the peer says."""

    def __init__(self, place: str) -> None:
        host, _, port = place.rpartition(":")
        self.where = host, int(port)
        self.said: list[bytes] = []

    async def serve(self, task_status: trio.TaskStatus[str]) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started(f"127.0.0.1:{listener.socket.getsockname()[1]}")
        async with (
            listener,
            await listener.accept() as near,
            await trio.open_tcp_stream(*self.where) as far,
            trio.open_nursery() as both,
        ):
            both.start_soon(self.carry, near, far, self.said)
            both.start_soon(self.carry, far, near, [])

    async def carry(
        self, source: trio.SocketStream, sink: trio.SocketStream, said: list[bytes]
    ) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := bytes(await source.receive_some()):
                said.append(data)
                await sink.send_all(data)
            await sink.send_eof()


@pytest.mark.parametrize("in_turn", [False, True], ids=["at once", "in turn"])
@pytest.mark.parametrize("security", [secret, certificate])
async def test_no_message_of_a_session_that_is_replayed_reaches_any_actor(
    security: Security, in_turn: bool, authorities: Authorities
) -> None:
    server = Tcp("127.0.0.1:0", limits=LIMITS, **security(authorities, "a"))
    async with ActorSystem("a", transport=server) as a, trio.open_nursery() as nursery:
        counter = a.spawn(Counter, name="counter")
        tap = Tap(server.address.rpartition("@")[2])
        place = await nursery.start(tap.serve)
        honest = Tcp(None, peers=[f"a@{place}"], limits=LIMITS, **security(authorities, "good"))
        async with ActorSystem("good", transport=honest) as system:
            ref = system.at("actor://a/counter")
            for number in range(1, MESSAGES + 1):
                assert await ref.ask(Count()) == number
        # The whole of it, from the introduction to the goodbye.
        assert len(tap.said) > MESSAGES
        async with await trio.open_tcp_stream(*tap.where) as stream:
            with contextlib.suppress(trio.BrokenResourceError):
                for data in tap.said:
                    await stream.send_all(data)
                    if in_turn:
                        with trio.move_on_after(0.05):
                            await stream.receive_some()
                with trio.fail_after(10):
                    while await stream.receive_some():
                        pass
        assert await counter.ask(Count()) == MESSAGES + 1
