"""``anoean threshold set``: as many alerts as you can look at, from the next chunk on."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.markup import escape

from anoean_stream.cli.console import err, out, print_json
from anoean_stream.cli.following import WaitOption, raise_if_behind, tell_following
from anoean_stream.cli.options import (
    ConfigOption,
    DebugOption,
    JsonOption,
    ReasonOption,
    SetOption,
    load,
)
from anoean_stream.cli.quiet import quiet_librdkafka
from anoean_stream.cli.threshold_change import follow_change, said, threshold_detail
from anoean_stream.cli.threshold_stage import ThresholdStage
from anoean_stream.cli.threshold_traffic import Traffic
from anoean_stream.detector.threshold import Threshold, ThresholdChoice, check_choice
from anoean_stream.errors import BundleError, ConfigError
from anoean_stream.records.times import rfc3339
from anoean_stream.registry import Registry
from anoean_stream.registry.registry import who_am_i


def set_threshold(
    *,
    alerts_per_hour: Annotated[
        float | None,
        typer.Option(
            "--alerts-per-hour",
            metavar="N",
            help="Over all workers of the group, on traffic like that of the last hour.",
        ),
    ] = None,
    false_positive_rate: Annotated[
        float | None,
        typer.Option(
            "--false-positive-rate",
            metavar="R",
            help="Share of normal records that may alert, by each version's own calibration.",
        ),
    ] = None,
    distance: Annotated[
        float | None,
        typer.Option(
            "--distance",
            min=0,
            metavar="D",
            help="The score itself, above which the present champion alerts.",
        ),
    ] = None,
    reason: ReasonOption = "",
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Name of the model; else model.name."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would be, and change nothing.")
    ] = False,
    wait: WaitOption = True,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Ask for a threshold; workers use it from the next chunk on.

    It stands in the registry, so it survives restarts, is told to
    topics.audit and topics.control, and `anoean threshold rollback` takes it
    back. How many alerts an hour it makes on the traffic that workers counted
    is said, and how many the one before makes.

    Exit code 3 when a worker has not followed in time; it is set all the
    same.

    [bold]Examples[/]

    [cyan]anoean threshold set --alerts-per-hour 20 --reason "two people on shift"[/]

    [cyan]anoean threshold set --false-positive-rate 1e-4 --dry-run[/]

    [cyan]anoean threshold set --distance 7.5 --name edge[/]
    """
    quiet_librdkafka(debug=debug)
    settings = load(config, overrides, debug=debug)
    model = name or settings.model.name
    registry = Registry.from_settings(settings.registry)
    asked = _asked(alerts_per_hour, false_positive_rate, distance)
    stage = ThresholdStage(settings, registry, model)
    left = registry.threshold(model).choice
    who = who_am_i()
    choice = ThresholdChoice(
        kind=asked.kind,
        value=asked.value,
        **_worked_out(stage, asked, _still_true(registry, model, left, asked)),
        set_at=rfc3339(datetime.now(tz=UTC)),
        set_by=who,
        reason=reason[:2000],
    )
    before, after = _before(stage, left), stage.work_out(choice, stage.champion)
    traffic = stage.traffic()
    if not dry_run:
        registry.set_threshold(model, choice)
    document = {
        "name": model,
        "version": stage.champion,
        "choice": choice,
        "before": None if before is None else _effect(before, traffic),
        "after": _effect(after, traffic),
        "traffic": traffic_document(traffic),
        "written": not dry_run,
    }
    if not as_json:
        _print_change(model, before, after, traffic, is_written=not dry_run)
    if dry_run:
        if as_json:
            print_json(document)
        return
    told, following = follow_change(
        settings,
        model,
        version=stage.champion,
        left=left,
        choice=choice,
        threshold=after,
        who=who,
        reason=reason,
        wait=wait,
    )
    if as_json:
        workers = None if following is None else following.as_document()
        print_json(document | {"told": told, "workers": workers})
        raise_if_behind(following)
        return
    tell_following(following, what="it")


def _asked(
    alerts_per_hour: float | None, false_positive_rate: float | None, distance: float | None
) -> ThresholdChoice:
    options = {
        "alerts_per_hour": alerts_per_hour,
        "false_positive_rate": false_positive_rate,
        "distance": distance,
    }
    given = {kind: value for kind, value in options.items() if value is not None}
    if len(given) != 1:
        words = [f"--{kind.replace('_', '-')}" for kind in options]
        seen = " and ".join(f"--{kind.replace('_', '-')}" for kind in given) or "none of them"
        message = f"give one of {', '.join(words)}; found {seen}"
        raise typer.BadParameter(message)
    (kind, value) = next(iter(given.items()))
    choice = ThresholdChoice(kind=kind, value=value)  # type: ignore[arg-type]  # one of the three kinds
    if not math.isfinite(value):
        message = f"{value} was given, expected a finite number"
        raise typer.BadParameter(message)
    check_choice(choice)
    return choice


