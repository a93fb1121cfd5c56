"""Durable queues: ``queue://jobs`` whose messages the engine keeps, until one was handled.

What is sent to such a queue is stored in a work-queue stream of JetStream, and given to a consumer
of some node from there. So it outlives every node. It is handled at least once: a node that is
killed between a handler's end and the acknowledgement leaves it to be delivered again.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import trio

from actors import (
    Actor,
    ActorError,
    ActorFailed,
    ActorRef,
    DeadLetterReason,
    InvalidAddress,
)
from actors.address import Address
from actors.ask import Reply
from actors.cell import Cell
from actors.routing.queues import NoConsumer, WorkQueue
from transports.errors import DecodeError, NotEncodable
from transports.nats.errors import (
    ApiError,
    NatsError,
    NoResponders,
    NotConnected,
    OutcomeUnknown,
    PayloadTooLarge,
    RequestTimeout,
)
from transports.nats.jetstream import JetStream
from transports.nats.jetstream_types import ConsumerConfig, StreamConfig
from transports.nats.subjects import escape

if TYPE_CHECKING:
    from transports.nats.client import Client
    from transports.nats.consumer import Consumer, Delivered
    from transports.nats.node import Nats

log = logging.getLogger("transports")

PREFIX: Final = "durable:"
CONSUMER: Final = "trouper"
AT_ONCE: Final = 64
"""Messages for which the engine's answer is waited for at once: each is a round trip."""
MOST_OF_NAME: Final = 150
"""Bytes of an escaped name: a stream's has 255 at most, with the cluster's name and ours in it."""
ACK_WAIT: Final = 30.0
"""Seconds after which a message of a node that was killed is given to another one."""
ACK_AGAIN_AFTER: Final = 0.25
FETCH_FOR: Final = 5.0
DELIVERIES: Final = 10
"""How often the engine gives a message out before it is a dead letter: it may end each process."""
TOO_LARGE: Final = 10_054
"""What JetStream says of a message that its stream does not take."""
ANOTHER_CONFIG: Final = 10_058
"""What it says of a stream that is there, and another one."""
RETRY_AT_MOST: Final = 2.0


def check_durable(durable: Iterable[str]) -> tuple[str, ...]:
    """The names of the queues.

    Raises:
        InvalidAddress: one is no address of a queue. TypeError: it is one str.
    """
    if isinstance(durable, str):
        raise TypeError(f"durable is a list of addresses: [{durable!r}]")
    names = []
    for each in durable:
        address = Address.parse(each)
        if address.scheme != "queue" or "*" in address.path:
            raise InvalidAddress(each, "what can be durable is a queue: queue://jobs")
        if len(escape(address.path)) > MOST_OF_NAME:
            raise InvalidAddress(each, f"as the name of a stream it has over {MOST_OF_NAME} bytes")
        names.append(address.path)
    return tuple(dict.fromkeys(names))


class DurableQueue(Actor):
    """Stores what it is told; the reply to an ask says that it is stored, and is None.

    While the engine is away, what it is told waits in its mailbox, which is bounded.
    """

    def __init__(self, queue: Store) -> None:
        self._queue = queue
        self._under_way = 0
        self._less = trio.lowlevel.ParkingLot()

    async def receive(self, message: Any) -> None:
        """Have it stored, however long that takes."""
        reply = self.context.reply_later()
        try:
            body = self._queue.node.codec.encode_value(message)
        except NotEncodable as error:
            self._refuse(message, reply, error)
            return
        while self._under_way >= AT_ONCE:
            await self._less.park()
        self._under_way += 1
        await self._queue.node.start(self._store, message, body, reply)

    async def stopped(self) -> None:
        """The engine has answered for all, if there is time for that."""
        while self._under_way:
            await self._less.park()

    async def _store(
        self, message: Any, body: bytes, reply: Reply, *, task_status: trio.TaskStatus[None]
    ) -> None:
        is_begun = is_over = False

        def begin() -> None:
            # The next message is taken when this one is on its way: so they keep their order.
            nonlocal is_begun
            if not is_begun:
                is_begun = True
                task_status.started()

        try:
            await self._queue.store(body, begin)
            reply.reply()
            is_over = True
        except (PayloadTooLarge, ApiError) as error:
            begin()
            self._refuse(message, reply, error)
            is_over = True
        finally:
            self._under_way -= 1
            self._less.unpark_all()
            if is_begun and not is_over:
                # The node ends, and nobody knows whether it is stored.
                self._bury(message)

    def _refuse(self, message: Any, reply: Reply, error: ActorError) -> None:
        """No attempt will succeed: it is the sender's error, and no failure of this queue."""
        reply.fail(error)
        log.warning("%s: %s", self._queue.address, error)
        self._bury(message)

    def _bury(self, message: Any) -> None:
        cell = self.context._cell
        cell._dispatcher.counters.at_the_door += 1
        cell._dispatcher.dead_letters.add(cell, message, DeadLetterReason.NOT_STORED)


