"""Counters of the workers, held against each other and against what the topics say."""

from collections.abc import Sequence
from dataclasses import dataclass

from anoean_stream.reconcile.findings import Finding
from anoean_stream.reconcile.topics import Reconciled


@dataclass(frozen=True, slots=True)
class WorkerCounts:
    """Counters of one worker, all of one look at its /metrics.

    Parameters
    ----------
    url : str
        Where they were read.
    records, scored, dead, alerts, sampled_out : int
        Since it began to count.
    started_at : float or None
        When that was, seconds since 1970; None when it does not say.
    """

    url: str
    records: int
    scored: int
    dead: int
    alerts: int
    started_at: float | None
    sampled_out: int = 0


def check_counters(
    workers: Sequence[WorkerCounts],
    found: Reconciled,
    *,
    since: float | None,
    outputs_are_whole: bool,
) -> list[Finding]:
    """Hold the workers' counters against each other and against what the topics say.

    The order of looks matters: commits first, then counters, then outputs. So the counters hold at
    least what is committed, and the topics at least what the counters hold.

    Parameters
    ----------
    workers : sequence of WorkerCounts
        All workers of the group.
    found : Reconciled
        What the topics say.
    since : float or None
        Begin of the span, seconds since 1970; None when the span has no begin or ends before now,
        because counters cannot be cut to such a span.
    outputs_are_whole : bool
        Whether retention has left the output topics alone since the begin of the span.
    """
    if not workers:
        return []
    findings = [_unequal(worker) for worker in workers if not _adds_up(worker)]
    if since is None:
        return [
            *findings,
            _not_compared(len(workers), "the span must begin with --since and last until now"),
        ]
    older = [w for w in workers if w.started_at is None or w.started_at < since]
    if older:
        return [*findings, _not_compared(len(older), "they began before the span", older[0].url)]
    return [
        *findings,
        *_against_commits(workers, found),
        *_against_topics(workers, found, outputs_are_whole=outputs_are_whole),
    ]


def _adds_up(worker: WorkerCounts) -> bool:
    return _missing(worker) == 0


def _missing(worker: WorkerCounts) -> int:
    return worker.records - worker.scored - worker.dead - worker.sampled_out


def _unequal(worker: WorkerCounts) -> Finding:
    return Finding(
        "problem",
        "counters_unequal",
        abs(_missing(worker)),
        f"records lie between the counters of a worker: {worker.records:,} records, "
        f"{worker.scored:,} scored, {worker.dead:,} dead, {worker.sampled_out:,} sampled out",
        worker.url,
    )


def _not_compared(n: int, why: str, example: str = "") -> Finding:
    text = f"workers' counters cannot be held against commits and topics: {why}"
    return Finding("unknown", "counters_not_compared", n, text, example)


def _against_commits(workers: Sequence[WorkerCounts], found: Reconciled) -> list[Finding]:
    n_done = sum(row.done for row in found.rows)
    n_counted = sum(worker.records for worker in workers)
    if n_counted < n_done:
        text = (
            "records are behind the committed offsets and no worker has counted them: skipped, or "
            "somebody moved the offsets; or a worker is missing here (ended since, or not named "
            "with --metrics)"
        )
        return [Finding("problem", "not_counted", n_done - n_counted, text)]
    if n_counted > n_done:
        text = (
            "records more were counted than are behind the committed offsets: repeats, not committed "
            "yet, or older than the span"
        )
        return [Finding("note", "counted_more", n_counted - n_done, text)]
    return []


def _against_topics(
    workers: Sequence[WorkerCounts], found: Reconciled, *, outputs_are_whole: bool
) -> list[Finding]:
    findings = []
    for kind, name, n_there, n_counted in (
        ("letters_missing", "dead letters", found.n_letters, sum(w.dead for w in workers)),
        ("alerts_missing", "alerts", found.n_alerts, sum(w.alerts for w in workers)),
    ):
        if n_there < n_counted:
            text = f"{name} that workers counted as acknowledged are not in their topic"
            if outputs_are_whole:
                findings.append(Finding("problem", kind, n_counted - n_there, text))
            else:
                text += "; retention may have removed them"
                findings.append(Finding("unknown", kind, n_counted - n_there, text))
    return findings
