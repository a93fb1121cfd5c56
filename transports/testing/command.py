"""`trouper simulate`: runs of a simulated cluster, from the shell."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from transports.testing.application import Application
from transports.testing.faults import Fault, Faults
from transports.testing.outcome import Outcome
from transports.testing.run import Times
from transports.testing.schedulers import KINDS, Kind
from transports.testing.simulate import Recipe, Simulation, make_simulation


@click.command(name="simulate", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("target", metavar="MODULE[:name]")
@click.option("--nodes", type=click.IntRange(1, 100), help="How many nodes.")
@click.option("--seed", default=0, show_default=True, help="What decides the run, or the first.")
@click.option(
    "--seeds",
    "count",
    type=click.IntRange(1),
    help="Run so many seeds, and stop at the first one that fails.",
)
@click.option(
    "--scheduler",
    default="fair",
    show_default=True,
    type=click.Choice(KINDS),
    help="In which order tasks and actors run.",
)
@click.option(
    "--rate",
    "rates",
    multiple=True,
    metavar="KIND=RATE",
    help="The rate of a kind of fault, such as drop=0.1; swarm=0 lets all kinds be on.",
)
@click.option("--fault", "texts", multiple=True, metavar="FAULT", help="Exactly these faults.")
@click.option("--no-faults", is_flag=True, help="A network that is well.")
@click.option("--work-within", type=float, help="Virtual seconds that work() may take.")
@click.option("--recover-within", type=float, help="Virtual seconds until all is well again.")
@click.option("--shrink/--no-shrink", default=True, help="Look for the fewest faults that fail it.")
@click.option(
    "--page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the diagram goes; simulation-SEED.html if a run fails.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def simulate_command(
    target: str,
    nodes: int | None,
    seed: int,
    count: int | None,
    scheduler: Kind,
    rates: tuple[str, ...],
    texts: tuple[str, ...],
    no_faults: bool,
    work_within: float | None,
    recover_within: float | None,
    shrink: bool,
    page: Path | None,
    as_json: bool,
) -> None:
    """Run an application on a simulated cluster, on a network with faults.

    The name is that of an Application class in MODULE; it may be left out if MODULE, or its
    submodule `simulation`, has only one. The same options give the same run, event by event. The
    exit code is 0 if what must hold held, 1 if not, and 2 if the command makes no sense.

    \b
    trouper simulate examples.bank --seed 7 --json
    trouper simulate examples.bank --seeds 1000
    """
    recipe, name = find_application(target)
    console = Console(stderr=as_json)
    try:
        first = make_simulation(
            recipe,
            nodes,
            seed,
            _faults(rates, texts, no_faults),
            scheduler,
            _times(work_within, recover_within),
            name,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if page is not None and not page.resolve().parent.is_dir():
        raise click.UsageError(f"--page {page}: there is no folder {page.parent}")
    simulation, outcome, done = _run_all(first, count, console)
    failed = outcome.error is not None
    tried = outcome
    if failed and shrink and outcome.fired:
        console.print(f"seed {simulation.seed} fails: looking for the fewest faults that do it ...")
        simulation, outcome = simulation.shrunk(outcome)
    if failed and page is None:
        page = Path(f"simulation-{simulation.seed}.html")
    if page is not None:
        page.write_text(simulation.page(outcome), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(_as_json(simulation, outcome, tried, done, page), indent=2))
    else:
        _show(console, simulation, outcome, tried, done, page)
    if failed:
        sys.exit(1)


def find_application(target: str) -> tuple[Recipe, str]:
    """The Application class that a text names, and the text in full.

    Raises:
        click.ClickException: it names none, or more than one.
    """
    module_name, colon, name = target.partition(":")
    if colon and not name:
        raise click.ClickException(f"nothing is named after the colon of {target!r}")
    if module_name.endswith(".py") and module_name[:-3].isidentifier():
        raise click.ClickException(
            f"{module_name!r} is a file; name the module: {target.replace('.py', '', 1)}"
        )
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise click.ClickException(
            f"{module_name!r} is not the name of a module; write package.module:Name"
        )
    module = _import(module_name)
    if module is None:
        raise click.ClickException(
            f"no module named {module_name!r} here or among the installed packages"
        )
    if colon:
        value: Any = getattr(module, name, None)
        if not _is_application(value):
            known = ", ".join(_applications(module)) or "none"
            raise click.ClickException(
                f"{module_name}:{name} is no Application class; those of {module_name}: {known}"
            )
        return value, target
    found = _applications(module)
    if not found and hasattr(module, "__path__"):
        module = _import(f"{module_name}.simulation")
        found = {} if module is None else _applications(module)
    if len(found) != 1:
        what = f"has several: {', '.join(found)}" if found else "has none"
        raise click.ClickException(
            f"which Application of {module_name!r}? It {what}; write {module_name}:Name"
        )
    return next(iter(found.values())), target


def _import(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            return None
        raise


def _is_application(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, Application) and value is not Application


def _applications(module: ModuleType) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(module).items()
        if _is_application(value) and value.__module__ == module.__name__
    }


def _faults(
    rates: tuple[str, ...], texts: tuple[str, ...], no_faults: bool
) -> Faults | list[Fault]:
    if (bool(rates) + bool(texts) + no_faults) > 1:
        raise click.UsageError("of --rate, --fault and --no-faults, only one kind has a meaning")
    if no_faults:
        return []
    if texts:
        try:
            return [Fault.parse(text) for text in texts]
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    known = {field.name: field for field in attrs.fields(Faults)}
    chosen: dict[str, Any] = {}
    for text in rates:
        kind, _, value = text.partition("=")
        kind = {"raise": "fail"}.get(kind, kind.replace("-", "_"))
        if kind not in known:
            raise click.UsageError(f"--rate {text}: there are {', '.join(known)}")
        if kind == "swarm":
            if value not in ("0", "1"):
                raise click.UsageError(f"--rate {text}: write swarm=0 or swarm=1")
            chosen[kind] = value == "1"
            continue
        try:
            chosen[kind] = float(value)
        except ValueError:
            raise click.UsageError(f"--rate {text}: write {kind}=0.1") from None
    return Faults(**chosen)


def _times(work_within: float | None, recover_within: float | None) -> Times:
    given = {"work_within": work_within, "recover_within": recover_within}
    return Times(**{name: value for name, value in given.items() if value is not None})


def _run_all(
    first: Simulation, count: int | None, console: Console
) -> tuple[Simulation, Outcome, int]:
    """The first run that fails, or the last one; and how many there were."""
    outcome = first.run()
    if count is None or outcome.error is not None:
        return first, outcome, 1
    simulation = first
    counts = Counter(outcome.counts)
    done = 1
    with Progress(
        TextColumn("seed {task.fields[seed]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as progress:
        bar = progress.add_task("seeds", total=count, completed=1, seed=first.seed)
        while done < count and outcome.error is None:
            simulation = attrs.evolve(first, seed=first.seed + done)
            outcome = simulation.run()
            counts.update(outcome.counts)
            done += 1
            progress.update(bar, advance=1, seed=simulation.seed)
    if outcome.error is None:
        outcome = attrs.evolve(outcome, counts=dict(counts))
    return simulation, outcome, done


def _as_json(
    simulation: Simulation, outcome: Outcome, tried: Outcome, done: int, page: Path | None
) -> dict[str, Any]:
    return {
        "application": simulation.name,
        "nodes": simulation.nodes,
        "seed": simulation.seed,
        "scheduler": simulation.scheduler,
        "runs": done,
        "verdict": "held" if outcome.error is None else "failed",
        "oracle": outcome.oracle,
        "error": outcome.verdict or None,
        "trace": outcome.hash,
        "faults": [str(fault) for fault in outcome.fired],
        "faults_before_shrinking": len(tried.fired),
        "counts": dict(sorted(outcome.counts.items())),
        "frames": outcome.frames,
        "messages": outcome.messages,
        "unknown": outcome.unknown,
        "virtual_seconds": round(outcome.seconds, 6),
        "replay": simulation.command(),
        "page": None if page is None else str(page),
    }


def _show(
    console: Console,
    simulation: Simulation,
    outcome: Outcome,
    tried: Outcome,
    done: int,
    page: Path | None,
) -> None:
    held = outcome.error is None
    if held and done > 1:
        what = f"{done} seeds, from {simulation.seed - done + 1} to {simulation.seed}: all held"
    else:
        what = f"seed {simulation.seed}: {'it held' if held else 'it FAILED'}"
    console.print(f"{simulation.name}, {simulation.nodes} nodes, {what}", highlight=False)
    if not held:
        console.print(f"  {outcome.verdict}", style="bold red", markup=False, highlight=False)
    table = Table(show_header=False, show_edge=False, box=None, padding=(0, 2))
    which = "" if done == 1 or not held else " of all"
    counts = ", ".join(f"{name} {number}" for name, number in sorted(tried.counts.items()))
    table.add_row(f"counts{which}", counts or "no fault fired")
    if not held and outcome is not tried:
        few = {0: "none is needed", 1: "this one is enough:"}
        enough = few.get(len(outcome.fired), f"these {len(outcome.fired)} are enough:")
        table.add_row("faults", f"{len(tried.fired)} fired; {enough}")
        for fault in outcome.fired:
            table.add_row("", str(fault))
    if not isinstance(simulation.faults, Faults):
        idle = [str(each) for each in simulation.faults if each not in outcome.fired]
        for place, text in enumerate(idle):
            table.add_row("" if place else "never fired", text)
    if held and done > 1:
        table.add_row("the last one", "")
    table.add_row("frames", f"{outcome.frames:,} in {outcome.seconds:,.1f} virtual seconds")
    table.add_row("messages", f"{outcome.messages:,} handled, {outcome.unknown} unknown")
    table.add_row("trace", outcome.hash)
    if page is not None:
        table.add_row("diagram", str(page))
    console.print(table, markup=False, highlight=False)
    click.echo(f"replay: {simulation.command()}")
