"""``anoean verify``: whether what went in equals what came out."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from anoean_stream.cli.console import err, out, print_json
from anoean_stream.cli.evidence import Evidence, gather
from anoean_stream.cli.moments import SinceOption, UntilOption
from anoean_stream.cli.options import ConfigOption, DebugOption, JsonOption, SetOption, load
from anoean_stream.cli.quiet import quiet_librdkafka
from anoean_stream.errors import AnoeanError, ConfigError
from anoean_stream.reconcile.findings import Weight

_STYLES: dict[Weight, str] = {"problem": "bold red", "unknown": "yellow", "note": "dim"}

_COLUMNS = ("partition", "records", "committed", "behind it", "lag", "dead", "alerted", "repeats")


def verify(
    *,
    since: SinceOption = None,
    until: UntilOption = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics",
            metavar="URL",
            help="/metrics of a worker; give it once for each worker of the group.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Hold input, committed offsets, dead letters, alerts and counters against each other.

    Reads the input topic from --since (else all that is there), the alerts and the dead letters; it
    joins no group and writes nothing. Workers may run meanwhile. Exit code 0: it adds up. 1: it does
    not. 4: the broker does not answer.

    [bold]Examples[/]

    [cyan]anoean verify --since 2h[/]

    [cyan]anoean verify --since 2026-05-01T10:00 --metrics http://127.0.0.1:6066 --json[/]
    """
    quiet_librdkafka(debug=debug)
    settings = load(config, overrides, debug=debug)
    if since is not None and until is not None and until <= since:
        message = f"--until {until.isoformat()} is not after --since {since.isoformat()}"
        raise ConfigError(message)
    evidence = gather(settings, since=since, until=until, urls=metrics or ())
    adds_up = not any(finding.weight == "problem" for finding in evidence.findings)
    if as_json:
        found = evidence.found
        print_json(
            {
                "adds_up": adds_up,
                "topic": settings.topics.input,
                "group": settings.consumer.group_id,
                "since": since,
                "until": until,
                "partitions": found.rows,
                **_totals(evidence),
                "workers": evidence.workers,
                "findings": evidence.findings,
                "cannot_know": cannot_know(evidence),
            }
        )
    else:
        _print(evidence, topic=settings.topics.input, adds_up=adds_up)
    if not adds_up:
        raise typer.Exit(AnoeanError.exit_code)


def cannot_know(evidence: Evidence) -> list[str]:
    """Return what this comparison leaves open, one sentence each."""
    totals = _totals(evidence)
    n_silent = totals["done"] - sum(min(r.dead + r.alerted, r.done) for r in evidence.found.rows)
    compared = evidence.workers and not any(
        finding.kind == "counters_not_compared" for finding in evidence.findings
    )
    sentences = []
    if compared:
        sentences.append(
            "Counters prove sums, not single records: a repeat and a skip would cancel each other out."
        )
    elif n_silent:
        sentences.append(
            f"A normal record leaves no trace in Kafka: {n_silent:,} records count as scored because "
            "their offsets are committed, which workers do only afterwards. Counters of the workers "
            "(--metrics, with --since before they began) prove it."
        )
    if evidence.n_before:
        sentences.append(
            f"Retention has removed {evidence.n_before:,} offsets of the input; whether all of them "
            "were read before cannot be seen any more."
        )
    if evidence.is_compacted is None:
        sentences.append(
            "The broker does not tell whether the input is compacted (it wants DescribeConfigs for "
            "that): it was taken as not compacted."
        )
    return sentences


def _totals(evidence: Evidence) -> dict[str, int]:
    names = ("records", "done", "lag", "dead", "alerted", "repeats")
    return {name: sum(getattr(row, name) for row in evidence.found.rows) for name in names}


def _print(evidence: Evidence, *, topic: str, adds_up: bool) -> None:
    totals = _totals(evidence)
    table = Table(title=escape(topic))
    for heading in _COLUMNS:
        table.add_column(heading, justify="right")
    for row in evidence.found.rows:
        committed = "-" if row.committed is None else f"{row.committed:,}"
        figures = (row.done, row.lag, row.dead, row.alerted, row.repeats)
        table.add_row(
            str(row.partition), f"{row.records:,}", committed, *map("{:,}".format, figures)
        )
    table.add_section()
    sums = [totals[name] for name in ("done", "lag", "dead", "alerted", "repeats")]
    table.add_row("all", f"{totals['records']:,}", "", *map("{:,}".format, sums))
    out.print(table)
    if evidence.workers:
        out.print(_workers_table(evidence))
    for finding in evidence.findings:
        example = f" (such as {finding.example})" if finding.example else ""
        style = _STYLES[finding.weight]
        out.print(
            f"[{style}]{finding.weight}:[/] {finding.n:,} {escape(finding.text + example)}",
            soft_wrap=True,
        )
    for sentence in cannot_know(evidence):
        err.print(f"not known: {escape(sentence)}", soft_wrap=True)
    if adds_up:
        out.print(
            f"[bold green]it adds up:[/] {totals['records']:,} records = {totals['done']:,} behind the "
            f"committed offsets + {totals['lag']:,} lag",
            soft_wrap=True,
        )
        if not totals["records"]:
            err.print("no record in this span; is --since by the timestamps of the input right?")
    else:
        out.print("[bold red]it does not add up[/]")


def _workers_table(evidence: Evidence) -> Table:
    table = Table(title="counters")
    for heading in ("worker", "records", "scored", "dead", "alerts"):
        table.add_column(heading, justify="left" if heading == "worker" else "right")
    for worker in evidence.workers:
        figures = (worker.records, worker.scored, worker.dead, worker.alerts)
        table.add_row(escape(worker.url), *map("{:,}".format, figures))
    if len(evidence.workers) > 1:
        table.add_section()
        sums = [
            sum(getattr(worker, name) for worker in evidence.workers)
            for name in ("records", "scored", "dead", "alerts")
        ]
        table.add_row("all", *map("{:,}".format, sums))
    return table
