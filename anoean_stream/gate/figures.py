"""Average precision and recall at a budget, of weighted records, for many weightings at once.

A resample of a set gives each record a weight: how often it was drawn. The order of the scores is
that of the set, so it is sorted once, and every figure of every resample is a running sum.

Letters: N records, A anomalies among them, T different scores (steps), S weightings.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-9
"""Added before rounding down: 0.01 * 100 normals allow 1 of them, not 0."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Records in the order of falling scores; equal scores are one step.

    Parameters
    ----------
    order_N : ndarray of intp, shape (N,)
        Places of the records, highest score first.
    last_T : ndarray of intp, shape (T,)
        Where in that order each step ends.
    is_anomaly_N : ndarray of bool, shape (N,)
        Labels in that order.
    """

    order_N: NDArray[np.intp]
    last_T: NDArray[np.intp]
    is_anomaly_N: NDArray[np.bool_]

    @classmethod
    def of(cls, scores_N: NDArray[np.float64], is_anomaly_N: NDArray[np.bool_]) -> "Ranking":
        """Sort records.

        Parameters
        ----------
        scores_N : ndarray of float64, shape (N,)
            Higher is more anomalous; no NaN, minus infinity is lowest.
        is_anomaly_N : ndarray of bool, shape (N,)
            Labels.

        Raises
        ------
        ValueError
            When a score is NaN, or shapes differ.
        """
        if scores_N.shape != is_anomaly_N.shape or np.isnan(scores_N).any():
            message = (
                f"scores of shape {scores_N.shape} with {int(np.isnan(scores_N).sum())} NaN, labels "
                f"of shape {is_anomaly_N.shape}; expected a number and a label for each record"
            )
            raise ValueError(message)
        order_N = np.argsort(-scores_N, kind="stable")
        falling_N = scores_N[order_N]
        is_last_N = np.append(falling_N[1:] != falling_N[:-1], True)
        return cls(order_N, np.flatnonzero(is_last_N), is_anomaly_N[order_N])

    def counts(self, weights_SN: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return how many anomalies, and how many normals, lie at or above each step.

        Parameters
        ----------
        weights_SN : ndarray of int64, shape (S, N)
            How often each record counts, in the order of the set.

        Returns
        -------
        anomalies_ST, normals_ST : ndarray of int64
        """
        sorted_SN = weights_SN[:, self.order_N]
        all_ST = np.cumsum(sorted_SN, axis=1)[:, self.last_T]
        anomalies_ST = np.cumsum(sorted_SN * self.is_anomaly_N, axis=1)[:, self.last_T]
        return anomalies_ST, all_ST - anomalies_ST


def average_precision(
    anomalies_ST: NDArray[np.int64], normals_ST: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the area under the precision-recall curve by steps, in [0, 1], for each weighting.

    Parameters
    ----------
    anomalies_ST, normals_ST : ndarray of int64, shape (S, T)
        Of `Ranking.counts`; each weighting has an anomaly.

    Notes
    -----
    The sum over steps of the recall that a step adds, times the precision there. Records of one score
    are one step, so their order has no influence (as in scikit-learn).
    """
    precision_ST = anomalies_ST / np.maximum(anomalies_ST + normals_ST, 1)
    found_ST = np.diff(anomalies_ST, axis=1, prepend=0)
    return np.asarray((found_ST * precision_ST).sum(axis=1) / anomalies_ST[:, -1])


def recall_at(
    budget: float, anomalies_ST: NDArray[np.int64], normals_ST: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the share of anomalies above the score that a budget of normals allows, in [0, 1].

    Parameters
    ----------
    budget : float
        Share of the normals that may lie above that score, in [0, 1].
    anomalies_ST, normals_ST : ndarray of int64, shape (S, T)
        Of `Ranking.counts`; each weighting has anomalies and normals.
    """
    allowed_S1 = np.floor(budget * normals_ST[:, -1:] + _ROUNDING)
    # Whole steps only: of records with one score either all alert or none.
    n_steps_S = (normals_ST <= allowed_S1).sum(axis=1)
    found_S = np.take_along_axis(anomalies_ST, np.maximum(n_steps_S - 1, 0)[:, None], axis=1)[:, 0]
    return np.asarray(np.where(n_steps_S > 0, found_S, 0) / anomalies_ST[:, -1])
