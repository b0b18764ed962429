"""What the plots of ``anoean models diff`` are drawn from, as numbers.

Letters: S pairs in the sample, K sizes of an alert list.
"""

from collections import Counter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from anoean_stream.detector.sketch import GROWTH, SMALLEST, ScoreSketch

_CELL: Final = 0.05
"""Side of a cell of the scatter, in decades: 20 to a factor of ten."""

BIN: Final = 0.05
"""Width of a bin of the score distributions, in decades."""

_LIST_SIZES: Final = 60
_SMALLEST_LIST: Final = 10
"""Alerts below which the overlap of two lists is chance."""


def decades(scores: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """Return scores as powers of ten of the threshold: 0 is at the threshold, 1 ten times above."""
    return np.log10(np.maximum(scores, SMALLEST) / max(threshold, SMALLEST))


def distribution(scores: ScoreSketch, threshold: float) -> list[tuple[float, int]]:
    """Return left edge (in decades of the threshold) and count of each bin that is not empty."""
    numbers = np.array(sorted(scores.counts), dtype=np.float64)
    middles = decades(GROWTH ** (numbers + 0.5), threshold)
    found: Counter[int] = Counter()
    for place, number in zip(np.floor(middles / BIN).tolist(), sorted(scores.counts), strict=True):
        found[int(place)] += scores.counts[number]
    return [(round(place * BIN, 4), count) for place, count in sorted(found.items())]


def cells(first_S: NDArray[np.float64], second_S: NDArray[np.float64]) -> dict[str, Any]:
    """Return lower left corner and count of each cell of the scatter that is not empty."""
    places = np.floor(np.stack([first_S, second_S], axis=1) / _CELL).astype(np.int64)
    corners, counts = np.unique(places, axis=0, return_counts=True)
    return {
        "side": _CELL,
        "champion": np.round(corners[:, 0] * _CELL, 4).tolist(),
        "candidate": np.round(corners[:, 1] * _CELL, 4).tolist(),
        "records": counts.tolist(),
    }


def overlap(first_S: NDArray[np.float64], second_S: NDArray[np.float64]) -> dict[str, Any]:
    """Return what two lists of the same length have in common: the K most anomalous of each model."""
    n_pairs = len(first_S)
    if n_pairs < _SMALLEST_LIST:
        return {"alert_share": [], "in_common": []}
    sizes_K = np.unique(np.geomspace(_SMALLEST_LIST, n_pairs, _LIST_SIZES).astype(np.int64))
    # A record is in both lists of size k when it is among the first k of each model.
    worst_S = np.sort(np.maximum(_position(first_S), _position(second_S)))
    in_both_K = np.searchsorted(worst_S, sizes_K, side="left")
    return {
        "alert_share": (sizes_K / n_pairs).tolist(),
        "in_common": (in_both_K / sizes_K).tolist(),
    }


def _position(scores_S: NDArray[np.float64]) -> NDArray[np.int64]:
    position_S = np.empty(len(scores_S), dtype=np.int64)
    position_S[np.argsort(-scores_S, kind="stable")] = np.arange(len(scores_S))
    return position_S
