"""The paired bootstrap: its intervals hold what they promise."""

import time

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from anoean_stream.gate.bootstrap import Interval, interval, measure, paired_differences, resample
from anoean_stream.gate.figures import Ranking

Scores = NDArray[np.float64]
Labels = NDArray[np.bool_]

BUDGETS = (0.1, 0.1)


def draw(rng: np.random.Generator, n_records: int) -> tuple[Scores, Scores, Labels]:
    """Two versions that see the same record with errors of their own; the second has larger ones."""
    is_anomaly_N = np.arange(n_records) % 4 == 0
    difficulty_N = rng.normal(size=n_records) + 2.0 * is_anomaly_N
    better = difficulty_N + 0.3 * rng.normal(size=n_records)
    worse = difficulty_N + 0.6 * rng.normal(size=n_records)
    return better, worse, is_anomaly_N


def differences(
    candidate: Scores, champion: Scores, is_anomaly_N: Labels, *, n_samples: int, seed: int = 0
) -> tuple[Interval, Interval]:
    return paired_differences(
        Ranking.of(candidate, is_anomaly_N),
        Ranking.of(champion, is_anomaly_N),
        is_anomaly_N,
        budgets=BUDGETS,
        n_samples=n_samples,
        confidence=0.95,
        seed=seed,
    )


def test_every_resample_keeps_the_size_of_both_classes() -> None:
    is_anomaly_N = np.arange(1000) % 10 == 0

    weights_SN = np.concatenate(list(resample(is_anomaly_N, n_samples=2500, seed=3)))

    assert weights_SN.shape == (2500, 1000)
    assert set(weights_SN[:, is_anomaly_N].sum(axis=1)) == {100}
    assert set(weights_SN[:, ~is_anomaly_N].sum(axis=1)) == {900}
    # Each record is drawn once on average, with the variance of a multinomial.
    assert weights_SN.mean(axis=0) == pytest.approx(1.0, abs=0.12)
    assert weights_SN[:, is_anomaly_N].var() == pytest.approx(1 - 1 / 100, rel=0.02)


def test_a_resample_is_measured_as_if_its_records_had_been_drawn() -> None:
    better, _, is_anomaly_N = draw(np.random.default_rng(1), 400)
    [weights_SN] = resample(is_anomaly_N, n_samples=5, seed=1)

    figures = measure(Ranking.of(better, is_anomaly_N), budget=0.1, weights_SN=weights_SN)

    for aupr, weights_N in zip(figures.aupr, weights_SN, strict=True):
        drawn = np.repeat(np.arange(400), weights_N)
        assert aupr == pytest.approx(average_precision_score(is_anomaly_N[drawn], better[drawn]))


def test_the_interval_covers_the_true_difference_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    better, worse, is_anomaly_N = draw(rng, 400_000)
    truth = average_precision_score(is_anomaly_N, better) - average_precision_score(
        is_anomaly_N, worse
    )
    n_trials = 300

    n_covered = 0
    for _ in range(n_trials):
        aupr, _ = differences(*draw(rng, 600), n_samples=300)
        n_covered += aupr.low <= truth <= aupr.high

    # 95 % of 300 with three standard errors of the count; percentile intervals run a little short.
    assert 0.91 <= n_covered / n_trials <= 0.99


def test_two_versions_that_are_equally_good_are_told_apart_as_rarely_as_it_says() -> None:
    rng = np.random.default_rng(6)
    n_trials, n_refused = 300, 0
    for _ in range(n_trials):
        better, _, is_anomaly_N = draw(rng, 600)
        other = better + 0.4 * rng.normal(size=600)
        another = better + 0.4 * rng.normal(size=600)
        aupr, _ = differences(other, another, is_anomaly_N, n_samples=300)
        n_refused += aupr.high < 0

    # One side of a 95 % interval: 2.5 % of 300 is 7.5, and 17 is three and a half standard errors off.
    assert n_refused <= 17


def test_the_paired_interval_is_narrower_than_the_unpaired_one() -> None:
    better, worse, is_anomaly_N = draw(np.random.default_rng(7), 2000)
    rankings = [Ranking.of(scores, is_anomaly_N) for scores in (better, worse)]
    alone = [
        np.concatenate([
            measure(ranking, budget=0.1, weights_SN=weights_SN).aupr
            for weights_SN in resample(is_anomaly_N, n_samples=1000, seed=seed)
        ])
        for seed, ranking in enumerate(rankings)
    ]  # fmt: skip

    paired, _ = differences(better, worse, is_anomaly_N, n_samples=1000)
    unpaired = interval(0.0, alone[0] - alone[1], confidence=0.95)

    assert paired.high - paired.low < 0.6 * (unpaired.high - unpaired.low)


def test_the_same_scores_differ_by_nothing() -> None:
    better, _, is_anomaly_N = draw(np.random.default_rng(8), 500)

    for difference in differences(better, better.copy(), is_anomaly_N, n_samples=100):
        assert (difference.value, difference.low, difference.high) == (0.0, 0.0, 0.0)


def test_the_same_seed_gives_the_same_interval() -> None:
    drawn = draw(np.random.default_rng(9), 500)

    once, again, other = (differences(*drawn, n_samples=200, seed=seed) for seed in (4, 4, 5))

    assert once == again
    assert once != other


def test_a_thousand_resamples_of_twenty_thousand_records_take_seconds() -> None:
    drawn = draw(np.random.default_rng(10), 20_000)

    began_s = time.process_time()
    differences(*drawn, n_samples=1000)

    # 3 s on two slow cores; a loop over records would take minutes.
    assert time.process_time() - began_s < 30
