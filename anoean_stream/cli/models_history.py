"""``anoean models history``: what was done with a model, by whom and why, newest last."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, get_args

import typer
from rich.text import Text

from anoean_stream.cli.audit_reader import read_audit
from anoean_stream.cli.console import err, out, print_json
from anoean_stream.cli.dead_letters import printable
from anoean_stream.cli.moments import SinceOption
from anoean_stream.cli.options import ConfigOption, DebugOption, ModelArgument, SetOption, load
from anoean_stream.cli.quiet import quiet_librdkafka
from anoean_stream.cli.times import show_utc, try_utc
from anoean_stream.cli.worker_reports import impatient
from anoean_stream.errors import BrokerError, ConfigError
from anoean_stream.records.audit import Action, AuditRecord
from anoean_stream.records.shadowreport import ShadowReport
from anoean_stream.registry import AliasRecord, Registry

ACTIONS: Final[tuple[str, ...]] = get_args(Action)

_LIMIT: Final = 100
"""Lines that a person looks through; --limit gives more."""


def _action(text: str) -> str:
    word = text.replace("-", "_")
    if word not in ACTIONS:
        message = f"{text!r} is no action; give one of {', '.join(ACTIONS)}"
        raise typer.BadParameter(message)
    return word


def history(
    name: ModelArgument = None,
    *,
    since: SinceOption = None,
    actions: Annotated[
        list[str] | None,
        typer.Option(
            "--action",
            parser=_action,
            metavar="ACTION",
            help="Only this action (promoted, rolled_back, refused, ...); may be repeated.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Only so many, the newest.")] = _LIMIT,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line.", show_default=False)
    ] = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Show what was done with a model: when, by whom, what, and why.

    Read from topics.audit, newest last. Without a broker what the registry
    itself remembers is shown: who moved each alias last, and the thresholds
    that were asked for.

    [bold]Examples[/]

    [cyan]anoean models history[/]

    [cyan]anoean models history edge --since 7d --action promoted --action rolled_back[/]

    [cyan]anoean models history edge --action shadow_report --json | jq .detail[/]
    """
    quiet_librdkafka(debug=debug)
    settings = load(config, overrides, debug=debug)
    model = name or settings.model.name
    try:
        records = read_audit(impatient(settings), model, since=since)
    except (BrokerError, ConfigError) as error:
        note = Text(f"note: the audit topic is not known: {error}", "yellow")
        err.print(note, soft_wrap=True)
        _show_registry(
            Registry.from_settings(settings.registry), model, since=since, as_json=as_json
        )
        return
    wanted = [record for record in records if not actions or record.action in actions]
    shown = wanted[-limit:]
    if as_json:
        for record in shown:
            print_json(record)
    else:
        print_lines([line_of(record) for record in shown])
    if len(wanted) > len(shown):
        err.print(f"{len(wanted) - len(shown)} older ones are not shown; --limit gives more")
    if not shown:
        err.print(f"nothing is recorded of model {printable(model)}, as far as was asked for")


def line_of(record: AuditRecord) -> tuple[str, ...]:
    """Return when, who, what, from -> to, and why, as texts that a terminal cannot obey."""
    alias = f"{record.alias} " if record.alias else ""
    cells = (
        show_utc(record.at),
        record.who,
        record.action.replace("_", " "),
        f"{alias}{_change(record.from_version, record.to_version)}",
        "; ".join(part for part in (record.reason, _figures(record)) if part),
    )
    return tuple(printable(cell) for cell in cells)


def print_lines(lines: Sequence[Sequence[str]]) -> None:
    """Print one line for each, in columns.

    Never cut: a pipe gets whole lines, and a narrow terminal wraps them.
    """
    if not lines:
        return
    headings = ("when (UTC)", "who", "what", "version", "why")
    widths = [max(len(cell) for cell in column) for column in zip(headings, *lines, strict=True)]
    for number, line in enumerate((headings, *lines)):
        padded = "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        out.print(Text(padded.rstrip(), "" if number else "bold"), soft_wrap=True)


