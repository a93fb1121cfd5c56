"""`simulate`: a whole cluster in one process, on a network with faults, replayed from its seed."""

from __future__ import annotations

import gc
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import attrs

from transports.testing.application import Application
from transports.testing.diagram import sequence_diagram
from transports.testing.faults import Fault, Faults
from transports.testing.outcome import Outcome
from transports.testing.plan import Chance, Listed, Plan
from transports.testing.run import Run, Times
from transports.testing.schedulers import KINDS, Kind
from transports.testing.shrink import shrink

MOST_NODES: Final = 100

#: A class of applications, or a function that makes one: each run needs a new one.
Recipe = Callable[[], Application]


class SimulationFailed(AssertionError):
    """A run has failed. Its text has the command that replays it.

    Attributes: `simulation`: what was run; `outcome`: what came of it.
    """

    def __init__(self, simulation: Simulation, outcome: Outcome, page: Path | None) -> None:
        self.simulation = simulation
        self.outcome = outcome
        self.page = page
        lines = [
            f"seed {simulation.seed}: {outcome.verdict}",
            f"  {len(outcome.fired)} faults fired; trace {outcome.hash}",
            f"  replay it: {simulation.command()}",
        ]
        if page is not None:
            lines.append(f"  its last events: {page}")
        super().__init__("\n".join(lines))


def _nodes(_: object, __: object, value: object) -> None:
    if type(value) is not int or not 1 <= value <= MOST_NODES:
        raise ValueError(f"nodes is an int from 1 to {MOST_NODES}, not {value!r}")


def _seed(_: object, __: object, value: object) -> None:
    if type(value) is not int:
        raise TypeError(f"seed is an int, not {value!r}")


def _scheduler(_: object, __: object, value: object) -> None:
    if value not in KINDS:
        raise ValueError(f"scheduler is one of {', '.join(KINDS)}, not {value!r}")


@attrs.frozen(kw_only=True)
class Simulation:
    """Everything that decides a run. Equal ones run equally, in any process.

    recipe: an Application class. nodes: how many. seed: an int. faults: rates, or an exact list.
    scheduler: see `schedulers`. times: bounds, in virtual seconds. name: as for `trouper`.

    Raises:
        ValueError, TypeError: one of them is none.
    """

    recipe: Recipe
    nodes: int = attrs.field(default=3, validator=_nodes)
    seed: int = attrs.field(default=0, validator=_seed)
    faults: Faults | tuple[Fault, ...] = attrs.field(factory=Faults)
    scheduler: Kind = attrs.field(default="fair", validator=_scheduler)
    times: Times = attrs.field(factory=Times)
    name: str = ""

    def run(self, *, describes: bool = False) -> Outcome:
        """Run it, whatever comes of it. It calls `trio.run`, so it is no part of one.

        describes: let the events say what frames carry; it changes nothing else, nor the hash.
        """
        app = self.recipe()
        if not isinstance(app, Application):
            raise TypeError(f"simulate() runs an Application, and {self.recipe!r} made {app!r}")
        names = tuple(f"n{number}" for number in range(1, self.nodes + 1))
        run = Run(app, names, self.seed, self._plan(), self.times, self.scheduler, describes)
        # Whenever the collector runs, weak references end: at the same points in each run, then.
        was_enabled = gc.isenabled()
        gc.collect()
        gc.disable()
        try:
            return run.run()
        finally:
            if was_enabled:
                gc.enable()

    def _plan(self) -> Plan:
        if isinstance(self.faults, Faults):
            return Chance(self.seed, self.faults)
        return Listed(self.faults)

    def listed(self, faults: Iterable[Fault]) -> Simulation:
        """The same, with exactly these faults."""
        return attrs.evolve(self, faults=tuple(faults))

    def shrunk(self, outcome: Outcome, most: int = 400) -> tuple[Simulation, Outcome]:
        """The same failure from as few faults as can be found, in at most `most` runs.

        It is the same failure if the same oracle finds it.
        """
        best: list[tuple[Simulation, Outcome]] = []

        def still_fails(faults: Sequence[Fault]) -> bool:
            simulation = self.listed(faults)
            found = simulation.run()
            if found.oracle != outcome.oracle:
                return False
            best[:] = [(simulation, found)]
            return True

        if not still_fails(outcome.fired):
            # The application is not the same in each run: then there is nothing to be found.
            return self, outcome
        shrink(outcome.fired, still_fails, most)
        return best[0]

    def command(self) -> str:
        """The shell command that runs exactly this."""
        words = ["trouper", "simulate", self.name or self._guessed_name()]
        words += ["--nodes", str(self.nodes), "--seed", str(self.seed)]
        if self.scheduler != "fair":
            words += ["--scheduler", self.scheduler]
        for field in attrs.fields(Times):
            value = getattr(self.times, field.name)
            if value != field.default:
                words += [f"--{field.name.replace('_', '-')}", f"{value:g}"]
        if isinstance(self.faults, Faults):
            default = Faults()
            for field in attrs.fields(Faults):
                value = getattr(self.faults, field.name)
                if value != getattr(default, field.name):
                    number = int(value) if field.name == "swarm" else value
                    words += ["--rate", f"{field.name}={number}"]
        else:
            for fault in self.faults:
                words += ["--fault", str(fault)]
            if not self.faults:
                words += ["--no-faults"]
        return shlex.join(words)

    def _guessed_name(self) -> str:
        recipe = self.recipe
        module = getattr(recipe, "__module__", "?")
        return f"{module}:{getattr(recipe, '__qualname__', '?')}"

    def page(self, outcome: Outcome) -> str:
        """A page with the last events of a run like this, as a message sequence diagram."""
        described = self.run(describes=True)
        verdict = outcome.verdict or "It held."
        return sequence_diagram(
            described.events,
            described.names,
            title=f"{self.name or self._guessed_name()}, seed {self.seed}",
            verdict=verdict,
            command=self.command(),
            faults=[str(fault) for fault in described.fired],
        )


