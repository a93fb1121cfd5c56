"""What a person reads at the end."""

from collections.abc import Iterable, Mapping
from itertools import islice

import attrs
from rich.console import Console
from rich.table import Table
from rich.text import Text

from actors import DeadLetterReason, Ledger
from examples.code_index.facts import Location, Totals
from examples.code_index.options import Options

LONGEST_LIST = 5


@attrs.frozen
class Answers:
    """Three questions, and what the index answered. A question is None where nobody knew one."""

    name: str | None
    defined: tuple[Location, ...]
    module: str | None
    importers: tuple[str, ...]
    most_used: tuple[tuple[str, int], ...]


@attrs.frozen
class Report:
    """All that the report shows.

    seconds: from the start to the last file. redelivered: how often a file was given out again.
    ledger: of this process. workers: of the worker processes together, as far as they live: what
    one had counted that was killed is lost with it. dead: the dead letters of this process.
    """

    options: Options
    totals: Totals
    seconds: float
    answers: Answers
    redelivered: int
    ledger: Ledger
    workers: Ledger | None
    dead: Mapping[DeadLetterReason, int]


def print_report(console: Console, report: Report) -> None:
    """Print the report, for a terminal or for a file."""
    console.rule(Text(f"index of {printable(report.options.root)}"))
    console.print(_numbers(report))
    _print_problems(console, report)
    _print_answers(console, report.answers)
    _heading(console, "Where every message ended")
    console.print(_ledgers(report))


def printable(text: str) -> str:
    """The text on one line: control characters and undecodable bytes of file names as escapes."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _numbers(report: Report) -> Table:
    totals, ledger = report.totals, report.ledger
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", style="bold")
    table.add_column()
    rows = [
        (f"{totals.files:,}", "files"),
        (f"{totals.lines:,}", "lines"),
        (f"{totals.functions:,}", "functions"),
        (f"{totals.classes:,}", "classes"),
        (f"{totals.imports:,}", "imports"),
        (f"{len(totals.problems):,}", "could not be indexed"),
        (f"{report.seconds:.1f}", f"seconds, {_where(report.options)}"),
        (f"{ledger.handled:,}", "messages handled"),
        (f"{ledger.restarts:,}", f"restarts{_again(report.options)}"),
        (f"{report.redelivered:,}", "files given out again"),
    ]
    for number, meaning in rows:
        table.add_row(number, meaning)
    return table


def _where(options: Options) -> str:
    if not options.workers:
        return f"with {options.indexers} indexers"
    over = " over NATS" if options.engine else ""
    return f"with {options.indexers} indexers in each of {options.workers} worker processes{over}"


def _again(options: Options) -> str:
    """The options that give the same crashes again."""
    given = {"--chaos": options.chaos, "--kill": options.kill, "--freeze": options.freeze}
    words = [f"{option} {value:g}" for option, value in given.items() if value]
    return f" (again: {' '.join(words)} --seed {options.seed})" if words else ""


def _print_problems(console: Console, report: Report) -> None:
    if report.totals.problems:
        _heading(console, "Could not be indexed")
    for problem in report.totals.problems:
        _line(console, f"{printable(problem.path)}: {printable(problem.reason)}")


def _print_answers(console: Console, answers: Answers) -> None:
    if answers.name is not None:
        places = (f"{printable(each.path)}:{each.line} ({each.kind})" for each in answers.defined)
        _heading(console, f"Where is {printable(answers.name)} defined?")
        _list(console, places, len(answers.defined), if_empty="nowhere")
    if answers.module is not None:
        _heading(console, f"Who imports {printable(answers.module)}?")
        importers = map(printable, answers.importers)
        _list(console, importers, len(answers.importers), if_empty="nobody")
    _heading(console, f"The {len(answers.most_used)} most used names")
    _line(console, ", ".join(f"{name} {count:,}" for name, count in answers.most_used))


def _ledgers(report: Report) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("")
    columns = {"in this process": report.ledger}
    if report.workers:
        columns["in the workers"] = report.workers
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for outcome in (*(field.name for field in attrs.fields(Ledger)), "missing"):
        if outcome != "restarts":
            numbers = (f"{getattr(ledger, outcome):,}" for ledger in columns.values())
            table.add_row(outcome.replace("_", " "), *numbers)
    for reason, count in report.dead.items():
        table.add_row(f"dead, as {reason.value}", f"{count:,}")
    return table


def _heading(console: Console, text: str) -> None:
    console.print(Text(f"\n{text}", style="bold"), soft_wrap=True)


def _list(console: Console, lines: Iterable[str], count: int, if_empty: str) -> None:
    for line in islice(lines, LONGEST_LIST):
        _line(console, line)
    if count > LONGEST_LIST:
        _line(console, f"and {count - LONGEST_LIST:,} more")
    elif not count:
        _line(console, if_empty)


def _line(console: Console, text: str) -> None:
    # Text, not str: a file name may look like markup. Soft wrap: one line stays one line in a file.
    console.print(Text(f"  {text}"), soft_wrap=True)
