"""Nodes on TCP: ActorSystem("shop", transport=Tcp("127.0.0.1:7400", secret=..., peers=[...]))."""

from __future__ import annotations

import functools
import ipaddress
import socket
from collections.abc import Iterable, Mapping
from typing import Final

import trio

from transports.endpoint import Peer
from transports.errors import CannotListen
from transports.nodes.limits import Limits
from transports.nodes.spawnable import Recipe
from transports.sockets import SocketEndpoint, SocketNode, listening
from transports.tls import Tls

UNSAFE: Final = (
    "whoever is there could talk to every actor: give all nodes a secret=..., or tls=Tls(...) "
    "(`trouper run`: --secret-file, or --tls-...); without, only loopback addresses are allowed "
    "(127.0.0.1, ::1, localhost)"
)


class Tcp(SocketNode):
    """A node on TCP, IPv4 or IPv6.

        ActorSystem("shop", transport=Tcp("127.0.0.1:7400", peers=["cart@127.0.0.1:7401"]))

    listen: HOST:PORT, an IPv6 host in brackets; port 0 takes a free one, `address` says which;
    None: it only calls others. peers: each as HOST:PORT, or NAME@HOST:PORT, which is refused if
    another node answers there. Of two nodes, it is enough that one has the other as a peer. A node
    may be among its own peers, so that all nodes of a cluster can be given one list.
    secret: at least 16 bytes, the same on all nodes. Both sides prove that they have it, and it is
    never sent. It keeps strangers out; it does not encrypt, and whoever can change what passes on
    the network is not kept out: that takes `tls`, with a certificate for each node.
    limits, incarnation, types, spawnable: as Node's.

    Raises:
        ValueError: an address is none, the secret is too short.
        CannotListen: neither secret nor TLS, and an address, or a peer's, is not loopback.
    """

    def __init__(
        self,
        listen: str | None,
        *,
        peers: Iterable[str] = (),
        secret: bytes | None = None,
        tls: Tls | None = None,
        incarnation: int | None = None,
        limits: Limits | None = None,
        types: Iterable[type] | None = None,
        spawnable: Iterable[Recipe] | Mapping[str, Recipe] = (),
    ) -> None:
        if tls is not None and not isinstance(tls, Tls):
            raise TypeError(f"tls is Tls(cert=..., key=..., ca=...), not {tls!r}")
        if isinstance(peers, str):
            raise TypeError(f"peers is a list of addresses: [{peers!r}]")
        known = [parse_peer(peer) for peer in peers]
        endpoint = TcpEndpoint(listen, secret, tls)
        for peer in known:
            endpoint.check_safe(parse_place(peer.where)[0], peer.where, calls=True)
        super().__init__(
            endpoint,
            known,
            incarnation=incarnation,
            limits=limits,
            types=types,
            spawnable=spawnable,
        )


def parse_peer(text: str) -> Peer:
    """HOST:PORT or NAME@HOST:PORT.

    Raises:
        ValueError: it is neither. (An InvalidAddress is one.)
    """
    name, at, where = text.rpartition("@")
    if at and not name:
        raise ValueError(f"nothing is named before the @ of {text!r}")
    if parse_place(where)[1] == 0:
        raise ValueError(f"a peer has a port from 1 up: {text!r}")
    return Peer(name or None, where)


def parse_place(text: str) -> tuple[str, int]:
    """Host and port of HOST:PORT.

    Raises:
        ValueError: it is none, with how to write it.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"an IPv6 address stands in brackets, as [::1]:7400: {text!r}")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError(
            f"an address on TCP is HOST:PORT, as 127.0.0.1:7400 or [::1]:7400: {text!r}"
        )
    return host, int(port)


def is_loopback(host: str) -> bool | None:
    """Whether it is an address of this machine alone; None: a name, which is to be looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return None


class TcpEndpoint(SocketEndpoint):
    """One address on TCP; None: it calls others only."""

    def __init__(self, listen: str | None, secret: bytes | None, tls: Tls | None) -> None:
        super().__init__(secret, tls)
        self.listeners = []
        self.listens = listen is not None
        self._listen = listen
        if listen is not None:
            self.check_safe(parse_place(listen)[0], listen)

    def check_safe(self, host: str, where: str, *, calls: bool = False) -> None:
        """Nobody can be told from a stranger without a secret or TLS.

        Raises:
            CannotListen: there is neither, and the host is not loopback.
        """
        if not self.introducer.proves and self._tls is None and is_loopback(host) is False:
            raise CannotListen(where, UNSAFE, calls=calls)

    @property
    def place(self) -> str:
        if not self.listeners:
            return ""
        host, port = self.listeners[0].socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def open(self) -> None:
        if self._listen is None:
            return
        host, port = parse_place(self._listen)
        try:
            found = await trio.socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        except OSError as error:
            raise CannotListen(self._listen, error.strerror or str(error)) from error
        places = dict.fromkeys((family, place) for family, *_, place in found)
        for _, place in places:
            self.check_safe(str(place[0]), self._listen)
        for family, place in places:
            # A name with several addresses has one port: with 0, the first one's.
            port = port or (self.listeners[0].socket.getsockname()[1] if self.listeners else 0)
            at = (place[0], port, *place[2:])
            self.listeners.append(
                trio.SocketListener(listening(self._listen, functools.partial(_bind, family, at)))
            )

    async def _connect(self, where: str) -> trio.SocketStream:
        host, port = parse_place(where)
        if not self.introducer.proves and self._tls is None and is_loopback(host) is None:
            for *_, place in await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                self.check_safe(str(place[0]), where, calls=True)
        return await trio.open_tcp_stream(host, port)


def _bind(family: int, place: tuple[str | int, ...]) -> trio.socket.SocketType:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(place)
        bound.listen(128)
        return trio.socket.from_stdlib_socket(bound)
    except BaseException:
        bound.close()
        raise
