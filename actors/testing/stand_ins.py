"""What stands around the actor of an `ActorKit`: context, system, refs, timers, replies.

Each has the names and signatures of the real one (a test compares them), and does nothing but to
note an effect, or to look something up in its kit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from actors.address import Address
from actors.context import Context
from actors.errors import NotRunning
from actors.placement import Placement
from actors.ref import ActorRef
from actors.streams import Channel
from actors.testing import effects
from actors.timers import check_period, check_seconds

if TYPE_CHECKING:
    from actors import Actor
    from actors.testing.kit import ActorKit

T = TypeVar("T")
NOTHING_IN_HAND: Final = object()


class KitRef(ActorRef):
    """Stands for any other actor: what is done with it is an effect of the kit."""

    __slots__ = ("_address", "_kit")

    def __init__(self, kit: ActorKit[Any], path: str) -> None:
        self._kit = kit
        self._address = Address("actor", "kit", path)

    @property
    def address(self) -> Address:
        return self._address

    def tell(self, message: object) -> None:
        self._kit.effects.append(effects.Told(self, message))

    async def send(self, message: object) -> None:
        self._kit.effects.append(effects.Sent(self, message))

    async def ask(self, message: Any, timeout: float | None = 5.0) -> Any:
        self._kit.effects.append(effects.Asked(self, message, timeout))
        return self._kit._answer(self, message)

    async def _open_stream(self, channel: Channel, request: object) -> None:
        self._kit.effects.append(effects.Streamed(self, request, channel.timeout))
        channel.items.extend(self._kit._answer(self, request))
        channel.end(None)

    def stop(self) -> None:
        self._kit.effects.append(effects.Stopped(self))

    async def stopped(self) -> None:
        return None


def _checked_ref(ref: ActorRef, what: str) -> ActorRef:
    if not isinstance(ref, ActorRef):
        raise TypeError(f"{what}() takes the ref of one actor, not {ref!r}")
    return ref


class KitTimer:
    """As `Timer`: cancelling it is an effect. In a kit it is 0 o'clock all the time."""

    def __init__(self, kit: ActorKit[Any], effect: effects.Scheduled) -> None:
        self._kit = kit
        self._effect = effect
        self.active = True
        self.deadline = effect.delay

    def cancel(self) -> None:
        """It will not happen."""
        if self.active:
            self.active = False
            self._kit.effects.append(effects.Cancelled(self._effect))


class KitReply:
    """As `Reply`: giving it is an effect."""

    def __init__(self, kit: ActorKit[Any]) -> None:
        self._kit = kit
        self.wanted = True

    def reply(self, value: object = None) -> bool:
        """Give the reply, once."""
        return self._settle(effects.Replied(value))

    def fail(self, error: BaseException) -> bool:
        """Let the ask raise, once."""
        if not isinstance(error, BaseException):
            raise TypeError(f"fail() takes an exception, not {error!r}")
        return self._settle(effects.ReplyFailed(error))

    def _settle(self, effect: effects.Effect) -> bool:
        if not self.wanted:
            return False
        self.wanted = False
        self._kit.effects.append(effect)
        return True


class KitSystem:
    """What an actor under test sees of a system: refs by address, an Env, top-level actors."""

    def __init__(self, kit: ActorKit[Any]) -> None:
        self._kit = kit
        self._children: dict[str, KitRef] = {}
        self.name = "kit"
        self.env = kit.env

    @property
    def children(self) -> tuple[ActorRef, ...]:
        """The top-level actors that were spawned."""
        return tuple(self._children.values())

    def spawn(
        self,
        cls: Callable[..., Actor],
        *args: Any,
        name: str | None = None,
        on: str | Placement | None = None,
    ) -> ActorRef:
        """A top-level actor, as an effect."""
        return self._kit._spawn(self._children, "", cls, args, name, on)

    async def start(
        self,
        cls: Callable[..., Actor],
        *args: Any,
        name: str | None = None,
        on: str | Placement | None = None,
    ) -> ActorRef:
        """The same: nothing is started."""
        return self.spawn(cls, *args, name=name, on=on)

    def at(self, address: str | Address) -> KitRef:
        """A ref by address; the same one for the same path."""
        return self._kit.ref(Address.parse(address).path)


