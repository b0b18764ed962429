"""Packed files and endless lines: a DataError, in memory that the file does not decide."""

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from anoean_stream.errors import DataError
from anoean_stream.records.files import read_rows, read_values
from anoean_stream.records.unpack import FREE_BYTES, MAX_LINE_BYTES, MAX_RATIO
from trainer.datasets.published import content_sha256

# Long rows: a bomb of short ones is refused as surely, after minutes of honest work.
CSV_ROW = b"a" * 100_000 + b",b\n"
JSON_ROW = b'{"a":"' + b"a" * 100_000 + b'"}\n'


def packed(path: Path, unit: bytes, n_bytes: int) -> Path:
    """Write a gzip file without ever having its content in memory."""
    block = unit * (2**20 // len(unit))
    with gzip.open(path, "wb") as file:
        for _ in range(n_bytes // len(block)):
            file.write(block)
    return path


def exhaust(path: Path) -> None:
    for _ in read_rows(path):
        pass


def exhaust_values(path: Path) -> None:
    for _ in read_values(path):
        pass


@pytest.mark.parametrize(
    ("name", "unit", "use"),
    [
        ("bomb.csv.gz", CSV_ROW, exhaust),
        ("bomb.csv.gz", CSV_ROW, exhaust_values),
        ("bomb.jsonl.gz", JSON_ROW, exhaust_values),
        ("bomb.jsonl.gz", JSON_ROW, exhaust),
        ("KDDTrain+.txt.gz", CSV_ROW, content_sha256),
    ],
)
def test_a_file_that_grows_too_much_is_refused(
    tmp_path: Path, name: str, unit: bytes, use: Callable[[Path], object]
) -> None:
    path = packed(tmp_path / name, unit, FREE_BYTES + 2**22)
    assert MAX_RATIO * path.stat().st_size < FREE_BYTES  # else it would be no bomb

    with pytest.raises(DataError, match=f"grows more than {MAX_RATIO} times"):
        use(path)


@pytest.mark.parametrize("name", ["line.csv", "line.csv.gz", "line.jsonl", "line.jsonl.gz"])
@pytest.mark.parametrize("use", [exhaust, exhaust_values])
def test_a_line_without_end_is_refused_in_bounded_memory(
    tmp_path: Path, name: str, use: Callable[[Path], object]
) -> None:
    path = tmp_path / name
    if name.endswith(".gz"):
        packed(path, b"x", 48 * 2**20)
    else:
        with path.open("wb") as file:
            file.truncate(2**36)  # 64 GiB of zero bytes that need no disk
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=f"line 1: more than {MAX_LINE_BYTES} bytes"):
            use(path)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 12 * MAX_LINE_BYTES


def test_a_cell_that_is_too_long_is_refused_by_row(tmp_path: Path) -> None:
    path = tmp_path / "cell.csv"
    path.write_text("a,b\n1,2\n3," + "x" * 200_000 + "\n")

    with pytest.raises(DataError, match=r"row 2 or the one after it: field larger"):
        exhaust(path)


def test_ordinary_repetition_is_read(tmp_path: Path) -> None:
    path = packed(tmp_path / "same.csv.gz", b"a,b\n", 2**20)

    assert sum(1 for _ in read_rows(path)) == 2**18 - 1


def test_lines_that_end_as_on_old_machines_are_read(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_bytes(b"a,b\r1,2\r3,4\r")

    assert list(read_rows(tmp_path / "old.csv")) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
