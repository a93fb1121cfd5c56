"""Bugs of what there is once in a cluster: of leases, fences, watches, and hand-overs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import trio

from actors.ask import Ask
from actors.cell import Cell
from actors.errors import ActorStopped
from actors.rare import Terms
from actors.stopping import kill
from actors.waiting import Raised
from tests.simulation.apps_of_clusters import Drawers, Narrow, Shelves, Stamps
from tests.simulation.planting import Change, bug
from transports.cluster import membership
from transports.cluster.lanes import Lane, Route
from transports.cluster.membership import Membership
from transports.cluster.owner import Attempts, Owner
from transports.cluster.ownership import Ownership, Tenure
from transports.cluster.placement import Standing
from transports.cluster.region import Job, Region
from transports.cluster.session import OwnSession
from transports.cluster.store import Entry
from transports.cluster.view import Fate, View
from transports.testing.faults import Faults

fate = View.fate
answered = Region.answered
has_stopped = Owner._has_stopped
deliver = Owner._deliver
standing = Ownership._standing
session_lost = Ownership.session_lost


@bug(Narrow, faults=Faults.only(engine_part=0.3, store_slow=0.5))
def validity_counted_from_the_reply() -> Iterable[Change]:
    """A node counts its time from when a renewal is answered, and not from when it was sent."""

    def until(self: OwnSession, sent: float, now: float) -> float:
        return now + self.lease.ttl - self.lease.margin

    yield OwnSession, "_until", until


@bug(Stamps, faults=Faults.only(engine_part=0.3, skew=1.0))
def no_margin() -> Iterable[Change]:
    """A node acts until the very end of its time by its own clock, which may be slow."""

    def until(self: OwnSession, sent: float, now: float) -> float:
        return sent + self.lease.ttl

    yield OwnSession, "_until", until


@bug(Stamps)
def session_key_used_again() -> Iterable[Change]:
    """The key of a node's session is its name, in each of its incarnations."""
    yield membership, "session_key", lambda node, incarnation, number: f"session.{node}"


@bug(Stamps)
def lease_not_looked_at() -> Iterable[Change]:
    """An actor is stopped a second after its time is over; nobody looks before each message."""

    def lost(self: Ownership) -> None:
        trio.lowlevel.spawn_system_task(later, self)

    async def later(self: Ownership) -> None:
        await trio.sleep(1.0)
        session_lost(self)

    yield Tenure, "holds", lambda self: not self.is_over
    yield Ownership, "session_lost", lost


@bug(Drawers, faults=Faults.only(engine_part=0.3))
def a_hook_outlives_the_lease() -> Iterable[Change]:
    """What is in its `stopped()` hook when the lease is over goes on with that."""

    def without_hooks(self: Owner, cell: Cell) -> None:
        cell._rare_part().terms = Terms(brutal=True)
        kill(cell)

    yield Owner, "stop_hard", without_hooks


@bug(Stamps)
def taken_over_by_absence() -> Iterable[Change]:
    """A session that is not in the view counts as gone, though it may have yet to come there."""
    begin = View.begin

    def begin_complete(self: View) -> None:
        begin(self)
        self.is_complete = True

    def absent(self: View, session: str) -> Fate:
        found = fate(self, session)
        return Fate.GONE if found is Fate.UNKNOWN else found

    yield View, "fate", absent
    yield View, "begin", begin_complete


@bug(Stamps)
def lost_watch_not_healed() -> Iterable[Change]:
    """Whoever has lost its watch goes on with what it knew then."""

    async def watch_once(self: Membership) -> None:
        self.view.begin()
        watch = self.store.watch("")
        try:
            await self._follow(watch)
        except membership.StoreUnavailable:
            await trio.sleep_forever()

    yield Membership, "_watch", watch_once


@bug(Shelves)
def unknown_outcome_taken_for_success() -> Iterable[Change]:
    """A claim, or a release, that was not answered counts as made."""

    async def is_made(self: Ownership, entry: Entry) -> None:
        self._membership.view.learn(Entry(entry.key, entry.value, entry.revision + 1))

    yield Ownership, "_is_unknown", is_made


