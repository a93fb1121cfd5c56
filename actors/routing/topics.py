"""Publish and subscribe: ``topic://name`` is every subscriber whose pattern matches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs
import trio

from actors.address import Address
from actors.cell_mailbox import CellMailbox, tell_each
from actors.dead_letters import DeadLetterReason
from actors.errors import ActorError, MailboxFull, NotAskable, NotStreamable
from actors.ref import ActorRef
from actors.routing.patterns import Trie, pattern_of, words_of

if TYPE_CHECKING:
    from actors.streams import Channel
    from actors.system import ActorSystem

REMEMBERED: Final = 1_000
"""Topics whose subscribers are remembered until a subscription changes."""


@attrs.frozen
class Published:
    """What became of one publication: subscribers that matched, that have it now, that refused it.

    Those that refused have no room; each refusal is a dead letter. nodes: other nodes with
    subscribers, to which it was sent once; how many they are, only that node knows.
    """

    matched: int
    queued: int
    refused: int
    nodes: int = 0


@attrs.frozen
class Gathered:
    """The replies to a question put to all subscribers, and the errors of those without one."""

    replies: dict[ActorRef, Any]
    errors: dict[ActorRef, ActorError]


class Elsewhere(Protocol):
    """What connects the topics of nodes: it hears of subscriptions here, and sends there."""

    def subscribed(self, words: tuple[str, ...], count: int) -> None:
        """A pattern has one subscription more (1), or one less (-1)."""

    def publish(self, ref: ActorRef, topic: str, message: object) -> tuple[int, int]:
        """Send a publication to other nodes: how many have it, and how many refused it.

        Raises:
            NotEncodable: it cannot be sent, and was sent to none.
        """

    async def send(self, ref: ActorRef, topic: str, message: object) -> int:
        """The same, waiting for room on the way to each; how many they are."""


class Topics:
    """The subscriptions of one system. `elsewhere`: those of others; None: there are no others."""

    def __init__(self, system: ActorSystem) -> None:
        self._system = system
        self._trie: Trie[ActorRef] = Trie()
        # By subscriber: its patterns. The number says who subscribed first.
        self._patterns: dict[ActorRef, dict[tuple[str, ...], None]] = {}
        self._number: dict[ActorRef, int] = {}
        self.elsewhere: Elsewhere | None = None
        self._remembered: dict[str, tuple[tuple[CellMailbox, ...], tuple[ActorRef, ...]]] = {}

    def subscribe(self, pattern: str, ref: ActorRef) -> None:
        """See `ActorSystem.subscribe`."""
        words = pattern_of(pattern)
        mine = self._patterns.get(ref)
        if mine is None:
            ref._on_stop(lambda: self.forget(ref))
            mine = self._patterns[ref] = {}
            self._number[ref] = self._system.env.next_id()
        if words not in mine and self.elsewhere is not None:
            self.elsewhere.subscribed(words, 1)
        mine[words] = None
        self._trie.add(words, ref)
        self._remembered.clear()

    def unsubscribe(self, pattern: str, ref: ActorRef) -> None:
        """See `ActorSystem.unsubscribe`."""
        words = pattern_of(pattern)
        mine = self._patterns.get(ref, {})
        if words in mine and self.elsewhere is not None:
            self.elsewhere.subscribed(words, -1)
        mine.pop(words, None)
        self._trie.remove(words, ref)
        self._remembered.clear()

    def forget(self, ref: ActorRef) -> None:
        """It has stopped: all its subscriptions end."""
        for words in self._patterns.pop(ref, {}):
            self._trie.remove(words, ref)
            if self.elsewhere is not None:
                self.elsewhere.subscribed(words, -1)
        self._number.pop(ref, None)
        self._remembered.clear()

    def find(self, topic: str) -> tuple[tuple[CellMailbox, ...], tuple[ActorRef, ...]]:
        """Who gets what is published there, each once: actors themselves, and refs around them.

        Both in the order in which they subscribed.
        """
        found = self._remembered.get(topic)
        if found is None:
            matches = dict.fromkeys(self._trie.match(words_of(topic)))
            cells: list[CellMailbox] = []
            others: list[ActorRef] = []
            for ref in sorted(matches, key=self._number.__getitem__):
                if isinstance(ref, CellMailbox) and ref.told_in_place:
                    cells.append(ref)
                else:
                    others.append(ref)
            found = (tuple(cells), tuple(others))
            if len(self._remembered) >= REMEMBERED:
                self._remembered.clear()
            self._remembered[topic] = found
        return found

    def subscribers(self, topic: str) -> tuple[ActorRef, ...]:
        """The same in one."""
        cells, others = self.find(topic)
        return (*cells, *others)


class TopicRef(ActorRef):
    """Every subscriber of a topic, as a ref. What is told to it is published."""

    __slots__ = ("_address", "_system", "_topic", "_topics")

    def __init__(self, system: ActorSystem, topics: Topics, address: Address) -> None:
        words_of(address.path)
        self._system = system
        self._topics = topics
        self._address = address
        self._topic = address.path

    @property
    def address(self) -> Address:
        return self._address

    def publish(self, message: object) -> Published:
        """Tell every subscriber, and say how many there were. Never waits.

        From one sender, each subscriber gets what is published to one topic in that order. A
        subscriber without room does not keep others from getting it.

        Raises:
            NotEncodable: another node has subscribers, and it cannot be sent there; nobody has it.
        """
        self._system._dispatcher.check_thread("publish")
        elsewhere = self._topics.elsewhere
        if elsewhere is None:
            return self.publish_here(message)
        # First: once somebody here has it, it is too late to find that it cannot be sent.
        nodes, refused = elsewhere.publish(self, self._topic, message)
        here = self.publish_here(message)
        return Published(here.matched + refused, here.queued, here.refused + refused, nodes)

    def publish_here(self, message: object) -> Published:
        """Tell every subscriber of this node."""
        dispatcher = self._system._dispatcher
        cells, others = self._topics.find(self._topic)
        refused: list[ActorRef] = [*tell_each(dispatcher, cells, message)]
        # Nobody is there to be told by an error, so it becomes a dead letter instead.
        dispatcher.counters.rejected -= len(refused)
        for ref in others:
            try:
                ref.tell(message)
            except MailboxFull:
                dispatcher.counters.rejected -= 1
                refused.append(ref)
            except ActorError:
                # A rate limit, or an open circuit: it was not even sent.
                dispatcher.counters.at_the_door += 1
                refused.append(ref)
        for ref in refused:
            dispatcher.dead_letters.add(ref, message, DeadLetterReason.SUBSCRIBER_FULL)
        matched = len(cells) + len(others)
        return Published(matched, matched - len(refused), len(refused))

    def tell(self, message: object) -> None:
        """Publish; if nobody subscribes, the message is a dead letter."""
        published = self.publish(message)
        if not (published.matched or published.nodes):
            self._nobody(message)

    async def send(self, message: object) -> None:
        """Publish, waiting for room at each subscriber in turn; the slowest one decides.

        If cancelled, those before the one that it waited for have the message.

        Raises:
            NotEncodable: as `publish`.
        """
        self._system._dispatcher.check_thread("send")
        subscribers = self._topics.subscribers(self._topic)
        nodes = 0
        if self._topics.elsewhere is not None:
            nodes = await self._topics.elsewhere.send(self, self._topic, message)
        if not (subscribers or nodes):
            await trio.lowlevel.checkpoint()
            self._nobody(message)
        for ref in subscribers:
            await ref.send(message)

    async def ask(self, message: Any, timeout: float | None = 5.0) -> Any:
        """A topic has many subscribers, and so no one reply.

        Raises:
            NotAskable: always; see `gather`.
        """
        await trio.lowlevel.checkpoint()
        raise NotAskable(self, "it has any number of subscribers; use `await ref.gather(...)`")

    async def _open_stream(self, channel: Channel, request: object) -> None:
        await trio.lowlevel.checkpoint()
        raise NotStreamable(self, "it has any number of subscribers; stream from one of them")

    async def gather(self, message: Any, timeout: float | None = 5.0) -> Gathered:
        """Ask every subscriber of this node at once, and return who replied what (scatter-gather).

        Those of other nodes do not hear of it.

        timeout: seconds for all of it; who has not replied by then is among the errors. If
        cancelled, so are the asks.
        """
        replies: dict[ActorRef, Any] = {}
        errors: dict[ActorRef, ActorError] = {}

        async def one(ref: ActorRef) -> None:
            try:
                replies[ref] = await ref.ask(message, timeout)
            except ActorError as error:
                errors[ref] = error

        await trio.lowlevel.checkpoint()
        refs = self._topics.subscribers(self._topic)
        async with trio.open_nursery() as nursery:
            for ref in refs:
                nursery.start_soon(one, ref)
        # In the order of the subscriptions, whoever was first to answer.
        return Gathered(
            {ref: replies[ref] for ref in refs if ref in replies},
            {ref: errors[ref] for ref in refs if ref in errors},
        )

    def stop(self) -> None:
        """A topic is no actor.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"{self} is a topic: stop its subscribers, or unsubscribe them")

    async def stopped(self) -> None:
        """A topic is no actor.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"{self} is a topic, which never stops")

    def _nobody(self, message: object) -> None:
        dispatcher = self._system._dispatcher
        dispatcher.counters.at_the_door += 1
        dispatcher.dead_letters.add(self, message, DeadLetterReason.NO_SUBSCRIBER)


class StrictTopicRef(TopicRef):
    """A topic of a strict system: the publisher gets the error, also if nobody subscribes.

    (Otherwise it would be taken for a subscriber's.)
    """

    __slots__ = ()

    def publish(self, message: object) -> Published:
        self._check(message)
        return super().publish(message)

    async def send(self, message: object) -> None:
        self._check(message)
        await super().send(message)

    async def gather(self, message: Any, timeout: float | None = 5.0) -> Gathered:
        self._check(message)
        return await super().gather(message, timeout)

    def _check(self, message: object) -> None:
        round_trip = self._system._dispatcher.round_trip
        assert round_trip is not None
        round_trip.message(message)
