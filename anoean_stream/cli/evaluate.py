"""``anoean evaluate``: figures of merit of a version on labelled records."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import numpy as np
import typer
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from anoean_stream.cli.console import out, print_json
from anoean_stream.cli.offline import (
    DataDirOption,
    DatasetOption,
    FileArgument,
    ModelOption,
    Source,
    SplitOption,
    VersionOption,
    judge,
    open_model,
    open_pipeline,
    source,
)
from anoean_stream.cli.options import ConfigOption, DebugOption, JsonOption, SetOption, load
from anoean_stream.cli.progress import row_progress
from anoean_stream.errors import ConfigError, DataError
from anoean_stream.features.values import to_category
from anoean_stream.records.files import read_rows, row_to_json
from anoean_stream.records.kdd import NORMAL_LABEL, clean_label

_DATASET_LABEL: Final = "label"

_LABELS_SHOWN: Final = 10
"""Labels named in a message: KDD99 has 23, a wrong column may have a million."""


@dataclass(slots=True)
class _Labels:
    """Labels of the rows that went into the pipeline, gathered on their way."""

    column: str
    normal: str
    kinds: list[str] = field(default_factory=list)

    def strip_from(self, records: Source) -> Iterator[bytes]:
        """Yield each row as a payload without its label, and remember the label."""
        for number, row in enumerate(read_rows(records.path, columns=records.columns), start=1):
            self.kinds.append(self._label(row, number, records))
            yield row_to_json({name: v for name, v in row.items() if name != self.column})

    def _label(self, row: Mapping[str, object], number: int, records: Source) -> str:
        if self.column not in row:
            message = (
                f"{records.path}, row {number}: no column {self.column!r}; it has: "
                f"{', '.join(row)}; name the label's column with --label-column"
            )
            raise DataError(message, column=self.column, row=number)
        try:
            label = to_category(row[self.column])
        except ValueError as error:
            message = f"{records.path}, row {number}, column {self.column!r}: {error}"
            raise DataError(message, column=self.column, row=number) from error
        if label is None:
            message = (
                f"{records.path}, row {number}, column {self.column!r}: no label; every row needs "
                f"one here; leave unlabelled rows out, or score them with `anoean score`"
            )
            raise DataError(message, column=self.column, row=number)
        return clean_label(label) if records.dataset else label


def evaluate(
    file: FileArgument = None,
    *,
    label_column: Annotated[
        str, typer.Option("--label-column", metavar="NAME", help="Column of the labels.")
    ] = _DATASET_LABEL,
    normal_value: Annotated[
        str | None,
        typer.Option(
            "--normal-value",
            metavar="VALUE",
            help="Label of normal records; every other label is a kind of anomaly.",
            show_default=False,
        ),
    ] = None,
    dataset: DatasetOption = None,
    split: SplitOption = "test",
    data_dir: DataDirOption = None,
    model: ModelOption = None,
    version: VersionOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Measure a version of the registry on labelled records.

    Area under the precision-recall curve and the ROC curve, best F1, recall at few false alarms,
    recall of each kind of attack, and what the model's own threshold does.

    [bold]Examples[/]

    [cyan]anoean evaluate flows.csv.gz --label-column label --normal-value 0[/]

    [cyan]anoean evaluate --dataset nsl-kdd --split test --data-dir nsl-kdd --version 3 --json[/]
    """
    settings = load(config, overrides, debug=debug)
    records = source(file, dataset=dataset, split=split, data_dir=data_dir)
    if records.dataset:
        label_column, normal_value = _DATASET_LABEL, NORMAL_LABEL
    if normal_value is None:
        message = "--normal-value VALUE is missing: which label do normal records have?"
        raise ConfigError(message)
    figures_of_merit = _figures_of_merit()
    served = open_model(settings, name=model, ref=version)
    pipeline = open_pipeline(settings, served)

    labels = _Labels(label_column.strip(), to_category(normal_value) or normal_value)
    distances: list[NDArray[np.float64]] = []
    anomalous: list[NDArray[np.bool_]] = []
    rows: list[NDArray[np.intp]] = []
    started_s = time.perf_counter()
    with row_progress(f"scoring {records.path.name}", total=records.n_rows) as advance:
        for first, verdict in judge(
            labels.strip_from(records),
            pipeline=pipeline,
            topic=records.path.name,
            chunk_records=settings.consumer.chunk_max_records,
        ):
            distances.append(verdict.distances_G)
            anomalous.append(verdict.anomalous_G)
            rows.append(verdict.rows_G + (first - 1))
            advance(verdict.n_records)
    seconds = time.perf_counter() - started_s
    if not distances:
        message = f"{records.path} has no rows; give a file with labelled records"
        raise DataError(message)

    kinds_G = [labels.kinds[row] for row in np.concatenate(rows).tolist()]
    is_anomaly_G = np.array([kind != labels.normal for kind in kinds_G], dtype=np.bool_)
    _need_both(is_anomaly_G, labels=labels, records=records)
    report = {
        "file": str(records.path),
        "model": served.name,
        "version": served.version,
        "rows": len(labels.kinds),
        "scored": len(kinds_G),
        "dead_letters": len(labels.kinds) - len(kinds_G),
        "anomalies": int(is_anomaly_G.sum()),
        "figures": figures_of_merit(np.concatenate(distances), is_anomaly_G, kinds_G),
        "at_threshold": at_threshold(
            np.concatenate(anomalous), is_anomaly_G, kinds_G, threshold=pipeline.threshold
        ),
        "seconds": round(seconds, 3),
    }
    if as_json:
        print_json(report)
        return
    _print(report)


