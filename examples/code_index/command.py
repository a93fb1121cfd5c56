"""The command: options, the run itself, and exit codes."""

import logging
import os
import sysconfig
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import click
from rich.console import Console

import actors
from actors import ActorRef, ActorStopped, ActorSystem, Env
from examples.code_index.chaos import PlannedCrash
from examples.code_index.facts import Location, Snapshot
from examples.code_index.indexing_job import IndexJob
from examples.code_index.messages import (
    Finished,
    MostUsed,
    Redelivered,
    TakeLedgers,
    TakeSnapshot,
    WhereDefined,
    WhoImports,
)
from examples.code_index.options import Options
from examples.code_index.report import Answers, Report, print_report
from examples.code_index.verify import differences, index_by_loop
from supervision import ChildLost, WorkerExited, WorkerLost
from transports import CannotListen, Node, Unix
from transports.nats import Nats, Server, ServerNotFound


async def index_folder(options: Options) -> tuple[Report, Snapshot | None]:
    """Index a folder by actors: the report, and the whole index if options.snapshot asks for it."""
    env = Env(seed=options.seed)
    console = Console(stderr=True)
    # A job that failed has a defect: to start it again would only show the same defect again.
    async with (
        engine(options.engine) as server,
        ActorSystem(
            "code_index", transport=make_transport(options, server), env=env, max_restarts=0
        ) as system,
    ):
        start = env.now()
        job = await system.start(IndexJob, options, console, name="job")
        totals = await job.ask(Finished(), timeout=None)
        seconds = env.now() - start
        answers = await ask_questions(job, options, totals.most_imported)
        snapshot = await job.ask(TakeSnapshot(), timeout=60) if options.snapshot else None
        redelivered = await job.ask(Redelivered(), timeout=60)
        workers = await job.ask(TakeLedgers(), timeout=60)
        job.stop()
        await job.stopped()  # so that the ledger shows the whole story, with nothing on its way
        report = Report(
            options=attrs.evolve(options, seed=env.seed),
            totals=totals,
            seconds=seconds,
            answers=answers,
            redelivered=redelivered,
            ledger=system.ledger,
            workers=workers,
            dead=Counter(each.reason for each in system.dead_letters.recent),
        )
    return report, snapshot


def make_transport(options: Options, server: str | None) -> Node | None:
    """What connects this process with the workers; None: there are none."""
    if server is not None:
        # Many a run may share one server: each is a cluster of its own.
        cluster = f"code_index-{os.getpid()}"
        return Nats(server, cluster=cluster, workers_too=True, limits=options.limits)
    return Unix(limits=options.limits) if options.workers else None


@asynccontextmanager
async def engine(wanted: str | None) -> AsyncIterator[str | None]:
    """The URL of a server of NATS: the one that is wanted, or for "nats" one started for this."""
    if wanted != "nats":
        yield wanted
        return
    async with Server() as server:
        yield server.url


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
    "--workers",
    default=2,
    show_default=True,
    type=click.IntRange(0, 64),
    help="Worker processes that parse; 0: all in this one.",
)
@click.option(
    "--indexers",
    default=4,
    show_default=True,
    type=click.IntRange(1, 256),
    help="Indexer actors in each of them.",
)
@click.option(
    "--chaos",
    default=0.0,
    metavar="RATE",
    type=click.FloatRange(0, 1, max_open=True),
    help="Crash indexers on purpose: the share of files, from 0 to below 1.",
)
@click.option(
    "--kill",
    metavar="EVERY",
    type=click.IntRange(1),
    help="Kill a worker process (SIGKILL), drawn at random, after every so many files.",
)
@click.option(
    "--freeze",
    metavar="EVERY",
    type=click.IntRange(1),
    help="Freeze one (SIGSTOP) until it is given up, after every so many files.",
)
@click.option(
    "--engine",
    metavar="nats|URL",
    help="Let the processes talk over NATS: over a server started for this, or the one at URL.",
)
@click.option("--seed", type=int, help="Choose the crashes; the same seed gives the same ones.")
@click.option("--verify", is_flag=True, help="Compare with a plain loop; exit with 1 if unequal.")
@click.option("--where", metavar="NAME", help="Ask where this function or class is defined.")
@click.option("--imports", metavar="MODULE", help="Ask who imports this module.")
def main(path: str | None, verify: bool, **options: Any) -> None:
    """Index the Python files below PATH (default: this Python's standard library) with actors."""
    root = _folder(path or sysconfig.get_path("stdlib"))
    chosen = Options(root, snapshot=verify, **options)
    if (chosen.kill or chosen.freeze) and not chosen.workers:
        raise click.UsageError("--kill and --freeze need worker processes: --workers 1 or more")
    if chosen.engine and not chosen.workers:
        raise click.UsageError("--engine needs worker processes: --workers 1 or more")
    _keep_out_of_the_log(chosen)
    try:
        report, snapshot = actors.run(index_folder, chosen)
    except (ServerNotFound, CannotListen) as error:
        raise click.ClickException(str(error)) from error
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


def _keep_out_of_the_log(options: Options) -> None:
    """Hundreds of tracebacks that were asked for would hide one that was not."""
    planned: tuple[type[Exception], ...] = (PlannedCrash,)
    if options.kill or options.freeze:
        planned += (WorkerExited, WorkerLost, ChildLost, ActorStopped)

    def is_wanted(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        # What a worker has logged is text by now.
        return not (isinstance(error, planned) or PlannedCrash.__name__ in record.getMessage())

    for name in ("actors", "supervision"):
        logging.getLogger(name).addFilter(is_wanted)


def _verified(snapshot: Snapshot, root: str) -> bool:
    click.echo("verify: the same by a plain loop, without actors ...", err=True)
    found = differences(snapshot, index_by_loop(root))
    for line in found:
        click.echo(f"verify: {line}", err=True)
    click.echo(f"verify: {'NOT equal' if found else 'equal'} to the index of a plain loop")
    return not found
