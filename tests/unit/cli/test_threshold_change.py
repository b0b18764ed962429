"""When a worker's report shows that it took a threshold."""

from typing import Any

import pytest

from anoean_stream.cli.threshold_change import has_taken
from anoean_stream.detector.threshold import ThresholdChoice
from tests.support.reporting import make_report

TWENTY = ThresholdChoice(kind="alerts_per_hour", value=20, distances={"1": 7.25}, share=1e-4)
RATE = ThresholdChoice(kind="false_positive_rate", value=0.001)


@pytest.mark.parametrize(
    ("choice", "report", "taken"),
    [
        (TWENTY, {"threshold": 7.25, "threshold_source": "20 alerts an hour"}, True),
        # The same words of an earlier `set`: the distance tells.
        (TWENTY, {"threshold": 6.5, "threshold_source": "20 alerts an hour"}, False),
        (TWENTY, {"threshold": None}, False),
        (
            TWENTY,
            {
                "version": "2",
                "threshold_source": "20 alerts an hour, by the calibration of version 2",
            },
            True,
        ),
        (TWENTY, {"version": "2", "threshold_source": "the model's own, rate 0.01"}, False),
        (TWENTY, {"version": None, "threshold": None, "threshold_source": ""}, True),
        (RATE, {"threshold_source": "false-positive rate 0.001"}, True),
        (RATE, {"threshold_source": "20 alerts an hour"}, False),
        (None, {"threshold_source": "20 alerts an hour"}, False),
        (
            None,
            {"threshold_source": "the model's own (20 alerts an hour was set for another version)"},
            True,
        ),
    ],
)
def test_report_shows_the_choice_or_not(
    choice: ThresholdChoice | None,
    report: dict[str, Any],
    taken: bool,  # noqa: FBT001  a column of the table
) -> None:
    assert has_taken(make_report(**report), left=TWENTY, choice=choice) is taken
