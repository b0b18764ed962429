"""``anoean dlq replay``: dead letters again, through the topic or straight through the scorer."""

from collections import Counter
from typing import Annotated

import msgspec
import typer
from rich.markup import escape

from anoean_stream.cli.console import err, out, print_json
from anoean_stream.cli.dead_letters import Selection, printable, read_letters
from anoean_stream.cli.dlq_options import (
    PartitionOption,
    ReasonOption,
    dlq_group,
    selection_of,
)
from anoean_stream.cli.moments import SinceOption, UntilOption
from anoean_stream.cli.options import ConfigOption, DebugOption, JsonOption, SetOption, load
from anoean_stream.cli.quiet import quiet_librdkafka
from anoean_stream.cli.reader import Reader
from anoean_stream.cli.replay import Replay, ReplayCounts
from anoean_stream.cli.sender import Sender
from anoean_stream.errors import ConfigError
from anoean_stream.settings import Settings


def replay(
    *,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    partition: PartitionOption = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many.", show_default=False)
    ] = None,
    max_replays: Annotated[
        int,
        typer.Option(
            min=1, help="Leave out records that were replayed so often, and failed each time."
        ),
    ] = 1,
    through_scorer: Annotated[
        bool,
        typer.Option(
            "--through-scorer",
            help="Score them here and now, with the model of the registry; nothing is sent again.",
        ),
    ] = False,
    publish: Annotated[
        bool,
        typer.Option("--publish", help="With --through-scorer: publish the alerts (needs --yes)."),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it. Without, it only says what it would do.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Send dead letters back to the topic they came from, with their original bytes and key.

    For after the exporter, the settings or the model was mended. Without --yes nothing is sent: it
    says what would be. What has been sent is remembered (in the consumer group GROUP.dlq-replay),
    so another replay sends only what is new. A record sent again carries the header
    anoean-replay-count; when it fails again, so does its new letter, and it is left out from then
    on, unless --max-replays allows more.

    With --through-scorer the letters are scored in this process: what would the model say now?

    [bold]Examples[/]

    [cyan]anoean dlq replay --reason wrong_type --since 2h[/]

    [cyan]anoean dlq replay --reason wrong_type --since 2h --yes[/]

    [cyan]anoean dlq replay --through-scorer --json | jq .alerts[/]
    """
    quiet_librdkafka(debug=debug)
    settings = load(config, overrides, debug=debug)
    if publish and not through_scorer:
        message = "--publish needs --through-scorer; without it the worker publishes the alerts"
        raise ConfigError(message)
    selection = selection_of(reason=reason, partition=partition, since=since, until=until)
    if through_scorer:
        _through_scorer(settings, selection, limit=limit, publish=publish, yes=yes, as_json=as_json)
        return
    with Reader(settings, settings.topics.dead_letters, group=dlq_group(settings)) as reader:
        run = Replay(settings, reader, selection=selection, limit=limit, max_replays=max_replays)
        counts = run.send() if yes else run.count()
    _tell_replay(counts, topic=settings.topics.input, sent=yes, as_json=as_json)
    if counts.interrupted:
        raise KeyboardInterrupt


def _through_scorer(
    settings: Settings,
    selection: Selection,
    *,
    limit: int | None,
    publish: bool,
    yes: bool,
    as_json: bool,
) -> None:
    # Here, so that looking at letters does not wait for numpy.
    from anoean_stream.cli.alert_view import one_line
    from anoean_stream.cli.offline import open_model, open_pipeline
    from anoean_stream.cli.rescore import Rescorer

    served = open_model(settings, name=None, ref=None)
    pipeline = open_pipeline(settings, served, explain=True)
    topic, alerts_topic = settings.topics.dead_letters, settings.topics.alerts
    sender = Sender(settings) if publish and yes else None
    rescorer = Rescorer(
        pipeline,
        selection=selection,
        dead_topic=topic,
        publish=None
        if sender is None
        else lambda alert: sender.send(
            alerts_topic, alert.value, key=alert.key, headers=alert.headers
        ),
    )
    with Reader(settings, topic, group=dlq_group(settings)) as reader:
        found = rescorer.score(read_letters(reader, selection.spans(reader)), limit=limit)
    n_published = 0
    if sender is not None:
        sender.finish()
        n_published = sender.n_acknowledged
    model = f"{served.name}@{served.version}"
    if as_json:
        print_json(
            {
                "model": model,
                "letters": found.n_letters,
                "scored": found.n_scored,
                "above_threshold": found.n_alerts,
                "still_dead": dict(found.still_dead.most_common()),
                "left_out": {"cut": found.n_cut, "foreign": found.n_foreign},
                "published": n_published,
                "alerts": [msgspec.Raw(alert) for alert in found.alerts],
            }
        )
        return
    for alert in found.alerts:
        out.print(escape(printable(one_line(msgspec.json.decode(alert)))), soft_wrap=True)
    out.print(
        f"{found.n_letters:,} dead letters through {escape(model)}: {found.n_scored:,} have a score "
        f"now, {found.n_alerts:,} of them above the threshold {pipeline.threshold:.4g}; "
        f"{found.still_dead.total():,} are still dead{_by_reason(found.still_dead)}"
    )
    if found.n_alerts > len(found.alerts):
        err.print(f"the newest {len(found.alerts):,} alerts are shown")
    _tell_left_out({"cut": found.n_cut, "foreign": found.n_foreign})
    if n_published:
        out.print(f"{n_published:,} alerts to {escape(alerts_topic)}, all acknowledged")
    elif publish and found.n_alerts and not yes:
        err.print(
            f"nothing was published; with --yes these {found.n_alerts:,} alerts go to "
            f"{escape(alerts_topic)}"
        )


def _tell_replay(counts: ReplayCounts, *, topic: str, sent: bool, as_json: bool) -> None:
    n_chosen = counts.chosen.total()
    left_out = {
        "done": counts.n_done,
        "failed_again": counts.n_failed_again,
        "cut": counts.n_cut,
        "foreign": counts.n_foreign,
    }
    if as_json:
        print_json(
            {
                "dry_run": not sent,
                "found": n_chosen,
                "replayed": counts.n_sent,
                "by_reason": dict(counts.chosen.most_common()),
                "left_out": left_out,
                "interrupted": counts.interrupted,
            }
        )
        return
    verb = "sent to" if sent else "would be sent to"
    acknowledged = ", all acknowledged" if sent and n_chosen else ""
    out.print(
        f"{n_chosen:,} dead letters {verb} {escape(topic)}{_by_reason(counts.chosen)}{acknowledged}"
    )
    _tell_left_out(left_out)
    if not sent and n_chosen:
        err.print("nothing was sent: this was a dry run; do it with --yes")


_LEFT_OUT = {
    "done": "were sent again by an earlier replay",
    "failed_again": (
        "had been replayed before and failed again: mend their cause first, then --max-replays"
    ),
    "cut": "have their values cut to fit the topic; the whole records are at their origin",
    "foreign": "are of another input, or no worker wrote them",
}
"""Why letters are left out."""


def _tell_left_out(left_out: dict[str, int]) -> None:
    for why, n in left_out.items():
        if n:
            err.print(f"left out: {n:,} that {_LEFT_OUT[why]}", soft_wrap=True)


def _by_reason(counts: Counter[str]) -> str:
    named = ", ".join(f"{printable(name)}: {n:,}" for name, n in counts.most_common())
    return f" ({named})" if named else ""
