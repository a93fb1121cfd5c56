"""The code index: the actors' index equals a plain loop's, whatever crashes on the way."""

import os
import subprocess
import sys
import sysconfig
import traceback
from collections import Counter
from io import StringIO
from pathlib import Path

import pytest
import trio
import trio.testing
from click.testing import CliRunner, Result
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from actors import Actor, ActorSystem, Env
from actors.testing import crash_every_step
from examples.code_index import main
from examples.code_index.chaos import MOMENTS, Chaos, PlannedCrash
from examples.code_index.command import index_folder
from examples.code_index.facts import FileFacts, Problem, Snapshot
from examples.code_index.index import Index
from examples.code_index.indexer import Indexer
from examples.code_index.indexers import Indexers
from examples.code_index.indexing_job import IndexJob
from examples.code_index.messages import (
    FilesFound,
    FindFiles,
    Finished,
    IndexFile,
    Ready,
    TakeSnapshot,
)
from examples.code_index.options import Options
from examples.code_index.paths import native, portable
from examples.code_index.reading import read_facts
from examples.code_index.report import Report, print_report, printable
from examples.code_index.verify import differences, index_by_loop
from examples.code_index.walking import find_files
from examples.code_index.work_queue import WorkQueue
from supervision import OneForOne

GOOD_FILES = {
    "empty.py": b"",
    "shapes.py": (
        b"import math\nimport os.path as p\n\n"
        b"class Circle:\n    def area(self):\n        return math.pi * self.r ** 2\n\n"
        b"async def draw(circle):\n    return circle.area()\n"
    ),
    "latin.py": "# coding: latin-1\nname = 'café'\ndef café(): pass\n".encode("latin-1"),
    "bom.py": b"\xef\xbb\xbfdef marked(): pass\ndef draw(): pass\n",
    "warns.py": b'import re\npattern = "\\d"\nx = 1 is 1\n',
    "windows.py": b"import sys\r\nprint(sys.argv)\r\n",
    "[bold]odd[/bold] name.py": b"def odd(): return odd\n",
    "pkg/__init__.py": b"from . import one\nfrom .two import thing\n",
    "pkg/one.py": b"from .. import outside\nfrom .two import thing as other\n",
    "pkg/two.py": b"def thing(): return thing\nclass thing: pass\n",
    "pkg/deep/three.py": b"from ..two import thing\nfrom ... import far\nimport pkg.two\n",
}
BAD_FILES = {
    "bad/syntax.py": (b"def broken(:\n", "cannot parse"),
    "bad/[red]markup[/red].py": (b"class:\n", "cannot parse"),
    "bad/nulls.py": (b"x = 1\0\n", "null bytes"),
    "bad/utf8.py": (b'x = "\xff\xfe"\n', "codec can't decode"),
    "bad/cookie.py": (b"# coding: no-such-code\nx = 1\n", "no-such-code"),
    "bad/deep.py": (b"x = " + b"(" * 5000 + b")" * 5000 + b"\n", "cannot parse"),
}
NOT_INDEXED = {
    ".hidden/secret.py": b"def secret(): pass\n",
    "__pycache__/cached.py": b"def cached(): pass\n",
    "site-packages/installed.py": b"def installed(): pass\n",
    "env/pyvenv.cfg": b"home = /\n",
    "env/lib/inside.py": b"def inside(): pass\n",
    "notes.txt": b"def text(): pass\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> str:
    """A small folder with everything that can be odd about source files."""
    root = tmp_path / "tree"
    bad = {path: source for path, (source, _) in BAD_FILES.items()}
    for path, source in {**GOOD_FILES, **bad, **NOT_INDEXED}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(source)
    for number in range(60):
        source = f"import os\ndef f{number}(): return os.sep, {'x + ' * number}x\n"
        (root / f"many{number}.py").write_text(source)
    (root / "gone.py").symlink_to(root / "nowhere.py")
    (root / "loop").symlink_to(root, target_is_directory=True)
    os.mkfifo(root / "pipe.py")
    return str(root)


def run_trouper(*args: str) -> Result:
    return CliRunner().invoke(main, args)


async def index(root: str, **options: object) -> tuple[Report, Snapshot]:
    report, snapshot = await index_folder(Options(root, snapshot=True, **options))  # type: ignore[arg-type]
    assert snapshot is not None
    return report, snapshot


# --- equality with the plain loop


@pytest.mark.parametrize("indexers", [1, 4, 50])
async def test_the_index_of_a_small_tree_equals_the_plain_loops(tree: str, indexers: int) -> None:
    report, snapshot = await index(tree, indexers=indexers)
    assert snapshot == index_by_loop(tree)
    assert report.totals.files == len(GOOD_FILES) + 60
    assert report.ledger.restarts == 0


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("rate", [0.1, 0.7])
async def test_crashing_indexers_do_not_change_the_index(tree: str, rate: float, seed: int) -> None:
    report, snapshot = await index(tree, chaos=rate, seed=seed)
    assert snapshot == index_by_loop(tree)
    assert report.ledger.restarts > 0
    assert report.ledger.failed == report.ledger.restarts == report.redelivered
    assert report.ledger.missing == 0


async def test_a_single_indexer_that_crashes_again_and_again_gets_it_done(tree: str) -> None:
    report, snapshot = await index(tree, indexers=1, chaos=0.95, seed=1)
    assert snapshot == index_by_loop(tree)
    assert report.ledger.restarts > 500


@pytest.fixture(scope="module")
def standard_library() -> tuple[str, Snapshot]:
    root = sysconfig.get_path("stdlib")
    return root, index_by_loop(root)


@pytest.mark.parametrize("rate", [0.0, 0.2])
async def test_the_index_of_a_real_package_equals_the_plain_loops(rate: float) -> None:
    root = os.path.join(sysconfig.get_path("stdlib"), "email")
    report, snapshot = await index(root, chaos=rate, seed=11)
    assert snapshot == index_by_loop(root)
    assert report.totals.files > 20
    assert (report.ledger.restarts > 0) == (rate > 0)
    assert report.ledger.missing == report.ledger.queued == report.ledger.in_flight == 0


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("rate", [0.0, 0.2])
async def test_the_index_of_the_standard_library_equals_the_plain_loops(
    standard_library: tuple[str, Snapshot], rate: float
) -> None:
    root, expected = standard_library
    report, snapshot = await index(root, chaos=rate, seed=11)
    assert snapshot == expected
    assert report.totals.files > 500
    assert (report.ledger.restarts > 50) == (rate > 0)
    assert report.ledger.missing == report.ledger.queued == report.ledger.in_flight == 0


def test_the_index_is_equal_whichever_step_an_indexer_crashes_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pkg").mkdir()
    for path in ("empty.py", "shapes.py", "pkg/one.py", "pkg/two.py"):
        (tmp_path / path).write_bytes(GOOD_FILES[path])
    (tmp_path / "broken.py").write_bytes(b"def broken(:")
    root = str(tmp_path)
    expected = index_by_loop(root)

    # What crashes it is no crash that was planned, and is to be survived all the same.
    monkeypatch.setattr(Indexers, "strategy", OneForOne(max_restarts=None))

    async def app(env: Env) -> Snapshot:
        async with ActorSystem("code_index", env=env) as system:
            options = Options(root, indexers=2)
            job = await system.start(IndexJob, options, Console(file=StringIO()), name="job")
            await job.ask(Finished(), timeout=None)
            return await job.ask(TakeSnapshot())

    def equal(snapshot: Snapshot) -> bool:
        return not differences(snapshot, expected)

    survived = crash_every_step(app, Indexer, invariant=equal)
    assert survived.messages == survived.replies == 5


async def test_an_empty_folder_makes_an_empty_index(tmp_path: Path) -> None:
    report, snapshot = await index(str(tmp_path))
    assert snapshot == index_by_loop(str(tmp_path)) == Snapshot((), (), (), (), ())
    assert report.totals.files == 0


def test_unequal_indexes_are_told_apart_with_examples(tree: str) -> None:
    expected = index_by_loop(tree)
    one_less = Index()
    for found in find_files(tree):
        if found != "pkg/two.py":
            one_less.add(found if isinstance(found, Problem) else read_facts(tree, found))
    found_differences = differences(one_less.snapshot(), expected)
    assert found_differences[0].startswith("lines: 1 missing, 0 surplus (('pkg/two.py', 2)")
    assert differences(expected, expected) == []


def test_a_file_reported_twice_counts_once_and_order_does_not_matter(tree: str) -> None:
    findings = [read_facts(tree, found) for found in find_files(tree) if isinstance(found, str)]
    forward, backward = Index(), Index()
    for each in findings:
        forward.add(each)
    for each in [*reversed(findings), *findings]:
        backward.add(each)
    assert forward.snapshot() == backward.snapshot()


# --- chaos


def test_the_same_seed_plans_the_same_crashes_and_another_seed_others() -> None:
    def crashes(seed: int) -> list[str]:
        chaos, found = Chaos(0.3, seed), []
        for path in (f"file{number}.py" for number in range(200)):
            for moment in MOMENTS:
                try:
                    chaos.strike(moment, path, attempt=1)
                except PlannedCrash as crash:
                    found.append(str(crash))
        return found

    assert crashes(7) == crashes(7) != crashes(8)
    assert 30 <= len(crashes(7)) <= 90
    struck = Counter(crash.rpartition(": ")[2] for crash in crashes(7))
    assert sorted(struck) == sorted(MOMENTS)
    assert max(Counter(crash.partition(",")[0] for crash in crashes(7)).values()) == 1


async def test_the_same_seed_gives_the_same_failures_with_any_number_of_indexers(
    tree: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Indexers.child_failed

    async def failures(seed: int, indexers: int) -> list[str]:
        seen: list[str] = []

        def child_failed(self, child, failure):  # type: ignore[no-untyped-def]
            seen.append(str(failure.exception))
            return original(self, child, failure)

        monkeypatch.setattr(Indexers, "child_failed", child_failed)
        await index(tree, indexers=indexers, chaos=0.5, seed=seed)
        return sorted(seen)

    first = await failures(seed=3, indexers=1)
    assert first
    assert first == await failures(seed=3, indexers=8)
    assert first != await failures(seed=4, indexers=8)


async def test_a_defect_that_was_not_planned_ends_the_job_with_its_cause(
    tree: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(root: str, path: str) -> FileFacts:
        raise ZeroDivisionError(path)

    monkeypatch.setattr("examples.code_index.indexer.read_facts", explode)
    with pytest.raises(ExceptionGroup) as caught:
        await index(tree)
    defects = caught.value.subgroup(ZeroDivisionError)
    assert defects is not None
    assert "".join(traceback.format_exception(defects)).count("ZeroDivisionError: ") == 1
    assert "actor://code_index/job/indexers/indexer-" in "".join(
        traceback.format_exception(defects)
    )


# --- the queue


class Probe(Actor):
    """Remembers what it is told."""

    def __init__(self, seen: list[object]) -> None:
        self.seen = seen

    def receive(self, message: object) -> None:
        if message == "crash":
            raise RuntimeError(message)
        self.seen.append(message)


async def until(condition, seconds: float = 5.0) -> None:  # type: ignore[no-untyped-def]
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.001)


async def test_the_queue_asks_for_no_more_files_than_it_has_room_for() -> None:
    asked: list[FindFiles] = []
    given: list[IndexFile] = []
    async with ActorSystem("test") as system:
        crawler = system.spawn(Probe, asked)
        queue = system.spawn(WorkQueue, crawler, 10)
        indexer = system.spawn(Probe, given)
        queue.tell(Ready(indexer))
        await until(lambda: asked)
        queue.tell(Ready(system.spawn(Probe, [])))
        await trio.testing.wait_all_tasks_blocked()
        assert [each.count for each in asked] == [10], "asked once, until there is an answer"
        queue.tell(FilesFound(tuple(f"{number}.py" for number in range(10)), more=True))
        await until(lambda: given)
        for handed in range(1, 4):
            assert len(asked) == 1, "half of the room is not free yet"
            queue.tell(Ready(indexer))
            await until(lambda handed=handed: len(given) == handed + 1)
        await until(lambda: len(asked) == 2)
        assert asked[1].count == 5


async def test_what_a_crashed_indexer_held_goes_to_an_idle_one_as_the_next_attempt() -> None:
    asked: list[object] = []
    first: list[object] = []
    second: list[object] = []
    async with ActorSystem("test") as system:
        crawler = system.spawn(Probe, asked)
        queue = system.spawn(WorkQueue, crawler, 10)
        crashing, idle = system.spawn(Probe, first), system.spawn(Probe, second)
        queue.tell(Ready(crashing))
        queue.tell(FilesFound(("one.py", "two.py"), more=False))
        await until(lambda: first)
        crashing.tell("crash")
        await trio.testing.wait_all_tasks_blocked()
        queue.tell(Ready(idle))
        await until(lambda: second)
        queue.tell(Ready(idle))
        await until(lambda: len(second) == 2)
        assert first == [IndexFile("one.py", 1)]
        assert second == [IndexFile("one.py", 2), IndexFile("two.py", 1)]


# --- what a file says


def test_definitions_imports_and_uses_of_a_file_are_found(tree: str) -> None:
    facts = read_facts(tree, "shapes.py")
    assert isinstance(facts, FileFacts)
    assert facts.lines == 9
    assert {(each.name, each.kind, each.line) for each in facts.definitions} == {
        ("Circle", "class", 4),
        ("area", "function", 5),
        ("draw", "function", 8),
    }
    assert sorted(facts.imports) == ["math", "os.path"]
    assert facts.uses == {"math": 1, "pi": 1, "self": 1, "r": 1, "circle": 1, "area": 1}


@pytest.mark.parametrize(
    ("path", "imports"),
    [
        ("pkg/__init__.py", ["pkg", "pkg.two"]),
        ("pkg/one.py", ["..", "pkg.two"]),
        ("pkg/deep/three.py", ["...", "pkg.two", "pkg.two"]),
    ],
)
def test_relative_imports_are_told_by_absolute_names_inside_the_tree(
    tree: str, path: str, imports: list[str]
) -> None:
    facts = read_facts(tree, path)
    assert isinstance(facts, FileFacts)
    assert sorted(facts.imports) == imports


@pytest.mark.parametrize(("path", "reason"), [(path, why) for path, (_, why) in BAD_FILES.items()])
def test_a_file_that_cannot_be_parsed_is_a_problem_told_in_one_line(
    tree: str, path: str, reason: str
) -> None:
    found = read_facts(tree, path)
    assert isinstance(found, Problem)
    assert reason in found.reason
    assert "\n" not in found.reason


def test_files_that_cannot_be_read_are_problems_and_a_named_pipe_does_not_hang(tree: str) -> None:
    assert read_facts(tree, "gone.py") == Problem(
        "gone.py", "cannot read the file: No such file or directory"
    )
    assert read_facts(tree, "pipe.py") == Problem(
        "pipe.py", "cannot read the file: not a regular file"
    )


def test_the_walk_is_sorted_ends_in_a_loop_of_links_and_skips_what_is_not_source(tree: str) -> None:
    found = list(find_files(tree))
    expected = {*GOOD_FILES, *BAD_FILES, "gone.py", "pipe.py"} | {f"many{n}.py" for n in range(60)}
    assert set(found) == expected
    assert len(found) == len(expected)
    assert found == list(find_files(tree))


def test_a_folder_that_cannot_be_listed_is_a_problem_and_the_walk_goes_on(
    tree: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refuse(path: str):  # type: ignore[no-untyped-def]
        if os.path.basename(path) == "pkg":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # chmod would not stop a test that runs as root
    found = list(find_files(tree))
    assert Problem("pkg", "cannot list the folder: Permission denied") in found
    assert "shapes.py" in found
    assert "pkg/one.py" not in found


async def test_a_folder_that_cannot_be_listed_is_in_the_actors_index_too(
    tree: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refuse(path: str):  # type: ignore[no-untyped-def]
        if os.path.basename(path) in {"pkg", "bad"}:
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    report, snapshot = await index(tree)
    assert snapshot == index_by_loop(tree)
    assert Problem("pkg", "cannot list the folder: Permission denied") in report.totals.problems


async def test_a_file_name_that_is_not_utf8_is_indexed_and_printed(tmp_path: Path) -> None:
    with open(os.path.join(os.fsencode(tmp_path), b"caf\xe9.py"), "w") as file:
        file.write("def broken(:\n")
    report, snapshot = await index(str(tmp_path), chaos=0.5, seed=1)
    assert snapshot == index_by_loop(str(tmp_path))
    assert r"caf\xe9.py: cannot parse" in printed(report)


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name))
@example(rb"\xe9 and \\ and \\xe9")
@example(b"caf\xe9")
def test_every_file_name_comes_back_from_its_portable_form(name: bytes) -> None:
    path = os.fsdecode(name)
    assert native(portable(path)) == path
    portable(path).encode("utf-8")


# --- the report


def printed(report: Report) -> str:
    out = StringIO()
    print_report(Console(file=out, width=100, highlight=False), report)
    text = out.getvalue()
    text.encode("utf-8")
    return text


async def test_the_report_says_everything_a_person_wants_to_know(tree: str) -> None:
    report, _ = await index(tree, chaos=0.3, seed=5, where="thing", imports="pkg.two")
    lines = [" ".join(line.split()) for line in printed(report).splitlines()]
    text = "\n".join(lines)
    assert f"{len(GOOD_FILES) + 60} files" in lines
    assert f"{len(BAD_FILES) + 2} could not be indexed" in lines
    assert f"{report.ledger.handled:,} messages handled" in lines
    assert f"{report.ledger.restarts} restarts (again: --chaos 0.3 --seed 5)" in lines
    assert f"{report.redelivered} files given out again" in lines
    assert "gone.py: cannot read the file: No such file or directory" in lines
    for path, (_, reason) in BAD_FILES.items():
        assert any(line.startswith(f"{path}: ") and reason in line for line in lines)
    assert "Where is thing defined?\npkg/two.py:1 (function)\npkg/two.py:2 (class)\n" in text
    importers = "pkg/__init__.py\npkg/deep/three.py\npkg/one.py\n"
    assert f"Who imports pkg.two?\n{importers}" in text
    assert "The 10 most used names\nx 1,830, os 60, sep 60" in text
    assert "missing" in text


async def test_without_a_question_the_report_asks_what_has_an_answer(tree: str) -> None:
    report, _ = await index(tree)
    assert report.answers.name == "area"
    assert report.answers.module == "os"
    assert len(report.answers.importers) == 60
    assert "and 55 more" in printed(report)


async def test_a_question_without_an_answer_is_answered_so(tree: str) -> None:
    report, _ = await index(tree, where="nothing_like_it", imports="no.such.module")
    text = printed(report)
    assert "Where is nothing_like_it defined?\n  nowhere\n" in text
    assert "Who imports no.such.module?\n  nobody\n" in text


def test_a_name_with_control_characters_is_printed_on_one_line() -> None:
    assert printable("a\nb\x1b[31mc\udce9 café") == r"a\nb\x1b[31mc\udce9 café"


async def test_the_progress_bar_shows_on_a_terminal_and_ends_complete(tree: str) -> None:
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=120)
    async with ActorSystem("test") as system:
        job = await system.start(IndexJob, Options(tree, indexers=2), console)
        totals = await job.ask(Finished())
    done = totals.files + len(totals.problems)
    assert f"{done}/{done}" in out.getvalue()
    assert "100%" in out.getvalue()


# --- the command


def test_the_command_prints_the_report_and_verifies(tree: str) -> None:
    result = run_trouper(tree, "--workers", "0", "--chaos", "0.2", "--seed", "3", "--verify")
    assert result.exit_code == 0, result.output
    assert "verify: equal to the index of a plain loop" in result.stdout
    assert "messages handled" in result.stdout


def test_verify_exits_with_1_when_the_indexes_differ(
    tree: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = Index().snapshot()
    monkeypatch.setattr("examples.code_index.command.index_by_loop", lambda root: nothing)
    result = run_trouper(tree, "--workers", "0", "--verify")
    assert result.exit_code == 1
    assert "verify: NOT equal to the index of a plain loop" in result.stdout
    assert "verify: lines: 0 missing, 71 surplus" in result.stderr


@pytest.mark.parametrize(
    ("path", "why"), [("missing", "No such file or directory"), ("file.py", "Not a directory")]
)
def test_a_path_that_is_no_folder_is_one_clear_line_and_exit_code_2(
    tmp_path: Path, path: str, why: str
) -> None:
    (tmp_path / "file.py").write_text("")
    result = run_trouper(str(tmp_path / path))
    assert result.exit_code == 2
    assert result.stderr == f"Error: cannot index {str(tmp_path / path)!r}: {why}\n"
    assert result.stdout == ""


@pytest.mark.parametrize("args", [["--chaos", "1"], ["--workers", "-1"], ["--kill", "0"]])
def test_options_out_of_range_are_refused(tmp_path: Path, args: list[str]) -> None:
    result = run_trouper(str(tmp_path), *args)
    assert result.exit_code == 2
    assert "is not in the range" in result.stderr


def test_to_kill_processes_there_must_be_some(tmp_path: Path) -> None:
    result = run_trouper(str(tmp_path), "--workers", "0", "--kill", "10")
    assert result.exit_code == 2
    assert "--kill and --freeze need worker processes" in result.stderr


def test_the_module_runs_as_a_program_and_shows_no_warnings(tree: str, repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "always", "-m", "examples.code_index", tree, "--seed", "1"],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "index of" in done.stdout
