"""Which records of a chunk are kept: a fixed function of partition and offset.

The same record is kept or dropped by every worker and at every repetition, and whoever knows
partition, offset and share can say afterwards which records were not looked at.

Letters: B records of the chunk, K kept ones.
"""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from anoean_stream.records.chunk import Chunk

_GOLDEN: Final = 0x9E3779B97F4A7C15
_MIX_1: Final = 0xBF58476D1CE4E5B9
_MIX_2: Final = 0x94D049BB133111EB
"""The constants of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators)."""

_WORD: Final = 2**64


def is_kept(partition: int, offsets: NDArray[np.uint64], share: float) -> NDArray[np.bool_]:
    """Tell for each offset whether its record is kept.

    Parameters
    ----------
    partition : int
        Partition of the records.
    offsets : ndarray of uint64, shape (B,)
        Their offsets.
    share : float
        Share to keep, (0, 1).

    Returns
    -------
    ndarray of bool, shape (B,)
        True where SplitMix64 of ``offset + partition * 2**48`` is below ``share * 2**64``.
    """
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is meant
        state = offsets + np.uint64((partition << 48) % _WORD) + np.uint64(_GOLDEN)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(_MIX_1)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(_MIX_2)
        state ^= state >> np.uint64(31)
    return np.asarray(state < np.uint64(share * _WORD), dtype=np.bool_)


def sampled(chunk: Chunk, share: float) -> Chunk:
    """Return the chunk without the records that the rule drops; perhaps none is left."""
    keep_B = is_kept(chunk.partition, np.asarray(chunk.offsets, dtype=np.uint64), share)
    rows_K = np.flatnonzero(keep_B).tolist()
    return replace(
        chunk,
        values=[chunk.values[row] for row in rows_K],
        keys=[chunk.keys[row] for row in rows_K],
        offsets=[chunk.offsets[row] for row in rows_K],
        timestamps_ms=[chunk.timestamps_ms[row] for row in rows_K],
        headers_of=lambda index: chunk.headers_of(rows_K[index]),
    )
