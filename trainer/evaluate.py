"""Figures of merit of scores against labels, as plain functions.

Letters: N records. A higher score is more anomalous everywhere.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

FALSE_POSITIVE_RATES: Final = (0.001, 0.01)
"""Shares of normals at which recall is reported: 0.1 % and 1 %."""

_RATE_OF_KINDS: Final = 0.01
"""Share of normals at which the recall of each kind is reported; one of FALSE_POSITIVE_RATES."""


def figures_of_merit(
    scores: ArrayLike, is_anomaly: ArrayLike, kinds: Sequence[str]
) -> dict[str, Any]:
    """Return how well scores tell anomalies from normals.

    Parameters
    ----------
    scores : array_like of float, shape (N,)
        Finite; higher is more anomalous.
    is_anomaly : array_like of bool, shape (N,)
        Labels; both classes must be there.
    kinds : sequence of str, length N
        Kind of each anomaly; what it says of normals is not read.

    Returns
    -------
    dict
        ``aupr`` (average precision), ``roc_auc``, ``best_f1`` with its ``best_f1_threshold`` (a
        record is an alert at or above it) and ``accuracy`` there, ``recall_at_fpr_0.001``,
        ``recall_at_fpr_0.01``, ``recall_by_kind_at_fpr_0.01``; all shares in [0, 1], Python floats.

    Raises
    ------
    ValueError
        When lengths differ, a score is not finite, or a class is absent.
    """
    scores_N = np.asarray(scores, dtype=np.float64)
    is_anomaly_N = np.asarray(is_anomaly, dtype=np.bool_)
    _check(scores_N, is_anomaly_N, n_kinds=len(kinds))
    best_f1, threshold = best_f1_threshold(scores_N, is_anomaly_N)
    figures: dict[str, Any] = {
        "aupr": float(average_precision_score(is_anomaly_N, scores_N)),
        "roc_auc": float(roc_auc_score(is_anomaly_N, scores_N)),
        "best_f1": best_f1,
        "best_f1_threshold": threshold,
        "accuracy": float(np.mean((scores_N >= threshold) == is_anomaly_N)),
    }
    normal_scores = scores_N[~is_anomaly_N]
    for rate in FALSE_POSITIVE_RATES:
        alerted_N = scores_N > threshold_at(normal_scores, rate)
        figures[f"recall_at_fpr_{rate:g}"] = float(alerted_N[is_anomaly_N].mean())
    threshold = threshold_at(normal_scores, _RATE_OF_KINDS)
    figures[f"recall_by_kind_at_fpr_{_RATE_OF_KINDS:g}"] = recall_by_kind(
        scores_N > threshold, is_anomaly_N, kinds
    )
    return figures


def average_precision(scores_N: NDArray[np.float64], is_anomaly_N: NDArray[np.bool_]) -> float:
    """Return the area under the precision-recall curve (average precision), in [0, 1]."""
    return float(average_precision_score(is_anomaly_N, scores_N))


def best_f1_threshold(
    scores_N: NDArray[np.float64], is_anomaly_N: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the best F1 and the score at or above which a record must be an alert to reach it."""
    precision, recall, thresholds = precision_recall_curve(is_anomaly_N, scores_N)
    # The curve's last point (recall 0) has no threshold.
    precision, recall = precision[:-1], recall[:-1]
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(np.float64).tiny)
    best = int(np.argmax(f1))
    return float(f1[best]), float(thresholds[best])


def threshold_at(normal_scores: NDArray[np.float64], false_positive_rate: float) -> float:
    """Return the score that at most this share of these normals exceeds (alert: strictly above).

    With too few normals for the rate it is the highest normal score: no false positive at all.
    """
    n_allowed = int(false_positive_rate * len(normal_scores) + 1e-9)  # 0.01 * 100 is 1, not 0
    ascending = np.sort(normal_scores)
    return float(ascending[-1 - n_allowed]) if n_allowed < len(ascending) else float("-inf")


def recall_by_kind(
    alerted_N: NDArray[np.bool_], is_anomaly_N: NDArray[np.bool_], kinds: Sequence[str]
) -> dict[str, float]:
    """Return the share of each kind of anomaly that raised an alert, kinds in alphabetical order."""
    rows_by_kind: dict[str, list[int]] = {}
    for row in np.flatnonzero(is_anomaly_N).tolist():
        rows_by_kind.setdefault(kinds[row], []).append(row)
    return {kind: float(alerted_N[rows_by_kind[kind]].mean()) for kind in sorted(rows_by_kind)}


def _check(scores_N: NDArray[np.float64], is_anomaly_N: NDArray[np.bool_], *, n_kinds: int) -> None:
    if not scores_N.shape == is_anomaly_N.shape == (n_kinds,):
        message = (
            f"scores of shape {scores_N.shape}, labels of shape {is_anomaly_N.shape} and {n_kinds} "
            "kinds; expected one of each for every record"
        )
        raise ValueError(message)
    if not np.isfinite(scores_N).all():
        message = f"{np.sum(~np.isfinite(scores_N))} of {len(scores_N)} scores are not finite"
        raise ValueError(message)
    if is_anomaly_N.all() or not is_anomaly_N.any():
        message = (
            f"{int(is_anomaly_N.sum())} of {len(is_anomaly_N)} records are anomalies; figures of "
            "merit need both normals and anomalies"
        )
        raise ValueError(message)
