"""What a supervisor knows of a child before it is there: its specification."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

import attrs

from actors import Actor
from actors.actor import actor_class
from actors.address import check_name
from actors.placement import On, Placement, check_on
from actors.rare import Terms
from actors.timers import check_seconds
from supervision.kinds import Kind

BRUTAL: Final = "brutal"


@attrs.frozen
class ChildSpec:
    """How to start, stop and restart one child. Made by `child`."""

    recipe: Callable[..., Actor]
    args: tuple[Any, ...]
    name: str | None
    kind: Kind
    significant: bool
    shutdown: float | Literal["brutal"] | None
    start_within: float | None
    on: On | None = None

    @property
    def cls(self) -> type[Actor]:
        """The class of the actor."""
        return actor_class(self.recipe)

    @property
    def own_name(self) -> str:
        """Its name, or else that of its class in lower case."""
        return self.name or self.cls._traits.name

    @property
    def terms(self) -> Terms | None:
        """What the runtime must know of it, beyond its class."""
        if self.shutdown is None and self.start_within is None:
            return None
        if self.shutdown == BRUTAL:
            return Terms(None, True, self.start_within)
        return Terms(self.shutdown, False, self.start_within)


def child(
    cls: Callable[..., Actor],
    *args: Any,
    name: str | None = None,
    kind: Literal["permanent", "transient", "temporary"] = "permanent",
    significant: bool = False,
    shutdown: float | Literal["brutal"] | None = None,
    start_within: float | None = None,
    on: str | Placement | None = None,
) -> ChildSpec:
    """Specify a child: the actor class and its arguments, as `spawn` takes them.

    name: left out, a static supervisor takes the class's name in lower case, a dynamic one makes
        a unique one.
    kind: "permanent" (always restarted), "transient" (unless it ended by itself), "temporary"
        (never).
    significant: its end counts for the supervisor's `auto_shutdown`. Not for a permanent child,
        which never ends.
    shutdown: seconds for a stop, in the place of the class's own; "brutal": cancelled at once when
        its supervisor stops it, and its `stopped()` hook does not run.
    start_within: seconds for `started()`, at each start; None: no limit.
    on: the name of a node, or what chooses one at each start (LeastLoaded(), Hashed(key)): the
        child lives there, as ``actor://NODE/spawned/...``, and its supervisor watches it. Its
        failure, and the loss of its node, are treated as failures here. A restart is a new actor
        with a new ref: what was in the mailbox is a dead letter. While no node takes the class,
        the start waits for one (`start_within` seconds, if given), and uses up no restarts.

    Raises:
        NotAnActor, InvalidAddress: as `spawn`.
        ValueError, TypeError: any of the others is none of what is said above.
    """
    actor_class(cls)
    if name is not None:
        check_name(name)
    try:
        known = Kind(kind)
    except ValueError:
        raise ValueError(f'kind is "permanent", "transient" or "temporary": {kind!r}') from None
    if significant and known is Kind.PERMANENT:
        raise ValueError(
            "a permanent child is always restarted, so it cannot be significant: "
            'make it kind="transient" or kind="temporary"'
        )
    if shutdown is not None and shutdown != BRUTAL:
        check_seconds(shutdown, 'shutdown (if not "brutal")')
    if start_within is not None:
        check_seconds(start_within, "start_within", zero=False)
    if on is not None:
        check_on(on)
    return ChildSpec(cls, args, name, known, bool(significant), shutdown, start_within, on)