def simulate(
    app: Recipe,
    nodes: int | None = None,
    seed: int = 0,
    faults: Faults | Iterable[Fault | str] | None = None,
    *,
    scheduler: Kind = "fair",
    times: Times | None = None,
    shrinks: bool = False,
    page: str | Path | None = None,
) -> Outcome:
    """Run an application on a simulated cluster, and judge what it does.

    Nodes are whole `ActorSystem`s, connected by `Node` over a network in memory, in virtual time.
    First the application works while faults befall frames, links, nodes and actors; then everything
    heals, and it must become live again. What it does is judged all the while: by the ledgers of
    all nodes, by the order of messages and that none is handled twice, by the incarnations of each
    actor, by what is left behind, and by the application's own `check`.

    The same arguments give the same run, event by event, in another process too; the outcome's
    `hash` says so. What a run does must come from them alone: an application takes time from trio,
    chance from `cluster.random` and `node.random`, and does not iterate over sets.

    app: an Application class. nodes: n1, n2, ...; None: what the application says. faults: rates;
    None: those of `Faults()`; or an exact list, as a run or a shrunk one has reported it.
    shrinks: if it fails, look for as few faults as are enough. page: if it fails, write a page with
    a diagram of its last events there.

    It is a plain function, for a plain test: it calls `trio.run`.

    Raises:
        SimulationFailed: an oracle has spoken, or the application raised.
        ValueError, TypeError: an argument is none.
    """
    simulation = make_simulation(app, nodes, seed, faults, scheduler, times)
    outcome = simulation.run()
    if outcome.error is None:
        return outcome
    if shrinks:
        simulation, outcome = simulation.shrunk(outcome)
    written = None
    if page is not None:
        written = Path(page)
        written.write_text(simulation.page(outcome), encoding="utf-8")
    raise SimulationFailed(simulation, outcome, written) from outcome.error


def make_simulation(
    app: Recipe,
    nodes: int | None = None,
    seed: int = 0,
    faults: Faults | Iterable[Fault | str] | None = None,
    scheduler: Kind = "fair",
    times: Times | None = None,
    name: str = "",
) -> Simulation:
    """What `simulate` runs.

    Raises:
        ValueError, TypeError: an argument is none.
    """
    if not callable(app):
        raise TypeError(f"simulate() takes an Application class, or what makes one, not {app!r}")
    if isinstance(faults, str):
        raise TypeError(f"faults is Faults(...), or a list of faults, not the text {faults!r}")
    if faults is None:
        faults = Faults()
    elif not isinstance(faults, Faults):
        faults = tuple(
            fault if isinstance(fault, Fault) else Fault.parse(fault) for fault in faults
        )
    if nodes is None:
        nodes = getattr(app, "nodes", 3)
    return Simulation(
        recipe=app,
        nodes=nodes,
        seed=seed,
        faults=faults,
        scheduler=scheduler,
        times=times if times is not None else Times(),
        name=name,
    )
