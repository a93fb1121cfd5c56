"""A slice of `make soak`'s processes that are killed; and the audit finds what it looks for."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from benchmarks.soak_processes import __main__ as command
from benchmarks.soak_processes import run as runs
from benchmarks.soak_processes.audit import Audit, audit
from benchmarks.soak_processes.cluster import Member
from benchmarks.soak_processes.engine import KILL


@pytest.fixture
def _nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sockets are in a folder with a short path, and nothing is left in it."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield
        assert list(Path(folder).iterdir()) == []


SLICE = ["--kills", "3", "--messages", "2000", "--seed", "7", "--workers", "1", "--nodes", "2"]


def rows(out: str) -> dict[str, str]:
    """The table that the command has printed."""
    cells = [line.split("│")[1:3] for line in out.splitlines() if line.startswith("│")]
    return {name.strip(): value.strip() for name, value in cells}


@pytest.mark.usefixtures("_nothing_left")
def test_what_is_acknowledged_is_in_a_journal_and_once_whoever_is_killed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.main(SLICE) == 0, capsys.readouterr().out
    said = capsys.readouterr().out
    found = rows(said)
    assert int(found["acknowledged"].replace(",", "")) >= 2_000
    assert (found["SIGKILL"], found["SIGTERM"]) == ("3", "1")
    assert "to the replacement's first handled message, max" in found
    for what in ("acknowledged messages lost", "messages handled twice"):
        assert found[what] == "0"
    again = f"python -m benchmarks.soak_processes {' '.join(SLICE)}"
    assert said.endswith(f"seed 7; again by: {again}\n")


@pytest.mark.usefixtures("_nothing_left")
def test_the_same_holds_on_an_engine_that_is_killed_meanwhile(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs.Plan, "server_faults", lambda plan: [KILL])
    monkeypatch.setattr(runs.Plan, "faults", lambda plan: ["kill"])
    arguments = ["--kills", "1", "--messages", "500", "--seed", "3", "--workers", "0"]
    assert command.main([*arguments, "--engine", "nats"]) == 0, capsys.readouterr().out
    found = rows(capsys.readouterr().out)
    assert (found["SIGKILL"], found["SIGKILL of a server, and start within 2 s"]) == ("1", "1")
    for what in ("acknowledged messages lost", "messages handled twice"):
        assert found[what] == "0"


def test_servers_are_of_an_engine(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--servers", "3"])
    assert "--servers is of an --engine" in capsys.readouterr().err


@pytest.mark.usefixtures("_nothing_left")
def test_a_journal_that_is_wrong_fails_the_soak(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def planted(folder: Path, *numbers: int | Iterable[int]) -> Audit:
        some = next(each for each in sorted(folder.glob("*.journal")) if each.stat().st_size)
        lines = some.read_bytes().splitlines(keepends=True)
        (folder / "planted.journal").write_bytes(lines[0])
        return audit(folder, *numbers)  # type: ignore[arg-type]

    monkeypatch.setattr(runs, "audit", planted)
    arguments = ["--kills", "0", "--messages", "200", "--workers", "0", "--nodes", "1"]
    assert command.main([*arguments, "--seed", "5"]) == 1
    said = capsys.readouterr().out
    assert "wrong: 1 handled twice: " in said
    assert "seed 5; again by: python -m benchmarks.soak_processes --kills 0" in said


def test_the_audit_finds_nothing_where_nothing_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a-1-1.journal").write_bytes(b"0\n2\n")
    (tmp_path / "b-1-1.journal").write_bytes(b"1\n4\n")
    found = audit(tmp_path, 6, acknowledged=[0, 1, 2], refused=[3])
    assert found.problems == []
    assert (found.journals, found.lines) == (2, 4)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (b"0\n1\n1\n", "1 handled twice: 1"),
        (b"0\n1\n8\n", "1 handled twice: 8"),
        (b"0\n", "1 acknowledged and lost: 1"),
        # Who was killed within `write` has not written it.
        (b"0\n1", "1 acknowledged and lost: 1"),
        (b"0\n1\n2\n", "1 refused and handled: 2"),
        (b"0\n1\n9\n", "1 never sent: b'9' in a-1-1.journal"),
        (b"0\n1\nx\n", "1 never sent: b'x' in a-1-1.journal"),
    ],
)
def test_the_audit_finds_what_is_wrong(lines: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "a-1-1.journal").write_bytes(lines)
    # Another process, or another incarnation, had one of them.
    (tmp_path / "a-2-1.journal").write_bytes(b"8\n")
    assert audit(tmp_path, 9, acknowledged=[0, 1], refused=[2]).problems == [problem]


def test_the_audit_names_ten_at_most(tmp_path: Path) -> None:
    (problem,) = audit(tmp_path, 100, acknowledged=range(50), refused=[]).problems
    assert problem == "50 acknowledged and lost: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ..."


def test_a_process_has_recovered_when_another_one_acknowledges() -> None:
    member = Member("n", is_worker=False)
    assert member.acknowledged(11, begun=1.0) is not None
    member.disturbed("kill", gone=11)
    # A reply of before is still on its way.
    assert member.acknowledged(11, begun=1.0) is None
    assert not member.is_up
    assert member.acknowledged(12, begun=1.0) is not None
    assert (member.is_up, member.pid) == (True, 12)


def test_a_process_that_was_stopped_has_recovered_when_it_acknowledges_what_was_sent_later() -> (
    None
):
    member = Member("n", is_worker=False)
    member.disturbed("pause", seconds=5.0)
    begun = member._since
    assert member.acknowledged(11, begun - 0.1) is None
    assert member.acknowledged(11, begun + 0.1) is not None
