"""Shadow reports as workers write them."""

from typing import Any

import msgspec

from anoean_stream.records.audit import AuditRecord
from anoean_stream.records.shadowreport import ShadowReport


def make_report(**changes: Any) -> ShadowReport:
    """Return a report of 10,000 records on which versions 1 and 2 agree well; with other fields."""
    report = ShadowReport(
        champion="1",
        candidate="2",
        since="2026-11-26T09:00:00Z",
        until="2026-11-26T09:01:00Z",
        records=10_000,
        champion_alerts=100,
        candidate_alerts=110,
        both_alerts=80,
        candidate_dead=0,
        rank_correlation=0.9,
        champion_quantiles={"p50": 1.0},
        candidate_quantiles={"p50": 1.1},
        champion_us=9.0,
        candidate_us=10.0,
        chunks=10,
        chunks_left_out=0,
    )
    return msgspec.structs.replace(report, **changes)


def report_record(
    report: ShadowReport | None = None, *, model: str = "edge", worker: str = "w1"
) -> AuditRecord:
    """Return the audit record that a worker writes of a report."""
    report = report or make_report()
    return AuditRecord.of(
        "shadow_report",
        model=model,
        who=worker,
        who_kind="worker",
        group="workers",
        from_version=report.champion,
        to_version=report.candidate,
        detail=report.to_detail(),
    )
