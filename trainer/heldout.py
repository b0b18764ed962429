"""The records that judge a model: made from held-out rows once, and kept out of training from then on.

Letters: N rows of the table, E records of the evaluation set.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from anoean_stream.features.fit import FieldSpec
from anoean_stream.records.files import row_to_json
from trainer.datasets.naming import tells_answer
from trainer.datasets.table import NORMAL, Column, LabelledTable, joined, read_columns
from trainer.prepare import identical_rows
from trainer.protocol import spread_budget

MOST_RECORDS: Final = 20_000
"""Records of an evaluation set that training makes: the interval of an AUPR hardly shrinks beyond, and
scoring them takes seconds."""

_RARE: Final = 200
"""Rows of a kind up to which all are taken: below some hundreds, each one moves its recall."""

HeldOutRecord = tuple[bytes, bool]
"""A record as JSON, and whether it is an anomaly."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Rows of a table that are in an evaluation set.

    Parameters
    ----------
    rows_N : ndarray of bool, shape (N,)
        Which ones.
    fields : tuple of str
        Fields that both have and that were compared.
    """

    rows_N: NDArray[np.bool_]
    fields: tuple[str, ...]


def overlap(
    table: LabelledTable, specs: Sequence[FieldSpec], *, values: Sequence[bytes]
) -> Overlap:
    """Find the rows that are identical to a record of an evaluation set.

    Compared are the fields that the model reads and that the evaluation set has: rows that differ
    in nothing else are one row to the model.

    Parameters
    ----------
    table : LabelledTable
        The rows.
    specs : sequence of FieldSpec
        Fields that the model reads.
    values : sequence of bytes, length E
        JSON objects.
    """
    none = Overlap(np.zeros(table.n_rows, dtype=np.bool_), ())
    if not values:
        return none
    decode = msgspec.json.Decoder(dict[str, object]).decode
    wanted = {spec.name for spec in specs}
    rows = (
        {
            name: cell
            for name, cell in decode(value).items()
            if name in wanted and not isinstance(cell, dict | list)
        }
        for value in values
    )
    columns = read_columns(rows, name="the evaluation set", max_rows=len(values))
    common = tuple(
        spec for spec in specs if spec.name in columns and _can_be(spec, columns[spec.name])
    )
    if not common:
        return none
    records = LabelledTable(
        name="the evaluation set",
        columns=columns,
        is_anomaly_N=np.zeros(len(values), dtype=np.bool_),
        kinds_N=[NORMAL] * len(values),
        fingerprint="",
    )
    groups = identical_rows(joined(table, records, name=table.name), common)
    in_both = np.isin(groups[: table.n_rows], groups[table.n_rows :])
    return Overlap(in_both, tuple(spec.name for spec in common))


def sample_records(
    table: LabelledTable,
    rows: NDArray[np.intp],
    *,
    seed: int,
    most: int = MOST_RECORDS,
) -> list[HeldOutRecord]:
    """Return held-out rows as records without label: the mix as it is, and all of the rare kinds.

    Parameters
    ----------
    table : LabelledTable
        The table that was trained on.
    rows : ndarray of intp
        Its held-out rows.
    seed : int
        Of the draw.
    most : int
        Most records.
    """
    chosen = rows
    if len(rows) > most:
        rng = np.random.default_rng(seed)
        kinds = np.array([table.kinds_N[row] for row in rows.tolist()], dtype=object)
        counts = Counter(kinds.tolist())
        quota = _quota(counts, most=most)
        parts = [rng.permutation(rows[kinds == kind])[: quota[kind]] for kind in sorted(counts)]
        chosen = np.sort(np.concatenate(parts))
    fields = [name for name in table.columns if not tells_answer(name)]
    records = []
    for row in chosen.tolist():
        record = table.row(row)
        value = row_to_json({name: record[name] for name in fields})
        records.append((value, bool(table.is_anomaly_N[row])))
    return records


def _quota(counts: Counter[str], *, most: int) -> dict[str, int]:
    """Return how many of each kind to take: all of the rare ones, the rest by its share."""
    rare = {kind: count for kind, count in counts.items() if count <= _RARE}
    if sum(rare.values()) > most // 2:  # hundreds of rare kinds
        rare = spread_budget(rare, most // 2)
    common = {kind: count for kind, count in counts.items() if kind not in rare}
    left = most - sum(rare.values())
    total = sum(common.values())
    return rare | {kind: left * count // total for kind, count in common.items()}


def _can_be(spec: FieldSpec, column: Column) -> bool:
    """Return whether a column holds what a field of the model holds; another file's may not."""
    return spec.kind == "category" or not column.is_text.any()
