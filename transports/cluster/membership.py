"""A node as a member of its cluster: its session is kept, and what the others do is watched.

There is one renewal and one watch a node, however many regions and shards it has.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from transports.cluster.ownership import Ownership
from transports.cluster.records import OWNERS, Session, decode_session, encode, session_key
from transports.cluster.session import Lease, OwnSession, State
from transports.cluster.store import (
    Entry,
    Store,
    StoreError,
    StoreUnavailable,
    Watch,
    WrongRevision,
)
from transports.cluster.view import View

if TYPE_CHECKING:
    from actors import ActorSystem
    from transports.encoding.codec import Codec

log = logging.getLogger("transports.cluster")

T = TypeVar("T")

SILENT_AFTER: Final = 2
"""Times to live of a session after which it is asked whether it is still there."""
WRITES_AT_ONCE: Final = 64
LEAVE_WITHIN: Final = 2.0
"""Seconds for the last word to the store when the system is left."""


class Membership:
    """Keeps this node's session, and tells its regions what to do.

    store: that all nodes of the cluster share. lease: how long a node that is not heard of keeps
    what it owns, the same on all nodes.
    """

    def __init__(
        self, system: ActorSystem, store: Store, lease: Lease, incarnation: int, codec: Codec
    ) -> None:
        self.system = system
        self.codec = codec
        self.store = store
        self.lease = lease
        self.node = system.name
        self.incarnation = incarnation
        self.view = View()
        self.session = OwnSession(lease)
        self.clock = system.env.clock()
        self.regions: dict[str, Ownership] = {}
        self.writing = trio.Semaphore(WRITES_AT_ONCE)
        """So that a renewal does not wait behind thousands of records."""
        self.nursery: trio.Nursery
        self._chance = system.env.random("session", incarnation)
        self._poked = trio.Event()
        self._cleared = trio.Event()
        self._leaving = False
        self._watching: trio.CancelScope | None = None
        self._unknown_since: dict[str, float] = {}
        self._heard: dict[str, tuple[Session, float]] = {}
        self._claims_from = -inf
        # Of `takes` in the session's value, as it was confirmed last.
        self._confirmed_takes: dict[str, int] = {}
        self._said = trio.Event()
        self._is_member = trio.Event()
        self._has_regions = trio.Event()
        self._origins = 0

    async def joined(self) -> None:
        """Wait until its tasks run."""
        await self._is_member.wait()

    # -- its tasks

    async def run(self) -> None:
        """Keep the session, and watch, from the first region on; until cancelled."""
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            self._is_member.set()
            await self._has_regions.wait()
            nursery.start_soon(self._watch)
            while True:
                await self._open()
                await self._keep()
                await self._clear()

    async def leave(self) -> None:
        """The system is being left, and its actors have stopped: let others take over at once."""
        self._leaving = True
        key = self.session.key
        self.nursery.cancel_scope.cancel()
        if self.session.state is not State.NONE:
            self.session.gone()
            with trio.move_on_after(LEAVE_WITHIN), contextlib.suppress(StoreError):
                await self.store.delete(key)

    @property
    def patience(self) -> float:
        """Seconds until an answer of the store is given up."""
        return self.lease.ttl / 6

    async def call(self, awaitable: Awaitable[T]) -> T:
        """What the store answers, unless that takes too long.

        Raises:
            StoreUnavailable: it did.
        """
        with trio.move_on_after(self.patience):
            return await awaitable
        raise StoreUnavailable(f"no answer in {self.patience:g} s")

    async def pause(self) -> None:
        """Wait until it is worth another try."""
        await trio.sleep(self.lease.ttl / 30 * (1 + self._chance.random()))

    # -- the session

    def _value(self, beat: int) -> bytes:
        takes = {region.name: region.shards for region in self.regions.values() if region.takes}
        return encode(Session(self.node, self.incarnation, takes, beat))

    async def _open(self) -> None:
        session = self.session
        while session.state is not State.HELD:
            key = session_key(self.node, self.incarnation, self._chance.getrandbits(48))
            session.open(key, self.clock())
            value = self._value(0)
            try:
                revision = await self.call(self.store.create(key, value, self.lease.ttl))
            except StoreError as error:
                log.info("%s: its session was not opened: %s", self.node, error)
                session.not_opened()
                await self.pause()
                continue
            self._has_written(Entry(key, value, revision))
        if not self.may_claim():
            # Now there is something that is newer than all that was lost.
            self._watch_anew()
        self.reconsider()

    def _has_written(self, entry: Entry) -> None:
        value = decode_session(entry.value)
        if entry.key != self.session.key or value is None:
            return
        self.view.learn(entry)
        self.session.confirmed(value.beat, entry.revision, self.clock())
        self._confirmed_takes = value.takes
        said, self._said = self._said, trio.Event()
        said.set()

    async def _keep(self) -> None:
        """Returns when the session is lost."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._renew)
            session = self.session
            while session.check(self.clock()):
                with trio.CancelScope(deadline=self.system.env.until(session.until)):
                    await self._said.wait()
            # At once, in this very step: the others may take over once the margin is over.
            self._stop_all()
            self._wake()
            nursery.cancel_scope.cancel()

    async def _renew(self) -> None:
        session = self.session
        while session.state is State.HELD:
            with trio.move_on_after(self.lease.renew_after):
                await self._poked.wait()
            self._poked = trio.Event()
            while not await self._renew_once() and session.check(self.clock()):
                await self.pause()
            self._look_for_silent()
            self.reconsider()

    async def _renew_once(self) -> bool:
        session = self.session
        key = session.key
        value = self._value(session.renew(self.clock()))
        try:
            revision = await self.call(
                self.store.update(key, value, session.revision, self.lease.ttl)
            )
        except WrongRevision:
            return await self._read_back(key)
        except StoreError:
            # Perhaps it is written.
            await self.pause()
            await self._read_back(key)
            return False
        self._has_written(Entry(key, value, revision))
        return True

    async def _read_back(self, key: str) -> bool:
        try:
            entry = await self.call(self.store.get(key))
        except StoreError:
            return False
        if entry is not None:
            # Nobody else writes it: whatever is there, this node has sent once.
            self._has_written(entry)
        else:
            self._is_gone()
        return False

    def _is_gone(self) -> None:
        if self.session.holds(self.clock()):
            self.store_has_lost(self.session.key)
        self.session.gone()
        self._wake()

    def store_has_lost(self, key: str) -> None:
        """The store does not have what it was to keep: let it say all that it has.

        Who owned something by what was lost may act for a while without knowing of it.
        """
        if self.may_claim():
            log.warning(
                "%s: the store has lost %s, perhaps all that it had: nothing is claimed for %g s",
                *(self.node, key, self.lease.ttl),
            )
        self._claims_from = self.clock() + self.lease.ttl
        self._watch_anew()

    def may_claim(self) -> bool:
        """Whether this node may take what nobody owns, as far as the store knows."""
        return self.clock() >= self._claims_from

    def _wake(self) -> None:
        said, self._said = self._said, trio.Event()
        said.set()

    def _stop_all(self) -> None:
        owns = any(region.tenures or region.is_stopping for region in self.regions.values())
        level = logging.WARNING if owns else logging.DEBUG
        log.log(level, "%s: its lease is over: it stops all that it owns", self.node)
        for region in self.regions.values():
            region.session_lost()

    async def _clear(self) -> None:
        key = self.session.key
        while any(region.is_stopping for region in self.regions.values()):
            self._cleared = trio.Event()
            await self._cleared.wait()
        self.session.cleared()
        # So that nobody waits for the rest of its time.
        with contextlib.suppress(StoreError):
            await self.call(self.store.delete(key))

    def something_stopped(self) -> None:
        """What was owned has stopped."""
        self._cleared.set()

    # -- the view

    async def _watch(self) -> None:
        while True:
            with trio.CancelScope() as self._watching:
                self.view.begin()
                watch = self.store.watch("")
                try:
                    await self._follow(watch)
                except StoreUnavailable as error:
                    log.info("%s: watches anew: %s", self.node, error)
                finally:
                    with trio.CancelScope(shield=True):
                        await watch.aclose()
            await self.pause()

    async def _follow(self, watch: Watch) -> None:
        async for change in watch:
            if self.view.apply(change):
                if self.view.lost:
                    lost, self.view.lost = self.view.lost, ""
                    self.store_has_lost(lost)
                if isinstance(change, Entry) and change.key.startswith(OWNERS):
                    for region in tuple(self.regions.values()):
                        region.has_changed(change.key)
                else:
                    self.reconsider()

    def reconsider(self) -> None:
        """Something is news: let all regions look again."""
        for region in tuple(self.regions.values()):
            region.reconsider()
        self._look_for_unknown()

    def _look_for_unknown(self) -> None:
        """A session that is not heard of for as long as one lasts: ask for all that there is."""
        unknown = self.view.unknown()
        now = self.clock()
        self._unknown_since = {key: self._unknown_since.get(key, now) for key in unknown}
        oldest = min(self._unknown_since.values(), default=now)
        if now - oldest > self.lease.ttl:
            self._unknown_since.clear()
            self._watch_anew()

    def _look_for_silent(self) -> None:
        """A session that is neither renewed nor ended: that it has gone was not said, or lost."""
        now, sessions = self.clock(), self.view.sessions
        before = self._heard
        heard = self._heard = {key: (session, now) for key, session in sessions.items()}
        heard.update({key: value for key, value in before.items() if sessions.get(key) is value[0]})
        oldest = min((since for _, since in heard.values()), default=now)
        if now - oldest > SILENT_AFTER * self.lease.ttl:
            heard.clear()
            self._watch_anew()

    def _watch_anew(self) -> None:
        if self._watching is not None:
            self._watching.cancel()

    # -- regions

    def next_origin(self) -> int:
        """For a sender that nobody else is."""
        self._origins += 1
        return self._origins

    def region(self, name: str, shards: int, moves: bool) -> Ownership:
        """What this node owns of a region, whether that runs here (yet) or not."""
        found = self.regions.get(name)
        if found is None:
            found = self.regions[name] = Ownership(self, name, shards, moves)
            self._has_regions.set()
        return found

    def say_takes(self) -> None:
        """A region has begun here, or ends: the others are to know."""
        self._poked.set()

    async def until_said(self, name: str, takes: bool) -> None:
        """Wait until the session says that a region runs here, or does not any more."""
        self.say_takes()
        while self.session.state is State.HELD and (name in self._confirmed_takes) is not takes:
            await self._said.wait()

    def spawn_task(self, function: Callable[..., Awaitable[object]], *args: object) -> None:
        """Run it beside all else, as long as this node is a member."""
        if not self._leaving:
            self.nursery.start_soon(function, *args)
