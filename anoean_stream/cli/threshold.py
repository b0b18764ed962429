"""``anoean threshold``: which score is an alert, shown, set and taken back while workers run."""

import math
from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from anoean_stream.cli import threshold_set, threshold_suggest
from anoean_stream.cli.console import err, out, print_json
from anoean_stream.cli.dead_letters import printable
from anoean_stream.cli.following import WaitOption, raise_if_behind, tell_following
from anoean_stream.cli.options import (
    ConfigOption,
    DebugOption,
    JsonOption,
    ModelArgument,
    ReasonOption,
    SetOption,
    load,
)
from anoean_stream.cli.quiet import quiet_librdkafka
from anoean_stream.cli.threshold_change import follow_change, said, threshold_detail
from anoean_stream.cli.threshold_stage import ThresholdStage
from anoean_stream.cli.times import show_utc
from anoean_stream.detector.threshold import ThresholdChoice
from anoean_stream.errors import BundleError, ConfigError
from anoean_stream.registry import Registry
from anoean_stream.registry.registry import who_am_i

app = typer.Typer(
    help="Show, set, suggest and roll back the threshold.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.command("set")(threshold_set.set_threshold)
app.command("suggest")(threshold_suggest.suggest)

_EARLIER_SHOWN = 5
"""Earlier choices in a table; --json has all."""


@app.command()
def show(
    name: ModelArgument = None,
    *,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Show what is asked for, what it comes to, and what each worker uses.

    [bold]Examples[/]

    [cyan]anoean threshold show[/]

    [cyan]anoean threshold show edge --json[/]
    """
    quiet_librdkafka(debug=debug)
    settings = load(config, overrides, debug=debug)
    model = name or settings.model.name
    registry = Registry.from_settings(settings.registry)
    stage = ThresholdStage(settings, registry, model)
    file = registry.threshold(model)
    versions = {"champion": stage.champion} | ({"shadow": stage.shadow} if stage.shadow else {})
    worked_out = {
        use: {"version": version} | _comes_to(stage, file.choice, version)
        for use, version in versions.items()
    }
    if as_json:
        print_json(
            {
                "name": model,
                "choice": file.choice,
                "earlier": file.earlier,
                "worked_out": worked_out,
                "workers": {
                    one.worker: {
                        "version": one.version,
                        "threshold": one.threshold,
                        "threshold_source": one.threshold_source,
                    }
                    for one in stage.live
                },
                "workers_unknown": None
                if stage.workers_unknown is None
                else str(stage.workers_unknown),
            }
        )
        return
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("asked for", _choice_words(file.choice))
    for use, found in worked_out.items():
        table.add_row(use, escape(f"version {found['version']}: {_found_words(found)}"))
    for one in stage.live:
        uses = f"{one.threshold:.4g}" if one.threshold is not None else "none"
        text = f"version {one.version}: {uses} ({one.threshold_source})"
        table.add_row(f"worker {escape(printable(one.worker))}", escape(printable(text)))
    for number, choice in enumerate(file.earlier[:_EARLIER_SHOWN]):
        table.add_row("before" if number == 0 else "", _choice_words(choice))
    out.print(table)
    if stage.workers_unknown is not None:
        err.print(
            f"what workers use is not known: {escape(str(stage.workers_unknown))}", soft_wrap=True
        )
    elif not stage.live:
        err.print(f"no live worker of group {escape(settings.consumer.group_id)} reports")


@app.command()
def rollback(
    name: ModelArgument = None,
    *,
    reason: ReasonOption = "",
    wait: WaitOption = True,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Ask for the threshold before the present one again.

    A second time goes one further back.

    [bold]Examples[/]

    [cyan]anoean threshold rollback[/]

    [cyan]anoean threshold rollback edge --reason "missed the scan"[/]
    """
    quiet_librdkafka(debug=debug)
    settings = load(config, overrides, debug=debug)
    model = name or settings.model.name
    registry = Registry.from_settings(settings.registry)
    stage = ThresholdStage(settings, registry, model)
    earlier = registry.threshold(model).earlier
    if earlier:
        stage.work_out(earlier[0], stage.champion)  # before the change: workers would refuse it
    left, choice = registry.roll_back_threshold(model)
    _finish(stage, left=left, choice=choice, reason=reason, wait=wait, as_json=as_json)


@app.command()
def reset(
    name: ModelArgument = None,
    *,
    reason: ReasonOption = "",
    wait: WaitOption = True,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Ask for nothing any more.

    scoring.false_positive_rate decides then, or else the model itself.

    [bold]Examples[/]

    [cyan]anoean threshold reset[/]

    [cyan]anoean threshold reset edge --reason "retrained"[/]
    """
    quiet_librdkafka(debug=debug)
    settings = load(config, overrides, debug=debug)
    model = name or settings.model.name
    registry = Registry.from_settings(settings.registry)
    stage = ThresholdStage(settings, registry, model)
    stage.work_out(None, stage.champion)  # before the change: workers would refuse it
    left = registry.set_threshold(model, None)
    _finish(stage, left=left, choice=None, reason=reason, wait=wait, as_json=as_json)


def _finish(
    stage: ThresholdStage,
    *,
    left: ThresholdChoice | None,
    choice: ThresholdChoice | None,
    reason: str,
    wait: bool,
    as_json: bool,
) -> None:
    """Tell of a choice that was made, and print what came of it."""
    model, threshold = stage.model, stage.work_out(choice, stage.champion)
    if not as_json:
        out.print(
            f"{escape(model)}: from {escape(said(left))} back to {escape(said(choice))}: "
            f"{threshold.distance:.4g} for version {stage.champion} ({escape(threshold.source)})",
            soft_wrap=True,
        )
    told, following = follow_change(
        stage.settings,
        model,
        version=stage.champion,
        left=left,
        choice=choice,
        threshold=threshold,
        who=who_am_i(),
        reason=reason,
        wait=wait,
    )
    if as_json:
        print_json(
            {
                "name": model,
                "version": stage.champion,
                "left": left,
                "choice": choice,
                **threshold_detail(threshold),
                "told": told,
                "workers": None if following is None else following.as_document(),
            }
        )
        raise_if_behind(following)
        return
    tell_following(following, what="it")


def _comes_to(
    stage: ThresholdStage, choice: ThresholdChoice | None, version: str
) -> dict[str, Any]:
    try:
        return threshold_detail(stage.work_out(choice, version))
    except (BundleError, ConfigError) as error:
        return {"threshold": None, "threshold_source": "", "error": str(error)}


def _found_words(found: dict[str, Any]) -> str:
    if "error" in found:
        return f"cannot be worked out: {found['error']}"
    distance = -math.inf if found["threshold"] is None else found["threshold"]
    return f"{distance:.4g} ({found['threshold_source']})"


def _choice_words(choice: ThresholdChoice | None) -> str:
    if choice is None:
        return "nothing: settings or model decide"
    reason = f": {choice.reason}" if choice.reason else ""
    text = f"{choice}, set {show_utc(choice.set_at)} by {choice.set_by}{reason}"
    return escape(printable(text))
