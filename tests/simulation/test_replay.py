"""One seed is one run: event by event, in any process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from actors import Actor, ActorSystem
from actors.testing import run_virtually
from examples.bank.simulation import BankSimulation
from tests.simulation.counting import Counting
from transports.testing import Application, Faults, Outcome, make_simulation, simulate
from transports.testing.schedulers import Kind

SCHEDULERS: tuple[Kind, ...] = get_args(Kind)
EVERYTHING = Faults(swarm=False, fail=0.05)


def seen(outcome: Outcome) -> tuple[object, ...]:
    """All that a run says, but for the error itself."""
    return (
        outcome.hash,
        outcome.fired,
        outcome.counts,
        outcome.frames,
        outcome.messages,
        outcome.seconds,
        outcome.events,
        str(outcome.error),
    )


@pytest.mark.parametrize("app", [BankSimulation, Counting])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize(
    "seed", [pytest.param(each, marks=[pytest.mark.long] * (each >= 2)) for each in range(6)]
)
def test_a_seed_gives_the_same_trace_again(
    app: Callable[[], Application], scheduler: Kind, seed: int, tmp_path: Path
) -> None:
    # Every other seed: some kinds of faults only.
    faults = EVERYTHING if seed % 2 else Faults()
    simulation = make_simulation(app, seed=seed, faults=faults, scheduler=scheduler)
    # If it fails, the error has the command that replays it, and where its diagram is.
    page = tmp_path / "failed.html"
    first = simulate(app, seed=seed, faults=faults, scheduler=scheduler, page=page)
    # Another simulation in between must leave nothing that this one sees.
    make_simulation(Counting, seed=seed + 1).run()
    assert seen(simulation.run()) == seen(first), simulation.command()


def test_other_seeds_and_schedulers_give_other_traces() -> None:
    hashes = [
        make_simulation(Counting, seed=seed, scheduler=scheduler).run().hash
        for seed in range(3)
        for scheduler in SCHEDULERS
    ]
    assert len(set(hashes)) == len(hashes)


def test_a_trace_is_the_same_in_another_process_with_another_hash_seed(repository: Path) -> None:
    script = """
import json
from examples.bank.simulation import BankSimulation
from tests.simulation.test_replay import EVERYTHING, SCHEDULERS, Counting, make_simulation
print(json.dumps([
    make_simulation(app, seed=11, faults=EVERYTHING, scheduler=scheduler).run().hash
    for app, scheduler in [(BankSimulation, "pct"), *((Counting, each) for each in SCHEDULERS)]
]))
"""
    here = [
        make_simulation(app, seed=11, faults=EVERYTHING, scheduler=scheduler).run().hash
        for app, scheduler in [(BankSimulation, "pct"), *((Counting, each) for each in SCHEDULERS)]
    ]
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=repository,
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert json.loads(done.stdout) == here


def test_a_run_replays_from_the_list_of_its_faults() -> None:
    for seed in range(2):
        simulation = make_simulation(BankSimulation, seed=seed, faults=EVERYTHING)
        by_chance = simulation.run()
        assert len(by_chance.fired) > 20
        # Also those that found nothing: that their time came is a step more, after which trio may
        # run tasks in another order.
        listed = simulation.listed((*by_chance.fired, *by_chance.missed)).run()
        assert seen(listed) == seen(by_chance)


def test_a_list_of_faults_may_be_given_as_texts() -> None:
    by_chance = make_simulation(Counting, seed=3, faults=EVERYTHING).run()
    texts = [str(fault) for fault in by_chance.fired]
    assert make_simulation(Counting, seed=3, faults=texts).run().hash == by_chance.hash


def test_leaving_a_fault_out_leaves_the_others_what_they_are() -> None:
    """Chance is drawn by identity: what happens up to the missing fault is the same."""
    simulation = make_simulation(Counting, seed=3, faults=EVERYTHING)
    whole = simulation.run()
    without = simulation.listed(whole.fired[:-1]).run()
    assert without.fired == whole.fired[:-1]


def test_a_simulation_leaves_no_trace_in_what_runs_after_it() -> None:
    class Greeter(Actor):
        def receive(self, message: str) -> str:
            return f"hello {message}"

    async def main() -> str:
        async with ActorSystem("plain") as system:
            reply: str = await system.spawn(Greeter).ask("you")
            return reply

    make_simulation(Counting, seed=1, scheduler="pct").run()
    assert run_virtually(main) == "hello you"


def test_describing_what_frames_carry_changes_no_event() -> None:
    simulation = make_simulation(Counting, seed=5, faults=EVERYTHING)
    plain, described = simulation.run(), simulation.run(describes=True)
    assert described.hash == plain.hash
    assert any("Count(number=" in event.text for event in described.events)
    assert not any("Count(number=" in event.text for event in plain.events)
