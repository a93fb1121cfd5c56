"""Worker processes, for real: started, killed, stopped, and gone in the end."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import stat
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from actors import (
    Actor,
    ActorRef,
    ActorStopped,
    ActorSystem,
    CrashReport,
    LeastLoaded,
    NodeDown,
    Terminated,
)
from actors.testing import Probe
from supervision import (
    OneForAll,
    OneForOne,
    Supervisor,
    WhichChildren,
    WhichProcess,
    WorkerExited,
    WorkerLost,
    WorkerProcesses,
    child,
)
from supervision.processes.reports import FD_VARIABLE
from tests.actors.kit import Doer
from tests.faults.crew import FAST, Do, Hand, Meet, a_system, crew, is_alive, until
from transports import Tcp, Unix
from transports.worker.host import make_folder, parent_folder
from transports.worker.settings import FOLDER_VARIABLE


@pytest.fixture
def _nothing_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Each test has a folder of its own for sockets, which is empty in the end; so is /proc."""
    place = tmp_path_factory.mktemp("w")
    monkeypatch.setattr("tempfile.tempdir", str(place))
    # The processes inherit it, so that theirs can be told from others'.
    monkeypatch.setenv("TROUPER_TEST", str(place))
    yield
    assert list(place.iterdir()) == []
    assert processes_of(place) == []


pytestmark = pytest.mark.usefixtures("_nothing_left")


def processes_of(place: Path) -> list[int]:
    """Living processes that were started with this test's environment."""
    wanted = f"TROUPER_TEST={place}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return [pid for pid in found if is_alive(pid)]


async def pid_of(system: ActorSystem, number: int = 1) -> int:
    ref = system.at(f"actor://{system.name}/workers/worker-{number}")
    info = await ref.ask(WhichProcess(), timeout=30)
    assert info.node == f"{system.name}-worker-{number}"
    return info.pid


async def new_pid(system: ActorSystem, old: int, number: int = 1) -> int:
    """The process that has taken the place of another one."""
    with trio.fail_after(40):
        while True:
            with contextlib.suppress(ActorStopped):
                if (pid := await pid_of(system, number)) != old:
                    return pid
            await trio.sleep(0.02)


async def test_actors_run_in_processes_of_their_own_and_nothing_is_left() -> None:
    async with a_system() as system:
        workers = await system.start(crew(2), name="workers")
        first, second = [await system.start(Hand, on=f"s-worker-{number}") for number in (1, 2)]
        pids = [await hand.ask(Do("pid"), timeout=30) for hand in (first, second)]
        assert len({os.getpid(), *pids}) == 3
        assert pids == [await pid_of(system, 1), await pid_of(system, 2)]
        assert await first.ask(Do("add", [1, 2, 3]), timeout=30) == 6
        names = [each.name for each in await workers.ask(WhichChildren())]
        assert names == ["worker-1", "worker-2"]
        (folder,) = Path(parent_folder()).iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        sockets = [each for each in folder.iterdir() if each.is_socket()]
        assert [stat.S_IMODE(each.stat().st_mode) for each in sockets] == [0o600] * 3
        # Not even another one may take their names.
        with pytest.raises(ValueError, match="already"):
            await system.start(crew(1), name="others")
    assert not any(map(is_alive, pids))


async def test_workers_reach_each_other_directly_also_beside_a_tcp_node() -> None:
    transport = Tcp("127.0.0.1:0", limits=FAST)
    async with ActorSystem("s", transport=transport) as system:
        await system.start(crew(2), name="workers")
        first, second = [await system.start(Hand, on=f"s-worker-{each}") for each in (1, 2)]
        assert await first.ask(Meet(second), timeout=30) == await pid_of(system, 2)


