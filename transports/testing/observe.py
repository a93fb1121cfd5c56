"""Watching the handlers of a simulated cluster: what they do is traced, failed, and judged."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import attrs

from actors import Actor
from actors.actor import is_async
from actors.context import Context
from actors.errors import brief
from transports.cluster.ownership import Tenure
from transports.testing.observe_nodes import MOST, Identity

if TYPE_CHECKING:
    from transports.testing.cluster import SimulatedNode
    from transports.testing.run import Run
    from transports.testing.tasks import Group

_HOOKS: Final = ("started", "stopped", "restarting")
_OWN: Final = ("actors", "supervision", "transports")
"""Packages whose own actors (a queue, an echo) do not fail: they run nobody's code."""


class SimulatedFault(Exception):
    """What an actor fails of, where a fault of kind `raise` befalls it."""


@attrs.define(eq=False)
class _Life:
    """One incarnation of an actor. start: that of its node, whose tasks are `group`. may_fail: by a
    fault. tenure: by which it acts, if it is one of which there is to be one in the cluster. busy:
    its handlers that run; acts: those, and its hooks."""

    node: SimulatedNode
    group: Group
    start: int
    address: str
    path: str
    incarnation: int
    may_fail: bool
    tenure: Tenure | None = None
    busy: int = 0
    acts: int = 0

    def __str__(self) -> str:
        fence = 0 if self.tenure is None else self.tenure.fence
        return f"{self.address}, by fence {fence}, in incarnation {self.start} of its node,"


class ObservedContext(Context):
    """Lets the handlers that an actor becomes be watched too."""

    __slots__ = ("observe",)

    observe: Callable[[Callable[[Any], Any]], Callable[[Any], Any]]

    def become(self, handler: Callable[[Any], Any]) -> None:
        super().become(self.observe(handler))


