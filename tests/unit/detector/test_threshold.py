"""A choice becomes a threshold of one version, and says where it comes from."""

import numpy as np
import pytest

from anoean_stream.detector.calibration import Calibration
from anoean_stream.detector.threshold import Threshold, ThresholdChoice, check_choice, work_out
from anoean_stream.errors import ConfigError

CALIBRATION = Calibration.fit(np.arange(1.0, 1000.0))  # 999 scores: rates from 0.001 on


def worked_out(
    choice: ThresholdChoice | None, *, version: str = "3", settings_rate: float | None = None
) -> Threshold:
    return work_out(
        choice,
        version=version,
        calibration=CALIBRATION,
        model_rate=0.01,
        model_threshold=989.0,
        settings_rate=settings_rate,
    )


def test_without_a_choice_the_settings_decide_and_without_them_the_model() -> None:
    assert worked_out(None) == Threshold(989.0, 0.01, "the model's own, rate 0.01")
    assert worked_out(None, settings_rate=0.1).distance == CALIBRATION.threshold(0.1)


def test_a_rate_holds_for_every_version_and_beats_the_settings() -> None:
    choice = ThresholdChoice(kind="false_positive_rate", value=0.1)

    for version in ("3", "4"):
        found = worked_out(choice, version=version, settings_rate=0.001)
        assert (found.distance, found.budget) == (CALIBRATION.threshold(0.1), 0.1)


def test_a_distance_holds_for_the_version_it_was_set_for() -> None:
    choice = ThresholdChoice(kind="distance", value=500.0, distances={"3": 500.0})

    assert worked_out(choice).distance == 500.0
    assert worked_out(choice).budget == pytest.approx(0.5, rel=0.01)
    other = worked_out(choice, version="4")
    assert other.distance == 989.0
    assert "distance 500 was set for another version" in other.source


def test_alerts_an_hour_hold_by_live_scores_then_by_the_same_share() -> None:
    choice = ThresholdChoice(kind="alerts_per_hour", value=20, distances={"3": 700.0}, share=0.02)

    assert worked_out(choice) == Threshold(700.0, 0.02, "20 alerts an hour")
    other = worked_out(choice, version="4")
    assert other.distance == CALIBRATION.threshold(0.02)
    assert "by the calibration of version 4" in other.source


def test_a_share_too_small_to_vouch_for_becomes_the_smallest() -> None:
    choice = ThresholdChoice(kind="alerts_per_hour", value=1, distances={}, share=1e-9)

    assert worked_out(choice).budget == CALIBRATION.smallest_rate


def test_a_rate_too_small_to_vouch_for_is_refused() -> None:
    choice = ThresholdChoice(kind="false_positive_rate", value=1e-6)

    with pytest.raises(ConfigError, match="999 normal records"):
        worked_out(choice)


@pytest.mark.parametrize(
    "choice",
    [
        ThresholdChoice(kind="false_positive_rate", value=0),
        ThresholdChoice(kind="false_positive_rate", value=1.5),
        ThresholdChoice(kind="alerts_per_hour", value=0),
    ],
)
def test_impossible_values_are_refused(choice: ThresholdChoice) -> None:
    with pytest.raises(ConfigError):
        check_choice(choice)
