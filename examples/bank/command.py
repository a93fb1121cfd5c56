"""The job, the command and its report."""

import logging
import tempfile
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
    default=0.05,
    show_default=True,
    type=click.FloatRange(0, 0.5),
    help="Crash this share of all steps.",
)
@click.option("--seed", type=int, help="Choose transfers and crashes.")
def main(accounts: int, transfers: int, rate: float, seed: int | None) -> None:
    """Move money between accounts while the actors crash, and count it in the end."""
    logging.getLogger("actors").addFilter(is_no_planned_crash)
    env = Env(seed)
    with tempfile.TemporaryDirectory() as folder:
        report = actors.run(_run, env, Path(folder) / "journal", accounts, transfers, rate)
    table = Table("what", "how many", show_edge=False)
    for what, value in (
        ("transfers", report.moved + report.refused),
        ("moved", report.moved),
        ("refused, too little money", report.refused),
        ("asked again, after a crash", report.asked_again),
        ("restarts", report.ledger.restarts),
        ("messages", report.ledger.sent),
        ("messages missing", report.ledger.missing),
        ("cents at first", accounts * OPENING),
        ("cents in the end", sum(report.balances)),
    ):
        table.add_row(what, f"{value:,}")
    Console().print(table)
    options = f"--accounts {accounts} --transfers {transfers} --chaos {rate} --seed {env.seed}"
    click.echo(f"again: {options}")
    if report.missing:
        raise click.ClickException(f"{report.missing} cents are missing")


async def _run(env: Env, path: Path, accounts: int, transfers: int, rate: float) -> Report:
    return await run_bank(env, path, accounts=accounts, transfers=transfers, rate=rate)
