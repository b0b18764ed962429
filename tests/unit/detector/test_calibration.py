"""P-values, thresholds, and the Gaussian of the latents."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anoean_stream.detector.calibration import (
    MIN_EIGENVALUE_RATIO,
    Calibration,
    fit_gaussian,
)
from anoean_stream.errors import ConfigError

scores_of_normals = st.lists(st.floats(0, 1e6), min_size=1, max_size=200).map(Calibration.fit)
rates = st.one_of(st.floats(1e-6, 1), st.sampled_from([0.001, 0.01, 0.05, 0.1, 0.5, 1.0]))


def test_p_value_counts_the_normals_that_are_as_far_or_farther() -> None:
    calibration = Calibration.fit([3.0, 1.0, 2.0, 2.0])

    p_values = calibration.p_value(np.array([0.5, 1.0, 2.0, 2.5, 3.0, 9.0]))

    np.testing.assert_allclose(p_values, np.array([5, 5, 4, 2, 2, 1]) / 5)


@given(scores_of_normals, st.lists(st.floats(0, 1e6), min_size=2, max_size=50))
def test_p_value_is_in_0_1_and_falls_as_the_score_rises(
    calibration: Calibration, scores: list[float]
) -> None:
    p_values = calibration.p_value(np.sort(scores))

    assert (p_values >= calibration.smallest_rate).all()
    assert (p_values <= 1).all()
    assert (np.diff(p_values) <= 0).all()


@given(scores_of_normals, rates)
def test_a_threshold_lets_at_most_the_wanted_share_of_its_own_normals_through(
    calibration: Calibration, rate: float
) -> None:
    rate = max(rate, calibration.smallest_rate)

    threshold = calibration.threshold(rate)

    assert np.mean(calibration.scores_sorted_N > threshold) <= rate


@given(scores_of_normals, rates, st.lists(st.floats(0, 1e6), max_size=50))
def test_exceeding_the_threshold_and_a_p_value_within_the_rate_are_one_decision(
    calibration: Calibration, rate: float, others: list[float]
) -> None:
    rate = max(rate, calibration.smallest_rate)
    scores_B = np.array([*calibration.scores_sorted_N, *others])

    by_threshold = scores_B > calibration.threshold(rate)
    by_p_value = calibration.p_value(scores_B) <= rate

    np.testing.assert_array_equal(by_threshold, by_p_value)


def test_a_threshold_is_not_stricter_than_asked_for() -> None:
    calibration = Calibration.fit(np.arange(1.0, 1000.0))  # 999 scores: 1 in 1000 and up

    assert calibration.threshold(0.001) == 999.0
    assert calibration.threshold(0.01) == 990.0
    assert calibration.threshold(0.5) == 500.0


def test_a_rate_of_1_makes_every_record_an_alert() -> None:
    assert Calibration.fit([1.0, 2.0]).threshold(1.0) == float("-inf")


def test_a_rate_that_so_few_normals_cannot_vouch_for_is_refused_with_the_smallest_one() -> None:
    with pytest.raises(ConfigError, match=r"1e-05.*999 normal records.*0\.001.*higher rate"):
        Calibration.fit(np.arange(999.0)).threshold(1e-5)


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.5, float("nan")])
def test_a_rate_that_is_no_share_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match=r"expected a share in \(0, 1\]"):
        Calibration.fit([1.0]).threshold(rate)


@pytest.mark.parametrize(
    ("scores", "why"),
    [
        (np.array([2.0, 1.0]), "ascending"),
        (np.array([1.0, np.nan]), "1 of 2 calibration scores are not finite"),
        (np.array([]), "N at least 1"),
        (np.zeros((2, 2)), "expected float64 of shape"),
        (np.zeros(2, dtype=np.float32), "float32"),
    ],
)
def test_scores_that_are_no_calibration_are_refused(
    scores: np.ndarray[tuple[int], np.dtype[np.float64]], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        Calibration(scores)


def test_mean_and_covariance_are_those_of_the_sample(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((5000, 3)) @ rng.standard_normal((3, 3)) + [1, 2, 3]

    mu_Z, cov_ZZ = fit_gaussian(latents.astype(np.float32))

    np.testing.assert_allclose(mu_Z, latents.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(cov_ZZ, np.cov(latents.T), rtol=1e-5)
    assert not caplog.records


def test_a_direction_without_variance_is_widened_and_said_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    latents = np.random.default_rng(0).standard_normal((100, 3)) * [1, 0, 1]

    _, cov_ZZ = fit_gaussian(latents)

    smallest, *_, largest = np.linalg.eigvalsh(cov_ZZ)
    assert smallest == pytest.approx(MIN_EIGENVALUE_RATIO * largest)
    np.testing.assert_allclose(cov_ZZ[[0, 2]][:, [0, 2]], np.cov(latents[:, [0, 2]].T), rtol=1e-6)
    assert "1 of 3 directions" in caplog.text


@pytest.mark.parametrize(
    ("latents", "why"),
    [
        (np.ones((50, 3)), "all 50 latent vectors are the same.*collapsed"),
        (np.ones((1, 3)), "at least two"),
        (np.full((5, 3), np.nan), "15 values not finite"),
        (np.ones(5), "at least two"),
    ],
)
def test_latents_without_a_distribution_are_refused(
    latents: np.ndarray[tuple[int, int], np.dtype[np.float64]], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        fit_gaussian(latents)
