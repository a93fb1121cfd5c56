"""The supervisor of the indexers: in this process, or on worker processes."""

from collections.abc import Iterable, Sequence

from actors import ActorRef, Directive, Escalate, Failure, Restart
from examples.code_index.chaos import Chaos, PlannedCrash
from examples.code_index.indexer import Indexer
from supervision import ChildLost, ChildSpec, OneForOne, Supervisor, child
from transports import RemoteFailure


class Indexers(Supervisor):
    """Keeps `count` indexers on each of the nodes; no nodes: in this process.

    An indexer is restarted after a crash that was planned, and when its node is lost: it waits then
    until that node is back. Anything else is a defect, and ends the job.
    """

    strategy = OneForOne(
        max_restarts=None,
        decisions={PlannedCrash: Restart(), ChildLost: Restart(), Exception: Escalate()},
    )

    def __init__(
        self,
        count: int,
        nodes: Sequence[str],
        root: str,
        queue: ActorRef,
        index: ActorRef,
        chaos: Chaos,
    ) -> None:
        self.places = count * list(nodes) or count * [None]
        self.arguments = (root, queue, index, chaos)

    def children(self) -> Iterable[ChildSpec]:
        """The indexers, on each node in turn."""
        for number, node in enumerate(self.places, start=1):
            yield child(Indexer, *self.arguments, name=f"indexer-{number}", on=node)

    def child_failed(self, child: ActorRef, failure: Failure) -> Directive:
        """As the strategy says; an exception on another node has come here as text."""
        match failure.exception:
            case RemoteFailure(text=text) if text.startswith(f"{PlannedCrash.__name__}: "):
                return Restart()
        return super().child_failed(child, failure)
