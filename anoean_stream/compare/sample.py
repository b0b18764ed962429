"""A uniform sample of pairs of scores in bounded memory, and how far two rankings agree.

Letters: P pairs, N values, S pairs in the sample.
"""

from typing import Final

import numpy as np

# By name: numpy loads this package when it is first asked for, which takes 10 ms that are better spent
# before the work begins, and a Ctrl-C meanwhile is lost in it.
from numpy.random import default_rng
from numpy.typing import NDArray

_FEWEST: Final = 2
"""Pairs below which a correlation is not defined."""


class PairSample:
    """At most so many pairs out of any number, each pair with the same chance.

    Each pair draws a number; those with the smallest numbers are the sample. After many pairs nearly
    all draw too large a number and cost no more than that draw. Not thread-safe.

    Parameters
    ----------
    size : int
        Pairs kept, >= 1; up to twice as many are held.
    seed : int
        Of the draws.
    """

    def __init__(self, size: int, *, seed: int) -> None:
        if size < 1:
            message = f"the size of the sample is {size}, expected at least 1"
            raise ValueError(message)
        self._size = size
        self._rng = default_rng(seed)
        self._limit = np.inf
        self._n_held = 0
        self._parts: list[NDArray[np.float64]] = []

    def add(self, first_P: NDArray[np.float64], second_P: NDArray[np.float64]) -> None:
        """Offer P pairs."""
        draws_P = self._rng.random(len(first_P))
        kept = np.flatnonzero(draws_P < self._limit)
        if not len(kept):
            return
        self._parts.append(np.stack([draws_P[kept], first_P[kept], second_P[kept]]))
        self._n_held += len(kept)
        if self._n_held > 2 * self._size:
            self._shrink()

    def pairs(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the sample: S first values, and the S second ones."""
        if not self._parts:
            return np.empty(0), np.empty(0)
        self._shrink()
        _, first_S, second_S = self._parts[0]
        return first_S, second_S

    def _shrink(self) -> None:
        held = np.concatenate(self._parts, axis=1)
        if held.shape[1] > self._size:
            held = held[:, np.argpartition(held[0], self._size - 1)[: self._size]]
            self._limit = held[0].max()
        self._parts = [held]
        self._n_held = held.shape[1]


def rank_correlation(first_N: NDArray[np.float64], second_N: NDArray[np.float64]) -> float | None:
    """Return Spearman's rank correlation, -1 to 1; equal values share the mean of their ranks.

    None when it is not defined: fewer than two pairs, or all values of one side the same.

    Examples
    --------
    >>> rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([10.0, 100.0, 1000.0]))
    1.0
    """
    if len(first_N) < _FEWEST:
        return None
    first_N, second_N = _centred_ranks(first_N), _centred_ranks(second_N)
    size = float(np.sqrt((first_N @ first_N) * (second_N @ second_N)))
    if size == 0:
        return None
    return float(np.clip((first_N @ second_N) / size, -1.0, 1.0))


def _centred_ranks(values_N: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse_N, counts = np.unique(values_N, return_inverse=True, return_counts=True)
    ranks_N: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[inverse_N]
    return ranks_N - (len(values_N) + 1) / 2
