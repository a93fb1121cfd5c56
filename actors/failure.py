"""What is said of a failed or stopped actor, and what its parent can decide."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import attrs

from actors.errors import brief
from actors.messages import notice

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.ref import ActorRef


class ExitReason(enum.StrEnum):
    """Why an actor ended, if not by a failure. The words are OTP's."""

    NORMAL = "normal"
    """It was stopped by `stop()`, and finished what was queued."""
    SHUTDOWN = "shutdown"
    """Its parent or its system stopped it."""
    KILLED = "killed"
    """It did not stop within its time, or its system was left by an exception: it was cancelled."""
    NO_ACTOR = "no actor"
    """There was none at that address any more when it was watched."""


@attrs.frozen(eq=False)
class Failure:
    """One failure of one actor.

    ref; incarnation (1 for the first); exception; during: "receive", "started", "__init__",
    "link" (a link broke), "turn" (a handler or hook left a scope open), "elsewhere" (on its node,
    for a supervisor on another one), "child_failed" (that raised) or "escalated" (it could not, or
    would not, decide about a child); message: what was being handled, or None; origin: the child's
    failure, in the last two cases.
    """

    ref: ActorRef
    exception: BaseException
    during: str
    message: object = None
    incarnation: int = 1
    # Not the whole repr: escalations may be as deep as the tree.
    origin: Failure | None = attrs.field(
        default=None, repr=lambda origin: "None" if origin is None else f"<{origin.describe()}>"
    )

    def describe(self) -> str:
        """One line: the address, the hook or message, the incarnation and the exception."""
        if self.during == "receive":
            what = f"handling {brief(self.message)}"
        elif self.during == "escalated" and self.origin is not None:
            what = f"with {self.origin.ref}"
        elif self.during == "elsewhere":
            what = "on its node"
        elif self.during == "link":
            what = "with a link"
        elif self.during == "turn":
            what = "at the end of a turn"
        else:
            what = f"in {self.during}"
        return f"{self.ref} (incarnation {self.incarnation}) failed {what}: {self.exception!r}"


@attrs.frozen
class NodeDown:
    """Why a remote actor ended for its watchers: its node left, was restarted, or is out of reach.

    node: its name. why: in words. Whether the actor still runs, nobody here knows.
    """

    node: str
    why: str


@notice
@attrs.frozen
class Terminated:
    """The message that a watcher gets, once, when what it watches ends (or an incarnation fails).

    reason: an ExitReason, or the Failure; NodeDown for a remote actor whose node is lost. A watch
    is on one incarnation, as a monitor in Erlang: to hear of the next one, watch again.
    """

    ref: ActorRef
    reason: ExitReason | Failure | NodeDown


class ChildFailed:
    """Signal to a parent: decide about this child. (For the runtime.)"""

    __slots__ = ("child", "failure")

    def __init__(self, child: Cell, failure: Failure) -> None:
        self.child = child
        self.failure = failure


class ChildStopped:
    """Signal to a parent that supervises: this child has stopped for good. (For the runtime.)"""

    __slots__ = ("child", "reason")

    def __init__(self, child: Cell, reason: ExitReason | Failure) -> None:
        self.child = child
        self.reason = reason


class ChildEnded:
    """Signal to a parent that supervises: a child on another node has ended. (For the runtime.)

    name: by which the parent knows it.
    """

    __slots__ = ("name", "reason", "ref")

    def __init__(self, name: str, ref: ActorRef, reason: ExitReason | Failure | NodeDown) -> None:
        self.name = name
        self.ref = ref
        self.reason = reason


class ChildrenDue:
    """Signal to a parent that supervises: the delay of a restart is over. (For the runtime.)"""

    __slots__ = ()


Signal = ChildFailed | ChildStopped | ChildEnded | ChildrenDue


@attrs.frozen
class Escalate:
    """Decision: fail too, so that one's own parent decides. What the base class does."""


@attrs.frozen
class Resume:
    """Decision: the child goes on with its next message, its state as the failure left it.

    A child that failed in `__init__` or `started()` has no state to go on with: it is restarted.
    """


@attrs.frozen
class Restart:
    """Decision: a new incarnation, after `after` seconds. The mailbox keeps its order meanwhile.

    Raises:
        ValueError: `after` is negative.
    """

    after: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))


@attrs.frozen
class Stop:
    """Decision: the child ends, and its queued messages become dead letters."""


Directive = Escalate | Resume | Restart | Stop
