"""What all endpoints on sockets share: they listen, and find out who is there."""

from __future__ import annotations

import abc
import functools
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import trio

from transports.connection import Frames
from transports.endpoint import Endpoint, Handle, Peer
from transports.errors import CannotListen
from transports.introducing import Introducer
from transports.nodes.limits import Limits
from transports.nodes.node import Node
from transports.nodes.spawnable import Recipe

if TYPE_CHECKING:
    from actors import ActorSystem
    from transports.tls import Tls


class SocketEndpoint(Endpoint):
    """Listens at one place, and calls others. The secret is proven, if there is one."""

    listens: bool
    listeners: list[trio.SocketListener]

    def __init__(self, secret: bytes | None, tls: Tls | None) -> None:
        self.introducer = Introducer(secret, tls)
        self._tls = tls

    @property
    @abc.abstractmethod
    def place(self) -> str:
        """Where others reach it; "" if it does not listen."""

    @abc.abstractmethod
    async def open(self) -> None:
        """Bind, so that a place that is taken is an error at once. Before `serve`.

        Raises:
            CannotListen: the operating system does not allow it, or it would not be safe.
        """

    async def connect(self, where: str) -> trio.abc.Stream:
        stream = await self._connect(where)
        return stream if self._tls is None else self._tls.client(stream)

    @abc.abstractmethod
    async def _connect(self, where: str) -> trio.SocketStream:
        """A connection to what answers there."""

    async def serve(self, handle: Handle) -> None:
        tls = self._tls

        async def accepted(stream: trio.SocketStream) -> None:
            await handle(stream if tls is None else tls.server(stream))

        if self.listeners:
            await trio.serve_listeners(accepted, self.listeners)

    def close(self) -> None:
        """Nobody is served any more: let the place go. No error if it was never open."""
        for listener in self.listeners:
            listener.socket.close()
        self.listeners = []

    async def introduce(
        self, connection: Frames, me: str, peer: str | None, *, called: bool
    ) -> str | None:
        # Now: the place of a connection that has ended is not known any more.
        where = _place_of(connection.stream, called)
        return await self.introducer.introduce(connection, me, peer, where, called=called)


class SocketNode(Node):
    """A node whose connections are sockets. The base of Tcp and Unix; see there."""

    def __init__(
        self,
        endpoint: SocketEndpoint,
        peers: Iterable[Peer],
        *,
        incarnation: int | None,
        limits: Limits | None,
        types: Iterable[type] | None,
        spawnable: Iterable[Recipe] | Mapping[str, Recipe],
    ) -> None:
        if not endpoint.listens:
            peers = [attrs.evolve(peer, calls=False) for peer in peers]
        super().__init__(
            endpoint,
            peers=peers,
            incarnation=incarnation,
            limits=limits,
            types=types,
            spawnable=spawnable,
        )
        self._socket_endpoint = endpoint

    @property
    def address(self) -> str:
        """What others name as their peer, NAME@PLACE, once the system has been entered.

        Raises:
            AttributeError: it has not been entered.
        """
        place = self._socket_endpoint.place
        return f"{self.system.name}@{place}" if place else self.system.name

    async def attach(self, system: ActorSystem) -> None:
        """The system has been entered: bind, then as every node.

        Raises:
            CannotListen: the place is taken, or it would not be safe.
        """
        endpoint = self._socket_endpoint
        endpoint.introducer.nonce = system.env.nonce
        endpoint.introducer.objection = functools.partial(self.objection, endpoint)
        try:
            await endpoint.open()
            await super().attach(system)
        except BaseException:
            endpoint.close()
            raise

    async def detach(self) -> None:
        """The system is being left."""
        try:
            await super().detach()
        finally:
            self._socket_endpoint.close()


def _place_of(stream: trio.abc.Stream, called: bool) -> str:
    """Where the other end of a connection is. One that has called has another port each time."""
    if isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    assert isinstance(stream, trio.SocketStream)
    try:
        if stream.socket.family != socket.AF_UNIX:
            host, port = stream.socket.getpeername()[:2]
            return host if called else f"{host}:{port}"
        return "a unix socket" if called else str(stream.socket.getpeername())
    except OSError:
        return "a connection that has ended"


def listening(where: str, bind: Callable[[], Any]) -> Any:
    """`bind()`, with its OSError in words.

    Raises:
        CannotListen: the operating system does not allow it.
    """
    try:
        return bind()
    except CannotListen:
        raise
    except OSError as error:
        raise CannotListen(where, error.strerror or str(error)) from error
