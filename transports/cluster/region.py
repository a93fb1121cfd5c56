"""The actor by which a cluster's one of something is reached: it passes on what it is sent.

It runs on each node. What it holds of a message is a `Job`, until the owner has handled it.
"""

from __future__ import annotations

import abc
import functools
import logging
from collections.abc import Callable, Iterator
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, Final

from actors import Actor, ActorRef, ActorStopped, DeadLetterReason, Failure
from actors.ask import Ask
from actors.cell import Cell
from actors.producing import sink_of
from actors.timers import Timer
from actors.waiting import PENDING, Raised, Waiter
from supervision import OneForOne, Strategy
from supervision.child import child
from transports.cluster.lanes import Lane, Route
from transports.cluster.membership import Membership
from transports.cluster.owner import Key, Kind, Owner, Routed
from transports.errors import NoStore, NotEncodable
from transports.nodes.remote_ref import RemoteRef

if TYPE_CHECKING:
    from actors import ActorSystem
    from actors.rare import Rare

log = logging.getLogger("transports.cluster")

HELD: Final = 1_000
"""Messages that a region holds besides its mailbox; then that fills, and senders wait."""

RETRY_AFTER: Final = 0.1
"""Seconds until an owner that has sent a message back is tried again."""

NOBODY: Final = "held, because nobody owns it now"


def membership_of(system: ActorSystem) -> Membership:
    """What makes this system a member of a cluster.

    Raises:
        NoStore: it is none.
    """
    found = getattr(system._transport, "membership", None)
    if not isinstance(found, Membership):
        raise NoStore(system.name)
    return found


class Job:
    """One message, from its arrival to its end.

    It stands where the asker's ask has its holder, and where the ask to the owner has its asker.
    """

    __slots__ = ("_dispatcher", "ask", "inner", "key", "message", "number", "region", "shard")

    # What the search of cycles, and a stream's consumer, look at in a cell.
    _rare: ClassVar[Rare | None] = None
    _waiting: ClassVar[Waiter | None] = None

    def __init__(
        self, region: Region, number: int, shard: int, key: Key, message: Any, ask: Ask | None
    ) -> None:
        self.region = region
        self.number = number
        self.shard = shard
        self.key = key
        self.message = message
        self.ask = ask
        self.inner: Ask | None = None
        self._dispatcher = self

    def __str__(self) -> str:
        return str(self.region.context.ref)

    def is_wanted(self) -> bool:
        """Whether whoever asked still waits; what was told always is."""
        return self.ask is None or self.ask.value is PENDING

    def send(self, target: ActorRef, routed: Routed) -> bool:
        """Send it to an owner. False: no more is to be heard of it."""
        ask = self.ask
        if ask is not None and sink_of(ask) is not None:
            # The stream is between its consumer and the owner.
            ask.holder = target  # type: ignore[assignment] # a ref that takes asks
            self._put(target, ask, routed)
            return False
        asker, seconds = (None, None) if ask is None else (ask.asker, self._remaining(ask))
        end = inf if seconds is None else self.region.now() + seconds
        self.inner = inner = Ask(routed, asker, target, end, seconds)  # type: ignore[arg-type]
        inner.waits = self  # type: ignore[assignment] # as a cell that waits
        self._put(target, inner, routed)
        return True

    def _put(self, target: ActorRef, ask: Ask, routed: Routed) -> None:
        ask.where = "queued"
        if isinstance(target, RemoteRef) or self.round_trip is not None:
            try:
                body = self.region.encode(self.message)
            except NotEncodable as error:
                ask.failed(error)
                return
            routed = Routed(
                routed.shard, routed.fence, routed.origin, routed.attempt, routed.key, body, True
            )
        ask.message = routed
        target._put_ask(ask)
        if isinstance(target, RemoteRef):
            # It is encoded; its reply is of the type that this one says.
            ask.message = self.message

    def _remaining(self, ask: Ask) -> float | None:
        if ask.timeout is None:
            return None
        return ask.timeout if ask.deadline == inf else max(ask.deadline - self.region.now(), 1e-6)

    # -- as a dispatcher, for a cell that waits

    @property
    def round_trip(self) -> Any:
        """As a dispatcher: not None in a strict system."""
        return self.region.context._cell._dispatcher.round_trip

    def enqueue(self, _: object) -> None:
        """The owner has answered."""
        assert self.inner is not None
        self.region.answered(self, self.inner.value)

    # -- as the holder of the asker's ask

    def _whereabouts(self, ask: Ask) -> tuple[str, str]:
        inner = self.inner
        if inner is None:
            return NOBODY, str(self)
        where, who = inner.holder._whereabouts(inner)
        return where, who or str(inner.holder)

    def _asker_gone(self, ask: Ask) -> None:
        self.region.given_up(self)
        if self.inner is not None:
            self.inner.waits = None
            self.inner.abandoned()

    def _waits_for(self) -> Iterator[Waiter]:
        if self.inner is not None:
            yield self.inner


