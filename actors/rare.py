"""The part of a cell that most actors never need: made when one does."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any, Protocol

from actors.waiting import Waiter

if TYPE_CHECKING:
    from trio import CancelScope

    from actors.ask import Ask
    from actors.cell import Cell
    from actors.errors import LinkBroken
    from actors.failure import Directive, ExitReason, Failure, Signal
    from actors.ref import ActorRef
    from actors.streams import Channel
    from actors.timers import Timer


class SendWait(Waiter):
    """A `send` that waits for room.

    comes_back: if the actor stops first, the one who waits gets ActorStopped, and still has the
    message; otherwise that is a dead letter.
    """

    __slots__ = ("comes_back", "message")

    def __init__(self, target: Cell, message: object, comes_back: bool = False) -> None:
        super().__init__(target)
        self.message = message
        self.comes_back = comes_back

    def abandoned(self) -> None:
        super().abandoned()
        if self.holder is not None and self.holder._rare is not None:
            self.holder._rare.senders.pop(self, None)


class Lease(Protocol):
    """Without which an actor may not act: one of which there is to be one in a cluster.

    fence: a number that only grows from owner to owner, for what the actor writes to.
    """

    fence: int

    def holds(self) -> bool:
        """Whether it may begin with a message now."""

    def has_ended(self, cell: Cell) -> None:
        """It does not hold, as was found when this actor was to begin with a message: stop it."""


class Terms:
    """What a parent demands of one child, in the place of what the child's class says.

    shutdown: seconds for a stop; None: as the class says. brutal: when the parent stops it, it is
    cancelled at once, without its `stopped()` hook. start_within: seconds for `started()`; None:
    no limit. returns_unhandled: what is left in its mailbox when it stops goes back to the parent's
    own mailbox, before all that waits there, and not to the dead letters. lease: without which it
    may begin with nothing; its children have it too.
    """

    __slots__ = ("brutal", "lease", "returns_unhandled", "shutdown", "start_within")

    def __init__(
        self,
        shutdown: float | None = None,
        brutal: bool = False,
        start_within: float | None = None,
        returns_unhandled: bool = False,
        lease: Lease | None = None,
    ) -> None:
        self.shutdown = shutdown
        self.brutal = brutal
        self.start_within = start_within
        self.returns_unhandled = returns_unhandled
        self.lease = lease


class Rare:
    """What most actors never need, made when one does."""

    __slots__ = (
        "asides_context",
        "attending",
        "begun",
        "behaviour",
        "behaviour_waits",
        "between",
        "cleanups",
        "cut",
        "decision",
        "deferred",
        "elsewhere",
        "ending",
        "failure",
        "helper_waits",
        "hook",
        "incarnation",
        "killed",
        "lease",
        "limit",
        "link_broken",
        "links",
        "parent_waits",
        "redelivered",
        "senders",
        "signals",
        "starter",
        "stash",
        "stashed_now",
        "stop_reason",
        "stop_waiters",
        "streams",
        "suspended",
        "terms",
        "timers",
        "undecided",
        "urgent",
        "waits_elsewhere",
        "watchers",
        "watching",
    )

    def __init__(self) -> None:
        self.urgent = False
        """Something comes before the next message."""
        self.suspended = False
        """Neither ready nor idle: only `_wake` schedules it."""
        self.signals: deque[Signal] = deque()
        self.senders: OrderedDict[SendWait | Ask, None] = OrderedDict()
        self.stash: list[object] = []
        self.stashed_now = False
        self.deferred: dict[Ask, None] = {}
        self.timers: dict[Timer, None] = {}
        self.cleanups: list[Callable[[], None]] = []
        """Called when it has stopped for good: registrations that end with it."""
        self.links: dict[Cell, bool] = {}
        """With each, whether it is to the next incarnation, since this one is about to end."""
        self.link_broken: LinkBroken | None = None
        """A link broke: the actor fails of it before its next message."""
        self.watchers: dict[Cell, None] = {}
        self.watching: dict[Cell, None] = {}
        self.stop_waiters: list[Waiter] = []
        self.elsewhere: dict[ActorRef, None] = {}
        """What it has spawned on other nodes, and is still alive there: to be stopped with it."""
        self.waits_elsewhere: Waiter | None = None
        """Its turn waits for the end of one of those; it goes on without that when killed."""
        self.helper_waits: dict[Waiter, None] = {}
        self.starter: Waiter | None = None
        self.failure: Failure | None = None
        self.decision: Directive | None = None
        self.undecided = False
        """Its parent, an actor, has been told of its failure and has not decided yet."""
        self.stop_reason: ExitReason | None = None
        self.killed = False
        self.limit: Timer | None = None
        self.incarnation = 1
        self.lease: Lease | None = None
        """Looked at before each start, message and hook."""
        self.hook: CancelScope | None = None
        """In which `stopped()` runs of one that has a lease."""
        self.terms: Terms | None = None
        """What its parent demands of it, if it said so."""
        self.between = False
        """Its last incarnation has ended, the next one has yet to begin."""
        self.ending: Failure | None = None
        """Its parent ends this incarnation, because of this failure (of a sibling)."""
        self.parent_waits: Waiter | None = None
        """What its parent waits with until its state changes."""
        self.redelivered: list[tuple[object, tuple[Failure, ...]]] = []
        """Messages in the mailbox that are to be handled once more, and their failures so far."""
        self.asides_context: Any = None
        self.cut = False
        """What its turn does now is to be cancelled: the turn ends with it."""
        self.attending = False
        """Its turn does what is urgent: the message in hand, if any, has not begun."""
        self.behaviour: Callable[[Any], Any] | None = None
        self.behaviour_waits = False
        self.begun: tuple[Ask, AsyncGenerator[Any, None]] | None = None
        """A plain handler has answered this ask with a stream, which the next turn produces."""
        self.streams: dict[Channel, None] = {}
        """The streams that it consumes."""

    def take_failures(self, message: object) -> tuple[Failure, ...]:
        """The failures of a message that is handled once more; they are no longer noted here."""
        for place, (again, failures) in enumerate(self.redelivered):
            if again is message:
                del self.redelivered[place]
                return failures
        return ()
