"""Training rows as tensors, and the batches that Algorithm 1 samples.

Letters: N rows, B rows of a batch, D dense inputs, C categories.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anoean_stream.features.batch import FeatureBatch
from anoean_stream.features.contract import FeatureContract


@dataclass(frozen=True, slots=True)
class Rows:
    """Encoder inputs of some records.

    Parameters
    ----------
    dense_ND : Tensor, float32, shape (N, D)
    codes_NC : Tensor, int64, shape (N, C)
    """

    dense_ND: Tensor
    codes_NC: Tensor

    @classmethod
    def of(cls, features: FeatureBatch) -> "Rows":
        """Return the features of a contract as tensors; shares their memory."""
        return cls(torch.from_numpy(features.dense_BD), torch.from_numpy(features.codes_BC))

    def __len__(self) -> int:
        return len(self.dense_ND)

    def take(self, rows_B: Tensor) -> "Rows":
        """Return a copy of some rows."""
        return Rows(self.dense_ND.index_select(0, rows_B), self.codes_NC.index_select(0, rows_B))

    def part(self, rows: slice) -> "Rows":
        """Return consecutive rows, sharing their memory."""
        return Rows(self.dense_ND[rows], self.codes_NC[rows])

    def joined(self, other: "Rows") -> "Rows":
        """Return these rows and then the others, copied."""
        return Rows(
            torch.cat([self.dense_ND, other.dense_ND]), torch.cat([self.codes_NC, other.codes_NC])
        )


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Records with their labels.

    Parameters
    ----------
    features : FeatureBatch
        N records through the contract.
    is_anomaly_N : ndarray of bool, shape (N,)
    """

    features: FeatureBatch
    is_anomaly_N: NDArray[np.bool_]

    @property
    def normals(self) -> FeatureBatch:
        """Only the normal records."""
        return self.features.take(np.flatnonzero(~self.is_anomaly_N))

    @property
    def anomalies(self) -> FeatureBatch:
        """Only the anomalies."""
        return self.features.take(np.flatnonzero(self.is_anomaly_N))


def passes_over(
    n_rows: int, *, n_passes: int, batch_rows: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """Yield row numbers, ``batch_rows`` at a time, each pass in a new random order.

    The last batch of a pass may be short.
    """
    for _ in range(n_passes):
        order_N = torch.randperm(n_rows, generator=generator)
        for start in range(0, n_rows, batch_rows):
            yield order_N[start : start + batch_rows]


def with_gaps(
    rows: Rows, *, rate: float, contract: FeatureContract, generator: torch.Generator
) -> Rows:
    """Return rows in which a few cells, drawn at random, are unknown words or missing.

    "Other" and "missing" are inputs that the table may never show. Left to their random initial
    weights they would move a live record anywhere; so normals and anomalies alike show them.

    Parameters
    ----------
    rows : Rows
        A batch; changed in place.
    rate : float
        Share of the cells, in [0, 0.5]. A category becomes "other" or missing, half and half; a
        number or flag becomes missing where the contract has a mark for that.
    contract : FeatureContract
        Says which inputs those are.
    generator : torch.Generator
        Source of randomness.
    """
    if rate <= 0:
        return rows
    n_rows = len(rows)
    cardinalities = contract.cardinalities
    if cardinalities:
        drawn_BC = torch.rand((n_rows, len(cardinalities)), generator=generator)
        missing_C = torch.tensor(cardinalities, dtype=torch.int64) - 1
        codes_BC = rows.codes_NC
        codes_BC.copy_(torch.where(drawn_BC < rate, missing_C - 1, codes_BC))
        codes_BC.copy_(torch.where(drawn_BC < rate / 2, missing_C, codes_BC))
    columns = torch.from_numpy(contract.indicator_columns)
    if len(columns):
        n_columns = len(contract.number_names)
        gone_BM = torch.rand((n_rows, len(columns)), generator=generator) < rate
        neutral_M = torch.from_numpy(contract.neutral_N)[columns]
        dense_BD = rows.dense_ND
        dense_BD[:, columns] = torch.where(gone_BM, neutral_M, dense_BD[:, columns])
        dense_BD[:, n_columns:] = torch.where(gone_BM, 1.0, dense_BD[:, n_columns:])
    return rows
