"""The exit codes, as the page for operators lists them."""

import re
from pathlib import Path

import pytest

from actors import ActorError
from transports.cli.exit_codes import ExitCode, Failed, one_line_errors
from transports.control import NodeRuns, NoNodeHere, NoPlace, Refused


def test_the_page_for_operators_lists_every_exit_code(repository: Path) -> None:
    page = (repository / "docs" / "operations.md").read_text()
    table = page.partition("| exit code | when |")[2].partition("\n\n")[0]
    listed = re.findall(r"^\| (\d+) \| .+ \|$", table, re.MULTILINE)
    assert [int(each) for each in listed] == [int(each) for each in ExitCode]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused("timeout", "too late"), ExitCode.TIMEOUT),
        (Refused("bad-message", "wrong"), ExitCode.REFUSED),
        (NoNodeHere("none"), ExitCode.NO_NODE),
        (NoPlace("none"), ExitCode.NO_NODE),
        (NodeRuns("shop", Path("x"), "7"), ExitCode.TAKEN),
        (ExceptionGroup("a nursery", [Refused("failed", "in it")]), ExitCode.REFUSED),
    ],
)
def test_what_a_node_says_against_a_request_is_one_line_and_a_code(
    error: Exception, code: ExitCode
) -> None:
    with pytest.raises(Failed) as caught, one_line_errors():
        raise error
    assert caught.value.exit_code == code
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("error", [KeyError("a bug"), ActorError("a bug")])
def test_what_is_a_bug_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)), one_line_errors():
        raise error
    with pytest.raises(ExceptionGroup), one_line_errors():
        raise ExceptionGroup("several", [error, Refused("failed", "another")])


def test_an_error_of_several_lines_becomes_one() -> None:
    assert Failed("a\n  b\n", ExitCode.FAILED).message == "a b"
