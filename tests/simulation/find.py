"""Find each planted bug, and write down the smallest schedule that shows it.

    python -m tests.simulation.find             all that are not in minimal.json yet
    python -m tests.simulation.find NAME...     these, anew

Seeds 0, 1, ... are tried with the rates that `simulate` has by itself, until one fails; what fired
in it is shrunk. Without the bug the same seeds must pass. The result goes to minimal.json, which
test_planted_bugs.py replays.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from tests.simulation.planted import BUGS, Bug, planted
from transports.testing.run import Outcome
from transports.testing.simulate import Simulation, make_simulation

PAGE: Final = Path(__file__).with_name("minimal.json")
SEEDS: Final = 1000
MOST_FAULTS: Final = 3
ALSO_WITHOUT: Final = 50
"""Seeds, at the most, that are tried without the bug."""


def simulation_of(bug: Bug, seed: int, faults: list[str] | None = None) -> Simulation:
    """What is run to find a bug, and to replay it."""
    return make_simulation(bug.application, seed=seed, faults=faults, scheduler=bug.scheduler)


def find(bug: Bug) -> dict[str, Any]:
    """The smallest schedule of the first seed that has one of 3 faults or less, as JSON.

    Raises:
        LookupError: no seed of the first 1,000 does.
        AssertionError: a seed fails without the bug.
    """
    found = 0
    for seed in range(SEEDS):
        with planted(bug.name):
            outcome = simulation_of(bug, seed).run()
            if outcome.error is None:
                continue
            found = found or seed + 1
            simulation, outcome = simulation_of(bug, seed).shrunk(outcome, 150)
        if not isinstance(simulation.faults, tuple) or len(simulation.faults) > MOST_FAULTS:
            continue
        check_without(bug, seed, simulation)
        return {
            "seed": seed,
            "scheduler": bug.scheduler,
            "oracle": outcome.oracle,
            "violation": str(outcome.error).splitlines()[0][:200],
            "faults": [str(fault) for fault in simulation.faults],
            "seeds_tried": found,
        }
    raise LookupError(f"{bug.name}: {found} of {SEEDS} seeds fail, none by few faults")


def check_without(bug: Bug, seed: int, simulation: Simulation) -> None:
    """Without the bug the seeds that were tried pass, and so does what the smallest one does."""
    for each in range(min(max(seed + 1, 10), ALSO_WITHOUT)):
        check_holds(bug, simulation_of(bug, each).run(), each)
    check_holds(bug, simulation.run(), seed)


def check_holds(bug: Bug, outcome: Outcome, seed: int) -> None:
    """It has failed of nothing."""
    assert outcome.error is None, f"{bug.name}: seed {seed} without the bug: {outcome.error}"


def read() -> dict[str, dict[str, Any]]:
    """What was found before, by the names of the bugs."""
    known: dict[str, dict[str, Any]] = json.loads(PAGE.read_text("utf-8")) if PAGE.exists() else {}
    return known


def main(names: list[str]) -> None:
    """Find them, and write each one down when it is found."""
    known = read()
    for name in names or [name for name in BUGS if name not in known]:
        try:
            known[name] = find(BUGS[name])
        except (LookupError, AssertionError) as error:
            print(f"{name}: {error}", flush=True)
            continue
        ordered = {each: known[each] for each in BUGS if each in known}
        PAGE.write_text(json.dumps(ordered, indent=2) + "\n", "utf-8")
        print(f"{name}: {json.dumps(known[name])}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
