"""How a refusal is said."""

import math

import msgspec
import pytest

from anoean_stream.gate.rules import RuleResult, broken, cannot_tell, in_one_line, refusal

KEPT = RuleResult(
    rule="aupr",
    setting="gate.confidence",
    value=0.01,
    bound=0,
    bound_is="at least",
    passed=True,
    sentence="AUPR 0.95, champion's 0.94",
)
BROKEN = RuleResult(
    rule="overlap_min",
    setting="gate.overlap_min",
    value=0.123456,
    bound=0.3,
    bound_is="at least",
    passed=False,
    sentence="12 of 100 alerts are raised by both",
    next_step="look at the examples",
)
ABSENT = cannot_tell(
    "shadow_reports", setting="gate.online", problem="no broker answers", next_step="start one"
)


def test_a_refusal_names_each_broken_rule_with_value_bound_and_next_step() -> None:
    error = refusal("edge", "5", "4", [KEPT, BROKEN, ABSENT])

    assert error.rules == ("overlap_min", "shadow_reports")
    assert error.exit_code == 3
    first, overlap, reports, last = str(error).splitlines()
    assert first == "version 5 of model 'edge' is not promoted, champion stays 4:"
    assert overlap == (
        "- overlap_min: 12 of 100 alerts are raised by both (0.1235, expected at least 0.3: "
        "gate.overlap_min); look at the examples"
    )
    assert reports == "- shadow_reports: no broker answers (gate.online); start one"
    assert last == "To promote it all the same: --force --reason TEXT"


def test_the_record_of_a_refusal_has_one_line() -> None:
    assert in_one_line([KEPT, BROKEN, ABSENT]) == (
        "overlap_min: 12 of 100 alerts are raised by both; shadow_reports: no broker answers"
    )


def test_a_refusal_has_a_reason() -> None:
    assert broken([KEPT]) == ()
    with pytest.raises(AssertionError):
        refusal("edge", "5", "4", [KEPT])


def test_a_result_can_be_written_down_whatever_was_seen() -> None:
    endless = msgspec.structs.replace(BROKEN, value=math.inf)

    document = msgspec.json.decode(msgspec.json.encode(endless))

    assert document["value"] is None
    assert document["rule"] == "overlap_min"


def test_an_endless_value_is_said() -> None:
    endless = msgspec.structs.replace(BROKEN, value=math.inf, bound=10_000)

    assert "(inf, expected at least 10,000: gate.overlap_min)" in str(
        refusal("edge", "5", "4", [endless])
    )
