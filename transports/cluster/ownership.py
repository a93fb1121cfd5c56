"""What a node owns of one region: shards are claimed, held, handed over and released.

The policy is in `placement`; here it meets the store and the actor that has the entities.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from transports.cluster.lanes import Route
from transports.cluster.placement import WISHES, Standing, Wish, chosen, standing
from transports.cluster.records import OWNERS, Record, encode, owner_key, word
from transports.cluster.session import OwnSession, State
from transports.cluster.store import (
    Entry,
    KeyExists,
    StoreUnavailable,
    WrongRevision,
)
from transports.cluster.view import Fate
from transports.errors import ShardsDiffer

if TYPE_CHECKING:
    from actors.cell import Cell
    from transports.cluster.membership import Membership

log = logging.getLogger("transports.cluster")


class Tenure:
    """The time in which this node owns a shard: what its entities may act by.

    fence: the revision of the record. accepts: it is not being handed over.
    """

    __slots__ = ("_clock", "_session", "accepts", "fence", "is_over", "owner", "region", "shard")

    def __init__(
        self, membership: Membership, region: str, shard: int, fence: int, owner: OwnerOf
    ) -> None:
        self._clock = membership.clock
        self._session: OwnSession = membership.session
        self.region = region
        self.shard = shard
        self.fence = fence
        self.owner = owner
        self.accepts = True
        self.is_over = False

    def holds(self) -> bool:
        """Whether what is owned may begin with a message."""
        return not self.is_over and self._session.holds(self._clock())

    def has_ended(self, cell: Cell) -> None:
        """The lease is over, and whoever should have said so has not had its turn yet."""
        self.owner.stop_hard(cell)


class OwnerOf(Protocol):
    """The actor that has the entities of this node."""

    def begin(self, tenure: Tenure) -> None:
        """A shard is owned here now."""

    def drain(self, tenure: Tenure) -> bool:
        """Stop what there is of a shard in good order; False: there is nothing (any more).

        `Ownership.drained` is called when there is nothing any more.
        """

    def cut(self, tenure: Tenure) -> bool:
        """Stop what there is of a shard at once. As `drain`."""

    def stop_hard(self, cell: Cell) -> None:
        """Stop an entity at once: it may do nothing more."""

    def routes_changed(self) -> None:
        """Others may own what they did not own before."""

    def differs(self, error: ShardsDiffer) -> None:
        """The region cannot run here."""


class Ownership:
    """One region on one node. shards: how many. moves: whether what is owned moves to a node that
    comes and should rather have it."""

    def __init__(self, membership: Membership, name: str, shards: int, moves: bool) -> None:
        self._membership = membership
        self.name = name
        self._prefix = f"{OWNERS}{word(name)}."
        self.shards = shards
        self.moves = moves
        self.is_open = False
        self.tenures: dict[int, Tenure] = {}
        self._owner: OwnerOf | None = None
        self._ending: dict[Tenure, None] = {}
        self._busy: dict[int, None] = {}
        # By shard: the fence that this node has stopped by, and never acts by again.
        self._given_up: dict[int, int] = {}
        # Which node should have each shard, of these nodes.
        self._nodes: dict[str, int] = {}
        # Nobody had another number of shards when this one looked.
        self._agrees = False
        self._chosen: list[str] = [""] * shards

    @property
    def takes(self) -> bool:
        """Whether it runs here, as far as the others are told."""
        return self.is_open and self._agrees

    @property
    def is_stopping(self) -> bool:
        """Something of it is being stopped."""
        return bool(self._ending)

    def decode(self, body: bytes) -> Any:
        """A message of another node.

        Raises:
            DecodeError: it is none.
        """
        return self._membership.codec.decode_value(body)

    # -- the region here

    def open(self, owner: OwnerOf) -> None:
        """The region runs here."""
        self._owner = owner
        self.is_open = True
        self._agrees = False
        self.reconsider()

    async def close(self) -> None:
        """It ends here, and all its entities have stopped: let others take over at once."""
        if self._owner is None:
            return
        self.is_open = False
        self._owner = None
        for tenure in (*self.tenures.values(), *self._ending):
            tenure.is_over = True
            self._given_up[tenure.shard] = tenure.fence
        self.tenures.clear()
        self._ending.clear()
        self._membership.something_stopped()
        # First that it takes no more: or nobody would feel called upon.
        await self._membership.until_said(self.name, False)
        for shard in range(self.shards):
            while self._standing(shard) is Standing.OURS and self._owner is None:
                await self._write(shard, "released")

    # -- what is to be done

    def route(self, shard: int) -> Route | None:
        """Where messages for a shard go; None: nobody owns it, as far as is known."""
        if not self._agrees:
            return None
        owned = self._membership.view.record(self.name, shard)
        if owned is None or owned.record.state == "released":
            return None
        if self._membership.view.fate(owned.record.session) is Fate.GONE:
            return None
        return Route(owned.record.node, owned.revision, owned.record.session)

    def is_over(self, route: Route) -> bool:
        """Whether nobody begins with anything any more that was sent on this route."""
        return self._membership.view.fate(route.session) is Fate.GONE

    @property
    def patience(self) -> float:
        """Seconds until an answer that should be there by now is given up."""
        return self._membership.patience

    def _standing(self, shard: int) -> Standing:
        view, session = self._membership.view, self._membership.session
        if session.state is not State.HELD:
            return Standing.TAKEN
        owned = view.record(self.name, shard)
        fate = Fate.UNKNOWN if owned is None else view.fate(owned.record.session)
        return standing(owned, fate, session.key)

    def _choose(self) -> None:
        nodes = self._membership.view.nodes(self.name)
        if nodes != self._nodes:
            self._nodes = nodes
            alike = [node for node, shards in nodes.items() if shards == self.shards]
            self._chosen = [chosen(self.name, shard, alike) for shard in range(self.shards)]

    def _may_run(self) -> bool:
        """With another number of shards a key would be in two of them, and have two entities."""
        if self._owner is None:
            return True
        others = [node for node, shards in self._nodes.items() if shards != self.shards]
        # Of two that have looked at the same time one goes on.
        if others and (not self._agrees or others[0] < self._membership.node):
            theirs = self._nodes[others[0]]
            self._owner.differs(
                ShardsDiffer(self.name, self._membership.node, self.shards, others[0], theirs)
            )
            return False
        if not self._agrees:
            self._agrees = True
            self._membership.say_takes()
        return True

    def _wish(self, shard: int) -> Wish:
        stands = self._standing(shard)
        if stands is Standing.OURS and not self.is_open:
            return Wish.HAND_OVER
        is_ours = self._chosen[shard] == self._membership.node
        if stands is Standing.OURS and not self.moves:
            is_ours = True
        return WISHES[stands, is_ours]

    def reconsider(self) -> None:
        """Something is news."""
        self._reconsider(range(self.shards))

    def reconsider_shard(self, shard: int) -> None:
        """Something is news of one: with thousands of them, not all are looked at each time."""
        self._reconsider((shard,))

    def _reconsider(self, shards: Iterable[int]) -> None:
        membership = self._membership
        if membership.session.holds(membership.clock()) and membership.view.is_complete:
            self._choose()
            if not self._may_run():
                return
            for shard in shards:
                self._look_at(shard, self._wish(shard))
        if self._owner is not None:
            self._owner.routes_changed()

    def has_changed(self, key: str) -> None:
        """There is news of this key, which is a record's."""
        shard = key.removeprefix(self._prefix)
        if shard != key and shard.isdecimal() and int(shard) < self.shards:
            self.reconsider_shard(int(shard))

    def _look_at(self, shard: int, wish: Wish) -> None:
        tenure = self.tenures.get(shard)
        match wish:
            case Wish.HAND_OVER if tenure is not None:
                self._hand_over(tenure)
            case Wish.KEEP | Wish.HAND_OVER if self._is_ending(shard):
                pass
            case Wish.KEEP if self._owner is not None and not self._has_given_up(shard):
                if tenure is None:
                    self._begin(shard)
            case Wish.KEEP | Wish.HAND_OVER:
                self._start(shard, "released")
            case Wish.CLAIM if self.is_open and tenure is None and self._membership.may_claim():
                self._start(shard, "held")
            case _:
                if tenure is not None:
                    # Somebody has written our record: whoever it was, they may act, we may not.
                    self._cut(tenure)

    def _is_ending(self, shard: int) -> bool:
        return any(tenure.shard == shard for tenure in self._ending)

    def _has_given_up(self, shard: int) -> bool:
        owned = self._membership.view.record(self.name, shard)
        return owned is not None and self._given_up.get(shard) == owned.revision

    def _begin(self, shard: int) -> None:
        owned = self._membership.view.record(self.name, shard)
        assert self._owner is not None
        assert owned is not None
        fence = owned.revision
        tenure = Tenure(self._membership, self.name, shard, fence, self._owner)
        self.tenures[shard] = tenure
        self._given_up.pop(shard, None)
        self._owner.begin(tenure)

    def _hand_over(self, tenure: Tenure) -> None:
        tenure.accepts = False
        del self.tenures[tenure.shard]
        self._ending[tenure] = None
        if not tenure.owner.drain(tenure):
            self.drained(tenure)

    def _cut(self, tenure: Tenure) -> None:
        tenure.accepts = False
        tenure.is_over = True
        self.tenures.pop(tenure.shard, None)
        self._ending[tenure] = None
        if not tenure.owner.cut(tenure):
            self.drained(tenure)

    def drained(self, tenure: Tenure) -> None:
        """Nothing is left of a shard that is handed over, or was cut off."""
        if self._ending.pop(tenure, self) is self:
            return
        tenure.is_over = True
        self._given_up[tenure.shard] = tenure.fence
        self._membership.something_stopped()
        self.reconsider_shard(tenure.shard)

    def session_lost(self) -> None:
        """Stop everything, at once."""
        for tenure in (*self.tenures.values(), *self._ending):
            self._cut(tenure)

    # -- the store

    def _start(self, shard: int, state: str) -> None:
        if shard not in self._busy:
            self._busy[shard] = None
            self._membership.spawn_task(self._write_and_look, shard, state)

    async def _write_and_look(self, shard: int, state: str) -> None:
        try:
            async with self._membership.writing:
                await self._write(shard, state)
        finally:
            self._busy.pop(shard, None)
        self.reconsider_shard(shard)

    async def _write(self, shard: int, state: str) -> None:
        membership = self._membership
        session = membership.session
        key = owner_key(self.name, shard)
        owned = membership.view.record(self.name, shard)
        record = Record(session.key, membership.node, "held" if state == "held" else "released")
        value = encode(record)
        store = membership.store
        wanted = Standing.VACANT if state == "held" else Standing.OURS
        if session.state is not State.HELD or self._standing(shard) is not wanted:
            return
        try:
            if owned is None:
                revision = await membership.call(store.create(key, value))
            else:
                revision = await membership.call(store.update(key, value, owned.revision))
        except (KeyExists, WrongRevision):
            await self._read(key)
        except StoreUnavailable:
            await self._is_unknown(Entry(key, value, 0 if owned is None else owned.revision))
        else:
            membership.view.learn(Entry(key, value, revision))

    async def _is_unknown(self, entry: Entry) -> None:
        """It was sent, with that revision demanded. If it is written, the record itself says so."""
        await self._membership.pause()
        await self._read(entry.key)

    async def _read(self, key: str) -> None:
        membership = self._membership
        try:
            entry = await membership.call(membership.store.get(key))
        except StoreUnavailable:
            await membership.pause()
            return
        if entry is not None:
            membership.view.learn(entry)
        elif key in membership.view.records:
            membership.store_has_lost(key)
            await membership.pause()
