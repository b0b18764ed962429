"""The feature contract: which fields a model reads and what it does with each.

Fitted once by the trainer (`anoean_stream.features.fit`), stored in the bundle as JSON, applied by
trainer and worker through the same `FeatureContract.transform`. Two contracts are the same when
their identities are: the sha256 of the canonical JSON.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from anoean_stream.errors import IncompatibleBundleError, ManifestError, RecordError, brief
from anoean_stream.features.batch import FeatureBatch, RawBatch
from anoean_stream.features.fields import CategoryField, FlagField, NumberField
from anoean_stream.features.transform import Transform
from anoean_stream.features.values import to_category, to_number

__all__ = [
    "CONTRACT_FORMAT_VERSION",
    "CategoryField",
    "ExcludedField",
    "FeatureContract",
    "FlagField",
    "NumberField",
]

CONTRACT_FORMAT_VERSION: Final = 1
"""Raised whenever the same JSON would give other features."""

MAX_FIELDS: Final = 10_000
"""Fields of a contract, and of its list of excluded ones; exporters have 20 to 500."""

MAX_WORDS: Final = 262_144
"""Words of all vocabularies together, 1,000 of the largest that training makes. Each is a few entries
of a table in every worker: 150 MB for so many."""


class ExcludedField(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column that the trainer saw and left out, and why, for people.

    Parameters
    ----------
    name : str
        Column of the training table.
    reason : str
        For instance ``"constant"`` or ``"an address"``.
    """

    name: str
    reason: str


