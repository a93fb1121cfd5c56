"""Publishing: to many subscribers, and past many subscriptions that do not match."""

from collections import deque
from time import perf_counter

import trio

from actors import ActorSystem, TopicRef
from benchmarks.harness import Speed
from benchmarks.workloads.messages import (
    LOOP,
    TICK,
    Counter,
    CountingActor,
    Pairs,
    until_counted,
)

SUBSCRIBERS = 1_000
MATCHING = 10


def _topic(system: ActorSystem, name: str) -> TopicRef:
    ref = system.at(f"topic://{name}")
    assert isinstance(ref, TopicRef)
    return ref


async def publish(system: ActorSystem, count: int) -> float:
    """Publish to 1,000 subscribers; `count` deliveries."""
    actors: list[CountingActor] = []
    subscribers = min(SUBSCRIBERS, count)
    for _ in range(subscribers):
        system.subscribe("topic://news.*", system.spawn(CountingActor, actors))
    topic = _topic(system, "news.today")
    rounds = count // subscribers
    start = perf_counter()
    for published in range(1, rounds + 1):
        topic.publish(TICK)
        # As the limit, which handles what is queued before it queues more.
        await until_counted(actors[-1:], published)
    await until_counted(actors, rounds)
    return rounds * subscribers / (perf_counter() - start)


def publish_limit(count: int) -> float:
    """The deque loop, with as many objects."""
    subscribers = min(SUBSCRIBERS, count)
    counters = [Counter() for _ in range(subscribers)]
    pairs: Pairs = deque()
    rounds = count // subscribers
    start = perf_counter()
    for _ in range(rounds):
        for counter in counters:
            pairs.append((counter, TICK))
        while pairs:
            target, message = pairs.popleft()
            target.receive(message)
    return rounds * subscribers / (perf_counter() - start)


async def _matches(system: ActorSystem, count: int, subscriptions: int) -> float:
    actors: list[CountingActor] = []
    refs = [system.spawn(CountingActor, actors) for _ in range(MATCHING)]
    for number in range(subscriptions - MATCHING):
        system.subscribe(f"topic://other.n{number}.*.**", refs[number % MATCHING])
    for ref in refs:
        system.subscribe("topic://wanted.*.**", ref)
    topics = [_topic(system, f"wanted.n{number}") for number in range(100)]
    seconds = 0.0
    for number in range(count):
        # Nothing is remembered of the topic: the trie is walked each time.
        system._topics._remembered.clear()
        start = perf_counter()
        topics[number % 100].publish(TICK)
        seconds += perf_counter() - start
        if number % 100 == 99:
            await trio.lowlevel.checkpoint()
    return count / seconds


async def many_subscriptions(system: ActorSystem, count: int) -> float:
    """Publish past 100,000 subscriptions with wildcards, of which ten match."""
    return await _matches(system, count, 100_000 if count >= 1_000 else 1_000)


def few_subscriptions(count: int) -> float:
    """The same with 100 subscriptions, of which ten match."""

    async def main() -> float:
        async with ActorSystem("limit") as system:
            return await _matches(system, count, 100)

    return trio.run(main)


BENCHMARKS = (
    Speed(
        "publish",
        "publish to 1,000 subscribers, each delivery",
        publish,
        publish_limit,
        LOOP,
        200_000,
        400_000,
        reach=0.40,
    ),
    Speed(
        "publish-wildcards",
        "publish past 100,000 wildcard subscriptions, of which 10 match",
        many_subscriptions,
        few_subscriptions,
        "the same past 100 subscriptions",
        5_000,
        5_000,
        reach=0.33,
    ),
)
