"""Files of records as rows, and as the payloads they would be on a topic.

CSV (``.csv``, ``.txt``), JSON lines (``.jsonl``, ``.ndjson``, ``.json``), each also as ``.gz``,
and Parquet where pyarrow is installed. Reading streams: a file larger than memory is fine.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from anoean_stream.errors import DataError, brief
from anoean_stream.records.kdd import DATASETS
from anoean_stream.records.unpack import lines_of, open_bytes

BYTE_ORDER_MARK: Final = "\ufeff"

# What JSON and CSV write alike. "007", "1e3" and "0x1F" stay text: turned into numbers they would
# come back as another text, and a category must be the same word through both.
_PLAIN_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?")

_JSON_SUFFIXES: Final = (".jsonl", ".ndjson", ".json")
_CSV_SUFFIXES: Final = (".csv", ".txt", ".tsv")
_PARQUET_SUFFIXES: Final = (".parquet", ".pq")

_PARQUET_BATCH_ROWS: Final = 10_000
"""Rows in memory at once: below, the call costs more than the rows; above, memory grows for nothing."""


def clean_header(names: Iterable[str]) -> list[str]:
    """Return column names without byte order mark and surrounding blanks, each of them unique.

    The second ``x`` becomes ``x.1``, the third ``x.2``: CICIDS2017 has ``Fwd Header Length`` twice.

    Parameters
    ----------
    names : iterable of str
        Names as the file has them.

    Examples
    --------
    >>> clean_header(["\ufeff Src", "Dst ", "Dst"])
    ['Src', 'Dst', 'Dst.1']
    """
    seen: Counter[str] = Counter()
    cleaned = []
    for raw in names:
        name = raw.lstrip(BYTE_ORDER_MARK).strip()
        cleaned.append(f"{name}.{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return cleaned


def read_rows(path: Path, *, columns: Sequence[str] | None = None) -> Iterator[dict[str, object]]:
    """Yield each row of a file as a mapping from column name to value.

    Cells of a CSV are text; an empty cell is an empty text, which every reader takes as missing.

    Parameters
    ----------
    path : Path
        The file; its kind is told by its name.
    columns : sequence of str, optional
        Names of the columns of a CSV without a header line (NSL-KDD, KDD99).

    Raises
    ------
    DataError
        When the file is missing, of an unknown kind, or a row cannot be read (names the row).
    """
    suffix = _suffix(path)
    if not path.is_file():
        message = f"no such file: {path}; give the path of a CSV, JSON lines or Parquet file"
        raise DataError(message)
    if suffix in _PARQUET_SUFFIXES:
        yield from _parquet_rows(path)
    elif suffix in _JSON_SUFFIXES:
        yield from _json_rows(path)
    else:
        yield from _csv_rows(path, columns, delimiter="\t" if suffix == ".tsv" else ",")


def row_to_json(row: Mapping[str, object]) -> bytes:
    """Return a row as the JSON object that an exporter would publish.

    Text of a CSV cell that is a plain decimal number becomes a JSON number with the same digits;
    an empty cell becomes null.

    Examples
    --------
    >>> row_to_json({"proto": "tcp", "bytes": "491", "rate": "0.10", "flag": ""})
    b'{"proto":"tcp","bytes":491,"rate":0.10,"flag":null}'
    """
    return msgspec.json.encode({name: _json_value(value) for name, value in row.items()})


def read_values(path: Path, *, columns: Sequence[str] | None = None) -> Iterator[bytes]:
    """Yield each row of a file as the payload it would be on a topic.

    Lines of a JSON lines file are given as they are, malformed ones too: they are for the
    pipeline to judge. Other kinds go through `read_rows` and `row_to_json`.
    """
    if _suffix(path) in _JSON_SUFFIXES and path.is_file():
        with open_bytes(path) as file:
            for line in lines_of(file, path=path):
                if stripped := line.strip():
                    yield stripped
        return
    for row in read_rows(path, columns=columns):
        yield row_to_json(row)


def dataset_file(dataset: str, split: str, data_dir: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the file of a published data set and the names of its columns.

    Raises
    ------
    DataError
        When the data set or the split is unknown, or the file is not in the folder.
    """
    known = DATASETS.get(dataset)
    if known is None:
        message = f"unknown data set {dataset!r}; known are: {', '.join(DATASETS)}"
        raise DataError(message)
    if split not in known.splits:
        message = f"data set {dataset} has no split {split!r}; it has: {', '.join(known.splits)}"
        raise DataError(message)
    file = known.splits[split].file
    for candidate in (data_dir / file, data_dir / f"{file}.gz"):
        if candidate.is_file():
            return candidate, known.columns
    message = (
        f"data set {dataset}, split {split}: neither {file} nor {file}.gz is in {data_dir}; "
        f"download the public file into that folder, or name another with --data-dir"
    )
    raise DataError(message)


def _suffix(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    # The public KDD99 file has no suffix of its own.
    return suffix if suffix in (*_JSON_SUFFIXES, *_CSV_SUFFIXES, *_PARQUET_SUFFIXES) else ".csv"


def _csv_rows(
    path: Path, columns: Sequence[str] | None, *, delimiter: str
) -> Iterator[dict[str, object]]:
    with open_bytes(path) as file:
        # Undecodable bytes (CICIDS2017's dashes) are replaced, so that one label cannot stop a file.
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
        lines = lines_of(text, path=path)
        reader = _readable(csv.reader(lines, delimiter=delimiter), path=path)
        names = list(columns) if columns is not None else clean_header(next(reader, []))
        if not names:
            message = f"{path} is empty; expected a header line with the names of the columns"
            raise DataError(message)
        for number, cells in enumerate(reader, start=1):
            if not cells:
                continue
            if len(cells) != len(names):
                message = (
                    f"{path}, row {number}: {len(cells)} cells, expected {len(names)} "
                    f"({names[0]} ... {names[-1]}); mend or remove the row"
                )
                raise DataError(message, row=number)
            yield dict(zip(names, cells, strict=True))


def _readable(rows: Iterator[list[str]], *, path: Path) -> Iterator[list[str]]:
    """Yield rows; a cell that is too long is told as the other mistakes of a file are."""
    number = 0
    while True:
        try:
            cells = next(rows, None)
        except csv.Error as error:
            message = f"{path}, row {number} or the one after it: {error}; mend or remove it"
            raise DataError(message, row=number) from error
        if cells is None:
            return
        yield cells
        number += 1


def _json_rows(path: Path) -> Iterator[dict[str, object]]:
    decode = msgspec.json.Decoder(dict[str, object]).decode
    with open_bytes(path) as file:
        for number, line in enumerate(lines_of(file, path=path), start=1):
            if not line.strip():
                continue
            try:
                yield decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                message = f"{path}, row {number}: {brief(error)}; expected one JSON object a line"
                raise DataError(message, row=number) from error


def _parquet_rows(path: Path) -> Iterator[dict[str, object]]:
    try:
        import pyarrow as pa  # extra `train`
        import pyarrow.parquet as pq
    except ImportError as error:
        message = (
            f"{path}: Parquet needs pyarrow; install it with: pip install 'anoean-stream[train]'"
        )
        raise DataError(message) from error
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_PARQUET_BATCH_ROWS):
                yield from batch.to_pylist()
    except pa.ArrowException as error:
        message = f"{path} cannot be read as Parquet: {error}"
        raise DataError(message) from error


def _json_value(value: object) -> object:
    if isinstance(value, str):
        text = value.strip()
        if _PLAIN_NUMBER.fullmatch(text):
            return msgspec.Raw(text.encode())
        return text or None
    return value
