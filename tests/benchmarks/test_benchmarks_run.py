"""The benchmarks run, and their table says what was measured. How fast, is no test."""

import re

import pytest

from benchmarks import __main__ as command
from benchmarks import worker
from benchmarks.harness import Benchmark, Failed, Result, Speed
from benchmarks.machine import Machine, this_machine
from benchmarks.report import COLUMNS, cells, markdown, quantity, summary
from benchmarks.workloads import BENCHMARKS, find
from benchmarks.workloads.memory import Memory
from benchmarks.workloads.spawning import plain_class, slots

MACHINE = Machine(
    cpu="A | CPU",
    cores=2,
    system="Linux x86_64",
    python="CPython 3.13.0",
    trio="0.35.0",
    commit="abc1234",
    date="2026-11-23 08:00 UTC",
)
REACHED = Result("tell", "tell, plain", "/s", 3.5e6, 0.56, 0.5, 0.6, 6.2e6, "deque loop", 0.5)
MISSED = Result("restart", "restart", "/s", 9.1e4, 0.0152, 0.01, 0.019, 6e6, "deque loop", 0.02)
INFORMATION = Result("ask", "ask, async", "/s", 99_900, 0.7, 0.65, 0.75, 140_000, "switches")
MEMORY = Result("memory", "memory", " bytes", 412.3, 412.3, 412.3, 412.3, reach=600, better="less")
BROKEN = Failed("fan", "fan", "MailboxFull: a | b")


#: Those that start other processes, or simulate: one size has to do, and of each kind one.
LONG = ("link", "nats", "recovery", "code-index", "simulation")
OF_EACH = ("link", "nats-ask", "recovery", "code-index", "simulation")


@pytest.mark.parametrize(
    ("benchmark_", "scale"),
    [
        pytest.param(
            benchmark,
            scale,
            id=f"{size}-{benchmark.name}",
            marks=[pytest.mark.long]
            if benchmark.name.startswith(LONG) and benchmark.name not in OF_EACH
            else [],
        )
        for benchmark in BENCHMARKS
        for size, scale in (("one", 1e-9), ("few", 1e-3))
        if size == "one" or not benchmark.name.startswith(LONG)
    ],
)
def test_each_workload_yields_positive_figures(benchmark_: Benchmark, scale: float) -> None:
    if isinstance(benchmark_, Memory):
        # Enough actors for the resident set to grow by whole pages.
        scale = 5_000 / benchmark_.count
    result = benchmark_.run(rounds=1, scale=scale)
    assert result.name == benchmark_.name
    assert result.figure > 0
    assert result.ratio > 0
    assert result.limit is None or result.limit > 0


def test_names_are_unique_and_found() -> None:
    assert [find(benchmark.name) for benchmark in BENCHMARKS] == list(BENCHMARKS)


def test_a_name_that_is_not_there_lists_those_that_are() -> None:
    with pytest.raises(LookupError, match=r"'tel'; there are: tell, "):
        find("tel")


def test_the_ratio_is_the_median_of_the_pairwise_ratios() -> None:
    speed = find("tell")
    assert isinstance(speed, Speed)
    # The second round ran on a machine three times as slow: its ratio is as good as the others.
    result = speed.result([(40.0, 100.0), (15.0, 30.0), (60.0, 100.0)])
    assert (result.ratio, result.low, result.high) == (0.5, 0.4, 0.6)
    assert (result.figure, result.limit) == (40.0, 100.0)


@pytest.mark.parametrize(
    ("row", "reached"), [(REACHED, True), (MISSED, False), (INFORMATION, None), (MEMORY, True)]
)
def test_reached(row: Result, reached: bool | None) -> None:
    assert row.reached is reached


def test_cells() -> None:
    assert cells(REACHED) == (
        "tell, plain",
        "3.50M/s",
        "deque loop",
        "6.20M/s",
        "0.56",
        "0.50-0.60",
        ">= 0.50",
        "yes",
    )
    assert cells(MISSED)[4:] == ("0.015", "0.010-0.019", ">= 0.02", "NO")
    assert cells(INFORMATION)[-2:] == ("-", "-")
    assert cells(MEMORY)[1:] == ("412 bytes", "-", "-", "-", "-", "<= 600 bytes", "yes")
    assert cells(BROKEN)[-1] == "failed: MailboxFull: a | b"
    assert all(len(cells(row)) == len(COLUMNS) for row in (REACHED, MISSED, MEMORY, BROKEN))


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (600, "600/s"),
        (1_031, "1.03k/s"),
        (12_345, "12.3k/s"),
        (187_400, "187k/s"),
        (5e6, "5.00M/s"),
    ],
)
def test_quantity(figure: float, text: str) -> None:
    assert quantity(figure, "/s") == text


def test_summary() -> None:
    assert summary([REACHED, MISSED, INFORMATION, MEMORY]) == "2 of 3 reached"
    assert summary([REACHED, BROKEN]) == "1 of 1 reached; 1 failed"


def test_markdown_has_the_facts_and_a_row_for_each() -> None:
    page = markdown([REACHED, MISSED, MEMORY, BROKEN], MACHINE, rounds=7)
    assert "- Machine: A | CPU, 2 cores, Linux x86_64\n" in page
    assert "- Versions: CPython 3.13.0, trio 0.35.0\n- Commit: abc1234\n" in page
    assert "- Date: 2026-11-23 08:00 UTC\n- Rounds: 7;" in page
    assert "2 of 3 reached; 1 failed.\n" in page
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 4
    # A bar inside a cell is escaped: each line has as many columns as the header.
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {len(COLUMNS) + 1}


def test_markdown_says_when_the_counts_were_small() -> None:
    assert "Rounds: 3 (quick: small counts);" in markdown([REACHED], MACHINE, 3, quick=True)


def test_this_machine_is_described() -> None:
    machine = this_machine()
    assert machine.cores >= 1
    assert machine.cpu
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", machine.date)


def test_a_benchmark_that_fails_in_its_process_becomes_a_row() -> None:
    class Missing:
        name = "missing"
        title = "a name that the process does not find"

        def run(self, *, rounds: int, scale: float = 1.0) -> Result:
            raise NotImplementedError

    row = worker.run_in_process(Missing(), rounds=1, scale=1.0)
    assert isinstance(row, Failed)
    assert "LookupError" in row.reason


def test_the_command_runs_one_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    written = command.RESULTS.exists() and command.RESULTS.stat().st_mtime_ns
    command.main(["--only", "tell", "--quick", "--rounds", "1"])
    assert "tell, plain handler" in capsys.readouterr().out
    assert (command.RESULTS.exists() and command.RESULTS.stat().st_mtime_ns) == written


@pytest.mark.parametrize("arguments", [["--only", "tel"], ["--rounds", "0"]])
def test_the_command_rejects_what_it_cannot_do(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        command.main(arguments)
    assert exit_.value.code == 2


def test_slots_count_those_of_all_bases() -> None:
    class Base:
        __slots__ = ("__weakref__", "one", "two")

    class Derived(Base):
        __slots__ = "three"

    assert slots(Derived) == 3
    assert slots(plain_class(12)(7).__class__) == 12
