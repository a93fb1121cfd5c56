"""The primes are counted on processes of their own."""

import pytest

from examples.primes import count_primes, main


async def test_two_processes_count_as_many_primes_as_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert await count_primes(1000, 2) == 168
    await main("3", "1")
    assert capsys.readouterr().out == "1\n"