def _change(before: str | None, after: str | None) -> str:
    if before is None and after is None:
        return ""
    if before is None or before == after:
        return f"{after}"
    return f"{before} -> {after if after is not None else 'none'}"


def _figures(record: AuditRecord) -> str:
    """Return what the detail says in a few words."""
    detail = record.detail
    if record.action == "shadow_report":
        return _shadow_figures(detail)
    if record.action == "threshold_changed":
        source, distance = detail.get("threshold_source"), detail.get("threshold")
        said = f"distance {distance:.4g}" if isinstance(distance, float | int) else ""
        by_worker = "in use: " if detail.get("effective") else ""
        return f"{by_worker}{source or 'default'}{f' ({said})' if said else ''}"
    if record.action == "rolled_back" and detail.get("automatic"):
        rule, value, bound = detail.get("rule"), detail.get("value"), detail.get("bound")
        return f"by itself: {rule} {_number(value)}, bound {_number(bound)}"
    if record.action in {"loaded", "swapped"} and isinstance(detail.get("pause_ms"), float | int):
        return f"pause {detail['pause_ms']:.1f} ms"
    return ""


def _shadow_figures(detail: dict[str, Any]) -> str:
    try:
        report = ShadowReport.from_detail(detail)
    except ValueError:
        return "a report that this program cannot read"
    return (
        f"{report.records} records: {report.champion_alerts} and {report.candidate_alerts} alerts, "
        f"{report.both_alerts} both"
        + (
            ""
            if report.rank_correlation is None
            else f"; rank correlation {report.rank_correlation:.2f}"
        )
    )


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float | int) else str(value)


def _show_registry(
    registry: Registry, model: str, *, since: datetime | None, as_json: bool
) -> None:
    """Show the last move of each alias and the thresholds, which is what the registry remembers."""
    aliases = {alias: registry.alias_record(model, alias) for alias in registry.aliases(model)}
    thresholds = registry.threshold(model)
    rows: list[dict[str, Any]] = [_alias_row(alias, record) for alias, record in aliases.items()]
    rows += [
        {
            "source": "registry",
            "at": choice.set_at,
            "who": choice.set_by,
            "action": "threshold_changed",
            "model": model,
            "threshold": str(choice),
            "reason": choice.reason,
        }
        for choice in (thresholds.choice, *thresholds.earlier)
        if choice is not None
    ]
    rows = [row | {"model": model} for row in rows if since is None or _is_since(row, since)]
    rows.sort(key=lambda row: str(row["at"]))
    if as_json:
        for row in rows:
            print_json(row)
    else:
        print_lines([_row_cells(row) for row in rows])
    err.print(
        "this is what the registry remembers: who moved each alias last. The audit topic has all moves, "
        "refusals, swaps and reports",
        soft_wrap=True,
    )


def _alias_row(alias: str, record: AliasRecord) -> dict[str, Any]:
    return {
        "source": "registry",
        "at": record.updated_at,
        "who": record.updated_by,
        "action": "alias_moved",
        "alias": alias,
        "to_version": record.version,
        "earlier": record.history,
        "reason": record.reason,
    }


def _row_cells(row: dict[str, Any]) -> tuple[str, ...]:
    if row["action"] == "threshold_changed":
        change = ""
        why = "; ".join(part for part in (row["reason"], row["threshold"]) if part)
    else:
        # What it named just before is not known: after a roll back that is no part of the history.
        change = f"{row['alias']} {row['to_version']}"
        before = f"a roll back goes to {', '.join(row['earlier'])}" if row["earlier"] else ""
        why = "; ".join(part for part in (row["reason"], before) if part)
    cells = (show_utc(row["at"]), row["who"], row["action"].replace("_", " "), change, why)
    return tuple(printable(str(cell)) for cell in cells)


def _is_since(row: dict[str, Any], since: datetime) -> bool:
    at = try_utc(str(row["at"]))
    return at is None or at >= since
