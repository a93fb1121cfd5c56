"""Work queues: ``queue://name`` is exactly one of the consumers, the least loaded one.

A queue is an actor. It gives a consumer a message as an ask, so that it knows when that has been
handled (the acknowledgement), that it failed, or that the consumer stopped before it had finished;
then the message goes to another one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from actors.actor import Actor
from actors.address import check_name
from actors.ask import Ask, Reply
from actors.cell import Cell
from actors.dead_letters import DeadLetterReason
from actors.errors import ActorFailed, ActorStopped, NotAskable
from actors.failure import Failure
from actors.path_ref import PathRef
from actors.producing import refuse_stream
from actors.ref import ActorRef
from actors.waiting import Raised

if TYPE_CHECKING:
    from actors.system import ActorSystem

PREFIX: Final = "queue:"
HELD: Final = 1_000
"""Messages that a queue holds besides its mailbox; then that fills, and senders wait."""


class NoConsumer(Exception):
    """Why a message goes back to whoever has put it into a queue that keeps none."""


class Job:
    """One message of a queue, from its arrival to its acknowledgement."""

    __slots__ = ("failures", "message", "reply")

    def __init__(self, message: Any, reply: Reply) -> None:
        self.message = message
        self.reply = reply
        self.failures: tuple[Failure, ...] = ()


class Consumer:
    """One consumer: how many messages it has at a time, and may have."""

    __slots__ = ("busy", "prefetch", "ref")

    def __init__(self, ref: ActorRef, prefetch: int) -> None:
        self.ref = ref
        self.prefetch = prefetch
        self.busy = 0


class _Delivery:
    """Stands where an ask keeps who waits for it, and is told when it has its reply."""

    __slots__ = ("_dispatcher", "ask", "consumer", "job", "queue")

    def __init__(self, queue: WorkQueue, job: Job, consumer: Consumer) -> None:
        self.queue = queue
        self.job = job
        self.consumer = consumer
        self._dispatcher = self
        # A ref that takes asks over stands where a cell stands, until the ask is answered.
        self.ask = Ask(job.message, None, consumer.ref, inf, None)  # type: ignore[arg-type]
        self.ask.waits = self  # type: ignore[assignment]

    def enqueue(self, _: object) -> None:
        """The ask has its reply. (As a dispatcher, for a cell that waits.)"""
        self.queue.delivered(self.job, self.consumer, self.ask.value)


class WorkQueue(Actor):
    """Holds messages, and gives each to one consumer at a time until one has handled it.

    deliveries: how many consumers may fail at a message, or end in the middle of it, before it is
    a dead letter, with its failures. A consumer that stopped before it began does not count.
    """

    deliveries: ClassVar[int] = 3

    def __init__(self, deliveries: int = 3) -> None:
        if type(deliveries) is not int or deliveries < 1:
            raise ValueError(f"deliveries is an int from 1 up: {deliveries!r}")
        self._deliveries = deliveries
        self._consumers: dict[ActorRef, Consumer] = {}
        self._pending: deque[Job] = deque()
        self._delivering = False
        self._has_stopped = False
        self.keeps = True
        """False: what comes while it has no consumer, or is left then, fails with NoConsumer."""

    def receive(self, message: Any) -> None:
        """Hold a message until a consumer is free; with too many held, let the mailbox fill."""
        cell = self.context._cell
        if refuse_stream(cell._message, cell, "a queue delivers messages, and no streams"):
            return
        if len(self._pending) >= HELD:
            self.context.stash()
            return
        self._pending.append(Job(message, self.context.reply_later()))
        self._deliver()

    def _whereabouts(self, ask: Ask) -> tuple[str, str]:
        who = f"queue://{self.context.ref.name.removeprefix(PREFIX)}"
        if not self._consumers:
            return "held, because the queue has no consumer", who
        if ask.where != "deferred":
            return ask.where, who
        held = any(job.reply._ask is ask for job in self._pending)
        return "held, because all consumers are busy" if held else "at a consumer", who

    async def stopped(self) -> None:
        """What nobody has handled is not lost in silence."""
        self._has_stopped = True
        self._bury()

    def _bury(self) -> None:
        pending, self._pending = self._pending, deque()
        for job in pending:
            self._is_dead(job, DeadLetterReason.UNHANDLED_AT_STOP)

    # -- consumers

    def add(self, ref: ActorRef, prefetch: int) -> None:
        """See `ActorSystem.consume`."""
        if type(prefetch) is not int or prefetch < 1:
            raise ValueError(f"prefetch is an int from 1 up: {prefetch!r}")
        if isinstance(ref, PathRef):
            ref = ref._system._find(ref.address) or ref
        if not ref._takes_asks:
            raise TypeError(f"a consumer is the ref of one actor, not {ref!r}")
        known = self._consumers.get(ref)
        if known is not None:
            known.prefetch = prefetch
        else:
            ref._on_stop(lambda: self.remove(ref))
            self._consumers[ref] = Consumer(ref, prefetch)
        self._tell_others(ref, prefetch)
        self._deliver()

    def remove(self, ref: ActorRef) -> None:
        """See `ActorSystem.unconsume`. What it has already it may finish."""
        if self._consumers.pop(ref, None) is not None:
            self._tell_others(ref, 0)
            self._deliver()

    def _tell_others(self, ref: ActorRef, prefetch: int) -> None:
        elsewhere = self.context.system._queues.elsewhere
        if elsewhere is not None:
            elsewhere.consumes(self.context.ref.name.removeprefix(PREFIX), ref, prefetch)

    # -- delivery

    def _deliver(self) -> None:
        if self._delivering:
            return  # A consumer that has stopped answers at once, in the middle of this.
        self._delivering = True
        try:
            while self._pending:
                consumer = self._least_loaded()
                if consumer is None:
                    return
                job = self._pending.popleft()
                consumer.busy += 1
                consumer.ref._put_ask(_Delivery(self, job, consumer).ask)
        finally:
            self._delivering = False
            if not self.keeps and not self._consumers:
                pending, self._pending = self._pending, deque()
                for job in pending:
                    job.reply.fail(NoConsumer())

    def _least_loaded(self) -> Consumer | None:
        best, load = None, inf
        for consumer in self._consumers.values():
            if consumer.busy >= consumer.prefetch:
                continue
            its = consumer.busy + consumer.ref._load()
            if its < load:
                best, load = consumer, its
        return best

    def delivered(self, job: Job, consumer: Consumer, outcome: Any) -> None:
        """A consumer has handled a message, or has not."""
        consumer.busy -= 1
        error = outcome.error if outcome.__class__ is Raised else None
        if isinstance(error, ActorFailed):
            self._failed(job, consumer, error.cause)
        elif isinstance(error, NotAskable):
            # It answers with a stream, and so will the others.
            job.failures = (*job.failures, Failure(consumer.ref, error, "receive", job.message))
            self._is_dead(job, DeadLetterReason.FAILED_TOO_OFTEN)
        elif isinstance(error, ActorStopped):
            # Whether it had begun or not: at least once, since nobody else will. But a message that
            # ends each process that begins with it must not go round for ever.
            if consumer.ref._closed():
                self.remove(consumer.ref)
            if error.started:
                self._failed(job, consumer, error)
            else:
                self._pending.appendleft(job)
        else:
            job.reply.reply(outcome)
        if self._has_stopped:
            # Its consumers may be on nodes that cannot be reached any more: this one is being left.
            self._bury()
            return
        self._deliver()
        if len(self._pending) < HELD:
            self.context.unstash_all()

    def _failed(self, job: Job, consumer: Consumer, error: BaseException) -> None:
        job.failures = (*job.failures, Failure(consumer.ref, error, "receive", job.message))
        if len(job.failures) >= self._deliveries:
            self._is_dead(job, DeadLetterReason.FAILED_TOO_OFTEN)
        else:
            self._pending.appendleft(job)

    def _is_dead(self, job: Job, reason: DeadLetterReason) -> None:
        cell = self.context._cell
        if job.failures:
            job.reply.fail(job.failures[-1].exception)
        dispatcher = cell._dispatcher
        dispatcher.counters.at_the_door += 1
        dispatcher.dead_letters.add(cell, job.message, reason, job.failures)


class Elsewhere(Protocol):
    """What tells other nodes of the consumers here."""

    def consumes(self, queue: str, ref: ActorRef, prefetch: int) -> None:
        """It is a consumer now; prefetch 0: no longer."""


class Queues:
    """The work queues of one system: made when they are first used.

    A queue holds what was sent to it on this node, and gives it to consumers of any node.
    """

    def __init__(self, system: ActorSystem) -> None:
        self._system = system
        self.elsewhere: Elsewhere | None = None

    def cell(self, name: str, deliveries: int | None = None) -> Cell:
        """The queue's own cell."""
        path = f"{PREFIX}{name}"
        found = (self._system._root._children or {}).get(path)
        if found is not None:
            return found
        check_name(name, "queue's name")
        ref = self._system.spawn(WorkQueue, deliveries or WorkQueue.deliveries, name=path)
        assert isinstance(ref, Cell)
        return ref

    def all_consumers(self) -> Iterator[tuple[str, ActorRef, int]]:
        """Every queue's name, with its consumers and how many messages each may have."""
        for cell in tuple((self._system._root._children or {}).values()):
            if isinstance(cell._actor, WorkQueue):
                name = cell.name.removeprefix(PREFIX)
                for consumer in cell._actor._consumers.values():
                    yield name, consumer.ref, consumer.prefetch

    def queue(self, name: str) -> WorkQueue:
        """The actor itself.

        Raises:
            ActorStopped: it is stopping.
            NotRunning, SystemClosed: there is none, and the system is being left.
        """
        cell = self.cell(name)
        if not isinstance(cell._actor, WorkQueue):
            raise ActorStopped(cell, None, "the queue is stopping")
        return cell._actor

    def remove(self, name: str, ref: ActorRef) -> None:
        """It is no consumer any more, if it was one and there is such a queue."""
        cell = (self._system._root._children or {}).get(f"{PREFIX}{name}")
        if cell is not None and isinstance(cell._actor, WorkQueue):
            cell._actor.remove(ref)
