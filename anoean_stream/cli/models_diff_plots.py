"""The four plots of ``anoean models diff``, as SVG that stands inside a page.

Imports matplotlib: only the command itself may import this module, inside a function.

Letters: T bins.
"""

import io
import math
import re
from collections.abc import Sequence
from datetime import UTC
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LogNorm
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from anoean_stream.cli.models_diff_figures import BIN

FIRST, SECOND, BOTH = "#1f5fa8", "#c25100", "#6b6b6b"
"""Colours of A, of B and of what they share; told apart by the colour-blind, and in grey."""

_INK, _GRID = "#1a1a1a", "#e3e3e3"
_SIZE_INCHES: Final = (5.6, 3.7)
_STYLE: Final = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 10,
    "svg.fonttype": "none",  # text stays text: it can be found, read aloud and enlarged
    "axes.edgecolor": "#8a8a8a",
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "text.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "legend.frameon": False,
}

_DECADES_MOST: Final = (-3.0, 4.0)
"""Scores shown at the most, in decades of the threshold: what is farther stands at the edge."""

_DECADES_LEAST: Final = (-1.0, 1.0)


def draw(document: dict[str, Any], *, first: str, second: str) -> dict[str, str]:
    """Return the plots of a document by name, each one ``<svg>`` element.

    Parameters
    ----------
    document : dict
        From `Study.document`.
    first, second : str
        What A and B are called.
    """
    plots = document["plots"]
    names = (first, second)
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]  # its stubs list each key as a literal
        return {
            "rate": _svg(_rate(plots["alert_rate"], names), "rate"),
            "scores": _svg(_scores(plots["scores"], names), "scores"),
            "scatter": _svg(_scatter(plots["scatter"], names, document), "scatter"),
            "overlap": _svg(_overlap(plots["overlap"], names, document), "overlap"),
        }


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    return figure, figure.add_subplot()


def _rate(rate: dict[str, Any], names: tuple[str, str]) -> Figure:
    figure, axes = _figure()
    begins_T = np.array(rate["begins"], dtype=np.float64)
    width = float(rate["width"])
    records_T = np.array(rate["records"], dtype=np.float64)
    is_time = rate["unit"] == "ms"
    # A bin without records is a gap in the line, not a line across it.
    after = np.flatnonzero(np.diff(begins_T) > width) + 1
    middles = np.insert(begins_T + width / 2, after, np.nan)
    if is_time:
        middles = middles / 86_400_000  # days since 1970, which matplotlib takes for a date
    for key, name, colour in (
        ("champion_alerts", names[0], FIRST),
        ("candidate_alerts", names[1], SECOND),
    ):
        shares = np.insert(np.array(rate[key]) / records_T, after, np.nan)
        alone = "o" if len(begins_T) < 3 else None  # noqa: PLR2004  a line needs more than two points
        axes.plot(middles, shares, color=colour, label=name, linewidth=1.4, marker=alone)
    if is_time:
        locator = AutoDateLocator(minticks=3, maxticks=6, tz=UTC)  # type: ignore[no-untyped-call]  # matplotlib.dates has no types
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC, show_offset=False))  # type: ignore[no-untyped-call]  # the same
        axes.set_xlabel(f"time of the record, UTC (points of {_span(width)})")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
        axes.set_xlabel(f"record (points of {width:,.0f})")
    axes.set_ylabel("records that alert")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    _legend(axes)
    return figure


def _scores(scores: dict[str, Any], names: tuple[str, str]) -> Figure:
    figure, axes = _figure()
    side = BIN
    low, high = _limits(*([left for left, _ in scores[key]] for key in scores))
    edges = np.arange(round((high - low) / side) + 1) * side + low
    for key, name, colour in (("champion", names[0], FIRST), ("candidate", names[1], SECOND)):
        lefts, counts = (
            np.array(part, dtype=np.float64) for part in zip(*scores[key], strict=True)
        )
        inside = np.clip(lefts + side / 2, low + side / 2, high - side / 2)
        heights, _ = np.histogram(inside, edges, weights=counts)
        axes.stairs(heights, edges, color=colour, linewidth=1.4, label=name, baseline=0.5)
        axes.stairs(heights, edges, color=colour, alpha=0.12, fill=True, baseline=0.5)
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.7)
    axes.axvline(0, color=_INK, linewidth=1, linestyle="--", label="threshold")
    _decades(axes.xaxis, (low, high))
    axes.set_xlabel("score, as a multiple of the model's own threshold")
    axes.set_ylabel("records")
    _legend(axes, ncols=3)
    return figure


