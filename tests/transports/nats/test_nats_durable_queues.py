"""A durable queue's messages are kept by the engine: they outlive nodes, and its own restart."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import trio

from actors import (
    Actor,
    ActorFailed,
    ActorSystem,
    AskTimeout,
    DeadLetterReason,
    MailboxFull,
    message,
)
from actors.cell import Cell
from actors.stopping import cut_off
from tests.transports.nats.test_nats_nodes import LIMITS, accounted, node_of, until
from transports.nats import Client, JetStream, Nats
from transports.nats.durable import AT_ONCE
from transports.nats.engine import Server

pytestmark = pytest.mark.timeout(60)

QUEUE = "queue://jobs"


@message(name="durable.Job")
class Job:
    number: int


@message(name="durable.Odd")
class Odd:
    """Has no form on the wire."""

    what: object


class Worker(Actor):
    """Notes the numbers; waits before it has done a job while its gate is closed."""

    def __init__(self, done: list[int], gate: trio.Event | None = None) -> None:
        self.done = done
        self.gate = gate

    async def receive(self, message: Job) -> None:
        if message.number < 0:
            raise ValueError(f"as told: {message.number}")
        if self.gate is not None:
            await self.gate.wait()
        self.done.append(message.number)


def system(name: str, server: Server, cluster: str) -> ActorSystem:
    return ActorSystem(
        name, transport=Nats(server.url, cluster=cluster, durable=[QUEUE], limits=LIMITS)
    )


async def left_in(server: Server, cluster: str) -> int:
    async with Client(server.url) as client:
        return (await JetStream(client).stream_info(f"trouper-{cluster}-queue-jobs")).messages


async def test_what_is_sent_without_a_consumer_is_handled_when_one_comes_on_any_node(
    nats_server: Server, unique: str
) -> None:
    async with system("a", nats_server, unique) as a:
        for number in range(50):
            await a.at(QUEUE).send(Job(number))
        # The reply says that it is stored.
        assert await a.at(QUEUE).ask(Job(50)) is None
        assert await left_in(nats_server, unique) == 51
    accounted(a)
    done: list[int] = []
    async with system("b", nats_server, unique) as b:
        b.consume(QUEUE, b.spawn(Worker, done), prefetch=8)
        await until(lambda: len(done) == 51)
        assert sorted(done) == list(range(51))
    accounted(b)
    assert await left_in(nats_server, unique) == 0


async def test_consumers_of_all_nodes_share_the_work(nats_server: Server, unique: str) -> None:
    done: list[list[int]] = [[], []]
    async with (
        system("a", nats_server, unique) as a,
        system("b", nats_server, unique) as b,
    ):
        for each, into in zip((a, b), done, strict=True):
            each.consume(QUEUE, each.spawn(Worker, into), prefetch=2)
        for number in range(200):
            await a.at(QUEUE).send(Job(number))
        await until(lambda: sum(map(len, done)) == 200)
        assert sorted(done[0] + done[1]) == list(range(200))
        assert min(map(len, done)) > 20
    accounted(a)
    accounted(b)


async def test_what_a_node_had_in_hand_when_it_left_goes_to_another_one_at_once(
    nats_server: Server, unique: str
) -> None:
    done: list[int] = []
    begun: list[int] = []
    async with system("a", nats_server, unique) as a:
        async with system("b", nats_server, unique) as b:
            b.consume(QUEUE, b.spawn(Worker, begun, trio.Event()), prefetch=3)
            for number in range(3):
                await a.at(QUEUE).send(Job(number))
            await until(lambda: len(node_of(b)._stores["jobs"]._held) == 3)
            b._stop_within = 0.1
        assert begun == []
        a.consume(QUEUE, a.spawn(Worker, done))
        # Long before the engine would find out by itself.
        await until(lambda: len(done) == 3, within=10)
        assert sorted(done) == [0, 1, 2]


async def test_what_is_left_when_the_last_consumer_of_a_node_stops_goes_to_another_node(
    nats_server: Server, unique: str
) -> None:
    done: list[int] = []
    async with (
        system("a", nats_server, unique) as a,
        system("b", nats_server, unique) as b,
    ):
        stuck = a.spawn(Worker, [], trio.Event())
        a.consume(QUEUE, stuck, prefetch=3)
        for number in range(3):
            await a.at(QUEUE).send(Job(number))
        await until(lambda: len(node_of(a)._stores["jobs"]._held) == 3)
        b.consume(QUEUE, b.spawn(Worker, done), prefetch=3)
        assert isinstance(stuck, Cell)
        cut_off(stuck)
        # Also what node a had asked the engine for when it had a consumer.
        await stuck.stopped()
        await a.at(QUEUE).send(Job(3))
        await until(lambda: len(done) == 4, within=15)
        assert sorted(done) == [0, 1, 2, 3]
        await until(lambda: not node_of(a)._stores["jobs"]._held)


SCRIPT = """
import sys, trio
from actors import Actor, ActorSystem, message
from transports.nats import Nats, durable

