"""What connects processes, and the ``trouper`` command.

This package holds the command line, ``transports.cli``, the wire (`framing`, `codec`, `handshake`,
`session`: no I/O; see docs/wire.md), and nodes: `node`, `link`, and what refs need to reach others.
Nothing in ``actors`` or ``supervision`` imports this package. To import it is what makes
``ActorSystem(strict_messages=True)`` possible.
"""

from actors.strict import install_round_tripper
from transports.endpoint import Endpoint
from transports.errors import CannotListen, DecodeError, NotEncodable, RemoteFailure
from transports.memory import MemoryNetwork
from transports.node import Limits, Node
from transports.round_trip import RoundTrip
from transports.tcp import Tcp
from transports.tls import Tls
from transports.unix import Unix

install_round_tripper(RoundTrip)

__all__ = [
    "CannotListen",
    "DecodeError",
    "Endpoint",
    "Limits",
    "MemoryNetwork",
    "Node",
    "NotEncodable",
    "RemoteFailure",
    "Tcp",
    "Tls",
    "Unix",
]
