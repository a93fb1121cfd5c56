"""When a peer is taken for silent: the arithmetic of it, with times as arguments."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.wire.failure_detector import SUSPECTED_AFTER, PhiAccrual

intervals = st.floats(0.01, 100)


def after(gaps: list[float], interval: float = 1.0, **settings: Any) -> tuple[PhiAccrual, float]:
    """A detector that has had heartbeats with these gaps, and the time of the last one."""
    detector = PhiAccrual(interval, **settings)
    detector.begin(0.0)
    now = 0.0
    detector.heartbeat(now)
    for gap in gaps:
        now += gap
        detector.heartbeat(now)
    return detector, now


@given(st.lists(st.floats(0, 20), max_size=20), st.lists(st.floats(0, 50), min_size=2))
def test_phi_only_grows_in_silence(gaps: list[float], waits: list[float]) -> None:
    detector, now = after(gaps)
    phis = [detector.phi(now + wait) for wait in sorted(waits)]
    assert phis == sorted(phis)
    assert all(phi >= 0 for phi in phis)


@given(intervals, st.integers(0, 300))
def test_regular_heartbeats_are_never_suspected(interval: float, beats: int) -> None:
    detector, _ = after([], interval)
    for beat in range(1, beats):
        assert detector.suspect_at > beat * interval
        assert detector.phi(beat * interval) < 1
        detector.heartbeat(beat * interval)


@given(intervals, st.lists(st.floats(0.6, 1.6), max_size=150))
def test_heartbeats_with_some_jitter_are_not_suspected_either(
    interval: float, gaps: list[float]
) -> None:
    detector, now = after([], interval)
    for gap in gaps:
        now += gap * interval
        assert detector.suspect_at > now
        detector.heartbeat(now)


@given(intervals, st.lists(st.floats(0, 50), max_size=30), st.booleans())
def test_silence_is_found_within_three_intervals_whatever_was_before(
    interval: float, gaps: list[float], starts_anew: bool
) -> None:
    detector, now = after(gaps, interval)
    if starts_anew:
        now += 100.0
        detector.begin(now)
    assert now < detector.suspect_at <= now + SUSPECTED_AFTER * interval


@given(st.lists(st.floats(0.8, 1.2), max_size=30), st.floats(0.5, 12))
def test_it_is_suspected_when_phi_reaches_the_threshold(
    gaps: list[float], threshold: float
) -> None:
    detector, now = after(gaps, threshold=threshold)
    if detector.suspect_at < now + SUSPECTED_AFTER:
        assert detector.phi(detector.suspect_at) == pytest.approx(threshold, abs=1e-6)


def test_what_is_not_a_heartbeat_is_heard_and_has_no_rhythm() -> None:
    detector, now = after([1.0] * 20)
    patience = detector.suspect_at - now
    for moment in (0.1, 0.2, 0.9):
        detector.heard = now + moment
        assert detector.suspect_at == pytest.approx(now + moment + patience)
        assert detector.phi(now + moment) < 0.01


def test_an_irregular_peer_is_given_more_time() -> None:
    regular, now = after([1.0] * 100)
    irregular, then = after([0.7, 1.3] * 50)
    assert regular.suspect_at - now == pytest.approx(1 + 5.612 / 4, abs=1e-3)
    assert irregular.suspect_at - then == pytest.approx(1 + 5.612 * 0.3, abs=1e-3)


def test_a_peer_with_a_rhythm_of_its_own_is_suspected_by_that() -> None:
    quick, now = after([0.1] * 100, least_deviation=0.02)
    assert quick.suspect_at - now == pytest.approx(0.1 + 5.612 * 0.02, abs=1e-4)


def test_the_first_guess_is_the_interval_and_is_forgotten_with_the_oldest_sample() -> None:
    guess, _ = after([])
    assert guess.suspect_at == pytest.approx(1 + 5.612 / 4, abs=1e-3)
    after_two, now = after([0.5, 0.5], samples=2, least_deviation=0.1)
    assert after_two.suspect_at - now == pytest.approx(0.5 + 0.5612, abs=1e-3)


def test_the_time_without_a_connection_is_no_sample() -> None:
    detector, now = after([1.0] * 10)
    patience = detector.suspect_at - now
    detector.begin(now + 500.0)
    detector.heartbeat(now + 500.5)
    assert detector.suspect_at == pytest.approx(now + 500.5 + patience)


def test_certainty_has_no_number() -> None:
    detector, now = after([1.0] * 10)
    assert detector.phi(now + 1e6) == math.inf


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"interval": 0}, "interval"),
        ({"interval": -1.0}, "interval"),
        ({"interval": math.inf}, "interval"),
        ({"interval": math.nan}, "interval"),
        ({"interval": 1.0, "least_deviation": 0}, "least_deviation"),
        ({"interval": 1.0, "least_deviation": math.nan}, "least_deviation"),
        ({"interval": 1.0, "threshold": 0}, "threshold"),
        ({"interval": 1.0, "threshold": 301}, "threshold"),
        ({"interval": 1.0, "samples": 1}, "samples"),
        ({"interval": 1.0, "samples": 2.5}, "samples"),
    ],
)
def test_a_detector_that_makes_no_sense_cannot_be_made(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        PhiAccrual(**settings)
