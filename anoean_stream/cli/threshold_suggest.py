"""``anoean threshold suggest``: what each choice would have done to the traffic of the last hour."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from rich.markup import escape
from rich.table import Table

from anoean_stream.cli.console import err, out, print_json
from anoean_stream.cli.options import (
    ConfigOption,
    DebugOption,
    JsonOption,
    ModelArgument,
    SetOption,
    load,
)
from anoean_stream.cli.quiet import quiet_librdkafka
from anoean_stream.cli.threshold_set import traffic_document
from anoean_stream.cli.threshold_stage import ThresholdStage
from anoean_stream.cli.threshold_traffic import AlertRate, Traffic
from anoean_stream.detector.sketch import ScoreSketch
from anoean_stream.detector.threshold import Kind, ThresholdChoice
from anoean_stream.errors import ConfigError
from anoean_stream.registry import Registry

ALERTS_PER_HOUR: Final = (1, 2, 5, 10, 20, 50, 100, 200)
FALSE_POSITIVE_RATES: Final = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)

_TAIL: Final = 0.9
"""Share of scores below the histogram: thresholds lie far above it."""

_ROWS: Final = 14
"""Lines of the histogram: with the table it fits a terminal of 40."""

_BAR: Final = 40
"""Letters of the longest bar."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One choice, and what it would have done.

    Parameters
    ----------
    choice : str
        In words.
    distance : float or None
        Threshold; None when it cannot be told.
    rate : AlertRate or None
        Alerts an hour.
    note : str
        Why it cannot be told, in two words.
    is_present : bool
        Whether this is what is in use.
    """

    choice: str
    distance: float | None
    rate: AlertRate | None
    note: str = ""
    is_present: bool = False


def suggest(
    name: ModelArgument = None,
    *,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Show what each threshold would have done to the traffic of the last hour.

    Workers count the scores of what they read, by the version that serves,
    and report them on topics.workers. Each line has the threshold and the
    alerts an hour, with the 95 % interval of so many counted events. Nothing
    is changed.

    [bold]Examples[/]

    [cyan]anoean threshold suggest[/]

    [cyan]anoean threshold suggest edge --json[/]
    """
    quiet_librdkafka(debug=debug)
    settings = load(config, overrides, debug=debug)
    model = name or settings.model.name
    registry = Registry.from_settings(settings.registry)
    stage = ThresholdStage(settings, registry, model)
    traffic = stage.counted_traffic()
    present = stage.work_out(registry.threshold(model).choice, stage.champion)
    suggestions = suggestions_for(stage, traffic)
    suggestions.append(
        Suggestion(
            f"now: {present.source}",
            present.distance if math.isfinite(present.distance) else None,
            traffic.alert_rate(present.distance),
            is_present=True,
        )
    )
    if as_json:
        print_json(_document(stage, traffic, suggestions))
        return
    out.print(_table(model, stage.champion, suggestions))
    out.print(histogram(traffic.merged(), threshold=present.distance))
    err.print(f"counted from {traffic.describe()}", soft_wrap=True)
    err.print(
        "the interval holds for events that come one by one; attacks come in bursts", soft_wrap=True
    )


def suggestions_for(stage: ThresholdStage, traffic: Traffic) -> list[Suggestion]:
    """Return the choices of `ALERTS_PER_HOUR` and `FALSE_POSITIVE_RATES` for the champion."""
    found = []
    for alerts in ALERTS_PER_HOUR:
        choice = _choice("alerts_per_hour", alerts)
        try:
            distance = traffic.distance_for(alerts)
        except ConfigError:
            found.append(Suggestion(str(choice), None, None, "too little traffic"))
            continue
        found.append(Suggestion(str(choice), distance, traffic.alert_rate(distance)))
    for rate in FALSE_POSITIVE_RATES:
        choice = _choice("false_positive_rate", rate)
        try:
            distance = stage.work_out(choice, stage.champion).distance
        except ConfigError:
            found.append(Suggestion(str(choice), None, None, "too few normals"))
            continue
        found.append(Suggestion(str(choice), distance, traffic.alert_rate(distance)))
    return found


def histogram(sketch: ScoreSketch, *, threshold: float) -> Table:
    """Return the tail of the scores as bars, and where the threshold stands in it.

    The bars are logarithmic: one letter more is a third more records.
    """
    low = sketch.quantile(_TAIL) or 0.0
    high = sketch.quantile(1.0) or 0.0
    # The threshold is always in the picture, even far above everything that was seen.
    high = max(high, threshold * 1.02) if math.isfinite(threshold) else high
    edges = _edges(low, high)
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        title_justify="left",
        title="scores of the upper tenth (bars are logarithmic)",
    )
    table.add_column("from score", justify="right", no_wrap=True)
    table.add_column("records", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    counts = [sketch.n_above(a) - sketch.n_above(b) for a, b in pairwise(edges)]
    most = max([*counts, 1])
    for number, count in enumerate(counts):
        below, above = edges[number], edges[number + 1]
        bar = "█" * max(round(_BAR * math.log1p(count) / math.log1p(most)), int(count > 0))
        mark = f" ◀ threshold {threshold:.4g}" if below <= threshold < above else ""
        style = "red" if below >= threshold else ""
        table.add_row(f"{below:.3g}", f"{count:,}", f"{bar}{mark}", style=style)
    return table


def _edges(low: float, high: float) -> list[float]:
    """Return the edges of the rows, in equal ratios."""
    low = max(low, 1e-6)
    high = max(high, low * 1.05)
    step = math.log(high / low) / _ROWS
    return [low * math.exp(step * number) for number in range(_ROWS)] + [high * 1.0001]


def _choice(kind: Kind, value: float) -> ThresholdChoice:
    return ThresholdChoice(kind=kind, value=value)


def _table(model: str, version: str, suggestions: list[Suggestion]) -> Table:
    table = Table(title=f"{escape(model)} version {version}")
    table.add_column("choice", overflow="fold")
    for heading in ("threshold", "alerts an hour", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in suggestions:
        if one.is_present:
            table.add_section()
        style = "bold" if one.is_present else "dim" if one.distance is None else ""
        rate = (one.note, "") if one.rate is None else _rate_cells(one.rate)
        distance = "" if one.distance is None else f"{one.distance:.4g}"
        table.add_row(escape(one.choice), distance, *rate, style=style)
    return table


def _rate_cells(rate: AlertRate) -> tuple[str, str]:
    value, _, interval = str(rate).partition(" ")
    return value, interval.strip("()")


def _document(
    stage: ThresholdStage, traffic: Traffic, suggestions: list[Suggestion]
) -> dict[str, Any]:
    return {
        "name": stage.model,
        "version": stage.champion,
        "traffic": traffic_document(traffic),
        "suggestions": suggestions,
        "bins": dict(sorted(traffic.merged().counts.items())),
    }
