"""The online rules: what shadow reports say of candidate and champion on live traffic."""

import math

from anoean_stream.gate.evidence import Evidence
from anoean_stream.gate.rules import RuleResult, cannot_tell
from anoean_stream.settings import GateSettings


def online_rules(
    evidence: Evidence, *, gate: GateSettings, latency_budget_us: float, how_to_compare: str
) -> list[RuleResult]:
    """Return what the reports say of each rule; at its bound a rule is kept.

    Parameters
    ----------
    evidence : Evidence
        Of `gather`.
    gate : GateSettings
        The bounds.
    latency_budget_us : float
        Most CPU time for a record, microseconds (``swap.latency_budget_us``).
    how_to_compare : str
        How to come by more records, in words, for when there are too few.
    """
    records = _records(evidence, gate, how_to_compare)
    if not evidence.records and not evidence.candidate_dead:
        return [records]  # nothing was compared: the other rules have nothing to look at
    return [
        records,
        _alert_rate(evidence, gate),
        _overlap(evidence, gate),
        _dead(evidence, gate),
        _cpu(evidence, latency_budget_us),
    ]


def no_reports(problem: str) -> RuleResult:
    """Return the broken rule when shadow reports could not be read at all."""
    return cannot_tell(
        "shadow_reports",
        setting="gate.online",
        problem=f"shadow reports cannot be read: {problem}",
        next_step="mend that, or judge it by the evaluation set alone with --set gate.online=false",
    )


def _records(evidence: Evidence, gate: GateSettings, how_to_compare: str) -> RuleResult:
    passed = _has_enough_records(evidence, gate)
    left_out = ", ".join(
        f"{count:,} {what}"
        for count, what in (
            (evidence.n_other_pair, "of other versions"),
            (evidence.n_unusable, "that cannot be used"),
        )
        if count
    )
    return RuleResult(
        rule="min_shadow_records",
        setting="gate.min_shadow_records",
        value=evidence.records,
        bound=gate.min_shadow_records,
        bound_is="at least",
        passed=passed,
        sentence=(
            f"{evidence.records:,} records were scored by both ({evidence.n_reports:,} reports of "
            f"{evidence.n_workers} workers)"
            + (f"; reports left out: {left_out}" if left_out else "")
        ),
        next_step="" if passed else how_to_compare,
        figures={
            "reports": evidence.n_reports,
            "workers": evidence.n_workers,
            "reports_of_other_versions": evidence.n_other_pair,
            "reports_unusable": evidence.n_unusable,
            "chunks_left_out": evidence.chunks_left_out,
        },
    )


def _alert_rate(evidence: Evidence, gate: GateSettings) -> RuleResult:
    new, old = evidence.candidate_alerts, evidence.champion_alerts
    factor = _factor(new, old)
    is_judged = evidence.either_alerts >= gate.min_shadow_alerts
    passed = (
        factor <= gate.alert_rate_ratio_max if is_judged else _has_enough_records(evidence, gate)
    )
    sentence = f"{new:,} alerts, champion's {old:,} on the same records: " + (
        f"{factor:.3g} times {'as many' if new > old else 'fewer'}" if new != old else "as many"
    )
    return RuleResult(
        rule="alert_rate_ratio_max",
        setting="gate.alert_rate_ratio_max",
        value=factor if is_judged else None,
        bound=gate.alert_rate_ratio_max,
        bound_is="at most",
        passed=passed,
        sentence=sentence if is_judged else _too_few(evidence, gate),
        next_step=(
            ""
            if passed
            else "look at the examples in the shadow reports (`anoean models history`), or set its "
            "threshold"
        ),
        figures={"candidate_alerts": new, "champion_alerts": old, "records": evidence.records},
    )


def _overlap(evidence: Evidence, gate: GateSettings) -> RuleResult:
    either = evidence.either_alerts
    overlap = evidence.both_alerts / either if either else None
    is_judged = overlap is not None and either >= gate.min_shadow_alerts
    passed = (
        overlap >= gate.overlap_min
        if is_judged and overlap is not None
        else _has_enough_records(evidence, gate)
    )
    return RuleResult(
        rule="overlap_min",
        setting="gate.overlap_min",
        value=overlap if is_judged else None,
        bound=gate.overlap_min,
        bound_is="at least",
        passed=passed,
        sentence=(
            f"{evidence.both_alerts:,} of {either:,} alerts are raised by both"
            if is_judged
            else _too_few(evidence, gate)
        ),
        next_step=(
            "" if passed else "look at the examples in the shadow reports (`anoean models history`)"
        ),
        figures={"both_alerts": evidence.both_alerts, "either_alerts": either},
    )


def _dead(evidence: Evidence, gate: GateSettings) -> RuleResult:
    n_records = evidence.records + evidence.candidate_dead
    share = evidence.candidate_dead / n_records
    passed = share <= gate.dead_share_max
    return RuleResult(
        rule="dead_share_max",
        setting="gate.dead_share_max",
        value=share,
        bound=gate.dead_share_max,
        bound_is="at most",
        passed=passed,
        sentence=(
            f"{evidence.candidate_dead:,} of {n_records:,} records that the champion scored would be "
            "dead letters"
        ),
        next_step=(
            ""
            if passed
            else "train it with fields that the traffic has (`anoean models show` lists them)"
        ),
        figures={"candidate_dead": evidence.candidate_dead},
    )


def _cpu(evidence: Evidence, budget_us: float) -> RuleResult:
    value = evidence.candidate_us if evidence.records else None
    passed = value is not None and value <= budget_us
    return RuleResult(
        rule="latency_budget_us",
        setting="swap.latency_budget_us",
        value=value,
        bound=budget_us,
        bound_is="at most",
        passed=passed,
        sentence=(
            "it scored no record"
            if value is None
            else f"{value:.3g} us of CPU time for a record, allowed are {budget_us:g}"
        ),
        next_step=""
        if passed or value is None
        else "train a smaller one (training.encoder_hidden)",
    )


def _factor(new: int, old: int) -> float:
    """Return how many times one is the other, whichever is more; 1 or above."""
    if new == old:
        return 1.0
    return max(new, old) / min(new, old) if min(new, old) else math.inf


def _has_enough_records(evidence: Evidence, gate: GateSettings) -> bool:
    return evidence.records >= gate.min_shadow_records


def _too_few(evidence: Evidence, gate: GateSettings) -> str:
    return (
        f"only {evidence.either_alerts:,} alerts of either among {evidence.records:,} records: not "
        f"judged below {gate.min_shadow_alerts} (gate.min_shadow_alerts)"
    )
