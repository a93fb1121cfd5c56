"""The servers of NATS by which the nodes meet, and what befalls them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from random import Random
from time import perf_counter
from typing import Final

import attrs
import trio

from transports.nats import Client, KeyValue
from transports.nats.engine import Cluster, Server
from transports.nats.errors import CannotStart, NatsError

CLUSTER: Final = "soak"
#: Seconds until a server that was killed is started again, at most; and of a SIGSTOP, which is
#: longer than a client waits for an answer to its PINGs.
AWAY, FROZEN = 2.0, 7.0
ATTEMPTS: Final = 5
KILL: Final = "server killed"
FREEZE: Final = "server frozen"


@attrs.frozen
class Engine:
    """The servers."""

    servers: list[Server]

    @property
    def urls(self) -> list[str]:
        """For clients."""
        return [server.url for server in self.servers]

    def hit(self, fault: str, chance: Random) -> tuple[Server, float]:
        """Have the fault befall any of them: which, and when."""
        server = chance.choice(self.servers)
        if fault == KILL:
            server.kill()
        else:
            server.pause()
        return server, perf_counter()

    async def mend(self, server: Server, fault: str, chance: Random) -> None:
        """Have it go on, after a while.

        Raises:
            CannotStart: it does not.
        """
        if fault == FREEZE:
            await trio.sleep(FROZEN)
            server.resume()
            return
        await trio.sleep(chance.uniform(0, AWAY))
        for attempt in range(ATTEMPTS):
            try:
                await server.start()
            except CannotStart:
                # Its port may be that of somebody's connection for a while.
                if attempt == ATTEMPTS - 1:
                    raise
                await trio.sleep(1)
            else:
                return


@contextlib.asynccontextmanager
async def engine(servers: int) -> AsyncIterator[Engine]:
    """So many servers; none is left in the end."""
    if servers == 1:
        async with Server(name=CLUSTER) as server:
            yield Engine([server])
    else:
        async with Cluster(servers, name=CLUSTER) as made:
            await _until_it_stores(made.urls)
            yield Engine(made.servers)


async def _until_it_stores(urls: list[str]) -> None:
    """Return when the servers have agreed on who leads.

    Raises:
        NatsError: they have not, after a minute.
    """
    async with Client(urls) as client:
        until = trio.current_time() + 60
        while True:
            try:
                await KeyValue.create_bucket(client, "ready", replicas=len(urls))
            except NatsError:
                if trio.current_time() > until:
                    raise
                await trio.sleep(0.2)
            else:
                return
