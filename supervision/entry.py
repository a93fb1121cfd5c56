"""What a supervisor keeps of each of its children."""

from __future__ import annotations

from actors import ActorRef
from actors.cell import Cell
from supervision.child import ChildSpec


class Entry:
    """A child as its supervisor knows it.

    cell, there: the actor, on this node or on another one; None while it is not running.
    """

    __slots__ = (
        *("attempts", "cell", "first_failure", "kept_down", "last_failure", "name"),
        *("node_until", "spec", "starts", "there"),
    )

    def __init__(self, name: str, spec: ChildSpec) -> None:
        self.name = name
        self.spec = spec
        self.cell: Cell | None = None
        self.there: ActorRef | None = None
        # On other nodes; and when the wait for a node that takes it is to end.
        self.starts = 0
        self.node_until: float | None = None
        # Of the failures in a row, for the backoff.
        self.attempts = 0
        self.first_failure = self.last_failure = 0.0
        # The strategy said Stop, or somebody StopChild: only RestartChild starts it again.
        self.kept_down = False

    @property
    def ref(self) -> ActorRef | None:
        """The actor, wherever it is."""
        return self.cell or self.there
