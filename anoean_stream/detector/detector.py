"""Features to scores: the encoder, the distance and its calibration.

Letters: B records, Z latent dimensions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anoean_stream.detector.calibration import Calibration
from anoean_stream.detector.encoder import Encoder
from anoean_stream.features.batch import FeatureBatch
from anoean_stream.features.contract import FeatureContract


@dataclass(frozen=True, slots=True)
class Scores:
    """How unusual B records are.

    Parameters
    ----------
    distance_B : ndarray of float64, shape (B,)
        Mahalanobis distance from the normal records, at least 0. Higher is more anomalous.
    p_value_B : ndarray of float64, shape (B,)
        Chance that a normal record is as far or farther, in (0, 1]. Lower is more anomalous.
    """

    distance_B: NDArray[np.float64]
    p_value_B: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Detector:
    """A trained model, ready to score.

    Immutable; all methods are pure, do not block, and are safe to call from several threads.

    Parameters
    ----------
    contract : FeatureContract
        Makes the features that the encoder takes.
    encoder : Encoder
        Whitened (`Encoder.whitened`): the norm of its latent coordinates is the distance.
    calibration : Calibration
        Of the same encoder's distances.
    """

    contract: FeatureContract
    encoder: Encoder
    calibration: Calibration

    def score(self, features: FeatureBatch) -> Scores:
        """Return distance and p-value of B records."""
        distance_B = self.distances(features)
        return Scores(distance_B=distance_B, p_value_B=self.calibration.p_value(distance_B))

    def distances(self, features: FeatureBatch) -> NDArray[np.float64]:
        """Return the Mahalanobis distance of B records (Eq. 3 of the paper), not squared."""
        return norm(self.encoder.forward(features))


def norm(latents_BZ: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the Euclidean norm of each row, summed in float64."""
    wide_BZ = latents_BZ.astype(np.float64)
    squares_B: NDArray[np.float64] = np.einsum("bz,bz->b", wide_BZ, wide_BZ)
    return np.sqrt(squares_B)
