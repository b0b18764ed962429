"""Average precision and recall at a budget: as scikit-learn has them, for any weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from anoean_stream.gate.bootstrap import measure, measure_once
from anoean_stream.gate.figures import Ranking
from trainer.evaluate import threshold_at

LABELLED = st.lists(
    st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 4)), min_size=2, max_size=60
).filter(lambda rows: {True, False} <= {label for _, label, weight in rows if weight})
"""Few different scores, so that many are equal."""


def columns(
    rows: list[tuple[int, bool, int]],
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    scores, labels, weights = zip(*rows, strict=True)
    return np.array(scores, dtype=np.float64), np.array(labels), np.array(weights, dtype=np.int64)


@given(LABELLED)
def test_average_precision_is_scikit_learns_with_ties_and_weights(
    rows: list[tuple[int, bool, int]],
) -> None:
    scores_N, is_anomaly_N, weights_N = columns(rows)

    figures = measure(Ranking.of(scores_N, is_anomaly_N), budget=0.1, weights_SN=weights_N[None, :])

    expected = average_precision_score(is_anomaly_N, scores_N, sample_weight=weights_N)
    assert figures.aupr[0] == pytest.approx(expected)


@given(LABELLED, st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.5, 0.9, 1.0]))
def test_recall_is_that_above_the_score_which_the_budget_of_normals_allows(
    rows: list[tuple[int, bool, int]], budget: float
) -> None:
    scores_N, is_anomaly_N, weights_N = columns(rows)

    figures = measure(
        Ranking.of(scores_N, is_anomaly_N), budget=budget, weights_SN=weights_N[None, :]
    )

    drawn_M = np.repeat(np.arange(len(rows)), weights_N)
    threshold = threshold_at(scores_N[drawn_M][~is_anomaly_N[drawn_M]], budget)
    expected = (scores_N[drawn_M] > threshold)[is_anomaly_N[drawn_M]].mean()
    assert figures.recall[0] == pytest.approx(expected)


def test_each_weighting_is_measured_by_itself() -> None:
    scores_N = np.array([4.0, 3.0, 2.0, 1.0])
    is_anomaly_N = np.array([True, False, True, False])
    weights_SN = np.array([[1, 1, 1, 1], [2, 0, 0, 2], [0, 1, 1, 1]])

    figures = measure(Ranking.of(scores_N, is_anomaly_N), budget=0.0, weights_SN=weights_SN)

    assert figures.aupr == pytest.approx([(1 + 2 / 3) / 2, 1.0, 0.5])
    assert figures.recall == pytest.approx([0.5, 1.0, 0.0])


def test_minus_infinity_is_lowest() -> None:
    is_anomaly_N = np.array([True, True, False, False])

    aupr, recall = measure_once(
        Ranking.of(np.array([-np.inf, 2.0, 1.0, 0.0]), is_anomaly_N), budget=0.5
    )

    assert aupr == pytest.approx((1 + 2 / 4) / 2)
    assert recall == 0.5


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="1 NaN"):
        Ranking.of(np.array([1.0, np.nan]), np.array([True, False]))
