"""Raw JSON values to the columns that the feature contract names.

Two paths with the same outcome. The fast one decodes a whole chunk into structs that hold only the
contract's fields (msgspec skips the rest unparsed) and packs the numbers straight into a float64
matrix: 1.6 us for a record of 41 fields and 870 bytes. When any record of the chunk refuses, each
is decoded by itself, and what still refuses is judged field by field in plain Python.

Values are *not* joined into one JSON array for a single decode: a record ``{},{}`` beside a
truncated one would shift every record after it to another offset.

Letters: B records, N number and flag fields, C category fields.
"""

import json
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from anoean_stream.features.batch import RawBatch
from anoean_stream.features.contract import FeatureContract
from anoean_stream.features.values import to_category, to_number
from anoean_stream.records.bounds import whole_text
from anoean_stream.records.deadletter import Reason

_T = TypeVar("_T")
_NumberCell = float | bool | None
_CategoryCell = str | int | float | None

# What a decoder raises for a record that it cannot take: malformed or ill-typed, bad UTF-8, nested
# too deep, a null where a double is packed, a tombstone.
_REFUSED: Final = (
    msgspec.MsgspecError,
    UnicodeDecodeError,
    RecursionError,
    struct.error,
    TypeError,
)

_PREVIEW_BYTES: Final = 60
"""Bytes of a bad record shown in its detail: enough to recognise it, too few to copy it."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that cannot be scored.

    Parameters
    ----------
    index : int
        Its place among the values given to `JsonDecoder.decode`, from 0.
    reason : Reason
        Why.
    detail : str
        What was seen and what was expected.
    """

    index: int
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class DecodedChunk:
    """Values after decoding: G good ones as columns, the others with a reason.

    Parameters
    ----------
    raw : RawBatch
        G rows in raw units.
    rows_G : ndarray of intp, shape (G,)
        Place of each good row among the values, increasing.
    rejected : tuple of Rejected
        The others, by increasing index.
    """

    raw: RawBatch
    rows_G: NDArray[np.intp]
    rejected: tuple[Rejected, ...]


