"""Strategies are pure: what they decide, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Escalate, Restart, Resume, Stop
from actors.intensity import Intensity
from supervision import OneForAll, OneForOne, RestForOne, child
from tests.actors.kit import Doer


def test_groups() -> None:
    names = ("a", "b", "c", "d")
    assert OneForOne().group(names, "b") == ("b",)
    assert OneForAll().group(names, "b") == names
    assert RestForOne().group(names, "b") == ("b", "c", "d")


def test_the_nearest_class_decides() -> None:
    strategy = OneForOne(
        decisions={
            Exception: Escalate(),
            LookupError: Stop,
            KeyError: Resume(),
            OSError: Restart(2),
        }
    )
    assert strategy.decide(KeyError()) == Resume()
    assert strategy.decide(IndexError()) == Stop()
    assert strategy.decide(FileNotFoundError()) == Restart(2)
    assert strategy.decide(ValueError()) == Escalate()
    assert OneForOne().decide(ValueError()) == Restart()


def test_the_severest_decision_about_a_group_counts() -> None:
    strategy = OneForOne(decisions={KeyError: Resume(), ValueError: Stop(), OSError: Escalate()})

    def decide(*errors: Exception) -> Any:
        return strategy.decide(ExceptionGroup("g", list(errors)))

    assert decide(KeyError(), KeyError()) == Resume()
    assert decide(KeyError(), TypeError()) == Restart()
    assert decide(TypeError(), ValueError()) == Stop()
    assert decide(ValueError(), ExceptionGroup("inner", [OSError(), KeyError()])) == Escalate()
    broad = OneForOne(decisions={Exception: Restart(), OSError: Escalate()})
    assert broad.decide(ExceptionGroup("g", [ValueError(), OSError()])) == Escalate()
    own = OneForOne(decisions={ExceptionGroup: Resume(), ValueError: Stop()})
    assert own.decide(ExceptionGroup("g", [ValueError()])) == Resume()


@pytest.mark.parametrize(
    "options",
    [
        {"max_restarts": -1},
        {"max_restarts": 1.5},
        {"within": 0},
        {"within": "1"},
        {"decisions": {ValueError: "restart"}},
        {"decisions": {"ValueError": Restart()}},
    ],
)
def test_nonsense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        OneForOne(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "forever"},
        {"significant": True},
        {"shutdown": "gently"},
        {"shutdown": -1.0},
        {"start_within": 0},
        {"name": "a/b"},
    ],
)
def test_a_child_that_is_none_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        child(Doer, **options)
    with pytest.raises(TypeError):
        child(int)  # type: ignore[arg-type]


@given(
    st.integers(0, 5),
    st.floats(0.1, 10),
    st.lists(st.floats(0, 5), max_size=40),
)
def test_the_window_is_exact(most: int, within: float, gaps: list[float]) -> None:
    intensity, now, admitted = Intensity(most, within), 0.0, []
    for gap in gaps:
        now += gap
        recent = [each for each in admitted if now - each < within]
        assert intensity.admit(now) == (len(recent) < most)
        if len(recent) < most:
            admitted.append(now)


def test_decisions_that_are_no_dict_are_refused_by_name() -> None:
    with pytest.raises(TypeError, match="decisions is a dict"):
        OneForOne(decisions=[KeyError])  # type: ignore[arg-type]
