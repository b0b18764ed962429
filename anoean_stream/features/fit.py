"""Fit a feature contract to training rows.

Everything here is learned from the rows that are given and from nothing else: hand over the
training split only, or the figures on the test rows are worth nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from anoean_stream.features.contract import (
    CategoryField,
    ExcludedField,
    FeatureContract,
    FlagField,
    NumberField,
)
from anoean_stream.features.values import to_category

Kind = Literal["number", "category", "flag"]

LOG1P_ABOVE: Final = 10.0
"""A column whose largest magnitude exceeds this goes through log1p: counts and bytes span orders
of magnitude. Within [-10, 10] (rates, shares) the logarithm changes little. At least 0."""

_CONSTANT_BELOW: Final = 1e-9
"""A spread this small beside the mean is rounding: the column is constant and only centred."""


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A column to use.

    Parameters
    ----------
    name : str
        Key of the record.
    kind : "number", "category" or "flag"
        What it holds.
    log1p : bool, optional
        For a number: whether its logarithm is taken; None decides by `LOG1P_ABOVE`.
    unit : str
        For people.
    """

    name: str
    kind: Kind
    log1p: bool | None = None
    unit: str = ""


def fit_contract(
    specs: Sequence[FieldSpec],
    *,
    numbers: Mapping[str, NDArray[np.float64]],
    categories: Mapping[str, Sequence[str | None]],
    normal_N: NDArray[np.bool_],
    excluded: Sequence[ExcludedField] = (),
    rare_count: int = 10,
    clip: float = 10.0,
    max_vocabulary: int = 256,
) -> FeatureContract:
    """Learn scales, medians and vocabularies from N training rows.

    Parameters
    ----------
    specs : sequence of FieldSpec
        Columns to use; their order is the contract's within each kind.
    numbers : mapping of name to ndarray of float64, shape (N,)
        Number and flag columns, NaN missing.
    categories : mapping of name to sequence of (str or None), length N
        Category columns, None missing.
    normal_N : ndarray of bool, shape (N,)
        Which rows are normal; median, percentiles, modes and rates come from those alone. Mean and
        standard deviation come from all rows, so that the anomalies of the training set do not all
        end at the clip.
    excluded : sequence of ExcludedField
        Columns that were left out, to be recorded.
    rare_count : int
        A word seen less often, in all rows, is merged into "other"; at least 1.
    clip : float
        Bound of standardised numbers on both sides, standard deviations, in (0, 1000].
    max_vocabulary : int
        Most words of a category, the commonest first; at least 1.

    Raises
    ------
    ValueError
        When a column is absent, has another length, or holds values whose spread is not finite; or
        when no row is normal.
    """
    normal_N = np.asarray(normal_N, dtype=np.bool_)
    if not normal_N.any():
        message = (
            f"none of {len(normal_N)} training rows is normal; the contract needs normal rows to "
            "learn medians from: check the value that marks a row as normal"
        )
        raise ValueError(message)
    for spec in specs:
        table: Mapping[str, Sequence[str | None] | NDArray[np.float64]]
        table = categories if spec.kind == "category" else numbers
        if spec.name not in table or len(table[spec.name]) != len(normal_N):
            got = len(table[spec.name]) if spec.name in table else "no"
            message = (
                f"{spec.kind} column {spec.name!r} has {got} values, expected {len(normal_N)}: one "
                "for each row"
            )
            raise ValueError(message)
    return FeatureContract(
        numbers=tuple(
            _fit_number(spec, numbers[spec.name], normal_N=normal_N, clip=clip)
            for spec in specs
            if spec.kind == "number"
        ),
        categories=tuple(
            _fit_category(
                spec,
                categories[spec.name],
                normal_N=normal_N,
                rare_count=rare_count,
                max_vocabulary=max_vocabulary,
            )
            for spec in specs
            if spec.kind == "category"
        ),
        flags=tuple(
            _fit_flag(spec, numbers[spec.name], normal_N=normal_N)
            for spec in specs
            if spec.kind == "flag"
        ),
        excluded=tuple(excluded),
    )


def _fit_number(
    spec: FieldSpec,
    values_N: NDArray[np.float64],
    *,
    normal_N: NDArray[np.bool_],
    clip: float,
) -> NumberField:
    values_N = np.asarray(values_N, dtype=np.float64)
    seen_N = np.isfinite(values_N)
    seen = values_N[seen_N]
    if seen.size == 0:
        seen = np.zeros(1)
    normal = values_N[seen_N & normal_N]
    if normal.size == 0:
        normal = seen
    log1p = spec.log1p
    if log1p is None:
        log1p = bool(np.abs(seen).max() > LOG1P_ABOVE)
    scaled = np.copysign(np.log1p(np.abs(seen)), seen) if log1p else seen
    with np.errstate(over="ignore"):
        mean, std = float(scaled.mean()), float(scaled.std())
    if not np.isfinite([mean, std]).all():
        message = (
            f"number column {spec.name!r} has values up to {np.abs(seen).max():g}, too large to "
            "standardise; set log1p for it"
        )
        raise ValueError(message)
    if std <= _CONSTANT_BELOW * max(1.0, abs(mean)):
        std = 1.0
    # Values that occur, not means of two: half a packet is no median that a person believes.
    p5, median, p95 = np.quantile(normal, (0.05, 0.5, 0.95), method="inverted_cdf")
    return NumberField(
        name=spec.name,
        log1p=log1p,
        mean=mean,
        std=std,
        clip=float(clip),
        median=float(median),
        p5=float(p5),
        p95=float(p95),
        missing_indicator=not seen_N.all(),
        unit=spec.unit,
    )


def _fit_flag(
    spec: FieldSpec, values_N: NDArray[np.float64], *, normal_N: NDArray[np.bool_]
) -> FlagField:
    values_N = np.asarray(values_N, dtype=np.float64)
    seen_N = np.isfinite(values_N)
    normal = values_N[seen_N & normal_N]
    rate = float(np.mean(normal != 0)) if normal.size else 0.0
    return FlagField(
        name=spec.name,
        mode=float(rate >= 0.5),  # noqa: PLR2004  # the commoner of two
        rate=rate,
        missing_indicator=not bool(seen_N.all()),
    )


def _fit_category(
    spec: FieldSpec,
    cells_N: Sequence[str | None],
    *,
    normal_N: NDArray[np.bool_],
    rare_count: int,
    max_vocabulary: int,
) -> CategoryField:
    counts: Counter[str | None] = Counter()
    normal_counts: Counter[str | None] = Counter()
    for (cell, is_normal), n_rows in Counter(zip(cells_N, normal_N.tolist(), strict=True)).items():
        word = to_category(cell)
        counts[word] += n_rows
        if is_normal:
            normal_counts[word] += n_rows
    words = sorted(
        (word for word, count in counts.items() if word is not None and count >= rare_count),
        key=lambda word: (-counts[word], word),
    )
    # Equally common words: the first in the alphabet, so that the same rows give the same contract
    # in any order.
    normal_mode = min(normal_counts, key=lambda word: (-normal_counts[word], word or ""))
    return CategoryField(
        name=spec.name, vocabulary=tuple(words[:max_vocabulary]), normal_mode=normal_mode
    )
