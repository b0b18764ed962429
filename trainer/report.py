"""What a person reads after training: report.json, two pictures, a model card.

Letters: N validation rows.
"""

from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator
from numpy.typing import NDArray

REPORT: Final = "report.json"
MODEL_CARD: Final = "MODEL_CARD.md"
LOSSES: Final = "losses.png"
SCORES: Final = "scores.png"

_BLUE, _RED, _GREY = "#2166ac", "#b2182b", "#555555"
_BINS: Final = 80
_SIZE_INCHES: Final = (8.0, 4.5)
_DPI: Final = 120


def write_report(
    folder: Path,
    report: dict[str, Any],
    *,
    distances_N: NDArray[np.float64],
    is_anomaly_N: NDArray[np.bool_],
) -> None:
    """Write report.json, losses.png, scores.png and MODEL_CARD.md into a folder.

    Parameters
    ----------
    folder : Path
        Made when it is not there.
    report : dict
        JSON values, as `trainer.run.train` makes it.
    distances_N : ndarray of float64, shape (N,)
        Scores of the validation rows.
    is_anomaly_N : ndarray of bool, shape (N,)
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REPORT).write_bytes(
        msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
    )
    _save(loss_curves(report["epochs"], best=report["training"]["best_epoch"]), folder / LOSSES)
    threshold = report["at_threshold"]["threshold"]
    _save(score_histogram(distances_N, is_anomaly_N, threshold=threshold), folder / SCORES)
    (folder / MODEL_CARD).write_text(model_card(report), encoding="utf-8")


def loss_curves(epochs: list[dict[str, Any]], *, best: int) -> Figure:
    """Return L_D, L_E and the validation AUPR by epoch."""
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    losses = figure.add_subplot()
    numbers = [epoch["epoch"] for epoch in epochs]
    marker = "o" if len(numbers) == 1 else None
    lines = []
    for key, label, colour in (
        ("discriminator_loss", "L_D", _BLUE),
        ("encoder_loss", "L_E", _RED),
    ):
        values = [epoch[key] for epoch in epochs]
        lines += losses.plot(numbers, values, color=colour, label=label, marker=marker)
    losses.set(xlabel="epoch", ylabel="loss")
    losses.set_ylim(bottom=0)
    losses.xaxis.set_major_locator(MaxNLocator(integer=True))
    aupr = losses.twinx()
    values = [epoch["validation_aupr"] for epoch in epochs]
    lines += aupr.plot(
        numbers, values, color=_GREY, linestyle="--", label="validation AUPR", marker=marker
    )
    aupr.set_ylabel("validation AUPR")
    aupr.ticklabel_format(axis="y", useOffset=False)
    lines.append(losses.axvline(best, color=_GREY, linewidth=0.8, linestyle=":"))
    lines[-1].set_label(f"kept: epoch {best}")
    figure.legend(handles=lines, loc="outside upper center", ncols=4, frameon=False)
    return figure


def score_histogram(
    distances_N: NDArray[np.float64], is_anomaly_N: NDArray[np.bool_], *, threshold: float
) -> Figure:
    """Return how the scores of validation normals and anomalies are spread; both axes logarithmic."""
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    positive = np.maximum(distances_N, 1e-3)
    edges = np.geomspace(positive.min() * 0.95, positive.max() * 1.05, _BINS)
    for rows, label, colour in (
        (~is_anomaly_N, "normal", _BLUE),
        (is_anomaly_N, "anomaly", _RED),
    ):
        axes.hist(positive[rows], bins=edges.tolist(), color=colour, alpha=0.6, label=label)
    axes.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.3g}")
    axes.set(xscale="log", yscale="log", xlabel="Mahalanobis distance", ylabel="validation rows")
    axes.xaxis.set_major_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure


def model_card(report: dict[str, Any]) -> str:
    """Return the model card, Markdown."""
    training, figures, at = report["training"], report["figures"], report["at_threshold"]
    parameters = training["hyperparameters"]
    features = report["features"]
    kinds = ", ".join(kind for kind in training["kinds"] if kind != "normal")
    figure_rows = "\n".join(
        f"| {name.replace('_', ' ')} | {value:.4f} |"
        for name, value in figures.items()
        if isinstance(value, float)
    )
    kind_rows = "\n".join(
        f"| {_cell(kind)} | {recall:.3f} |" for kind, recall in at["recall_by_kind"].items()
    )
    excluded = "\n".join(
        f"- `{_cell(name)}`: {reason}" for name, reason in features["excluded"].items()
    )
    notes = "\n".join(f"- {note}" for note in report["notes"])
    return f"""# Model card: {report["model"]}

An AnoEAN encoder (Gherbi et al., ACML 2019): records of traffic become vectors of
{parameters["latent_dim"]} numbers, normal ones are drawn onto a Gaussian, labelled anomalies away
from it. The score is the Mahalanobis distance from held-out normal records; higher is more
anomalous.

## Data

| | normal | anomalies |
|---|---:|---:|
| trained on | {training["training_normals"]:,} | {training["training_anomalies"]:,} |
| held out | {training["validation_normals"]:,} | {training["validation_anomalies"]:,} |

Source: {training["data"]}, {training["rows"]:,} rows, sha256 of all cells `{training["data_sha256"]}`.
Kinds of anomaly in training: {kinds}.

## Figures on the held-out rows

The held-out rows also chose the epoch (number {training["best_epoch"]} of {training["epochs"]}), the
mean, the covariance and the threshold. They hold the same kinds of attack as the training rows, so
expect less on attacks of other kinds; measure with `anoean evaluate` on rows of your own.

| figure | value |
|---|---:|
{figure_rows}

Threshold {at["threshold"]:.6g}: {at["false_positive_rate"]:.3g} of normal records may exceed it;
{at["recall"]:.3f} of the held-out anomalies do.

| kind of anomaly | recall at that threshold |
|---|---:|
{kind_rows}

![Losses](losses.png)
![Scores](scores.png)

## Features

Numbers: {_listed(features["numbers"])}

Flags: {_listed(features["flags"])}

Categories: {_listed(features["categories"])}

Left out:

{excluded or "- nothing"}

## Intended use and limits

Ranking and alerting on records of the same exporter, with the same fields and units, from a network
like the one it was trained on. Not for deciding about people. Traffic that was rare in training is
not an attack, and an attack that looks like ordinary traffic is not seen. Train again when the
traffic changes.

## Notes

{notes or "- none"}

## How it was trained

{report["created_at"]}, {report["seconds"]:.0f} s, seed {training["seed"]}{", stopped early by hand" if training["interrupted"] else ""}.

| setting | value |
|---|---|
{chr(10).join(f"| training.{name} | {value} |" for name, value in parameters.items())}
"""


def _save(figure: Figure, path: Path) -> None:
    # No pyplot: it keeps global state and may look for a display.
    FigureCanvasAgg(figure)
    figure.savefig(path, format="png", dpi=_DPI)


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{_cell(name)}`" for name in names) or "none"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
