"""Which columns are features and of which kind, and a reason for each that is none.

Letters: N rows.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from anoean_stream.errors import DataError
from anoean_stream.features.contract import ExcludedField
from anoean_stream.features.fit import FieldSpec, Kind
from trainer.datasets.features_file import FeaturesFile
from trainer.datasets.naming import is_code, reason_to_leave_out
from trainer.datasets.table import Column, LabelledTable

_NEARLY_ALL: Final = 0.9
"""Share of a column's cells that must be numbers (addresses, times) for it to be a column of those;
the rest are then faults. Above 0.5."""

_LOOKED_AT: Final = 1000
"""Distinct cells looked at to recognise addresses and dates; at least 1."""

_FREE_TEXT_SHARE: Final = 0.5
"""Words of a text column by its rows: above, hardly a word comes twice, and nothing can be learned
from it. In (0, 1)."""

_FEW_WORDS: Final = 50
"""Up to so many words are a vocabulary, whatever the number of rows; at least 2."""

_EPOCH_S: Final = (946_684_800, 2_208_988_800)
"""Years 2000 and 2040 in seconds since 1970: what a time stamp lies between."""

_DATE: Final = re.compile(
    r"\d{4}[-/]\d{1,2}[-/]\d{1,2}([T ]\d|$)|\d{1,2}[-/]\d{1,2}[-/]\d{4}([T ]\d|$)"
)
_MAC: Final = re.compile(r"([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}")
_COPY: Final = re.compile(r"(.+)\.[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class Inferred:
    """What became of the columns of a table.

    Parameters
    ----------
    specs : tuple of FieldSpec
        Columns to use.
    excluded : tuple of ExcludedField
        The others, each with its reason.
    warnings : tuple of str
        What a person should look at.
    """

    specs: tuple[FieldSpec, ...]
    excluded: tuple[ExcludedField, ...]
    warnings: tuple[str, ...] = ()


def infer_fields(
    table: LabelledTable, *, features: FeaturesFile | None = None, flags: Sequence[str] = ()
) -> Inferred:
    """Decide about each column of a table, by the features file first, then by name, then by cells.

    Parameters
    ----------
    table : LabelledTable
        Without the label.
    features : FeaturesFile, optional
        What a person said.
    flags : sequence of str
        Columns known to be yes or no.

    Raises
    ------
    DataError
        When the features file names a column that is not there, a column holds numbers but for a
        few cells, or no column is left.
    """
    features = features or FeaturesFile()
    _check_names(table, features)
    specs: list[FieldSpec] = []
    excluded: list[ExcludedField] = []
    for name, column in table.columns.items():
        if (named := features.fields.get(name)) is not None:
            specs.append(_complete(named, column))
        elif name in features.drop:
            excluded.append(ExcludedField(name, "dropped by the features file"))
        elif features.rest == "drop":
            excluded.append(ExcludedField(name, "not named by the features file"))
        else:
            decided = _decide(column, table, is_flag=name in flags)
            if isinstance(decided, _LeftOut):
                excluded.append(ExcludedField(name, decided.reason))
            else:
                specs.append(FieldSpec(name, decided))
    if not specs:
        reasons = "; ".join(f"{field.name}: {field.reason}" for field in excluded)
        message = f"{table.name}: no column is left to learn from ({reasons}); name some in a file"
        raise DataError(message)
    warnings = tuple(
        f"column {spec.name!r} alone tells every anomaly from every normal row: if it is a label in "
        f"disguise, drop it in a features file, or the model will learn nothing else"
        for spec in specs
        if separates(table.columns[spec.name], table.is_anomaly_N, kind=spec.kind)
    )
    return Inferred(tuple(specs), tuple(excluded), warnings)


def separates(column: Column, is_anomaly_N: NDArray[np.bool_], *, kind: Kind) -> bool:
    """Return whether one column tells normals from anomalies without a single mistake."""
    if kind == "category":
        words, code_of_cell = column.word_codes
        codes_N = code_of_cell[column.codes_N]
        anomalies = np.bincount(codes_N, weights=is_anomaly_N, minlength=len(words))
        counts = np.bincount(codes_N, minlength=len(words))
        # Words that come once prove nothing.
        pure = (anomalies == 0) | (anomalies == counts)
        return bool(pure.all() and len(words) < _FREE_TEXT_SHARE * len(codes_N))
    values_N = column.numbers[column.codes_N]
    normal, anomalous = values_N[~is_anomaly_N], values_N[is_anomaly_N]
    if np.isnan(values_N).any():
        return False
    return bool(normal.max() < anomalous.min() or anomalous.max() < normal.min())


def _check_names(table: LabelledTable, features: FeaturesFile) -> None:
    unknown = [name for name in (*features.fields, *features.drop) if name not in table.columns]
    if unknown:
        message = (
            f"the features file names {unknown}, which {table.name} does not have (the label is no "
            f"feature); it has: {', '.join(table.columns)}"
        )
        raise DataError(message, column=unknown[0])


def _complete(named: FieldSpec, column: Column) -> FieldSpec:
    """Check that a column named by a person holds what they say; raises DataError if it does not."""
    _ = column.words if named.kind == "category" else column.numbers
    return replace(named, name=column.name)


@dataclass(frozen=True, slots=True)
class _LeftOut:
    """Why a column is no feature."""

    reason: str


def _decide(column: Column, table: LabelledTable, *, is_flag: bool) -> "Kind | _LeftOut":
    """Return the kind of a column, or the reason to leave it out."""
    missing = np.array([word is None for word in column.words], dtype=np.bool_)
    n_seen = int(column.counts[~missing].sum())
    if not n_seen:
        return _LeftOut("no values")
    if len(column.word_codes[0]) == 1:
        return _LeftOut("constant")
    if (reason := reason_to_leave_out(column.name)) is not None:
        return _LeftOut(reason)
    if (original := _copied_from(column, table)) is not None:
        return _LeftOut(f"a copy of {original!r}: the header names it twice")
    if not column.is_text.any():
        return _decide_numeric(column, is_flag=is_flag)
    return _decide_text(column, n_seen=n_seen)


def _decide_text(column: Column, *, n_seen: int) -> "Kind | _LeftOut":
    words = column.word_codes[0]
    sample = [word for word in words if word is not None][:_LOOKED_AT]
    if _share(sample, _is_address) >= _NEARLY_ALL:
        return _LeftOut("an address: a model would learn who, not what")
    if _share(sample, lambda word: bool(_DATE.match(word))) >= _NEARLY_ALL:
        return _LeftOut("a time stamp: a model would learn when, not what")
    if column.counts[column.is_text].sum() <= (1 - _NEARLY_ALL) * n_seen:
        _ = column.numbers  # raises, naming the row
    if len(words) > _FEW_WORDS and len(words) > _FREE_TEXT_SHARE * n_seen:
        return _LeftOut("free text or an identifier: hardly a value comes twice")
    return "category"


def _decide_numeric(column: Column, *, is_flag: bool) -> "Kind | _LeftOut":
    seen = column.numbers[~np.isnan(column.numbers)]
    distinct = np.unique(seen)
    if len(distinct) == 1 and np.isnan(column.numbers).any():
        return _LeftOut("constant but for gaps")
    if len(distinct) == 1:
        return _LeftOut("constant")
    if is_flag or np.isin(distinct, (0.0, 1.0)).all():
        return "flag"
    if is_code(column.name):
        return "category"
    if _is_epoch(seen):
        return _LeftOut("a time stamp: a model would learn when, not what")
    if _counts_rows(column):
        return _LeftOut("an identifier: it counts the rows")
    return "number"


def _copied_from(column: Column, table: LabelledTable) -> str | None:
    match = _COPY.fullmatch(column.name)
    original = table.columns.get(match[1]) if match else None
    if original is None or list(original.cells) != list(column.cells):
        return None
    return original.name if np.array_equal(original.codes_N, column.codes_N) else None


def _is_address(word: str) -> bool:
    if _MAC.fullmatch(word):
        return True
    try:
        ipaddress.ip_address(word)
    except ValueError:
        return False
    return True


def _is_epoch(values: NDArray[np.float64]) -> bool:
    """Return whether all values are points in time, in seconds, milli-, micro- or nanoseconds."""
    low, high = values.min(), values.max()
    return any(
        low >= _EPOCH_S[0] * scale and high <= _EPOCH_S[1] * scale for scale in (1.0, 1e3, 1e6, 1e9)
    )


def _counts_rows(column: Column) -> bool:
    """Return whether a column goes up by one from row to row."""
    if len(column.cells) != column.n_rows or column.n_rows < _FEW_WORDS:
        return False
    return bool((np.diff(column.numbers[column.codes_N]) == 1).all())


def _share(words: Sequence[str], holds: Callable[[str], bool]) -> float:
    return sum(map(holds, words)) / max(1, len(words))
