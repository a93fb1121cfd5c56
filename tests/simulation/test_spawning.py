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


def test_a_run_with_spawned_actors_is_the_same_again() -> None:
    one, other = (simulate(Spawning, seed=3) for _ in range(2))
    assert one.hash == other.hash
