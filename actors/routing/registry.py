"""What of routing an actor system offers: who subscribes, consumes, and is registered."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from actors.address import Address, check_name
from actors.errors import InvalidAddress
from actors.ref import ActorRef, check_ref
from actors.routing.queues import Queues
from actors.routing.services import Instance, ServiceRef, Services
from actors.routing.topics import StrictTopicRef, TopicRef, Topics

if TYPE_CHECKING:
    from actors.system import ActorSystem


class Registry:
    """The part of `ActorSystem` that is about topics, queues and services."""

    _topics: Topics
    _services: Services
    _queues: Queues

    def _set_up_routing(self, system: ActorSystem) -> dict[str, Callable[[Address], ActorRef]]:
        """Begin with empty tables; returns the resolvers of their schemes."""
        self._topics = topics = Topics(system)
        self._services = services = Services(system)
        self._queues = queues = Queues(system)
        topic = TopicRef if system._dispatcher.round_trip is None else StrictTopicRef
        return {
            "topic": lambda address: topic(system, topics, address),
            "queue": lambda address: queues.cell(address.path),
            "service": lambda address: ServiceRef(system, services, address),
        }

    def subscribe(self, pattern: str | Address, ref: ActorRef) -> None:
        """Let `ref` get what is published to topics that match ``topic://orders.*``.

        ``*`` is one word, ``**`` at the end any number of words. It lasts until `unsubscribe`, or
        until the actor has stopped; restarts do not end it. Twice is once; an actor gets each
        publication once, however many of its patterns match.

        Raises:
            InvalidAddress: it is no pattern of a topic.
            ActorStopped: the actor has stopped.
            TypeError: `ref` is no ref of one actor.
        """
        self._topics.subscribe(_path_of(pattern, "topic"), check_ref(ref, "subscribe"))

    def unsubscribe(self, pattern: str | Address, ref: ActorRef) -> None:
        """End that one subscription. Not subscribed is no error."""
        self._topics.unsubscribe(_path_of(pattern, "topic"), ref)

    def consume(self, address: str | Address, ref: ActorRef, *, prefetch: int = 1) -> None:
        """Let `ref` be one of the consumers of ``queue://jobs``: each message goes to one of them.

        prefetch: how many messages it may have at a time. The least loaded one gets the next. A
        message is done when its handler has returned. If that raises, or the consumer stops
        before, another delivery is made, before what waits; after three deliveries that began and
        ended so it is a dead letter, with its failures. (A consumer that was stopped in the middle
        of a message may have done part of it.)

        Raises:
            InvalidAddress: it is no address of a queue.
            ActorStopped, TypeError: as `subscribe`.
            ValueError: `prefetch` is no int from 1 up.
        """
        self._queues.queue(_path_of(address, "queue")).add(ref, prefetch)

    def unconsume(self, address: str | Address, ref: ActorRef) -> None:
        """No longer; it finishes what it has. Not a consumer is no error."""
        self._queues.remove(_path_of(address, "queue"), ref)

    def register(
        self, address: str | Address, ref: ActorRef, *, weight: int = 1, version: str = ""
    ) -> None:
        """Let `ref` be an instance of ``service://inventory``, until it stops or is unregistered.

        weight: its share of the messages, against the others'. version: such as "1.4.0"; who looks
        for ``service://inventory?version=1`` gets it too. Twice is once, with the new values.

        Raises:
            InvalidAddress: it is no address of a service, or one that demands a version.
            ActorStopped, TypeError: as `subscribe`.
            ValueError: `weight` is no int from 1 up, or `version` no words joined by dots.
        """
        self._services.register(
            _path_of(address, "service"), check_ref(ref, "register"), weight, version
        )

    def unregister(self, address: str | Address, ref: ActorRef) -> None:
        """No longer. Not registered is no error."""
        self._services.unregister(_path_of(address, "service"), ref)

    def instances(self, address: str | Address) -> tuple[Instance, ...]:
        """The instances of a service that are alive, in the order in which they registered.

        Those of ``service://inventory?version=1`` are the ones whose version begins with 1.

        Raises:
            InvalidAddress: it is no address of a service.
        """
        parsed = Address.parse(address)
        if parsed.scheme != "service":
            raise InvalidAddress(str(address), "a service:// address is needed here")
        return self._services.instances(parsed)


def _path_of(address: str | Address, scheme: str) -> str:
    """The path of an address, which must be of that scheme."""
    parsed = Address.parse(address)
    if parsed.scheme != scheme:
        raise InvalidAddress(str(address), f"a {scheme}:// address is needed here")
    if scheme != "topic":
        check_name(parsed.path, f"{scheme}'s name")
    if parsed.version:
        raise InvalidAddress(
            str(address), "an instance's version is an argument: register(..., version=...)"
        )
    return parsed.path
