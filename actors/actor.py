"""The base class of every actor: what a user subclasses."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from actors.errors import NotAnActor
from actors.failure import Directive, Escalate, Failure
from actors.mailbox import Mailbox
from actors.timers import check_seconds

if TYPE_CHECKING:
    from actors.ask import Ask
    from actors.context import Context
    from actors.failure import Signal
    from actors.ref import ActorRef


class Traits:
    """What the runtime must know of an actor class on every message, found out once a class."""

    __slots__ = (
        "batch",
        "cls",
        "has_restarting",
        "has_started",
        "has_stopped",
        "limited",
        "name",
        "room",
        "supervises",
        "waits",
    )

    def __init__(self, cls: type[Actor]) -> None:
        self.cls = cls
        self.name = re.sub(r"[^\w.\-]", "", cls.__name__.lower()) or "actor"
        self.waits = is_async(cls.receive)
        self.room = cls.mailbox.room
        # The room of a batch is given back at its end. In a small mailbox that would show.
        self.batch = 64 if self.room > 64 else 1
        self.has_started = cls.started is not Actor.started or cls._start is not Actor._start
        self.has_stopped = cls.stopped is not Actor.stopped
        self.has_restarting = cls.restarting is not Actor.restarting
        self.supervises = cls._supervise is not Actor._supervise
        self.limited = cls.handle_within is not None


class Actor:
    """An actor: private state, a mailbox, and a handler that takes one message at a time.

    Subclass it and define `receive`, as `def` (faster) or as `async def` (when it has to wait).
    What it returns is the reply to an ask. `__init__` takes what `spawn` was given and need not
    call `super().__init__()`; it runs again, with the same arguments, for each new incarnation.

    Class attributes:
        mailbox: capacity and overflow policy.
        shutdown: seconds that a stop may take to handle what is queued, and as many again for
            `stopped()`; what is over is cancelled and said in the log.
        cancel_abandoned: True: a handler that runs for an ask whose asker has gone is cancelled,
            and the actor goes on with its next message. Its state is then what the handler left.
        handle_within: seconds that one message may take; None: no limit. An async handler that
            takes longer is cancelled, and the actor fails with HandlerTimeout.
        redeliver: how often a message whose handling failed is handled once more, before all that
            wait. After that it becomes a dead letter, with its failures. Only for what was told or
            sent: who asks is told of the failure at once, and decides.
    """

    __slots__ = ("__weakref__", "context")

    mailbox: ClassVar[Mailbox] = Mailbox()
    shutdown: ClassVar[float] = 5.0
    cancel_abandoned: ClassVar[bool] = False
    handle_within: ClassVar[float | None] = None
    redeliver: ClassVar[int] = 0

    _traits: ClassVar[Traits]

    context: Context
    """The actor's own view of the system; set before `__init__` runs."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not isinstance(cls.mailbox, Mailbox):
            raise TypeError(f"{cls.__name__}.mailbox is a Mailbox(...), not {cls.mailbox!r}")
        check_seconds(cls.shutdown, f"{cls.__name__}.shutdown")
        if cls.handle_within is not None:
            check_seconds(cls.handle_within, f"{cls.__name__}.handle_within", zero=False)
            if not is_async(cls.receive) and not inspect.isasyncgenfunction(cls.receive):
                raise TypeError(
                    f"{cls.__name__}.handle_within needs `async def receive`: "
                    "a plain handler cannot be cancelled"
                )
        if type(cls.redeliver) is not int or cls.redeliver < 0:
            raise ValueError(f"{cls.__name__}.redeliver is an int from 0 up: {cls.redeliver!r}")
        if is_async(cls.child_failed):
            raise TypeError(f"{cls.__name__}.child_failed decides at once: write it as plain `def`")
        for hook in ("started", "stopped", "restarting"):
            if not is_async(getattr(cls, hook)):
                raise TypeError(f"{cls.__name__}.{hook} is a hook: write `async def {hook}`")
        cls._traits = Traits(cls)

    def receive(self, message: Any) -> Any:
        """Handle one message. Every actor that is sent messages defines this.

        Raises:
            TypeError: the subclass does not define it.
        """
        raise TypeError(
            f"{type(self).__name__} has no receive(): "
            "define `def receive(self, message)` or `async def receive(self, message)`"
        )

    async def started(self) -> None:
        """Runs before the first message of each incarnation. If it raises, the actor failed."""

    async def stopped(self) -> None:
        """Runs when the actor has stopped, its children before it. For clean-up.

        It has `shutdown` seconds. What it raises is logged; the actor has stopped all the same.
        """

    async def restarting(self, failure: Failure) -> None:
        """Runs on the failed incarnation, before the next one is made. For clean-up.

        What it raises is logged; the restart goes on.
        """

    def state_summary(self) -> Mapping[str, object]:
        """What a crash report tells of this actor's state: by default all its attributes.

        Override it to leave out secrets, or what is large. Each value is made a short text.
        """
        summary = dict(getattr(self, "__dict__", ()))
        for cls in type(self).__mro__:
            for name in getattr(cls, "__slots__", ()):
                if name not in ("__weakref__", "__dict__", "context") and hasattr(self, name):
                    summary[name] = getattr(self, name)
        return summary

    def child_failed(self, child: ActorRef, failure: Failure) -> Directive:
        """Decide about a failed child: Escalate (as the base class does), Restart, Resume or Stop.

        The child waits, its mailbox kept, until this returns. If it raises, this actor failed.
        """
        return Escalate()

    # -- for the runtime

    async def _start(self) -> None:
        """What an incarnation begins with; a supervisor starts its children first."""
        await self.started()

    def _whereabouts(self, ask: Ask) -> tuple[str, str]:
        """Where an ask is, for AskTimeout, and what that calls this actor ("": by its address)."""
        return ask.where, ""

    async def _supervise(self, signal: Signal) -> None:
        """See to a child, as supervisors do in the place of `child_failed` alone.

        The runtime calls it only where a class has one of its own.
        """


def is_async(handler: Any) -> bool:
    """Whether calling `handler` gives a coroutine, as far as its definition tells."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(type(handler), "__call__", None)  # noqa: B004 - it is inspected, not called
    )


def actor_class(recipe: Any) -> type[Actor]:
    """The Actor class that a spawn's first argument makes: itself, or what a partial wraps.

    Raises:
        NotAnActor: it makes none.
    """
    cls = recipe
    while isinstance(cls, functools.partial):
        cls = cls.func
    if isinstance(cls, type) and issubclass(cls, Actor):
        return cls
    if isinstance(cls, Actor):
        name = type(cls).__name__
        raise NotAnActor(recipe, f"it is an instance; pass the class: spawn({name}, ...)")
    raise NotAnActor(recipe, "it is no subclass of Actor, nor a functools.partial of one")


Actor._traits = Traits(Actor)
