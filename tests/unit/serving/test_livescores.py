"""The scores of the last hour, and of one version only."""

from datetime import UTC, datetime, timedelta

import numpy as np

from anoean_stream.serving.livescores import SLOT_S, LiveScores

BEGIN = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def live_scores(self) -> LiveScores:
        return LiveScores(
            clock=lambda: self.seconds,
            now=lambda: BEGIN + timedelta(seconds=self.seconds - 1000.0),
        )


def test_what_was_added_is_in_the_bins_with_the_time_it_covers() -> None:
    clock = Clock()
    scores = clock.live_scores()
    scores.begin("3")
    scores.add("3", np.array([1.0, 1.0, 5.0]))
    clock.seconds += 90

    found = scores.distribution()

    assert found is not None
    assert (found.version, found.records, found.seconds) == ("3", 3, 90.0)
    assert sorted(found.bins.values()) == [1, 2]
    assert (found.since, found.until) == ("2026-05-01T12:00:00.000Z", "2026-05-01T12:01:30.000Z")


def test_scores_of_another_version_are_left_out_and_a_swap_begins_anew() -> None:
    scores = Clock().live_scores()
    scores.begin("3")
    scores.add("2", np.array([1.0]))
    scores.add("3", np.array([1.0]))
    scores.begin("4")

    found = scores.distribution()

    assert found is not None
    assert (found.version, found.records) == ("4", 0)


def test_before_a_model_serves_there_is_none() -> None:
    assert Clock().live_scores().distribution() is None


def test_what_is_older_than_an_hour_is_forgotten() -> None:
    clock = Clock()
    scores = clock.live_scores()
    scores.begin("1")
    scores.add("1", np.full(1000, 9.0))
    for _ in range(20):
        clock.seconds += SLOT_S
        scores.add("1", np.array([1.0]))

    found = scores.distribution()

    assert found is not None
    assert found.records == 12
    assert 3600 - SLOT_S <= found.seconds <= 3600


def test_an_idle_topic_forgets_too() -> None:
    clock = Clock()
    scores = clock.live_scores()
    scores.begin("1")
    scores.add("1", np.full(1000, 9.0))
    clock.seconds += SLOT_S
    scores.add("1", np.array([1.0]))
    clock.seconds += 14 * SLOT_S

    found = scores.distribution()

    assert found is not None
    assert found.records == 1
