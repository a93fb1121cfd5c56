"""The handshake at the start of each connection of a link: with whom, and which session goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import trio

from transports.connection import Broken, Frames
from transports.wire import frames
from transports.wire.frames import Reason
from transports.wire.handshake import Agreed, Handshake, Refused
from transports.wire.session import Session

if TYPE_CHECKING:
    from transports.nodes.link import Link

log = logging.getLogger("transports")


class Fenced(Broken):
    """The peer has talked to a later incarnation of this node, and never will to this one."""


def objection(link: Link, hello: bytes) -> frames.Refuse | None:
    """Why the peer is not talked to that has said this HELLO, or None."""
    me = link.session.describe(link.node.name, link.node.incarnation)
    return Handshake(me, fence=link.fence).objection(hello)


async def shake_hands(link: Link, connection: Frames, session: Session) -> Agreed:
    """Agree with the peer about a session; what comes behind that is left to be read.

    Raises:
        Fenced: the peer has talked to a later incarnation of this node.
        Broken: it has refused, or was refused; or nothing came of it in time.
        DecodeError: it does not speak this protocol.
    """
    hello = session.hello(link.node.name, link.node.incarnation)
    handshake = Handshake(hello, expected=link.peer, fence=link.fence)
    with trio.move_on_after(link.node.limits.handshake_within):
        while True:
            if written := handshake.outgoing():
                await connection.write(written)
            if isinstance(handshake.result, Agreed):
                return handshake.result
            if isinstance(handshake.result, Refused):
                refused = handshake.result
                _report(link, refused)
                if refused.by_peer and refused.reason is Reason.FENCED:
                    if link.node.leaving:
                        # The peer has heard our goodbye; its own was lost with the connection.
                        session.lost()
                    else:
                        raise Fenced(refused.text)
                raise Broken(f"refused: {refused.text}")
            payloads = iter(await connection.read())
            _take(handshake, payloads)
            connection.unread(list(payloads))
    raise Broken("no handshake in time")


def _report(link: Link, refused: Refused) -> None:
    """Log a refusal for which somebody has to do something; once, as it is tried on and on."""
    if refused.reason in (Reason.FENCED, Reason.MALFORMED) or link.trouble == refused.text:
        return
    link.trouble = refused.text
    by = "has refused this node" if refused.by_peer else "is refused"
    log.warning("%s: %s %s: %s", link.node.name, link.peer, by, refused.text)


def _take(handshake: Handshake, payloads: Iterator[bytes]) -> None:
    for payload in payloads:
        if handshake.received(payload) is not None:
            return
