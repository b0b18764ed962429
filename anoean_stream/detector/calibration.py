"""From distances of held-out normal records to p-values and thresholds.

Letters: N calibration records, B scored records, Z latent dimensions.
"""

import logging
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anoean_stream.errors import ConfigError

_log: Final = logging.getLogger(__name__)

MIN_EIGENVALUE_RATIO: Final = 1e-4
"""Smallest eigenvalue of the covariance, as a share of the largest; in (0, 1). Whitening divides by
its root: below this, the rounding of float32 (1e-7) would show in the fifth digit of a score, which
is the digit that worker and `anoean score` must agree on."""


def fit_gaussian(latents_NZ: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and covariance of the latent vectors of held-out normal records.

    Use validation normals, never the training ones: those are pulled onto the Gaussian and make
    every later distance look too large. A direction in which the latents hardly vary is widened to
    `MIN_EIGENVALUE_RATIO` of the widest, and a warning is logged.

    Parameters
    ----------
    latents_NZ : array_like, shape (N, Z)
        At least two rows, finite.

    Returns
    -------
    mu_Z, cov_ZZ : ndarray of float64
        cov is symmetric and positive definite.

    Raises
    ------
    ValueError
        When there are fewer than two rows, a value is not finite, or all rows are the same (the
        encoder has collapsed).
    """
    latents_NZ = np.asarray(latents_NZ, dtype=np.float64)
    if latents_NZ.ndim != 2 or len(latents_NZ) < 2 or not np.isfinite(latents_NZ).all():  # noqa: PLR2004
        message = (
            f"latents have shape {latents_NZ.shape}, {np.sum(~np.isfinite(latents_NZ))} values not "
            "finite; expected at least two finite rows of held-out normals"
        )
        raise ValueError(message)
    mu_Z = latents_NZ.mean(axis=0)
    centred_NZ = latents_NZ - mu_Z
    cov_ZZ = centred_NZ.T @ centred_NZ / (len(latents_NZ) - 1)
    values_Z, vectors_ZZ = np.linalg.eigh(cov_ZZ)
    largest = float(values_Z[-1])
    if not largest > 0:
        message = (
            f"all {len(latents_NZ)} latent vectors are the same: the encoder has collapsed; train "
            "with another seed or a lower learning rate"
        )
        raise ValueError(message)
    floor = MIN_EIGENVALUE_RATIO * largest
    n_narrow = int(np.sum(values_Z < floor))
    if n_narrow:
        _log.warning(
            "latents of normal records hardly vary in %d of %d directions (variance %.3g, widest "
            "%.3g); these were widened to %.3g. Fewer latent dimensions would do.",
            n_narrow,
            len(values_Z),
            values_Z[0],
            largest,
            floor,
        )
        cov_ZZ = (vectors_ZZ * np.maximum(values_Z, floor)) @ vectors_ZZ.T
        cov_ZZ = (cov_ZZ + cov_ZZ.T) / 2
    return mu_Z, cov_ZZ


@dataclass(frozen=True, slots=True)
class Calibration:
    """What scores of normal records look like.

    Immutable; safe to use from several threads.

    Parameters
    ----------
    scores_sorted_N : ndarray of float64, shape (N,)
        Distances of held-out normal records, ascending, finite, from 0; at least one.

    Raises
    ------
    ValueError
        When they are not.

    Notes
    -----
    ``score > threshold(rate)`` and ``p_value(score) <= rate`` are the same decision.

    References
    ----------
    Conformal p-value: Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World"
    (2005), chapter 2.
    """

    scores_sorted_N: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Check order and finiteness."""
        scores = self.scores_sorted_N
        if scores.ndim != 1 or scores.size == 0 or scores.dtype != np.float64:
            message = (
                f"calibration scores are {scores.dtype} of shape {scores.shape}, expected float64 "
                "of shape (N,), N at least 1"
            )
            raise ValueError(message)
        if not np.isfinite(scores).all():
            n_bad = int(np.sum(~np.isfinite(scores)))
            message = f"{n_bad} of {scores.size} calibration scores are not finite; fit them again"
            raise ValueError(message)
        if scores[0] < 0:
            message = f"the smallest calibration score is {scores[0]:g}, expected a distance from 0"
            raise ValueError(message)
        if (scores[1:] < scores[:-1]).any():
            message = "calibration scores are not in ascending order; use Calibration.fit"
            raise ValueError(message)

    @classmethod
    def fit(cls, scores_N: ArrayLike) -> "Calibration":
        """Return the calibration of scores in any order."""
        return cls(np.sort(np.asarray(scores_N, dtype=np.float64)))

    @property
    def smallest_rate(self) -> float:
        """Smallest false-positive rate that so many scores can vouch for, and smallest p-value."""
        return 1.0 / (self.scores_sorted_N.size + 1)

    def p_value(self, scores_B: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the chance that a normal record scores as high or higher, in (0, 1].

        ``(1 + #{calibration >= score}) / (N + 1)``: never below `smallest_rate`. Lower is more
        anomalous.
        """
        n_scores = self.scores_sorted_N.size
        n_below_B = np.searchsorted(self.scores_sorted_N, scores_B, side="left")
        return (n_scores + 1 - n_below_B) / (n_scores + 1.0)

    def threshold(self, false_positive_rate: float) -> float:
        """Return the score above which at most this share of normal records lies.

        A record is an alert if and only if its score is *greater*.

        Parameters
        ----------
        false_positive_rate : float
            In (0, 1]; 1 gives minus infinity, so that every record is an alert.

        Raises
        ------
        ConfigError
            When the rate is outside (0, 1], or too small to be vouched for by N scores.
        """
        if not 0 < false_positive_rate <= 1:
            message = (
                f"false_positive_rate is {false_positive_rate}, expected a share in (0, 1] such as "
                "0.001"
            )
            raise ConfigError(message)
        n_scores = self.scores_sorted_N.size
        # The largest p-value not above the rate, by the same division as in `p_value`: the product
        # alone may be rounded to the wrong side of a whole number.
        n_allowed = int(false_positive_rate * (n_scores + 1.0)) + 1
        while n_allowed / (n_scores + 1.0) > false_positive_rate:
            n_allowed -= 1
        if n_allowed == 0:
            message = (
                f"false_positive_rate is {false_positive_rate:g}, but the model was calibrated on "
                f"{n_scores} normal records, which can vouch for {self.smallest_rate:.3g} at "
                "the least; set a higher rate, or train with more held-out normal records"
            )
            raise ConfigError(message)
        n_kept = n_scores + 1 - n_allowed
        return float(self.scores_sorted_N[n_kept - 1]) if n_kept else float("-inf")
