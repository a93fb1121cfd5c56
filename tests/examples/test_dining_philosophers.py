"""Nobody starves, and no two neighbours eat at once, whoever crashes."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from click.testing import CliRunner

from actors import Env, Ledger
from actors.testing import NotSurvived, crash_every_step, run_virtually
from examples.dining_philosophers import main
from examples.dining_philosophers.command import dine
from examples.dining_philosophers.fork import Fork
from examples.dining_philosophers.philosopher import Philosopher
from examples.dining_philosophers.table import Meal


def dinner(seats: int, meals: int, rate: float = 0.0) -> Any:
    async def app(env: Env) -> tuple[Meal, Ledger]:
        # An hour of virtual time is for ever.
        with trio.fail_after(3600):
            return await dine(env, seats, meals, rate)

    return app


@pytest.mark.parametrize(("seats", "rate"), [(2, 0.0), (5, 0.0), (5, 0.1), (30, 0.01)])
def test_everybody_eats(seats: int, rate: float) -> None:
    meal, ledger = run_virtually(dinner(seats, 10, rate), Env(1, slice_messages=50))
    assert min(meal.eaten) >= 10
    assert not any(meal.eating)
    assert (ledger.restarts > 0) == (rate > 0)
    assert ledger.missing == 0


@pytest.mark.timeout(180)
@pytest.mark.parametrize("actor", [Philosopher, Fork])
def test_nobody_starves_whichever_step_an_actor_crashes_at(actor: Any) -> None:
    survived = crash_every_step(
        dinner(3, 2), actor, invariant=lambda result: min(result[0].eaten) >= 2
    )
    assert survived.messages >= 6
    assert survived.replies >= 6
    assert survived.checkpoints >= (12 if actor is Philosopher else 0)


def test_philosophers_who_all_reach_for_their_left_fork_first_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The proof that the oracle sees it: the deadlock that Dijkstra's order prevents."""

    async def receive(self: Philosopher, message: object) -> None:
        at = f"actor://{self.context.system.name}/table/fork-"
        for number in (self.number, (self.number + 1) % self.meal.seats):
            from examples.dining_philosophers.messages import Take

            await self.context.system.at(f"{at}{number}").ask(Take(), timeout=None)
            await trio.sleep(1)

    monkeypatch.setattr(Philosopher, "receive", receive)
    with pytest.raises(NotSurvived, match="without any crash: (Deadlock|TooSlowError)") as caught:
        crash_every_step(lambda env: dine(env, 3, 1), Philosopher)
    text = str(caught.value)
    for number in range(3):
        assert f"actor://dinner/table/philosopher-{number} (incarnation 1, running)" in text
    assert "to Take() (deferred)" in text


def test_the_command_prints_the_meals() -> None:
    result = CliRunner().invoke(main, ["--meals", "3", "--seats", "3", "--seed", "1"])
    assert result.exit_code == 0, result.output
    assert "philosopher" in result.output
    assert "0 missing" in result.output
