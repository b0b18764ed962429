"""Paired bootstrap: how sure the difference of two versions on the same records is.

Records are drawn anew with replacement, as many anomalies and as many normals as there are, and
both versions are measured on the same draw. What is hard for both moves both figures together and
leaves the difference alone; so the interval of the difference is narrower than two intervals would
suggest.

Letters: N records, S resamples of a block, R resamples in all.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from anoean_stream.gate.figures import Ranking, average_precision, recall_at

_BLOCK_CELLS: Final = 1_000_000
"""Weights in memory at once: 8 MB, and half a dozen arrays of that size beside them."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Average precision and recall at the budget.

    Parameters
    ----------
    aupr, recall : float or ndarray of float64
        In [0, 1]; an array has one for each resample.
    """

    aupr: NDArray[np.float64]
    recall: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a figure lies.

    Parameters
    ----------
    value : float
        On the set itself.
    low, high : float
        Bounds at the confidence that was asked for.
    """

    value: float
    low: float
    high: float


def measure(ranking: Ranking, *, budget: float, weights_SN: NDArray[np.int64]) -> Figures:
    """Return the figures of one version for each weighting of the records.

    Parameters
    ----------
    ranking : Ranking
        The records in the order of that version's scores.
    budget : float
        Share of normals that may alert, in [0, 1].
    weights_SN : ndarray of int64, shape (S, N)
        How often each record counts.
    """
    counts = ranking.counts(weights_SN)
    return Figures(average_precision(*counts), recall_at(budget, *counts))


def measure_once(ranking: Ranking, *, budget: float) -> tuple[float, float]:
    """Return average precision and recall at the budget of the set as it is."""
    once = np.ones((1, len(ranking.order_N)), dtype=np.int64)
    figures = measure(ranking, budget=budget, weights_SN=once)
    return float(figures.aupr[0]), float(figures.recall[0])


def resample(
    is_anomaly_N: NDArray[np.bool_], *, n_samples: int, seed: int
) -> Iterator[NDArray[np.int64]]:
    """Yield weights of resamples, block by block; in each one every class has its own size.

    Parameters
    ----------
    is_anomaly_N : ndarray of bool, shape (N,)
        Labels; both classes are there.
    n_samples : int
        Resamples in all.
    seed : int
        Of the draws: the same seed and labels give the same resamples.

    Yields
    ------
    ndarray of int64, shape (S, N)
        How often each record was drawn.
    """
    rng = np.random.default_rng(seed)
    n_records = len(is_anomaly_N)
    classes = (np.flatnonzero(is_anomaly_N), np.flatnonzero(~is_anomaly_N))
    n_block = max(1, _BLOCK_CELLS // n_records)
    for begin in range(0, n_samples, n_block):
        n_rows = min(n_block, n_samples - begin)
        # Drawing and counting is the multinomial distribution, three times faster than asking for it.
        first_S1 = np.arange(n_rows)[:, None] * n_records
        drawn = [
            (places[rng.integers(len(places), size=(n_rows, len(places)))] + first_S1).ravel()
            for places in classes
        ]
        counts = np.bincount(np.concatenate(drawn), minlength=n_rows * n_records)
        yield counts.reshape(n_rows, n_records)


def interval(value: float, samples_R: NDArray[np.float64], *, confidence: float) -> Interval:
    """Return the middle share of the resamples (percentile interval)."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(samples_R, (tail, 1 - tail))
    return Interval(value, float(low), float(high))


def paired_differences(
    candidate: Ranking,
    champion: Ranking,
    is_anomaly_N: NDArray[np.bool_],
    *,
    budgets: tuple[float, float],
    n_samples: int,
    confidence: float,
    seed: int = 0,
) -> tuple[Interval, Interval]:
    """Return candidate minus champion, of average precision and of recall at the budget.

    Parameters
    ----------
    candidate, champion : Ranking
        The same records, in the order of each version's scores.
    is_anomaly_N : ndarray of bool, shape (N,)
        Labels in the order of the set.
    budgets : tuple of float
        Share of normals that may alert: the candidate's and the champion's.
    n_samples : int
        Resamples.
    confidence : float
        Of the intervals, in (0, 1).
    seed : int
        Of the draws.

    Returns
    -------
    tuple of Interval
        Above 0 the candidate is better. 1000 resamples of 20,000 records take about 2 s.
    """
    aupr, recall = [], []
    for weights_SN in resample(is_anomaly_N, n_samples=n_samples, seed=seed):
        new = measure(candidate, budget=budgets[0], weights_SN=weights_SN)
        old = measure(champion, budget=budgets[1], weights_SN=weights_SN)
        aupr.append(new.aupr - old.aupr)
        recall.append(new.recall - old.recall)
    new_aupr, new_recall = measure_once(candidate, budget=budgets[0])
    old_aupr, old_recall = measure_once(champion, budget=budgets[1])
    return (
        interval(new_aupr - old_aupr, np.concatenate(aupr), confidence=confidence),
        interval(new_recall - old_recall, np.concatenate(recall), confidence=confidence),
    )
