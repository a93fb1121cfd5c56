"""The first exchange on a socket: who is there, and the proof of a shared secret. No I/O.

It comes before the handshake of the session, so that nobody who has not proven the secret can
touch a link, or break a connection that is in use. Both sides send INTRODUCE at once, with their
name and a nonce. If there is a secret, the caller proves it first, then the one that was called:
an HMAC-SHA256 [RFC 2104] over the role of the prover and both INTRODUCE frames. So a proof is worth
nothing on another connection (the nonces), for another node (the names), or sent back to where it
came from (the role).
"""

from __future__ import annotations

import contextlib
import enum
import hmac
import struct
from typing import Final

import attrs

from actors.address import check_name
from transports.errors import DecodeError, WrongState
from transports.wire import frames
from transports.wire.frames import MAGIC, REFUSE, VERSION, Reason, Refuse

INTRODUCE: Final = 9
PROVE: Final = 10

NONCE: Final = 32
"""Bytes of a nonce."""
LEAST_SECRET: Final = 16
"""Bytes: who is called can try out secrets against a proof, as fast as its machine allows."""
MOST: Final = 512
"""Bytes of the largest frame of an introduction."""

_HEAD: Final = struct.Struct(">B4sHB32sB")
_PREFIX: Final = struct.Struct(">B4sH")


class State(enum.Enum):
    """Where an introduction is."""

    AWAIT_INTRODUCE = "await introduce"
    AWAIT_PROOF = "await proof"
    INTRODUCED = "introduced"
    REFUSED = "refused"


class Role(enum.Enum):
    """Who has opened the connection. The value is what a proof begins with."""

    CALLER = b"trouper caller"
    CALLED = b"trouper called"


#: By state and kind of frame, what may follow. What is not in the table is refused as malformed.
TABLE: Final[dict[tuple[State, int], tuple[State, ...]]] = {
    (State.AWAIT_INTRODUCE, INTRODUCE): (State.AWAIT_PROOF, State.INTRODUCED),
    (State.AWAIT_INTRODUCE, REFUSE): (State.REFUSED,),
    (State.AWAIT_PROOF, PROVE): (State.INTRODUCED,),
    (State.AWAIT_PROOF, REFUSE): (State.REFUSED,),
}


@attrs.frozen
class Introduced:
    """The peer's name; it has the secret, if there is one."""

    name: str


@attrs.frozen
class NotIntroduced:
    """Why not, in words too, whether it is the peer that refused, and its name if it is known."""

    reason: Reason
    text: str
    by_peer: bool
    name: str | None


