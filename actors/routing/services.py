"""Service discovery: ``service://name`` is one live instance of those that registered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs
import trio

from actors.address import Address, check_version
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

    def is_of(self, version: str) -> bool:
        """Whether its version is that one, or begins with it: "1" or "1.4", of "1.4.0".

        Whole words count: "1" is not the beginning of "10.0". An empty one is that of all.
        """
        return not version or f"{self.version}.".startswith(f"{version}.")


class Elsewhere(Protocol):
    """What tells other nodes of the services here."""

    def registered(self, service: str, ref: ActorRef, weight: int, version: str) -> None:
        """It is an instance now; weight 0: no longer."""


class Services:
    """The services of one system, and what it was told of others'."""

    def __init__(self, system: ActorSystem) -> None:
        self._system = system
        self.elsewhere: Elsewhere | None = None
        self._instances: dict[str, dict[ActorRef, Instance]] = {}
        # Smooth weighted round robin (as in nginx): how much each is due.
        self._due: dict[str, dict[ActorRef, int]] = {}

    def register(self, name: str, ref: ActorRef, weight: int, version: str) -> None:
        """See `ActorSystem.register`."""
        if type(weight) is not int or weight < 1:
            raise ValueError(f"weight is an int from 1 up: {weight!r}")
        if version != "":
            check_version(version)
        instances = self._instances.setdefault(name, {})
        if ref not in instances:
            ref._on_stop(lambda: self.unregister(name, ref))
        instances[ref] = Instance(ref, weight, version)
        self._due.setdefault(name, {})[ref] = 0
        if self.elsewhere is not None:
            self.elsewhere.registered(name, ref, weight, version)

    def unregister(self, name: str, ref: ActorRef) -> None:
        """See `ActorSystem.unregister`."""
        if self.elsewhere is not None and ref in self._instances.get(name, {}):
            self.elsewhere.registered(name, ref, 0, "")
        for table in (self._instances, self._due):
            refs: dict[ActorRef, Any] = table.get(name, {})
            refs.pop(ref, None)
            if not refs:
                table.pop(name, None)

    def all(self) -> tuple[tuple[str, tuple[Instance, ...]], ...]:
        """Every service, with its instances."""
        return tuple((name, tuple(known.values())) for name, known in self._instances.items())

    def instances(self, address: Address) -> tuple[Instance, ...]:
        """Those alive, of the version that is demanded, in the order in which they registered."""
        known = self._instances.get(address.path, {}).values()
        return tuple(each for each in known if each.is_of(address.version))

    def choose(self, address: Address, but: dict[ActorRef, None]) -> ActorRef | None:
        """Whose turn it is, by weight, of those of the version that is demanded; none of `but`."""
        name, version = address.path, address.version
        due = self._due.get(name, {})
        total, best = 0, None
        for ref, instance in self._instances.get(name, {}).items():
            if ref in but or (version and not instance.is_of(version)):
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
        """The instances that are alive now, of the version that the address demands."""
        return self._services.instances(self._address)

    def tell(self, message: object) -> None:
        """Tell one instance; if there is none, the message is a dead letter."""
        ref = self._services.choose(self._address, {})
        if ref is not None:
            ref.tell(message)
            return
        dispatcher = self._system._dispatcher
        dispatcher.check_thread("tell")
        dispatcher.counters.at_the_door += 1
        dispatcher.dead_letters.add(self, message, DeadLetterReason.NO_INSTANCE)

    async def send(self, message: object) -> None:
        """As `tell`, waiting for room in the mailbox of the instance that was chosen."""
        ref = self._services.choose(self._address, {})
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
            ref = self._services.choose(self._address, tried)
            if ref is None:
                await trio.lowlevel.checkpoint()
                raise self._nobody(message, len(tried))
            tried[ref] = None
            try:
                return await ref.ask(message, None if end is None else max(0.0, end - clock()))
            except ActorStopped as error:
                if error.started:
                    raise

    async def _open_stream(self, channel: Channel, request: object) -> None:
        """As `ask`: another instance is sent the request only if the first never began with it."""
        tried: dict[ActorRef, None] = {}
        while (ref := self._services.choose(self._address, tried)) is not None:
            tried[ref] = None
            try:
                await ref._open_stream(channel, request)
            except ActorStopped:
                continue
            if not (isinstance(channel.error, ActorStopped) and not channel.error.started):
                return
            channel.open_again()
        await trio.lowlevel.checkpoint()
        raise self._nobody(request, len(tried))

    def _nobody(self, message: object, tried: int) -> ActorStopped:
        counters = self._system._dispatcher.counters
        counters.at_the_door += 1
        counters.rejected += 1
        return ActorStopped(self, message, self._none(tried))

    def _none(self, tried: int) -> str:
        """Why nobody can be asked, or asked any more."""
        if tried:
            return f"no other instance of the service is alive: {tried} stopped before they began"
        name, version = self._address.path, self._address.version
        others = self._services.instances(Address("service", "", name))
        if version and others:
            known = ", ".join(dict.fromkeys(each.version or "none" for each in others))
            return f"no instance of version {version} is alive; the versions alive are: {known}"
        return "no instance of the service is alive"

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