async def test_what_a_worker_prints_and_logs_is_logged_here_with_its_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "supervision.processes.output")

    def marked(text: str) -> list[tuple[str, int, str]]:
        return [
            (record.name, record.levelno, record.worker)
            for record in caplog.records
            if text in record.getMessage() and hasattr(record, "worker")
        ]

    async with a_system() as system:
        await system.start(crew(), name="workers")
        hand = await system.start(Hand, on="s-worker-1")
        await hand.ask(Do("print", "printed text"), timeout=30)
        await hand.ask(Do("complain", "complaint"), timeout=30)
        await hand.ask(Do("debug", "not to be seen"), timeout=30)
        await hand.ask(Do("log", "seen"), timeout=30)
        await until(lambda: bool(marked("printed") and marked("complaint") and marked("seen")))
    output = "supervision.processes.output"
    assert marked("printed text") == [(output, logging.INFO, "s-worker-1")]
    assert marked("complaint") == [(output, logging.WARNING, "s-worker-1")]
    assert marked("logged: seen") == [("tests.crew", logging.WARNING, "s-worker-1")]
    assert not marked("not to be seen")
    assert "[s-worker-1] logged: seen" in caplog.messages


class Watcher(Actor):
    """Tells another one when an actor ends."""

    def __init__(self, ref: ActorRef, tell: ActorRef) -> None:
        self.context.watch(ref)
        self.tell = tell

    def receive(self, message: Terminated) -> None:
        self.tell.tell(message)


async def test_a_worker_that_is_killed_is_replaced_and_what_waited_for_it_is_told() -> None:
    async with a_system() as system:
        reports = Probe(system)
        system.crash_reports.subscribe(reports.ref)
        await system.start(crew(), name="workers")
        hand = await system.start(Hand, on="s-worker-1")
        notices = Probe(system)
        system.spawn(Watcher, hand, notices.ref)
        old = await pid_of(system)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                with pytest.raises(ActorStopped):
                    await hand.ask(Do("spin", 600.0), timeout=50)

            await trio.sleep(0.1)
            os.kill(old, signal.SIGKILL)
        ended = await notices.expect(Terminated, within=30)
        assert isinstance(ended.reason, NodeDown)
        new = await new_pid(system, old)
        again = await system.start(Hand, on="s-worker-1")
        assert await again.ask(Do("pid"), timeout=30) == new
        report = await reports.expect(CrashReport, within=30)
        error = report.failure.exception
        assert isinstance(error, WorkerExited)
        assert (error.node, error.pid, error.returncode) == ("s-worker-1", old, -signal.SIGKILL)
        assert error.how == "killed by SIGKILL"


class Boss(Supervisor):
    strategy = OneForOne(max_restarts=None)

    def children(self) -> Any:
        return [child(Hand, "hello", name="hand", on=LeastLoaded())]


async def hand_of(boss: ActorRef) -> ActorRef | None:
    (info,) = await boss.ask(WhichChildren(), timeout=30)
    return info.ref


async def test_a_supervised_actor_of_a_killed_worker_is_started_on_another_one() -> None:
    async with a_system() as system:
        await system.start(crew(2), name="workers")
        boss = await system.start(Boss)
        hand = await hand_of(boss)
        assert hand is not None
        pid = await hand.ask(Do("pid"), timeout=30)
        os.kill(pid, signal.SIGKILL)
        with trio.fail_after(40):
            while True:
                with contextlib.suppress(ActorStopped):
                    now = await hand_of(boss)
                    if now is not None and await now.ask(Do("pid"), timeout=30) != pid:
                        break
                await trio.sleep(0.02)


async def test_a_worker_that_exits_fails_with_its_code_and_the_last_lines_of_its_stderr() -> None:
    async with a_system() as system:
        reports = Probe(system)
        system.crash_reports.subscribe(reports.ref)
        await system.start(crew(), name="workers")
        hand = await system.start(Hand, on="s-worker-1")
        hand.tell(Do("exit", 3))
        error = (await reports.expect(CrashReport, within=30)).failure.exception
        assert isinstance(error, WorkerExited)
        assert error.returncode == 3
        assert error.last_lines[-1] == "going now"
        assert "exit code 3" in str(error)
        assert "going now" in str(error)


