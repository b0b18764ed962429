"""Which records are kept depends on partition and offset alone."""

import numpy as np
import pytest

from anoean_stream.overload.rule import is_kept, sampled
from anoean_stream.records.chunk import Chunk


def chunk_of(offsets: list[int], *, partition: int = 0) -> Chunk:
    n = len(offsets)
    values = [b"%d" % offset for offset in offsets]
    return Chunk("flows", partition, values, [None] * n, offsets, [1000 + o for o in offsets])


def test_splitmix64_is_the_published_one() -> None:
    # First output of SplitMix64 seeded with 0 is 0xE220A8397B1DCDAF: just below and above its share.
    exact = 0xE220A8397B1DCDAF / 2**64
    zero = np.zeros(1, dtype=np.uint64)

    assert not is_kept(0, zero, exact - 1e-6)[0]
    assert is_kept(0, zero, exact + 1e-6)[0]


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("partition", [0, 1, 40_000])
def test_share_is_kept_in_every_partition(share: float, partition: int) -> None:
    offsets = np.arange(10**6, 10**6 + 100_000, dtype=np.uint64)

    assert is_kept(partition, offsets, share).mean() == pytest.approx(share, abs=0.006)


def test_chunk_boundaries_change_nothing() -> None:
    whole = sampled(chunk_of(list(range(1000))), 0.3)
    halves = [sampled(chunk_of(list(part)), 0.3) for part in (range(421), range(421, 1000))]

    assert list(whole.offsets) == [*halves[0].offsets, *halves[1].offsets]


def test_what_is_kept_keeps_its_value_offset_and_time() -> None:
    kept = sampled(chunk_of(list(range(500, 700)), partition=3), 0.5)

    assert kept.partition == 3
    assert 0 < kept.n_records < 200
    assert [int(value or b"") for value in kept.values] == list(kept.offsets)
    assert [stamp - 1000 for stamp in kept.timestamps_ms] == list(kept.offsets)
