"""Shadow reports of one pair of versions, added up over workers and time; reads no topic itself."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from anoean_stream.records.audit import AuditRecord
from anoean_stream.records.shadowreport import ShadowReport


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the reports say together.

    Parameters
    ----------
    records : int
        Records that both scored.
    champion_alerts, candidate_alerts, both_alerts : int
        Above the threshold of each, and of both, among them.
    candidate_dead : int
        Records that the champion scored and the candidate could not.
    candidate_us : float
        CPU time of the candidate for a record, microseconds; the mean over `records`.
    chunks_left_out : int
        Chunks that the time budget of the comparison did not allow.
    n_workers, n_reports : int
        Who reported, and how often.
    n_other_pair : int
        Reports of other versions, left out.
    n_unusable : int
        Reports that cannot be read, contradict themselves, or come from no worker; left out.
    """

    records: int = 0
    champion_alerts: int = 0
    candidate_alerts: int = 0
    both_alerts: int = 0
    candidate_dead: int = 0
    candidate_us: float = 0.0
    chunks_left_out: int = 0
    n_workers: int = 0
    n_reports: int = 0
    n_other_pair: int = 0
    n_unusable: int = 0

    @property
    def either_alerts(self) -> int:
        """Records above the threshold of at least one of the two."""
        return self.champion_alerts + self.candidate_alerts - self.both_alerts


def gather(audit: Iterable[AuditRecord], *, champion: str, candidate: str) -> Evidence:
    """Add up the shadow reports of two versions.

    Parameters
    ----------
    audit : iterable of AuditRecord
        What the audit topic holds of the model; other actions are passed over, and a record that
        stands there twice counts once.
    champion, candidate : str
        The versions that the reports must compare.
    """
    by_id = {record.event_id: record for record in audit if record.action == "shadow_report"}
    readable = [(record.who, _readable(record)) for record in by_id.values()]
    sound = [(worker, report) for worker, report in readable if report is not None]
    ours = [
        (worker, report)
        for worker, report in sound
        if (report.champion, report.candidate) == (champion, candidate)
    ]
    reports = [report for _, report in ours]
    records = sum(report.records for report in reports)
    spent_us = sum(report.candidate_us * report.records for report in reports)
    return Evidence(
        records=records,
        champion_alerts=sum(report.champion_alerts for report in reports),
        candidate_alerts=sum(report.candidate_alerts for report in reports),
        both_alerts=sum(report.both_alerts for report in reports),
        candidate_dead=sum(report.candidate_dead for report in reports),
        candidate_us=spent_us / records if records else 0.0,
        chunks_left_out=sum(report.chunks_left_out for report in reports),
        n_workers=len({worker for worker, _ in ours}),
        n_reports=len(reports),
        n_other_pair=len(sound) - len(ours),
        n_unusable=len(readable) - len(sound),
    )


def _readable(record: AuditRecord) -> ShadowReport | None:
    """Return the report of a worker; None for what cannot be one."""
    if record.who_kind != "worker":
        return None
    try:
        report = ShadowReport.from_detail(record.detail)
    except ValueError:
        return None
    is_sound = (
        report.both_alerts <= min(report.champion_alerts, report.candidate_alerts)
        and report.either_alerts <= report.records
        and math.isfinite(report.candidate_us)
        and report.candidate_us >= 0
    )
    return report if is_sound else None
