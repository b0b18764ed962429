"""A model's status as a person reads it: aliases, workers, and one sentence."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from anoean_stream.cli.dead_letters import printable
from anoean_stream.cli.fleet import Judgement
from anoean_stream.cli.times import show_short_utc, show_span, show_utc, try_utc
from anoean_stream.cli.worker_reports import SeenWorker
from anoean_stream.detector.threshold import ThresholdChoice
from anoean_stream.registry import CHAMPION, PREVIOUS, AliasRecord
from anoean_stream.registry.layout import SHADOW

_STYLES: Final = {"agreed": "green", "swapping": "yellow", "disagree": "bold red"}


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that there is to be shown.

    Parameters
    ----------
    model : str
        Name of the model.
    registry_url : str
        Its registry.
    aliases : dict of str to AliasRecord, or None
        None when the registry cannot be read.
    choice : ThresholdChoice or None
        Threshold that was asked for.
    workers : tuple of SeenWorker
        Those of the last day.
    judgement : Judgement
        Whether they agree.
    now : datetime
        When this was so.
    problems : tuple of str
        What could not be read, and why.
    """

    model: str
    registry_url: str
    aliases: dict[str, AliasRecord] | None
    choice: ThresholdChoice | None
    workers: tuple[SeenWorker, ...]
    judgement: Judgement
    now: datetime
    problems: tuple[str, ...]


def print_status(seen: Status, console: Console) -> None:
    """Print a status; tables fit 80 columns, sentences are as long as they are."""
    for part in status_parts(seen):
        console.print(part, soft_wrap=isinstance(part, Text))


def held_versions(champion: AliasRecord, now: datetime) -> dict[str, str]:
    """Return the versions that no worker takes for now, and until when."""
    return {
        version: until for version, until in champion.held.items() if (try_utc(until) or now) > now
    }


def status_parts(seen: Status) -> Iterator[RenderableType]:
    """Yield the lines and tables of a status, from top to bottom."""
    yield Text.from_markup(
        f"[bold]{escape(seen.model)}[/] in registry {escape(seen.registry_url)}, "
        f"{show_utc(seen.now)} UTC"
    )
    if seen.aliases:
        yield _alias_table(seen)
    if seen.workers:
        yield _worker_table(seen)
    for worker in seen.workers:
        report = worker.report
        if report.problem and worker.state(seen.now) == "live":
            yield Text(f"worker {printable(report.worker)}: {printable(report.problem)}", "yellow")
    for problem in seen.problems:
        yield Text(f"not known: {printable(problem)}", "yellow")
    state = seen.judgement.state
    yield Text(printable(seen.judgement.sentence), _STYLES.get(state, ""))


def _alias_table(seen: Status) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    aliases = dict(seen.aliases or {})
    for alias in (CHAMPION, SHADOW, PREVIOUS):
        record = aliases.pop(alias, None)
        table.add_row(alias, "none" if record is None else _moved(record, seen.now))
    for alias, record in sorted(aliases.items()):
        table.add_row(escape(alias), _moved(record, seen.now))
    champion = (seen.aliases or {}).get(CHAMPION)
    if champion is not None:
        for version, until in held_versions(champion, seen.now).items():
            table.add_row("held", f"version {version} until {show_utc(until)}, after a roll back")
    if seen.choice is not None:
        said = f", set {show_utc(seen.choice.set_at)} by {seen.choice.set_by}"
        table.add_row(
            "threshold",
            escape(printable(f"{seen.choice}{said}{_because(seen.choice.reason)}")),
        )
    return table


def _moved(record: AliasRecord, now: datetime) -> str:
    moved_at = try_utc(record.updated_at)
    if moved_at is None:
        return f"version {record.version}"
    age_s = (now - moved_at).total_seconds()
    text = (
        f"version {record.version} since {show_utc(record.updated_at)} ({show_span(max(age_s, 0))}) "
        f"by {record.updated_by}{_because(record.reason)}"
    )
    return escape(printable(text))


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _worker_table(seen: Status) -> Table:
    reports = [worker.report for worker in seen.workers]
    # Columns that say nothing for most fleets cost room that the ids need.
    has_groups = len({report.group for report in reports}) > 1
    has_shadows = any(report.shadow_version for report in reports)
    table = Table(pad_edge=False, box=None, padding=(0, 2, 0, 0))
    table.add_column("worker", overflow="fold")
    if has_groups:
        table.add_column("group", overflow="fold")
    table.add_column("serves", no_wrap=True)
    table.add_column("since (UTC)", no_wrap=True)
    table.add_column("threshold", justify="right", no_wrap=True)
    if has_shadows:
        table.add_column("shadow", no_wrap=True)
    table.add_column("state", no_wrap=True)
    differing = {one.worker for one in seen.judgement.differences}
    for worker in seen.workers:
        report, state = worker.report, worker.state(seen.now)
        style = "dim" if state != "live" else "red" if report.worker in differing else ""
        cells = [
            report.worker,
            *((report.group,) if has_groups else ()),
            report.version or "nothing",
            show_short_utc(report.serving_since, now=seen.now),
            "" if report.threshold is None else f"{report.threshold:.4g}",
            *((report.shadow_version or "",) if has_shadows else ()),
            _state_words(worker, seen.now),
        ]
        table.add_row(*(escape(printable(cell)) for cell in cells), style=style)
    return table


def _state_words(worker: SeenWorker, now: datetime) -> str:
    state = worker.state(now)
    if state == "live":
        return "live" if worker.report.partitions else "live, idle"
    since = worker.at if worker.stopped_at is None else worker.stopped_at
    span = show_span(max((now - since).total_seconds(), 0))
    return f"stopped {span} ago" if state == "stopped" else f"gone for {span}"
