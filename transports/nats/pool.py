"""The servers that a client may connect with: those it was given, and those that they know of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote, urlsplit

import attrs

from actors.env import Random
from transports.nats.credentials import Credentials, Token, UserPassword

PORT: Final = 4222


@attrs.frozen
class Place:
    """Where one server is.

    tls: the URL said so. credentials: those in the URL. tls_name: what its certificate is to name;
    None: its host.
    """

    host: str
    port: int
    tls: bool = False
    credentials: Credentials | None = None
    discovered: bool = False
    tls_name: str | None = None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_url(url: str, *, discovered: bool = False) -> Place:
    """The place of "nats://host:port", "tls://...", "host:port" or "host", perhaps with user:pass@
    or token@.

    Raises:
        ValueError: it is none of these.
    """
    if type(url) is not str:
        raise ValueError(f"a server is a URL such as nats://host:4222, not {url!r}")
    if "," in url:
        raise ValueError("a server is one URL such as nats://host:4222: give several one by one")
    try:
        parts = urlsplit(url if "://" in url else f"nats://{url}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"a server is a URL such as nats://host:4222: {error}") from None
    if (
        parts.scheme not in {"nats", "tls"}
        or not host
        or " " in host
        or parts.path.strip("/")
        or parts.query
    ):
        shown = url.rpartition("@")[2]
        raise ValueError(f"a server is a URL such as nats://host:4222, not {shown!r}")
    credentials: Credentials | None = None
    if parts.password is not None:
        credentials = UserPassword(unquote(parts.username or ""), unquote(parts.password))
    elif parts.username:
        credentials = Token(unquote(parts.username))
    port = PORT if port is None else port
    return Place(host, port, parts.scheme == "tls", credentials, discovered)


class Pool:
    """The servers in the order in which they are tried.

    rng: shuffles them. Raises:
        ValueError: there is none, or one is no URL.
    """

    def __init__(self, servers: str | Iterable[str], rng: Random) -> None:
        urls = [servers] if isinstance(servers, str) else list(servers)
        if not urls:
            raise ValueError("a client needs the URL of a server at least")
        places: dict[str, Place] = {}
        for url in urls:
            place = parse_url(url)
            places.setdefault(str(place), place)
        self._rng = rng
        self._places = list(places.values())
        rng.shuffle(self._places)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def places(self) -> tuple[Place, ...]:
        """All of them, the next one first."""
        return tuple(self._places)

    def next(self) -> Place:
        """The one to try now; it is the last one then."""
        place = self._places.pop(0)
        self._places.append(place)
        return place

    def discovered(self, urls: Iterable[str], current: Place) -> None:
        """What an INFO says of the cluster: new ones are added, in a random order, those that it no
        longer knows of are gone, but never those that the client was given, or the current one.
        """
        known: dict[str, Place] = {}
        for url in urls:
            try:
                place = parse_url(url, discovered=True)
            except ValueError:
                # A server's fault must not take away the servers that are known.
                continue
            # It says numbers, which a certificate seldom has: it has the name of all of them.
            known[str(place)] = attrs.evolve(
                place,
                tls=current.tls,
                credentials=current.credentials,
                tls_name=current.tls_name or current.host,
            )
        self._places = [
            each
            for each in self._places
            if not each.discovered or str(each) in known or each == current
        ]
        for each in self._places:
            known.pop(str(each), None)
        new = list(known.values())
        self._rng.shuffle(new)
        # Before the current one, which is the last.
        self._places[-1:-1] = new
