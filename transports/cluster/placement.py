"""Who is to own a shard, and what a node does about that. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from actors.hashing import stable_hash
from transports.cluster.view import Fate, Owned


class Standing(enum.Enum):
    """How a node stands to a shard."""

    VACANT = "nobody owns it, or its owner has released it, or that one's session is gone"
    OURS = "this node owns it, in the session that it has now"
    TAKEN = "a session owns it that is not known to be gone"


class Wish(enum.Enum):
    """What a node is to do about a shard."""

    CLAIM = "take it"
    KEEP = "own it"
    HAND_OVER = "stop what there is of it, and release it"
    WAIT = "leave it to the others"


_S, _W = Standing, Wish

WISHES: Final[Mapping[tuple[Standing, bool], Wish]] = MappingProxyType(
    {
        (_S.VACANT, True): _W.CLAIM,
        (_S.VACANT, False): _W.WAIT,
        (_S.OURS, True): _W.KEEP,
        (_S.OURS, False): _W.HAND_OVER,
        (_S.TAKEN, True): _W.WAIT,
        (_S.TAKEN, False): _W.WAIT,
    }
)
"""By how it stands, and whether this node is the one that should have it."""


def standing(owned: Owned | None, fate: Fate, session: str) -> Standing:
    """How a node stands to a shard with this record; fate: of the session in it."""
    if owned is None or owned.record.state == "released":
        return Standing.VACANT
    if owned.record.session == session:
        return Standing.OURS
    # Of a session that is not known it is not known that it is gone.
    return Standing.VACANT if fate is Fate.GONE else Standing.TAKEN


def chosen(region: str, shard: int, nodes: Sequence[str]) -> str:
    """Which of these nodes should have a shard; "": there are none.

    The same on each node that knows of the same nodes; when a node comes or goes, only the shards
    move that it takes, or had: rendezvous hashing (Thaler and Ravishankar, 1998).
    """
    return max(nodes, key=lambda node: (stable_hash((region, shard, node)), node), default="")
