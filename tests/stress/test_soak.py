"""A slice of `make soak`: many messages, many faults, and an account of each."""

from __future__ import annotations

import pytest

from benchmarks import soak


@pytest.mark.parametrize("seed", [1, 2])
def test_every_message_is_accounted_for_whatever_fails(seed: int) -> None:
    again = f"again by: python -m benchmarks.soak --messages 30000 --seed {seed}"
    ledger, score = soak.soak(30_000, 0.18, seed)
    assert ledger.missing == 0, again
    assert (ledger.queued, ledger.in_flight) == (0, 0), again
    assert ledger.sent >= 30_000
    assert all(score.faults.values()), score
    assert score.total > 2_000, score
    assert ledger.restarts > 2_000


def test_the_command_prints_the_account(capsys: pytest.CaptureFixture[str]) -> None:
    assert soak.main(["--messages", "2000", "--seed", "7"]) == 0
    out = capsys.readouterr().out
    assert "missing" in out
    assert "--seed 7" in out
