"""SIGTERM while other nodes wait for this one: what it has accepted is done first."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from actors import Actor, ActorRef, ActorStopped, ActorSystem, AskTimeout
from tests.cli.draining import Pass, Work
from tests.cli.kit import Shell, shells
from transports import Tcp, Unix

ACCEPTED = 5


@pytest.fixture
def shell(tmp_path: Path, repository: Path) -> Iterator[Shell]:
    yield from shells(tmp_path, repository)


class Gate(Actor):
    """Lets nobody through before it is open. It is asked by one at a time."""

    def __init__(self) -> None:
        self.arrived, self.opened = trio.Event(), trio.Event()

    async def receive(self, message: Pass) -> int:
        self.arrived.set()
        await self.opened.wait()
        return message.number


@attrs.frozen
class Drained:
    """A process in the middle of an ask, with others in its mailbox, after SIGTERM."""

    process: subprocess.Popen[str]
    worker: ActorRef
    gate: Gate
    answers: dict[int, int | ActorStopped]

    async def ended(self) -> tuple[int, str]:
        """Its exit code, and what it wrote to stderr."""
        out = await trio.to_thread.run_sync(partial(self.process.communicate, timeout=30))
        return self.process.returncode, out[1]


@contextlib.asynccontextmanager
async def drained(shell: Shell, kind: str, grace: str) -> AsyncIterator[Drained]:
    place = "127.0.0.1:0" if kind == "tcp" else f"{shell.environment['XDG_RUNTIME_DIR']}/s"
    process, address = shell.node_at(
        "--name", "s", "--listen", place, "--grace", grace, "tests.cli.draining"
    )
    transport = Tcp(None, peers=[address]) if kind == "tcp" else Unix(None, peers=[address])
    async with ActorSystem("client", transport=transport) as client:
        gates: list[Gate] = []

        class Kept(Gate):
            def __init__(self) -> None:
                super().__init__()
                gates.append(self)

        gate = await client.start(Kept, name="gate")
        await transport.reached("s")
        found = Drained(process, client.at("actor://s/worker"), gates[0], {})

        async def ask(number: int) -> None:
            try:
                found.answers[number] = await found.worker.ask(Work(number, gate), timeout=None)
            except ActorStopped as error:
                found.answers[number] = error

        async with trio.open_nursery() as nursery:
            for number in range(ACCEPTED):
                nursery.start_soon(ask, number)
            with trio.fail_after(30):
                await gates[0].arrived.wait()
                # They are in its mailbox; and the gate's answer is still to come.
                while client.ledger.delivered < ACCEPTED:
                    await trio.sleep(0.005)
                process.send_signal(signal.SIGTERM)
                assert process.stdout is not None
                assert await trio.to_thread.run_sync(process.stdout.readline) == "cancelled\n"
                yield found


@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_asks_that_were_accepted_are_answered_and_later_ones_fail_with_the_reason(
    shell: Shell, kind: str
) -> None:
    async with drained(shell, kind, grace="30") as found:
        # One that comes before the stop does waits with the others, and its time is soon over.
        with pytest.raises(ActorStopped) as caught:
            while True:
                with contextlib.suppress(AskTimeout):
                    await found.worker.ask(Work(99, found.worker), timeout=0.1)
        assert "actor://s/worker" in str(caught.value)
        assert "stop" in str(caught.value)
        assert found.answers == {}
        assert found.process.poll() is None
        found.gate.opened.set()
    assert found.answers == {number: number for number in range(ACCEPTED)}
    assert await found.ended() == (0, "")


async def test_what_is_not_done_within_the_grace_fails_with_the_reason(shell: Shell) -> None:
    async with drained(shell, "tcp", grace="0.5") as found:
        code, err = await found.ended()
    assert code == 7
    assert "actor://s/worker did not stop within 0.5 s of leaving the system" in err
    assert sorted(found.answers) == list(range(ACCEPTED))
    for error in found.answers.values():
        assert isinstance(error, ActorStopped)
        assert "actor://s/worker" in str(error)
