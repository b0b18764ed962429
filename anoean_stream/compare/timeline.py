"""Alerts along a range of unknown length, in a bounded number of bins that widen as it grows.

Letters: P records, T bins.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

MOST_BINS: Final = 120
"""Bins at the most, and more than half as many once it has widened. Above 500 a line is all noise."""

_COLUMNS: Final = 4


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a timeline holds: T bins that are not empty, in order.

    Parameters
    ----------
    width : int
        Of each bin, in the unit of the positions.
    begins_T : ndarray of int64, shape (T,)
        Smallest position of each bin; bins between may be missing.
    records_T, champion_T, candidate_T, both_T : ndarray of int64, shape (T,)
        Records, and alerts of each model and of both.
    """

    width: int
    begins_T: NDArray[np.int64]
    records_T: NDArray[np.int64]
    champion_T: NDArray[np.int64]
    candidate_T: NDArray[np.int64]
    both_T: NDArray[np.int64]


class Timeline:
    """Counts records and alerts by position; not thread-safe.

    Parameters
    ----------
    width : int
        Of a bin to begin with, >= 1; it doubles when there are more than `MOST_BINS`.
    """

    def __init__(self, *, width: int) -> None:
        if width < 1:
            message = f"the width of a bin is {width}, expected at least 1"
            raise ValueError(message)
        self._width = width
        self._bins: dict[int, NDArray[np.int64]] = {}

    def add(
        self,
        positions_P: NDArray[np.int64],
        champion_alerts_P: NDArray[np.bool_],
        candidate_alerts_P: NDArray[np.bool_],
    ) -> None:
        """Count P records; positions may come in any order."""
        numbers, inverse_P = np.unique(positions_P // self._width, return_inverse=True)
        both_P = champion_alerts_P & candidate_alerts_P
        counts = np.stack(
            [
                np.bincount(inverse_P[chosen_P], minlength=len(numbers))
                for chosen_P in (slice(None), champion_alerts_P, candidate_alerts_P, both_P)
            ],
            axis=1,
        ).astype(np.int64)
        self._merge(numbers.tolist(), counts)
        while len(self._bins) > MOST_BINS:
            held, self._bins, self._width = self._bins, {}, self._width * 2
            self._merge([number // 2 for number in held], np.stack(list(held.values())))

    def stretch(self) -> Stretch:
        """Return what was counted."""
        numbers = sorted(self._bins)
        counts_TX = np.array([self._bins[number] for number in numbers], dtype=np.int64).reshape(
            -1, _COLUMNS
        )
        records_T, champion_T, candidate_T, both_T = counts_TX.T
        return Stretch(
            self._width,
            np.array(numbers, dtype=np.int64) * self._width,
            records_T,
            champion_T,
            candidate_T,
            both_T,
        )

    def _merge(self, numbers: list[int], counts_TX: NDArray[np.int64]) -> None:
        for number, counts in zip(numbers, counts_TX, strict=True):
            held = self._bins.get(number)
            self._bins[number] = counts if held is None else held + counts