class Store:
    """One durable queue, as one node has it: what stores, and what hands out to its consumers."""

    def __init__(self, node: Nats, client: Client, name: str, replicas: int) -> None:
        self.node = node
        self.name = name
        self.address = f"queue://{name}"
        self._jetstream = JetStream(client)
        self._replicas = replicas
        self._stream = f"trouper-{node.cluster}-queue-{escape(name)}"
        self._subject = f"trouper.{node.cluster}.durable.{escape(name)}"
        self._made = self._has_consumer = False
        # Not of the actor that stores: whoever comes after it is not to use a number again.
        self._stored = 0
        # By their numbers: those for which the engine has not answered; of these, those that it has
        # not taken at first.
        self._storing: dict[int, None] = {}
        self._again: dict[int, None] = {}
        self._order = trio.lowlevel.ParkingLot()
        # Whether the engine stores at all: then they are sent one by one, or the first of several
        # may be lost, and not the second.
        self._is_doubtful = True
        self._changed = trio.Event()
        self._closed = False
        self._held: dict[int, Delivered] = {}
        """Those that a consumer has now, by their numbers in the stream."""

    def ref(self) -> ActorRef:
        """What the address stands for on this node."""
        system = self.node.system
        path = f"{PREFIX}{self.name}"
        found = (system._root._children or {}).get(path)
        return found if found is not None else system.spawn(DurableQueue, self, name=path)

    # -- storing

    async def store(self, body: bytes, begin: Callable[[], None]) -> None:
        """Have the engine store it: once, by its number. Until it is, or cancelled.

        begin: is called before each attempt, in the step in which it is written. Of several, those
        that are tried again are so one after another, in their order, before any new one begins.

        Raises:
            PayloadTooLarge, ApiError: it never will be.
        """
        self._stored += 1
        number = self._stored
        identity = f"{self.node.name}.{self.node.incarnation}.{number}"
        self._storing[number] = None
        attempt = 0
        try:
            while True:
                while (self._is_doubtful or self._again) and next(iter(self._storing)) != number:
                    await self._order.park()
                try:
                    await self._make()
                    begin()
                    await self._jetstream.publish(self._subject, body, message_id=identity)
                except (NatsError, trio.TooSlowError) as error:
                    if isinstance(error, PayloadTooLarge) or (
                        isinstance(error, ApiError) and error.err_code == TOO_LARGE
                    ):
                        raise
                    # Perhaps somebody has deleted the stream.
                    self._made = self._made and not isinstance(error, NoResponders)
                    level = logging.WARNING if attempt == 3 else logging.DEBUG
                    log.log(level, "%s: not stored yet: %s", self.address, error)
                else:
                    self._is_doubtful = False
                    return
                self._again[number] = None
                attempt += 1
                chance = self.node.system.env.random("durable", self.name, attempt)
                wait = min(RETRY_AT_MOST, 0.05 * 2.0 ** min(attempt, 10))
                await trio.sleep(wait * chance.uniform(0.5, 1.0))
        finally:
            del self._storing[number]
            self._again.pop(number, None)
            self._order.unpark_all()

    def disconnected(self) -> None:
        """What is stored next is sent to another server, or to one that has just begun."""
        self._is_doubtful = True

    async def _make(self) -> None:
        if self._made:
            return
        try:
            await self._jetstream.create_stream(
                StreamConfig(
                    name=self._stream,
                    subjects=[self._subject],
                    retention="workqueue",
                    discard="new",
                    replicas=self._replicas,
                )
            )
        except ApiError as error:
            # Another node has made it, with other replicas: it is used as it is.
            if error.err_code != ANOTHER_CONFIG:
                raise
        self._made = True

    # -- handing out

    def changed(self) -> None:
        """There may be room for another message at this node's consumers."""
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def run(self) -> None:
        """Give messages to the consumers of this node; until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._say_that_it_takes_longer)
            attempt = 0
            while True:
                changed = self._changed
                free = self._free()
                if free < 1:
                    attempt = 0
                    await changed.wait()
                    continue
                try:
                    for each in await self._fetch(free):
                        number = each.position.sequence
                        # A server that was killed forgets what it had given out: once is enough.
                        if number not in self._held:
                            self._held[number] = each
                            nursery.start_soon(self._handle, each)
                    attempt = 0
                except NatsError as error:
                    # The engine is away; or somebody has deleted the stream.
                    self._made = self._has_consumer = False
                    level = logging.WARNING if attempt == 3 else logging.DEBUG
                    log.log(level, "%s: no messages yet: %s", self.address, error)
                    attempt += 1
                    chance = self.node.system.env.random("durable", self.name, "fetch", attempt)
                    wait = min(RETRY_AT_MOST, 0.05 * 2.0 ** min(attempt, 10))
                    await trio.sleep(wait * chance.uniform(0.5, 1.0))

    def close(self) -> None:
        """Give out no more; what is being handled goes on."""
        self._closed = True

    def _free(self) -> int:
        return 0 if self._closed else sum(self._prefetches()) - len(self._held)

    def _prefetches(self) -> Iterable[int]:
        for name, _, prefetch in self.node.system._queues.all_consumers():
            if name == self.name:
                yield prefetch

    async def _fetch(self, free: int) -> list[Delivered]:
        consumer = await self._consumer()
        # One is waited for; of those behind it, what is there is taken with it.
        found = await consumer.fetch(1, expires=FETCH_FOR, heartbeat=FETCH_FOR / 4)
        if found and free > 1:
            # What was given out already is not to wait for its ACK_WAIT.
            with contextlib.suppress(NatsError):
                found += await consumer.fetch(free - 1, expires=0)
        return found

    async def _consumer(self) -> Consumer:
        if not self._has_consumer:
            await self._make()
            config = ConsumerConfig(name=CONSUMER, ack_wait=ACK_WAIT, max_ack_pending=100_000)
            await self._jetstream.create_consumer(self._stream, config)
            self._has_consumer = True
        return self._jetstream.consumer(self._stream, CONSUMER)

    async def _handle(self, delivered: Delivered) -> None:
        queue = self.node.system._queues.cell(self.name)
        if isinstance(queue._actor, WorkQueue):
            # The engine keeps it, and another node may have a consumer.
            queue._actor.keeps = False
        answer: Callable[[], None] = delivered.nak
        try:
            message = self._read(queue, delivered)
            if message is not None:
                await queue.ask(message[0], timeout=None)
            answer = delivered.ack
            if await self._acknowledge(delivered):
                answer = _nothing
        except ActorFailed as error:
            # After its deliveries here it is among the dead letters, with its failures.
            if not isinstance(error.cause, NoConsumer):
                answer = delivered.term
        except ActorError as error:
            log.debug("%s: %s is given out again: %s", self.address, delivered, error)
        finally:
            del self._held[delivered.position.sequence]
            try:
                answer()
            except NatsError as error:
                log.debug("%s: %s is given out again: %s", self.address, delivered, error)
            self.changed()

    async def _acknowledge(self, delivered: Delivered) -> bool:
        """Whether the engine has heard that it was handled; asked again while it is away."""
        give_up_at = trio.current_time() + ACK_WAIT
        while trio.current_time() < give_up_at:
            try:
                await delivered.ack_sync()
            except (NoResponders, NotConnected, OutcomeUnknown, RequestTimeout) as error:
                log.debug("%s: %s is not acknowledged yet: %s", self.address, delivered, error)
                await trio.sleep(ACK_AGAIN_AFTER)
            else:
                return True
        return False

    def _read(self, queue: Cell, delivered: Delivered) -> tuple[Any] | None:
        """The message; None: it is a dead letter."""
        reason = DeadLetterReason.FAILED_TOO_OFTEN
        message: Any = delivered.data
        try:
            message = self.node.codec.decode_value(delivered.data)
            if delivered.position.deliveries <= DELIVERIES:
                return (message,)
        except DecodeError as error:
            log.warning("%s: %s", self.address, error)
            reason = DeadLetterReason.UNREADABLE
        self.node.dispatcher.counters.at_the_door += 1
        self.node.dispatcher.dead_letters.add(queue, message, reason)
        return None

    async def _say_that_it_takes_longer(self) -> None:
        while True:
            await trio.sleep(ACK_WAIT / 3)
            for delivered in tuple(self._held.values()):
                try:
                    delivered.in_progress()
                except NatsError as error:
                    log.debug("%s: %s", self.address, error)


def _nothing() -> None:
    """It is answered already."""