def _scatter(cells: dict[str, Any], names: tuple[str, str], document: dict[str, Any]) -> Figure:
    figure, axes = _figure()
    side = cells["side"]
    low, high = _limits(cells["champion"], cells["candidate"])
    n_cells = round((high - low) / side)
    grid: NDArray[np.float64] = np.zeros((n_cells, n_cells))
    places = [
        np.clip(np.round((np.array(cells[key]) - low) / side).astype(np.intp), 0, n_cells - 1)
        for key in ("champion", "candidate")
    ]
    np.add.at(grid, (places[1], places[0]), cells["records"])
    edges = np.arange(n_cells + 1) * side + low
    mesh = axes.pcolormesh(
        edges,
        edges,
        np.ma.masked_equal(grid, 0),
        norm=LogNorm(1, max(float(grid.max()), 10)),
        cmap="viridis_r",
        rasterized=True,
    )
    figure.colorbar(mesh, ax=axes, label="records in a cell")
    for line in (axes.axhline, axes.axvline):
        line(0, color=_INK, linewidth=1, linestyle="--")
    champion, candidate = document["champion_alerts"], document["candidate_alerts"]
    both = document["both_alerts"]
    for x, y, text in (
        (0.98, 0.97, f"both: {both:,}"),
        (0.98, 0.03, f"only {names[0]}: {champion - both:,}"),
        (0.02, 0.97, f"only {names[1]}: {candidate - both:,}"),
        (0.02, 0.03, f"neither: {document['records'] - champion - candidate + both:,}"),
    ):
        axes.text(
            x,
            y,
            text,
            transform=axes.transAxes,
            ha="right" if x > 0.5 else "left",  # noqa: PLR2004  the middle of the axes
            va="top" if y > 0.5 else "bottom",  # noqa: PLR2004  the same
            fontsize=8.5,
            bbox={"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 1.5},
        )
    _decades(axes.xaxis, (low, high))
    _decades(axes.yaxis, (low, high))
    axes.set_xlabel(f"score of {names[0]} / threshold")
    axes.set_ylabel(f"score of {names[1]} / threshold")
    return figure


def _overlap(overlap: dict[str, Any], names: tuple[str, str], document: dict[str, Any]) -> Figure:
    figure, axes = _figure()
    axes.plot(overlap["alert_share"], overlap["in_common"], color=BOTH, linewidth=1.8)
    for key, name, colour in (
        ("champion_alerts", names[0], FIRST),
        ("candidate_alerts", names[1], SECOND),
    ):
        share = document[key] / document["records"]
        if share > 0:
            axes.axvline(share, color=colour, linewidth=1.2, linestyle="--", label=f"{name} now")
    axes.set_xscale("log")
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:g}%"))
    axes.set_xlabel("records that each model lets alert")
    axes.set_ylabel("alerts in common")
    if axes.get_legend_handles_labels()[0]:
        _legend(axes)
    return figure


def _legend(axes: Axes, *, ncols: int = 2) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=ncols, borderaxespad=0.2)


def _limits(*decades: Sequence[float]) -> tuple[float, float]:
    """Return the half decades around what is drawn, with the threshold inside."""
    low = min(min(part, default=0.0) for part in decades)
    high = max(max(part, default=0.0) for part in decades)
    low = max(min(math.floor(2 * low) / 2, _DECADES_LEAST[0]), _DECADES_MOST[0])
    high = min(max(math.ceil(2 * high + 0.2) / 2, _DECADES_LEAST[1]), _DECADES_MOST[1])
    return low, high


def _decades(axis: Any, limits: tuple[float, float]) -> None:
    axis.axes.set(**{f"{axis.axis_name}lim": limits})
    axis.set_ticks(range(math.ceil(limits[0]), math.floor(limits[1]) + 1))
    axis.set_major_formatter(FuncFormatter(lambda decade, _: f"{10.0**decade:g}\u00d7"))


def _span(milliseconds: float) -> str:
    seconds = milliseconds / 1000
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{milliseconds:.0f} ms"


def _svg(figure: Figure, name: str) -> str:
    # No pyplot: it keeps global state and may look for a display.
    FigureCanvasSVG(figure)
    written = io.StringIO()
    # The salt keeps the names inside one picture from meeting those of the next, and is the same each
    # time, so that the same input gives the same page.
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(written, format="svg", dpi=200, metadata={"Date": None})
    picture = written.getvalue()
    picture = picture[picture.index("<svg") :]
    picture = re.sub(r"<metadata>.*?</metadata>", "", picture, flags=re.DOTALL)
    # As wide as the page wants it; the view box keeps its proportions.
    return re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", picture, count=1), count=1)  # fmt: skip
