"""``python -m benchmarks``: run the benchmarks, show the table, write `RESULTS.md`.

The exit status says whether the benchmarks could be run as asked, not what they measured: the
timing of a busy machine is no test. It is 0 also when a ratio is not reached.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live

from benchmarks.harness import Benchmark, Row
from benchmarks.machine import this_machine
from benchmarks.report import markdown, summary, terminal_table
from benchmarks.worker import run_in_process
from benchmarks.workloads import BENCHMARKS, find

RESULTS = Path(__file__).parent / "RESULTS.md"
#: Rounds, and the factor on all counts: of a full run and of a quick one.
FULL = (7, 1.0)
QUICK = (3, 0.2)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    names = ", ".join(benchmark.name for benchmark in BENCHMARKS)
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the runtime against limits in plain Python, in the same run.",
    )
    made.add_argument(
        "--only",
        action="append",
        type=_benchmark,
        metavar="NAME",
        help=f"run this benchmark; may be given more than once. Names: {names}",
    )
    made.add_argument("--quick", action="store_true", help="small counts, 3 rounds: rough figures")
    made.add_argument(
        "--rounds", type=_positive, metavar="N", help="pairs of samples for each (default: 7)"
    )
    made.add_argument("--no-write", action="store_true", help="leave RESULTS.md as it is")
    return made


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least one round")
    return number


def _benchmark(name: str) -> Benchmark:
    try:
        return find(name)
    except LookupError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what `arguments` (by default the command line's) ask for."""
    options = parser().parse_args(arguments)
    rounds, scale = QUICK if options.quick else FULL
    rounds = options.rounds or rounds
    chosen: Sequence[Benchmark] = options.only or BENCHMARKS
    # Into a file or a pipe there is no width to fit, and a folded table is hard to read.
    console = Console(width=None if sys.stdout.isatty() else 150)
    rows: list[Row] = []
    # Refreshed by hand: a refreshing thread would take time from what is measured.
    with Live(console=console, auto_refresh=False, transient=True) as live:
        for benchmark in chosen:
            live.update(terminal_table(rows, f"measuring: {benchmark.title}"), refresh=True)
            rows.append(run_in_process(benchmark, rounds=rounds, scale=scale))
    console.print(terminal_table(rows), summary(rows), sep="\n")
    # A part of the table would replace the whole one.
    if not options.no_write and not options.only:
        RESULTS.write_text(
            markdown(rows, this_machine(), rounds, quick=options.quick), encoding="utf-8"
        )
        console.print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
