"""The introduction on a connection: who is there, by `wire.introduction`, for all endpoints."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from transports.connection import Broken, Frames, Ourselves
from transports.errors import DecodeError
from transports.tls import Tls
from transports.wire.frames import Reason
from transports.wire.introduction import (
    NONCE,
    Introduced,
    Introduction,
    NotIntroduced,
    Role,
    check_secret,
)

log = logging.getLogger("transports")

NO_TLS_HERE = "it speaks TLS, and this node does not: give each node a certificate, tls=Tls(...)"


class Introducer:
    """Introduces one node on each of its connections.

    secret: what both sides have to prove, if it is not None. tls: the peer's own name must be one
    of those in its certificate; None: there are no certificates. `nonce` (bytes that were never
    there before) is set before the first introduction. `objection` says what is against a name, if
    anything is, of who has proven all that.

    Raises:
        TypeError, ValueError: it is no secret, see `check_secret`.
    """

    nonce: Callable[[int], bytes]
    objection: Callable[[str], str | None]

    def __init__(self, secret: bytes | None, tls: Tls | None = None) -> None:
        self._secret = check_secret(secret)
        self._tls = tls
        self.objection = _none
        self._said: dict[str, str] = {}
        self._nonces: deque[bytes] = deque(maxlen=1_000)

    @property
    def proves(self) -> bool:
        """Whether there is a secret to prove."""
        return self._secret is not None

    async def introduce(
        self, connection: Frames, me: str, peer: str | None, where: str, *, called: bool
    ) -> str | None:
        """See `Endpoint.introduce`. where: what a peer without a name is called in the log."""
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
        self._report(me, result, result.name or peer or f"somebody at {where}")
        raise Broken(result.text)

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
        if isinstance(result, Introduced) and (text := self.objection(result.name)) is not None:
            result = introduction.refuse(Reason.WRONG_NAME, text)
        if isinstance(result, Introduced):
            if written := introduction.outgoing():
                await connection.write(written)
        else:
            await connection.part(introduction.outgoing())
        return result

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
        if self._tls is None and connection.is_tls:
            # (An alert, if this side has called: shorter than any frame.)
            return NotIntroduced(Reason.CERTIFICATE, NO_TLS_HERE, by_peer=False, name=None)
        if role is Role.CALLER and isinstance(error, DecodeError):
            # Anybody may call. But what was called is no node.
            text = f"what it says is no introduction: {error.why}"
            return NotIntroduced(Reason.MALFORMED, text, by_peer=False, name=None)
        return None

    def _report(self, me: str, result: NotIntroduced, who: str) -> None:
        """Log a refusal; the same of the same peer again, which tries on and on, for debugging."""
        told, self._said[who] = self._said.get(who), result.text
        if len(self._said) > 1_000:
            self._said.clear()
        level = logging.DEBUG if told == result.text else logging.WARNING
        by = f"{who} has refused this node" if result.by_peer else f"{who} is refused"
        log.log(level, "%s: %s: %s", me, by, result.text)


def _none(name: str) -> None:
    """Nothing is against any name."""
