"""The meal, the command and its report."""

import logging

import click
from rich.console import Console
from rich.table import Table as Rows

import actors
from actors import ActorSystem, Env, Ledger
from examples.dining_philosophers.philosopher import PlannedCrash
from examples.dining_philosophers.table import Meal, Table


async def dine(env: Env, seats: int, meals: int, crash_rate: float = 0.0) -> tuple[Meal, Ledger]:
    """Let everybody eat at least so often."""
    meal = Meal(seats, meals, crash_rate)
    async with ActorSystem("dinner", env=env) as system:
        await system.start(Table, meal, name="table")
        await meal.all_full.wait()
    return meal, system.ledger


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seats", default=5, show_default=True, type=click.IntRange(2, 1000))
@click.option("--meals", default=20, show_default=True, type=click.IntRange(1, 10_000))
@click.option(
    "--chaos",
    "rate",
    default=0.05,
    show_default=True,
    type=click.FloatRange(0, 0.5),
    help="The share of meals at which a philosopher chokes.",
)
@click.option("--seed", type=int, help="Choose the times and the crashes.")
def main(seats: int, meals: int, rate: float, seed: int | None) -> None:
    """Let philosophers eat until each one had so many meals, whoever chokes."""
    logging.getLogger("actors").addFilter(_is_no_planned_crash)
    env = Env(seed)
    meal, ledger = actors.run(dine, env, seats, meals, rate)
    rows = Rows("philosopher", "meals", show_edge=False)
    for number, eaten in enumerate(meal.eaten):
        rows.add_row(str(number), str(eaten))
    Console().print(rows)
    click.echo(
        f"{ledger.restarts} restarts, {ledger.sent:,} messages, {ledger.missing} missing; "
        f"again: --seats {seats} --meals {meals} --chaos {rate} --seed {env.seed}"
    )


def _is_no_planned_crash(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, PlannedCrash)
