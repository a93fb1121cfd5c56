"""What a server says of itself, and which servers are new enough."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from transports.nats.errors import ProtocolFault

OLDEST: Final = (2, 11)
"""Limit markers and TTL of single messages, which leases need, came with it."""


class ServerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is used of INFO; `connect_urls` are other servers of its cluster."""

    server_id: str = ""
    server_name: str = ""
    version: str = ""
    cluster: str = ""
    domain: str = ""
    client_id: int = 0
    max_payload: int = 1 << 20
    headers: bool = False
    jetstream: bool = False
    auth_required: bool = False
    tls_required: bool = False
    tls_available: bool = False
    nonce: str = ""
    connect_urls: tuple[str, ...] | None = None
    ldm: bool = False

    @property
    def is_new_enough(self) -> bool:
        """Whether its version is `OLDEST` or later."""
        found = re.match(r"v?(\d{1,9})\.(\d{1,9})", self.version)
        return found is not None and (int(found[1]), int(found[2])) >= OLDEST


_decoder: Final = msgspec.json.Decoder(ServerInfo)


def decode_info(data: bytes) -> ServerInfo:
    """The INFO of these bytes of JSON.

    Raises:
        ProtocolFault: they are none.
    """
    try:
        info = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolFault(f"INFO: {error}") from None
    if info.max_payload < 0:
        raise ProtocolFault(f"INFO: a max_payload of {info.max_payload}")
    return info
