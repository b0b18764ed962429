"""``anoean models status``: who serves what, since when, and whether the fleet agrees."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from anoean_stream.cli.console import out, print_json
from anoean_stream.cli.dead_letters import printable
from anoean_stream.cli.fleet import Judgement, judge
from anoean_stream.cli.models_rollback import ModelArgument
from anoean_stream.cli.options import ConfigOption, DebugOption, JsonOption, SetOption, load
from anoean_stream.cli.quiet import quiet_librdkafka
from anoean_stream.cli.times import show_short_utc, show_span, show_utc, try_utc
from anoean_stream.cli.worker_reports import SeenWorker, live_reports, try_workers
from anoean_stream.detector.threshold import ThresholdChoice
from anoean_stream.errors import RegistryError
from anoean_stream.records.workerreport import WorkerReport
from anoean_stream.registry import CHAMPION, PREVIOUS, AliasRecord, Registry
from anoean_stream.registry.layout import SHADOW
from anoean_stream.settings import Settings

EXIT_DISAGREE: Final = 3
"""Workers serve for too long what they should not."""

_FORGET_S: Final = 86_400.0
"""Seconds after which a worker that stopped or was lost is not shown any more: a restart has a new id."""

_WATCH_S: Final = 2.0
"""Seconds between two looks of ``--watch``."""

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


def status(
    name: ModelArgument = None,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every 2 s, until Ctrl-C.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Show what the registry names, and what each worker serves since when.

    Workers say it on topics.workers every worker.report_interval_s; one that
    is silent for three of these intervals is gone. A worker without
    partitions is idle: a spare.

    Exit code 3 when workers serve something else than their alias names, or
    than each other, for longer than registry.disagree_after_s.

    [bold]Examples[/]

    [cyan]anoean models status[/]

    [cyan]anoean models status edge --json | jq .state[/]
    """
    quiet_librdkafka(debug=debug)
    settings = load(config, overrides, debug=debug)
    model = name or settings.model.name
    registry = Registry.from_settings(settings.registry)
    if watch:
        _watch(settings, registry, model, as_json=as_json)
    seen = look(settings, registry, model, now=datetime.now(tz=UTC))
    if as_json:
        print_json(as_document(seen))
    else:
        print_status(seen, out)
    if seen.judgement.state == "disagree":
        raise typer.Exit(EXIT_DISAGREE)


def look(settings: Settings, registry: Registry, model: str, *, now: datetime) -> Status:
    """Read registry and workers topic; what cannot be read is among the problems. Blocks."""
    problems = []
    aliases: dict[str, AliasRecord] | None = None
    choice = None
    try:
        if not registry.exists():
            problems.append(
                f"there is no registry at {registry.url} yet; publish a model with `anoean train`"
            )
        aliases = {alias: registry.alias_record(model, alias) for alias in registry.aliases(model)}
        choice = registry.threshold(model).choice
    except RegistryError as error:
        problems.append(str(error))
    workers, why_not = try_workers(settings, model)
    recent = tuple(worker for worker in workers if _is_recent(worker, now))
    if why_not is not None:
        problems.append(str(why_not))
        judgement = Judgement("unknown", "which worker serves what is not known")
    else:
        judgement = judge(
            live_reports(recent, now=now),
            aliases,
            model=model,
            now=now,
            limit_s=settings.registry.disagree_after_s,
        )
    return Status(model, registry.url, aliases, choice, recent, judgement, now, tuple(problems))


def as_document(seen: Status) -> dict[str, Any]:
    """Return a status for machines."""
    champion = (seen.aliases or {}).get(CHAMPION)
    return {
        "model": seen.model,
        "at": seen.now,
        "state": seen.judgement.state,
        "sentence": seen.judgement.sentence,
        "differences": seen.judgement.differences,
        "registry": seen.registry_url,
        "aliases": None if seen.aliases is None else dict(sorted(seen.aliases.items())),
        "held": {} if champion is None else _held(champion, seen.now),
        "threshold": seen.choice,
        "workers": [
            {
                "state": worker.state(seen.now),
                "stopped_at": worker.stopped_at,
                **msgspec.to_builtins(_without_scores(worker.report)),
            }
            for worker in seen.workers
        ],
        "problems": seen.problems,
    }


def print_status(seen: Status, console: Console) -> None:
    """Print a status; tables fit 80 columns, sentences are as long as they are."""
    for part in _parts(seen):
        console.print(part, soft_wrap=isinstance(part, Text))


def _watch(settings: Settings, registry: Registry, model: str, *, as_json: bool) -> None:
    """Look again and again, until Ctrl-C."""
    if as_json or not out.is_terminal:
        while True:
            seen = look(settings, registry, model, now=datetime.now(tz=UTC))
            if as_json:
                print_json(as_document(seen))
            else:
                print_status(seen, out)
            time.sleep(_WATCH_S)
    with Live(console=out, auto_refresh=False) as live:
        while True:
            seen = look(settings, registry, model, now=datetime.now(tz=UTC))
            live.update(Group(*_parts(seen)), refresh=True)
            time.sleep(_WATCH_S)


def _parts(seen: Status) -> Iterator[RenderableType]:
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
        for version, until in _held(champion, seen.now).items():
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


def _held(champion: AliasRecord, now: datetime) -> dict[str, str]:
    return {
        version: until for version, until in champion.held.items() if (try_utc(until) or now) > now
    }


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


def _is_recent(worker: SeenWorker, now: datetime) -> bool:
    return now - (worker.stopped_at or worker.at) < timedelta(seconds=_FORGET_S)


def _without_scores(report: WorkerReport) -> WorkerReport:
    """Drop the distributions: thousands of numbers that `anoean threshold suggest` is for."""
    return msgspec.structs.replace(report, scores=None, shadow_scores=None)
