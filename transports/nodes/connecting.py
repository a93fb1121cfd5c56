"""How two nodes come to have a connection: one calls, the other answers; who is there is found out.

What a connection carries is the business of `link`.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import AsyncIterator, Iterator
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from transports.connection import Broken, Frames, Ourselves
from transports.endpoint import Endpoint, Peer
from transports.errors import DecodeError
from transports.wire import frames
from transports.wire.frames import Reason, Refuse
from transports.wire.introduction import MOST as MOST_OF_INTRODUCTION

if TYPE_CHECKING:
    from transports.nodes.link import Link
    from transports.nodes.node import Node

log = logging.getLogger("transports")

MOST_STRANGERS: Final = 256
"""Connections from outside of which nobody knows yet whose they are."""


class Connections:
    """The connections of a node over one endpoint."""

    def __init__(self, node: Node, endpoint: Endpoint) -> None:
        self._node = node
        self._endpoint = endpoint
        self._peers: dict[Peer, None] = {}
        """Those that are called."""
        self._links: dict[Peer, Link] = {}
        """Theirs; that of a peer of unknown name is added when it has introduced itself."""
        self._strangers: dict[trio.CancelScope, None] = {}
        self._silent_since: dict[Peer, float] = {}
        """When a call of theirs first found nobody; inf, if that was said."""

    def call(self, peer: Peer) -> None:
        """Have a connection with this peer from now on; no error if it is called already."""
        if peer in self._peers or peer.name == self._node.name:
            return
        self._peers[peer] = None
        if peer.name is not None:
            self._links[peer] = self._node.make_link(peer.name)
        self._node.start_soon(self._dial, peer)

    def call_no_more(self, peer: Peer) -> None:
        """Do not connect with this peer again; the connection there is stays.

        No error if it is not called.
        """
        self._peers.pop(peer, None)
        self._silent_since.pop(peer, None)
        link = self._links.pop(peer, None)
        if link is not None:
            link.change()

    def calls(self, link: Link) -> bool:
        """Whether it is the link with a peer that is called from here."""
        return any(each is link for each in self._links.values())

    # -- calling

    async def _dial(self, peer: Peer) -> None:
        """Call a peer whenever there is no connection.

        Of two that call each other, the one whose name comes first does; the other one waits a
        while before each attempt, in case it is called.
        """
        node, env = self._node, self._node.system.env
        attempt = 0
        while peer in self._peers:
            link = self._links.get(peer)
            changed = trio.Event() if link is None else link.changed
            if node.leaving and (link is None or not link.says_goodbye):
                return
            if link is not None and (link.is_busy() or link.fenced):
                self._silent_since.pop(peer, None)
                await changed.wait()
                attempt = 0 if link.is_up() else attempt
                continue
            chance = env.random("dial", node.name, peer.where, node.incarnation, attempt)
            wait = min(node.limits.dial_at_most, 0.05 * 2.0 ** min(attempt, 10)) if attempt else 0.0
            wait += 0.5 if link is not None and peer.calls and link.peer < node.name else 0.0
            with trio.move_on_after(wait * chance.uniform(0.5, 1.0)):
                await changed.wait()
            if peer not in self._peers or (link is not None and (link.is_busy() or link.fenced)):
                continue
            attempt += 1
            if not await self._call(peer):
                return

    async def _call(self, peer: Peer) -> bool:
        """One attempt, and the conversation that comes of it; False: it is this node itself."""
        node = self._node
        within = node.limits.handshake_within
        try:
            with trio.fail_after(within):
                stream = await self._endpoint.connect(peer.where)
        except (OSError, trio.TooSlowError) as error:
            why = _text(error) if isinstance(error, OSError) else f"no answer within {within:g} s"
            log.debug("%s: no connection with %s: %s", node.name, peer, why)
            self._found_nobody(peer, why)
            return True
        self._silent_since.pop(peer, None)
        async with _closing(stream):
            connection = Frames(stream, node.limits.max_frame)
            name: str | None = None
            with self._as_no_connection():
                try:
                    name = await self._introduce(connection, peer.name, called=False)
                except Ourselves:
                    return False
                except Broken as error:
                    if (called := self._links.get(peer)) is not None:
                        called.trouble = str(error)
                    raise
            if name is None or node.objection(self._endpoint, name) is not None:
                return True
            link = self._links[peer] = node.make_link(name)
            if not link.is_busy():
                await link.converse(connection, [])
            return True

    def _found_nobody(self, peer: Peer, why: str) -> None:
        """Say so when it has lasted, once: of nodes that start together, some are not there yet."""
        node = self._node
        if (link := self._links.get(peer)) is not None:
            link.unanswered = why
        now = node.dispatcher.timers.clock()
        within = node.limits.lost_after
        if now - self._silent_since.setdefault(peer, now) >= within:
            self._silent_since[peer] = inf
            text = "%s: nobody has answered at %s for %g s: %s; it is called again and again"
            log.warning(text, node.name, peer, within, why)

    # -- being called

    async def called(self, stream: trio.abc.Stream) -> None:
        """Somebody has connected."""
        connection = Frames(stream, MOST_OF_INTRODUCTION)
        if len(self._strangers) >= MOST_STRANGERS:
            # Of those who connect and say nothing, the first goes: those behind may be no such.
            # (Out of the dict at once: it ends a step later, and the next one to come may be here
            # before that, who must not cancel the same one again.)
            first = next(iter(self._strangers))
            del self._strangers[first]
            first.cancel()
        async with _closing(stream):
            greeted: tuple[str, list[bytes]] | None = None
            with trio.CancelScope() as scope, self._as_no_connection():
                self._strangers[scope] = None
                try:
                    greeted = await self._greet(connection)
                finally:
                    self._strangers.pop(scope, None)
            if greeted is not None:
                await self._answer(connection, *greeted)

    async def _greet(self, connection: Frames) -> tuple[str, list[bytes]]:
        """Who has called, and what was read of its HELLO."""
        name = await self._introduce(connection, None, called=True)
        connection.allow(self._node.limits.max_frame)
        with trio.fail_after(self._node.limits.handshake_within):
            peer, read = await read_hello(connection)
            if name in {None, peer}:
                return peer, read
            text = f"it introduced itself as {name}, and then called itself {peer}"
            refuse = frames.encode_refuse(Refuse(Reason.WRONG_NAME, text))
            await connection.part([refuse])
            raise Broken(text)

    async def _answer(self, connection: Frames, peer: str, read: list[bytes]) -> None:
        node = self._node
        # (It may have become the name of a worker since the introduction.)
        if peer == node.name or node.objection(self._endpoint, peer) is not None:
            return
        if node.leaving and not node.says_goodbye_to(peer):
            return
        link = node.make_link(peer)
        if link.is_busy() and not link.up and node.name < peer and self.calls(link):
            # Both call at once: the call of the one whose name comes first goes on.
            return
        await link.converse(connection, read)

    # -- both

    async def _introduce(self, connection: Frames, peer: str | None, *, called: bool) -> str | None:
        node = self._node
        with trio.fail_after(node.limits.handshake_within):
            return await self._endpoint.introduce(connection, node.name, peer, called=called)

    @contextlib.contextmanager
    def _as_no_connection(self) -> Iterator[None]:
        """What goes wrong before it is known who is there concerns this connection only."""
        try:
            yield
        except (Broken, DecodeError) as error:
            log.debug("%s: a connection that was none: %s", self._node.name, error)
        except trio.TooSlowError:
            log.debug("%s: a connection that was none: nothing was said in time", self._node.name)


def _text(error: OSError) -> str:
    # trio tries all addresses of a host, and has what was wrong with each of them as the cause.
    found: BaseException | None = error.__cause__
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[-1]
    number = found.errno if isinstance(found, OSError) else error.errno
    return str(error) if number is None else os.strerror(number)


@contextlib.asynccontextmanager
async def _closing(stream: trio.abc.Stream) -> AsyncIterator[None]:
    """Close it in the end, and at once: TLS would wait for the peer's goodbye."""
    try:
        yield
    finally:
        await trio.aclose_forcefully(stream)


async def read_hello(connection: Frames) -> tuple[str, list[bytes]]:
    """Who calls: the name in the HELLO that comes first, and what was read.

    Raises:
        Broken: the connection ends before that.
        DecodeError: it begins with something else.
    """
    payloads = await connection.read()
    frames.hello_version(payloads[0])
    return frames.decode_hello(payloads[0]).node, payloads
