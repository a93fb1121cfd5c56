"""The actor that has what this node owns of a region: it makes entities, and ends them."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import attrs

from actors import Actor, ActorRef, Directive, Escalate, ExitReason, Failure, Restart, Stop, message
from actors.ask import Ask
from actors.cell import Cell
from actors.failing import child_failed
from actors.failure import ChildFailed, ChildrenDue, ChildStopped, Signal
from actors.intensity import Intensity
from actors.rare import Terms
from actors.spawning import spawn
from actors.states import RUNNING, STOPPED
from actors.stopping import cut_off, stop
from supervision import Strategy, TooManyRestarts
from supervision.backoff import delay
from supervision.child import ChildSpec
from transports.cluster.ownership import Ownership, Tenure
from transports.cluster.records import word
from transports.errors import DecodeError, ShardsDiffer

log = logging.getLogger("transports.cluster")

Key = str | int
"""Of an entity."""

ONLY: Final = ""
"""The key of what there is one of."""


@message(name="trouper.Routed")
class Routed:
    """A message for an entity, on its way to the owner of its shard.

    fence: by which the sender believes that one to own it. origin: who sends; attempt: which time.
    message: as it is on this node; from another one, as its codec has written it.
    """

    shard: int
    fence: int
    origin: str
    attempt: int
    key: Key
    message: Any
    is_encoded: bool = False


@attrs.frozen
class Kind:
    """What entities are made, and how they are kept.

    idle: seconds without a message after which an entity is stopped; None: never. eager: there is
    one, and it starts as soon as it is owned.
    """

    spec: ChildSpec
    strategy: Strategy
    idle: float | None
    eager: bool

    def name(self, key: Key) -> str:
        """The name of an entity's actor. No two keys have the same."""
        if self.eager:
            return self.spec.own_name
        if isinstance(key, str):
            return word(key)
        return f"=int={key}"


@attrs.define(eq=False)
class Entity:
    """One that is alive, or is stopping. waiting: what came when it had begun to stop."""

    key: Key
    tenure: Tenure
    cell: Cell
    used: float
    is_idle: bool = False
    waiting: list[tuple[Ask, Any]] = attrs.field(factory=list)


@attrs.define
class Attempts:
    """Of one shard, under one fence: of each sender, which attempt came last, and was refused."""

    fence: int
    seen: dict[str, int] = attrs.field(factory=dict)
    refused: dict[str, int] = attrs.field(factory=dict)

    def refuse(self, origin: str, attempt: int) -> None:
        """From now on nothing of this attempt is taken."""
        self.refused[origin] = max(self.refused.get(origin, 0), attempt)

    def refuse_all(self) -> None:
        """Something that was taken goes back: nothing behind it may be taken before it."""
        self.refused.update(self.seen)