def _still_true(
    registry: Registry, model: str, left: ThresholdChoice | None, asked: ThresholdChoice
) -> dict[str, float]:
    """Return what the same number of alerts came to for other versions: a roll back goes to one of them."""
    if left is None or (left.kind, left.value) != (asked.kind, asked.value):
        return {}
    there = set(registry.version_numbers(model))
    return {version: value for version, value in left.distances.items() if version in there}


def _worked_out(
    stage: ThresholdStage, asked: ThresholdChoice, known: Mapping[str, float]
) -> dict[str, Any]:
    """Return the distances and the share of a choice; `known` are distances of other versions.

    Raises
    ------
    ConfigError
        When the champion cannot have it: too little traffic, or too small a rate.
    BrokerError
        When the traffic has to be known, and no broker answers.
    """
    if asked.kind == "distance":
        return {"distances": {stage.champion: asked.value}}
    if asked.kind == "false_positive_rate":
        stage.work_out(asked, stage.champion)
        _warn_of_shadow(stage, asked)
        return {}
    traffic = stage.counted_traffic()
    distances = {**known, stage.champion: traffic.distance_for(asked.value)}
    share = min(asked.value / traffic.records_per_hour, 1.0)
    shadow = stage.shadow_traffic()
    if shadow is not None and shadow.version != stage.champion:
        # A shadow sees a sample of the chunks: the same share of its scores, not the same rate.
        found = shadow.distance_for_share(share)
        if found is not None:
            distances[shadow.version] = found
        else:
            err.print(
                f"[yellow]note:[/] the shadow, version {shadow.version}, has scored too little for its "
                "own threshold; until the next `anoean threshold set` its calibration decides",
                soft_wrap=True,
            )
    return {"distances": distances, "share": share}


def _warn_of_shadow(stage: ThresholdStage, asked: ThresholdChoice) -> None:
    if stage.shadow is None:
        return
    try:
        stage.work_out(asked, stage.shadow)
    except (ConfigError, BundleError) as error:
        err.print(
            f"[yellow]note:[/] the shadow, version {stage.shadow}, cannot have it: "
            f"{escape(str(error))}",
            soft_wrap=True,
        )


def _before(stage: ThresholdStage, left: ThresholdChoice | None) -> Threshold | None:
    try:
        return stage.work_out(left, stage.champion)
    except ConfigError as error:  # a choice that this version cannot have: what is set now mends it
        err.print(
            f"[yellow]note:[/] {said(left)} cannot be worked out for version {stage.champion}: "
            f"{escape(str(error))}",
            soft_wrap=True,
        )
        return None


def _print_change(
    model: str,
    before: Threshold | None,
    after: Threshold,
    traffic: Traffic,
    *,
    is_written: bool,
) -> None:
    words = ("was", "is now") if is_written else ("is", "would be")
    for word, threshold in zip(words, (before, after), strict=True):
        if threshold is not None:
            out.print(
                f"{escape(model)}: the threshold {word} {threshold.distance:.4g} "
                f"({escape(threshold.source)}){_makes(threshold, traffic)}",
                soft_wrap=True,
            )
    if traffic.n_records:
        err.print(f"counted from {traffic.describe()}", soft_wrap=True)
    else:
        err.print(
            "how many alerts an hour that makes is not known: no live worker has reported scores of "
            f"version {traffic.version}",
            soft_wrap=True,
        )
    if not is_written:
        err.print("nothing was changed (--dry-run)")


def _makes(threshold: Threshold, traffic: Traffic) -> str:
    if not traffic.n_records:
        return ""
    return f": {traffic.alert_rate(threshold.distance)} alerts an hour"


def _effect(threshold: Threshold, traffic: Traffic) -> dict[str, Any]:
    rate = traffic.alert_rate(threshold.distance) if traffic.n_records else None
    return threshold_detail(threshold) | {"alerts_per_hour": rate}


def traffic_document(traffic: Traffic) -> dict[str, Any]:
    """Return what a figure rests on, for ``--json``."""
    return {
        "version": traffic.version,
        "records": traffic.n_records,
        "records_per_hour": traffic.records_per_hour,
        "hours": traffic.hours,
        "workers": len(traffic.distributions),
    }
