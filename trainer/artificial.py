"""Anomalies made from normals, for kinds of attack that no label shows.

Letters: B rows of a batch, D dense inputs, C categories.

Two things are done to a copy of a normal row. A random part of its fields is swapped for those of
another normal row: each value is ordinary, their combination is not. And some numbers get Gaussian
noise, of a scale drawn for the row: values beyond what normals show.
"""

from typing import Final

import torch

from trainer.batches import Rows

_MAX_SWAPPED: Final = 0.5
"""Largest share of a row's fields taken from another row; above one half the row becomes the other
one. In (0, 1)."""

_NOISY: Final = 0.3
"""Share of the numbers of a row that get noise; in (0, 1]."""

_MAX_NOISE: Final = 3.0
"""Largest scale of the noise, standard deviations of the training rows; above 0."""


def artificial_anomalies(normals: Rows, *, n_dense_values: int, generator: torch.Generator) -> Rows:
    """Return one made-up anomaly for each normal row.

    Parameters
    ----------
    normals : Rows
        B rows, at least two; left as they are.
    n_dense_values : int
        Leading dense inputs that hold values; what follows are marks of missing values, which are
        swapped and get no noise.
    generator : torch.Generator
        Source of randomness.
    """
    n_rows, n_dense = normals.dense_ND.shape
    n_categories = normals.codes_NC.shape[1]
    # Shifting by less than B gives every row a partner other than itself.
    shift = int(torch.randint(1, max(2, n_rows), (1,), generator=generator))
    partners = normals.take(torch.arange(n_rows).roll(shift))
    share_B1 = torch.rand((n_rows, 1), generator=generator) * _MAX_SWAPPED
    swapped_BF = torch.rand((n_rows, n_dense + n_categories), generator=generator) < share_B1
    dense_BD = torch.where(swapped_BF[:, :n_dense], partners.dense_ND, normals.dense_ND)
    codes_BC = torch.where(swapped_BF[:, n_dense:], partners.codes_NC, normals.codes_NC)
    scale_B1 = torch.rand((n_rows, 1), generator=generator) * _MAX_NOISE
    shape = (n_rows, n_dense_values)
    noisy_BV = torch.rand(shape, generator=generator) < _NOISY
    noise_BV = torch.randn(shape, generator=generator) * scale_B1
    dense_BD[:, :n_dense_values] += torch.where(noisy_BV, noise_BV, 0.0)
    return Rows(dense_BD, codes_BC)
