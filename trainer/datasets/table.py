"""A labelled table in memory, each column as codes into its distinct cells.

Letters: N rows.

Traffic repeats itself: a column of 300,000 cells often has a hundred distinct ones. So a cell is
looked at once, by the contract's own `to_number` and `to_category`, whatever it is made of.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from anoean_stream.errors import DataError
from anoean_stream.features.values import to_category, to_number


@dataclass(frozen=True)
class Column:
    """One column of N rows.

    Parameters
    ----------
    name : str
        As a record names it.
    cells : sequence of object
        Distinct cells as the file has them; True and 1 are two cells.
    codes_N : ndarray of int32, shape (N,)
        Which cell each row has.
    """

    name: str
    cells: Sequence[object]
    codes_N: NDArray[np.int32]

    @property
    def n_rows(self) -> int:
        """Number of rows, N."""
        return len(self.codes_N)

    @cached_property
    def words(self) -> tuple[str | None, ...]:
        """Each distinct cell as a word, None for missing.

        Raises
        ------
        DataError
            When a cell is a list or an object: names column and row.
        """
        words = []
        for code, cell in enumerate(self.cells):
            try:
                words.append(to_category(cell))
            except ValueError as error:
                raise self.fault(code, error) from error
        return tuple(words)

    @cached_property
    def numbers(self) -> NDArray[np.float64]:
        """Each distinct cell as a number, NaN for missing.

        Raises
        ------
        DataError
            When a cell holds no number: names column and row.
        """
        code = self.first_text
        if code is not None:
            try:
                to_number(self.cells[code])
            except ValueError as error:
                raise self.fault(code, error) from error
        return self._numbers

    @cached_property
    def is_text(self) -> NDArray[np.bool_]:
        """Whether each distinct cell is neither a number nor missing."""
        return np.isposinf(self._numbers)

    @property
    def first_text(self) -> int | None:
        """Code of the cell that is no number and comes first in the file, None when all are."""
        codes = np.flatnonzero(self.is_text)
        return int(codes[0]) if len(codes) else None  # codes are given in order of appearance

    @cached_property
    def counts(self) -> NDArray[np.intp]:
        """How many rows have each distinct cell."""
        return np.bincount(self.codes_N, minlength=len(self.cells))

    @cached_property
    def _numbers(self) -> NDArray[np.float64]:
        # Plus infinity stands for "no number": to_number never returns it.
        return np.array([_number_or_infinity(cell) for cell in self.cells], dtype=np.float64)

    @cached_property
    def word_codes(self) -> tuple[tuple[str | None, ...], NDArray[np.int32]]:
        """Distinct words, and which of them each distinct cell is (``80`` and ``80.0`` are one)."""
        places: dict[str | None, int] = {}
        code_of_cell = [places.setdefault(word, len(places)) for word in self.words]
        return tuple(places), np.array(code_of_cell, dtype=np.int32)

    def fault(self, code: int, error: ValueError) -> DataError:
        """Return the error for the first row that has this cell."""
        row = int(np.argmax(self.codes_N == code)) + 1
        message = (
            f"column {self.name!r}, row {row}: {error}; mend the cell, or say in a features file "
            f"that the column is a category, or drop it there"
        )
        return DataError(message, column=self.name, row=row)


def _number_or_infinity(cell: object) -> float:
    try:
        return to_number(cell)
    except ValueError:
        return float("inf")


@dataclass(frozen=True)
class LabelledTable:
    """Records with their labels, as they were read.

    Parameters
    ----------
    name : str
        Where they come from, for messages and the model card.
    columns : mapping of str to Column
        Everything but the label and the kind of attack, in the order of the file.
    is_anomaly_N : ndarray of bool, shape (N,)
    kinds_N : sequence of str, length N
        Kind of attack of each anomaly; `NORMAL` for normals.
    fingerprint : str
        Hexadecimal sha256 of all cells and labels.
    """

    name: str
    columns: Mapping[str, Column]
    is_anomaly_N: NDArray[np.bool_]
    kinds_N: Sequence[str]
    fingerprint: str

    @property
    def n_rows(self) -> int:
        """Number of rows, N."""
        return len(self.is_anomaly_N)

    def row(self, index: int) -> dict[str, object]:
        """Return one record as the file has it."""
        return {name: column.cells[column.codes_N[index]] for name, column in self.columns.items()}


NORMAL = "normal"
"""Kind of records that are no attack."""


def read_columns(
    rows: Iterable[Mapping[str, object]], *, name: str, max_rows: int
) -> dict[str, Column]:
    """Gather rows into columns; a key that a row does not have is missing (None).

    Parameters
    ----------
    rows : iterable of mappings
        As `anoean_stream.records.files.read_rows` yields them.
    name : str
        Of the file, for messages.
    max_rows : int
        More are refused.

    Raises
    ------
    DataError
        When there are no rows, too many, or a cell is a list or an object.
    """
    table = _Gathered(name)
    for row in rows:
        if table.n_rows == max_rows:
            message = (
                f"{name} has more than {max_rows:,} rows; sample it, or raise training.max_rows "
                "(a million rows of 50 columns take about 1 GB)"
            )
            raise DataError(message, row=max_rows + 1)
        table.add(row)
    if not table.n_rows:
        message = f"{name} has no rows; give a file with labelled records"
        raise DataError(message)
    return table.columns()


class _Gathered:
    """Columns that grow row by row."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._places: dict[str, dict[object, int]] = {}
        self._codes: dict[str, list[int]] = {}
        self.n_rows = 0

    def add(self, row: Mapping[str, object]) -> None:
        """Append a row."""
        places, codes = self._places, self._codes
        for column, cell in row.items():
            if column not in places:
                # Rows before this one had no such key.
                places[column] = {None: 0} if self.n_rows else {}
                codes[column] = [0] * self.n_rows
            place = places[column]
            try:
                code = place.setdefault(_key(cell), len(place))
            except TypeError as error:
                row_number = self.n_rows + 1
                message = (
                    f"{self._name}, row {row_number}, column {column!r}: expected a text, a number "
                    f"or nothing, got {type(cell).__name__}; flatten it, or remove the column"
                )
                raise DataError(message, column=column, row=row_number) from error
            codes[column].append(code)
        if len(row) < len(places):
            for column, place in places.items():
                if column not in row:
                    codes[column].append(place.setdefault(None, len(place)))
        self.n_rows += 1

    def columns(self) -> dict[str, Column]:
        """Return what was gathered."""
        return {
            column: Column(
                column, [_cell(key) for key in place], np.array(self._codes[column], np.int32)
            )
            for column, place in self._places.items()
        }


