"""The command; see the package."""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import trio
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from benchmarks.soak_processes.engine import FREEZE, KILL
from benchmarks.soak_processes.run import REFUSED, UNKNOWN, Plan, Report, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it as told, and print the account. The exit status is 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak_processes")
    parser.add_argument("--kills", type=int, default=200, help="SIGKILLs")
    parser.add_argument("--messages", type=int, default=200_000, help="acknowledged, at least")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2, help="worker processes")
    parser.add_argument("--nodes", type=int, default=2, help="processes of their own, on TCP")
    parser.add_argument("--engine", choices=["nats"], help="by which all processes meet")
    parser.add_argument("--servers", type=int, help="of the engine: 1, or a cluster of so many")
    options = {k: v for k, v in vars(parser.parse_args(arguments)).items() if v is not None}
    if "servers" in options and "engine" not in options:
        parser.error("--servers is of an --engine")
    plan = Plan(**options)
    again = " ".join(f"--{name} {value}" for name, value in options.items())
    again = f"seed {plan.seed}; again by: python -m benchmarks.soak_processes {again}"
    console = Console(width=None if sys.stdout.isatty() else 100)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as folder,
        Progress(*columns, console=console, transient=True) as progress,
    ):
        kills = progress.add_task("SIGKILLs", total=plan.kills)
        messages = progress.add_task("acknowledged", total=plan.messages)

        def say(report: Report) -> None:
            progress.update(kills, completed=report.faults["kill"])
            progress.update(messages, completed=report.acknowledged)

        try:
            report = trio.run(run, Path(folder), plan, say)
        except BaseException:
            print(again)
            raise
    console.print(account(report))
    for problem in report.problems:
        print(f"wrong: {problem}")
    print(again)
    return 1 if report.problems else 0


def account(report: Report) -> Table:
    """What there was, of each kind."""
    found = report.audit
    assert found is not None
    table = Table("what", "how many")
    table.add_row("messages sent, each once", f"{report.sent:,}")
    table.add_row("acknowledged", f"{report.acknowledged:,}")
    table.add_row("of unknown outcome", f"{len(report.numbers(UNKNOWN)):,}")
    table.add_row("refused: certainly not handled", f"{len(report.numbers(REFUSED)):,}")
    for kind, count in sorted(report.kinds.items()):
        table.add_row(f"  {kind}", f"{count:,}")
    for name, count in report.faults.items():
        table.add_row(NAMES[name], f"{count:,}")
    for kind, times in sorted(report.recovery.items()):
        if kind in (KILL, FREEZE):
            table.add_row(f"{kind}, to the next acknowledgement of each process", f"{len(times):,}")
            for name, seconds in percentiles(times).items():
                table.add_row(f"  {name}", seconds)
            continue
        table.add_row(f"SIGKILL of a {kind}", f"{len(times):,}")
        for name, seconds in percentiles(times).items():
            table.add_row(f"  to the replacement's first handled message, {name}", seconds)
    table.add_row("journals", f"{found.journals:,}")
    table.add_row("messages in the journals", f"{found.lines:,}")
    table.add_row("acknowledged messages lost", f"{len(found.lost):,}")
    table.add_row("messages handled twice", f"{len(found.twice):,}")
    table.add_row("refused messages handled", f"{len(found.refused):,}")
    table.add_row("duration", f"{report.seconds:.0f} s")
    return table


def percentiles(seconds: Sequence[float]) -> dict[str, str]:
    """As text, by name."""
    ranks = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    ordered = sorted(seconds)
    values = {name: ordered[math.ceil(rank * len(ordered)) - 1] for name, rank in ranks.items()}
    return {name: f"{1_000 * value:.0f} ms" for name, value in values.items()}


NAMES = {
    "kill": "SIGKILL",
    "terminate": "SIGTERM",
    "pause": "SIGSTOP, and SIGCONT within 0.8 s",
    "freeze": "SIGSTOP for 4 s, which is too long, and SIGCONT",
    KILL: "SIGKILL of a server, and start within 2 s",
    FREEZE: "SIGSTOP of a server for 7 s, which is too long, and SIGCONT",
}


if __name__ == "__main__":
    sys.exit(main())