async def test_a_worker_is_replaced_though_a_copy_of_it_lives_on_and_listens() -> None:
    async with a_system() as system:
        await system.start(crew(), name="workers")
        hand = await system.start(Hand, on="s-worker-1")
        pid = await pid_of(system)
        copy = await hand.ask(Do("leave a child"), timeout=30)
        try:
            os.kill(pid, signal.SIGKILL)
            await new_pid(system, pid)
            assert is_alive(copy)
            again = await system.start(Hand, on="s-worker-1")
            assert await again.ask(Do("add", [1, 2]), timeout=30) == 3
        finally:
            os.kill(copy, signal.SIGKILL)


async def test_a_worker_that_is_silent_for_too_long_is_killed_and_replaced() -> None:
    async with a_system() as system:
        reports = Probe(system)
        system.crash_reports.subscribe(reports.ref)
        await system.start(crew(), name="workers")
        old = await pid_of(system)
        os.kill(old, signal.SIGSTOP)
        error = (await reports.expect(CrashReport, within=30)).failure.exception
        assert isinstance(error, WorkerLost)
        assert (error.node, error.pid) == ("s-worker-1", old)
        assert await new_pid(system, old) != old
        with contextlib.suppress(ProcessLookupError):
            os.kill(old, signal.SIGCONT)
        assert not is_alive(old)


async def test_once_workers_have_started_a_placement_has_the_choice_of_them_all() -> None:
    async with a_system() as system:
        await system.start(crew(3), name="workers")
        refs = [system.spawn(Hand, on=LeastLoaded()) for _ in range(3)]
        nodes = [ref.address.node for ref in refs]
        assert nodes == ["s-worker-1", "s-worker-2", "s-worker-3"]


async def test_all_processes_are_restarted_if_the_strategy_says_so() -> None:
    async with a_system() as system:
        await system.start(crew(2, strategy=OneForAll(max_restarts=None)), name="workers")
        one, two = await pid_of(system, 1), await pid_of(system, 2)
        os.kill(two, signal.SIGKILL)
        await new_pid(system, two, 2)
        await new_pid(system, one, 1)
        assert not is_alive(one)


async def test_a_worker_that_does_not_end_in_time_is_killed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with a_system() as system:
        await system.start(crew(grace=0.3), name="workers")
        hand = await system.start(Hand, on="s-worker-1")
        its_child = await hand.ask(Do("child"), timeout=30)
        assert is_alive(its_child)
        hand.tell(Do("spin", 600.0))
        await trio.sleep(0.1)
    assert "it is killed" in caplog.text
    # And with it what it had started.
    await until(lambda: not is_alive(its_child))


async def test_a_start_that_fails_raises_and_leaves_nothing() -> None:
    async with a_system() as system:
        make = crew(2, modules=["tests.no_such_module"])
        with pytest.raises(WorkerExited) as caught:
            await system.start(make, name="workers")
        assert caught.value.returncode == 1
        assert "No module named 'tests.no_such_module'" in caught.value.last_lines[-1]
        assert system.children == ()
        assert list(Path(parent_folder()).iterdir()) == []
        # The names are free again.
        with pytest.raises(WorkerLost, match="not ready within"):
            await system.start(crew(2, start_within=0.01), name="workers")


async def test_a_start_that_is_cancelled_leaves_nothing() -> None:
    async with a_system() as system:
        with trio.move_on_after(0.2) as limit:
            await system.start(crew(2), name="workers")
        assert limit.cancelled_caught
        await until(lambda: not system.children)
        await until(lambda: list(Path(parent_folder()).iterdir()) == [])


