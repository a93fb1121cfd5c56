"""The simulator finds what is planted, by a few faults; and nothing where nothing is planted.

`python -m tests.simulation.find` has searched; here its smallest schedules are run again.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.apps import Letters
from tests.simulation.find import (
    LEAST_BUGS,
    MOST_FAULTS,
    SEEDS,
    application_of,
    page,
    read,
    simulation_of,
)
from tests.simulation.planted import BUGS, planted
from transports.testing import make_simulation

FOUND = read()


@pytest.mark.parametrize("name", FOUND)
def test_a_planted_bug_is_found_by_its_smallest_schedule(name: str) -> None:
    bug, found = BUGS[name], FOUND[name]
    simulation = simulation_of(bug, found["seed"], found["faults"])
    with planted(name):
        outcome = simulation.run()
    assert outcome.oracle == found["oracle"], f"{outcome.error}; {simulation.command()}"
    assert [str(fault) for fault in outcome.fired] == found["faults"]


@pytest.mark.parametrize("name", FOUND)
def test_without_the_bug_the_same_schedule_passes(name: str) -> None:
    found = FOUND[name]
    simulation = simulation_of(BUGS[name], found["seed"], found["faults"])
    assert simulation.run().error is None, simulation.command()


def test_a_message_that_arrives_as_another_one_is_found() -> None:
    faults = ["corrupt client->n1 DATA #5 by 578"]
    with planted("checksum-not-verified"):
        assert make_simulation(Letters, seed=8, faults=faults).run().oracle == "unaltered"
    assert make_simulation(Letters, seed=8, faults=faults).run().error is None


def test_every_bug_was_found_within_1000_seeds_and_by_at_most_3_faults() -> None:
    assert list(FOUND) == list(BUGS)
    assert len(FOUND) >= LEAST_BUGS
    for name, found in FOUND.items():
        assert 1 <= found["seeds_tried"] <= found["seed"] + 1 <= SEEDS, name
        assert len(found["faults"]) <= MOST_FAULTS, name
        assert found["application"] == application_of(BUGS[name])
        assert found["scheduler"] == BUGS[name].scheduler


def test_the_page_says_what_was_found(repository: Path) -> None:
    text = (repository / "docs" / "simulation.md").read_text("utf-8")
    section = text.partition("## Planted bugs")[2].partition("\n## ")[0]
    assert f"## Planted bugs{section}".strip() == page(FOUND).strip()


def test_what_was_planted_is_gone_afterwards() -> None:
    for bug in BUGS.values():
        changes = list(bug.changes())
        before = [getattr(owner, name) for owner, name, _ in changes]
        with planted(bug.name):
            assert all(
                getattr(owner, name) is not there
                for (owner, name, _), there in zip(changes, before, strict=True)
            )
        assert [getattr(owner, name) for owner, name, _ in changes] == before