def at_threshold(
    alerted_N: NDArray[np.bool_],
    is_anomaly_N: NDArray[np.bool_],
    kinds: Sequence[str],
    *,
    threshold: float,
) -> dict[str, Any]:
    """Return what the threshold in use does to labelled records.

    Parameters
    ----------
    alerted_N : ndarray of bool, shape (N,)
        Which records would raise an alert.
    is_anomaly_N : ndarray of bool, shape (N,)
        Which should; some do and some do not.
    kinds : sequence of str, length N
        Kind of each anomaly.
    threshold : float
        The distance above which a record raises an alert.

    Returns
    -------
    dict
        Counts and shares, 0 to 1; precision is None without any alert. ``by_kind`` has rows and
        recall of each kind, in alphabetical order.
    """
    n_true = int((alerted_N & is_anomaly_N).sum())
    n_false = int((alerted_N & ~is_anomaly_N).sum())
    anomalies = np.flatnonzero(is_anomaly_N).tolist()
    rows = Counter(kinds[row] for row in anomalies)
    alerted = Counter(kinds[row] for row in anomalies if alerted_N[row])
    return {
        "threshold": threshold,
        "alerts": n_true + n_false,
        "true_alerts": n_true,
        "false_alerts": n_false,
        "precision": n_true / (n_true + n_false) if n_true + n_false else None,
        "recall": n_true / len(anomalies),
        "false_positive_rate": n_false / int((~is_anomaly_N).sum()),
        "by_kind": {
            kind: {"rows": rows[kind], "recall": alerted[kind] / rows[kind]}
            for kind in sorted(rows)
        },
    }


def _figures_of_merit() -> Callable[
    [NDArray[np.float64], NDArray[np.bool_], Sequence[str]], dict[str, Any]
]:
    try:
        from trainer.evaluate import figures_of_merit
    except ImportError as error:
        message = (
            f"anoean evaluate needs the training libraries ({error}); "
            f"install them with: pip install 'anoean-stream[train]'"
        )
        raise ConfigError(message) from error
    return figures_of_merit


def _need_both(is_anomaly_G: NDArray[np.bool_], *, labels: _Labels, records: Source) -> None:
    if is_anomaly_G.any() and not is_anomaly_G.all():
        return
    seen = sorted(set(labels.kinds))
    shown = ", ".join(seen[:_LABELS_SHOWN]) + (", ..." if len(seen) > _LABELS_SHOWN else "")
    message = (
        f"{records.path}, column {labels.column!r}: no scored row is "
        f"{'normal' if is_anomaly_G.any() else 'an anomaly'}; normal is {labels.normal!r}, labels "
        f"seen: {shown or 'none'}; figures need both, check --normal-value and --label-column"
    )
    raise DataError(message, column=labels.column)


def _print(report: dict[str, Any]) -> None:
    out.print(
        f"{report['model']} version {report['version']} on {escape(report['file'])}: "
        f"{report['scored']:,} rows, {report['anomalies']:,} of them anomalies; "
        f"{report['dead_letters']:,} could not be scored",
        soft_wrap=True,
    )
    table = Table("figure")
    table.add_column("value", justify="right")
    recalls: dict[str, dict[str, float]] = {}
    for name, value in report["figures"].items():
        if isinstance(value, dict):
            recalls[name] = value
        else:
            table.add_row(_heading(name), _text(value))
    table.add_section()
    table.add_row("[bold]at the threshold in use[/]", "")
    by_kind = report["at_threshold"]["by_kind"]
    for name, value in report["at_threshold"].items():
        if name != "by_kind":
            table.add_row(_heading(name), _text(value))
    out.print(table)
    table = Table("kind")
    for heading in ("rows", "recall at the threshold", *map(_heading, recalls)):
        table.add_column(heading, justify="right")
    for kind, shares in by_kind.items():
        table.add_row(
            escape(kind),
            _text(shares["rows"]),
            _text(shares["recall"]),
            *(_text(recall.get(kind)) for recall in recalls.values()),
        )
    out.print(table)


def _heading(name: str) -> str:
    return name.replace("_", " ").replace("fpr", "FPR")


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"
