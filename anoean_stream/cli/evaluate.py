"""``anoean evaluate``: figures of merit of a version on labelled records."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from anoean_stream.cli.console import out, print_json
from anoean_stream.cli.labels import DATASET_LABEL, LabelColumnOption, Labels, NormalValueOption
from anoean_stream.cli.offline import (
    DataDirOption,
    DatasetOption,
    FileArgument,
    ModelOption,
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


def evaluate(
    file: FileArgument = None,
    *,
    label_column: LabelColumnOption = DATASET_LABEL,
    normal_value: NormalValueOption = None,
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
    labels = Labels.of(records, column=label_column, normal_value=normal_value)
    figures_of_merit = _figures_of_merit()
    served = open_model(settings, name=model, ref=version)
    pipeline = open_pipeline(settings, served)

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
    labels.need_both(
        has_anomalies=bool(is_anomaly_G.any()),
        has_normals=not is_anomaly_G.all(),
        records=records,
    )
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
