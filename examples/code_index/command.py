"""The command: options, the run itself, and exit codes."""

import logging
import os
import sysconfig

import attrs
import click
from rich.console import Console

import actors
from actors import ActorRef, ActorSystem, Env
from examples.code_index.chaos import Chaos, PlannedCrash
from examples.code_index.facts import Location, Snapshot
from examples.code_index.indexing_job import IndexJob
from examples.code_index.messages import (
    Finished,
    MostUsed,
    TakeSnapshot,
    WhereDefined,
    WhoImports,
)
from examples.code_index.report import Answers, Report, print_report
from examples.code_index.verify import differences, index_by_loop


@attrs.frozen
class Options:
    """What is to be indexed, and how."""

    root: str
    workers: int = 4
    chaos: Chaos = attrs.field(factory=Chaos)
    seed: int | None = None
    where: str | None = None
    imports: str | None = None
    snapshot: bool = False


async def index_folder(options: Options) -> tuple[Report, Snapshot | None]:
    """Index a folder by actors: the report, and the whole index if options.snapshot asks for it."""
    env = Env(seed=options.seed)
    console = Console(stderr=True)
    # A job that failed has a defect: to start it again would only show the same defect again.
    async with ActorSystem("code_index", env=env, max_restarts=0) as system:
        start = env.now()
        job = await system.start(
            IndexJob, options.root, options.workers, options.chaos, console, name="job"
        )
        totals = await job.ask(Finished(), timeout=None)
        seconds = env.now() - start
        answers = await ask_questions(job, options, totals.most_imported)
        snapshot = await job.ask(TakeSnapshot(), timeout=60) if options.snapshot else None
        job.stop()
        await job.stopped()  # so that the ledger shows the whole story, with nothing on its way
        report = Report(
            root=options.root,
            workers=options.workers,
            totals=totals,
            seconds=seconds,
            answers=answers,
            ledger=system.ledger,
            chaos_rate=options.chaos.rate,
            seed=env.seed,
        )
    return report, snapshot


async def ask_questions(job: ActorRef, options: Options, most_imported: str | None) -> Answers:
    """Ask what the options say, or else what is likely to have an interesting answer."""
    most_used = await job.ask(MostUsed(10))
    names = [options.where] if options.where else [name for name, _ in await job.ask(MostUsed(100))]
    name: str | None = None
    defined: tuple[Location, ...] = ()
    for name in names:
        defined = await job.ask(WhereDefined(name))
        if defined:
            break
    module = options.imports or most_imported
    importers = await job.ask(WhoImports(module)) if module else ()
    return Answers(name, defined, module, importers, most_used)


class NotAFolder(click.ClickException):
    """The path to index is missing, is no folder, or cannot be listed."""

    exit_code = 2


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("path", required=False)
@click.option(
    "--workers", default=4, show_default=True, type=click.IntRange(1, 256), help="Indexer actors."
)
@click.option(
    "--chaos",
    "rate",
    default=0.0,
    metavar="RATE",
    type=click.FloatRange(0, 1, max_open=True),
    help="Crash indexers on purpose: the share of files, from 0 to below 1.",
)
@click.option("--seed", type=int, help="Choose the crashes; the same seed gives the same ones.")
@click.option("--verify", is_flag=True, help="Compare with a plain loop; exit with 1 if unequal.")
@click.option("--where", metavar="NAME", help="Ask where this function or class is defined.")
@click.option("--imports", metavar="MODULE", help="Ask who imports this module.")
def main(
    path: str | None,
    workers: int,
    rate: float,
    seed: int | None,
    verify: bool,
    where: str | None,
    imports: str | None,
) -> None:
    """Index the Python files below PATH (default: this Python's standard library) with actors."""
    root = _folder(path or sysconfig.get_path("stdlib"))
    options = Options(root, workers, Chaos(rate), seed, where, imports, snapshot=verify)
    logging.getLogger("actors").addFilter(_is_no_planned_crash)
    report, snapshot = actors.run(index_folder, options)
    console = Console(highlight=False)
    print_report(console, report)
    if snapshot is not None and not _verified(snapshot, root):
        raise click.exceptions.Exit(1)


def _folder(path: str) -> str:
    """The path as it is, if it is a folder that can be listed; otherwise one clear line, exit 2."""
    try:
        os.scandir(path).close()
    except OSError as error:
        raise NotAFolder(f"cannot index {path!r}: {error.strerror}") from None
    return path


def _is_no_planned_crash(record: logging.LogRecord) -> bool:
    """Keep hundreds of tracebacks that were asked for out of the way of one that was not."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, PlannedCrash)


def _verified(snapshot: Snapshot, root: str) -> bool:
    click.echo("verify: the same by a plain loop, without actors ...", err=True)
    found = differences(snapshot, index_by_loop(root))
    for line in found:
        click.echo(f"verify: {line}", err=True)
    click.echo(f"verify: {'NOT equal' if found else 'equal'} to the index of a plain loop")
    return not found
