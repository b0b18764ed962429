"""Scores counted in logarithmic bins: a few kilobytes that answer how many lie above a threshold.

Letters: B records.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

GROWTH: Final = 1.01
"""Upper edge of a bin over its lower one: an answer is off by 1 % of the score at the most. Part of the
format of worker reports; nearer to 1 they grow, at 1.1 a threshold is guesswork."""

SMALLEST: Final = 1e-6
"""Scores below share the lowest bin; distances of traffic are around 1."""

_LOG_GROWTH: Final = math.log(GROWTH)
_LOWEST: Final = math.floor(math.log(SMALLEST) / _LOG_GROWTH)

_ROUNDING: Final = 1e-9
"""Bins by which the logarithm of an edge may miss its whole number; below 2,000 bins it is 1e-12."""


@dataclass(slots=True)
class ScoreSketch:
    """How many scores fell into each bin; bin b holds scores in [GROWTH**b, GROWTH**(b + 1)).

    Adding costs 15 ns a score. Not thread-safe.

    Parameters
    ----------
    counts : dict of int to int
        By bin; bins without a score are absent.

    References
    ----------
    Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
    guarantees", VLDB 2019: the bins.

    Examples
    --------
    >>> sketch = ScoreSketch()
    >>> sketch.add(np.array([1.0, 2.0, 4.0, 8.0]))
    >>> sketch.n_scores, sketch.n_above(3.0)
    (4, 2)
    """

    counts: dict[int, int] = field(default_factory=dict)

    @property
    def n_scores(self) -> int:
        """Scores that were added."""
        return sum(self.counts.values())

    def add(self, scores_B: NDArray[np.float64]) -> None:
        """Count finite scores of at least 0; others are left out."""
        good_B = scores_B[np.isfinite(scores_B)]
        if not len(good_B):
            return
        bins_B = np.floor(np.log(np.maximum(good_B, SMALLEST)) / _LOG_GROWTH).astype(np.int64)
        bins, counts = np.unique(bins_B, return_counts=True)
        for number, count in zip(bins.tolist(), counts.tolist(), strict=True):
            self.counts[number] = self.counts.get(number, 0) + count

    def merge(self, counts: Mapping[int, int]) -> None:
        """Add the counts of another sketch."""
        for number, count in counts.items():
            self.counts[number] = self.counts.get(number, 0) + count

    def n_above(self, score: float) -> int:
        """Return how many scores lie above one, whole bins: those of its own bin do not count.

        An edge belongs to the bin below it: nothing of the bin above is at most the edge.
        """
        if score < SMALLEST:
            own = _LOWEST - 1 if score < 0 else _LOWEST
        else:
            own = math.ceil(math.log(score) / _LOG_GROWTH - _ROUNDING) - 1
        return sum(count for number, count in self.counts.items() if number > own)

    def score_above_which(self, n_scores: float) -> float | None:
        """Return the smallest edge of a bin above which at most so many scores lie; None without any.

        A threshold for a budget: ``n_above(result) <= n_scores``.
        """
        if not self.counts:
            return None
        above = 0
        for number in sorted(self.counts, reverse=True):
            above += self.counts[number]
            if above > n_scores:
                return upper_edge(number)
        return 0.0

    def quantile(self, share: float) -> float | None:
        """Return the score that this share of the scores does not exceed, within 1 %; None without any."""
        total = self.n_scores
        if not total:
            return None
        below = 0
        for number in sorted(self.counts):
            below += self.counts[number]
            if below >= share * total:
                return upper_edge(number)
        return upper_edge(max(self.counts))


def upper_edge(number: int) -> float:
    """Return the largest score that a bin may hold."""
    return float(GROWTH ** (number + 1))
