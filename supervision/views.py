"""What is asked of a supervisor, and what it tells of its children."""

from __future__ import annotations

import attrs

from actors import ActorRef, Request, message
from supervision.child import ChildSpec
from supervision.kinds import Kind


@attrs.frozen
class ChildInfo:
    """One child of a supervisor, as OTP's `which_children` tells.

    ref: None while it is not running: it ended and is kept to be started again. state: "running",
    "starting", "failed" (or the delay before its restart), ..., "not running"; of one on another
    node "running", "waiting for a node", "not running". kind, significant:
    None, False for a child that the supervisor spawned outside its list. restarts: of this ref.
    """

    name: str
    ref: ActorRef | None
    state: str
    kind: Kind | None
    significant: bool
    supervisor: bool
    restarts: int


@attrs.frozen
class ChildCounts:
    """How many children a supervisor has, as OTP's `count_children` tells.

    specs: known; active: alive now; supervisors, workers: of those known.
    """

    specs: int
    active: int
    supervisors: int
    workers: int


@message
class WhichChildren(Request[tuple[ChildInfo, ...]]):
    """Ask a supervisor for its children, in order of start."""


@message
class CountChildren(Request[ChildCounts]):
    """Ask a supervisor how many children it has."""


@message
class StartChild(Request[ActorRef]):
    """Ask a dynamic supervisor to start a child; the reply is its ref, once it has started.

    The asker gets ActorFailed with TooManyChildren, NameTaken, or what the child's start raised,
    as its cause; the supervisor goes on.
    """

    spec: ChildSpec


@message
class StopChild(Request[None]):
    """Ask a supervisor to stop a child by name; replied once it has stopped. It is not restarted.

    A static supervisor keeps its specification, for RestartChild; a dynamic one forgets it.
    The asker gets ActorFailed with NoSuchChild as its cause if there is none.
    """

    name: str


@message
class RestartChild(Request[ActorRef]):
    """Ask a supervisor to start a child again that is not running; the reply is its new ref.

    Of a child that runs, the reply is its ref as it is.
    """

    name: str
