"""The threshold as an operator handles it, on the mock cluster: set, suggest, show, take back."""

from contextlib import ExitStack

import msgspec
import numpy as np
import pytest

from anoean_stream.detector.threshold import ThresholdChoice
from anoean_stream.records.workerreport import WorkerReport
from tests.support.operator import Operator
from tests.support.reporting import StandInWorker, make_distribution, make_report


def scored(*names: str, seconds: float = 3600.0, version: str = "3") -> list[WorkerReport]:
    """Reports of workers that counted 5000 scores each."""
    return [
        make_report(
            name,
            version=version,
            scores=make_distribution(
                np.random.default_rng(seed).lognormal(0.0, 0.7, 5000),
                seconds=seconds,
                version=version,
            ),
        )
        for seed, name in enumerate(names)
    ]


def test_alerts_an_hour_become_a_distance_for_the_champion(operator: Operator) -> None:
    first, second = scored("w1", "w2")
    with ExitStack() as stack:
        for report in (first, second):
            standin = StandInWorker(operator.bootstrap, operator.topics, operator.registry, report)
            stack.enter_context(standin)
        out, _ = operator("threshold", "set", "--alerts-per-hour", "20", "--reason", "night shift")

    choice = operator.registry.threshold("edge").choice
    assert choice is not None
    assert choice.share == pytest.approx(20 / 10_000)
    scores = np.concatenate(
        [np.random.default_rng(seed).lognormal(0.0, 0.7, 5000) for seed in (0, 1)]
    )
    assert (
        (scores > choice.distances["3"]).sum() <= 20 < (scores > choice.distances["3"] / 1.01).sum()
    )
    assert "all 2 workers report it" in out
    assert "20 alerts an hour" in out
    (record,) = operator.audited()
    assert record.action == "threshold_changed"
    assert record.detail["threshold"] == pytest.approx(choice.distances["3"])
    assert (record.detail["effective"], record.reason) == (False, "night shift")


def test_shadow_gets_a_distance_of_its_own(operator: Operator) -> None:
    operator.registry.set_alias("edge", "shadow", "1")
    (report,) = scored("w1")
    rng = np.random.default_rng(5)
    sampled = make_distribution(rng.lognormal(1.0, 0.7, 1000), version="1")
    operator.report(msgspec.structs.replace(report, shadow_scores=sampled))

    operator("threshold", "set", "--alerts-per-hour", "50", "--no-wait")

    choice = operator.registry.threshold("edge").choice
    assert choice is not None
    n_above = (np.random.default_rng(5).lognormal(1.0, 0.7, 1000) > choice.distances["1"]).sum()
    assert n_above <= 10
    assert choice.distances["1"] > choice.distances["3"]


def test_roll_back_of_the_model_finds_the_distance_of_the_same_number(operator: Operator) -> None:
    operator.report(*scored("w1"))
    operator("threshold", "set", "--alerts-per-hour", "20", "--no-wait")
    operator("models", "rollback", "--no-wait")
    operator.report(*scored("w1", version="2"))

    operator("threshold", "set", "--alerts-per-hour", "20", "--no-wait")
    same = operator.registry.threshold("edge").choice
    operator("threshold", "set", "--alerts-per-hour", "30", "--no-wait")
    other = operator.registry.threshold("edge").choice

    assert same is not None
    assert other is not None
    assert set(same.distances) == {"2", "3"}
    assert set(other.distances) == {"2"}


def test_roll_back_of_the_model_says_when_the_threshold_was_for_another(
    operator: Operator,
) -> None:
    operator("threshold", "set", "--distance", "7", "--no-wait")

    _, err = operator("models", "rollback", "--no-wait")

    assert "the threshold (distance 7) was not worked out for version 2" in err


def test_dry_run_says_what_it_would_be_and_changes_nothing(operator: Operator) -> None:
    operator.report(*scored("w1"))

    found = operator.json("threshold", "set", "--alerts-per-hour", "20", "--dry-run")

    assert found["after"]["alerts_per_hour"]["per_hour"] <= 20
    assert found["before"]["threshold_source"] == "the model's own, rate 0.01"
    assert found["written"] is False
    assert operator.registry.threshold("edge").choice is None
    assert operator.audited() == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "found none of them"),
        (("--distance", "5", "--alerts-per-hour", "5"), "found --alerts-per-hour and --distance"),
        (("--alerts-per-hour", "0"), "expected more than 0"),
        (("--false-positive-rate", "2"), "expected a share"),
        (("--false-positive-rate", "1e-9"), "can vouch for"),
        (("--distance", "inf"), "expected a finite number"),
        (("--alerts-per-hour", "20"), "has reported scores of version 3"),
    ],
)
def test_what_cannot_be_is_refused_and_not_written(
    operator: Operator, words: tuple[str, ...], sentence: str
) -> None:
    operator.report(*scored("behind", version="2"))

    _, err = operator("threshold", "set", *words, code=2)

    assert sentence in " ".join(err.replace("│", " ").split())
    assert operator.registry.threshold("edge").choice is None


