"""`trouper simulate`, as somebody uses it who has just written an application."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from transports.testing.command import simulate_command

SHOP = """
    from actors import Actor
    from transports.testing import Application

    class Echo(Actor):
        def receive(self, message):
            return message

    class Shop(Application):
        nodes = 2

        async def start(self, node):
            node.system.spawn(Echo, name="echo")

        async def work(self, cluster):
            await cluster.client.at("actor://n1/echo").ask("hello", timeout=None)

    class Robbed(Shop):
        async def work(self, cluster):
            cluster.nodes["n1"].disk["till"]

    class Bare(Shop):
        def check(self, cluster):
            raise AssertionError  # as `assert` does without a text

    class Shut(Shop):
        async def start(self, node):
            node.system.spwan(Echo)

        async def work(self, cluster):
            pass
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "shop_of_this_test.py").write_text(textwrap.dedent(SHOP))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("shop_of_this_test", None)


def run(name: str, *arguments: str) -> Result:
    return CliRunner().invoke(simulate_command, [f"shop_of_this_test{name}", *arguments])


def words(result: Result) -> str:
    return " ".join(result.output.split())


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        (".py", [], "is a file; name the module: shop_of_this_test"),
        (".py:Shop", [], "name the module: shop_of_this_test:Shop"),
        (":", [], "nothing is named after the colon"),
        (":Echo", [], "no Application class; those of shop_of_this_test: Shop, Robbed, Bare, Shut"),
        (":Shop", ["--page", "no/such/folder.html"], "there is no folder no/such"),
        (":Shop", ["--work-within", "-1"], "work_within is above 0, not -1.0"),
        (":Shop", ["--fault", "drop n1->n2"], "drop needs a number, as in 'drop n1->n2 DATA #17'"),
        (":Shop", ["--rate", "dropp=1"], "there are cut, drop,"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_runs(
    shop: Path, name: str, arguments: list[str], said: str
) -> None:
    result = run(name, *arguments)
    assert result.exit_code in (1, 2)
    assert said in words(result)
    assert "frames" not in result.output


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (":Robbed", "KeyError: 'till' (in work, shop_of_this_test.py:20)"),
        (":Bare", "AssertionError (in check, shop_of_this_test.py:24)"),
        (":Shut", "n1 is down, at last by AttributeError: 'ActorSystem' object has no attribute"),
    ],
)
def test_an_error_of_the_application_is_named_with_its_kind_and_line(
    shop: Path, name: str, said: str
) -> None:
    result = run(name, "--no-faults")
    assert result.exit_code == 1
    assert said in words(result)
    assert said.partition(" (")[0] in (shop / "simulation-0.html").read_text().replace(
        "&#x27;", "'"
    )


def test_a_fault_that_has_not_befallen_anything_is_named(shop: Path) -> None:
    result = run(":Shop", "--fault", "crash n9 at 1 for 2")
    assert result.exit_code == 0
    assert "never fired crash n9 at 1 for 2" in words(result)


def test_the_command_that_replays_a_run_has_its_times(shop: Path) -> None:
    result = run(":Shop", "--no-faults", "--work-within", "20")
    assert result.output.splitlines()[-1].endswith("--work-within 20 --no-faults")
