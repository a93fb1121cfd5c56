"""A worker is whoever joins at the socket of the workers, with their secret; nobody else is."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from actors import ActorSystem
from supervision import WhichProcess
from tests.faults.crew import FAST, Do, Hand, crew, is_alive
from transports import Tcp, Unix


@contextlib.asynccontextmanager
async def claiming(name: str, transport: Tcp | Unix) -> AsyncIterator[ActorSystem]:
    """A node that takes a name that is another's, and insists."""
    async with ActorSystem(name, transport=transport) as system:
        yield system


async def refused(caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Wait until a refusal has been logged."""
    with trio.fail_after(20):
        while text not in caplog.text:
            await trio.sleep(0.02)


async def test_who_claims_the_name_of_a_worker_elsewhere_is_refused_and_the_worker_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with ActorSystem("s", transport=Tcp("127.0.0.1:0", limits=FAST)) as system:
        await system.start(crew(1), name="workers")
        hand = await system.start(Hand, on="s-worker-1")
        pid = await hand.ask(Do("pid"), timeout=30)
        transport: Any = system._transport
        place = transport.address.partition("@")[2]
        async with claiming("s-worker-1", Tcp(None, peers=[place], limits=FAST, spawnable=[Hand])):
            await refused(caplog, "is the name of a worker process of s")
            again = await system.start(Hand, on="s-worker-1")
            assert await again.ask(Do("pid"), timeout=30) == pid
        assert await hand.ask(Do("pid"), timeout=30) == pid
        worker = system.at("actor://s/workers/worker-1")
        assert (await worker.ask(WhichProcess())).pid == pid
    assert not is_alive(pid)


async def test_who_is_called_and_answers_by_the_name_of_a_worker_is_refused(
    caplog: pytest.LogCaptureFixture, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = str(tmp_path_factory.mktemp("n") / "n")
    async with ActorSystem("s", transport=Unix(peers=[path], limits=FAST)) as system:
        await system.start(crew(1), name="workers")
        async with claiming("s-worker-1", Unix(path, limits=FAST, spawnable=[Hand])) as impostor:
            await refused(caplog, "is the name of a worker process of s")
            hand = await system.start(Hand, on="s-worker-1")
            worker = system.at("actor://s/workers/worker-1")
            assert await hand.ask(Do("pid"), timeout=30) == (await worker.ask(WhichProcess())).pid
            assert impostor.ledger.handled == 0


async def test_a_worker_that_claims_another_name_at_its_socket_is_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with ActorSystem("s", transport=Unix(limits=FAST)) as system:
        await system.start(crew(1), name="workers")
        transport: Any = system._transport
        (endpoint,) = {id(each): each for each in transport.worker_nodes.values()}.values()
        secret = endpoint.introducer._secret
        async with claiming("bank", Unix(peers=[endpoint.place], secret=secret, limits=FAST)):
            await refused(caplog, "bank is the name of no worker process of s")


async def test_workers_do_not_take_the_name_of_a_node_that_is_there() -> None:
    transport = Tcp("127.0.0.1:0", limits=FAST)
    async with ActorSystem("s", transport=transport) as system:
        place = transport.address.partition("@")[2]
        other = Tcp(None, peers=[place], limits=FAST)
        async with claiming("s-worker-1", other) as first:
            await other.reached("s")
            await transport.reached("s-worker-1")
            with pytest.raises(ValueError, match="already"):
                await system.start(crew(1), name="workers")
            assert first.ledger.missing == 0
