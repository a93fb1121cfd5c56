"""A worker that stands still until it is given up, and goes on before it is killed, is fenced."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest
import trio

from actors import ActorRef, ActorStopped, ActorSystem, CrashReport
from actors.testing import Probe
from supervision import OneForOne, WorkerLost, WorkerProcesses
from supervision.processes.process import ChildProcess
from tests.faults.crew import Do, Journal, Note, a_system, is_alive, until
from tests.faults.test_worker_processes import _nothing_left, new_pid, pid_of  # noqa: F401

pytestmark = pytest.mark.usefixtures("_nothing_left")

NUMBERS = 12


class Frozen:
    """What came of a worker that was stopped with most of its messages in its mailbox."""

    def __init__(self, system: ActorSystem, path: Path) -> None:
        self.system = system
        self.path = path
        self.noted: Probe = Probe(system)
        self.left: list[int] = []
        self.again: ActorRef

    def lines(self) -> list[tuple[int, int]]:
        """Process and number, of each that was written down."""
        rows = self.path.read_text().splitlines() if self.path.exists() else []
        return [(int(pid), int(number)) for pid, number in map(str.split, rows)]

    async def run(self, journal: ActorRef, pid: int) -> None:
        """Ask for numbers, stop the process in the middle, and give the rest to another one."""
        async with trio.open_nursery() as nursery:
            for number in range(NUMBERS):
                nursery.start_soon(self._ask, journal, number)
            await until(lambda: len(self.lines()) >= 2)
            os.kill(pid, signal.SIGSTOP)
        # All asks have ended: it is given up.
        assert len(self.left) > NUMBERS // 2
        for number in self.left:
            assert await self.again.ask(Note(number), timeout=30) == number

    async def _ask(self, journal: ActorRef, number: int) -> None:
        try:
            assert await journal.ask(Note(number), timeout=50) == number
        except ActorStopped:
            self.left.append(number)


@pytest.mark.parametrize("knows", [True, False])
async def test_a_worker_that_wakes_up_when_it_is_given_up_is_fenced(
    knows: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken = trio.Event()
    stop = ChildProcess.stop

    async def stop_later(process: ChildProcess, grace: float) -> None:
        if grace == 0.0:
            with trio.move_on_after(20):
                await woken.wait()
        await stop(process, grace)

    monkeypatch.setattr(ChildProcess, "stop", stop_later)
    async with a_system() as system:
        frozen = Frozen(system, tmp_path / "journal")
        reports = Probe(system)
        system.crash_reports.subscribe(reports.ref)
        make = partial(WorkerProcesses, 2, actors=[Journal], strategy=OneForOne(max_restarts=None))
        await system.start(make, name="workers")
        journal, frozen.again = [
            await system.start(Journal, str(frozen.path), frozen.noted.ref, on=f"s-worker-{number}")
            for number in (1, 2)
        ]
        old, other = await pid_of(system, 1), await pid_of(system, 2)
        if not knows:
            await journal.ask(Do("know nothing"), timeout=30)
        await frozen.run(journal, old)
        error = (await reports.expect(CrashReport, within=30)).failure.exception
        assert isinstance(error, WorkerLost)
        # The others have gone on without it, and nobody has killed it: now it goes on as well.
        before = frozen.lines()
        heard = {(each.pid, each.number) for each in frozen.noted.messages}
        assert is_alive(old)
        os.kill(old, signal.SIGCONT)
        if knows:
            await until(lambda: not is_alive(old))
            assert frozen.lines() == before
        else:
            # It finds out when it meets the others again; and then there is another session.
            link = next(each for each in system._transport.links() if each.peer == "s-worker-1")  # type: ignore[union-attr]
            await until(lambda: link.up)
            with pytest.raises(ActorStopped):
                await journal.ask(Note(-1), timeout=30)
        woken.set()
        new = await new_pid(system, old)
        assert new not in (old, other)
        assert not is_alive(old)
        # Of what it did when it was given up, nothing has reached anybody.
        assert await frozen.again.ask(Note(NUMBERS), timeout=30) == NUMBERS
        await until(lambda: (other, NUMBERS) in heard_by(frozen.noted))
        late = [each for each in heard_by(frozen.noted) if each not in heard and each[0] == old]
        assert late == []
        if knows:
            assert sorted(number for _, number in frozen.lines()) == list(range(NUMBERS + 1))
        again = await system.start(
            Journal, str(frozen.path), frozen.noted.ref, on="s-worker-1", name="again"
        )
        assert await again.ask(Note(99), timeout=30) == 99
        assert (new, 99) in frozen.lines()


def heard_by(probe: Probe) -> list[tuple[int, int]]:
    return [(each.pid, each.number) for each in probe.messages]
