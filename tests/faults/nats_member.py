"""A process of tests/faults/test_nats_cluster.py: a node with a singleton and entities.

What they handle is appended to one file, in one write each: so the order of its lines is the order
in which it was handled, whoever did.
"""

from __future__ import annotations

import functools
import os
import sys

import trio

from actors import Actor, ActorSystem, Request, message
from transports import Lease, Limits, Sharded, Singleton
from transports.nats import Nats

LEASE = Lease(ttl=2.0)
LIMITS = Limits(heartbeat=0.3, lost_after=1.0, dial_at_most=0.1, resend_after=0.2)


@message(name="member.Note")
class Note(Request[str]):
    """The reply is the name of the node that has noted it."""

    key: str
    number: int


class Notes(Actor):
    """Appends what it is asked to note: whose it is, the fence, the number, the node."""

    def __init__(self, key: str, file: int) -> None:
        self.key = key
        self.file = file

    async def receive(self, message: Note) -> str:
        node = self.context.system.name
        line = f"{self.key} {self.context.fence} {message.number} {node}\n"
        os.write(self.file, line.encode())
        if message.number % 7 == 0:
            await trio.sleep(0.005)
        return node


class Only(Notes):
    """The same, as a singleton."""

    def __init__(self, file: int) -> None:
        super().__init__("only", file)


async def run(url: str, cluster: str, name: str, path: str) -> None:
    """The node, until it is killed."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    urls = url.split(",")
    node = Nats(urls, cluster=cluster, lease=LEASE, limits=LIMITS, ttl=2.0, replicas=len(urls))
    async with ActorSystem(name, transport=node) as system:
        await start(system, file)
        print("ready", flush=True)
        await trio.sleep_forever()


async def start(system: ActorSystem, file: int) -> None:
    """What each node of the cluster has."""
    await system.start(Singleton, Only, file, name="only")
    recipe = functools.partial(Sharded, key="key", shards=16, idle=1.0)
    await system.start(recipe, Notes, file, name="notes")


if __name__ == "__main__":
    trio.run(run, *sys.argv[1:])
