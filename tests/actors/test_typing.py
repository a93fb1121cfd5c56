"""What a type checker says of programs that use the public names."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Check = Callable[[str], list[str]]

PROGRAM = """
import trio
from actors import Actor, ActorRef, ActorSystem, Request, message

@message
class Deposit:
    amount: int

@message
class Balance(Request[int]):
    "Ask for the balance."

@message
class Names(Request[list[str]]):
    prefix: str = ""

class Account(Actor):
    def __init__(self, opening: int = 0) -> None:
        self.balance = opening

    async def receive(self, message: Deposit | Balance) -> int | None:
        match message:
            case Deposit(amount):
                self.balance += amount
                return None
            case Balance():
                return self.balance

class Plain(Actor):
    def receive(self, message: Names) -> list[str]:
        return [message.prefix]

async def main() -> int:
    async with ActorSystem("demo") as system:
        account: ActorRef = await system.start(Account, 1)
        reveal_type(await account.ask(Balance(), timeout=1))
        reveal_type(await account.ask(Names("a")))
        reveal_type(await account.ask(Deposit(1)))
        reveal_type(account.tell(Deposit(amount=1)))
        maybe: int | None = await account.ask(Balance())
        number: float = await account.ask(Balance())
        print(maybe, number)
        return await account.ask(Balance())

print(trio.run(main))
"""


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Check:
    """A function of a program: the lines that `mypy --strict` prints of it."""
    folder = tmp_path_factory.mktemp("typed")
    path = folder / "program.py"
    options = ["--strict", "--no-error-summary", "--hide-error-context", "--cache-dir", str(folder)]

    def check(program: str) -> list[str]:
        path.write_text(program)
        # In this process it would undo `gc.freeze` and leave half a million objects.
        done = subprocess.run(
            [sys.executable, "-m", "mypy", *options, str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.stderr
        return [line.partition("program.py:")[2] for line in done.stdout.splitlines()]

    return check


@pytest.mark.timeout(180)
def test_a_typed_ask_is_what_its_request_says_and_the_rest_is_accepted(check: Check) -> None:
    lines = check(PROGRAM)
    assert [re.search(r'"(.*)"', line)[1] for line in lines if "note" in line] == [  # type: ignore[index]
        "int",
        "list[str]",
        "Any",
        "None",
    ]
    assert [line for line in lines if "error" in line] == []


WRONG = """
async def wrong(account: ActorRef) -> None:
    Deposit()  # Missing positional argument
    Deposit("1")  # incompatible type
    Deposit(1).amount = 2  # read-only
    text: str = await account.ask(Balance())  # Incompatible types in assignment
    await account.tell(Deposit(1))  # Incompatible types in "await"
    await account.ask(Balance(), timeout="1")  # No overload variant
"""


@pytest.mark.timeout(180)
def test_a_type_checker_finds_what_is_wrong_in_each_line(check: Check) -> None:
    wrong = [line.partition("  # ")[2] for line in WRONG.splitlines() if "  # " in line]
    first = len(PROGRAM.splitlines()) + 2
    errors = [line for line in check(PROGRAM + WRONG) if "error:" in line]
    assert len(errors) == len(wrong), errors
    for number, (error, expected) in enumerate(zip(errors, wrong, strict=True), start=first + 1):
        assert error.startswith(f"{number}:"), errors
        assert expected in error


@pytest.mark.timeout(180)
def test_the_typed_pattern_in_the_docs_is_accepted(check: Check, repository: Path) -> None:
    page = (repository / "docs" / "patterns.md").read_text()
    block = page.partition("## Typed throughout")[2].partition("```python\n")[2].partition("```")[0]
    assert "class Owner" in block
    assert check(block) == []


STREAMS = """
from collections.abc import AsyncGenerator, AsyncIterator
from actors import Actor, ActorRef, Request, message

@message
class Lines(Request[AsyncIterator[str]]):
    path: str

@message
class Other:
    "No request."

class Files(Actor):
    async def receive(self, message: Lines) -> AsyncIterator[str]:
        return self._lines(message.path)

    async def _lines(self, path: str) -> AsyncIterator[str]:
        yield path

class Itself(Actor):
    async def receive(self, message: Lines) -> AsyncGenerator[str, None]:
        yield message.path

async def main(ref: ActorRef) -> None:
    async for line in ref.stream(Lines("a"), buffer=4, timeout=None):
        reveal_type(line)
    async with ref.stream(Lines("a")) as lines:
        reveal_type(await anext(lines))
    async for item in ref.stream(Other()):
        reveal_type(item)
"""


@pytest.mark.timeout(180)
def test_the_items_of_a_stream_are_what_its_request_says(check: Check) -> None:
    lines = check(STREAMS)
    assert [re.search(r'"(.*)"', line)[1] for line in lines if "note" in line] == [  # type: ignore[index]
        "str",
        "str",
        "Any",
    ]
    assert [line for line in lines if "error" in line] == []
