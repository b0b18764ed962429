"""Thresholds from counted scores, against a count of the scores themselves."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from anoean_stream.cli.threshold_traffic import Traffic, rate_interval
from anoean_stream.detector.sketch import GROWTH, ScoreSketch
from anoean_stream.errors import ConfigError
from tests.support.reporting import make_distribution

Scores = NDArray[np.float64]


def draw(seed: int, n: int = 20_000) -> Scores:
    """Scores with a long tail, as distances of traffic have it."""
    return np.random.default_rng(seed).lognormal(0.0, 0.7, n)


def brute_force(workers: list[tuple[Scores, float]], distance: float) -> float:
    """Alerts an hour, counted one by one; each worker has its scores and its hours."""
    return sum(float((scores_B > distance).sum()) / hours for scores_B, hours in workers)


def traffic_of(workers: list[tuple[Scores, float]]) -> Traffic:
    return Traffic.of(
        "1", [make_distribution(scores_B, seconds=hours * 3600) for scores_B, hours in workers]
    )


@pytest.mark.parametrize("hours", [(1.0,), (1.0, 1.0), (1.0, 0.25, 0.5)])
@pytest.mark.parametrize("alerts", [10.0, 50.0, 333.0])
def test_threshold_keeps_the_budget_and_is_the_smallest_that_does(
    hours: tuple[float, ...], alerts: float
) -> None:
    workers = [(draw(seed), span) for seed, span in enumerate(hours)]
    traffic = traffic_of(workers)

    distance = traffic.distance_for(alerts)

    assert brute_force(workers, distance) <= alerts
    assert brute_force(workers, distance / GROWTH) > alerts
    assert traffic.alert_rate(distance).per_hour == pytest.approx(brute_force(workers, distance))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), alerts=st.floats(1.0, 30_000.0))
def test_budget_holds_whatever_is_asked_for(seed: int, alerts: float) -> None:
    workers = [(draw(seed, 2000), 1.0)]

    distance = traffic_of(workers).distance_for(alerts)

    assert brute_force(workers, distance) <= alerts


def test_more_than_all_records_is_a_threshold_of_nothing() -> None:
    assert traffic_of([(draw(0), 1.0)]).distance_for(1e9) == 0.0


def test_edge_of_a_bin_counts_the_whole_bin_above_it() -> None:
    # The logarithm of an edge is rounded to either side of its whole number.
    for number in range(-200, 700):
        sketch = ScoreSketch({number: 3, number + 1: 5})

        edge = sketch.score_above_which(5)

        assert edge is not None
        assert sketch.n_above(edge) == 5


def test_ten_minutes_and_an_hour_are_not_added_as_if_they_were_the_same() -> None:
    scores_B = draw(1, 6000)
    workers = [(scores_B, 1.0), (scores_B[:1000], 1 / 6)]

    assert traffic_of(workers).records_per_hour == pytest.approx(12_000)


def test_scores_of_another_version_and_empty_reports_do_not_count() -> None:
    mine = make_distribution([1.0, 2.0])
    other = make_distribution([1.0], version="2")
    no_time = make_distribution([], seconds=0.0)

    traffic = Traffic.of("1", [mine, other, no_time, None])

    assert traffic.distributions == (mine,)


def test_fewer_alerts_than_the_time_could_show_are_refused_with_the_way_out() -> None:
    traffic = traffic_of([(draw(0), 0.1)])  # six minutes

    with pytest.raises(
        ConfigError, match=r"5 alerts an hour cannot be told from 6 min.*at least 10"
    ):
        traffic.distance_for(5)
    assert traffic.distance_for(10) > 0


def test_short_and_uneven_counts_are_called_rough() -> None:
    assert "rough" not in traffic_of([(draw(0), 1.0), (draw(1), 0.9)]).describe()
    assert "short" in traffic_of([(draw(0), 0.1)]).describe()
    assert "later" in traffic_of([(draw(0), 1.0), (draw(1), 0.4)]).describe()


def test_shadow_gets_the_same_share_of_its_sample() -> None:
    scores_B = draw(3)
    shadow = traffic_of([(scores_B, 1.0)])

    distance = shadow.distance_for_share(0.001)

    assert distance is not None
    assert (scores_B > distance).sum() <= 20 < (scores_B > distance / GROWTH).sum()
    assert shadow.distance_for_share(1e-6) is None


@pytest.mark.parametrize(
    ("count", "low", "high", "within"),
    # Garwood (1936), 95 %.
    [
        (0, 0.0, 3.689, 0.01),
        (2, 0.242, 7.225, 0.1),
        (10, 4.795, 18.390, 0.01),
        (100, 81.364, 121.627, 0.001),
    ],
)
def test_interval_is_garwoods_where_all_workers_counted_equally_long(
    count: int, low: float, high: float, within: float
) -> None:
    halves = [count // 2, count - count // 2]

    rate, *interval = rate_interval(halves, [2.0, 2.0])

    assert rate == count / 2
    assert interval == pytest.approx([low / 2, high / 2], rel=within)


def test_interval_of_uneven_hours_covers_the_truth() -> None:
    rng = np.random.default_rng(7)
    hours, rate = [1.0, 0.2], 30.0
    covered = 0
    for _ in range(1000):
        counts = [int(rng.poisson(rate * span)) for span in hours]
        _, low, high = rate_interval(counts, hours)
        covered += low <= 2 * rate <= high

    assert covered >= 940


def test_without_workers_nothing_is_known() -> None:
    assert rate_interval([], []) == (0.0, 0.0, math.inf)
