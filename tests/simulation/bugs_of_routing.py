"""Bugs of topics, services and queues."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from actors import ActorRef, ActorStopped
from actors.cell_mailbox import CellMailbox
from actors.routing.patterns import words_of
from actors.routing.queues import Consumer, Job, WorkQueue, _Delivery
from actors.routing.services import ServiceRef
from actors.routing.topics import Topics
from actors.waiting import PENDING, Raised
from tests.simulation.apps_of_routing import Claims, Errands, Papers
from tests.simulation.planting import Change, bug
from transports.nodes.directory import Directory

delivered = WorkQueue.delivered
deliver = WorkQueue._deliver


@bug(Papers)
def subscribed_twice_after_a_restart() -> Iterable[Change]:
    """Who subscribes again, as each incarnation does, gets each publication twice."""
    subscribe = Topics.subscribe
    find = Topics.find

    def subscribe_again(self: Topics, pattern: str, ref: ActorRef) -> None:
        again = self.__dict__.setdefault("again", [])
        if tuple(pattern.split(".")) in self._patterns.get(ref, {}):
            again.append(ref)
        subscribe(self, pattern, ref)

    def find_twice(
        self: Topics, topic: str
    ) -> tuple[tuple[CellMailbox, ...], tuple[ActorRef, ...]]:
        cells, others = find(self, topic)
        again = self.__dict__.get("again", [])
        return (*cells, *(cell for cell in cells if cell in again)), others

    yield Topics, "subscribe", subscribe_again
    yield Topics, "find", find_twice


@bug(Papers)
def published_once_a_pattern() -> Iterable[Change]:
    """A node with two patterns that match is sent a publication twice."""

    async def send(self: Directory, ref: ActorRef, topic: str, message: object) -> int:
        peers = list(self._trie.match(words_of(topic)))
        body = self._node.codec.encode_value(message) if peers else b""
        for peer in peers:
            link = self._node.link(peer)
            if link is not None:
                link.publish(ref, topic, body, message)
        return len(peers)

    yield Directory, "send", send


@bug(Claims)
def started_ask_retried() -> Iterable[Change]:
    """A service asks another instance, though the first had begun."""
    nobody = ServiceRef._nobody

    async def ask(self: ServiceRef, message: Any, timeout: float | None = 5.0) -> Any:
        tried: dict[ActorRef, None] = {}
        while (ref := self._services.choose(self._address, tried)) is not None:
            tried[ref] = None
            try:
                return await ref.ask(message, timeout)
            except ActorStopped:
                continue
        raise nobody(self, message, len(tried))

    yield ServiceRef, "ask", ask


@bug(Errands)
def work_of_a_lost_consumer_forgotten() -> Iterable[Change]:
    """A queue does not put back what a consumer had when its node was lost."""

    def forget(self: WorkQueue, job: Job, consumer: Consumer, outcome: Any) -> None:
        if outcome.__class__ is Raised and isinstance(outcome.error, ActorStopped):
            consumer.busy -= 1
            self.remove(consumer.ref)
            self._deliver()
        else:
            delivered(self, job, consumer, outcome)

    yield WorkQueue, "delivered", forget


@bug(Errands)
def acknowledged_before_it_is_handled() -> Iterable[Change]:
    """A queue says that a message is handled when it has given it to a consumer."""
    least_loaded = WorkQueue._least_loaded

    def reply_at_once(self: WorkQueue) -> Consumer | None:
        consumer = least_loaded(self)
        if consumer is not None and self._pending:
            self._pending[0].reply.reply(True)
        return consumer

    yield WorkQueue, "_least_loaded", reply_at_once


@bug(Errands)
def given_to_two_consumers() -> Iterable[Change]:
    """A queue gives a message to another consumer if it was not acknowledged within a second."""
    make = _Delivery.__init__

    def with_a_timer(self: _Delivery, queue: WorkQueue, job: Job, consumer: Consumer) -> None:
        make(self, queue, job, consumer)
        cell = queue.context._cell

        def again() -> None:
            if self.ask.value is PENDING:
                queue._pending.appendleft(job)
                queue._deliver()

        cell._dispatcher.timers.add(1.0, None, again, cell._rare_part().timers)

    yield _Delivery, "__init__", with_a_timer


@bug(Errands)
def busy_counted_for_ever() -> Iterable[Change]:
    """A queue does not take back what a consumer that failed was counted as having."""

    def still_busy(self: WorkQueue, job: Job, consumer: Consumer, outcome: Any) -> None:
        if outcome.__class__ is Raised:
            consumer.busy += 1
        delivered(self, job, consumer, outcome)

    yield WorkQueue, "delivered", still_busy
