"""Figures of merit against values worked out by hand."""

import json

import numpy as np
import pytest

from trainer.evaluate import best_f1_threshold, figures_of_merit, recall_by_kind, threshold_at

SCORES = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
ANOMALY = [False, False, True, False, True, True]
KINDS = ["normal", "normal", "dos", "normal", "probe", "dos"]


def test_figures_of_a_ranking_with_one_mistake() -> None:
    figures = figures_of_merit(SCORES, ANOMALY, KINDS)

    # Ranks from the top: dos, probe, normal, dos. Precision at each hit: 1, 1, 3/4.
    assert figures["aupr"] == pytest.approx((1 + 1 + 3 / 4) / 3)
    # Of 9 pairs (anomaly, normal) one is in the wrong order.
    assert figures["roc_auc"] == pytest.approx(8 / 9)
    # All above or at 3: precision 3/4, recall 1.
    assert figures["best_f1"] == pytest.approx(6 / 7)
    assert figures["best_f1_threshold"] == 3.0
    assert figures["accuracy"] == pytest.approx(5 / 6)


def test_recall_at_few_false_positives_allows_none_where_normals_are_few() -> None:
    figures = figures_of_merit(SCORES, ANOMALY, KINDS)

    assert figures["recall_at_fpr_0.001"] == pytest.approx(2 / 3)
    assert figures["recall_by_kind_at_fpr_0.01"] == {"dos": 0.5, "probe": 1.0}


def test_threshold_lets_exactly_the_allowed_share_of_normals_through() -> None:
    normals = np.arange(1000, dtype=np.float64)

    assert int((normals > threshold_at(normals, 0.01)).sum()) == 10
    assert int((normals > threshold_at(normals, 0.001)).sum()) == 1
    assert int((normals > threshold_at(normals, 0.0001)).sum()) == 0
    assert int((normals > threshold_at(normals, 1.0)).sum()) == 1000


def test_perfect_scores_have_perfect_figures() -> None:
    figures = figures_of_merit([0.0, 0.1, 9.0], [False, False, True], ["normal", "normal", "dos"])

    shares = [value for name, value in figures.items() if isinstance(value, float)]
    assert figures["aupr"] == figures["roc_auc"] == figures["best_f1"] == figures["accuracy"] == 1
    assert figures["best_f1_threshold"] == 9.0
    assert len(shares) == 7


def test_equal_scores_are_one_step_of_the_curve() -> None:
    f1, threshold = best_f1_threshold(np.ones(4), np.array([True, False, False, False]))

    assert f1 == pytest.approx(2 * 0.25 / 1.25)
    assert threshold == 1.0


def test_recall_by_kind_ignores_normals_whatever_their_kind_says() -> None:
    recall = recall_by_kind(
        np.array([True, True, False]), np.array([False, True, True]), ["dos", "dos", "dos"]
    )

    assert recall == {"dos": 0.5}


def test_figures_are_plain_json() -> None:
    assert json.loads(json.dumps(figures_of_merit(np.array(SCORES), np.array(ANOMALY), KINDS)))


@pytest.mark.parametrize(
    ("scores", "labels", "kinds", "complaint"),
    [
        ([1.0, 2.0], [True, True], ["a", "a"], "2 of 2 records are anomalies"),
        ([1.0, 2.0], [False, False], ["a", "a"], "0 of 2 records are anomalies"),
        ([1.0, float("nan")], [True, False], ["a", "a"], "1 of 2 scores are not finite"),
        ([1.0], [True, False], ["a", "a"], "expected one of each"),
        ([1.0, 2.0], [True, False], ["a"], "expected one of each"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    scores: list[float], labels: list[bool], kinds: list[str], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        figures_of_merit(scores, labels, kinds)
