"""Any labelled file: which rows are normal, and what kind of attack the others are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from anoean_stream.errors import DataError
from anoean_stream.records.files import read_rows
from trainer.datasets.labels import normal_word
from trainer.datasets.table import NORMAL, Column, LabelledTable, fingerprint, read_columns

_SHOWN: Final = 10
"""Names in a message: enough to see the mistake, few enough to read."""


def read_labelled(
    path: Path,
    *,
    label_column: str,
    normal_value: str,
    attack_column: str | None = None,
    max_rows: int,
    columns: Sequence[str] | None = None,
    both_classes: bool = True,
) -> LabelledTable:
    """Read a CSV, JSON lines or Parquet file with a label in each row.

    Parameters
    ----------
    path : Path
        ``.csv``, ``.tsv``, ``.txt``, ``.jsonl``, ``.ndjson`` (each also ``.gz``) or ``.parquet``.
    label_column : str
        Column of the label; found also when the case differs, if only one column fits.
    normal_value : str
        Label of normal rows. ``0``, ``0.0`` and ``"0"`` are the same, and so are ``BENIGN`` and
        ``Benign``; every other label is an anomaly.
    attack_column : str, optional
        Column with the kind of attack; without it the label is the kind.
    max_rows : int
        More are refused.
    columns : sequence of str, optional
        Names of the columns of a CSV without a header line.
    both_classes : bool
        Whether normal rows and anomalies must be there; not when other rows are added.

    Raises
    ------
    DataError
        When the file cannot be read, a column is absent, a row has no label, or all rows are of
        one class; names column and row.
    """
    table = read_columns(read_rows(path, columns=columns), name=str(path), max_rows=max_rows)
    label = _take(table, label_column, what="label", option="--label-column", path=path)
    attack = None
    if attack_column is not None:
        attack = _take(table, attack_column, what="attack", option="--attack-column", path=path)
    return labelled(
        str(path),
        table,
        label=label,
        normal_value=normal_value,
        attack=attack,
        both_classes=both_classes,
    )


def labelled(
    name: str,
    columns: dict[str, Column],
    *,
    label: Column,
    normal_value: str,
    attack: Column | None = None,
    both_classes: bool = True,
) -> LabelledTable:
    """Return columns with a label as a table; see `read_labelled`.

    Raises
    ------
    DataError
        When a row has no label, or all rows are of one class.
    """
    words = label.words
    for code, word in enumerate(words):
        if word is None:
            row = int(np.argmax(label.codes_N == code)) + 1
            message = (
                f"{name}, row {row}, column {label.name!r}: no label; every row needs one: label "
                "it, or remove it"
            )
            raise DataError(message, column=label.name, row=row)
    normal = normal_word(normal_value)
    is_normal = np.array([(word or "").casefold() == normal for word in words], dtype=np.bool_)
    is_anomaly_N = ~is_normal[label.codes_N]
    if both_classes and (not is_anomaly_N.any() or is_anomaly_N.all()):
        message = (
            f"{name}, column {label.name!r}: {'no' if is_anomaly_N.all() else 'every'} row is "
            f"normal ({normal_value!r}); labels seen: {_listed(words)}. Training needs normal rows "
            "and anomalies: check --normal-value and --label-column"
        )
        raise DataError(message, column=label.name)
    kind = attack or label
    kind_words = [word if word is not None else "unnamed" for word in kind.words]
    kinds_N = [
        kind_words[code] if anomalous else NORMAL
        for code, anomalous in zip(kind.codes_N.tolist(), is_anomaly_N.tolist(), strict=True)
    ]
    return LabelledTable(
        name=name,
        columns=columns,
        is_anomaly_N=is_anomaly_N,
        kinds_N=kinds_N,
        fingerprint=fingerprint(columns.values(), kinds_N),
    )


def _take(columns: dict[str, Column], wanted: str, *, what: str, option: str, path: Path) -> Column:
    name = wanted.strip()
    if name not in columns:
        alike = [column for column in columns if column.casefold() == name.casefold()]
        if len(alike) != 1:
            message = (
                f"{path}: no {what} column {wanted!r}; it has: {_listed(list(columns))}; name the "
                f"right one with {option}"
            )
            raise DataError(message, column=wanted)
        name = alike[0]
    return columns.pop(name)


def _listed(names: Sequence[object]) -> str:
    shown = ", ".join(str(name) for name in names[:_SHOWN])
    return shown + (f", ... ({len(names)} in all)" if len(names) > _SHOWN else "")