async def test_what_cannot_be_is_refused_with_the_reason() -> None:
    class Local(Actor):
        pass

    async with ActorSystem("s") as system:
        with pytest.raises(TypeError, match=r"transport=Unix\(\)"):
            await system.start(crew(), name="workers")
    async with ActorSystem("s", transport=Unix()) as system:
        with pytest.raises(ValueError, match="defined in a function"):
            await system.start(partial(WorkerProcesses, 1, actors=[Local]))
        for bad in (
            partial(WorkerProcesses, 0, actors=[]),
            partial(WorkerProcesses, 1, actors=[int]),
            partial(WorkerProcesses, 1, actors=[], grace=-1),
            partial(WorkerProcesses, 1, actors=[], start_within=0),
            partial(WorkerProcesses, 1, actors=[], modules="tests"),
            partial(WorkerProcesses, 1, actors=[], name="no/name"),
        ):
            with pytest.raises((ValueError, TypeError)):
                await system.start(bad)


@pytest.mark.parametrize("how", ["exception", "cancellation"])
async def test_a_system_left_in_a_hurry_leaves_no_process(how: str) -> None:
    with trio.CancelScope() as scope, contextlib.suppress(LookupError):
        async with a_system() as system:
            await system.start(crew(2), name="workers")
            pids = [await pid_of(system, 1), await pid_of(system, 2)]
            if how == "exception":
                raise LookupError
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert not any(map(is_alive, pids))


async def test_a_system_that_crashes_leaves_no_process() -> None:
    def interrupt(_: Actor) -> None:
        raise KeyboardInterrupt

    with pytest.raises(BaseExceptionGroup) as caught, trio.fail_after(50):
        async with a_system() as system:
            await system.start(crew(2), name="workers")
            pids = [await pid_of(system, 1), await pid_of(system, 2)]
            system.spawn(Doer).tell(interrupt)
            await trio.sleep_forever()
    assert caught.group_contains(KeyboardInterrupt)
    assert not any(map(is_alive, pids))


# -- the end of the parent

PARENT = """
import sys, trio
sys.path[:] = {path!r}
from tests.actors.kit import Doer
from tests.faults.crew import *

async def main():
    async with a_system() as system:
        await system.start(crew(2), name="workers")
        pids = []
        for number in (1, 2):
            hand = await system.start(Hand, on=f"s-worker-{{number}}")
            pids.append(await hand.ask(Do("pid"), timeout=30))
        pids.append(await hand.ask(Do("child"), timeout=30))
        if {busy}:
            hand.tell(Do("spin", 600.0))
            await trio.sleep(0.1)
        print(*pids, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


@pytest.mark.parametrize("busy", [False, True])
async def test_workers_and_what_they_have_started_end_when_their_parent_is_killed(
    busy: bool,
) -> None:
    program = PARENT.format(path=sys.path, busy=busy)
    environment = {**os.environ, "TMPDIR": parent_folder()}
    async with trio.open_nursery() as nursery:
        start = partial(
            trio.run_process,
            [sys.executable, "-c", program],
            stdout=-1,
            check=False,
            env=environment,
        )
        parent: trio.Process = await nursery.start(start)
        try:
            assert parent.stdout is not None
            said = b""
            with trio.fail_after(50):
                while b"\n" not in said:
                    more = await parent.stdout.receive_some()
                    assert more, "the parent did not start"
                    said += more
            pids = [int(word) for word in said.split()]
            assert len(pids) == 3
            assert all(map(is_alive, pids))
            assert len(list(Path(parent_folder()).iterdir())) == 1
        finally:
            parent.kill()
    await until(lambda: not any(map(is_alive, pids)))
    await until(lambda: list(Path(parent_folder()).iterdir()) == [])


async def test_a_worker_whose_parent_is_killed_before_it_has_said_anything_leaves_no_folder() -> (
    None
):
    folder, lock = make_folder()
    os.close(lock)
    read, write = os.pipe()
    done = await trio.run_process(
        [sys.executable, "-m", "transports.worker", "s-worker-1"],
        env={**os.environ, FD_VARIABLE: str(write), FOLDER_VARIABLE: folder},
        stdin=b"",
        pass_fds=(write,),
        capture_stderr=True,
        check=False,
    )
    os.close(read)
    os.close(write)
    assert done.returncode == 1
    assert b"the parent was gone" in done.stderr
    assert not Path(folder).exists()
