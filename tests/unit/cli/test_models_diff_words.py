"""The sentences of `anoean models diff` say what the figures say."""

from typing import Any

import pytest

from anoean_stream.cli.models_diff_words import headline, remarks


def document(**figures: Any) -> dict[str, Any]:
    """Return two models that are alike in everything, and what is said to differ."""
    return {
        "a": {"model": "edge", "version": "3"},
        "b": {"model": "edge", "version": "4"},
        "records": 10_000,
        "champion_alerts": 100,
        "candidate_alerts": 100,
        "both_alerts": 100,
        "champion_dead": 0,
        "candidate_dead": 0,
        "rank_correlation": 0.98,
        "champion_us": 5.0,
        "candidate_us": 5.0,
        "time_ratio": [0.97, 1.0, 1.04],
    } | figures


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        (
            {},
            (
                "Version 4 raises as many alerts as version 3 (100), agrees with it on 100 % of all "
                "alerts and takes about as long."
            ),
        ),
        (
            {"candidate_alerts": 80, "both_alerts": 60, "time_ratio": [2.9, 3.0, 3.2]},
            (
                "Version 4 raises 20 % fewer alerts than version 3 (80 against 100), agrees with it on "
                "50 % of all alerts and takes 3.0 times as long."
            ),
        ),
        (
            {"candidate_alerts": 450, "both_alerts": 100, "time_ratio": [0.4, 0.5, 0.6]},
            (
                "Version 4 raises 4.5 times as many alerts as version 3 (450 against 100), agrees with "
                "it on 22 % of all alerts and takes 50 % less time."
            ),
        ),
        (
            {"champion_alerts": 0, "candidate_alerts": 0, "both_alerts": 0, "time_ratio": None},
            "Version 4 raises no alert, and neither does version 3.",
        ),
        (
            {"champion_alerts": 0, "candidate_alerts": 7, "both_alerts": 0, "time_ratio": None},
            "Version 4 raises 7 alerts where version 3 raises 0.",
        ),
        (
            {"b": {"model": "core", "version": "1"}, "time_ratio": None},
            "core@1 raises as many alerts as edge@3 (100) and agrees with it on 100 % of all alerts.",
        ),
    ],
)
def test_headline_is_one_sentence(figures: dict[str, Any], expected: str) -> None:
    assert headline(document(**figures)) == expected


@pytest.mark.parametrize(
    ("figures", "tones"),
    [
        ({}, "same same same same same"),
        ({"candidate_alerts": 80, "both_alerts": 60}, "open open same same same"),
        ({"rank_correlation": 0.2}, "same same open same same"),
        ({"rank_correlation": None}, "same same open same same"),
        ({"candidate_dead": 3, "champion_dead": 1}, "same same same worse same"),
        ({"champion_dead": 1}, "same same same better same"),
        # Three quarters of the chunks must say so.
        ({"time_ratio": [1.1, 1.5, 2.0]}, "same same same same same"),
        ({"time_ratio": [1.3, 1.5, 2.0]}, "same same same same worse"),
        ({"time_ratio": [0.5, 0.6, 0.7]}, "same same same same better"),
        ({"time_ratio": None}, "same same same same open"),
    ],
)
def test_remarks_say_what_is_better_worse_or_for_a_person(
    figures: dict[str, Any], tones: str
) -> None:
    assert " ".join(remark.tone for remark in remarks(document(**figures))) == tones