@bug(Stamps)
def unknown_outcome_taken_for_failure() -> Iterable[Change]:
    """A claim that was not answered counts as not made, even where its record is there."""

    def not_ours(self: Ownership, shard: int) -> Standing:
        found = standing(self, shard)
        lost = self.__dict__.get("lost", ())
        owned = self._membership.view.record(self.name, shard)
        is_lost = owned is not None and owned.record.session in lost
        return Standing.TAKEN if found is Standing.OURS and is_lost else found

    async def give_up(self: Ownership, entry: Entry) -> None:
        self.__dict__.setdefault("lost", []).append(self._membership.session.key)
        await self._membership.pause()

    yield Ownership, "_is_unknown", give_up
    yield Ownership, "_standing", not_ours


@bug(Stamps)
def owner_is_who_has_the_name() -> Iterable[Change]:
    """A node that was started anew takes the record of its last incarnation for its own."""

    def by_name(self: Ownership, shard: int) -> Standing:
        found = standing(self, shard)
        owned = self._membership.view.record(self.name, shard)
        if found is Standing.TAKEN and owned is not None:
            is_named = owned.record.node == self._membership.node
            if is_named and self._membership.session.holds(self._membership.clock()):
                return Standing.OURS
        return found

    yield Ownership, "_standing", by_name


@bug(Stamps)
def handled_again_by_the_next_owner() -> Iterable[Change]:
    """What an owner was lost with goes to the next one, whether it had begun with that or not."""

    def retried(self: Region, job: Job, value: Any) -> None:
        if value.__class__ is Raised and isinstance(value.error, ActorStopped):
            value.error.started = False
        answered(self, job, value)

    yield Region, "answered", retried


@bug(Shelves)
def released_before_it_has_stopped() -> Iterable[Change]:
    """A shard is released while its entities handle what they have."""

    def release_first(self: Ownership, tenure: Tenure) -> None:
        # It is no longer known here, but its entities go on.
        del self.tenures[tenure.shard]
        tenure.accepts = False
        tenure.owner.drain(tenure)
        self._given_up[tenure.shard] = tenure.fence
        self._start(tenure.shard, "released")

    yield Ownership, "_hand_over", release_first


@bug(Shelves)
def messages_lost_while_it_stops() -> Iterable[Change]:
    """What comes for an entity that is stopping, since it was idle, is dropped."""

    def drop(self: Owner, tenure: Tenure, key: Any, ask: Ask, message: Any) -> None:
        entity = self._entities.get(key)
        if entity is not None and entity.cell._closed():
            ask.where = "queued"
            return
        deliver(self, tenure, key, ask, message)

    yield Owner, "_deliver", drop


@bug(Shelves)
def last_first_after_a_stop() -> Iterable[Change]:
    """What came while an idle entity stopped is given to the next one in the wrong order."""

    def reversed_(self: Owner, cell: Cell) -> None:
        entity = self._by_cell.get(cell)
        if entity is not None:
            entity.waiting.reverse()
        has_stopped(self, cell)

    yield Owner, "_has_stopped", reversed_


@bug(Shelves)
def sent_back_behind_the_others() -> Iterable[Change]:
    """What an owner has sent back is sent again behind what has come since."""

    def begin(self: Lane[Any], route: Route) -> bool:
        if route == self.route and self.is_blocked:
            return False
        self.attempt += 1
        self.route = route
        self.is_blocked = False
        came_back, self._came_back = self._came_back, []
        self.pending.extend(came_back)
        return True

    yield Lane, "_begin", begin


@bug(Shelves)
def next_owner_not_waited_for() -> Iterable[Change]:
    """Messages go to the next owner while the last one may yet send some back."""

    def at_once(self: Lane[Any], route: Route | None) -> list[Any]:
        if route is None or not (self.pending or self._came_back) or not self._begin(route):
            return []
        items = list(self.pending)
        self.pending.clear()
        self.under_way.update(dict.fromkeys(items))
        return items

    yield Lane, "ready", at_once


@bug(Shelves, faults=Faults.only(slow=0.3))
def attempts_not_told_apart() -> Iterable[Change]:
    """An owner takes what is behind a message that it has sent back."""
    yield Attempts, "refuse", lambda self, origin, attempt: None
    yield Attempts, "refuse_all", lambda self: None