class FeatureContract(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """Fields of a record, and their way to the encoder.

    Immutable; `transform` is safe to call from several threads.

    Parameters
    ----------
    numbers : tuple of NumberField
        Measured quantities.
    categories : tuple of CategoryField
        Words.
    flags : tuple of FlagField
        Yes or no.
    excluded : tuple of ExcludedField
        What the trainer left out.
    format_version : int
        `CONTRACT_FORMAT_VERSION`.

    Examples
    --------
    >>> contract = FeatureContract(
    ...     numbers=(
    ...         NumberField(
    ...             "bytes",
    ...             log1p=True,
    ...             mean=5.0,
    ...             std=2.0,
    ...             clip=10.0,
    ...             median=150.0,
    ...             p5=40.0,
    ...             p95=1500.0,
    ...             missing_indicator=False,
    ...         ),
    ...     ),
    ...     categories=(CategoryField("proto", vocabulary=("tcp", "udp"), normal_mode="tcp"),),
    ... )
    >>> raw = contract.raw_from_rows([{"bytes": "0", "proto": "udp"}, {"bytes": 1e30}])
    >>> contract.transform(raw).dense_BD.tolist()
    [[-2.5], [10.0]]
    >>> contract.transform(raw).codes_BC.tolist()
    [[1], [3]]
    """

    numbers: tuple[NumberField, ...] = ()
    categories: tuple[CategoryField, ...] = ()
    flags: tuple[FlagField, ...] = ()
    excluded: tuple[ExcludedField, ...] = ()
    format_version: int = CONTRACT_FORMAT_VERSION

    def __post_init__(self) -> None:
        """Refuse a contract without fields, or with a field named twice."""
        names = self.field_names
        if not names:
            message = "a feature contract needs at least one field, got none; name a column to use"
            raise ValueError(message)
        n_words = sum(len(field.vocabulary) for field in self.categories)
        if max(len(names), len(self.excluded)) > MAX_FIELDS or n_words > MAX_WORDS:
            message = (
                f"the feature contract has {len(names)} fields, {len(self.excluded)} excluded ones "
                f"and {n_words} words, allowed are {MAX_FIELDS}, {MAX_FIELDS} and {MAX_WORDS}"
            )
            raise ValueError(message)
        if len(set(names)) != len(names):
            twice = sorted(name for name, count in Counter(names).items() if count > 1)
            message = f"each field of a feature contract has one kind, {twice} have more; keep one"
            raise ValueError(message)

    @cached_property
    def number_names(self) -> tuple[str, ...]:
        """Columns of `RawBatch.numbers_BN`: numbers, then flags."""
        return tuple(field.name for field in self._columns)

    @cached_property
    def category_names(self) -> tuple[str, ...]:
        """Columns of `RawBatch.categories`."""
        return tuple(field.name for field in self.categories)

    @cached_property
    def field_names(self) -> tuple[str, ...]:
        """Keys of a record that are read: numbers, flags, categories."""
        return (*self.number_names, *self.category_names)

    @cached_property
    def dense_names(self) -> tuple[str, ...]:
        """Columns of `FeatureBatch.dense_BD`: numbers, flags, then ``missing(name)`` marks."""
        marks = (f"missing({field.name})" for field in self._columns if field.missing_indicator)
        return (*self.number_names, *marks)

    @cached_property
    def n_dense(self) -> int:
        """Number of dense inputs, D."""
        return len(self.dense_names)

    @cached_property
    def cardinalities(self) -> tuple[int, ...]:
        """Number of codes of each category: vocabulary, other, missing."""
        return tuple(field.cardinality for field in self.categories)

    @cached_property
    def id(self) -> str:
        """Identity: hexadecimal sha256 of `to_json`."""
        return hashlib.sha256(self.to_json()).hexdigest()

    def to_json(self) -> bytes:
        """Return the canonical JSON: UTF-8, keys sorted, no blanks, shortest numbers."""
        return msgspec.json.encode(self, order="sorted")

    @classmethod
    def from_json(cls, data: bytes) -> "FeatureContract":
        """Read what `to_json` wrote.

        Raises
        ------
        IncompatibleBundleError
            When it was written for another format version.
        ManifestError
            When it is no feature contract.
        """
        try:
            version = msgspec.json.decode(data, type=_Versioned).format_version
            if version == CONTRACT_FORMAT_VERSION:
                return msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            message = f"this is no feature contract: {brief(error)}; train again, or copy the bundle again"
            raise ManifestError(message) from error
        message = (
            f"the feature contract has format version {version}, this program reads "
            f"{CONTRACT_FORMAT_VERSION}; use the program that trained it, or train again"
        )
        raise IncompatibleBundleError(message)

    def transform(self, raw: RawBatch) -> FeatureBatch:
        """Return the features of B records; the hot path.

        Numbers: signed log1p, standardise, clip, float32; a gap gets the normal median. Flags: 0 or
        1; a gap gets the mode. A row depends on nothing but its own values.

        Raises
        ------
        ValueError
            When the batch has another number of columns than the contract.
        """
        return self._transform(raw)

    @property
    def neutral_N(self) -> NDArray[np.float32]:  # noqa: N802  # dimension letters
        """Dense values, numbers then flags, of a record in which each is the normal median or mode."""
        return self._transform.neutral_N

    @property
    def indicator_columns(self) -> NDArray[np.intp]:
        """Columns of `number_names` that have a ``missing(name)`` mark, in the order of the marks."""
        return self._transform.indicator_columns

    @property
    def _columns(self) -> tuple[NumberField | FlagField, ...]:
        return (*self.numbers, *self.flags)

    @cached_property
    def _transform(self) -> Transform:
        return Transform(self.numbers, self.flags, self.categories)

    def raw_from_rows(self, rows: Iterable[Mapping[str, object]]) -> RawBatch:
        """Return rows of a file as a batch; slow, one cell after the other.

        Parameters
        ----------
        rows : iterable of mappings
            Keys that the contract does not name are ignored; a key that is absent is missing.

        Raises
        ------
        RecordError
            Reason ``"wrong_type"``, when a cell is not what its field needs; names field and value.
        """
        numbers: list[list[float]] = []
        columns: tuple[list[str | int | float | None], ...] = tuple([] for _ in self.categories)
        for row in rows:
            numbers.append([_read_number(row, name) for name in self.number_names])
            for name, column in zip(self.category_names, columns, strict=True):
                column.append(_read_category(row, name))
        shape = (len(numbers), len(self.number_names))
        return RawBatch(
            numbers_BN=np.array(numbers, dtype=np.float64).reshape(shape), categories=columns
        )


class _Versioned(msgspec.Struct):
    """What every version of the format has."""

    format_version: int


def _read_number(row: Mapping[str, object], name: str) -> float:
    try:
        return to_number(row.get(name))
    except ValueError as error:
        raise RecordError("wrong_type", f"field {name!r}: {error}") from error


def _read_category(row: Mapping[str, object], name: str) -> str | None:
    try:
        return to_category(row.get(name))
    except ValueError as error:
        raise RecordError("wrong_type", f"field {name!r}: {error}") from error
