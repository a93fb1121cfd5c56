"""Find each planted bug, and write down the smallest schedule that shows it.

    python -m tests.simulation.find             all that are not in minimal.json yet
    python -m tests.simulation.find NAME...     these, anew
    python -m tests.simulation.find --page      only the section of docs/simulation.md

Seeds 0, 1, ... are tried with the rates that `simulate` has by itself (unless the bug says
otherwise) until three fail; what fired in one of them is shrunk. Without the bug the same seeds
must pass. The result goes to minimal.json, which test_planted_bugs.py replays.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from tests.simulation.planted import BUGS, Bug, planted
from transports.testing.outcome import Outcome
from transports.testing.simulate import Simulation, make_simulation

FOUND: Final = Path(__file__).with_name("minimal.json")
PAGE: Final = Path(__file__).parents[2] / "docs" / "simulation.md"
LEAST_BUGS: Final = 20
SEEDS: Final = 1000
MOST_FAULTS: Final = 3
SHRUNK_OF: Final = 3
"""Seeds that fail, of which the one with the fewest faults is shrunk: runs are what takes time."""
ALSO_WITHOUT: Final = 50
"""Seeds, at the most, that are tried without the bug."""


def simulation_of(bug: Bug, seed: int, faults: list[str] | None = None) -> Simulation:
    """What is run to find a bug, and to replay it."""
    return make_simulation(
        bug.application,
        seed=seed,
        faults=bug.faults if faults is None else faults,
        scheduler=bug.scheduler,
    )


def find(bug: Bug) -> dict[str, Any]:
    """The smallest schedule, of 3 faults or less, of a seed that fails, as JSON.

    Raises:
        LookupError: no seed of the first 1,000 does.
        AssertionError: a seed fails without the bug.
    """
    failing: list[tuple[int, int, Outcome]] = []
    first = tried = 0
    for seed in range(SEEDS):
        with planted(bug.name):
            outcome = simulation_of(bug, seed).run()
        if outcome.error is not None:
            first = first or seed + 1
            failing.append((len(outcome.fired), seed, outcome))
        if len(failing) < SHRUNK_OF:
            continue
        tried += 1
        _, chosen, outcome = failing.pop(failing.index(min(failing, key=lambda each: each[:2])))
        with planted(bug.name):
            simulation, outcome = simulation_of(bug, chosen).shrunk(outcome, 150)
        if not isinstance(simulation.faults, tuple) or len(simulation.faults) > MOST_FAULTS:
            continue
        check_without(bug, chosen, simulation)
        if bug.scheduler != "fair":
            check_not_found_by_fair(bug)
        return {
            "application": application_of(bug),
            "seed": chosen,
            "scheduler": bug.scheduler,
            "oracle": outcome.oracle,
            "violation": str(outcome.error).splitlines()[0][:200],
            "faults": [str(fault) for fault in simulation.faults],
            "seeds_tried": first,
        }
    raise LookupError(f"{bug.name}: {tried} seeds of {SEEDS} were shrunk, none to few faults")


def application_of(bug: Bug) -> str:
    """The name of its class."""
    name: str = bug.application.__name__  # type: ignore[attr-defined] # all of ours are classes
    return name


def check_not_found_by_fair(bug: Bug) -> None:
    """It takes a scheduler that is not fair to find it."""
    with planted(bug.name):
        for seed in range(SEEDS):
            error = make_simulation(bug.application, seed=seed).run().error
            assert error is None, f"{bug.name}: seed {seed} finds it with the fair scheduler"


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
    known: dict[str, dict[str, Any]] = {}
    if FOUND.exists():
        known = json.loads(FOUND.read_text("utf-8"))
    return known


INTRODUCTION: Final = """## Planted bugs

A simulator that finds nothing may be looking at nothing. So bugs are planted, one at a time, that
such runtimes and applications have: {bugs} of them, in `tests/simulation`. Each is found in the
first 1,000 seeds, {first} of them by the first one that was tried, with the rates of faults that
`simulate` has by itself (but `double=0.1` where that is the fault, and nothing but what they need
for a few bugs of leases); none needs more than {most} faults. Without the bug the same seeds pass
(up to 50), and so does the smallest schedule.
`python -m tests.simulation.find` searches anew; `tests/simulation/test_planted_bugs.py` runs the
smallest schedules, with the bug and without it.

The oracle is what found it: the simulator's own (see above), or what the application checks.
*Seeds* are those tried until the first one failed. Bugs that are not found by fair scheduling, in
1,000 seeds, have the scheduler's name there.

| Bug | Oracle | Seeds | Smallest schedule |
|---|---|---|---|
"""


def page(found: dict[str, dict[str, Any]]) -> str:
    """The section of docs/simulation.md."""
    first = sum(each["seeds_tried"] == 1 for each in found.values())
    most = max(len(each["faults"]) for each in found.values())
    lines = [INTRODUCTION.format(bugs=len(found), first=first, most=most)]
    for name, each in found.items():
        seeds = f"{each['seeds_tried']:,}"
        if each["scheduler"] != "fair":
            seeds += f" ({each['scheduler']})"
        faults = ", ".join(f"`{fault}`" for fault in each["faults"]) or "no fault at all"
        oracle = each["oracle"].replace("AssertionError", "application's check")
        what = BUGS[name].what.rstrip(".")
        lines.append(f"| {what} | {oracle} | {seeds} | {faults} |\n")
    return "".join(lines)


def write_page(found: dict[str, dict[str, Any]]) -> None:
    """Replace that section."""
    text = PAGE.read_text("utf-8") if PAGE.exists() else ""
    before, mark, rest = text.partition("## Planted bugs")
    _, next_mark, after = rest.partition("\n## ") if mark else ("", "", "")
    PAGE.write_text(before + page(found) + next_mark + after, "utf-8")


def main(names: list[str]) -> None:
    """Find them, and write each one down when it is found."""
    known = read()
    if names == ["--page"]:
        write_page(known)
        return
    for name in names or [name for name in BUGS if name not in known]:
        try:
            known[name] = find(BUGS[name])
        except (LookupError, AssertionError) as error:
            print(f"{name}: {error}", flush=True)
            continue
        ordered = {each: known[each] for each in BUGS if each in known}
        FOUND.write_text(json.dumps(ordered, indent=2) + "\n", "utf-8")
        print(f"{name}: {json.dumps(known[name])}", flush=True)
    write_page(known)


if __name__ == "__main__":
    main(sys.argv[1:])