class Region(Actor, abc.ABC):
    """The base of Singleton and Sharded; see there."""

    shards: int = 1
    moves: ClassVar[bool] = False
    idle: float | None = None

    def __init__(
        self,
        cls: Callable[..., Actor],
        *args: Any,
        strategy: Strategy | None = None,
        shutdown: float | None = None,
    ) -> None:
        if strategy is not None and not isinstance(strategy, OneForOne):
            raise TypeError(f"the strategy is OneForOne(...), not {strategy!r}")
        spec = child(cls, *args, shutdown=shutdown)
        system = self.context.system
        self._membership = membership_of(system)
        name = self.context.ref.address.path
        self._ownership = self._membership.region(name, self.shards, self.moves)
        kind = Kind(spec, strategy or OneForOne(), self.idle, self._is_eager)
        owner = self.context.spawn(
            functools.partial(Owner, kind, self._ownership, self.flush_all), name="owner"
        )
        assert isinstance(owner, Cell)
        self._owner = owner
        self._owner_path = owner.address.path
        self._origin = (
            f"{system.name}.{self._membership.incarnation}.{self._membership.next_origin()}"
        )
        self._lanes: dict[int, Lane[Job]] = {}
        self._flushing: dict[int, None] = {}
        self._retries: dict[int, Timer] = {}
        self._overdue: dict[int, Timer] = {}
        self._held = 0
        self._last = 0
        self.now = system._dispatcher.timers.clock

    _is_eager: ClassVar[bool] = False

    async def started(self) -> None:
        """Take part."""
        actor = self._owner._actor
        assert isinstance(actor, Owner)
        self._ownership.open(actor)

    async def stopped(self) -> None:
        """Release what was owned, and say what is left of each message."""
        self._bury()
        await self._ownership.close()

    async def restarting(self, failure: Failure) -> None:
        """The next incarnation begins anew."""
        await self.stopped()

    # -- messages

    def encode(self, message: Any) -> bytes:
        """A message as it goes to another node.

        Raises:
            NotEncodable: it is none that can.
        """
        return self._membership.codec.encode_value(message)

    @abc.abstractmethod
    def _place(self, message: Any) -> tuple[int, Key, Any]:
        """The shard and the key of a message, and what of it is for the entity.

        Raises:
            Exception: it has none; its sender is told.
        """

    def receive(self, message: Any) -> None:
        """Hold it until it is sent; with too many held, let the mailbox fill."""
        cell = self.context._cell
        if self._held >= HELD:
            self.context.stash()
            return
        item = cell._message
        ask = item if isinstance(item, Ask) else None
        try:
            shard, key, message = self._place(message)
        except Exception as error:
            # The sender's mistake is no failure of the region.
            if ask is None:
                log.warning("%s: %s", self.context.ref, error)
            else:
                ask.failed(error)
                # What a plain handler returns would be its reply.
                ask.where = "refused"
            return
        self._last += 1
        self._held += 1
        job = Job(self, self._last, shard, key, message, ask)
        if ask is not None:
            ask.where = NOBODY
            # What it is said to ask, and by whose type its reply is written.
            ask.message = message
            ask.holder = job  # type: ignore[assignment] # all that is looked at in a holder
        self._lane(shard).put(job)
        self.flush(shard)

    def _lane(self, shard: int) -> Lane[Job]:
        lane = self._lanes.get(shard)
        if lane is None:
            lane = self._lanes[shard] = Lane()
        return lane

    def flush_all(self) -> None:
        """Others may own what they did not own before."""
        for shard, lane in tuple(self._lanes.items()):
            if lane.under_way:
                self._look_at_owner(shard, lane)
            if lane.waits:
                self.flush(shard)

    def _look_at_owner(self, shard: int, lane: Lane[Job]) -> None:
        """If it was lost with its lease, do not wait until its node is, too, which may take longer.

        One that is alive has stopped before, and said what it had begun with and what not.
        """
        route = lane.route
        if route is None or route.node == self.context.system.name or shard in self._overdue:
            return
        if not self._ownership.is_over(route):
            return

        def give_up() -> None:
            del self._overdue[shard]
            if lane.route is route:
                for job in tuple(lane.under_way):
                    lane.done(job)
                    _answer_is_lost(job, "its owner was lost in the middle of it")
                    self._ended()
                self.flush(shard)

        self._overdue[shard] = self._later(self._ownership.patience, give_up)

    def _later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        cell = self.context._cell
        return cell._dispatcher.timers.add(seconds, None, callback, cell._rare_part().timers)

    def flush(self, shard: int) -> None:
        """Send what can be sent of one shard."""
        if shard in self._flushing:
            return  # What is refused at once answers in the middle of this.
        lane = self._lanes[shard]
        self._flushing[shard] = None
        try:
            route = self._ownership.route(shard)
            while jobs := lane.ready(route):
                assert route is not None
                target = self._owner_of(route)
                for job in jobs:
                    if not job.is_wanted() or not job.send(
                        target, self._routed(job, route, lane.attempt)
                    ):
                        lane.done(job)
                        self._ended()
            if lane.is_blocked and lane.waits:
                self._retry(shard)
        finally:
            del self._flushing[shard]

    def _routed(self, job: Job, route: Route, attempt: int) -> Routed:
        return Routed(job.shard, route.fence, self._origin, attempt, job.key, job.message)

    def _owner_of(self, route: Route) -> ActorRef:
        system = self.context.system
        if route.node == system.name:
            return self._owner
        return system.at(f"actor://{route.node}/{self._owner_path}")

    def _retry(self, shard: int) -> None:
        if shard in self._retries:
            return

        def again() -> None:
            del self._retries[shard]
            self._lanes[shard].unblock()
            self.flush(shard)

        self._retries[shard] = self._later(RETRY_AFTER, again)

    def answered(self, job: Job, value: Any) -> None:
        """An owner has handled a job, or has not."""
        job.inner = None
        lane = self._lanes[job.shard]
        error = value.error if value.__class__ is Raised else None
        if isinstance(error, ActorStopped) and not error.started:
            lane.sent_back(job)
        else:
            lane.done(job)
            if job.ask is not None:
                job.ask.answer(value)
            elif error is not None:
                log.info("%s: %r was not handled: %s", job, type(job.message).__name__, error)
            self._ended()
        self.flush(job.shard)

    def given_up(self, job: Job) -> None:
        """Nobody waits for it any more."""
        self._lanes[job.shard].remove(job)
        self._ended()
        self.flush(job.shard)

    def _ended(self) -> None:
        self._held -= 1
        if self._held < HELD:
            self.context.unstash_all()

    def _bury(self) -> None:
        """What is not under way is not lost in silence."""
        cell = self.context._cell
        dispatcher = cell._dispatcher
        for lane in self._lanes.values():
            for job in lane.take_all():
                if job.ask is not None:
                    job.ask.stopped("it stopped before anybody owned it")
                else:
                    dispatcher.counters.at_the_door += 1
                    reason = DeadLetterReason.UNHANDLED_AT_STOP
                    dispatcher.dead_letters.add(cell, job.message, reason)
            for job in tuple(lane.under_way):
                lane.done(job)
                _answer_is_lost(job, "it stopped, and its owner's answer finds nobody")


def _answer_is_lost(job: Job, why: str) -> None:
    """Nothing is to be heard of a job that is under way. Its owner may have begun with it."""
    inner, job.inner = job.inner, None
    if inner is not None:
        inner.waits = None
    if job.ask is None:
        log.info("%s: whether %r was handled: %s", job, type(job.message).__name__, why)
        return
    job.ask.where = "being handled"
    job.ask.stopped(why)
    if inner is not None:
        inner.abandoned()