def fingerprint(columns: Iterable[Column], kinds_N: Sequence[str]) -> str:
    """Return the hexadecimal sha256 of all cells, their order and the labels."""
    digest = hashlib.sha256()
    for column in columns:
        digest.update(repr((column.name, list(column.cells))).encode())
        digest.update(column.codes_N.astype("<i4").tobytes())
    digest.update("\n".join(kinds_N).encode())
    return digest.hexdigest()


def joined(first: LabelledTable, second: LabelledTable, *, name: str) -> LabelledTable:
    """Return the rows of one table and then those of another; a column that one lacks is missing."""
    columns = {}
    for column in dict.fromkeys((*first.columns, *second.columns)):
        places: dict[object, int] = {}
        codes = [_codes_in(table, column, places) for table in (first, second)]
        cells = [_cell(key) for key in places]
        columns[column] = Column(column, cells, np.concatenate(codes))
    kinds_N = [*first.kinds_N, *second.kinds_N]
    return LabelledTable(
        name=name,
        columns=columns,
        is_anomaly_N=np.concatenate([first.is_anomaly_N, second.is_anomaly_N]),
        kinds_N=kinds_N,
        fingerprint=fingerprint(columns.values(), kinds_N),
    )


def _codes_in(table: LabelledTable, column: str, places: dict[object, int]) -> NDArray[np.int32]:
    """Return which of the cells in `places` each row has; adds those that are not there."""
    if column not in table.columns:
        return np.full(table.n_rows, places.setdefault(None, len(places)), dtype=np.int32)
    one = table.columns[column]
    codes = [places.setdefault(_key(cell), len(places)) for cell in one.cells]
    return np.array(codes, dtype=np.int32)[one.codes_N]


def _key(cell: object) -> object:
    if cell.__class__ is bool:  # True == 1 in Python, and as a word they differ
        return (bool, cell)
    if cell != cell:  # noqa: PLR0124  # NaN, of which each would be a cell of its own
        return None
    return cell


def _cell(key: object) -> object:
    match key:
        case (kind, value) if kind is bool:
            return value
    return key
