"""Entities by key: one actor for each key, somewhere in the cluster."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, ClassVar, Final

import trio

from actors import Actor, ActorRef, message
from actors.ask import Ask
from actors.cell import Cell
from actors.hashing import stable_hash
from actors.streams import Channel
from actors.timers import check_seconds
from actors.waiting import PENDING
from supervision import Strategy
from supervision.wrapped_ref import WrappedRef
from transports.cluster.owner import Key
from transports.cluster.region import Region, membership_of
from transports.nodes.remote_ref import RemoteRef

MOST_SHARDS: Final = 10_000


@message(name="trouper.ToEntity")
class ToEntity:
    """A message for the entity of a key, which it need not hold itself.

    message: as it is on this node; from another one, as its codec has written it.
    """

    key: Key
    message: Any
    is_encoded: bool = False


class Sharded(Region):
    """An actor for each key, of which there is never more than one in the whole cluster.

        accounts = await system.start(
            functools.partial(Sharded, key="account", idle=60.0), Account, name="accounts"
        )
        await accounts.ask(Deposit("ada", 5))        # Deposit has a field called account
        await Sharded.ref(accounts, "ada").ask(Balance())

    Each node that is to have entities starts it so, with the same arguments, by the same name and
    at the same place. A key belongs to one of `shards` shards, and a shard to one of these nodes:
    when one comes or goes, only the shards move that it takes, or had. An entity is made at its
    first message, by ``cls(key, *args)``, and stops in good order when nobody has sent it anything
    for `idle` seconds; its next message makes it again. What it knows is gone then, unless it has
    written that somewhere: see `self.context.fence`.

    key: the name of a field of all messages, or a function of a message; its value is a str or an
    int. None: only `Sharded.ref` says it. shards: the same on all nodes, for ever; some ten for
    each node that there may be. idle: None: never. strategy, shutdown: of each entity by itself:
    one that fails too often stops, and begins anew with its next message.

    A shard that moves is handed over: its entities handle what they have, and stop; what comes for
    it meanwhile waits where it was sent, in order. Otherwise as `Singleton`. Where a live node has
    another number of shards, this one fails with ShardsDiffer once it knows that.

    Raises:
        NoStore: the nodes share none.
        NotAnActor, TypeError, ValueError: an argument is none of what is said above.
    """

    moves: ClassVar[bool] = True

    def __init__(
        self,
        cls: Callable[..., Actor],
        *args: Any,
        key: str | Callable[[Any], Key] | None = None,
        shards: int = 64,
        idle: float | None = 60.0,
        strategy: Strategy | None = None,
        shutdown: float | None = None,
    ) -> None:
        if not (key is None or isinstance(key, str) or callable(key)):
            raise TypeError(f"key is the name of a field, or a function of a message: {key!r}")
        if type(shards) is not int or not 1 <= shards <= MOST_SHARDS:
            raise ValueError(f"shards is an int from 1 to {MOST_SHARDS}: {shards!r}")
        self.shards = shards
        self.idle = None if idle is None else check_seconds(idle, "idle", zero=False)
        self._key = key
        super().__init__(cls, *args, strategy=strategy, shutdown=shutdown)

    @staticmethod
    def ref(region: ActorRef, key: Key) -> ActorRef:
        """The entity of a key, as a ref: what it is sent needs no field for it.

        region: of this node, or of another one.

        Raises:
            TypeError, ValueError: the key is none, see `check_key`; or `region` is no ref.
        """
        return EntityRef(region, key)

    def _place(self, message: Any) -> tuple[int, Key, Any]:
        if isinstance(message, ToEntity):
            key = message.key
            message = message.message if not message.is_encoded else self._decoded(message)
        elif self._key is None:
            raise TypeError(
                f"{type(message).__name__}: whom is it for? Use Sharded.ref(..., key), or key="
            )
        elif isinstance(self._key, str):
            key = getattr(message, self._key)
        else:
            key = self._key(message)
        return stable_hash(check_key(key)) % self.shards, key, message

    def _decoded(self, message: ToEntity) -> Any:
        return self._ownership.decode(message.message)


class EntityRef(WrappedRef):
    """See `Sharded.ref`. It cannot be watched, linked or stopped: an entity comes and goes."""

    def __init__(self, region: ActorRef, key: Key) -> None:
        super().__init__(region)
        self.key = check_key(key)

    def __repr__(self) -> str:
        return f"<EntityRef {self.key!r} of {self.address}>"

    def _wrap(self, message: Any) -> ToEntity:
        ref = self.ref
        if isinstance(ref, RemoteRef):
            return ToEntity(self.key, ref._node.codec.encode_value(message), True)
        if isinstance(ref, Cell) and ref._dispatcher.round_trip is not None:
            membership = membership_of(ref._dispatcher.system)
            return ToEntity(self.key, membership.codec.encode_value(message), True)
        return ToEntity(self.key, message)

    def tell(self, message: object) -> None:
        self.ref.tell(self._wrap(message))

    async def send(self, message: object) -> None:
        await self.ref.send(self._wrap(message))

    async def ask(self, message: Any, timeout: float | None = 5.0) -> Any:
        if isinstance(self.ref, RemoteRef):
            return await self._ask_elsewhere(self.ref, message, timeout)
        return await self.ref.ask(self._wrap(message), timeout)

    async def _ask_elsewhere(self, ref: RemoteRef, message: Any, timeout: float | None) -> Any:
        """As RemoteRef.ask; the reply is of the type that `message` says, and not its wrapping."""
        node = ref._node
        dispatcher = node.dispatcher
        dispatcher.check_thread("ask")
        end = inf
        if timeout is not None:
            end = dispatcher.timers.clock() + check_seconds(timeout, "timeout")
        await trio.lowlevel.checkpoint_if_cancelled()
        asker = node.asker()
        ask = Ask(self._wrap(message), asker, ref, end, timeout)  # type: ignore[arg-type]
        ref._take_over(ask)
        ask.message = message
        if ask.value is PENDING and timeout is not None:
            dispatcher.timers.expect(ask)
        return await (ask.wait(dispatcher) if asker is None else asker._wait_as(asker, ask))

    async def _open_stream(self, channel: Channel, request: object) -> None:
        await self.ref._open_stream(channel, self._wrap(request))

    def _take_over(self, ask: Ask) -> None:
        ask.message = self._wrap(ask.message)
        self.ref._take_over(ask)

    def stop(self) -> None:
        raise TypeError("an entity is not stopped from outside: it may stop itself, or be idle")

    async def stopped(self) -> None:
        raise TypeError("an entity has no end: its next message makes it again")

    def _watched_by(self, watcher: Cell) -> None:
        raise TypeError(f"watch() takes the ref of one actor, not {self!r}")

    def _linked_by(self, other: Cell) -> None:
        raise TypeError(f"link() takes the ref of one actor, not {self!r}")


def check_key(key: Any) -> Key:
    """Return a key, which every node can be told.

    Raises:
        TypeError: it is no str or int.
        ValueError: an int of more than 64 bits, or a str that is no text (a lone surrogate).
    """
    if isinstance(key, str):
        try:
            key.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"the key of an entity is text: {key!r}: {error.reason}") from None
        return key
    if isinstance(key, bool) or not isinstance(key, int):
        raise TypeError(f"the key of an entity is a str or an int, not {key!r}")
    if not -(2**63) <= key < 2**64:
        raise ValueError(f"the key of an entity has 64 bits at most: {key!r}")
    return key
