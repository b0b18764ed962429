"""The sample is uniform and bounded; the rank correlation is Spearman's."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from anoean_stream.compare.sample import PairSample, rank_correlation


def filled(n_pairs: int, *, size: int, seed: int, n_chunk: int = 37) -> PairSample:
    sample = PairSample(size, seed=seed)
    numbers = np.arange(n_pairs, dtype=np.float64)
    for start in range(0, n_pairs, n_chunk):
        part = numbers[start : start + n_chunk]
        sample.add(part, 10 * part)
    return sample


def test_all_pairs_are_kept_while_there_is_room() -> None:
    first, second = filled(100, size=100, seed=0).pairs()

    assert sorted(first) == list(range(100))
    assert (second == 10 * first).all()


def test_sample_is_of_its_size_and_holds_no_pair_twice() -> None:
    first, second = filled(10_000, size=100, seed=1).pairs()

    assert len(first) == len(np.unique(first)) == 100
    assert (second == 10 * first).all()


def test_every_pair_has_the_same_chance_wherever_it_came() -> None:
    n_samples, n_pairs, size = 400, 1000, 50
    firsts = [filled(n_pairs, size=size, seed=seed).pairs()[0] for seed in range(n_samples)]

    counts, _ = np.histogram(np.concatenate(firsts), bins=10, range=(0, n_pairs))

    expected = n_samples * size / 10
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_memory_does_not_grow_with_the_pairs() -> None:
    sample = PairSample(100, seed=0)
    for _ in range(200):
        sample.add(np.arange(500.0), np.arange(500.0))

        assert sum(part.shape[1] for part in sample._parts) <= 200 + 500


def test_pairs_may_be_read_between_two_additions() -> None:
    sample = filled(1000, size=100, seed=2)
    sample.pairs()
    sample.add(np.arange(50.0), np.arange(50.0))

    assert len(sample.pairs()[0]) == 100


def test_an_empty_sample_has_no_pairs_and_no_correlation() -> None:
    assert rank_correlation(*PairSample(10, seed=0).pairs()) is None


@pytest.mark.parametrize("seed", range(5))
def test_rank_correlation_is_scipys_with_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = np.round(rng.exponential(5, 500))  # many are equal
    second = np.round(first + rng.exponential(4, 500))

    found = rank_correlation(first, second)

    assert found == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)
    assert rank_correlation(first, -first) == pytest.approx(-1)


def test_rank_correlation_is_not_defined_for_constants_or_one_pair() -> None:
    assert rank_correlation(np.ones(10), np.arange(10.0)) is None
    assert rank_correlation(np.ones(1), np.ones(1)) is None


def test_a_size_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 1"):
        PairSample(0, seed=0)