class KitContext(Context):
    """As Context, with the same names and signatures; it records."""

    __slots__ = ("_children", "_kit", "_ref", "incarnation_number")

    def __init__(self, kit: ActorKit[Any], ref: KitRef) -> None:
        self._kit = kit
        self._ref = ref
        self._children: dict[str, KitRef] = {}
        self.incarnation_number = 1

    def _record(self, effect: effects.Effect) -> None:
        self._kit.effects.append(effect)

    @property
    def ref(self) -> ActorRef:
        return self._ref

    @property
    def system(self) -> Any:
        return self._kit.system

    @property
    def fence(self) -> int | None:
        return self._kit.fence

    @property
    def parent(self) -> ActorRef | None:
        return self._kit.ref("parent")

    @property
    def children(self) -> tuple[ActorRef, ...]:
        return tuple(self._children.values())

    @property
    def incarnation(self) -> int:
        return self.incarnation_number

    def spawn(
        self,
        cls: Callable[..., Actor],
        *args: Any,
        name: str | None = None,
        on: str | Placement | None = None,
    ) -> ActorRef:
        return self._kit._spawn(self._children, f"{self._ref.address.path}/", cls, args, name, on)

    async def start(
        self,
        cls: Callable[..., Actor],
        *args: Any,
        name: str | None = None,
        on: str | Placement | None = None,
    ) -> ActorRef:
        return self.spawn(cls, *args, name=name, on=on)

    def watch(self, ref: ActorRef) -> None:
        self._record(effects.Watched(_checked_ref(ref, "watch")))

    def unwatch(self, ref: ActorRef) -> None:
        self._record(effects.Unwatched(ref))

    def link(self, ref: ActorRef) -> None:
        self._record(effects.Linked(_checked_ref(ref, "link")))

    def unlink(self, ref: ActorRef) -> None:
        self._record(effects.Unlinked(ref))

    def after(self, delay: float, message: Any) -> Any:
        effect = effects.Scheduled(check_seconds(delay, "delay"), message)
        self._record(effect)
        return KitTimer(self._kit, effect)

    def every(self, period: float, message: Any) -> Any:
        seconds = check_period(period)
        effect = effects.Scheduled(seconds, message, seconds)
        self._record(effect)
        return KitTimer(self._kit, effect)

    async def run_blocking(self, function: Callable[..., T], *args: Any) -> T:
        # At once, without a thread: what it does is the same.
        return function(*args)

    def become(self, handler: Callable[[Any], Any]) -> None:
        if not callable(handler):
            raise TypeError(f"become() takes a handler, not {handler!r}")
        self._kit._behaviour = handler
        self._record(effects.Became(handler))

    def unbecome(self) -> None:
        self._kit._behaviour = None
        self._record(effects.Became(None))

    def stash(self) -> None:
        message = self._kit._in_hand("stash")
        if self._kit._taken_over:
            raise NotRunning("kit", "this message was stashed, forwarded or taken over already")
        self._kit._taken_over = True
        self._kit._stash.append(message)
        self._record(effects.Stashed(message))

    def unstash_all(self) -> None:
        messages = tuple(self._kit._stash)
        self._kit._stash.clear()
        if messages:
            self._record(effects.Unstashed(messages))

    def reply_later(self) -> Any:
        self._record(effects.RepliesLater(self._kit._in_hand("reply_later")))
        self._kit._taken_over = True
        return KitReply(self._kit)

    def forward(self, ref: ActorRef) -> None:
        message = self._kit._in_hand("forward")
        self._record(effects.Forwarded(_checked_ref(ref, "forward"), message))
        self._kit._taken_over = True

    def stop(self) -> None:
        self._record(effects.Stopped(self._ref))
