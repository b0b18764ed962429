"""The online rules, each at its bound."""

import math
from dataclasses import replace

import pytest

from anoean_stream.gate.evidence import Evidence
from anoean_stream.gate.online import no_reports, online_rules
from anoean_stream.gate.rules import RuleResult
from anoean_stream.settings import GateSettings

GATE = GateSettings(
    min_shadow_records=1000,
    alert_rate_ratio_max=2.0,
    overlap_min=0.5,
    min_shadow_alerts=20,
    dead_share_max=0.01,
)

GOOD = Evidence(
    records=1000,
    champion_alerts=40,
    candidate_alerts=40,
    both_alerts=40,
    candidate_us=50.0,
    n_workers=2,
    n_reports=4,
)


def rules(evidence: Evidence) -> dict[str, RuleResult]:
    found = online_rules(
        evidence, gate=GATE, latency_budget_us=200.0, how_to_compare="compare it first"
    )
    return {result.rule: result for result in found}


def test_what_agrees_breaks_no_rule() -> None:
    found = rules(GOOD)

    assert list(found) == [
        "min_shadow_records",
        "alert_rate_ratio_max",
        "overlap_min",
        "dead_share_max",
        "latency_budget_us",
    ]
    assert all(result.passed for result in found.values())
    assert not any(result.next_step for result in found.values())


@pytest.mark.parametrize(
    ("rule", "at_bound", "beyond"),
    [
        ("min_shadow_records", {"records": 1000}, {"records": 999}),
        ("alert_rate_ratio_max", {"candidate_alerts": 80}, {"candidate_alerts": 81}),
        (
            "alert_rate_ratio_max",
            {"champion_alerts": 80},
            {"champion_alerts": 81},
        ),
        (
            "overlap_min",
            {"both_alerts": 20, "champion_alerts": 30, "candidate_alerts": 30},
            {"both_alerts": 19, "champion_alerts": 30, "candidate_alerts": 30},
        ),
        ("dead_share_max", {"records": 9900, "candidate_dead": 100}, {"candidate_dead": 11}),
        ("latency_budget_us", {"candidate_us": 200.0}, {"candidate_us": 200.1}),
    ],
)
def test_a_rule_is_kept_at_its_bound_and_broken_beyond(
    rule: str, at_bound: dict[str, float], beyond: dict[str, float]
) -> None:
    kept = rules(replace(GOOD, **at_bound))[rule]  # type: ignore[arg-type]  # fields by name
    broken = rules(replace(GOOD, **beyond))[rule]  # type: ignore[arg-type]  # fields by name

    assert (kept.passed, broken.passed) == (True, False)
    assert kept.value == pytest.approx(kept.bound)
    assert broken.next_step


@pytest.mark.parametrize(("champion", "candidate"), [(40, 0), (0, 40)])
def test_a_version_that_never_alerts_breaks_the_rate_whichever_it_is(
    champion: int, candidate: int
) -> None:
    silent = replace(GOOD, champion_alerts=champion, candidate_alerts=candidate, both_alerts=0)

    result = rules(silent)["alert_rate_ratio_max"]

    assert not result.passed
    assert result.value == math.inf


def test_few_alerts_are_not_judged_when_records_suffice() -> None:
    few = replace(GOOD, champion_alerts=1, candidate_alerts=18, both_alerts=0)

    found = rules(few)

    for rule in ("alert_rate_ratio_max", "overlap_min"):
        assert found[rule].passed
        assert found[rule].value is None
        assert "only 19 alerts of either among 1,000 records" in found[rule].sentence


def test_alerts_are_judged_from_the_least_number_on() -> None:
    enough = replace(GOOD, champion_alerts=1, candidate_alerts=19, both_alerts=0)

    found = rules(enough)

    assert not found["alert_rate_ratio_max"].passed
    assert not found["overlap_min"].passed


def test_few_alerts_of_few_records_break_the_rules() -> None:
    few = replace(GOOD, records=999, champion_alerts=0, candidate_alerts=0, both_alerts=0)

    found = rules(few)

    assert not found["alert_rate_ratio_max"].passed
    assert not found["overlap_min"].passed
    assert found["min_shadow_records"].next_step == "compare it first"


def test_without_any_record_one_rule_says_so() -> None:
    found = rules(Evidence(n_other_pair=3, n_unusable=1))

    assert list(found) == ["min_shadow_records"]
    sentence = found["min_shadow_records"].sentence
    assert "reports left out: 3 of other versions, 1 that cannot be used" in sentence


def test_a_version_that_decodes_nothing_is_seen() -> None:
    found = rules(Evidence(candidate_dead=500, n_reports=1, n_workers=1))

    assert found["dead_share_max"].value == 1.0
    assert not found["dead_share_max"].passed
    assert not found["latency_budget_us"].passed


def test_reports_that_cannot_be_read_are_a_broken_rule_that_says_how_to_go_on() -> None:
    result = no_reports("no broker answers")

    assert not result.passed
    assert "no broker answers" in result.sentence
    assert "--set gate.online=false" in result.next_step
