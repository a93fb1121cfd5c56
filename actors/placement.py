"""On which node an actor is spawned: policies that choose, as pure functions of what is known."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import attrs

from actors.address import check_name
from actors.hashing import stable_hash


@attrs.frozen
class Candidate:
    """A node that lives and takes the class of the actor.

    name: the node's. load: how many actors this system has spawned there that are alive.
    """

    name: str
    load: int = 0


class Placement(abc.ABC):
    """The base of LeastLoaded and Hashed, and of a program's own: what `on=` takes beside a name.

    It is asked at each start. It is to be a function of the candidates alone.
    """

    @abc.abstractmethod
    def choose(self, candidates: Sequence[Candidate]) -> Candidate:
        """One of the candidates: there is at least one, and they are sorted by name."""


@attrs.frozen
class LeastLoaded(Placement):
    """The node with the least load; of several, the first by name."""

    def choose(self, candidates: Sequence[Candidate]) -> Candidate:
        """See Placement."""
        return min(candidates, key=lambda candidate: (candidate.load, candidate.name))


def _check_key(_: object, __: object, key: Any) -> None:
    stable_hash(key)


@attrs.frozen
class Hashed(Placement):
    """The same node for the same key, whichever node asks, as long as the same nodes are there.

    When a node comes or goes, only the keys move that it takes, or had: rendezvous hashing (Thaler
    and Ravishankar, 1998).

    Raises:
        TypeError: the key is no str, bytes, int, or tuple of those.
    """

    key: Any = attrs.field(validator=_check_key)

    def choose(self, candidates: Sequence[Candidate]) -> Candidate:
        """See Placement."""
        return max(
            candidates,
            key=lambda candidate: (stable_hash((self.key, candidate.name)), candidate.name),
        )


On = str | Placement
"""What `on=` takes: the name of a node, or what chooses one."""


def check_on(on: object) -> On:
    """Return `on`.

    Raises:
        InvalidAddress: it is a str, and no node can have that name.
        TypeError: it is neither a str nor a Placement.
    """
    if isinstance(on, str):
        return check_name(on, "node's name")
    if not isinstance(on, Placement):
        raise TypeError(
            "on is the name of a node, or a placement of `actors` such as LeastLoaded() or "
            f"Hashed(key), not {on!r}"
        )
    return on
