"""A node of the rows of failover: ``python -m benchmarks.far.owners NAME CLUSTER URL``.

It has the singleton or not, and its share of the entities, until it is killed.
"""

import contextlib
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import trio

from actors import Actor, ActorSystem, Request, message
from transports import Lease, Sharded, Singleton
from transports.nats import Nats

TTL = 2.0
"""Seconds of the lease, and of a node's key."""
SHARDS = 64


@message(name="benchmarks.Who")
class Who(Request[int]):
    """Asks in which process an actor is."""

    key: int


class Owned(Actor):
    """Says where it is."""

    def __init__(self, key: int) -> None:
        self.key = key

    def receive(self, message: Who) -> int:
        """The number of its process."""
        return os.getpid()


def node(url: str, cluster: str) -> Nats:
    """A node of that cluster."""
    return Nats(url, cluster=cluster, ttl=TTL, lease=Lease(ttl=TTL))


async def start(system: ActorSystem) -> None:
    """What each node has."""
    await system.start(Singleton, Owned, 0, name="only")
    recipe = functools.partial(Sharded, key="key", shards=SHARDS)
    await system.start(recipe, Owned, name="entities")


async def run(name: str, cluster: str, url: str) -> None:
    """The node."""
    async with ActorSystem(name, transport=node(url, cluster)) as system:
        await start(system)
        # It has it before any other node is there.
        await system.at(f"actor://{name}/only").ask(Who(0), timeout=60)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await trio.lowlevel.wait_readable(sys.stdin)


@contextlib.contextmanager
def owner(name: str, cluster: str, url: str) -> Iterator[int]:
    """The node in a process of its own; its number, to be killed by."""
    command = [sys.executable, "-m", "benchmarks.far.owners", name, cluster, url]
    root = Path(__file__).parent.parent.parent
    with subprocess.Popen(
        command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process.pid
        finally:
            process.send_signal(signal.SIGKILL)


if __name__ == "__main__":
    _, name, cluster, url = sys.argv
    trio.run(run, name, cluster, url)
