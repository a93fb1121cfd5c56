"""Every Python block of README.md and docs/*.md runs, and prints and raises what the page says.

A block begins with ```` ```python ````. What may stand behind that word:

continued    it goes on with the names of the block before it; otherwise it starts with none.
not-run      it is not run; the text beside it says why.

``# -> text``, in a block, is one line that the block prints. All that it prints is stated, in
order, or nothing is. A ```` ```pytb ```` block that follows says that the block raises: its last
line is the last line of the traceback.
"""

import logging
import re
import sys
import traceback
import types
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)?[ ]*([\w -]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"# -> (.*)$", re.MULTILINE)


@attrs.frozen
class Block:
    """One block of a page: its source, the lines that it prints, and how its traceback ends."""

    source: str
    prints: list[str]
    raises: str | None
    continued: bool


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page that are to be run, in order.

    Line numbers are kept, so that a traceback names the line of the page.
    """
    fences = list(FENCE.finditer(page))
    for number, fence in enumerate(fences):
        behind = fences[number + 1] if number + 1 < len(fences) else None
        language, options, source = fence.groups()
        if language != "python" or options == "not-run":
            continue
        assert options in {"", "continued"}, f"no such option: {options}"
        raises = None
        if behind is not None and behind[1] == "pytb":
            raises = behind[3].rstrip().rpartition("\n")[2]
        lines_above = page[: fence.start(3)].count("\n")
        yield Block(
            "\n" * lines_above + source, PRINTED.findall(source), raises, options == "continued"
        )


def run(block: Block, path: Path, module: types.ModuleType) -> str | None:
    """Run a block in a module. Returns the last line of its traceback, or None."""
    try:
        exec(compile(block.source, str(path), "exec"), vars(module))
    except Exception as error:
        if block.raises is None:
            raise
        return "".join(traceback.format_exception_only(error)).rstrip().rpartition("\n")[2]
    return None


def page_name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_every_block_of_the_page_does_what_the_page_says(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    # What a failure logs is not what a block prints.
    monkeypatch.setattr(logging.getLogger("actors"), "disabled", True)
    # A block may set it, and the next page is to find it as it was.
    dead_letters = logging.getLogger("actors.dead_letters")
    monkeypatch.setattr(dead_letters, "level", dead_letters.level)
    module = types.ModuleType("page")
    for block in blocks(path.read_text(encoding="utf-8")):
        if not block.continued:
            module = types.ModuleType("page")
        monkeypatch.setitem(sys.modules, "page", module)
        assert run(block, path, module) == block.raises
        printed = capsys.readouterr().out.splitlines()
        if block.prints:
            assert printed == block.prints


def test_the_first_screen_of_the_readme_is_a_program_that_ends_in_its_error() -> None:
    first = next(blocks(PAGES[0].read_text(encoding="utf-8")))
    assert first.prints
    assert first.raises is not None
    assert first.raises.startswith("actors.errors.ActorFailed: ")


def test_a_block_that_says_something_else_than_it_does_is_noticed() -> None:
    page = "```python\nprint(1)\n# -> 2\nraise KeyError(3)\n```\n\n```pytb\nKeyError: 4\n```\n"
    (block,) = blocks(page)
    assert block.prints == ["2"]
    assert block.raises == "KeyError: 4"
    assert run(block, Path("page.md"), types.ModuleType("page")) == "KeyError: 3"


LINK = re.compile(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)")


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_every_link_within_the_repository_leads_to_a_file(path: Path) -> None:
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    targets = [each for each in LINK.findall(text) if not re.match(r"\w+:", each)]
    broken = [each for each in targets if not (path.parent / each).exists()]
    assert not broken
