"""The code index on worker processes, for real: killed, frozen, and equal to the plain loop's."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from examples.code_index.command import index_folder
from examples.code_index.facts import Snapshot
from examples.code_index.options import Options
from examples.code_index.report import Report, print_report
from examples.code_index.verify import index_by_loop
from transports import Limits

FAST = Limits(heartbeat=0.4, lost_after=0.5, dial_at_most=0.1)
"""A frozen worker is given up within about two seconds."""


@pytest.fixture(autouse=True)
def _nothing_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Each test has a folder of its own for sockets, which is empty in the end; so is /proc."""
    place = tmp_path_factory.mktemp("w")
    monkeypatch.setattr("tempfile.tempdir", str(place))
    monkeypatch.setenv("TMPDIR", str(place))
    # The processes inherit it, so that theirs can be told from others'.
    monkeypatch.setenv("TROUPER_TEST", str(place))
    yield
    assert list(place.iterdir()) == []
    wanted = f"TROUPER_TEST={place}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                assert wanted not in (entry / "environ").read_bytes().split(b"\0")


@pytest.fixture
def tree(tmp_path: Path) -> str:
    """A folder that keeps two processes busy for some time, with some odd files."""
    root = tmp_path / "tree"
    (root / "pkg").mkdir(parents=True)
    for number in range(120):
        path = root / ("pkg" if number % 2 else "") / f"many{number}.py"
        path.write_text(f"import os\ndef f{number}(): return os.sep, {'x + ' * 2_000}x\n")
    (root / "broken.py").write_text("def broken(:\n")
    (root / "deep.py").write_text(f"x = {'(' * 5000}{')' * 5000}\n")
    (root / "back\\slash.py").write_text("def slash(): pass\n")
    with open(os.path.join(os.fsencode(root), b"caf\xe9.py"), "w") as file:
        file.write("def accent(): pass\n")
    return str(root)


async def index(root: str, **options: object) -> tuple[Report, Snapshot]:
    report, snapshot = await index_folder(Options(root, snapshot=True, **options))  # type: ignore[arg-type]
    assert snapshot is not None
    assert report.ledger.missing == report.ledger.queued == report.ledger.in_flight == 0
    return report, snapshot


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.long), 3])
async def test_the_index_equals_the_plain_loops(tree: str, workers: int) -> None:
    report, snapshot = await index(tree, workers=workers, indexers=2)
    assert snapshot == index_by_loop(tree)
    assert report.ledger.restarts == report.redelivered == report.ledger.dead == 0
    assert report.workers is not None
    assert report.workers.failed == report.workers.missing == 0
    # Each file went to an indexer there, which has handled it.
    assert report.ledger.delivered >= report.totals.files
    assert report.workers.handled >= report.totals.files


@pytest.mark.long
async def test_crashing_indexers_do_not_change_the_index(tree: str) -> None:
    report, snapshot = await index(tree, workers=2, chaos=0.2, seed=3)
    assert snapshot == index_by_loop(tree)
    assert report.workers is not None
    assert report.workers.failed == report.redelivered > 0
    assert report.ledger.restarts == 0, "no process has failed"


@pytest.mark.parametrize("seed", [pytest.param(0, marks=pytest.mark.long), 1])
async def test_killed_processes_do_not_change_the_index(tree: str, seed: int) -> None:
    # With one process, the last file cannot be done before it has been restarted.
    report, snapshot = await index(tree, workers=1 + seed, kill=25, seed=seed)
    assert snapshot == index_by_loop(tree)
    assert report.redelivered > 0
    assert report.ledger.restarts > 0 or seed


async def test_over_nats_it_is_the_same_while_processes_are_killed(tree: str) -> None:
    report, snapshot = await index(tree, workers=2, kill=40, seed=1, engine="nats", limits=FAST)
    console = Console(record=True, width=200)
    print_report(console, report)
    assert "in each of 2 worker processes over NATS" in console.export_text()
    assert snapshot == index_by_loop(tree)
    assert report.redelivered > 0


async def test_a_frozen_process_is_fenced_and_the_index_stays_the_same(tree: str) -> None:
    report, snapshot = await index(tree, workers=2, freeze=60, frozen_for=3.0, limits=FAST, seed=1)
    assert snapshot == index_by_loop(tree)
    assert report.redelivered > 0


def test_the_command_kills_processes_and_verifies(tree: str, repository: Path) -> None:
    # What is asked for, is not complained about.
    done = subprocess.run(
        [
            *(sys.executable, "-W", "always", "-m", "examples.code_index", tree),
            *("--workers", "2", "--kill", "40", "--chaos", "0.1", "--seed", "1", "--verify"),
        ],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "verify: the same by a plain loop, without actors ...\n"
    assert "in each of 2 worker processes" in done.stdout
    assert "--chaos 0.1 --kill 40 --seed 1" in done.stdout
    assert "verify: equal to the index of a plain loop" in done.stdout
