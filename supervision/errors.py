"""The errors of `supervision`; the tree is drawn in `actors.errors`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors import ActorError

if TYPE_CHECKING:
    from actors import ActorRef, ExitReason


class TooManyRestarts(ActorError):
    """A supervisor's children had to be restarted more often than its strategy allows.

    It fails of this, and its parent decides. The cause is the last child's failure.
    Attributes: `ref` (that child), `max_restarts`, `within` (seconds).
    """

    def __init__(self, ref: ActorRef, max_restarts: int | None, within: float) -> None:
        self.ref = ref
        self.max_restarts = max_restarts
        self.within = within
        times = "once" if max_restarts == 1 else f"{max_restarts} times"
        super().__init__(
            f"{ref} would have to be restarted, but its supervisor has restarted children "
            f"{times} within {within:g} s already"
        )


class ChildExited(ActorError):
    """A child ended that its supervisor keeps alive: why its siblings are restarted.

    Attributes: `ref` (of the one that ended), `reason` (an ExitReason).
    """

    def __init__(self, ref: ActorRef, reason: ExitReason) -> None:
        self.ref = ref
        self.reason = reason
        super().__init__(f"{ref} ended ({reason.value}), and is to be restarted")


class ChildLost(ActorError):
    """A child lived on a node that is lost: for its supervisor, it has failed of this.

    Attributes: `ref` (the child's), `node` (its name), `why` (it is lost).
    """

    def __init__(self, ref: ActorRef, node: str, why: str) -> None:
        self.ref = ref
        self.node = node
        self.why = why
        super().__init__(f"{ref} is lost with node {node}: {why}")


class TooManyChildren(ActorError):
    """A dynamic supervisor has all the children it may have. Attributes: `ref`, `max_children`."""

    def __init__(self, ref: ActorRef, max_children: int) -> None:
        self.ref = ref
        self.max_children = max_children
        super().__init__(f"{ref} has {max_children} children, which is all that it may have")


class NoSuchChild(ActorError):
    """A supervisor has no child of that name. Attributes: `ref`, `name`, `known` (the names)."""

    def __init__(self, ref: ActorRef, name: str, known: tuple[str, ...]) -> None:
        self.ref = ref
        self.name = name
        self.known = known
        few = ", ".join(known[:5]) + (", ..." if len(known) > 5 else "")
        super().__init__(f"{ref} has no child {name!r}; it has: {few or 'none'}")


class TryAgainLater(ActorError):
    """Nothing was sent, and it is known when to try again. The message comes back.

    Attributes: `ref` (the actor behind the wrapper), `message`, `retry_after` (seconds).
    """

    def __init__(self, ref: ActorRef, message: object, retry_after: float, why: str) -> None:
        self.ref = ref
        self.message = message
        self.retry_after = retry_after
        super().__init__(
            f"{why} {ref}: {type(message).__name__} was not sent; try again in {retry_after:.3g} s"
        )


class CircuitOpen(TryAgainLater):
    """A circuit breaker lets nothing through now."""

    def __init__(self, ref: ActorRef, message: object, retry_after: float) -> None:
        super().__init__(ref, message, retry_after, "the circuit is open to")


class RateLimited(TryAgainLater):
    """It is too soon for another message through this ref. (`send` and `ask` wait.)"""

    def __init__(self, ref: ActorRef, message: object, retry_after: float) -> None:
        super().__init__(ref, message, retry_after, "too many messages to")


class WorkerExited(ActorError):
    """The process of a worker has ended, and nobody had stopped it.

    Attributes: `node`, `pid`, `returncode` (below 0: the number of the signal that killed it),
    `last_lines` (of its stderr), `how` ("exit code 1", "killed by SIGKILL").
    """

    def __init__(
        self, node: str, pid: int, returncode: int | None, last_lines: tuple[str, ...], how: str
    ) -> None:
        self.node = node
        self.pid = pid
        self.returncode = returncode
        self.last_lines = last_lines
        self.how = how
        text = f"process {pid} of {node} has ended: {how}"
        if last_lines:
            text += "; the last it wrote to stderr:\n" + "\n".join(last_lines)
        super().__init__(text)


class WorkerLost(ActorError):
    """A worker's process is there, but its node is silent or out of reach: it is killed.

    Attributes: `node`, `pid`, `why`.
    """

    def __init__(self, node: str, pid: int, why: str) -> None:
        self.node = node
        self.pid = pid
        self.why = why
        super().__init__(f"{node} (process {pid}) is lost: {why}")
