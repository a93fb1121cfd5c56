"""Actors that peers spawn on this node: of classes that it lists, and of no others.

They are children of one actor, `spawned`, which has no policy: one that fails is stopped, and its
watchers hear of the failure. What a peer has spawned ends with its session.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from actors import (
    Actor,
    ActorRef,
    ActorStopped,
    Address,
    Directive,
    Failure,
    InvalidAddress,
    Stop,
)
from actors.actor import actor_class
from actors.cell import Cell
from actors.rare import Terms
from actors.spawning import spawn
from actors.states import RUNNING, STARTING
from actors.timers import check_seconds
from actors.waiting import PENDING, Raised, Waiter
from transports.encoding import envelope
from transports.errors import DecodeError
from transports.nodes.reports import trace_of

if TYPE_CHECKING:
    from transports.nodes.incoming import Incoming
    from transports.nodes.node import Node

log = logging.getLogger("transports")

PARENT: Final = "spawned"
MOST: Final = 100_000
"""Actors that one peer may have spawned here and that are alive."""

Recipe = Callable[..., Actor]


class Spawned(Actor):
    """The parent of what other nodes have spawned here."""

    def child_failed(self, child: ActorRef, failure: Failure) -> Directive:
        """Whoever has spawned it hears of the failure, and has a policy."""
        return Stop()

    def receive(self, message: Any) -> None:
        """It takes no messages, and must not fail of any."""
        log.warning("%s: it takes no messages: %r", self.context.ref, type(message).__name__)


class Starting(Waiter):
    """Stands where `start` would wait for an actor's start, and tells the node that waits."""

    __slots__ = ("incoming", "number")

    def __init__(self, cell: Cell, incoming: Incoming, number: int) -> None:
        super().__init__(cell)
        self.incoming = incoming
        self.number = number

    def resolve(self, value: Any = None) -> bool:
        """It has started, or will not."""
        if self.value is not PENDING:
            return False
        self.value = value
        if value.__class__ is not Raised:
            self.incoming.has_started(self.number)
            return True
        error = value.error
        if isinstance(error, ActorStopped) and error.ref is self.holder:
            self.incoming.not_started(self.number, "stopped", error.reason, "")
        else:
            text = f"{type(error).__name__}: {error}"
            self.incoming.not_started(self.number, "failed", text, trace_of(error))
        return True


class _Refused(Exception):
    """A spawn is refused. Private: the peer is told its kind and text."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text


class Spawnable:
    """The classes that this node takes, and the actors of them.

    allowed: the classes, each by its own name; or a dict of names and classes. A functools.partial
        of a class counts as one.

    Raises:
        NotAnActor: one of them is no class of actors.
        ValueError: two have the same name, or a name is empty.
    """

    def __init__(self, node: Node, allowed: Iterable[Recipe] | Mapping[str, Recipe]) -> None:
        self._node = node
        self._by_name: dict[str, Recipe] = {}
        pairs = (
            allowed.items()
            if isinstance(allowed, Mapping)
            else [(actor_class(recipe).__name__, recipe) for recipe in allowed]
        )
        for name, recipe in pairs:
            actor_class(recipe)
            if not isinstance(name, str) or not name:
                raise ValueError(f"spawnable: the name of a class is a str: {name!r}")
            if name in self._by_name:
                raise ValueError(
                    f"spawnable: two classes are called {name!r}: give names to them, by a dict"
                )
            self._by_name[name] = recipe

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return tuple(self._by_name)

    def name_of(self, recipe: Recipe) -> str:
        """By which name other nodes are asked for a class."""
        cls = actor_class(recipe)
        for name, known in self._by_name.items():
            if actor_class(known) is cls:
                return name
        return cls.__name__

    @property
    def load(self) -> int:
        """How many actors live here that were spawned by others, or by this node itself."""
        parent = self._find(PARENT)
        return 0 if parent is None else len(parent._children or ())

    def make(
        self, cls: str, name: str, args: Iterable[Any], keywords: Mapping[str, Any], terms: Terms
    ) -> Cell:
        """Make an actor. It may have yet to start.

        Raises:
            InvalidAddress: no actor can have that name.
            NameTaken: there is one of that name.
            Exception: whatever its constructor raised.
        """
        recipe = self._by_name[cls]
        Address.parse(f"actor://{self._node.name}/{PARENT}/{name}")
        if "/" in name:
            raise InvalidAddress(name, "a name is one word")
        if keywords:
            recipe = functools.partial(recipe, **keywords)
        return spawn(self._parent(), recipe, tuple(args), name, terms, is_checked=True)

    def attach(self) -> None:
        """The system has been entered: their parent is its first actor, so it stops last."""
        if self._by_name:
            self._parent()

    def _parent(self) -> Cell:
        # (Somebody may have stopped it.)
        return self._find(PARENT) or spawn(self._node.system._root, Spawned, (), PARENT)

    @property
    def is_open(self) -> bool:
        """Whether actors can be made: this system is not being left."""
        parent = self._find(PARENT)
        is_running = self._node.system._root._state is RUNNING
        return is_running and (parent is None or not parent._closed())

    def _find(self, path: str) -> Cell | None:
        return self._node.system._find(Address("actor", self._node.name, path))

    # -- for peers

    def spawn(self, incoming: Incoming, message: envelope.Spawn) -> None:
        """Make an actor that a peer wants; whatever is wrong with it, the peer is told."""
        try:
            cell = self._make_for(incoming, message)
        except _Refused as refused:
            kind, text, trace = refused.kind, refused.text, ""
        except Exception as error:
            kind, text, trace = "failed", f"{type(error).__name__}: {error}", trace_of(error)
        else:
            incoming.spawned[cell] = None
            cell._on_stop(lambda: incoming.spawned.pop(cell, None))
            incoming.watched.watch(cell.address.path)
            if message.number and cell._state is STARTING:
                cell._rare_part().starter = Starting(cell, incoming, message.number)
            elif message.number:
                incoming.has_started(message.number)
            return
        log.warning("%s: %s was not spawned: %s", self._node.name, message.name, text)
        if message.number:
            incoming.not_started(message.number, kind, text, trace)
        incoming.never_was(f"{PARENT}/{message.name}", text, trace)

    def _make_for(self, incoming: Incoming, message: envelope.Spawn) -> Cell:
        if message.cls not in self._by_name:
            known = ", ".join(self.classes) or "none"
            raise _Refused("not taken", f"node {self._node.name} takes actors of: {known}")
        if len(incoming.spawned) >= MOST:
            raise _Refused("failed", f"{MOST} actors live here that this node has spawned")
        if self._find(f"{PARENT}/{message.name}") is not None:
            raise _Refused("name taken", f"there is an actor of that name: {message.name}")
        if not self.is_open:
            raise _Refused("not taken", f"node {self._node.name} is being left")
        try:
            args, keywords = self._arguments(message.args)
        except DecodeError as error:
            raise _Refused("unreadable", f"its arguments: {error}") from error
        return self.make(message.cls, message.name, args, keywords, _terms(message))

    def _arguments(self, body: bytes) -> tuple[list[Any], dict[str, Any]]:
        value = self._node.codec.decode_value(body)
        match value:
            case [list(args), dict(keywords)] if all(isinstance(key, str) for key in keywords):
                return args, keywords
        raise DecodeError("$", "no list of arguments and dict of keywords")


def _terms(message: envelope.Spawn) -> Terms:
    if message.shutdown is not None:
        check_seconds(message.shutdown, "shutdown")
    if message.start_within is not None:
        check_seconds(message.start_within, "start_within", zero=False)
    return Terms(message.shutdown, message.brutal, message.start_within)