class JsonDecoder:
    """One JSON object a value, decoded into the fields of one feature contract.

    Pure and without state between calls; safe to share between threads.

    Parameters
    ----------
    contract : FeatureContract
        Names the fields to read; all others are skipped.
    max_record_bytes : int
        Larger values are rejected unread, bytes.
    """

    def __init__(self, contract: FeatureContract, *, max_record_bytes: int = 1_048_576) -> None:
        self._number_names = contract.number_names
        self._category_names = contract.category_names
        self._n_numbers = len(self._number_names)
        self._max_record_bytes = max_record_bytes
        # Field names of exporters ("id.orig_h", "Flow Bytes/s") are no identifiers: f0, f1, ...
        # inside, renamed to what the wire has.
        names = (*self._number_names, *self._category_names)
        fields: list[tuple[str, Any, Any]] = [
            (f"f{i}", _NumberCell, math.nan)
            if i < self._n_numbers
            else (f"f{i}", _CategoryCell, None)
            for i in range(len(names))
        ]
        row_type = msgspec.defstruct(
            "Row", fields, rename={f"f{i}": name for i, name in enumerate(names)}, gc=False
        )
        # strict=False: exporters write numbers as text ("27"), which costs nothing extra this way.
        self._decode_row = msgspec.json.Decoder(row_type, strict=False).decode
        self._pack = struct.Struct(f"={self._n_numbers}d").pack

    def decode(self, values: Sequence[bytes | None]) -> DecodedChunk:
        """Decode B values; never raises for a bad one.

        Parameters
        ----------
        values : sequence of (bytes or None), length B
            Payloads as fetched; None is a tombstone.

        Returns
        -------
        DecodedChunk
            Good rows and rejected ones; together every index of `values`, once.
        """
        try:
            if not values or max(map(len, values)) <= self._max_record_bytes:  # type: ignore[arg-type]  # None raises TypeError
                return self._decode_whole(values)
        except _REFUSED:
            pass  # not swallowed: the loop below finds the culprit and names it
        return self._decode_one_by_one(values)

    def _decode_whole(self, values: Sequence[bytes | None]) -> DecodedChunk:
        decode, n_numbers, pack = self._decode_row, self._n_numbers, self._pack
        rows = [msgspec.structs.astuple(decode(value)) for value in values]  # type: ignore[arg-type]
        packed = [pack(*row[:n_numbers]) for row in rows]
        return DecodedChunk(
            raw=self._raw_batch(packed, [row[n_numbers:] for row in rows]),
            rows_G=np.arange(len(values)),
            rejected=(),
        )

    def _decode_one_by_one(self, values: Sequence[bytes | None]) -> DecodedChunk:
        packed: list[bytes] = []
        categories: list[tuple[_CategoryCell, ...]] = []
        rows: list[int] = []
        rejected: list[Rejected] = []
        for index, value in enumerate(values):
            try:
                numbers, words = self._decode_one(value)
            except _Refusal as refusal:
                rejected.append(Rejected(index, refusal.reason, refusal.detail))
            else:
                packed.append(numbers)
                categories.append(words)
                rows.append(index)
        return DecodedChunk(
            raw=self._raw_batch(packed, categories),
            rows_G=np.array(rows, dtype=np.intp),
            rejected=tuple(rejected),
        )

    def _decode_one(self, value: bytes | None) -> tuple[bytes, tuple[_CategoryCell, ...]]:
        """Return the packed numbers and the words of one record, or raise `_Refusal`."""
        if value is None:
            raise _Refusal("tombstone", "null value; expected a JSON object")
        if len(value) > self._max_record_bytes:
            detail = f"{len(value)} bytes, allowed are {self._max_record_bytes} (scoring.max_record_bytes)"
            raise _Refusal("too_large", detail)
        try:
            row = msgspec.structs.astuple(self._decode_row(value))
            return self._pack(*row[: self._n_numbers]), row[self._n_numbers :]
        except _REFUSED:
            record = _parse_leniently(value)
        numbers = [_cell(record, name, to_number) for name in self._number_names]
        words = tuple(_cell(record, name, _to_word) for name in self._category_names)
        return self._pack(*numbers), words

    def _raw_batch(
        self, packed: Sequence[bytes], categories: Sequence[tuple[_CategoryCell, ...]]
    ) -> RawBatch:
        numbers_BN = np.frombuffer(bytearray(b"".join(packed)), dtype=np.float64)
        numbers_BN = numbers_BN.reshape(len(packed), self._n_numbers)
        # "Infinity" as text, 1e999 after rounding: no value that a flow can have, so missing.
        numbers_BN[np.isinf(numbers_BN)] = np.nan
        n_categories = len(self._category_names)
        columns = zip(*categories, strict=True) if categories else ((),) * n_categories
        return RawBatch(numbers_BN=numbers_BN, categories=tuple(columns))


class _Refusal(Exception):  # noqa: N818  # control flow inside this module, no error of a caller
    """One record cannot be scored."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def _parse_leniently(value: bytes) -> dict[str, Any]:
    """Return the object in `value`; accept the NaN and Infinity that Python's exporters write."""
    if not value.strip():
        raise _Refusal("empty", f"{len(value)} bytes, nothing but blanks; expected a JSON object")
    try:
        parsed = json.loads(value.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        byte = value[error.start]
        detail = f"byte 0x{byte:02x} at {error.start} is no UTF-8; expected a JSON object in UTF-8"
        raise _Refusal("not_utf8", detail) from error
    except RecursionError as error:
        raise _Refusal("too_deep", "nested deeper than the decoder follows") from error
    except ValueError as error:
        raise _Refusal("not_json", f"{error}; begins {_preview(value)}") from error
    if not isinstance(parsed, dict):
        kind = type(parsed).__name__
        raise _Refusal("not_an_object", f"{kind}, expected an object; begins {_preview(value)}")
    return parsed


def _cell(record: dict[str, Any], name: str, read: Callable[[object], _T]) -> _T:
    try:
        return read(record.get(name))
    except ValueError as error:
        raise _Refusal("wrong_type", f"field {name!r}: {error}") from error


def _to_word(value: object) -> str | None:
    word = to_category(value)
    # Python's parser lets half a surrogate pair pass, which no alert could carry.
    return None if word is None else whole_text(word)


def _preview(value: bytes) -> str:
    return repr(value[:_PREVIEW_BYTES])
