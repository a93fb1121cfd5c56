"""What all endpoints on sockets share: they listen, and find out who is there."""

from __future__ import annotations

import abc
import logging
import socket
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import trio

from transports.connection import Broken, Frames, Ourselves
from transports.endpoint import Endpoint, Handle, Peer
from transports.errors import CannotListen, DecodeError
from transports.nodes.node import Limits, Node
from transports.nodes.spawnable import Recipe
from transports.wire.frames import Reason
from transports.wire.introduction import (
    NONCE,
    Introduced,
    Introduction,
    NotIntroduced,
    Role,
    check_secret,
)

if TYPE_CHECKING:
    from actors import ActorSystem
    from transports.tls import Tls

log = logging.getLogger("transports")


class SocketEndpoint(Endpoint):
    """Listens at one place, and calls others. The secret is proven, if there is one."""

    listens: bool
    listeners: list[trio.SocketListener]
    nonce: Callable[[int], bytes]

    def __init__(self, secret: bytes | None, tls: Tls | None) -> None:
        self._secret = check_secret(secret)
        self._tls = tls
        self._said: dict[str, str] = {}
        self._nonces: deque[bytes] = deque(maxlen=1_000)

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
        who = peer or f"somebody at {_place_of(connection.stream, called)}"
        role = Role.CALLED if called else Role.CALLER
        try:
            result = await self._introduce(connection, me, role, peer)
        except (Broken, DecodeError) as error:
            objection = await self._objection(connection, error, role)
            if objection is None:
                raise
            result = objection
        if isinstance(result, Introduced):
            return result.name
        self._report(me, result, result.name or who)
        raise Broken(result.text)

    async def _objection(
        self, connection: Frames, error: Broken | DecodeError, role: Role
    ) -> NotIntroduced | None:
        """What somebody has to do something about, of what ended a connection; None: nothing."""
        found = None if self._tls is None else self._tls.objection(error)
        if self._tls is not None and found is not None:
            text, by_peer = found
            if not by_peer:
                await self._tls.part(connection.stream)
            return NotIntroduced(Reason.CERTIFICATE, text, by_peer, None)
        if role is Role.CALLER and isinstance(error, DecodeError):
            # Anybody may call. But what was called is no node.
            text = f"what it says is no introduction: {error.why}"
            return NotIntroduced(Reason.MALFORMED, text, by_peer=False, name=None)
        return None

    async def _introduce(
        self, connection: Frames, me: str, role: Role, peer: str | None
    ) -> Introduced | NotIntroduced:
        nonce = self.nonce(NONCE)
        introduction = Introduction(me, role, nonce, secret=self._secret, expected=peer)
        self._nonces.append(nonce)
        while introduction.result is None:
            await connection.write(introduction.outgoing())
            payloads = await connection.read()
            for place, payload in enumerate(payloads, 1):
                if introduction.received(payload) is not None:
                    connection.unread(payloads[place:])
                    break
        if introduction.peer_nonce in self._nonces:
            raise Ourselves("it has called itself")
        result = introduction.result
        if isinstance(result, Introduced) and self._tls is not None:
            names = self._tls.names_of(connection.stream)
            if result.name not in names:
                shown = ", ".join(names) or "no name"
                result = introduction.refuse(
                    Reason.CERTIFICATE, f"{result.name} has a certificate for {shown}"
                )
        if isinstance(result, Introduced):
            if written := introduction.outgoing():
                await connection.write(written)
        else:
            await connection.part(introduction.outgoing())
        return result

    def _report(self, me: str, result: NotIntroduced, who: str) -> None:
        """Log a refusal; the same of the same peer again, which tries on and on, for debugging."""
        told, self._said[who] = self._said.get(who), result.text
        if len(self._said) > 1_000:
            self._said.clear()
        level = logging.DEBUG if told == result.text else logging.WARNING
        by = f"{who} has refused this node" if result.by_peer else f"{who} is refused"
        log.log(level, "%s: %s: %s", me, by, result.text)


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
        endpoint.nonce = system.env.nonce
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
    except OSError as error:
        raise CannotListen(where, error.strerror or str(error)) from error
