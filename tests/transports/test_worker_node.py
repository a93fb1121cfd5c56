"""The node of a worker process, as its settings say; tests/faults has the processes."""

import attrs

from transports import Limits
from transports.worker.__main__ import make_transport
from transports.worker.settings import Settings


def test_a_worker_calls_its_parent_at_once_as_it_is_never_called_by_it() -> None:
    # The parent's name comes before the workers': of two that call each other, it would call.
    settings = Settings(
        node="shop-worker-2",
        parent="shop",
        folder="/run/x",
        sockets={"shop": "0", "shop-worker-1": "1", "shop-worker-2": "2"},
        secret="00" * 32,
        actors=[],
        modules=[],
        path=[],
        levels={},
        limits=attrs.asdict(Limits()),
        grace=1.0,
    )
    peers = make_transport(settings)._peers
    assert [(peer.name, peer.where, peer.calls) for peer in peers] == [
        ("shop", "/run/x/0", False),
        ("shop-worker-1", "/run/x/1", True),
    ]
