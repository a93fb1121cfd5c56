"""Counts primes on worker processes: `trouper run examples.primes [LIMIT] [WORKERS]`.

CPU-bound work gains nothing from threads, and would hold up all other actors of its process.
"""

from __future__ import annotations

import functools

import trio

from actors import Actor, ActorRef, ActorSystem, Request, message
from supervision import WorkerProcesses
from transports import Unix


@message(name="primes.Count")
class Count(Request[int]):
    """Ask for the number of primes from `begin` up to, and without, `end`."""

    begin: int
    end: int


class Counter(Actor):
    """Counts by trial division: it is to compute, not to be clever."""

    def receive(self, message: Count) -> int:
        return sum(map(is_prime, range(message.begin, message.end)))


def is_prime(number: int) -> bool:
    """Whether it is one."""
    return number > 1 and all(number % each for each in range(2, int(number**0.5) + 1))


async def count_primes(limit: int, workers: int) -> int:
    """The number of primes below `limit`, counted in so many processes."""
    async with ActorSystem("primes", transport=Unix()) as system:
        make = functools.partial(WorkerProcesses, workers, actors=[Counter])
        await system.start(make, name="workers")
        nodes = [f"primes-worker-{number}" for number in range(1, workers + 1)]
        counters = [await system.start(Counter, on=node) for node in nodes]
        found: list[int] = []
        size = max(1, limit // (10 * workers))
        parts = iter([(begin, min(begin + size, limit)) for begin in range(0, limit, size)])

        async def count(counter: ActorRef) -> None:
            # Whoever is done takes the next part: later ones take longer.
            for begin, end in parts:
                found.append(await counter.ask(Count(begin, end), timeout=None))

        async with trio.open_nursery() as nursery:
            for counter in counters:
                nursery.start_soon(count, counter)
        return sum(found)


async def main(limit: str = "200000", workers: str = "2") -> None:
    """What `trouper run` runs."""
    print(await count_primes(int(limit), int(workers)))  # noqa: T201 - it is a program
