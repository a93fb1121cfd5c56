"""The workloads, each with its limit beside it, in the order of the table."""

from benchmarks.harness import Benchmark
from benchmarks.workloads import (
    asks,
    failover,
    links,
    memory,
    messages,
    nats,
    nats_nodes,
    processes,
    recovery,
    restarts,
    routing,
    session,
    simulation,
    spawning,
    supervision,
    waiting,
)

BENCHMARKS: tuple[Benchmark, ...] = (
    *messages.BENCHMARKS,
    *asks.BENCHMARKS,
    *waiting.BENCHMARKS,
    *spawning.BENCHMARKS,
    *memory.BENCHMARKS,
    *restarts.BENCHMARKS,
    *supervision.BENCHMARKS,
    *routing.BENCHMARKS,
    *session.BENCHMARKS,
    *links.BENCHMARKS,
    *nats.BENCHMARKS,
    *nats_nodes.BENCHMARKS,
    *simulation.BENCHMARKS,
    *processes.BENCHMARKS,
    *recovery.BENCHMARKS,
    *failover.BENCHMARKS,
)


def find(name: str) -> Benchmark:
    """The benchmark called `name`.

    Raises:
        LookupError: there is none; the message lists the names.
    """
    for benchmark in BENCHMARKS:
        if benchmark.name == name:
            return benchmark
    names = ", ".join(benchmark.name for benchmark in BENCHMARKS)
    raise LookupError(f"no benchmark is called {name!r}; there are: {names}")