durable.ACK_WAIT = 1.0

@message(name="durable.Job")
class Job:
    number: int

class Stuck(Actor):
    async def receive(self, message):
        print("begun", flush=True)
        await trio.sleep_forever()

async def main(url, cluster):
    node = Nats(url, cluster=cluster, durable=["queue://jobs"])
    async with ActorSystem("killed", transport=node) as system:
        system.consume("queue://jobs", system.spawn(Stuck))
        await trio.sleep_forever()

trio.run(main, *sys.argv[1:])
"""


async def test_what_a_killed_process_had_in_hand_is_given_to_another_one(
    nats_server: Server, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transports.nats.durable.ACK_WAIT", 1.0)
    done: list[int] = []
    async with system("a", nats_server, unique) as a:
        await a.at(QUEUE).send(Job(1))
        # The consumer is made by who is there first, with its times.
        await node_of(a)._stores["jobs"]._consumer()
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, nats_server.url, unique],
            stdout=subprocess.PIPE,
            env=environment,
        )
        assert process.stdout is not None
        try:
            line = await trio.to_thread.run_sync(process.stdout.readline)
            assert line == b"begun\n"
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()
        a.consume(QUEUE, a.spawn(Worker, done))
        await until(lambda: done == [1], within=45)
    assert await left_in(nats_server, unique) == 0


async def test_a_message_that_fails_each_time_is_a_dead_letter_and_goes_round_no_more(
    nats_server: Server, unique: str
) -> None:
    done: list[int] = []
    async with system("a", nats_server, unique) as a:
        a.consume(QUEUE, a.spawn(Worker, done))
        await a.at(QUEUE).send(Job(-7))
        await a.at(QUEUE).send(Job(7))
        await until(lambda: done == [7])
        (letter,) = list(a.dead_letters.recent)
        assert (letter.message, letter.reason) == (Job(-7), DeadLetterReason.FAILED_TOO_OFTEN)
        assert len(letter.failures) == 3
        await until(lambda: not node_of(a)._stores["jobs"]._held)
    accounted(a)
    assert await left_in(nats_server, unique) == 0


async def test_what_can_never_be_stored_is_the_senders_error(
    nats_server: Server, unique: str
) -> None:
    async with system("a", nats_server, unique) as a:
        with pytest.raises(ActorFailed, match="Odd"):
            await a.at(QUEUE).ask(Odd(object()))
        a.at(QUEUE).tell(Odd(object()))
        await a.at(QUEUE).ask(Job(1))
        reasons = [each.reason for each in a.dead_letters.recent]
        assert reasons == [DeadLetterReason.NOT_STORED] * 2
    accounted(a)


async def test_what_makes_no_sense_in_the_stream_is_a_dead_letter(
    nats_server: Server, unique: str
) -> None:
    done: list[int] = []
    async with system("a", nats_server, unique) as a, Client(nats_server.url) as client:
        await a.at(QUEUE).ask(Job(1))
        await JetStream(client).publish(f"trouper.{unique}.durable.jobs", b"\xc1 noise")
        await a.at(QUEUE).ask(Job(2))
        a.consume(QUEUE, a.spawn(Worker, done))
        await until(lambda: done == [1, 2])
        assert [each.reason for each in a.dead_letters.recent] == [DeadLetterReason.UNREADABLE]
    accounted(a)
    assert await left_in(nats_server, unique) == 0


async def test_while_the_server_is_away_messages_wait_and_are_stored_once(unique: str) -> None:
    done: list[int] = []
    async with Server() as server, system("a", server, unique) as a:
        await a.at(QUEUE).ask(Job(0))
        server.kill()
        for number in range(1, 6):
            a.at(QUEUE).tell(Job(number))
        await server.start()
        with trio.fail_after(30):
            assert await a.at(QUEUE).ask(Job(6), timeout=None) is None
        assert await left_in(server, unique) == 7
        a.consume(QUEUE, a.spawn(Worker, done), prefetch=4)
        await until(lambda: len(done) == 7, within=30)
        assert sorted(done) == list(range(7))
    accounted(a)


async def test_nodes_that_differ_in_what_is_durable_are_told(
    nats_server: Server, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        system("keeps", nats_server, unique),
        ActorSystem("plain", transport=Nats(nats_server.url, cluster=unique)),
        system("too", nats_server, unique),
    ):
        text = "node keeps has the engine keep the queues ['jobs'], and node plain does not"
        await until(lambda: caplog.text.count(text) == 2)
        assert "node keeps has the engine keep the queues ['jobs'], and node too" not in caplog.text


async def test_of_two_processes_with_one_name_the_later_alone_takes_from_a_durable_queue(
    nats_server: Server, unique: str
) -> None:
    done: dict[str, list[int]] = {"earlier": [], "later": []}
    both = [
        ActorSystem(
            "a",
            transport=Nats(
                nats_server.url, cluster=unique, durable=[QUEUE], limits=LIMITS, ttl=1.0
            ),
        )
        for _ in done
    ]
    async with both[0] as earlier, both[1] as later:
        await until(lambda: node_of(earlier)._stores["jobs"]._closed)
        for each, numbers in zip(both, done.values(), strict=True):
            each.consume(QUEUE, each.spawn(Worker, numbers))
        for number in range(20):
            await later.at(QUEUE).ask(Job(number))
        await until(lambda: len(done["later"]) == 20)
        assert done["earlier"] == []


async def test_a_consumer_that_gets_nothing_says_why_once(
    unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[int] = []
    async with Server() as server, system("a", server, unique) as a:
        a.consume(QUEUE, a.spawn(Worker, done))
        await a.at(QUEUE).ask(Job(1))
        # What is handled and not acknowledged yet has the place of another one.
        store = node_of(a)._stores["jobs"]
        await until(lambda: done == [1] and not store._held)
        server.kill()
        await until(lambda: "queue://jobs: no messages yet: " in caplog.text)
        await trio.sleep(0.5)
        assert caplog.text.count("no messages yet") == 1
        await server.start()


async def test_a_stream_that_somebody_has_deleted_is_made_anew_by_who_only_sends(
    nats_server: Server, unique: str
) -> None:
    async with system("a", nats_server, unique) as a:
        await a.at(QUEUE).ask(Job(0))
        async with Client(nats_server.url) as client:
            await JetStream(client).delete_stream(f"trouper-{unique}-queue-jobs")
        with trio.fail_after(20):
            assert await a.at(QUEUE).ask(Job(1), timeout=None) is None
        assert await left_in(nats_server, unique) == 1


async def test_what_stores_may_be_stopped_and_what_comes_after_it_is_no_duplicate(
    nats_server: Server, unique: str
) -> None:
    async with system("a", nats_server, unique) as a:
        await a.at(QUEUE).ask(Job(0))
        storing = a.at(QUEUE)
        storing.stop()
        await storing.stopped()
        await a.at(QUEUE).ask(Job(1))
        assert await left_in(nats_server, unique) == 2


async def test_what_was_handled_is_acknowledged_when_the_server_is_there_again(
    unique: str,
) -> None:
    done: list[int] = []
    async with Server() as server, system("a", server, unique) as a:
        gate = trio.Event()
        a.consume(QUEUE, a.spawn(Worker, done, gate), prefetch=2)
        for number in range(2):
            await a.at(QUEUE).ask(Job(number))
        await until(lambda: len(node_of(a)._stores["jobs"]._held) == 2)
        await server.stop()
        gate.set()
        await until(lambda: len(done) == 2)
        await server.start()
        await until(lambda: not node_of(a)._stores["jobs"]._held, within=20)
        assert await left_in(server, unique) == 0
        assert sorted(done) == [0, 1]


async def test_what_is_stored_while_the_server_is_restarted_keeps_its_order(unique: str) -> None:
    async with Server() as server, system("a", server, unique) as a:

        async def send() -> None:
            for number in range(600):
                await a.at(QUEUE).send(Job(number))
                await trio.sleep(0.001)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            for _ in range(2):
                await trio.sleep(0.2)
                await server.stop()
                await server.start()
        await a.at(QUEUE).ask(Job(600), timeout=20)
        stored = []
        async with Client(server.url) as client:
            for number in range(601):
                found = await JetStream(client).api(
                    f"STREAM.MSG.GET.trouper-{unique}-queue-jobs", {"seq": number + 1}
                )
                data = base64.b64decode(found["message"]["data"])
                stored.append(node_of(a).codec.decode_value(data).number)
        assert [pair for pair in pairwise(stored) if pair[1] != pair[0] + 1] == []


async def test_what_a_server_that_was_killed_gives_out_again_to_who_has_it_is_handled_once(
    unique: str,
) -> None:
    done: list[int] = []
    async with Server() as server, system("a", server, unique) as a:
        for number in range(8):
            await a.at(QUEUE).ask(Job(number))
        gate = trio.Event()
        a.consume(QUEUE, a.spawn(Worker, done, gate), prefetch=16)
        store = node_of(a)._stores["jobs"]
        await until(lambda: len(store._held) == 8)
        server.kill()
        await server.start()
        await a.at(QUEUE).ask(Job(8), timeout=20)
        await until(lambda: 8 in [each.position.sequence - 1 for each in store._held.values()])
        gate.set()
        await until(lambda: not store._held)
        assert sorted(done) == list(range(9))
        assert await left_in(server, unique) == 0


async def test_many_are_stored_at_once_and_handled_in_the_order_in_which_they_were_sent(
    nats_server: Server, unique: str
) -> None:
    done: list[int] = []
    async with system("a", nats_server, unique) as a:
        for number in range(1_000):
            a.at(QUEUE).tell(Job(number))
        a.consume(QUEUE, a.spawn(Worker, done), prefetch=1)
        await until(lambda: len(done) == 1_000)
        assert done == list(range(1_000))
        await until(lambda: not node_of(a)._stores["jobs"]._held)
    accounted(a)


async def test_what_the_engine_has_not_answered_for_when_a_node_ends_is_a_dead_letter(
    unique: str,
) -> None:
    async with Server() as server:
        async with system("a", server, unique) as a:
            await a.at(QUEUE).ask(Job(0))
            server.pause()
            for number in range(10):
                a.at(QUEUE).tell(Job(number))
            with pytest.raises(AskTimeout, match="deferred"):
                await a.at(QUEUE).ask(Job(10), timeout=0.5)
            a._stop_within = 0.1
        server.resume()
    accounted(a)
    letters = a.dead_letters.recent
    assert {each.reason for each in letters} == {DeadLetterReason.NOT_STORED}
    assert sorted(each.message.number for each in letters) == list(range(11))


async def test_pressure_reaches_the_sender_while_the_server_is_away(unique: str) -> None:
    async with Server() as server, system("a", server, unique) as a:
        await a.at(QUEUE).ask(Job(0))
        server.kill()
        with pytest.raises(MailboxFull):
            for number in range(10_100):
                a.at(QUEUE).tell(Job(number))
        with trio.move_on_after(0.2) as scope:
            # (The first may have the places of the messages that are under way.)
            for _ in range(AT_ONCE + 3):
                await a.at(QUEUE).send(Job(11))
        assert scope.cancelled_caught
        a._stop_within = 0.1
    ledger = a.ledger
    assert (ledger.missing, ledger.queued, ledger.in_flight) == (0, 0, 0)
    assert ledger.dead == ledger.sent - ledger.handled - ledger.rejected
    assert ledger.dead >= 10_000


def test_a_name_that_no_stream_can_have_is_refused() -> None:
    with pytest.raises(ValueError, match="150 bytes"):
        Nats(cluster="c", durable=["queue://" + "ä" * 60])


@pytest.mark.parametrize("address", ["topic://a", "service://a", "queue://*", "jobs"])
def test_only_a_queue_can_be_durable(address: str) -> None:
    with pytest.raises(ValueError, match="queue://"):
        Nats(cluster="c", durable=[address])
    with pytest.raises(TypeError, match="list"):
        Nats(cluster="c", durable=address)
