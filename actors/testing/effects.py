"""What an actor does besides computing, as data: recorded by an ActorKit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from actors.placement import Placement
from actors.ref import ActorRef


@attrs.frozen
class Spawned:
    """It made an actor: `spawn` or `start` of its context (a child) or of its system.

    on: the node, or the placement, if it is to live elsewhere.
    """

    recipe: Callable[..., Any]
    args: tuple[Any, ...]
    ref: ActorRef
    on: str | Placement | None = None


@attrs.frozen
class Told:
    """`ref.tell(message)`."""

    ref: ActorRef
    message: Any


@attrs.frozen
class Sent:
    """`await ref.send(message)`."""

    ref: ActorRef
    message: Any


@attrs.frozen
class Asked:
    """`await ref.ask(message, timeout)`."""

    ref: ActorRef
    message: Any
    timeout: float | None


@attrs.frozen
class Watched:
    """`context.watch(ref)`."""

    ref: ActorRef


@attrs.frozen
class Unwatched:
    """`context.unwatch(ref)`."""

    ref: ActorRef


@attrs.frozen
class Streamed:
    """`ref.stream(request)`: recorded when its first item is wanted."""

    ref: ActorRef
    request: Any
    timeout: float | None = 5.0


@attrs.frozen
class Linked:
    """`context.link(ref)`."""

    ref: ActorRef


@attrs.frozen
class Unlinked:
    """`context.unlink(ref)`."""

    ref: ActorRef


@attrs.frozen
class Stopped:
    """`ref.stop()`; of its own ref: `context.stop()`."""

    ref: ActorRef


@attrs.frozen
class Scheduled:
    """`context.after(delay, message)`; with a period: `context.every(period, message)`."""

    delay: float
    message: Any
    period: float | None = None


@attrs.frozen
class Cancelled:
    """A timer was cancelled: the one that this effect holds."""

    timer: Scheduled


@attrs.frozen
class Became:
    """`context.become(handler)`; None: `unbecome()`."""

    handler: Callable[[Any], Any] | None


@attrs.frozen
class Stashed:
    """`context.stash()`: the message in hand was put aside."""

    message: Any


@attrs.frozen
class Unstashed:
    """`context.unstash_all()`: these are to be handled next, in this order."""

    messages: tuple[Any, ...]


@attrs.frozen
class Forwarded:
    """`context.forward(ref)`: the message in hand was passed on."""

    ref: ActorRef
    message: Any


@attrs.frozen
class RepliesLater:
    """`context.reply_later()`."""

    message: Any


@attrs.frozen
class Replied:
    """A reply that was taken over has been given."""

    value: Any


@attrs.frozen
class ReplyFailed:
    """`reply.fail(error)`: who asked is told of this error."""

    error: BaseException


Effect = (
    Spawned
    | Told
    | Sent
    | Asked
    | Streamed
    | Watched
    | Unwatched
    | Linked
    | Unlinked
    | Stopped
    | Scheduled
    | Cancelled
    | Became
    | Stashed
    | Unstashed
    | Forwarded
    | RepliesLater
    | Replied
    | ReplyFailed
)
