"""Spawning actors on other nodes: on which one, under which name, and what becomes of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import trio

from actors import (
    Actor,
    ActorError,
    ActorRef,
    ActorStopped,
    AskCycle,
    Candidate,
    ExitReason,
    NameTaken,
    NodeDown,
    NoNode,
    NotRunning,
    SystemClosed,
)
from actors.actor import actor_class
from actors.address import Address, check_name
from actors.cell import Cell
from actors.placement import On, check_on
from actors.rare import Terms
from actors.root import Root
from actors.states import STARTING, STOPPED, STOPPING
from actors.waiting import Raised, Waiter
from transports.encoding import envelope
from transports.errors import RemoteFailure
from transports.nodes.spawnable import PARENT

if TYPE_CHECKING:
    from transports.nodes.node import Node
    from transports.nodes.outgoing import Outgoing
    from transports.nodes.remote_ref import RemoteRef

NO_TERMS: Final = Terms()


class StartWait(Waiter):
    """A wait for the start of an actor on another node. `ref`: that actor's."""

    __slots__ = ("cls", "ref")

    def __init__(self, ref: RemoteRef, cls: str) -> None:
        # The search of cycles follows it to the other node.
        super().__init__(ref)  # type: ignore[arg-type] # no cell of this process
        self.ref = ref
        self.cls = cls


class Spawns:
    """What this node has spawned on one peer, in the session of now."""

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing
        self._starts: dict[int, StartWait] = {}
        self._parents: dict[str, Cell | None] = {}
        self._down: NodeDown | None = None

    def __len__(self) -> int:
        return len(self._parents)

    def __contains__(self, path: object) -> bool:
        return path in self._parents

    def spawn(
        self,
        ref: RemoteRef,
        parent: Cell | None,
        cls: str,
        args: bytes,
        terms: Terms,
        waiter: StartWait | None,
    ) -> None:
        """Tell the peer to make it, behind what waits for the peer; its end will be told."""
        number = 0
        if waiter is not None:
            number = self._outgoing.next_number()
            self._starts[number] = waiter
        self._parents[ref.address.path] = parent
        self._outgoing.node.spawner.keep(parent, ref)
        said = envelope.Spawn(
            number, cls, ref.name, terms.shutdown, terms.brutal, terms.start_within, args
        )
        # As if a Watch had followed.
        self._outgoing.watches.expect(ref)
        self._outgoing.control(said, in_order=True)

    def started(self, number: int) -> bool:
        """An actor has started. False: this was the number of something else."""
        waiter = self._starts.pop(number, None)
        if waiter is not None:
            waiter.resolve()
        return waiter is not None

    def refused(self, message: envelope.Refused) -> bool:
        """An actor has not started. False: this was the number of something else."""
        waiter = self._starts.pop(message.number, None)
        if waiter is None:
            return False
        node, peer, ref = self._outgoing.node, self._outgoing.peer, waiter.ref
        error: ActorError
        match message.kind:
            case "not taken":
                node.directory.takes_nothing(peer)
                error = NoNode(waiter.cls, peer, {}, message.text)
            case "name taken":
                error = NameTaken(ref.name, ref)
            case "stopped":
                error = ActorStopped(ref, None, message.text)
            case _:
                error = RemoteFailure(peer, message.text, message.trace)
        waiter.resolve(Raised(error))
        return True

    def ended(self, ref: RemoteRef) -> None:
        """It has ended."""
        path = ref.address.path
        if path in self._parents:
            self._outgoing.node.spawner.forget(self._parents.pop(path), ref)

    def node_is_left(self, why: str) -> NodeDown:
        """The peer is being left: why its actors end, the same for them all."""
        if self._down is None:
            self._down = NodeDown(self._outgoing.peer, why)
            self._outgoing.node.directory.takes_nothing(self._outgoing.peer)
        return self._down

    def lost(self, down: NodeDown) -> None:
        """The peer is lost."""
        self._down = None
        starts, self._starts = self._starts, {}
        for waiter in starts.values():
            why = f"its node {down.node} was lost: {down.why}"
            waiter.resolve(Raised(ActorStopped(waiter.ref, None, why)))


