"""When a peer that says nothing is taken for silent: the phi accrual failure detector.

N. Hayashibara, X. Défago, R. Yared, T. Katayama: The phi accrual failure detector. SRDS 2004. What
the intervals between heartbeats were so far is taken for a normal distribution; phi is
-log10 of the probability that the next one comes even later than now. At phi 1 one suspicion in
ten is wrong, at phi 8 one in a hundred million. The two guesses at the beginning and the least
deviation are those of Akka (its documentation, "Phi Accrual Failure Detector"): without a least
deviation, the more regular a peer was, the sooner the smallest delay would be held against it.

No clock: time is an argument, in seconds, and does not go back.
"""

from __future__ import annotations

import math
from collections import deque
from statistics import NormalDist, fmean
from typing import Final

SUSPECTED_AFTER: Final = 3.0
"""Intervals without a word after which a peer is suspected, however irregular it was before."""


class PhiAccrual:
    """Suspects one peer by the rhythm of its heartbeats.

    interval: expected between two heartbeats, until there were some. threshold: of phi. samples:
        how many intervals are remembered. least_deviation: of the distribution; None: a quarter of
        the interval.

    Attributes: `heard`, when something came of the peer last. Only heartbeats have a rhythm, but
    whoever says anything is alive: set it for whatever comes.

    Raises:
        ValueError: interval or least_deviation is not above 0 and finite, threshold not above 0,
            to 300, or there are less than 2 samples.
    """

    def __init__(
        self,
        interval: float,
        *,
        threshold: float = 8.0,
        samples: int = 100,
        least_deviation: float | None = None,
    ) -> None:
        if not 0 < interval < math.inf:
            raise ValueError(f"interval: above 0, and finite, not {interval!r}")
        guess = interval / 4
        least = guess if least_deviation is None else least_deviation
        if not 0 < least < math.inf:
            raise ValueError(f"least_deviation: above 0, and finite, not {least!r}")
        # Beyond 300 the probability is no float any more.
        if not 0 < threshold <= 300:
            raise ValueError(f"threshold: above 0, to 300, not {threshold!r}")
        if type(samples) is not int or samples < 2:
            raise ValueError(f"samples: an int from 2 up, not {samples!r}")
        self.heard = 0.0
        self._interval = interval
        self._least = least
        self._deviations = -NormalDist().inv_cdf(10.0**-threshold)
        self._intervals = deque((interval - guess, interval + guess), samples)
        self._beat_at: float | None = None
        self._distribution: tuple[float, float] | None = None

    def begin(self, now: float) -> None:
        """There is a new connection: the time without one was no interval between heartbeats."""
        self.heard = now
        self._beat_at = None

    def heartbeat(self, now: float) -> None:
        """A heartbeat has come."""
        if self._beat_at is not None:
            self._intervals.append(now - self._beat_at)
            # Computed when it is wanted: a peer may send heartbeats by the thousand.
            self._distribution = None
        self._beat_at = self.heard = now

    def phi(self, now: float) -> float:
        """How sure it is that the peer is gone, from 0 up to inf."""
        mean, deviation = self._normal()
        later = math.erfc((now - self.heard - mean) / deviation / math.sqrt(2)) / 2
        return -math.log10(later) if later else math.inf

    @property
    def suspect_at(self) -> float:
        """When phi reaches the threshold, or `SUSPECTED_AFTER` intervals are over, unless
        something is heard before.
        """
        mean, deviation = self._normal()
        patience = mean + self._deviations * deviation
        return self.heard + min(patience, SUSPECTED_AFTER * self._interval)

    def _normal(self) -> tuple[float, float]:
        """The mean and the standard deviation of the intervals."""
        if self._distribution is None:
            mean = fmean(self._intervals)
            variance = fmean((each - mean) ** 2 for each in self._intervals)
            self._distribution = (mean, max(math.sqrt(variance), self._least))
        return self._distribution
