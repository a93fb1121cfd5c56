"""Service discovery: ``service://name`` is one live instance of those that registered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import trio

from actors.address import Address
from actors.dead_letters import DeadLetterReason
from actors.errors import ActorStopped
from actors.ref import ActorRef

if TYPE_CHECKING:
    from actors.streams import Channel
    from actors.system import ActorSystem


@attrs.frozen
class Instance:
    """One instance of a service: its ref, weight and version, as registered."""

    ref: ActorRef
    weight: int
    version: str


class Services:
    """The services of one system."""

    def __init__(self, system: ActorSystem) -> None:
        self._system = system
        self._instances: dict[str, dict[ActorRef, Instance]] = {}
        # Smooth weighted round robin (as in nginx): how much each is due.
        self._due: dict[str, dict[ActorRef, int]] = {}

    def register(self, name: str, ref: ActorRef, weight: int, version: str) -> None:
        """See `ActorSystem.register`."""
        if type(weight) is not int or weight < 1:
            raise ValueError(f"weight is an int from 1 up: {weight!r}")
        instances = self._instances.setdefault(name, {})
        if ref not in instances:
            ref._on_stop(lambda: self.unregister(name, ref))
        instances[ref] = Instance(ref, weight, version)
        self._due.setdefault(name, {})[ref] = 0

    def unregister(self, name: str, ref: ActorRef) -> None:
        """See `ActorSystem.unregister`."""
        for table in (self._instances, self._due):
            refs: dict[ActorRef, Any] = table.get(name, {})
            refs.pop(ref, None)
            if not refs:
                table.pop(name, None)

    def instances(self, name: str) -> tuple[Instance, ...]:
        """Those alive, in the order in which they registered."""
        return tuple(self._instances.get(name, {}).values())

    def choose(self, name: str, but: dict[ActorRef, None]) -> ActorRef | None:
        """Whose turn it is, by weight; none of `but`."""
        due = self._due.get(name, {})
        total, best = 0, None
        for ref, instance in self._instances.get(name, {}).items():
            if ref in but:
                continue
            due[ref] += instance.weight
            total += instance.weight
            if best is None or due[ref] > due[best]:
                best = ref
        if best is not None:
            due[best] -= total
        return best


class ServiceRef(ActorRef):
    """One instance of a service, chosen anew for each message, in proportion to the weights."""

    __slots__ = ("_address", "_services", "_system")

    def __init__(self, system: ActorSystem, services: Services, address: Address) -> None:
        self._system = system
        self._services = services
        self._address = address

    @property
    def address(self) -> Address:
        return self._address

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The instances that are alive now."""
        return self._services.instances(self._address.path)

    def tell(self, message: object) -> None:
        """Tell one instance; if there is none, the message is a dead letter."""
        ref = self._services.choose(self._address.path, {})
        if ref is not None:
            ref.tell(message)
            return
        dispatcher = self._system._dispatcher
        dispatcher.check_thread("tell")
        dispatcher.counters.at_the_door += 1
        dispatcher.dead_letters.add(self, message, DeadLetterReason.NO_INSTANCE)

    async def send(self, message: object) -> None:
        """As `tell`, waiting for room in the mailbox of the instance that was chosen."""
        ref = self._services.choose(self._address.path, {})
        if ref is not None:
            await ref.send(message)
            return
        await trio.lowlevel.checkpoint()
        self.tell(message)

    async def ask(self, message: Any, timeout: float | None = 5.0) -> Any:
        """Ask one instance. Another one is asked only if the first never began to handle it.

        timeout: seconds for all of it.

        Raises:
            ActorStopped: there is no instance, or each one stopped before it began; or one stopped
                after it began (`started`), and nobody knows how far it came.
            otherwise as `ActorRef.ask`.
        """
        clock = self._system._dispatcher.timers.clock
        end = None if timeout is None else clock() + timeout
        tried: dict[ActorRef, None] = {}
        while True:
            ref = self._services.choose(self._address.path, tried)
            if ref is None:
                await trio.lowlevel.checkpoint()
                raise self._nobody(message)
            tried[ref] = None
            try:
                return await ref.ask(message, None if end is None else max(0.0, end - clock()))
            except ActorStopped as error:
                if error.started:
                    raise

    async def _open_stream(self, channel: Channel, request: object) -> None:
        """As `ask`: another instance is sent the request only if the first never began with it."""
        tried: dict[ActorRef, None] = {}
        while (ref := self._services.choose(self._address.path, tried)) is not None:
            tried[ref] = None
            try:
                await ref._open_stream(channel, request)
            except ActorStopped:
                continue
            if not (isinstance(channel.error, ActorStopped) and not channel.error.started):
                return
            channel.open_again()
        await trio.lowlevel.checkpoint()
        raise self._nobody(request)

    def _nobody(self, message: object) -> ActorStopped:
        counters = self._system._dispatcher.counters
        counters.at_the_door += 1
        counters.rejected += 1
        return ActorStopped(self, message, "no instance of the service is alive")

    def stop(self) -> None:
        """A service is no actor.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"{self} is a service: stop its instances")

    async def stopped(self) -> None:
        """A service is no actor.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"{self} is a service, which never stops")
