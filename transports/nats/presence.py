"""Which nodes of a cluster are there: a key for each, which ends unless its node renews it.

It only tells whom to call. Whether a node that was met is still there, the session with it says;
so while the engine's store stands still, nodes that are connected notice nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import attrs
import msgspec
import trio

from actors import ActorError
from actors.address import check_name
from transports.nats.errors import KeyNotFound, NoResponders, WrongRevision
from transports.nats.kv import KeyValue
from transports.nats.kv_types import Entry, Operation
from transports.nats.subjects import escape, unescape

if TYPE_CHECKING:
    from actors import Env

log = logging.getLogger("transports")

PREFIX: Final = "node."


@attrs.frozen
class Record:
    """What a node says of itself. durable: the names of the queues that it has the engine keep."""

    incarnation: int
    durable: tuple[str, ...] = ()


class Presence:
    """This node's key, and those of the others.

    incarnation: None: larger than that of any process before, which the store may know better than
    the machine's clock. durable: as in `Record`. ttl: seconds after which a key ends. came, went:
    are told of each other node; went also when another process takes its place, before came.
    replaced: is called when another process has taken this node's name. remake: makes the bucket if
    it is not there.
    """

    def __init__(
        self,
        bucket: KeyValue,
        name: str,
        env: Env,
        ttl: float,
        durable: tuple[str, ...],
        came: Callable[[str, Record], object],
        went: Callable[[str], object],
        replaced: Callable[[], object],
        remake: Callable[[], Awaitable[object]],
    ) -> None:
        self.nodes: dict[str, int] = {}
        """The incarnation of each node, this one's included."""
        self.current = trio.Event()
        """All that were there are in `nodes`."""
        self._bucket = bucket
        self._name = name
        self._key = PREFIX + escape(name)
        self._env = env
        self._ttl = ttl
        self._durable = durable
        self._came = came
        self._went = went
        self._replaced = replaced
        self._remake = remake
        self._revision = 0
        self._now = trio.Event()
        self._incarnation = 0

    async def enter(self, incarnation: int | None) -> int:
        """Put this node's key there; its incarnation.

        Raises:
            ActorError: the store cannot be reached.
        """
        before = await self._stored()
        self._incarnation = incarnation or max(self._env.incarnation(), before + 1)
        self._revision = await self._bucket.put(self._key, self._value(), ttl=self._ttl)
        return self._incarnation

    async def leave(self) -> None:
        """Take it away, so that nobody calls this node any more.

        Raises:
            ActorError: the store cannot be reached; the key ends by itself.
        """
        if self._revision:
            await self._bucket.delete(self._key, revision=self._revision)

    async def run(self) -> None:
        """Renew the key, and hear of others; until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._renew)
            nursery.start_soon(self._watch)

    def renew_now(self) -> None:
        """There is a connection again: the key may have ended meanwhile."""
        self._now.set()

    # -- this node

    async def _renew(self) -> None:
        wait = self._ttl / 3
        while True:
            with trio.move_on_after(wait):
                await self._now.wait()
            self._now = trio.Event()
            try:
                with trio.fail_after(self._ttl / 3):
                    if not await self._renewed():
                        return
                wait = self._ttl / 3
            except (ActorError, trio.TooSlowError) as error:
                log.debug("%s: its key is not renewed: %s", self._name, error)
                wait = self._ttl / 10
                if isinstance(error, NoResponders | trio.TooSlowError):
                    await self._remake_bucket()

    async def _remake_bucket(self) -> None:
        """Nobody takes what is written to it: perhaps somebody has deleted it, or the store."""
        try:
            with trio.fail_after(self._ttl):
                await self._remake()
        except (ActorError, trio.TooSlowError) as error:
            log.debug("%s: the bucket is not there: %s", self._name, error)

    async def _renewed(self) -> bool:
        """False: another process is this node now."""
        try:
            self._revision = await self._bucket.update(
                self._key, self._value(), self._revision, ttl=self._ttl
            )
        except WrongRevision:
            # It has ended; or another one was put; or an update was done whose reply was lost.
            if await self._stored() > self._incarnation:
                log.warning(
                    "%s: another process has taken this name; give each node a name of its own",
                    self._name,
                )
                self._revision = 0
                self._replaced()
                return False
            self._revision = await self._bucket.put(self._key, self._value(), ttl=self._ttl)
        return True

    async def _stored(self) -> int:
        try:
            found = _record(await self._bucket.get(self._key))
        except KeyNotFound:
            return 0
        return 0 if found is None else found.incarnation

    def _value(self) -> bytes:
        return msgspec.json.encode(Record(self._incarnation, self._durable))

    # -- the others

    async def _watch(self) -> None:
        attempt = 0
        while True:
            try:
                async with self._bucket.watch(PREFIX + ">") as watch:
                    async for event in watch:
                        attempt = 0
                        if isinstance(event, Entry):
                            self._heard(event)
                        else:
                            self.current.set()
            except ActorError as error:
                log.debug("%s: hears of no nodes: %s", self._name, error)
            attempt += 1
            chance = self._env.random("presence", self._name, attempt)
            await trio.sleep(min(2.0, 0.1 * 2.0 ** min(attempt, 10)) * chance.uniform(0.5, 1.0))

    def _heard(self, entry: Entry) -> None:
        try:
            name = check_name(unescape(entry.key.removeprefix(PREFIX)), "node")
        except ValueError:
            return
        record = _record(entry) if entry.operation is Operation.PUT else None
        before = self.nodes.get(name)
        if record is None:
            if self.nodes.pop(name, None) is not None:
                self._went(name)
        elif record.incarnation != before:
            self.nodes[name] = record.incarnation
            if before is not None:
                self._went(name)
            self._came(name, record)


def _record(entry: Entry) -> Record | None:
    """What a key says; None if it makes no sense: whoever can write to the bucket wrote it."""
    try:
        found = msgspec.json.decode(entry.value, type=Record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return found if found.incarnation > 0 else None