class Owner(Actor):
    """Owns shards, as `Ownership` says; see `ownership.OwnerOf`."""

    def __init__(
        self, kind: Kind, ownership: Ownership, routes_changed: Callable[[], None]
    ) -> None:
        self._kind = kind
        self._ownership = ownership
        self.routes_changed = routes_changed
        self._entities: OrderedDict[Key, Entity] = OrderedDict()
        self._shards: dict[int, dict[Key, Entity]] = {}
        self._by_cell: dict[Cell, Entity] = {}
        self._ending: dict[int, Tenure] = {}
        self._to_begin: list[Tenure] = []
        self._fault: ShardsDiffer | None = None
        self._attempts: dict[int, Attempts] = {}
        self._intensities: dict[Key, Intensity] = {}
        self._sweeps = False

    async def stopped(self) -> None:
        """Send back what waits for the stop of entities: nobody tells of that any more."""
        for entity in self._entities.values():
            self._send_back(entity)

    # -- what is owned; called at any time

    def begin(self, tenure: Tenure) -> None:
        """A shard is owned here now."""
        if self._kind.eager:
            self._to_begin.append(tenure)
            self._look_again()

    def differs(self, error: ShardsDiffer) -> None:
        """The region cannot run here: fail, on the next turn."""
        self._fault = error
        self._look_again()

    def drain(self, tenure: Tenure) -> bool:
        """Let the entities of a shard handle what they have, and stop."""
        return self._end(tenure, lambda cell: stop(cell, ExitReason.SHUTDOWN))

    def cut(self, tenure: Tenure) -> bool:
        """Stop the entities of a shard at once."""
        return self._end(tenure, self.stop_hard)

    def stop_hard(self, cell: Cell) -> None:
        """Stop an entity at once, without its hook: it may do nothing more."""
        cut_off(cell)

    def _end(self, tenure: Tenure, end: Callable[[Cell], None]) -> bool:
        if tenure in self._to_begin:
            self._to_begin.remove(tenure)
        entities = self._shards.get(tenure.shard, {})
        for entity in tuple(entities.values()):
            self._send_back(entity)
            end(entity.cell)
            if entity.cell._state is STOPPED:
                self._forget(entity)
        if not self._shards.get(tenure.shard):
            self._ending.pop(tenure.shard, None)
            return False
        self._ending[tenure.shard] = tenure
        return True

    def _look_again(self) -> None:
        cell = self.context._cell
        cell._rare_part().signals.append(ChildrenDue())
        cell._wake()

    # -- messages

    def receive(self, routed: Any) -> None:
        """Give it to its entity, if that is this node's; otherwise send it back."""
        ask = self.context._cell._message
        if not isinstance(ask, Ask) or not isinstance(routed, Routed):
            log.warning("%s: it takes no %s", self.context.ref, type(routed).__name__)
            return
        item = routed.message
        if routed.is_encoded:
            try:
                item = self._ownership.decode(item)
            except DecodeError as error:
                ask.failed(error)
                ask.where = "refused"
                return
        shard = routed.shard
        tenure = self._ownership.tenures.get(shard)
        attempts = self._attempts_of(shard, routed.fence)
        if (
            tenure is None
            or attempts is None
            or tenure.fence != routed.fence
            or not tenure.accepts
            or not tenure.holds()
            or routed.attempt <= attempts.refused.get(routed.origin, 0)
        ):
            if attempts is not None:
                attempts.refuse(routed.origin, routed.attempt)
            _refuse(ask, item, "this node does not own it")
            return
        attempts.seen[routed.origin] = routed.attempt
        self._deliver(tenure, routed.key, ask, item)

    def _attempts_of(self, shard: int, fence: int) -> Attempts | None:
        """None: there was a later fence."""
        known = self._attempts.get(shard)
        if known is None or known.fence < fence:
            known = self._attempts[shard] = Attempts(fence)
        return known if known.fence == fence else None

    def _deliver(self, tenure: Tenure, key: Key, ask: Ask, message: Any) -> None:
        entity = self._entities.get(key)
        if entity is not None and entity.cell._closed():
            ask.where = "queued"
            ask.message = message
            entity.waiting.append((ask, message))
            return
        if entity is None:
            try:
                entity = self._activate(tenure, key)
            except Exception as error:
                ask.message = message
                ask.failed(error)
                # What a plain handler returns would be its reply.
                ask.where = "refused"
                return
        self._give(entity, ask, message)

    def _give(self, entity: Entity, ask: Ask, message: Any) -> None:
        ask.message = message
        ask.where = "queued"
        ask.holder = entity.cell
        entity.used = self.context._cell._dispatcher.timers.clock()
        self._entities.move_to_end(entity.key)
        entity.cell._put_ask(ask)

    # -- entities

    def _activate(self, tenure: Tenure, key: Key) -> Entity:
        """Make an entity. It may have yet to start.

        Raises:
            Exception: whatever its constructor raised.
        """
        kind, cell = self._kind, self.context._cell
        spec = kind.spec
        shutdown = None if isinstance(spec.shutdown, str) else spec.shutdown
        args = spec.args if kind.eager else (key, *spec.args)
        terms = Terms(shutdown, start_within=spec.start_within, lease=tenure)
        name = kind.name(key)
        made = spawn(cell, spec.recipe, args, name, terms, is_checked=True)
        entity = Entity(key, tenure, made, cell._dispatcher.timers.clock())
        self._entities[key] = entity
        self._by_cell[made] = entity
        self._shards.setdefault(tenure.shard, {})[key] = entity
        if kind.idle is not None and not self._sweeps:
            self._sweeps = True
            self._sweep_later(kind.idle)
        return entity

    def _forget(self, entity: Entity) -> None:
        if self._by_cell.pop(entity.cell, None) is None:
            return
        del self._entities[entity.key]
        shard = entity.tenure.shard
        del self._shards[shard][entity.key]
        if not self._shards[shard]:
            del self._shards[shard]

    def _send_back(self, entity: Entity) -> None:
        waiting, entity.waiting = entity.waiting, []
        self._refuse_all(entity.tenure)
        for ask, item in waiting:
            _refuse(ask, item, "it has stopped, or moves to another node")

    def _refuse_all(self, tenure: Tenure) -> None:
        attempts = self._attempts_of(tenure.shard, tenure.fence)
        if attempts is not None:
            attempts.refuse_all()

    def _sweep_later(self, idle: float) -> None:
        cell = self.context._cell
        cell._dispatcher.timers.add(idle / 2, None, self._sweep, cell._rare_part().timers)

    def _sweep(self) -> None:
        """Stop those that nobody has sent anything for a while. The longest unused comes first."""
        idle = self._kind.idle
        assert idle is not None
        before = self.context._cell._dispatcher.timers.clock() - idle
        for entity in tuple(self._entities.values()):
            if entity.used > before:
                break
            if entity.cell._idle and not entity.is_idle:
                entity.is_idle = True
                stop(entity.cell, ExitReason.SHUTDOWN)
        self._sweeps = bool(self._entities)
        if self._sweeps:
            self._sweep_later(idle)

    # -- seeing to them, on its own turn

    def child_failed(self, child: ActorRef, failure: Failure) -> Directive:
        """What the strategy says, within its limits: of all of an only one, of each of many."""
        directive = self._kind.strategy.decide(failure.exception)
        if not isinstance(directive, Restart):
            return directive
        entity = self._by_cell.get(child)  # type: ignore[call-overload] # all of ours are cells
        if entity is None:
            return Stop()
        if not self._admits(entity.key):
            return Escalate() if self._kind.eager else Stop()
        backoff = self._kind.strategy.backoff
        if backoff is None:
            return directive
        cell = entity.cell
        chance = self.context.system.env.random(str(cell), "backoff", cell.incarnation)
        return Restart(delay(backoff, cell.incarnation, failure.exception, 0.0, chance))

    def _admits(self, key: Key) -> bool:
        intensity = self._intensities.get(key)
        if intensity is None:
            intensity = self._intensities[key] = self._kind.strategy.intensity()
        return intensity.admit(self.context._cell._dispatcher.timers.clock())

    async def _supervise(self, signal: Signal) -> None:
        if isinstance(signal, ChildFailed):
            child_failed(self.context._cell, signal)
        elif isinstance(signal, ChildStopped):
            self._has_stopped(signal.child)
        elif isinstance(signal, ChildrenDue):
            self._begin_due()

    def _begin_due(self) -> None:
        if self._fault is not None:
            raise self._fault
        to_begin, self._to_begin = self._to_begin, []
        for tenure in to_begin:
            if tenure.accepts and tenure.holds() and ONLY not in self._entities:
                self._activate(tenure, ONLY)

    def _has_stopped(self, cell: Cell) -> None:
        entity = self._by_cell.get(cell)
        if entity is None:
            return
        self._forget(entity)
        tenure = entity.tenure
        if not entity.is_idle:
            # What it had not begun with has gone back.
            self._send_back(entity)
        ending = self._ending.get(tenure.shard)
        if ending is not None:
            self._send_back(entity)
            if tenure.shard not in self._shards:
                del self._ending[tenure.shard]
                self._ownership.drained(ending)
            return
        if not tenure.holds():
            # It is about to be cut.
            self._send_back(entity)
        elif not self._kind.eager:
            self._intensities.pop(entity.key, None)
            for ask, item in entity.waiting:
                self._deliver(tenure, entity.key, ask, item)
        elif tenure.accepts and self.context._cell._state is RUNNING:
            if not self._admits(entity.key):
                strategy = self._kind.strategy
                raise TooManyRestarts(cell, strategy.max_restarts, strategy.within)
            self._activate(tenure, ONLY)


def _refuse(ask: Ask, message: Any, why: str) -> None:
    """Answer that the entity has not begun with it, and will not."""
    ask.message = message
    ask.where = "queued"
    ask.stopped(why)
