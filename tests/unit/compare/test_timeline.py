"""Counts along a range stay exact while the bins widen."""

import numpy as np
import pytest

from anoean_stream.compare.timeline import MOST_BINS, Timeline


def test_bins_are_exact_counts_however_often_they_widened() -> None:
    rng = np.random.default_rng(0)
    positions = rng.integers(0, 100_000, 5000)
    champion, candidate = rng.random(5000) < 0.1, rng.random(5000) < 0.2
    timeline = Timeline(width=1)
    for start in range(0, 5000, 333):
        part = slice(start, start + 333)
        timeline.add(positions[part], champion[part], candidate[part])

    found = timeline.stretch()

    assert len(found.begins_T) <= MOST_BINS
    edges = [*found.begins_T.tolist(), found.begins_T[-1] + found.width]
    for counts, chosen in (
        (found.records_T, np.ones(5000, dtype=np.bool_)),
        (found.champion_T, champion),
        (found.candidate_T, candidate),
        (found.both_T, champion & candidate),
    ):
        assert counts.tolist() == np.histogram(positions[chosen], edges)[0].tolist()


def test_a_gap_of_years_costs_no_bins() -> None:
    timeline = Timeline(width=10)
    timeline.add(np.array([0, 5, 2**55]), np.zeros(3, np.bool_), np.ones(3, np.bool_))

    found = timeline.stretch()

    assert (found.width, found.records_T.tolist()) == (10, [2, 1])


def test_nothing_makes_no_bins() -> None:
    timeline = Timeline(width=1)
    timeline.add(np.zeros(0, np.int64), np.zeros(0, np.bool_), np.zeros(0, np.bool_))

    assert timeline.stretch().records_T.tolist() == []


def test_a_width_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 1"):
        Timeline(width=0)
