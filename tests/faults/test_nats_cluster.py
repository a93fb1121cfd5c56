"""What there is once in a cluster, on a real engine, while its processes and servers are killed.

All nodes append to one file. So of each actor its fences never go down in that file, and no number
is there twice: whoever was stopped, killed or cut off has not acted beside its successor.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest
import trio

from actors import ActorError, ActorSystem
from tests.faults.nats_member import LEASE, LIMITS, Note, start
from transports.nats import Client, KeyValue, Nats
from transports.nats.engine import Cluster, Server

pytestmark = pytest.mark.timeout(90)

KEYS = [f"key{number}" for number in range(12)]


@attrs.define
class World:
    """The processes, the file, and what the client was told."""

    url: str
    cluster: str
    path: Path
    processes: dict[str, subprocess.Popen[bytes]] = attrs.Factory(dict)
    acknowledged: dict[int, str] = attrs.Factory(dict)
    unknown: list[int] = attrs.Factory(list)
    sent: int = 0

    async def begin(self, name: str) -> None:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.faults.nats_member"),
                *(self.url, self.cluster, name, str(self.path)),
            ],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        self.processes[name] = process
        assert process.stdout is not None
        line = await trio.to_thread.run_sync(process.stdout.readline)
        assert line == b"ready\n"

    def signal(self, name: str, number: int) -> None:
        os.kill(self.processes[name].pid, number)
        if number == signal.SIGKILL:
            self.processes[name].wait()

    async def ask(self, system: ActorSystem, key: str) -> str | None:
        """Have one number noted, once; the node that has."""
        self.sent += 1
        number = self.sent
        path = "only" if key == "only" else "notes"
        try:
            with trio.fail_after(20):
                node = await system.at(f"actor://{system.name}/{path}").ask(
                    Note(key, number), timeout=15
                )
        except ActorError:
            self.unknown.append(number)
            await trio.sleep(0.05)
            return None
        self.acknowledged[number] = node
        return node

    def check(self) -> None:
        """By the file alone."""
        fences: dict[str, int] = {}
        numbers: Counter[int] = Counter()
        for line in self.path.read_text().splitlines():
            key, fence, number, _ = line.split()
            assert int(fence) >= fences.get(key, 0), f"an owner that was over has acted: {line}"
            fences[key] = int(fence)
            numbers[int(number)] += 1
        assert [number for number, times in numbers.items() if times > 1] == []
        assert [number for number in self.acknowledged if number not in numbers] == []


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "noted"
    path.touch()
    return path


@contextlib.asynccontextmanager
async def world(
    url: str, cluster: str, path: Path, *names: str
) -> AsyncIterator[tuple[World, ActorSystem]]:
    made = World(url, cluster, path)
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(made.begin, name)
        urls = url.split(",")
        node = Nats(urls, cluster=cluster, lease=LEASE, limits=LIMITS, ttl=2.0, replicas=len(urls))
        async with ActorSystem("client", transport=node) as system:
            await start(system, file)
            yield made, system
            made.check()
    finally:
        for process in made.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        os.close(file)


async def owners(made: World, system: ActorSystem) -> dict[str, str | None]:
    """Where the singleton is, and each key."""
    return {key: await made.ask(system, key) for key in ("only", *KEYS)}


async def until_all_answer(made: World, system: ActorSystem) -> dict[str, str | None]:
    while None in (found := await owners(made, system)).values():
        pass
    return found


@pytest.mark.parametrize("kind", ["killed", "stopped"])
async def test_a_successor_takes_over_and_the_old_owner_acts_no_more(file: Path, kind: str) -> None:
    async with Server() as server, world(server.url, "c", file, "a", "b") as (made, system):
        with trio.fail_after(30):
            found = await until_all_answer(made, system)
        # Whoever has the singleton is harmed, or else who has entities: the client has some too.
        here = [name for name in found.values() if name in {"a", "b"}]
        victim = found["only"] if found["only"] in {"a", "b"} else here[0]
        assert victim is not None
        done = trio.Event()

        async def load(key: str) -> None:
            while not done.is_set():
                await made.ask(system, key)

        async with trio.open_nursery() as nursery:
            for key in ("only", *KEYS):
                nursery.start_soon(load, key)
            await trio.sleep(0.3)
            made.signal(victim, signal.SIGKILL if kind == "killed" else signal.SIGSTOP)
            with trio.fail_after(30):
                while True:
                    before = len(made.acknowledged)
                    await trio.sleep(0.5)
                    news = [*made.acknowledged.values()][before:]
                    if news and victim not in news:
                        break
            if kind == "stopped":
                # Longer than its lease; it wakes up with what it was sent, and must not do it.
                await trio.sleep(2 * LEASE.ttl)
                made.signal(victim, signal.SIGCONT)
                await trio.sleep(1.0)
            done.set()
        with trio.fail_after(30):
            after = await until_all_answer(made, system)
        assert kind == "stopped" or victim not in after.values()
        assert len(made.acknowledged) > 50


async def test_while_the_server_is_away_longer_than_a_lease_nobody_owns_and_then_one_does(
    file: Path,
) -> None:
    async with Server() as server, world(server.url, "c", file, "a", "b") as (made, system):
        with trio.fail_after(30):
            await until_all_answer(made, system)
        server.kill()
        await trio.sleep(1.5 * LEASE.ttl)
        before = file.read_text()
        with trio.move_on_after(0.5):
            await made.ask(system, "only")
        # Nobody has a lease: what is asked waits.
        assert file.read_text() == before
        await server.start()
        with trio.fail_after(60):
            await until_all_answer(made, system)


async def test_with_three_servers_the_one_that_leads_may_be_killed_together_with_a_node(
    file: Path,
) -> None:
    async with Cluster(3) as engine:
        urls = ",".join(engine.urls)
        async with world(urls, "c", file, "a", "b") as (made, system):
            with trio.fail_after(40):
                found = await until_all_answer(made, system)
            async with Client(urls.split(",")) as client:
                name = (await KeyValue(client, "trouper-c").info()).leader
            (leader,) = [server for server in engine.servers if server.name == name]
            victim = next((name for name in found.values() if name in {"a", "b"}), "a")
            assert victim is not None
            leader.kill()
            made.signal(victim, signal.SIGKILL)
            with trio.fail_after(60):
                after = await until_all_answer(made, system)
            assert victim not in after.values()


@pytest.mark.long
@pytest.mark.parametrize("which", ["leads the store", "has this node's connection"])
async def test_with_three_servers_one_may_stand_still(file: Path, which: str) -> None:
    async with Cluster(3) as engine:
        urls = ",".join(engine.urls)
        async with world(urls, "c", file, "a", "b") as (made, system):
            with trio.fail_after(40):
                await until_all_answer(made, system)
            async with Client(urls.split(",")) as client:
                leader = (await KeyValue(client, "trouper-c").info()).leader
            node = system._transport
            assert isinstance(node, Nats)
            (frozen,) = [
                server
                for server in engine.servers
                if (leader if which == "leads the store" else node._client.server)
                in {server.name, server.url.removeprefix("nats://")}
            ]
            frozen.pause()
            # A node that was connected with it, and those that own something, find it out first.
            with trio.fail_after(60):
                await trio.sleep(2 * LEASE.ttl)
                await until_all_answer(made, system)
            frozen.resume()
            with trio.fail_after(60):
                await until_all_answer(made, system)
