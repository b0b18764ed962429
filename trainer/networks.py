"""The encoder and the discriminator of AnoEAN in torch.

Letters: B records, D dense inputs, C categories, K codes of all categories together, H units of
the first layer, Z latent dimensions.

The encoder is, weight for weight, `anoean_stream.detector.encoder.Encoder`: what is trained here
is what the worker multiplies.
"""

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from anoean_stream.detector.encoder import NEGATIVE_SLOPE

_DISCRIMINATOR_SLOPE: Final = 0.2
"""Slope of LeakyReLU below 0 in the discriminator, as is usual in adversarial nets; in [0, 1)."""


class Encoder(nn.Module):
    """Features to latent coordinates: a perceptron with LeakyReLU, linear at the end.

    Parameters
    ----------
    n_dense : int
        Dense inputs, D.
    cardinalities : sequence of int
        Codes of each category.
    hidden : sequence of int
        Units of the hidden layers; empty for a linear encoder.
    latent_dim : int
        Latent dimensions, Z.
    """

    def __init__(
        self, n_dense: int, *, cardinalities: Sequence[int], hidden: Sequence[int], latent_dim: int
    ) -> None:
        super().__init__()
        units = (*hidden, latent_dim)
        self.cardinalities = tuple(cardinalities)
        # One table for all categories: a lookup and one sum, which is what a one-hot input times
        # its weights would give.
        self.category_KH = nn.Parameter(torch.empty(sum(self.cardinalities), units[0]))
        self.dense = nn.Linear(n_dense, units[0])
        self.hidden = nn.ModuleList(nn.Linear(n_in, n_out) for n_in, n_out in pairwise(units))
        starts = tuple(accumulate(self.cardinalities, initial=0))[:-1]
        self.register_buffer("starts_C", torch.tensor(starts, dtype=torch.int64), persistent=False)
        # A record has D + C inputs that are not 0: the bound of torch's own Linear for as many.
        bound = 1.0 / math.sqrt(max(1, n_dense + len(self.cardinalities)))
        for parameter in (self.dense.weight, self.dense.bias, self.category_KH):
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, dense_BD: Tensor, codes_BC: Tensor) -> Tensor:
        """Return the latent coordinates, float32, shape (B, Z)."""
        x_BH: Tensor = self.dense(dense_BD)
        if self.cardinalities:
            starts_C = self.get_buffer("starts_C")
            x_BH = x_BH + nn.functional.embedding_bag(
                codes_BC + starts_C, self.category_KH, mode="sum"
            )
        for layer in self.hidden:
            x_BH = layer(nn.functional.leaky_relu(x_BH, NEGATIVE_SLOPE))
        return x_BH

    def to_tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return the weights under the names that the worker's encoder takes, copied."""

        def copied(tensor: Tensor) -> NDArray[np.float32]:
            return np.array(tensor.detach().numpy(), dtype=np.float32, order="C")

        tensors = {
            "dense.weight": copied(self.dense.weight.T),
            "dense.bias": copied(self.dense.bias),
            "negative_slope": np.array([NEGATIVE_SLOPE], dtype=np.float32),
        }
        bounds = pairwise(accumulate(self.cardinalities, initial=0))
        for index, (start, stop) in enumerate(bounds):
            tensors[f"category.{index}.weight"] = copied(self.category_KH[start:stop])
        for index, layer in enumerate(self.hidden, start=1):
            assert isinstance(layer, nn.Linear)
            tensors[f"hidden.{index}.weight"] = copied(layer.weight.T)
            tensors[f"hidden.{index}.bias"] = copied(layer.bias)
        return tensors


class Discriminator(nn.Module):
    """Latent coordinates to the logit of "this is a draw of N(0, I)".

    Parameters
    ----------
    latent_dim : int
        Latent dimensions, Z.
    hidden : sequence of int
        Units of the hidden layers.
    """

    def __init__(self, latent_dim: int, *, hidden: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise((latent_dim, *hidden)):
            layers += [nn.Linear(n_in, n_out), nn.LeakyReLU(_DISCRIMINATOR_SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Linear((latent_dim, *hidden)[-1], 1))

    def forward(self, latents_BZ: Tensor) -> Tensor:
        """Return the logits, float32, shape (B,)."""
        logits_B1: Tensor = self.layers(latents_BZ)
        return logits_B1.squeeze(1)
