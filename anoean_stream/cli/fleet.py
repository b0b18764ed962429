"""Do the workers of a model serve what its aliases name? Judged from their reports, without a clock."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Literal

from anoean_stream.cli.times import parse_utc, show_span, try_utc
from anoean_stream.records.workerreport import WorkerReport
from anoean_stream.registry.layout import AliasRecord

State = Literal["agreed", "swapping", "disagree", "no_workers", "unknown"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One worker that does not serve what it should.

    Parameters
    ----------
    worker : str
        Its id.
    version : str or None
        What it serves.
    wanted : str or None
        What its alias names, or what another worker serves while the alias is not known.
    since : datetime
        Since when this is so.
    why : str
        What the worker says of it, or what its report shows.
    """

    worker: str
    version: str | None
    wanted: str | None
    since: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be said of a fleet.

    Parameters
    ----------
    state : str
        ``agreed``; ``swapping``: they differ, and may for now; ``disagree``: for too long;
        ``unknown``: nothing could be read.
    sentence : str
        The state in one sentence, with the next step where there is one.
    differences : tuple of Difference
        Longest first.
    """

    state: State
    sentence: str
    differences: tuple[Difference, ...] = ()


def judge(
    live: Sequence[WorkerReport],
    aliases: Mapping[str, AliasRecord] | None,
    *,
    model: str,
    now: datetime,
    limit_s: float,
) -> Judgement:
    """Return whether the live workers agree with the registry and with each other.

    Parameters
    ----------
    live : sequence of WorkerReport
        Newest reports of the workers that work.
    aliases : mapping of str to AliasRecord, or None
        Of the registry; None when it cannot be read: then they are held against each other only.
    model : str
        Name of the model.
    now : datetime
        The present, aware.
    limit_s : float
        Seconds after which a difference is a problem.
    """
    if not live:
        return Judgement("no_workers", f"no live worker follows model {model}")
    by_alias = groupby(sorted(live, key=lambda one: one.alias), key=lambda one: one.alias)
    found: list[Difference] = []
    for alias, reports in by_alias:
        followers = list(reports)
        record = None if aliases is None else aliases.get(alias)
        found += (
            _among_themselves(followers)
            if record is None
            else _from_alias(followers, alias, record)
        )
        found += _other_bundles(followers)
    if not found:
        return Judgement("agreed", _agreed(live))
    differences = tuple(sorted(found, key=lambda one: one.since))
    overdue = [one for one in differences if now - one.since > timedelta(seconds=limit_s)]
    first = (overdue or differences)[0]
    which = f"worker {first.worker} serves {_named(first.version)}, expected {_named(first.wanted)}"
    n_differ = len({one.worker for one in differences})
    others = f" (and {n_differ - 1} more)" if n_differ > 1 else ""
    if not overdue:
        left_s = limit_s - (now - first.since).total_seconds()
        sentence = (
            f"swapping: {n_differ} of {len(live)} workers do not serve {_named(first.wanted)} yet; "
            f"this is a problem in {show_span(max(left_s, 0.0))}"
        )
        return Judgement("swapping", sentence, differences)
    for_span = show_span((now - first.since).total_seconds())
    sentence = f"{which} for {for_span}{others}: {first.why}; {_next_step(first, model)}"
    return Judgement("disagree", sentence, differences)


def _from_alias(
    followers: Sequence[WorkerReport], alias: str, record: AliasRecord
) -> Iterator[Difference]:
    moved_at = try_utc(record.updated_at)
    for report in followers:
        if report.version == record.version:
            continue
        since = max(_serving_since(report), moved_at or _serving_since(report))
        yield Difference(
            report.worker, report.version, record.version, since, _why(report, alias, record)
        )
    # While an alias moves again and again, each move would start the time anew.
    versions = {report.version for report in followers}
    if record.version not in versions:
        yield from _among_themselves(followers)


def _among_themselves(followers: Sequence[WorkerReport]) -> Iterator[Difference]:
    """Hold workers against the one that swapped last: whoever serves something else is behind."""
    if len({report.version for report in followers}) < 2:  # noqa: PLR2004  two to differ
        return
    newest = max(followers, key=_serving_since)
    for report in followers:
        if report.version != newest.version:
            why = report.problem or f"worker {newest.worker} serves {_named(newest.version)}"
            yield Difference(
                report.worker, report.version, newest.version, _serving_since(newest), why
            )


def _other_bundles(followers: Sequence[WorkerReport]) -> Iterator[Difference]:
    """Find workers whose version has the same number and other content: two registries, or a forgery."""
    first_with: dict[str | None, WorkerReport] = {}
    for report in followers:
        first = first_with.setdefault(report.version, report)
        if report.version is not None and report.sha256 != first.sha256:
            why = (
                f"its bundle has sha256 {(report.sha256 or '?')[:12]}, that of worker {first.worker} "
                f"{(first.sha256 or '?')[:12]}: they read different registries"
            )
            since = max(_serving_since(report), _serving_since(first))
            yield Difference(report.worker, report.version, report.version, since, why)


def _serving_since(report: WorkerReport) -> datetime:
    started_at = parse_utc(report.started_at)
    if report.serving_since is None:
        return started_at
    return max(started_at, parse_utc(report.serving_since))


def _why(report: WorkerReport, alias: str, record: AliasRecord) -> str:
    if report.problem:
        return report.problem
    if record.version in record.held:
        return f"version {record.version} is held back until {record.held[record.version]}"
    if report.wanted_version != record.version:
        return f"when it looked last, {alias} was {_named(report.wanted_version)}"
    return "it says nothing of the reason"


def _next_step(difference: Difference, model: str) -> str:
    if difference.version == difference.wanted:
        return "give all workers the same registry.url"
    return (
        f"look at `anoean models verify {model} {difference.wanted}` and at the log of that worker, or go "
        "back with `anoean models rollback`"
    )


def _agreed(live: Sequence[WorkerReport]) -> str:
    versions = sorted({report.version or "" for report in live})
    if len(versions) == 1:
        who = "the only worker serves" if len(live) == 1 else f"all {len(live)} workers serve"
        return f"{who} {_named(versions[0] or None)}"
    parts = [
        f"{sum(report.version == version for report in live)} serve {_named(version)}"
        for version in versions
    ]
    return f"all {len(live)} workers serve what their alias names: {', '.join(parts)}"


def _named(version: str | None) -> str:
    return "no version" if version is None else f"version {version}"
