"""The job, the command and its report."""

import logging
import tempfile
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs
import click
import trio
from rich.console import Console
from rich.table import Table

import actors
from actors import ActorFailed, ActorRef, ActorSystem, Env, Ledger, Request
from examples.bank.bank import Bank, account_names
from examples.bank.chaos import Chaos, is_no_planned_crash
from examples.bank.journal import Journal
from examples.bank.kills import Plan, run_processes
from examples.bank.messages import Balance, Transfer

OPENING = 10_000

T = TypeVar("T")


@attrs.frozen
class Report:
    """What became of the money, and of the messages."""

    accounts: int
    balances: list[int]
    moved: int
    refused: int
    asked_again: int
    ledger: Ledger

    @property
    def missing(self) -> int:
        """Cents that are no longer there, or (negative) that nobody had. It is 0."""
        return self.accounts * OPENING - sum(self.balances)


async def run_bank(
    env: Env, path: Path, *, accounts: int, transfers: int, customers: int = 8, rate: float = 0.0
) -> Report:
    """Let customers make transfers at random, all at once; then count the money."""
    counts = {"moved": 0, "refused": 0, "again": 0}
    names = account_names(accounts)

    async def customer(teller: ActorRef, number: int) -> None:
        draw = env.random("customer", number)
        for transfer in range(number, transfers, customers):
            source, target = draw.sample(names, 2)
            order = Transfer(transfer, source, target, draw.randint(1, OPENING))
            moved: bool = await insist(teller, order)
            counts["moved" if moved else "refused"] += 1

    async def insist(ref: ActorRef, request: Request[T]) -> T:
        while True:
            try:
                return await ref.ask(request, timeout=None)
            except ActorFailed:
                counts["again"] += 1

    chaos = Chaos(env, rate)
    async with ActorSystem("demo", env=env) as system:
        await system.start(Bank, Journal(path), accounts, OPENING, chaos, name="bank")
        teller = system.at("actor://demo/bank/teller")
        async with trio.open_nursery() as nursery:
            for number in range(customers):
                nursery.start_soon(customer, teller, number)
        balances = [await insist(system.at(f"actor://demo/bank/{n}"), Balance()) for n in names]
    again = counts["again"]
    return Report(accounts, balances, counts["moved"], counts["refused"], again, system.ledger)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--accounts", default=10, show_default=True, type=click.IntRange(2, 1000))
@click.option("--transfers", default=500, show_default=True, type=click.IntRange(1, 100_000))
@click.option(
    "--chaos",
    "rate",
    type=click.FloatRange(0, 0.5),
    help="Crash this share of all steps; 0.05, with --nodes 0.",
)
@click.option("--nodes", type=click.IntRange(1, 16), help="A branch in each of so many processes.")
@click.option("--kill", "kills", type=click.IntRange(0), help="SIGKILL processes, so many times.")
@click.option("--seed", type=int, help="Choose transfers, crashes and kills.")
def main(
    accounts: int,
    transfers: int,
    rate: float | None,
    nodes: int | None,
    kills: int | None,
    seed: int | None,
) -> None:
    """Move money between accounts while the actors crash, and count it in the end.

    With --nodes the accounts are those of so many branches, each in a process of its own with a
    journal on disk; with --kill these are killed meanwhile. In the end the journals are audited.

    \b
    trouper run examples.bank --chaos 0.1
    trouper run examples.bank --nodes 3 --kill 20 --seed 7
    """
    env = Env(seed)
    options = f"--accounts {accounts} --transfers {transfers} --seed {env.seed}"
    if nodes is None:
        if kills is not None:
            raise click.UsageError("--kill needs --nodes: this process is not killed")
        rate = 0.05 if rate is None else rate
        rows, problems = one_process(env, accounts, transfers, rate)
        options += f" --chaos {rate}"
    else:
        plan = Plan(
            nodes=nodes, accounts=accounts, transfers=transfers, kills=kills or 0, rate=rate or 0.0
        )
        rows, problems = several_processes(env, plan)
        options += f" --chaos {plan.rate} --nodes {nodes} --kill {plan.kills}"
    table = Table("what", "how many", show_edge=False)
    for what, value in rows.items():
        table.add_row(what, f"{value:,}")
    Console().print(table)
    click.echo(f"again: {options}")
    if problems:
        raise click.ClickException("; ".join(problems))


def one_process(
    env: Env, accounts: int, transfers: int, rate: float
) -> tuple[dict[str, int], list[str]]:
    """Run it; what to report, and what is wrong."""
    logging.getLogger("actors").addFilter(is_no_planned_crash)
    with tempfile.TemporaryDirectory() as folder:
        run = partial(run_bank, accounts=accounts, transfers=transfers, rate=rate)
        report = actors.run(run, env, Path(folder) / "journal")
    rows = {
        "transfers": report.moved + report.refused,
        "moved": report.moved,
        "refused, too little money": report.refused,
        "asked again, after a crash": report.asked_again,
        "restarts": report.ledger.restarts,
        "messages": report.ledger.sent,
        "messages missing": report.ledger.missing,
        "cents at first": accounts * OPENING,
        "cents in the end": sum(report.balances),
    }
    return rows, [f"{report.missing} cents are missing"] if report.missing else []


def several_processes(env: Env, plan: Plan) -> tuple[dict[str, int], list[str]]:
    """Run it, with a line for each kill; what to report, and what is wrong."""
    # What is killed on purpose is no news; what a process prints is.
    for name in ("actors", "supervision", "transports"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("supervision.processes.output").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        say = partial(click.echo, err=True)
        report = actors.run(run_processes, env, Path(folder), plan, say)
    audit = report.audit
    rows = {
        "transfers": len(report.outcomes),
        "moved": audit.applied,
        "refused, too little money": audit.refused,
        "asked again, after a crash": report.asked_again,
        "processes killed": len(report.killed),
        "lines in the journals": audit.lines,
        "cents at first": len(plan.names) * plan.opening,
        "cents in the end, by the accounts": sum(report.balances.values()),
        "cents in the end, by the journals": sum(audit.balances.values()),
        "found by the audit": len(report.problems),
    }
    return rows, report.problems
