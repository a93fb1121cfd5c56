"""Nodes connected by each kind of transport; those on sockets through a proxy for each pair."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import trio
import trustme

from actors import Actor, ActorSystem
from tests.contract.proxy import Proxy
from tests.transports.kit import Remote
from transports import Limits, MemoryNetwork, Node, Tcp, Tls, Unix

KINDS: Final = ("memory", "unix", "tcp", "tls")
SOCKETS: Final = KINDS[1:]

HANGS: Final = 30.0
"""Seconds: far beyond what any of these tests takes."""

SECRET: Final = b"sixteen bytes or more"

LIMITS: Final = Limits(
    window=64,
    per_target=16,
    outbox=64,
    lost_after=60.0,
    resend_after=0.1,
    dial_at_most=0.05,
    leave_within=1.0,
)


@functools.cache
def authority() -> trustme.CA:
    """Whose certificates all nodes of these tests believe."""
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@attrs.define
class Network:
    """Starts nodes, and does to their connections what a test says."""

    kind: str
    folder: Path
    nursery: trio.Nursery
    systems: dict[str, ActorSystem] = attrs.Factory(dict)
    proxies: dict[frozenset[str], Proxy] = attrs.Factory(dict)
    change: Callable[[Proxy], object] = attrs.field(default=lambda proxy: None)
    """What is done to each new proxy."""
    memory: MemoryNetwork = attrs.Factory(MemoryNetwork)
    made: int = 0

    @contextlib.asynccontextmanager
    async def node(
        self,
        name: str,
        *peers: str,
        limits: Limits = LIMITS,
        incarnation: int | None = None,
        spawnable: Sequence[type[Actor]] = (),
    ) -> AsyncIterator[ActorSystem]:
        """A system that calls these peers, which run already; it accounts for every message."""
        options: dict[str, Any] = {
            "limits": limits,
            "incarnation": incarnation,
            "spawnable": spawnable,
        }
        transport: Node
        if self.kind == "memory":
            transport = Node(self.memory.endpoint(name), peers=peers, **options)
        else:
            options["peers"] = [await self._place(name, peer) for peer in peers]
            match self.kind:
                case "unix":
                    path = self.folder / f"{name}.{incarnation or 0}"
                    transport = Unix(path, secret=SECRET, **options)
                case "tcp":
                    transport = Tcp("127.0.0.1:0", secret=SECRET, **options)
                case "tls":
                    transport = Tcp("127.0.0.1:0", tls=self._tls(name), **options)
        async with ActorSystem(name, transport=transport) as system:
            self.systems[name] = system
            system.spawn(Remote, name="actor")
            for peer in peers:
                await connected(system, peer)
                await connected(self.systems[peer], name)
            yield system
        ledger = system.ledger
        assert (ledger.missing, ledger.queued, ledger.in_flight) == (0, 0, 0), (name, ledger)

    def proxy(self, one: str, other: str) -> Proxy:
        """Between these two."""
        return self.proxies[frozenset((one, other))]

    def cut(self, one: str, other: str) -> None:
        """Break the connection; they make a new one."""
        if self.kind == "memory":
            self.memory.cut(one, other)
        else:
            self.proxy(one, other).cut()

    def part(self, one: str, other: str) -> None:
        """Break the connection, and let them make none."""
        if self.kind == "memory":
            self.memory.part(one, other)
        else:
            self.proxy(one, other).refuse = True
            self.cut(one, other)

    async def _place(self, name: str, peer: str) -> str:
        """Where `name` calls `peer`: at the proxy between them."""
        pair = frozenset((name, peer))
        self.made += 1
        node = self.systems[peer]._transport
        assert isinstance(node, Unix | Tcp)
        target = node.address.partition("@")[2]
        if self.kind == "unix":
            path = str(self.folder / f"{name}-{peer}.{self.made}")
            listener = trio.socket.socket(socket.AF_UNIX)
            await listener.bind(path)
            connect = functools.partial(trio.open_unix_socket, target)
        else:
            listener = trio.socket.socket()
            await listener.bind(("127.0.0.1", 0))
            path = f"127.0.0.1:{listener.getsockname()[1]}"
            port = int(target.rpartition(":")[2])
            connect = functools.partial(trio.open_tcp_stream, "127.0.0.1", port)
        # Little room on the way, so that a reader that is held up holds up the writer too.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        listener.listen(16)
        proxy = self.proxies[pair] = Proxy(connect, is_tls=self.kind == "tls")
        self.change(proxy)
        self.nursery.start_soon(proxy.run, trio.SocketListener(listener))
        return f"{peer}@{path}"

    def _tls(self, name: str) -> Tls:
        issued = authority().issue_cert(name, key_type=trustme.KeyType.ECDSA)
        cert, key, ca = (self.folder / f"{name}.{what}" for what in ("pem", "key", "ca"))
        issued.cert_chain_pems[0].write_to_path(str(cert))
        issued.private_key_pem.write_to_path(str(key))
        authority().cert_pem.write_to_path(str(ca))
        return Tls(cert=cert, key=key, ca=ca)


async def connected(system: ActorSystem, peer: str) -> None:
    """Wait until a system has a connection with a peer."""
    node = system._transport
    assert isinstance(node, Node)
    with trio.fail_after(5):
        while not any(link.peer == peer and link.up for link in node.links()):
            await trio.sleep(0.002)


def open_files() -> list[str]:
    """What this process has open, in words of the operating system."""
    found = []
    for each in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{each}"))
    return sorted(found)


@contextlib.asynccontextmanager
async def network(kind: str, folder: Path) -> AsyncIterator[Network]:
    """A network; its proxies end with it. A test that hangs fails."""
    with trio.fail_after(HANGS):
        async with trio.open_nursery() as nursery:
            yield Network(kind, folder, nursery)
            nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def cluster(
    kind: str, folder: Path, *names: str, limits: Limits = LIMITS
) -> AsyncIterator[tuple[Network, list[ActorSystem]]]:
    """Nodes, each connected with each; each calls those behind it."""
    async with network(kind, folder) as net, contextlib.AsyncExitStack() as stack:
        # Who calls one that comes before it waits a while, in case it is called.
        for place, name in reversed([*enumerate(names)]):
            node = net.node(name, *names[place + 1 :], limits=limits)
            await stack.enter_async_context(node)
        yield net, [net.systems[name] for name in names]
