"""What connects processes, and the ``trouper`` command.

In the order of a message: ``transports.nodes`` (refs to actors elsewhere, links), ``.encoding``
(messages as bytes), ``.wire`` (sessions and frames, without I/O), and the endpoints that carry
frames: `memory`, `unix`, `tcp` and `tls`, all behind `endpoint`; ``.nats`` is one on an engine.
``.cluster`` is what there is once among all nodes. ``.worker`` is a worker process,
``.control`` and ``.cli`` are the command line, ``.testing`` is the simulator.
Nothing in ``actors`` or ``supervision`` imports this package. To import it is what makes
``ActorSystem(strict_messages=True)`` possible.
"""

from actors.strict import install_round_tripper
from transports.cluster.memory_store import MemoryStore
from transports.cluster.session import Lease
from transports.cluster.sharded import Sharded
from transports.cluster.singleton import Singleton
from transports.cluster.store import Store
from transports.encoding.round_trip import RoundTrip
from transports.endpoint import Endpoint
from transports.errors import (
    CannotJoin,
    CannotListen,
    DecodeError,
    NoStore,
    NotEncodable,
    RemoteFailure,
    ShardsDiffer,
)
from transports.memory import MemoryNetwork
from transports.nodes.limits import Limits
from transports.nodes.node import Node
from transports.tcp import Tcp
from transports.tls import Tls
from transports.unix import Unix

install_round_tripper(RoundTrip)

__all__ = [
    "CannotJoin",
    "CannotListen",
    "DecodeError",
    "Endpoint",
    "Lease",
    "Limits",
    "MemoryNetwork",
    "MemoryStore",
    "NoStore",
    "Node",
    "NotEncodable",
    "RemoteFailure",
    "Sharded",
    "ShardsDiffer",
    "Singleton",
    "Store",
    "Tcp",
    "Tls",
    "Unix",
]
