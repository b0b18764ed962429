"""Counts in logarithmic bins answer within one per cent of the score."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anoean_stream.detector.sketch import GROWTH, SMALLEST, ScoreSketch

SCORES = st.lists(st.floats(min_value=1e-5, max_value=1e9), min_size=1, max_size=200)


def sketch_of(scores: list[float]) -> ScoreSketch:
    sketch = ScoreSketch()
    sketch.add(np.array(scores))
    return sketch


@given(SCORES, st.floats(min_value=1e-5, max_value=1e9))
def test_the_count_above_a_score_is_right_but_for_its_own_bin(
    scores: list[float], score: float
) -> None:
    found = sketch_of(scores).n_above(score)

    assert found <= sum(one > score for one in scores)
    assert found >= sum(one > score * GROWTH * 1.000001 for one in scores)


@given(SCORES, st.integers(min_value=0, max_value=200))
def test_a_threshold_for_a_budget_keeps_it_and_is_the_smallest_within_a_bin(
    scores: list[float], budget: int
) -> None:
    sketch = sketch_of(scores)

    threshold = sketch.score_above_which(budget)

    assert threshold is not None
    assert sum(one > threshold * 1.000001 for one in scores) <= budget
    if threshold > 0:
        assert sum(one > threshold / GROWTH / GROWTH for one in scores) > budget


@given(SCORES, SCORES)
def test_merging_is_adding(first: list[float], second: list[float]) -> None:
    merged = sketch_of(first)
    merged.merge(sketch_of(second).counts)

    assert merged.counts == sketch_of([*first, *second]).counts


@given(SCORES, st.floats(min_value=0.01, max_value=1))
def test_a_quantile_is_within_a_bin(scores: list[float], share: float) -> None:
    found = sketch_of(scores).quantile(share)
    exact = float(np.quantile(scores, share, method="inverted_cdf"))

    assert found is not None
    assert exact <= found * 1.000001
    assert found <= exact * GROWTH * GROWTH


def test_what_is_no_score_is_left_out_and_tiny_ones_share_a_bin() -> None:
    sketch = sketch_of([float("nan"), float("inf"), 0.0, SMALLEST / 10, 3.0])

    assert sketch.n_scores == 3
    assert len(sketch.counts) == 2
    assert sketch.n_above(-1.0) == 3


def test_without_scores_there_is_no_answer() -> None:
    sketch = ScoreSketch()

    assert sketch.quantile(0.5) is None
    assert sketch.score_above_which(1) is None
    assert sketch.n_above(1.0) == 0


def test_its_size_is_bounded_by_the_range_of_scores() -> None:
    rng = np.random.default_rng(0)
    sketch = ScoreSketch()
    sketch.add(rng.lognormal(0, 2, 1_000_000))

    assert sketch.n_scores == 1_000_000
    assert len(sketch.counts) < 2500
    assert sketch.n_above(1.0) == pytest.approx(500_000, rel=0.02)
