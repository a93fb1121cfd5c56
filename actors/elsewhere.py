"""The seam to actors on other nodes: what a transport offers, and `spawn(..., on=...)` uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from actors.actor import actor_class
from actors.errors import NoNode
from actors.placement import check_on

if TYPE_CHECKING:
    from actors.actor import Actor
    from actors.cell import Cell
    from actors.placement import On
    from actors.rare import Terms
    from actors.ref import ActorRef
    from actors.root import Root


class Elsewhere(Protocol):
    """Spawns actors on nodes; a transport that can has one, and gives it to `install_elsewhere`.

    parent: with whose incarnation they end, or the root. recipe, args, name, terms: as for `spawn`
    on this node. is_base: the name is only the beginning of one that no other actor has.
    """

    def spawn(
        self,
        parent: Cell | Root,
        recipe: Callable[..., Actor],
        args: tuple[Any, ...],
        name: str | None,
        on: On,
    ) -> ActorRef:
        """Spawn it on a node, and return its ref. Never waits. See `ActorSystem.spawn`."""

    async def start(
        self,
        parent: Cell | Root,
        recipe: Callable[..., Actor],
        args: tuple[Any, ...],
        name: str | None,
        on: On,
        terms: Terms | None = None,
        *,
        is_base: bool = False,
        node_within: float | None = None,
        watcher: Any = None,
    ) -> ActorRef:
        """As `spawn`, and return when its `started()` has returned. See `ActorSystem.start`.

        node_within: seconds for a node that takes the class; None: as the transport has it.
        watcher: is told of its end, from the spawn on: a cell, or what stands for one.
        """

    def when_changed(self, callback: Callable[[], None]) -> None:
        """Call this once, when a node has come or gone, or takes other classes."""

    async def stop_all(self) -> None:
        """Stop what was spawned for the root, the youngest first; returns when all have ended."""


def elsewhere(parent: Cell | Root, recipe: Callable[..., Actor], on: object) -> Elsewhere:
    """What spawns on other nodes, for this system.

    Raises:
        NotAnActor: the recipe makes no actor.
        TypeError, InvalidAddress: `on` is no node's name, nor a placement.
        NoNode: the system has no transport that spawns.
    """
    cls = actor_class(recipe)
    on = check_on(on)
    found = parent._dispatcher.system._elsewhere
    if found is None:
        raise NoNode(cls.__name__, on, {}, "this system has no transport that leads to other nodes")
    return found
