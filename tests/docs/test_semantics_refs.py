"""What docs/semantics.md says about the code, compared with it: tests, states and reasons.

Also the tests that docs/reliability.md names.
"""

import ast
import re
from pathlib import Path

import pytest

from actors import DeadLetterReason
from actors.states import TRANSITIONS

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "semantics.md").read_text(encoding="utf-8")
RELIABILITY = (REPOSITORY / "docs" / "reliability.md").read_text(encoding="utf-8")
REFERENCE = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
PROMISE = re.compile(r"^### (\d+)\. .*?\n(.*?)(?=^##)", re.MULTILINE | re.DOTALL)


def names_of_tests(path: Path) -> list[str]:
    """The names of the test functions of a file, those of test classes included."""
    tree = ast.parse(path.read_bytes())
    return [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    ]


NAMED = sorted(set(REFERENCE.findall(PAGE + RELIABILITY)))


@pytest.mark.parametrize("reference", NAMED, ids="::".join)
def test_the_referenced_test_exists(reference: tuple[str, str]) -> None:
    file, name = reference
    assert (REPOSITORY / file).is_file()
    assert name in names_of_tests(REPOSITORY / file)


def test_each_promise_names_at_least_one_test() -> None:
    promises = dict(PROMISE.findall(PAGE))
    assert list(promises) == [str(number) for number in range(1, 10)]
    assert [number for number, text in promises.items() if not REFERENCE.search(text)] == []


def rows(heading: str, header: str) -> list[list[str]]:
    """The rows of the table below a heading that begins with `header`, as lists of cells."""
    section = PAGE.partition(f"\n{heading}\n")[2]
    table = section[section.index(f"\n| {header} |") :].lstrip("\n").partition("\n\n")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]
    ]


def test_the_table_of_states_is_that_of_the_code() -> None:
    table = {
        row[0]: row[-1].replace(",", "").split() for row in rows("## The life of an actor", "state")
    }
    assert table == {
        state.value: [each.value for each in behind] for state, behind in TRANSITIONS.items()
    }


def test_each_reason_of_a_dead_letter_is_in_its_table() -> None:
    named = [
        name.strip("` ")
        for row in rows("## What becomes of a message", "reason")
        for name in row[0].split(",")
    ]
    assert sorted(named) == sorted(DeadLetterReason.__members__)
