"""The two losses of AnoEAN, from the discriminator's logits.

Letters: B records of one kind in a batch.

With a logit ``d`` and ``D = sigmoid(d)``: ``-log D = softplus(-d)`` and ``-log(1 - D) =
softplus(d)``. Neither overflows nor becomes log(0), however sure the discriminator is.

References
----------
Gherbi, Hanczar, Janodet and Klaudel, "An Encoding Adversarial Network for Anomaly Detection",
ACML 2019: Eq. (1), and the modified encoder loss of section 3.3.
"""

from torch import Tensor
from torch.nn.functional import softplus


def discriminator_loss(prior_B: Tensor, normal_B: Tensor, anomaly_B: Tensor) -> Tensor:
    """Return L_D, Eq. (1): draws of the Gaussian are real, everything encoded is fake.

    Parameters
    ----------
    prior_B : Tensor, float32, shape (B_z,)
        Logits of draws from N(0, I).
    normal_B, anomaly_B : Tensor, float32, shapes (B_n,) and (B_a,)
        Logits of encoded records; each kind has its own mean, so that the few anomalies of a
        batch weigh as much as its normals.

    Returns
    -------
    Tensor
        A scalar, at least 0; ``3 log 2`` when the discriminator knows nothing.
    """
    return softplus(-prior_B).mean() + softplus(normal_B).mean() + softplus(anomaly_B).mean()


def encoder_loss(normal_B: Tensor, anomaly_B: Tensor) -> Tensor:
    """Return the modified L_E of section 3.3: normals onto the Gaussian, anomalies off it.

    ``-E[log D(E(x_n))] - E[log(1 - D(E(x_a)))]`` has the same optimum as Eq. (2) and larger
    gradients while the encoder is bad.

    Parameters
    ----------
    normal_B, anomaly_B : Tensor, float32, shapes (B_n,) and (B_a,)
        Logits of encoded records.

    Returns
    -------
    Tensor
        A scalar, at least 0; ``2 log 2`` when the discriminator knows nothing.
    """
    return softplus(-normal_B).mean() + softplus(anomaly_B).mean()
