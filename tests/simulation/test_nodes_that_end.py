"""A node that gives up does so at any moment: it is no error of the runtime, and loses nothing."""

from functools import partial

import pytest

from benchmarks.workloads.simulation import Counting
from transports.testing import Faults, make_simulation

# Each seed once found that what it is named after went wrong.
SEEDS = {
    "cancelled-while-it-fails": (400, 0, Faults.only(fail=0.01, crash=0.05)),
    "ends-just-after-the-network-has-healed": (20, 26, Faults.only(fail=0.1)),
    "paused-while-it-leaves": (
        60, 9, Faults.only(fail=0.05, part=0.2, part_one_way=0.2, pause=0.1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SEEDS)
def test_a_node_that_gives_up_under_faults_accounts_for_every_message(name: str) -> None:
    each, seed, faults = SEEDS[name]
    simulation = make_simulation(partial(Counting, each), seed=seed, faults=faults)
    outcome = simulation.run()
    assert outcome.error is None, f"seed {seed}: {outcome.error}"
    assert any(event.text.startswith("crashed by itself") for event in outcome.events)
