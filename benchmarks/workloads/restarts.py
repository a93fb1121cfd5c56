"""Failure: an actor fails, is restarted, and handles its next message; against the deque loop."""

from collections import deque
from time import perf_counter

import trio

from actors import Actor, ActorRef, ActorSystem, Failure, Restart, message
from benchmarks.harness import Speed
from benchmarks.workloads.messages import LOOP, TICK, Pairs

#: Failures queued at a time, each with a message to handle after it.
BATCH = 1_000


@message
class Crash:
    """Makes the actor fail."""


CRASH = Crash()


class Score:
    """Counts what the incarnations of one actor handled."""

    def __init__(self) -> None:
        self.handled = 0


class Sturdy:
    """The handler body of `Fragile` as a plain object, which leaves a `Crash` alone."""

    def __init__(self) -> None:
        self.score = Score()

    def receive(self, message: object) -> None:
        """Count, but for a crash."""
        if message is CRASH:
            return
        self.score.handled += 1


class Fragile(Actor):
    """Fails at every `Crash`, counts any other message."""

    def __init__(self, score: Score) -> None:
        self.score = score

    def receive(self, message: object) -> None:
        """Fail, or count."""
        if message is CRASH:
            raise ValueError("a message that this actor cannot handle")
        self.score.handled += 1


class Parent(Actor):
    """Restarts its child at once, however often it fails."""

    def __init__(self, score: Score) -> None:
        self.score = score

    def receive(self, message: object) -> ActorRef:
        """Start the child; the reply is its ref."""
        return self.context.spawn(Fragile, self.score)

    def child_failed(self, child: ActorRef, failure: Failure) -> Restart:
        """Restart it."""
        return Restart()


async def restart(system: ActorSystem, count: int) -> float:
    """An actor fails, its parent restarts it, it handles one message: `count` times."""
    score = Score()
    child = await system.spawn(Parent, score).ask(TICK)
    batch = min(BATCH, count)
    start = perf_counter()
    for told in range(batch, count + 1, batch):
        for _ in range(batch):
            child.tell(CRASH)
            child.tell(TICK)
        while score.handled < told:
            await trio.lowlevel.checkpoint()
    return score.handled / (perf_counter() - start)


def restart_limit(count: int) -> float:
    """The deque loop handles the same two messages, to an object that does not fail."""
    sturdy = Sturdy()
    pairs: Pairs = deque()
    batch = min(BATCH, count)
    batches = count // batch
    start = perf_counter()
    for _ in range(batches):
        for _ in range(batch):
            pairs.append((sturdy, CRASH))
            pairs.append((sturdy, TICK))
        while pairs:
            target, message = pairs.popleft()
            target.receive(message)
    return batch * batches / (perf_counter() - start)


BENCHMARKS = (
    Speed(
        "restart",
        "fail, restart, handle the next message",
        restart,
        restart_limit,
        LOOP,
        20_000,
        500_000,
        reach=0.02,
    ),
)
