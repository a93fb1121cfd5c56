"""TLS with certificates on both sides: who is there is what an authority has certified."""

from __future__ import annotations

import os
import ssl
from typing import Any, Final

import trio

from transports.connection import send_last

URI: Final = "trouper:"
"""A certificate may name a node by the URI trouper:NAME, where NAME can be no host's."""

SPEAKS_TLS: Final = bytes((21, 3, 1, 0, 2, 2, 70))
"""An alert, fatal: protocol_version."""


class Tls:
    """This node's certificate, its private key, and the authority whose certificates it believes.

    cert, key, ca: paths of PEM files. Both sides show a certificate. That of a node must name it:
    its subjectAltName has the node's name as a DNS name, or as the URI trouper:NAME. TLS 1.2 or
    later.

    Raises:
        ValueError: a file cannot be read, is none of that kind, or key and certificate differ.
    """

    def __init__(
        self,
        *,
        cert: str | os.PathLike[str],
        key: str | os.PathLike[str],
        ca: str | os.PathLike[str],
    ) -> None:
        for what, path in (("cert", cert), ("key", key), ("ca", ca)):
            try:
                with open(path, "rb"):
                    pass
            except OSError as error:
                raise ValueError(f"tls: {what}: {os.fspath(path)}: {error.strerror}") from None
        self._server = _context(ssl.PROTOCOL_TLS_SERVER, cert, key, ca)
        self._client = _context(ssl.PROTOCOL_TLS_CLIENT, cert, key, ca)

    def server(self, stream: trio.abc.Stream) -> trio.SSLStream[Any]:
        """The side of a connection that was called."""
        return trio.SSLStream(stream, self._server, server_side=True, https_compatible=True)

    def client(self, stream: trio.abc.Stream) -> trio.SSLStream[Any]:
        """The side that has called."""
        return trio.SSLStream(stream, self._client, https_compatible=True)

    @staticmethod
    def names_of(stream: trio.abc.Stream) -> list[str]:
        """The nodes' names in the certificate at the other end, once something was read."""
        assert isinstance(stream, trio.SSLStream)
        found = (stream.getpeercert() or {}).get("subjectAltName", ())
        names = [name for kind, name in found if kind == "DNS"]
        uris = [name for kind, name in found if kind == "URI" and name.startswith(URI)]
        return names + [uri.removeprefix(URI) for uri in uris]

    @staticmethod
    def objection(error: BaseException) -> tuple[str, bool] | None:
        """What TLS itself has against a connection that broke, and whether it is the peer's TLS.

        None: nothing.
        """
        found: BaseException | None = error
        while found is not None and not isinstance(found, ssl.SSLError):
            found = found.__cause__
        if found is None or isinstance(found, ssl.SSLEOFError) or not found.reason:
            return None
        text = found.reason.lower().replace("_", " ")
        if found.reason == "WRONG_VERSION_NUMBER":
            text = "the other side does not speak it"
        if isinstance(found, ssl.SSLCertVerificationError):
            text += f": {found.verify_message}"
        return f"TLS: {text}", "ALERT" in found.reason

    @staticmethod
    async def part(stream: trio.abc.Stream) -> None:
        """Let the peer hear an objection of this side: at most PART_WITHIN seconds."""
        assert isinstance(stream, trio.SSLStream)
        plain = stream.transport_stream
        # OpenSSL has made an alert of it, which trio does not send. But it has none for a peer that
        # speaks no TLS, which is to hear that this side does.
        await send_last(plain, stream._outgoing.read() or SPEAKS_TLS)


def _context(
    side: int,
    cert: str | os.PathLike[str],
    key: str | os.PathLike[str],
    ca: str | os.PathLike[str],
) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A node is called by its own name and not by its host's: `names_of` is compared with that.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED

    def no_password() -> str:
        raise ValueError(f"tls: key: {os.fspath(key)}: it is encrypted, and nobody is asked for it")

    try:
        # (Without a function OpenSSL asks for the password of a key at the terminal, and waits.)
        context.load_cert_chain(cert, key, no_password)
    except ssl.SSLError as error:
        raise ValueError(
            f"tls: {os.fspath(cert)} and {os.fspath(key)} are no certificate and its private key "
            f"in PEM: {error}"
        ) from None
    try:
        context.load_verify_locations(cafile=ca)
    except ssl.SSLError as error:
        raise ValueError(f"tls: ca: {os.fspath(ca)}: {error}") from None
    return context