class Introduction:
    """One introduction, on one connection.

    me: this node's name. role: whether it has called, or was called. nonce: NONCE bytes, never
    used before. secret: None if none is shared. expected: the name that the peer must have.
    version: of the protocol; the peer must speak the same.

    Raises:
        ValueError: a name, the nonce, the length of the secret.
    """

    def __init__(
        self,
        me: str,
        role: Role,
        nonce: bytes,
        *,
        secret: bytes | None = None,
        expected: str | None = None,
        version: int = VERSION,
    ) -> None:
        check_name(me, "node")
        if len(me.encode()) > 255:
            raise ValueError(f"a node's name has at most 255 bytes in UTF-8: {me!r}")
        if len(nonce) != NONCE:
            raise ValueError(f"a nonce has {NONCE} bytes, not {len(nonce)}")
        check_secret(secret)
        self._me = me
        self._role = role
        self._secret = secret
        self._expected = expected
        self._version = version
        name = me.encode()
        head = _HEAD.pack(INTRODUCE, MAGIC, version, secret is not None, nonce, len(name))
        self._mine = head + name
        self._theirs = b""
        self._peer: str | None = None
        self._state = State.AWAIT_INTRODUCE
        self._outgoing = [self._mine]
        self._result: Introduced | NotIntroduced | None = None

    @property
    def state(self) -> State:
        """Where it is in `TABLE`."""
        return self._state

    @property
    def result(self) -> Introduced | NotIntroduced | None:
        """What came of it, once something has."""
        return self._result

    @property
    def peer_nonce(self) -> bytes:
        """That of the peer's INTRODUCE; empty before it has come."""
        return _HEAD.unpack_from(self._theirs)[4] if self._theirs else b""

    def outgoing(self) -> list[bytes]:
        """The frames to write now; also after a refusal, whose reason the peer should hear."""
        taken, self._outgoing = self._outgoing, []
        return taken

    def received(self, frame: bytes) -> Introduced | NotIntroduced | None:
        """Take one frame, of whatever bytes; the result, once there is one.

        Raises:
            WrongState: there is a result already.
        """
        if self._result is not None:
            raise WrongState(self._state.value, "receiving")
        try:
            self._result = self._take(frame)
        except DecodeError as error:
            self._result = self.refuse(Reason.MALFORMED, error.why)
        return self._result

    def refuse(self, reason: Reason, text: str) -> NotIntroduced:
        """End it: this side does not want the peer, for a reason of its own."""
        self._state = State.REFUSED
        self._outgoing.append(frames.encode_refuse(Refuse(reason, text)))
        self._result = NotIntroduced(reason, text, by_peer=False, name=self._peer)
        return self._result

    def _take(self, frame: bytes) -> Introduced | NotIntroduced | None:
        if not frame:
            raise DecodeError("$", "a frame without a kind")
        kind = frame[0]
        if (self._state, kind) not in TABLE:
            raise DecodeError("$", f"a frame of kind {kind} in the state {self._state.value!r}")
        if kind == REFUSE:
            refuse = frames.decode_refuse(frame)
            self._advance(kind, State.REFUSED)
            return NotIntroduced(refuse.reason, refuse.text, by_peer=True, name=self._peer)
        return self._take_introduce(frame) if kind == INTRODUCE else self._take_proof(frame)

    def _take_introduce(self, frame: bytes) -> Introduced | NotIntroduced | None:
        magic, version = prefix(frame)
        if magic != MAGIC:
            return self.refuse(Reason.MAGIC, "this is no link of Trouper")
        if version != self._version:
            # What follows may be anything; mostly it is a name still, which helps to find the node.
            with contextlib.suppress(DecodeError):
                self._peer, _ = decode_introduce(frame)
            theirs = f"{self._peer or 'the peer'} speaks version {version} of the protocol"
            return self.refuse(Reason.VERSION, f"{theirs}, {self._me} version {self._version}")
        self._peer, wants_proof = decode_introduce(frame)
        self._theirs = frame
        objection = self._objection(self._peer, wants_proof)
        if objection is not None:
            return self.refuse(*objection)
        if self._secret is None:
            self._advance(INTRODUCE, State.INTRODUCED)
            return Introduced(self._peer)
        self._advance(INTRODUCE, State.AWAIT_PROOF)
        if self._role is Role.CALLER:
            self._outgoing.append(self._prove(self._role, self._secret))
        return None

    def _objection(self, peer: str, wants_proof: bool) -> tuple[Reason, str] | None:
        if peer == self._me:
            return Reason.OWN_NAME, f"both nodes are called {peer}"
        if self._expected not in {None, peer}:
            return Reason.WRONG_NAME, f"{self._expected} was called, and {peer} answered"
        if wants_proof and self._secret is None:
            return Reason.SECRET, f"{peer} wants the proof of a secret, {self._me} was given none"
        if self._secret is not None and not wants_proof:
            return Reason.SECRET, f"{self._me} wants the proof of a secret, {peer} was given none"
        return None

    def _take_proof(self, frame: bytes) -> Introduced | NotIntroduced:
        secret, peer = self._secret, self._peer
        assert secret is not None
        assert peer is not None
        other = Role.CALLED if self._role is Role.CALLER else Role.CALLER
        # In constant time: how long it takes tells nothing of how much of it is right.
        if not hmac.compare_digest(frame, self._prove(other, secret)):
            return self.refuse(Reason.SECRET, f"{peer} and {self._me} have different secrets")
        self._advance(PROVE, State.INTRODUCED)
        if self._role is Role.CALLED:
            self._outgoing.append(self._prove(self._role, secret))
        return Introduced(peer)

    def _prove(self, role: Role, secret: bytes) -> bytes:
        by_caller, by_called = self._mine, self._theirs
        if self._role is Role.CALLED:
            by_caller, by_called = by_called, by_caller
        # Each INTRODUCE says how long it is, so the three cannot be cut in another way.
        said = role.value + by_caller + by_called
        return bytes([PROVE]) + hmac.digest(secret, said, "sha256")

    def _advance(self, kind: int, after: State) -> None:
        assert after in TABLE[self._state, kind]
        self._state = after


def prefix(frame: bytes) -> tuple[bytes, int]:
    """Magic and version of an INTRODUCE: this much of it is the same in all versions.

    Raises:
        DecodeError: it ends before.
    """
    if len(frame) < _PREFIX.size:
        raise DecodeError("$", "an INTRODUCE ends within its magic and version")
    _, magic, version = _PREFIX.unpack_from(frame)
    return magic, version


def decode_introduce(frame: bytes) -> tuple[str, bool]:
    """Name, and whether a proof is wanted, of a frame of that kind and version.

    Raises:
        DecodeError: its length is wrong, or a field is not in its range.
    """
    if len(frame) < _HEAD.size:
        raise DecodeError("$", f"an INTRODUCE of {len(frame)} bytes ends within its header")
    _, _, _, wants_proof, _, length = _HEAD.unpack_from(frame)
    if len(frame) != _HEAD.size + length:
        raise DecodeError("$", f"{len(frame) - _HEAD.size} bytes for a name of {length}")
    if wants_proof > 1:
        raise DecodeError("$", f"an INTRODUCE that wants {wants_proof} proofs")
    try:
        name = check_name(frame[_HEAD.size :].decode(), "node")
    except ValueError as error:
        raise DecodeError("$", str(error)) from error
    return name, wants_proof == 1


def check_secret(secret: bytes | None) -> bytes | None:
    """The secret, if it can be one.

    Raises:
        TypeError: it is no bytes. ValueError: it is too short.
    """
    if secret is None:
        return None
    if not isinstance(secret, bytes):
        raise TypeError(f"a secret is bytes, not {type(secret).__name__}")
    if len(secret) < LEAST_SECRET:
        raise ValueError(f"a secret has at least {LEAST_SECRET} bytes, not {len(secret)}")
    return secret
