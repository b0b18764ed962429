"""Files with the faults that public data sets have, as rows and as payloads."""

import gzip
from pathlib import Path

import msgspec
import pytest

from anoean_stream.errors import DataError
from anoean_stream.records.files import (
    clean_header,
    dataset_file,
    read_rows,
    read_values,
    row_to_json,
)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_header_loses_byte_order_mark_and_blanks_and_repeated_names_get_numbers() -> None:
    assert clean_header(["\ufeff Src IP", "Len ", "Len", " Len"]) == [
        "Src IP",
        "Len",
        "Len.1",
        "Len.2",
    ]


def test_csv_with_byte_order_mark_gives_text_cells_by_clean_name(tmp_path: Path) -> None:
    path = write(tmp_path / "flows.csv", "\ufeffproto, bytes\ntcp,12\nudp,\n")

    assert list(read_rows(path)) == [
        {"proto": "tcp", "bytes": "12"},
        {"proto": "udp", "bytes": ""},
    ]


def test_gzip_and_plain_give_the_same_rows(tmp_path: Path) -> None:
    plain = write(tmp_path / "flows.csv", "a,b\n1,2\n")
    packed = tmp_path / "flows.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))

    assert list(read_rows(packed)) == list(read_rows(plain))


def test_short_row_is_refused_with_its_number(tmp_path: Path) -> None:
    path = write(tmp_path / "flows.csv", "a,b\n1,2\n3\n")

    with pytest.raises(DataError, match=r"row 2: 1 cells, expected 2") as caught:
        list(read_rows(path))

    assert caught.value.row == 2


def test_truncated_gzip_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "flows.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 10_000)[:-20])

    with pytest.raises(DataError, match=r"flows.csv.gz is not a whole gzip file"):
        list(read_rows(path))


def test_missing_and_empty_file_say_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        list(read_rows(tmp_path / "none.csv"))
    with pytest.raises(DataError, match="expected a header line"):
        list(read_rows(write(tmp_path / "empty.csv", "")))


def test_bad_json_line_is_refused_as_a_row_and_passed_on_as_a_payload(tmp_path: Path) -> None:
    path = write(tmp_path / "flows.jsonl", '{"a": 1}\n\n{"a": \n')

    assert list(read_values(path)) == [b'{"a": 1}', b'{"a":']
    with pytest.raises(DataError, match="row 3") as caught:
        list(read_rows(path))
    assert caught.value.row == 3


def test_parquet_rows_keep_their_types(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs the extra: pip install -e '.[train]'")
    import pyarrow.parquet as pq  # with the line above

    path = tmp_path / "flows.parquet"
    pq.write_table(pa.table({"bytes": [1.5, None], "proto": ["tcp", "udp"]}), path)

    assert list(read_rows(path)) == [
        {"bytes": 1.5, "proto": "tcp"},
        {"bytes": None, "proto": "udp"},
    ]


def test_broken_parquet_is_refused_with_its_name(tmp_path: Path) -> None:
    path = write(tmp_path / "flows.parquet", "PAR1 but not really")

    with pytest.raises(DataError, match=r"flows.parquet cannot be read as Parquet"):
        list(read_rows(path))


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("491", 491),
        ("-0.50", -0.5),
        (" 12 ", 12),
        ("007", "007"),
        ("1e3", "1e3"),
        ("10.0.0.1", "10.0.0.1"),
        ("", None),
        ("tcp", "tcp"),
        (2.5, 2.5),
        (None, None),
    ],
)
def test_cell_becomes_the_json_value_an_exporter_would_write(
    cell: object, expected: object
) -> None:
    assert msgspec.json.decode(row_to_json({"cell": cell})) == {"cell": expected}


def test_unknown_dataset_split_and_absent_file_name_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="known are: nsl-kdd, kdd99"):
        dataset_file("kdd", "test", tmp_path)
    with pytest.raises(DataError, match="it has: train, test, test-21"):
        dataset_file("nsl-kdd", "tset", tmp_path)
    with pytest.raises(DataError, match=r"neither KDDTest\+.txt nor KDDTest\+.txt.gz"):
        dataset_file("nsl-kdd", "test", tmp_path)


def test_public_files_have_their_rows_and_columns(data_dir: Path) -> None:
    path, columns = dataset_file("nsl-kdd", "test", data_dir / "nsl-kdd")

    rows = list(read_rows(path, columns=columns))

    assert len(rows) == 22_544
    assert sum(row["label"] == "normal" for row in rows) == 9_711


def test_real_cicids_header_is_read_with_both_columns_of_one_name(data_dir: Path) -> None:
    path = data_dir / "cicids2017" / "Thursday_WebAttacks_sample_raw-header.csv.gz"

    row = next(read_rows(path))

    assert {"Destination Port", "Fwd Header Length", "Fwd Header Length.1"} <= set(row)
