"""A slice of `make soak`'s simulated clusters: what is acknowledged is there, and once."""

from __future__ import annotations

import pytest

from benchmarks import soak_nodes


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_acknowledged_is_there_and_once_whatever_fails(seed: int) -> None:
    part = soak_nodes.run(seed, 1_000)
    again = f"python -m benchmarks.soak_nodes --each 1000 --seed {seed} --messages 1 --faults 1"
    assert part.error is None, f"{part.error}; again by: {again}"
    assert part.acknowledged + part.unknown == 1_000
    assert part.acknowledged > 500
    # (Messages are joined, so there are fewer frames than messages and answers.)
    assert part.faults > 500
    assert {"crash", "drop", "corrupt", "cut", "duplicate"} <= {*part.counts}


def test_the_command_prints_the_account(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--messages", "1", "--faults", "1", "--each", "200", "--seed", "7", "--jobs", "1"]
    assert soak_nodes.main(arguments) == 0
    out = capsys.readouterr().out
    assert "lost or handled twice" in out
    assert "p99" in out
    assert "--seed 7" in out


def test_a_message_that_is_lost_fails_the_soak(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forgets(self: soak_nodes.Tally, message: soak_nodes.Add) -> int:
        return 1

    monkeypatch.setattr(soak_nodes.Tally, "receive", forgets)
    part = soak_nodes.run(3, 100)
    assert part.error is not None
    assert "lost" in part.error
