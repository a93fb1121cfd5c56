"""Local messages without a reply: tell, ping-pong, fan; against a loop over one deque.

The loop holds (object, message) pairs in one deque, takes the oldest and calls the object's
method: the least that delivers any message to any object in the order sent. For a fan, a deque for
each object is faster.

A limit looks its methods up where it uses them, as the workload beside it does (`ref.tell(...)`);
the row "bound before" shows what binding them to local names once would give.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import Protocol

import trio

from actors import Actor, ActorRef, ActorSystem, message
from benchmarks.harness import Speed

#: Messages queued before the receiver has its turn. With many more, the garbage collector would
#: spend as much on the limit's pairs as the loop itself takes; that would not be a limit.
BATCH = 1_000
#: Messages for each actor of a fan.
FAN_MESSAGES = 10


@message
class Tick:
    """The message that is sent, one object over and over: its creation is not what is measured."""


TICK = Tick()


class Receiver(Protocol):
    """What the deque loop delivers to."""

    def receive(self, message: object) -> None:
        """Handle one message."""


Pairs = deque[tuple[Receiver, object]]


class Counter:
    """The handler body of tell and fan: counts its messages."""

    def __init__(self) -> None:
        self.count = 0

    def receive(self, message: object) -> None:
        """Count the message."""
        self.count += 1


class CountingActor(Actor):
    """A `Counter` as an actor; adds itself to `made`, so that the benchmark can see its count."""

    def __init__(self, made: "list[CountingActor]") -> None:
        self.count = 0
        made.append(self)

    def receive(self, message: object) -> None:
        """Count the message."""
        self.count += 1


class AsyncCountingActor(CountingActor):
    """The same with an `async def` handler, which does not wait."""

    async def receive(self, message: object) -> None:  # type: ignore[override]
        """Count the message."""
        self.count += 1


async def until_counted(actors: Sequence[CountingActor], count: int) -> None:
    """Return once each of `actors` has counted `count` messages.

    Looks each time the running actors let other tasks run; the last actor first, as it usually is
    the last to be done.
    """
    while any(actor.count < count for actor in reversed(actors)):
        await trio.lowlevel.checkpoint()


async def _tell(system: ActorSystem, count: int, actor: type[CountingActor]) -> float:
    made: list[CountingActor] = []
    ref = system.spawn(actor, made)
    batch = min(BATCH, count)
    start = perf_counter()
    for told in range(batch, count + 1, batch):
        for _ in range(batch):
            ref.tell(TICK)
        await until_counted(made, told)
    return made[0].count / (perf_counter() - start)


async def tell(system: ActorSystem, count: int) -> float:
    """A task tells one actor `count` messages, 1,000 at a time, until all are handled."""
    return await _tell(system, count, CountingActor)


async def tell_async(system: ActorSystem, count: int) -> float:
    """As `tell`, to an actor with an `async def` handler that never waits."""
    return await _tell(system, count, AsyncCountingActor)


def tell_limit(count: int) -> float:
    """Append one (object, message) 1,000 times, then take each and call; `count` in all."""
    counter = Counter()
    pairs: Pairs = deque()
    batch = min(BATCH, count)
    start = perf_counter()
    for _ in range(count // batch):
        for _ in range(batch):
            pairs.append((counter, TICK))
        while pairs:
            target, message = pairs.popleft()
            target.receive(message)
    return counter.count / (perf_counter() - start)


def tell_one_object_limit(count: int) -> float:
    """As `tell_limit`, for one object only, and with its methods bound before the loop."""
    counter = Counter()
    messages: deque[object] = deque()
    append, popleft = messages.append, messages.popleft
    batch = min(BATCH, count)
    start = perf_counter()
    for _ in range(count // batch):
        for _ in range(batch):
            append(TICK)
        while messages:
            counter.receive(popleft())
    return counter.count / (perf_counter() - start)


class PlayerActor(Actor):
    """Returns each ball to the other player, `hits` times in all; then keeps it."""

    other: ActorRef

    def __init__(self, made: "list[PlayerActor]", hits: int) -> None:
        self.left = hits
        made.append(self)

    def receive(self, message: object) -> None:
        """Hit the ball."""
        self.left -= 1
        if self.left >= 0:
            self.other.tell(message)


class AsyncPlayerActor(PlayerActor):
    """The same with an `async def` handler, which does not wait."""

    async def receive(self, message: object) -> None:  # type: ignore[override]
        """Hit the ball."""
        self.left -= 1
        if self.left >= 0:
            self.other.tell(message)


class Player:
    """The same as a plain object: the ball goes onto the loop's deque."""

    other: "Player"

    def __init__(self, pairs: Pairs, hits: int) -> None:
        self.pairs = pairs
        self.left = hits

    def receive(self, message: object) -> None:
        """Hit the ball."""
        self.left -= 1
        if self.left >= 0:
            self.pairs.append((self.other, message))