def test_too_little_traffic_is_refused_with_what_could_be_asked(operator: Operator) -> None:
    operator.report(*scored("w1", seconds=60))

    _, err = operator("threshold", "set", "--alerts-per-hour", "20", code=2)

    assert "at least 60" in err
    operator("threshold", "set", "--alerts-per-hour", "60", "--no-wait")


def test_distance_holds_for_the_champion_only(operator: Operator) -> None:
    operator.registry.set_alias("edge", "shadow", "1")

    operator("threshold", "set", "--distance", "7.5", "--no-wait")

    shown = operator.json("threshold", "show")
    assert shown["worked_out"]["champion"]["threshold"] == 7.5
    assert "was set for another version" in shown["worked_out"]["shadow"]["threshold_source"]


def test_rate_is_worked_out_for_each_version(operator: Operator) -> None:
    with operator.worker("w1", version="3", threshold_source="the model's own"):
        out, _ = operator("threshold", "set", "--false-positive-rate", "0.05")

    shown = operator.json("threshold", "show")
    calibration = operator.registry.load("edge", "3").detector.calibration
    assert shown["worked_out"]["champion"]["threshold"] == calibration.threshold(0.05)
    assert "the only worker reports it" in out


def test_roll_back_and_reset_are_followed_and_audited(operator: Operator) -> None:
    with operator.worker("w1", version="3"):
        operator("threshold", "set", "--distance", "7")
        operator("threshold", "set", "--distance", "8")

        back = operator.json("threshold", "rollback", "--reason", "missed the scan")
        reset = operator.json("threshold", "reset")

    assert (back["threshold"], back["workers"]["followed"]) == (7.0, ["w1"])
    assert (reset["choice"], reset["workers"]["followed"]) == (None, ["w1"])
    assert [one.detail["threshold_source"] for one in operator.audited()][:3] == [
        "distance 7",
        "distance 8",
        "distance 7",
    ]
    assert operator.audited()[3].detail["before"] == "distance 7"


def test_roll_back_to_a_threshold_that_the_champion_cannot_have_changes_nothing(
    operator: Operator,
) -> None:
    impossible = ThresholdChoice(kind="false_positive_rate", value=1e-9)
    operator.registry.set_threshold("edge", impossible)
    operator.registry.set_threshold("edge", None)

    _, err = operator("threshold", "rollback", code=2)

    assert "can vouch for" in err
    assert operator.registry.threshold("edge").choice is None


def test_show_says_who_asked_and_what_each_worker_uses(operator: Operator) -> None:
    operator("threshold", "set", "--distance", "7.5", "--reason", "tuning", "--no-wait")
    operator.report(make_report("w1", version="3", threshold=7.5, threshold_source="distance 7.5"))

    out, _ = operator("threshold", "show")

    assert "asked for  distance 7.5, set" in out
    assert ": tuning" in out
    assert "worker w1  version 3: 7.5 (distance 7.5)" in out


def test_suggestions_are_what_each_choice_would_have_done(operator: Operator) -> None:
    operator.report(*scored("w1", "w2"))
    scores = np.concatenate(
        [np.random.default_rng(seed).lognormal(0.0, 0.7, 5000) for seed in (0, 1)]
    )

    found = operator.json("threshold", "suggest")

    told = {one["choice"]: one for one in found["suggestions"]}
    assert len(told) == 8 + 5 + 1
    for alerts in (1, 2, 5, 10, 20, 50, 100, 200):
        one = told[str(ThresholdChoice(kind="alerts_per_hour", value=alerts))]
        assert one["rate"]["per_hour"] == (scores > one["distance"]).sum() <= alerts
        assert one["rate"]["low"] <= one["rate"]["per_hour"] <= one["rate"]["high"]
    assert told["false-positive rate 1e-06"]["distance"] is None
    assert sum(one["is_present"] for one in found["suggestions"]) == 1


def test_suggest_draws_the_tail_and_where_the_threshold_stands(operator: Operator) -> None:
    operator.report(*scored("w1"))
    operator("threshold", "set", "--distance", "4", "--no-wait")

    out, err = operator("threshold", "suggest")

    (marked,) = [line for line in out.splitlines() if "threshold 4" in line]
    assert float(marked.split()[0]) <= 4
    assert "5,000 records in 60 min by 1 worker" in err
    assert max(map(len, out.splitlines())) <= 80


def test_suggest_without_traffic_says_why(operator: Operator) -> None:
    assert "has reported scores" in operator("threshold", "suggest", code=2)[1]
    operator.bootstrap = "127.0.0.1:1"
    assert "not known" in operator("threshold", "suggest", code=4)[1]
