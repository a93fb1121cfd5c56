"""Sessions over a network that drops, doubles, reorders, breaks, and whose nodes crash."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transports.world import World

CHOICES = st.tuples(st.sampled_from((*World.STEPS, *World.RARE)), st.integers(0, 255))


@pytest.mark.parametrize("seed", range(100))
def test_walks_lose_and_double_nothing_and_end_with_all_acknowledged_and_closed(seed: int) -> None:
    world = World()
    world.walk(Random(seed), 600)
    world.close()
    assert world.delivered > 10


@settings(max_examples=100)
@given(st.lists(CHOICES, max_size=80))
def test_any_steps_keep_the_promises(steps: list[tuple[str, int]]) -> None:
    world = World()
    for name, choice in steps:
        world.step(name, choice)
    world.calm()


def test_without_faults_everything_sent_is_delivered() -> None:
    world = World()
    world.connect(0)
    for choice in range(400):
        for name in ("send", "exchange", "accept"):
            world.step(name, choice)
        world.step("accept", choice + 1)
    world.calm()
    assert world.delivered == world.made > 300
