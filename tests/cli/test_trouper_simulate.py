"""`trouper simulate`: one seed or many, the verdict, the replay and the diagram."""

from __future__ import annotations

import html
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from transports.cli import main
from transports.testing import Faults, SimulationFailed, Times, make_simulation, simulate

FLAWED = '''
import trio
from actors import Actor, ActorError, Request, message
from transports.testing import Application

@message(name="flawed.Add")
class Add(Request[int]):
    order: int

class Till(Actor):
    def __init__(self, node):
        self.orders = node.disk.setdefault("orders", [])
    def receive(self, message):
        self.orders.append(message.order)
        return len(self.orders)

class Flawed(Application):
    """Repeats an order without a reply, which counts twice if only the reply was lost."""
    nodes = 1
    async def start(self, node):
        node.system.spawn(Till, node, name="till")
    async def work(self, cluster):
        for order in range(10):
            await trio.sleep(0.5)
            while True:
                try:
                    await cluster.client.at("actor://n1/till").ask(Add(order), timeout=1)
                    break
                except ActorError:
                    cluster.sometimes("repeated")
    def check(self, cluster):
        orders = cluster.nodes["n1"].disk["orders"]
        assert sorted(orders) == list(range(10)), f"counted: {sorted(orders)}"
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of the test's own, with a flawed application in it."""
    (tmp_path / "flawed.py").write_text(FLAWED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("flawed", None)


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["simulate", *words])


def as_json(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_one_seed_prints_the_hash_of_its_trace_the_faults_and_the_verdict() -> None:
    first, again = (run("examples.bank", "--seed", "7", "--json") for _ in range(2))
    assert first.exit_code == 0
    assert first.stdout == again.stdout
    said = as_json(first)
    assert (said["seed"], said["verdict"], said["error"]) == (7, "held", None)
    outcome = make_simulation(_bank(), seed=7).run()
    assert said["trace"] == outcome.hash
    assert said["faults"] == [str(fault) for fault in outcome.fired] != []


def _bank() -> Any:
    from examples.bank.simulation import BankSimulation

    return BankSimulation


@pytest.mark.long
def test_many_seeds_stop_at_the_first_that_fails_and_its_command_fails_the_same(
    folder: Path,
) -> None:
    result = run("flawed", "--seeds", "200", "--json")
    assert result.exit_code == 1
    said = as_json(result)
    assert said["verdict"] == "failed"
    assert said["error"].startswith("counted: ")
    assert 1 < said["runs"] == said["seed"] + 1 < 200
    for seed in range(said["seed"]):
        assert run("flawed", "--seed", str(seed), "--json").exit_code == 0
    assert 1 <= len(said["faults"]) <= 3 < said["faults_before_shrinking"]
    # The page is there, and says which faults it was.
    page = (folder / said["page"]).read_text("utf-8")
    assert "<svg" in page
    assert html.escape(said["faults"][0], quote=False) in page
    replayed = run(*shlex.split(said["replay"])[2:], "--json", "--no-shrink")
    assert replayed.exit_code == 1
    assert {**as_json(replayed), "runs": said["runs"]} == {
        **said,
        "faults_before_shrinking": len(said["faults"]),
    }


def test_many_seeds_have_a_progress_bar_and_say_that_all_held() -> None:
    result = CliRunner().invoke(
        main,
        ["simulate", "examples.bank", "--seeds", "3"],
        env={"FORCE_COLOR": "1", "COLUMNS": "100"},
    )
    assert result.exit_code == 0
    assert "3/3" in result.stdout
    assert "3 seeds, from 0 to 2: all held" in result.stdout
    assert "counts of all" in result.stdout


def test_a_failed_simulation_says_how_to_replay_it_and_draws_it(folder: Path) -> None:
    import flawed

    page = folder / "failed.html"
    with pytest.raises(SimulationFailed) as caught:
        simulate(
            flawed.Flawed, seed=1, faults=Faults.only(part_one_way=0.6), shrinks=True, page=page
        )
    outcome = caught.value.outcome
    command = caught.value.simulation.command()
    assert f"replay it: {command}" in str(caught.value)
    assert str(page) in str(caught.value)
    assert "<svg" in page.read_text("utf-8")
    replayed = run(*shlex.split(command)[2:], "--json", "--no-shrink")
    assert as_json(replayed)["trace"] == outcome.hash


def test_the_command_says_all_that_decides_a_run(folder: Path) -> None:
    import flawed

    simulation = make_simulation(
        flawed.Flawed,
        2,
        5,
        Faults(swarm=False, drop=0.1),
        "pct",
        Times(work_within=3.5, recover_within=40.0),
    )
    said = as_json(run(*shlex.split(simulation.command())[2:], "--json", "--no-shrink"))
    outcome = simulation.run()
    assert (said["trace"], said["oracle"]) == (outcome.hash, "liveness")
    assert shlex.split(said["replay"]) == shlex.split(simulation.command())


@pytest.mark.parametrize(
    ("words", "exit_code", "why"),
    [
        (["nothing.here"], 1, "no module named 'nothing.here'"),
        (["actors"], 1, "It has none"),
        (["examples.bank", "--rate", "rain=0.1"], 2, "there are cut, drop"),
        (["examples.bank", "--rate", "drop=2"], 2, "drop is a rate from 0 to 1"),
        (["examples.bank", "--rate", "drop=often"], 2, "write drop=0.1"),
        (["examples.bank", "--rate", "swarm=0.5"], 2, "write swarm=0 or swarm=1"),
        (["examples.bank", "--fault", "explode n1"], 2, "'explode' is no kind of"),
        (["examples.bank", "--no-faults", "--rate", "drop=0.1"], 2, "only one kind"),
        (["examples.bank", "--seeds", "0"], 2, "--seeds"),
    ],
)
def test_a_command_that_makes_no_sense_is_told_so(
    words: list[str], exit_code: int, why: str
) -> None:
    result = run(*words)
    assert result.exit_code == exit_code
    assert why in result.stderr
    assert "Traceback" not in result.stderr