class Observer:
    """Watches every handler and hook of a run.

    It finds: two incarnations of an actor at work at once; a message between nodes that is
    handled twice, or before one that its sender has sent to the same actor earlier, or that is
    not what was sent, or was acknowledged before it was in a mailbox; and a node that another one
    does not believe, though both keep to the rules; and a node that talks to an incarnation of
    another one that is over; and an owner that begins with something though there is a later
    one, or is in the middle of it when a later one begins.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lives: dict[str, _Life] = {}
        self._steps: dict[tuple[str, str], int] = {}
        self._numbers: dict[str, int] = {}
        self._indices: dict[str, int] = {}
        self.senders: list[str] = []
        self._handled: dict[tuple[str, str], OrderedDict[int, int]] = {}
        self.handled = 0
        #: By node and identity: what was accepted there and not acknowledged so far.
        self.accepted: dict[tuple[str, bytes], None] = {}
        # Of what there is one of in the cluster: its last owner, and all that act.
        self._owners: dict[str, _Life] = {}
        self._acting: dict[str, dict[_Life, None]] = {}

    def new_identity(self, sender: str) -> tuple[int, int]:
        """The next number of a sender, and which one it is."""
        index = self._indices.get(sender)
        if index is None:
            index = self._indices[sender] = len(self.senders)
            self.senders.append(sender)
        number = self._numbers[sender] = self._numbers.get(sender, 0) + 1
        return number, index

    # -- what is watched

    def constructed(self, node: SimulatedNode, start: int, actor: Actor) -> None:
        """A new incarnation of an actor was made: put us before its handlers.

        start: the incarnation of its node. What one that was taken for dead does is not judged.
        """
        cell = actor.context._cell
        address = str(cell)
        lease = None if cell._rare is None else cell._rare.lease
        tenure = lease if isinstance(lease, Tenure) else None
        own = type(actor).__module__.partition(".")[0] in _OWN
        group = node.group_of(start)
        life = _Life(node, group, start, address, _path(address), cell.incarnation, not own, tenure)
        self._acts(life)
        if start != node.incarnation:
            return
        before = self._lives.get(address)
        if before is not None and before.start == start and before.busy:
            self._run.violated(
                "one incarnation",
                f"incarnation {life.incarnation} of {address} was made while a handler of "
                f"incarnation {before.incarnation} ran",
            )
        self._lives[address] = life
        if life.incarnation > 1:
            self._run.note_actor(node, f"{life.path} incarnation {life.incarnation}")
        context = ObservedContext(cell)
        context.observe = lambda handler: self._watched(life, handler)
        actor.context = context
        try:
            setattr(actor, "receive", self._watched(life, actor.receive))  # noqa: B010
            for hook in _HOOKS:
                if getattr(type(actor), hook) is not getattr(Actor, hook):
                    setattr(actor, hook, self._watched_hook(life, hook, getattr(actor, hook)))
        except AttributeError:
            # A class with __slots__ has no room for it: its handlers are not seen.
            return

    def _watched(self, life: _Life, handler: Callable[[Any], Any]) -> Callable[[Any], Any]:
        if is_async(handler):

            async def handle(message: Any) -> Any:
                self._begins(life, message)
                try:
                    self._may_fail(life, "receive", message)
                    result = await handler(message)
                    self._may_fail(life, "reply", message)
                except Exception as error:
                    self._failed(life, error)
                    raise
                finally:
                    life.busy -= 1
                    self._has_acted(life)
                return result

            return handle

        def handle_plain(message: Any) -> Any:
            self._begins(life, message)
            try:
                self._may_fail(life, "receive", message)
                result = handler(message)
                self._may_fail(life, "reply", message)
            except Exception as error:
                self._failed(life, error)
                raise
            finally:
                life.busy -= 1
                self._has_acted(life)
            return result

        return handle_plain

    def _watched_hook(self, life: _Life, name: str, hook: Callable[..., Any]) -> Callable[..., Any]:
        async def run(*args: Any) -> None:
            run = self._run
            run.note_actor(life.node, f"{life.path} {name}()")
            self._begins_to_act(life)
            try:
                self._may_fail(life, name, None)
                await hook(*args)
            except Exception as error:
                self._failed(life, error)
                raise
            finally:
                self._has_acted(life)

        return run

    def _may_fail(self, life: _Life, step: str, message: Any) -> None:
        run = self._run
        if run.healed or not life.may_fail:
            return
        key = (life.address, step)
        number = self._steps[key] = self._steps.get(key, 0) + 1
        fault = run.plan.on_step(life.address, step, number)
        if fault is not None:
            run.fired(fault)
            raise SimulatedFault(str(fault))

    def _failed(self, life: _Life, error: Exception) -> None:
        self._run.note_actor(life.node, f"{life.path} failed: {type(error).__name__}")

    # -- what is judged

    def _begins(self, life: _Life, message: Any) -> None:
        run = self._run
        life.busy += 1
        self.handled += 1
        node = life.node
        self._begins_to_act(life)
        if run.over or node.gone or life.start != node.incarnation:
            return
        newest = self._lives[life.address]
        if newest is not life:
            run.violated(
                "one incarnation",
                f"incarnation {life.incarnation} of {life.address} handles a message, "
                f"though there is incarnation {newest.incarnation}",
            )
        what = f"{life.path} {brief(message, 60)}" if run.describes else ""
        run.note_actor(node, f"{life.path} {type(message).__name__}", what)
        identities = node.identities
        found = identities.get(id(message)) if identities else None
        if found is not None and found.message is message:
            self._judge(life, found, message)

    def _acts(self, life: _Life) -> None:
        """It begins with a message, a hook, or its life. One that was taken for dead is judged too.

        Of a node that stands still, or is gone, an earlier owner may be in the middle of something:
        it does nothing there, and is judged when it goes on.
        """
        if life.tenure is None or self._run.over:
            return
        what = _what(life, life.tenure)
        last = self._owners.setdefault(what, life)
        if _rank(life) != _rank(last):
            self._run.sometimes("an owner has a successor")
            if _fence(life) <= _fence(last):
                self._run.violated("one owner", f"{life} acts after {last} has acted")
                return
            self._owners[what] = life
        now = self._run.now()
        for other in self._acting.get(what, ()):
            goes_on = not other.group.held and other.group.released_at < now
            if _rank(other) < _rank(life) and goes_on:
                text = f"{life} acts while {other} is in the middle of something"
                self._run.violated("one owner", text)

    def _begins_to_act(self, life: _Life) -> None:
        self._acts(life)
        if life.tenure is not None:
            life.acts += 1
            self._acting.setdefault(_what(life, life.tenure), {})[life] = None

    def _has_acted(self, life: _Life) -> None:
        """It is at the end of a handler, or a hook; if it was cancelled in it, too.

        Where its node stood still, it may have a later owner: but then it is to end in the very
        moment in which it goes on.
        """
        if life.tenure is None:
            return
        what = _what(life, life.tenure)
        life.acts -= 1
        if not life.acts:
            self._acting[what].pop(life, None)
        run = self._run
        # When the run is over, nobody is entered any more.
        if run.over or _rank(life) == _rank(last := self._owners[what]):
            return
        run.sometimes("an owner goes on after its successor has begun")
        if life.group.released_at < run.now():
            run.violated("one owner", f"{life} has acted until now, after {last} has begun")

    def _judge(self, life: _Life, found: Identity, message: Any) -> None:
        key = (found.sender, f"{life.address}.{life.node.incarnation}")
        handled = self._handled.get(key)
        if handled is None:
            handled = self._handled[key] = OrderedDict()
        before = handled.get(found.number)
        if before is not None:
            if before != id(message):
                self._run.violated(
                    "at most once",
                    f"{life.address} handles message {found.number} of {found.sender} twice: "
                    f"{brief(message, 120)}",
                )
            return  # The same object: it was stashed, or is delivered again after a failure.
        last = next(reversed(handled)) if handled else 0
        is_target = found.target == life.address
        if is_target and found.number < last:
            self._run.violated(
                "order",
                f"{life.address} handles message {found.number} of {found.sender} after "
                f"message {last}: {brief(message, 120)}",
            )
        if is_target or found.number > last:
            handled[found.number] = id(message)
        if len(handled) > MOST:
            handled.popitem(last=False)


def _what(life: _Life, tenure: Tenure) -> str:
    """What there is one of: the entity that it is, or belongs to."""
    entity = life.path.removeprefix(f"{tenure.region}/owner/").partition("/")[0]
    return f"{tenure.region} {entity}"


def _fence(life: _Life) -> int:
    return 0 if life.tenure is None else life.tenure.fence


def _rank(life: _Life) -> tuple[int, str, int]:
    """Which owner it is, in the order of owners."""
    return (_fence(life), life.node.name, life.start)


def _path(address: str) -> str:
    return address.partition("://")[2].partition("/")[2]
