"""Offsets of a partition in little memory: which hold a record, and which have an output.

16 bytes for an alert or a dead letter. For the input, 16 bytes for a run of consecutive offsets: one
run in a topic without gaps, one for each record at worst.

Letters in array names: N offsets of a batch, O outputs of a partition.
"""

import hashlib
from array import array
from typing import Final

import numpy as np
from numpy.typing import NDArray

Offsets = NDArray[np.int64]

TOMBSTONE_DIGEST: Final = 0
"""Stands for the digest of a record without a value."""


def digest(value: bytes | None) -> int:
    """Return 64 bits of the SHA-256 of a value, to compare a dead letter with its record."""
    if value is None:
        return TOMBSTONE_DIGEST
    return int.from_bytes(hashlib.sha256(value).digest()[:8])


class Runs:
    """Which offsets of a partition hold a record, as runs of consecutive ones."""

    def __init__(self) -> None:
        self._firsts = array("q")
        self._ends = array("q")
        self.n_records = 0

    def add(self, offsets_N: Offsets) -> None:
        """Add offsets, increasing, all after those that were added before."""
        if not len(offsets_N):
            return
        breaks = np.flatnonzero(np.diff(offsets_N) != 1)
        firsts = offsets_N[np.concatenate(([0], breaks + 1))]
        ends = offsets_N[np.concatenate((breaks, [len(offsets_N) - 1]))] + 1
        if self._ends and self._ends[-1] == firsts[0]:
            self._ends[-1] = int(ends[0])
            firsts, ends = firsts[1:], ends[1:]
        self._firsts.frombytes(firsts.astype(np.int64).tobytes())
        self._ends.frombytes(ends.astype(np.int64).tobytes())
        self.n_records += len(offsets_N)

    def contain(self, offsets_N: Offsets) -> NDArray[np.bool_]:
        """Tell of each offset whether it holds a record."""
        if not self._firsts:
            return np.zeros(len(offsets_N), dtype=np.bool_)
        run_N = np.searchsorted(_as_array(self._firsts), offsets_N, side="right") - 1
        return (run_N >= 0) & (offsets_N < _as_array(self._ends)[run_N])

    def n_before(self, offset: int) -> int:
        """Return how many records stand before an offset."""
        firsts, ends = _as_array(self._firsts), _as_array(self._ends)
        return int(np.clip(np.minimum(ends, offset) - firsts, 0, None).sum())


class Outputs:
    """Alerts, or dead letters, of one input partition: the offset each is about, and 64 bits of it."""

    def __init__(self) -> None:
        self._offsets = array("q")
        self._marks = array("Q")

    def __len__(self) -> int:
        return len(self._offsets)

    def add(self, offset: int, mark: int) -> None:
        """Add one."""
        self._offsets.append(offset)
        self._marks.append(mark)

    def sort(self) -> None:
        """Order them by offset, then mark; call it once, before the rest."""
        offsets_O, marks_O = _as_array(self._offsets), np.frombuffer(self._marks, dtype=np.uint64)
        order_O = np.lexsort((marks_O, offsets_O))
        sorted_offsets, sorted_marks = offsets_O[order_O].tobytes(), marks_O[order_O].tobytes()
        del offsets_O, marks_O, order_O
        self._offsets, self._marks = array("q"), array("Q")
        self._offsets.frombytes(sorted_offsets)
        self._marks.frombytes(sorted_marks)

    @property
    def offsets(self) -> Offsets:
        """The offsets they are about."""
        return _as_array(self._offsets)

    @property
    def marks(self) -> NDArray[np.uint64]:
        """64 bits of each: of an alert's id, of a dead letter's bytes."""
        return np.frombuffer(self._marks, dtype=np.uint64)

    def distinct(self) -> Offsets:
        """Return the offsets that any of them is about, once each."""
        return _once(self.offsets)

    def n_repeats(self) -> int:
        """Return how many say again what another says: same offset, same mark."""
        return int(self._same_as_before().sum())

    def contradicting(self) -> Offsets:
        """Return the offsets about which two of them differ."""
        offsets_O = self.offsets
        differs = (np.diff(offsets_O) == 0) & (self.marks[1:] != self.marks[:-1])
        return _once(offsets_O[1:][differs])

    def _same_as_before(self) -> NDArray[np.bool_]:
        marks_O = self.marks
        same: NDArray[np.bool_] = (np.diff(self.offsets) == 0) & (marks_O[1:] == marks_O[:-1])
        return same


def _once(sorted_offsets: Offsets) -> Offsets:
    # np.unique would hash them: four times the memory, and much slower.
    once: Offsets = sorted_offsets[np.diff(sorted_offsets, prepend=-1) != 0]
    return once


def _as_array(offsets: "array[int]") -> Offsets:
    return np.frombuffer(offsets, dtype=np.int64)
