"""Who a client is to a server: user and password, a token, a signature by an NKEY, a signed JWT."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

import attrs

from transports.nats.errors import MissingExtra

_BLOCK: Final = re.compile(
    r"-{3,}BEGIN (NATS USER JWT|USER NKEY SEED)-{3,}\s*([A-Za-z0-9+/=_.-]+?)\s*-{3,}END \1-{3,}"
)


class Credentials(Protocol):
    """What is said of the user in CONNECT."""

    def fields(self, nonce: str) -> Mapping[str, Any]:
        """The fields of CONNECT. nonce: what the server wants to have signed; "": nothing."""


@attrs.frozen
class UserPassword(Credentials):
    """A user and its password."""

    user: str
    password: str = attrs.field(repr=False)

    def fields(self, nonce: str) -> Mapping[str, Any]:
        return {"user": self.user, "pass": self.password}


@attrs.frozen
class Token(Credentials):
    """A token that all clients have."""

    token: str = attrs.field(repr=False)

    def fields(self, nonce: str) -> Mapping[str, Any]:
        return {"auth_token": self.token}


class NKey(Credentials):
    """A pair of keys (Ed25519); the seed, "SU...", never leaves this process.

    Raises:
        MissingExtra: the package nkeys is not installed.
        ValueError: it is no seed of a user.
    """

    def __init__(self, seed: str | bytes) -> None:
        self._seed = _check_seed(seed)

    def fields(self, nonce: str) -> Mapping[str, Any]:
        keys = _keys(self._seed)
        return {"nkey": keys.public_key.decode(), "sig": _sign(keys, nonce)}

    def __repr__(self) -> str:
        return f"NKey({_keys(self._seed).public_key.decode()})"


class CredentialsFile(Credentials):
    """A file as `nsc` writes it, ".creds": a user's JWT and its seed.

    It is read for each connection: an operator may renew it.

    Raises:
        MissingExtra: the package nkeys is not installed.
        ValueError: the file cannot be read, or is none of that kind.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._read()

    def fields(self, nonce: str) -> Mapping[str, Any]:
        jwt, seed = self._read()
        return {"jwt": jwt, "sig": _sign(_keys(seed), nonce)}

    def __repr__(self) -> str:
        return f"CredentialsFile({self._path!r})"

    def _read(self) -> tuple[str, bytes]:
        try:
            with open(self._path, encoding="ascii") as file:
                text = file.read(1 << 20)
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"credentials: {self._path}: {error}") from None
        found = {each[1]: each[2] for each in _BLOCK.finditer(text)}
        if len(found) != 2:
            raise ValueError(f"credentials: {self._path} has not both a JWT and a seed of a user")
        return found["NATS USER JWT"], _check_seed(found["USER NKEY SEED"])


def _check_seed(seed: str | bytes) -> bytes:
    data = seed.encode() if isinstance(seed, str) else bytes(seed)
    data = data.strip()
    if not data.startswith(b"SU"):
        raise ValueError("the seed of a user's NKEY begins with SU")
    _keys(data)
    return data


def _keys(seed: bytes) -> Any:
    try:
        import nkeys
    except ImportError:
        raise MissingExtra("nkeys", "nats") from None
    try:
        return nkeys.from_seed(bytearray(seed))
    except Exception:
        # Whatever that package raises: its text may have the seed in it.
        raise ValueError("it is no seed of a user's NKEY") from None


def _sign(keys: Any, nonce: str) -> str:
    return base64.urlsafe_b64encode(keys.sign(nonce.encode())).rstrip(b"=").decode()