async def _ping_pong(system: ActorSystem, count: int, actor: type[PlayerActor]) -> float:
    made: list[PlayerActor] = []
    hits = max(1, count // 2)
    one, two = system.spawn(actor, made, hits), system.spawn(actor, made, hits)
    made[0].other, made[1].other = two, one
    start = perf_counter()
    one.tell(TICK)
    while made[0].left >= 0:
        await trio.lowlevel.checkpoint()
    return 2 * hits / (perf_counter() - start)


async def ping_pong(system: ActorSystem, count: int) -> float:
    """Two actors tell each other one message, `count` tells in all; never more than one queued."""
    return await _ping_pong(system, count, PlayerActor)


async def ping_pong_async(system: ActorSystem, count: int) -> float:
    """As `ping_pong`, between actors with `async def` handlers that never wait."""
    return await _ping_pong(system, count, AsyncPlayerActor)


def ping_pong_limit(count: int) -> float:
    """Two plain objects append (other, message) to the loop's deque, `count` times in all."""
    pairs: Pairs = deque()
    hits = max(1, count // 2)
    one, two = Player(pairs, hits), Player(pairs, hits)
    one.other, two.other = two, one
    start = perf_counter()
    pairs.append((one, TICK))
    while pairs:
        target, message = pairs.popleft()
        target.receive(message)
    return 2 * hits / (perf_counter() - start)


def _receivers(count: int) -> int:
    return max(1, count // FAN_MESSAGES)


async def _fan(system: ActorSystem, count: int, actor: type[CountingActor]) -> float:
    made: list[CountingActor] = []
    refs = [system.spawn(actor, made) for _ in range(_receivers(count))]
    start = perf_counter()
    for _ in range(FAN_MESSAGES):
        for ref in refs:
            ref.tell(TICK)
    await until_counted(made, FAN_MESSAGES)
    return len(refs) * FAN_MESSAGES / (perf_counter() - start)


async def fan(system: ActorSystem, count: int) -> float:
    """A task tells new actors 10 messages each, one to every actor in turn; all queued at once."""
    return await _fan(system, count, CountingActor)


async def fan_async(system: ActorSystem, count: int) -> float:
    """As `fan`, to actors with `async def` handlers that never wait."""
    return await _fan(system, count, AsyncCountingActor)


class Mailbox:
    """An object and the messages for it."""

    __slots__ = ("messages", "target")

    def __init__(self, target: Receiver) -> None:
        self.target = target
        self.messages: deque[object] = deque()


def fan_limit(count: int) -> float:
    """A deque of messages for each object, and one deque of those that have any.

    Faster than pairs, as 100,000 of those are too many for the garbage collector.
    """
    counters = [Counter() for _ in range(_receivers(count))]
    ready: deque[Mailbox] = deque()
    start = perf_counter()
    # Within the time, as the runtime makes its own deques at the first messages.
    mailboxes = [Mailbox(counter) for counter in counters]
    for _ in range(FAN_MESSAGES):
        for mailbox in mailboxes:
            messages = mailbox.messages
            if not messages:
                ready.append(mailbox)
            messages.append(TICK)
    while ready:
        mailbox = ready.popleft()
        messages = mailbox.messages
        receive = mailbox.target.receive
        while messages:
            receive(messages.popleft())
    return _handled(counters) / (perf_counter() - start)


def fan_pairs_limit(count: int) -> float:
    """The pairs of 10 messages to each of the plain objects on one deque, then each is called."""
    counters = [Counter() for _ in range(_receivers(count))]
    pairs: Pairs = deque()
    start = perf_counter()
    for _ in range(FAN_MESSAGES):
        for counter in counters:
            pairs.append((counter, TICK))
    while pairs:
        target, message = pairs.popleft()
        target.receive(message)
    return _handled(counters) / (perf_counter() - start)


def _handled(counters: Iterable[Counter]) -> int:
    return sum(counter.count for counter in counters)


LOOP = "deque loop"
OWN_DEQUES = "deque loop, a deque an object"

BENCHMARKS = (
    Speed("tell", "tell, plain handler", tell, tell_limit, LOOP, 500_000, 1_000_000, reach=0.50),
    Speed(
        "tell-async",
        "tell, async def handler",
        tell_async,
        tell_limit,
        LOOP,
        500_000,
        1_000_000,
        reach=0.30,
    ),
    Speed(
        "tell-one-object",
        "tell, plain handler",
        tell,
        tell_one_object_limit,
        "deque loop for one object, bound before",
        500_000,
        1_000_000,
    ),
    Speed(
        "ping-pong",
        "ping-pong, plain handlers",
        ping_pong,
        ping_pong_limit,
        LOOP,
        400_000,
        1_000_000,
        reach=0.40,
    ),
    Speed(
        "ping-pong-async",
        "ping-pong, async def handlers",
        ping_pong_async,
        ping_pong_limit,
        LOOP,
        400_000,
        1_000_000,
    ),
    Speed(
        "fan",
        "fan: 10,000 actors x 10, plain handler",
        fan,
        fan_limit,
        OWN_DEQUES,
        100_000,
        100_000,
        reach=0.40,
    ),
    Speed(
        "fan-async",
        "fan: 10,000 actors x 10, async def handler",
        fan_async,
        fan_limit,
        OWN_DEQUES,
        100_000,
        100_000,
    ),
    Speed(
        "fan-pairs",
        "fan: 10,000 actors x 10, plain handler",
        fan,
        fan_pairs_limit,
        "deque loop, all pairs in one deque",
        100_000,
        100_000,
    ),
)