class Spawner:
    """Spawns actors on nodes for one system; see `actors.elsewhere.Elsewhere`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._waiting: dict[Waiter, None] = {}
        self._callbacks: list[Callable[[], None]] = []
        self._of_root: dict[ActorRef, None] = {}

    # -- spawning

    def spawn(
        self,
        parent: Cell | Root,
        recipe: Callable[..., Actor],
        args: tuple[Any, ...],
        name: str | None,
        on: On,
    ) -> ActorRef:
        """See `ActorSystem.spawn`."""
        node = self._choose(parent, recipe, on, "spawn")
        return self._spawn(parent, recipe, args, self._name(recipe, name), node)

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
        """See `Elsewhere.start`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        node = await self._choose_in_time(parent, recipe, on, node_within)
        chosen = self._name(recipe, name, is_base)
        if node == self._node.name:
            cell = self._spawn_here(parent, recipe, args, chosen, terms)
            if watcher is not None:
                cell._watched_by(watcher)
            if cell._state is not STARTING:
                return cell
            waiter: Waiter = Waiter(cell)
            cell._rare_part().starter = waiter
            ref: ActorRef = cell
        else:
            there = self._ref(node, chosen)
            waiter = StartWait(there, self._node.spawnable.name_of(recipe))
            ref = self._spawn(parent, recipe, args, chosen, node, terms, waiter)
            if watcher is not None:
                ref._watched_by(watcher)
        try:
            await self._node.wait(waiter)
        except (trio.Cancelled, AskCycle):
            ref._stop_as(ExitReason.KILLED)
            raise
        return ref

    def _spawn(
        self,
        parent: Cell | Root,
        recipe: Callable[..., Actor],
        args: tuple[Any, ...],
        name: str,
        node: str,
        terms: Terms | None = None,
        waiter: StartWait | None = None,
    ) -> ActorRef:
        if node == self._node.name:
            return self._spawn_here(parent, recipe, args, name, terms)
        outgoing = self._node.link(node)
        ref = self._ref(node, name)
        assert outgoing is not None
        if ref.address.path in outgoing.spawns:
            raise NameTaken(name, ref)
        positional, keywords = _arguments(recipe, args)
        body = self._node.codec.encode_value([positional, keywords])
        cls = self._node.spawnable.name_of(recipe)
        above = parent if isinstance(parent, Cell) else None
        outgoing.spawns.spawn(ref, above, cls, body, terms or NO_TERMS, waiter)
        return ref

    def _spawn_here(
        self,
        parent: Cell | Root,
        recipe: Callable[..., Actor],
        args: tuple[Any, ...],
        name: str,
        terms: Terms | None,
    ) -> Cell:
        spawnable = self._node.spawnable
        positional, keywords = _arguments(recipe, args)
        cell = spawnable.make(
            spawnable.name_of(recipe), name, positional, keywords, terms or NO_TERMS
        )
        above = parent if isinstance(parent, Cell) else None
        self.keep(above, cell)
        cell._on_stop(lambda: self.forget(above, cell))
        return cell

    def keep(self, parent: Cell | None, ref: ActorRef) -> None:
        """It is to be stopped with its parent; None: with the system."""
        if parent is None:
            self._of_root[ref] = None
        else:
            parent._rare_part().elsewhere[ref] = None

    def forget(self, parent: Cell | None, ref: ActorRef) -> None:
        """It has ended."""
        if parent is None:
            self._of_root.pop(ref, None)
        elif parent._rare is not None:
            parent._rare.elsewhere.pop(ref, None)

    def _ref(self, node: str, name: str) -> RemoteRef:
        return self._node._remote(Address("actor", node, f"{PARENT}/{name}"))

    def _name(self, recipe: Callable[..., Actor], name: str | None, is_base: bool = False) -> str:
        if name is not None:
            # (The name of a supervisor's child may be one that the runtime has made.)
            if not is_base:
                return check_name(name)
        else:
            name = actor_class(recipe)._traits.name
        node = self._node
        # Not the number alone: what a former incarnation of this node has spawned there may have
        # yet to end.
        return f"{name}~{node.name}.{node.incarnation:x}.{node.system.env.next_id()}"

    # -- choosing a node

    def _choose(self, parent: Cell | Root, recipe: Callable[..., Actor], on: On, what: str) -> str:
        node, dispatcher = self._node, self._node.dispatcher
        dispatcher.check_thread(what)
        dispatcher.check_open()
        if node.leaving:
            raise SystemClosed(node.name)
        if parent._state in (STOPPING, STOPPED):
            raise NotRunning(
                node.name, f"{parent} is {parent._state.value}: it spawns no more actors"
            )
        on = check_on(on)
        cls = node.spawnable.name_of(recipe)
        candidates = self._candidates(cls)
        if isinstance(on, str):
            if any(candidate.name == on for candidate in candidates):
                return on
            raise NoNode(cls, on, self._nodes())
        ups = [each for each in candidates if node.is_up(each.name)]
        candidates = ups or candidates
        if not candidates:
            raise NoNode(cls, on, self._nodes())
        chosen = on.choose(tuple(candidates))
        if chosen not in candidates:
            raise TypeError(f"{on!r}.choose() returned {chosen!r}, which is no candidate")
        return chosen.name

    async def _choose_in_time(
        self, parent: Cell | Root, recipe: Callable[..., Actor], on: On, seconds: float | None
    ) -> str:
        if seconds is None:
            seconds = self._node.limits.handshake_within
        error: NoNode | None = None
        with trio.move_on_after(seconds):
            while True:
                try:
                    return self._choose(parent, recipe, on, "start")
                except NoNode as nobody:
                    error = nobody
                    if seconds <= 0:
                        break
                waiter = Waiter(None)
                self._waiting[waiter] = None
                try:
                    await self._node.wait(waiter)
                finally:
                    self._waiting.pop(waiter, None)
        assert error is not None
        raise error

    def _candidates(self, cls: str) -> list[Candidate]:
        node = self._node
        found = []
        if cls in node.spawnable.classes and node.spawnable.is_open:
            found.append(Candidate(node.name, node.spawnable.load))
        for peer, classes in node.directory.takes.items():
            outgoing = node.link(peer)
            if cls in classes and outgoing is not None and outgoing.session.may_send:
                found.append(Candidate(peer, len(outgoing.spawns)))
        return sorted(found, key=lambda candidate: candidate.name)

    def _nodes(self) -> dict[str, tuple[str, ...]]:
        """The nodes that are connected, this one too, and what they take."""
        node = self._node
        known = {node.name: node.spawnable.classes} if node.spawnable.classes else {}
        for link in node.links():
            if link.up:
                known[link.peer] = node.directory.takes.get(link.peer, ())
        return dict(sorted(known.items()))

    def changed(self) -> None:
        """A node takes other classes than before, or is lost."""
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting:
            waiter.resolve()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def when_changed(self, callback: Callable[[], None]) -> None:
        """See `Elsewhere.when_changed`."""
        self._callbacks.append(callback)

    # -- the end

    async def stop_all(self) -> None:
        """See `Elsewhere.stop_all`."""
        while self._of_root:
            ref = next(reversed(self._of_root))
            ref._stop_as(ExitReason.SHUTDOWN)
            await ref._end().wait(self._node.dispatcher)
            self._of_root.pop(ref, None)


def _arguments(
    recipe: Callable[..., Actor], args: tuple[Any, ...]
) -> tuple[list[Any], dict[str, Any]]:
    """Those of the constructor: what partials hold, and what was given."""
    keywords: dict[str, Any] = {}
    while isinstance(recipe, functools.partial):
        args = (*recipe.args, *args)
        keywords = {**recipe.keywords, **keywords}
        recipe = recipe.func
    return list(args), keywords
