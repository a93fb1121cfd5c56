"""What the nodes know of each other's topics, services and queues, and who takes which actors.

Each node tells every peer what it has, when a session begins and whenever it changes. What was
heard of a peer ends with its session. So a look-up never waits for anybody; it may be out of date
by as long as a frame takes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from actors import ActorError, ActorRef, DeadLetterReason
from actors.cell import Cell
from actors.routing.patterns import Trie, pattern_of, words_of
from transports.encoding import envelope
from transports.errors import DecodeError
from transports.wire.session_states import State

if TYPE_CHECKING:
    from transports.nodes.link import Link
    from transports.nodes.node import Node

log = logging.getLogger("transports")

PATTERNS_AT_ONCE: Final = 1_000
CHARACTERS_AT_ONCE: Final = 10_000
"""Of patterns in one frame: that fits into the smallest, and one pattern more."""
MOST: Final = 1_000_000
"""Subscriptions, instances and consumers that one peer may tell of."""


class Directory:
    """The directory of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._mine: dict[tuple[str, ...], int] = {}
        self._trie: Trie[str] = Trie()
        self._patterns: dict[str, dict[tuple[str, ...], None]] = {}
        self._services: dict[str, dict[tuple[str, str], ActorRef]] = {}
        self._consumers: dict[str, dict[tuple[str, str], ActorRef]] = {}
        self.kept: dict[str, Callable[[], object]] = {}
        """Queues that an engine keeps: no node is told of their consumers; this is, of a change."""
        self.takes: dict[str, tuple[str, ...]] = {}
        """The classes of actors that each peer takes."""

    def attach(self) -> None:
        """Hear of what changes on this node."""
        system = self._node.system
        system._topics.elsewhere = self
        system._services.elsewhere = self
        system._queues.elsewhere = self

    # -- what changes here

    def subscribed(self, words: tuple[str, ...], count: int) -> None:
        """A pattern has one subscription more (1), or one less (-1), on this node."""
        before = self._mine.get(words, 0)
        after = before + count
        if after:
            self._mine[words] = after
        else:
            self._mine.pop(words, None)
        if bool(before) is not bool(after):
            self._tell(envelope.Subscribed((".".join(words),), bool(after)))

    def registered(self, service: str, ref: ActorRef, weight: int, version: str) -> None:
        """An actor of this node is an instance of a service now; weight 0: no longer."""
        if isinstance(ref, Cell):
            self._tell(envelope.Registered(service, ref.address.path, weight, version))

    def consumes(self, queue: str, ref: ActorRef, prefetch: int) -> None:
        """An actor of this node is a consumer of a queue now; prefetch 0: no longer."""
        if (changed := self.kept.get(queue)) is not None:
            changed()
        elif isinstance(ref, Cell):
            self._tell(envelope.Consumes(queue, ref.address.path, prefetch))

    def _tell(self, message: envelope.Envelope) -> None:
        for link in self._node.links():
            if link.session.state in (State.CONNECTED, State.DISCONNECTED):
                link.outgoing.control(message)

    def tell_all(self, link: Link) -> None:
        """Tell one peer everything, at the beginning of a session."""
        say = link.outgoing.control
        classes = self._node.spawnable.classes
        if classes:
            say(envelope.Spawnable(classes))
        for patterns in batched([".".join(words) for words in self._mine]):
            say(envelope.Subscribed(patterns, True))
        system = self._node.system
        for name, instances in system._services.all():
            for instance in instances:
                if isinstance(instance.ref, Cell):
                    path = instance.ref.address.path
                    say(envelope.Registered(name, path, instance.weight, instance.version))
        for name, ref, prefetch in system._queues.all_consumers():
            if isinstance(ref, Cell) and name not in self.kept:
                say(envelope.Consumes(name, ref.address.path, prefetch))

    # -- what is heard of others

    def heard(self, peer: str, message: Any) -> None:
        """A peer has told of a change there. What makes no sense is left out.

        Raises:
            DecodeError: it has told of more than MOST; the connection is to be closed.
        """
        tables = (self._patterns, self._services, self._consumers)
        if sum(len(table.get(peer, ())) for table in tables) > MOST:
            raise DecodeError("$", f"more than {MOST} subscriptions, instances and consumers")
        try:
            match message:
                case envelope.Subscribed(patterns, present):
                    for pattern in patterns:
                        self._peer_subscribes(peer, pattern_of(pattern), present)
                case envelope.Registered():
                    self._peer_registers(peer, message)
                case envelope.Consumes():
                    self._peer_consumes(peer, message)
                case envelope.Spawnable(classes):
                    self.takes[peer] = classes
                    self._node.spawner.changed()
        except (ValueError, ActorError) as error:
            # It is no name, or this system makes no queues any more: it is being left.
            log.warning("%s: from node %s: %s", self._node.name, peer, error)

    def _peer_subscribes(self, peer: str, words: tuple[str, ...], present: bool) -> None:
        known = self._patterns.setdefault(peer, {})
        if present:
            known[words] = None
            self._trie.add(words, peer)
        else:
            known.pop(words, None)
            self._trie.remove(words, peer)

    def _peer_registers(self, peer: str, message: envelope.Registered) -> None:
        services = self._node.system._services
        known = self._services.setdefault(peer, {})
        key = (message.service, message.path)
        if message.weight < 1:
            ref = known.pop(key, None)
            if ref is not None:
                services.unregister(message.service, ref)
            return
        ref = known[key] = self._node.ref_of(f"actor://{peer}/{message.path}")
        services.register(message.service, ref, message.weight, message.version)

    def _peer_consumes(self, peer: str, message: envelope.Consumes) -> None:
        queues = self._node.system._queues
        known = self._consumers.setdefault(peer, {})
        key = (message.queue, message.path)
        if message.prefetch < 1:
            ref = known.pop(key, None)
            if ref is not None:
                queues.remove(message.queue, ref)
            return
        ref = known[key] = self._node.ref_of(f"actor://{peer}/{message.path}")
        queues.queue(message.queue).add(ref, message.prefetch)

    def takes_nothing(self, peer: str) -> None:
        """A peer is being left, or has refused an actor of a class that it had told of."""
        self.takes[peer] = ()
        self._node.spawner.changed()

    def lost(self, peer: str) -> None:
        """A peer is lost, and so is what it had."""
        if self.takes.pop(peer, None) is not None:
            self._node.spawner.changed()
        for words in self._patterns.pop(peer, {}):
            self._trie.remove(words, peer)
        system = self._node.system
        for (service, _), ref in self._services.pop(peer, {}).items():
            system._services.unregister(service, ref)
        for (queue, _), ref in self._consumers.pop(peer, {}).items():
            system._queues.remove(queue, ref)

    # -- publishing

    async def send(self, ref: ActorRef, topic: str, message: object) -> int:
        """Send a publication to each node with a subscriber, waiting for room; how many."""
        peers = dict.fromkeys(self._trie.match(words_of(topic)))
        body = self._node.codec.encode_value(message) if peers else b""
        for peer in peers:
            link = self._node.link(peer)
            if link is None or link.publish(ref, topic, body, message):
                continue
            waiter = link.allowance.wait_for_room(ref, message, topic)
            asker = self._node.asker()
            if asker is None:
                await waiter.wait(self._node.dispatcher)
            else:
                await asker._wait_as(asker, waiter)
        return len(peers)

    def publish(self, ref: ActorRef, topic: str, message: object) -> tuple[int, int]:
        """Send a publication to each node with a subscriber: how many have it, and refused it."""
        peers = dict.fromkeys(self._trie.match(words_of(topic)))
        if not peers:
            return 0, 0
        body = self._node.codec.encode_value(message)
        sent = refused = 0
        for peer in peers:
            link = self._node.link(peer)
            if link is not None and link.publish(ref, topic, body, message):
                sent += 1
                continue
            refused += 1
            self._node.dispatcher.counters.at_the_door += 1
            reason = DeadLetterReason.SUBSCRIBER_FULL
            self._node.dispatcher.dead_letters.add(ref, message, reason)
        return sent, refused


def batched(patterns: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """The patterns, as many at a time as are told in one frame."""
    batch: list[str] = []
    size = 0
    for pattern in patterns:
        batch.append(pattern)
        size += len(pattern)
        if size >= CHARACTERS_AT_ONCE or len(batch) >= PATTERNS_AT_ONCE:
            yield tuple(batch)
            batch, size = [], 0
    if batch:
        yield tuple(batch)
