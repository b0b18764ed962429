"""Records as columns, before and after the feature contract.

Letters: B records, N number and flag fields, C category fields, D dense inputs of the encoder.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp] | Sequence[int]
"""Rows to take, in the order wanted; a row may be taken twice."""


@dataclass(frozen=True, slots=True)
class RawBatch:
    """B records in the units they came in.

    Parameters
    ----------
    numbers_BN : ndarray of float64, shape (B, N)
        Columns are the contract's numbers, then its flags. NaN is missing; never infinite.
    categories : tuple of C sequences, each of length B
        One sequence for each category of the contract. A cell is text or a number as it was
        written, None is missing; True and False come as ``"true"`` and ``"false"``.
    """

    numbers_BN: NDArray[np.float64]
    categories: tuple[Sequence[str | int | float | None], ...]

    @property
    def n_rows(self) -> int:
        """Number of records, B."""
        return len(self.numbers_BN)

    def take(self, indices: Indices) -> "RawBatch":
        """Return a copy of some rows."""
        rows = np.asarray(indices, dtype=np.intp)
        return RawBatch(
            numbers_BN=self.numbers_BN[rows],
            categories=tuple([column[row] for row in rows] for column in self.categories),
        )


@dataclass(frozen=True, slots=True)
class FeatureBatch:
    """B records as the encoder takes them.

    Parameters
    ----------
    dense_BD : ndarray of float32, shape (B, D)
        Numbers, flags and marks of missing values, in the order of `FeatureContract.dense_names`;
        finite.
    codes_BC : ndarray of intp, shape (B, C)
        One code for each category, below the entry of `FeatureContract.cardinalities`.
    n_missing_B : ndarray of intp, shape (B,)
        Fields of the record that had no value.
    """

    dense_BD: NDArray[np.float32]
    codes_BC: NDArray[np.intp]
    n_missing_B: NDArray[np.intp]

    @property
    def n_rows(self) -> int:
        """Number of records, B."""
        return len(self.dense_BD)

    def take(self, indices: Indices) -> "FeatureBatch":
        """Return a copy of some rows."""
        rows = np.asarray(indices, dtype=np.intp)
        return FeatureBatch(
            dense_BD=self.dense_BD[rows],
            codes_BC=self.codes_BC[rows],
            n_missing_B=self.n_missing_B[rows],
        )
