"""The table, on the terminal and as Markdown."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from benchmarks.harness import Failed, Result, Row
from benchmarks.machine import Machine

COLUMNS = ("workload", "figure", "limit", "limit's figure", "ratio", "range", "to reach", "reached")
#: The columns of numbers, set to the right.
NUMBERS = ("figure", "limit's figure", "ratio", "range", "to reach")


def cells(row: Row) -> tuple[str, ...]:
    """The texts of `row`, one for each of `COLUMNS`."""
    if isinstance(row, Failed):
        return (row.title, "-", "-", "-", "-", "-", "-", f"failed: {row.reason}")
    return (
        row.title,
        quantity(row.figure, row.unit),
        row.limit_title or "-",
        "-" if row.limit is None else quantity(row.limit, row.unit),
        *_ratio(row),
        {True: "yes", False: "NO", None: "-"}[row.reached],
    )


def _ratio(row: Result) -> tuple[str, str, str]:
    sign = "<=" if row.better == "less" else ">="
    if row.limit is None:
        return "-", "-", "-" if row.reach is None else f"{sign} {quantity(row.reach, row.unit)}"
    digits = 3 if row.ratio < 0.1 else 2
    return (
        f"{row.ratio:.{digits}f}",
        f"{row.low:.{digits}f}-{row.high:.{digits}f}",
        "-" if row.reach is None else f"{sign} {row.reach:.2f}",
    )


def quantity(figure: float, unit: str) -> str:
    """`figure` with its unit, in three digits: 5.21M/s, 187k/s, 412 bytes."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if figure >= size:
            scaled = figure / size
            digits = 2 if scaled < 10 else 1 if scaled < 100 else 0
            return f"{scaled:.{digits}f}{letter}{unit}"
    return f"{figure:.0f}{unit}"


def summary(rows: Sequence[Row]) -> str:
    """How many of the ratios to reach are reached, in one line."""
    verdicts = [row.reached for row in rows if isinstance(row, Result)]
    wanted = [reached for reached in verdicts if reached is not None]
    failed = sum(isinstance(row, Failed) for row in rows)
    line = f"{sum(wanted)} of {len(wanted)} reached"
    return f"{line}; {failed} failed" if failed else line


def terminal_table(rows: Sequence[Row], title: str = "") -> Table:
    """The table for rich: what is not reached stands out."""
    table = Table(title=title or None, title_justify="left")
    for column in COLUMNS:
        number = column in NUMBERS
        table.add_column(column, justify="right" if number else "left", no_wrap=number)
    for row in rows:
        *texts, verdict = cells(row)
        reached = False if isinstance(row, Failed) else row.reached
        style = {True: "green", False: "bold red", None: "dim"}[reached]
        table.add_row(*texts, Text(verdict, style=style), style="dim" if reached is None else "")
    return table


def markdown(rows: Sequence[Row], machine: Machine, rounds: int, *, quick: bool = False) -> str:
    """The same table as a Markdown page, under the facts of the machine."""
    facts = [
        f"- Machine: {machine.cpu}, {machine.cores} cores, {machine.system}",
        f"- Versions: {machine.python}, trio {machine.trio}",
        f"- Commit: {machine.commit or 'unknown'}",
        f"- Date: {machine.date}",
        f"- Rounds: {rounds}{' (quick: small counts)' if quick else ''}; "
        "the garbage collector is on, as for any user",
    ]
    header = "| " + " | ".join(COLUMNS) + " |"
    rule = "|" + "|".join("--:" if column in NUMBERS else "---" for column in COLUMNS) + "|"
    lines = ["| " + " | ".join(_escape(text) for text in cells(row)) + " |" for row in rows]
    return "\n".join(
        [
            "# Results",
            "",
            "Written by `python -m benchmarks`; `README.md` beside this file says how to read it.",
            "",
            *facts,
            "",
            header,
            rule,
            *lines,
            "",
            f"{summary(rows)}.",
            "",
        ]
    )


def _escape(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
