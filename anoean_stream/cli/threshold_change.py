"""The end of every change of a threshold: told to the audit topic and to workers, then waited for."""

import math
import time
from typing import Any

from anoean_stream.cli.following import Following, wait_for_workers
from anoean_stream.cli.trail import tell
from anoean_stream.detector.threshold import Threshold, ThresholdChoice
from anoean_stream.records.audit import AuditRecord
from anoean_stream.records.workerreport import WorkerReport
from anoean_stream.settings import Settings


def follow_change(
    settings: Settings,
    model: str,
    *,
    version: str,
    left: ThresholdChoice | None,
    choice: ThresholdChoice | None,
    threshold: Threshold,
    who: str,
    reason: str,
    wait: bool,
) -> tuple[bool, Following | None]:
    """Tell of a choice that stands in the registry now, and wait for the workers.

    Parameters
    ----------
    settings : Settings
        Brokers and topics.
    model, version : str
        The model, and its champion.
    left, choice : ThresholdChoice or None
        What was asked for before, and what is now.
    threshold : Threshold
        What `choice` comes to for the champion.
    who, reason : str
        As recorded.
    wait : bool
        Whether to wait for the workers.

    Returns
    -------
    bool
        Whether a broker took the news.
    Following or None
        Who followed; None when nobody was waited for.
    """
    changed_at_s = time.monotonic()
    told = tell(
        settings,
        AuditRecord.of(
            "threshold_changed",
            model=model,
            who=who,
            who_kind="user",
            to_version=version,
            reason=reason,
            detail=threshold_detail(threshold) | {"effective": False, "before": said(left)},
        ),
    )
    if not (wait and told):
        return told, None
    return told, wait_for_workers(
        settings,
        model,
        has_followed=lambda report: has_taken(report, left=left, choice=choice),
        changed_at_s=changed_at_s,
    )


def has_taken(
    report: WorkerReport, *, left: ThresholdChoice | None, choice: ThresholdChoice | None
) -> bool:
    """Return whether a worker's report shows a choice.

    Where the choice names a distance for its version, that decides. Else the words do: what a rate
    comes to depends on the worker's settings, which nobody knows here.
    """
    if report.version is None:
        return True  # it serves nothing, so it uses no threshold
    if choice is None:
        return left is None or not report.threshold_source.startswith(str(left))
    if report.version in choice.distances:
        return report.threshold is not None and math.isclose(
            report.threshold, choice.distances[report.version], rel_tol=1e-9
        )
    return str(choice) in report.threshold_source


def threshold_detail(threshold: Threshold) -> dict[str, Any]:
    """Return a threshold for ``--json`` and for the audit topic; -inf (every record) becomes null."""
    distance = threshold.distance if math.isfinite(threshold.distance) else None
    return {"threshold": distance, "threshold_source": threshold.source}


def said(choice: ThresholdChoice | None) -> str:
    """Return what was asked for, in words."""
    return "that of settings or model" if choice is None else str(choice)
