"""``anoean models status``: who serves what, since when, and whether the fleet agrees."""

import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Group
from rich.live import Live

from anoean_stream.cli.console import out, print_json
from anoean_stream.cli.fleet import Judgement, judge
from anoean_stream.cli.options import (
    ConfigOption,
    DebugOption,
    JsonOption,
    ModelArgument,
    SetOption,
    load,
)
from anoean_stream.cli.quiet import quiet_librdkafka
from anoean_stream.cli.status_view import Status, held_versions, print_status, status_parts
from anoean_stream.cli.worker_reports import SeenWorker, live_reports, try_workers
from anoean_stream.errors import RegistryError
from anoean_stream.records.workerreport import WorkerReport
from anoean_stream.registry import CHAMPION, AliasRecord, Registry
from anoean_stream.settings import Settings

EXIT_DISAGREE: Final = 3
"""Workers serve for too long what they should not."""

_FORGET_S: Final = 86_400.0
"""Seconds after which a worker that stopped or was lost is not shown any more: a restart has a new id."""

_WATCH_S: Final = 2.0
"""Seconds between two looks of ``--watch``."""


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
        "held": {} if champion is None else held_versions(champion, seen.now),
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
            live.update(Group(*status_parts(seen)), refresh=True)
            time.sleep(_WATCH_S)


def _is_recent(worker: SeenWorker, now: datetime) -> bool:
    return now - (worker.stopped_at or worker.at) < timedelta(seconds=_FORGET_S)


def _without_scores(report: WorkerReport) -> WorkerReport:
    """Drop the distributions: thousands of numbers that `anoean threshold suggest` is for."""
    return msgspec.structs.replace(report, scores=None, shadow_scores=None)
