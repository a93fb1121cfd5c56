"""Placements choose among nodes; they are functions of what they are told."""

from __future__ import annotations

from collections import Counter

import pytest

from actors import Candidate, Hashed, LeastLoaded, Placement
from actors.placement import check_on
from supervision import LeastLoaded as LeastLoadedOfPools

NODES = [Candidate(f"n{number}") for number in range(5)]


def test_the_least_loaded_is_chosen_and_of_equals_the_first() -> None:
    loads = [Candidate("a", 3), Candidate("b", 1), Candidate("c", 1), Candidate("d", 2)]
    assert LeastLoaded().choose(loads).name == "b"
    assert LeastLoaded().choose(loads[::-1]).name == "b"


def test_a_key_is_placed_alike_everywhere_and_all_nodes_get_some() -> None:
    chosen = {key: Hashed(key).choose(NODES).name for key in range(1000)}
    assert chosen == {key: Hashed(key).choose(NODES[::-1]).name for key in range(1000)}
    counts = Counter(chosen.values())
    assert len(counts) == 5
    assert max(counts.values()) < 1.5 * min(counts.values())
    # The same in every process: these are part of what nodes must agree on.
    assert [Hashed(("orders", n)).choose(NODES).name for n in range(6)] == [
        "n1",
        "n0",
        "n3",
        "n2",
        "n0",
        "n4",
    ]


def test_only_the_keys_of_a_node_move_that_comes_or_goes() -> None:
    for key in range(1000):
        before = Hashed(key).choose(NODES)
        for gone in NODES:
            after = Hashed(key).choose([node for node in NODES if node is not gone])
            assert (after == before) is (gone is not before)


def test_what_is_no_placement_is_refused() -> None:
    with pytest.raises(TypeError, match="a key is"):
        Hashed(1.5)
    for wrong in (1, None, LeastLoaded, LeastLoadedOfPools()):
        with pytest.raises(TypeError, match="on is the name of a node"):
            check_on(wrong)

    class First(Placement):
        def choose(self, candidates: object) -> Candidate:
            return NODES[0]

    for right in ("n1", LeastLoaded(), Hashed("x"), First()):
        assert check_on(right) is right
