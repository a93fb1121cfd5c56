"""The bank keeps every cent, whatever crashes."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from actors import Env
from actors.testing import crash_every_step, run_virtually
from examples.bank import main
from examples.bank.account import Account
from examples.bank.command import Report, run_bank
from examples.bank.journal import Entry, Journal
from examples.bank.teller import Teller


def bank(folder: Path, **options: Any) -> Any:
    """An application for `crash_every_step`: each run has a journal of its own."""
    numbers = itertools.count()

    async def app(env: Env) -> Report:
        return await run_bank(env, folder / f"journal-{next(numbers)}", **options)

    return app


def check(report: Report, transfers: int) -> None:
    assert report.missing == 0, report
    assert report.moved + report.refused == transfers
    assert min(report.balances) >= 0


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("rate", [0.0, 0.2])
def test_the_money_stays_the_same(seed: int, rate: float, tmp_path: Path) -> None:
    env = Env(seed, slice_messages=50)
    app = bank(tmp_path, accounts=4, transfers=60, rate=rate)
    report = run_virtually(app, env)
    check(report, 60)
    assert report.refused > 0
    assert (report.ledger.restarts > 20) == (rate > 0)
    assert report.ledger.missing == 0


@pytest.mark.timeout(120)
@pytest.mark.parametrize("actor", [Account, Teller])
def test_the_money_stays_the_same_whichever_step_an_actor_crashes_at(
    actor: Any, tmp_path: Path
) -> None:
    app = bank(tmp_path, accounts=3, transfers=6, customers=2)
    survived = crash_every_step(app, actor, invariant=lambda report: check(report, 6))
    assert survived.messages >= 6
    assert survived.replies >= 6
    assert survived.checkpoints >= 9


def test_an_account_that_forgets_what_it_did_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof that the test above can fail: an account that counts before it writes."""

    def book(self: Account, what: str, transfer: int, cents: int) -> None:
        self.balance += cents
        self.done[transfer] = what != "refused"

    monkeypatch.setattr(Account, "book", book)
    app = bank(tmp_path, accounts=3, transfers=6, customers=2)
    with pytest.raises(AssertionError, match="crash at message"):
        crash_every_step(app, Account, invariant=lambda report: check(report, 6))


def test_a_line_that_was_not_written_to_its_end_does_not_count(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    entry = Entry("a", "deposited", 1, 5)
    journal.write(entry)
    with journal.path.open("ab") as file:
        file.write(b'{"who":"a","what":"depos')
    assert list(journal.read("a")) == [entry]
    assert list(journal.read("b")) == []
    assert list(Journal(tmp_path / "none").read("a")) == []


def test_the_command_prints_what_became_of_the_money() -> None:
    result = CliRunner().invoke(main, ["--transfers", "50", "--chaos", "0.2", "--seed", "5"])
    assert result.exit_code == 0, result.output
    assert "cents in the end" in result.output
    assert result.output.count("100,000") == 2
    assert "--seed 5" in result.output
