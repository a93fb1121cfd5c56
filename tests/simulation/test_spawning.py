"""Workers on other nodes, supervised from here, on simulated clusters."""

from __future__ import annotations

import pytest

from tests.simulation.apps_of_spawning import HonestSpawning, Spawning
from transports.testing import Faults, simulate


@pytest.mark.parametrize("seed", range(6))
def test_where_nodes_only_crash_a_worker_never_lives_twice(seed: int) -> None:
    outcome = simulate(HonestSpawning, seed=seed, faults=Faults.only(crash=0.3, skew=0.5))
    assert outcome.counts["crash"] > 5
    assert outcome.counts["a worker has a successor"] > 5


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_each_worker_is_there_once_in_the_end(seed: int) -> None:
    assert simulate(Spawning, seed=seed).error is None


@pytest.mark.parametrize("seed", [100, 101])
def test_a_node_that_was_taken_for_dead_is_talked_to_no_more_when_it_goes_on(seed: int) -> None:
    """It has been out of reach before, and its successor too: nobody remembers either."""
    outcome = simulate(Spawning, seed=seed, faults=Faults(double=0.05, pause=0.2, part=0.3))
    assert outcome.counts["double"] > 0


def test_a_run_with_spawned_actors_is_the_same_again() -> None:
    one, other = (simulate(Spawning, seed=3) for _ in range(2))
    assert one.hash == other.hash
