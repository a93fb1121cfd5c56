"""The bank on several processes: SIGKILL costs no cent, and no transfer is made twice."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from actors import Env
from examples.bank.audit import audit
from examples.bank.journal import Entry, Journal
from examples.bank.kills import Plan, run_processes
from examples.bank.messages import Transfer


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # The path of a unix socket is short, and those of pytest are long.
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def children() -> list[int]:
    """The processes that this one has started and not reaped."""
    here = os.getpid()
    found = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(here)], capture_output=True, text=True, check=False
    )
    return [int(line.split()[0]) for line in found.stdout.splitlines() if "worker" in line]


async def test_processes_are_killed_and_the_money_stays_the_same(
    tmp_path: Path, runtime: Path
) -> None:
    plan = Plan(nodes=3, accounts=3, transfers=60, kills=3)
    report = await run_processes(Env(1), tmp_path, plan)
    assert report.problems == []
    assert len(report.killed) == 3
    assert sorted(report.outcomes) == list(range(60))
    assert report.audit.applied == sum(report.outcomes.values()) > 10
    assert report.audit.refused > 5
    assert report.asked_again > 0
    assert sorted(path.stem for path in tmp_path.iterdir()) == plan.branches
    assert list(runtime.iterdir()) == []
    assert children() == []


@pytest.mark.long
async def test_processes_are_killed_while_single_actors_crash_too(
    tmp_path: Path, runtime: Path
) -> None:
    plan = Plan(nodes=2, accounts=3, transfers=40, kills=2, rate=0.05)
    report = await run_processes(Env(3), tmp_path, plan)
    assert report.problems == []
    assert len(report.killed) == 2


def test_the_command_prints_what_was_killed_and_what_became_of_the_money(
    repository: Path, runtime: Path
) -> None:
    command = [sys.executable, "-m", "examples.bank", "--nodes", "2", "--kill", "1"]
    done = subprocess.run(
        [*command, "--transfers", "20", "--accounts", "5", "--seed", "5"],
        cwd=repository,
        env={**os.environ, "TMPDIR": str(runtime)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("kill 1 of 1: bank-branch-")
    assert done.stderr.count("\n") == 1
    assert done.stdout.count("100,000") == 3
    assert "--seed 5 --chaos 0.0 --nodes 2 --kill 1" in done.stdout
    assert list(runtime.iterdir()) == []


def test_a_kill_needs_several_processes(repository: Path) -> None:
    command = [sys.executable, "-m", "examples.bank", "--kill", "1"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--kill needs --nodes" in done.stderr


ACCOUNTS = ["one/a", "two/b"]
ORDERS = {1: Transfer(1, "one/a", "two/b", 60), 2: Transfer(2, "one/a", "two/b", 70)}
GOOD = {
    "one": [Entry("a", "withdrawn", 1, -60), Entry("a", "refused", 2)],
    "two": [Entry("b", "deposited", 1, 60)],
}


def problems(folder: Path, journals: dict[str, list[Entry]], told: dict[int, bool]) -> list[str]:
    for branch, entries in journals.items():
        lines = [msgspec.json.encode(entry) + b"\n" for entry in entries]
        (folder / f"{branch}.journal").write_bytes(b"".join(lines))
    return audit(folder, ACCOUNTS, 100, ORDERS, told).problems


def test_the_audit_finds_nothing_where_nothing_is_wrong(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD, {1: True, 2: False}) == []


@pytest.mark.parametrize(
    ("more", "told", "found"),
    [
        ({"two": [Entry("b", "deposited", 1, 60)]}, {}, "1 was deposited 2 times: two/b, two/b"),
        ({"one": [Entry("a", "withdrawn", 1, -60)]}, {}, "one/a has -20 after transfer 1"),
        ({"two": [Entry("b", "deposited", 2, 70)]}, {}, "there are 270 cents, and there were 200"),
        ({"one": [Entry("a", "deposited", 1, 60)]}, {}, "transfer 1: one/a has"),
        ({"two": [Entry("b", "refused", 1)]}, {}, "1 was ['deposited', 'refused', 'withdrawn']"),
        ({}, {2: True}, "transfer 2 was ['refused'], and its customer told True"),
        ({}, {1: False}, "transfer 1 was ['deposited', 'withdrawn'], and its customer told False"),
    ],
)
def test_the_audit_finds_what_is_wrong(
    more: dict[str, list[Entry]], told: dict[int, bool], found: str, tmp_path: Path
) -> None:
    journals = {branch: GOOD[branch] + more.get(branch, []) for branch in GOOD}
    assert found in "\n".join(problems(tmp_path, journals, {1: True, 2: False, **told}))


def test_a_journal_is_repaired_before_the_next_line_is_written(tmp_path: Path) -> None:
    entries = [Entry("a", "deposited", number, 5) for number in (1, 2)]
    journal = Journal(tmp_path / "journal")
    journal.repair()  # there is none yet
    journal.write(entries[0])
    with journal.path.open("ab") as file:
        file.write(b'{"who":"a","what":"depos')
    journal.repair()
    journal.write(entries[1])
    assert list(journal.read("a")) == entries
