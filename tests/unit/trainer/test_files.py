"""Labelled files with every fault that was met: read, or refused with the column and the row."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from anoean_stream.errors import DataError
from tests.support.labelled import WriteCsv
from trainer.datasets.files import read_labelled
from trainer.datasets.infer import infer_fields
from trainer.datasets.table import LabelledTable

HEADER = ("bytes", "proto", "label")
ROWS = [("10", "tcp", "0"), ("20", "udp", "1"), ("30", "tcp", "0"), ("40", "tcp", "0")]


def read(
    path: Path,
    *,
    label: str = "label",
    normal: str = "0",
    attack: str | None = None,
    max_rows: int = 1000,
) -> LabelledTable:
    return read_labelled(
        path, label_column=label, normal_value=normal, attack_column=attack, max_rows=max_rows
    )


def values(table: LabelledTable, name: str) -> list[float]:
    column = table.columns[name]
    numbers: list[float] = column.numbers[column.codes_N].tolist()
    return numbers


@pytest.mark.parametrize("name", ["flows.csv", "flows.csv.gz", "flows.txt"])
def test_a_plain_or_packed_csv_is_read(write_csv: WriteCsv, name: str) -> None:
    table = read(write_csv(ROWS, header=HEADER, name=name))

    assert table.is_anomaly_N.tolist() == [False, True, False, False]
    assert table.kinds_N == ["normal", "1", "normal", "normal"]
    assert values(table, "bytes") == [10, 20, 30, 40]
    assert table.columns["proto"].words == ("tcp", "udp")
    assert "label" not in table.columns


def test_byte_order_mark_blanks_and_twice_named_columns_are_mended(write_csv: WriteCsv) -> None:
    header = ("\ufeff bytes", " proto ", " bytes", " Label")

    table = read(write_csv([(1, "tcp", 9, 0), (2, "tcp", 8, 1)], header=header))

    assert list(table.columns) == ["bytes", "proto", "bytes.1"]
    assert values(table, "bytes.1") == [9, 8]


def test_infinite_and_absent_numbers_are_missing(write_csv: WriteCsv) -> None:
    cells = ["1", "Infinity", "-inf", "", "NaN", "null", "2.5"]

    table = read(write_csv([(c, "tcp", i % 2) for i, c in enumerate(cells)], header=HEADER))

    assert [value for value in values(table, "bytes") if not math.isnan(value)] == [1, 2.5]
    assert {spec.name: spec.kind for spec in infer_fields(table).specs} == {"bytes": "number"}


@pytest.mark.parametrize(
    ("labels", "normal"),
    [
        (["0", "1"], "0"),
        (["0.0", "1.0"], "0"),
        (["BENIGN", "Web Attack \ufffd XSS"], "Benign"),
        (["False", "True"], "false"),
        ([" normal ", "dos"], "normal"),
    ],
)
def test_labels_are_text_or_numbers_in_any_case(
    write_csv: WriteCsv, labels: list[str], normal: str
) -> None:
    rows = [(i, "tcp", label) for i, label in enumerate(labels * 2)]

    table = read(write_csv(rows, header=HEADER), normal=normal)

    assert table.is_anomaly_N.tolist() == [False, True, False, True]
    assert table.kinds_N[0] == "normal"


def test_the_kind_of_attack_comes_from_its_own_column(write_csv: WriteCsv) -> None:
    rows = [(1, 0, "Benign"), (2, 1, "DoS"), (3, 1, "Theft"), (4, 1, "")]

    table = read(
        write_csv(rows, header=("bytes", "Label", "Attack")), label="Label", attack="attack"
    )

    assert table.kinds_N == ["normal", "DoS", "Theft", "unnamed"]
    assert list(table.columns) == ["bytes"]


def test_a_label_column_that_is_absent_is_refused_with_those_that_are_there(
    write_csv: WriteCsv,
) -> None:
    with pytest.raises(DataError, match=r"no label column 'class'; it has: bytes, proto, label"):
        read(write_csv(ROWS, header=HEADER), label="class")


def test_a_row_without_a_label_is_refused_with_its_number(write_csv: WriteCsv) -> None:
    with pytest.raises(DataError, match=r"row 3, column 'label': no label") as caught:
        read(write_csv([*ROWS[:2], ("30", "tcp", ""), *ROWS[3:]], header=HEADER))

    assert (caught.value.column, caught.value.row) == ("label", 3)


@pytest.mark.parametrize(
    ("normal", "complaint"),
    [("7", r"no row is normal \('7'\); labels seen: 0, 1"), ("2", "no row is normal")],
)
def test_a_normal_value_that_no_row_has_is_refused(
    write_csv: WriteCsv, normal: str, complaint: str
) -> None:
    with pytest.raises(DataError, match=complaint):
        read(write_csv(ROWS, header=HEADER), normal=normal)


def test_a_file_of_normals_only_is_refused(write_csv: WriteCsv) -> None:
    with pytest.raises(DataError, match="every row is normal"):
        read(write_csv([row for row in ROWS if row[2] == "0"], header=HEADER))


def test_a_stray_word_among_numbers_is_refused_with_column_and_row(write_csv: WriteCsv) -> None:
    rows = [(str(i), "tcp", i % 2) for i in range(40)]
    rows[24] = ("oops", "tcp", 0)
    table = read(write_csv(rows, header=HEADER))

    with pytest.raises(DataError, match=r"column 'bytes', row 25: .*oops") as caught:
        infer_fields(table)

    assert (caught.value.column, caught.value.row) == ("bytes", 25)


def test_a_row_with_too_few_cells_is_refused_with_its_number(write_csv: WriteCsv) -> None:
    with pytest.raises(DataError, match="row 2: 2 cells, expected 3"):
        read(write_csv([ROWS[0], ROWS[1][:2]], header=HEADER))


def test_a_table_that_is_too_large_is_refused_before_it_fills_the_memory(
    write_csv: WriteCsv,
) -> None:
    with pytest.raises(DataError, match="more than 3 rows"):
        read(write_csv(ROWS, header=HEADER), max_rows=3)


@pytest.mark.parametrize("content", ["", "bytes,proto,label\n"])
def test_a_file_without_rows_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "empty.csv"
    path.write_text(content)

    with pytest.raises(DataError, match=r"is empty|has no rows"):
        read(path)


def test_a_file_that_is_absent_or_half_is_refused(tmp_path: Path, write_csv: WriteCsv) -> None:
    half = write_csv(ROWS * 100, header=HEADER, name="half.csv.gz")
    half.write_bytes(half.read_bytes()[:-20])

    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="not a whole gzip file"):
        read(half)


def test_json_lines_may_leave_keys_out_and_mix_spellings(tmp_path: Path) -> None:
    path = tmp_path / "flows.jsonl"
    records = [
        {"bytes": 10, "ok": True, "label": 0},
        {"bytes": "20", "label": 1, "proto": "udp"},
        {"bytes": None, "ok": 1, "label": "0"},
    ]
    path.write_text("\n".join(json.dumps(record) for record in records))

    table = read(path)

    assert values(table, "bytes")[:2] == [10, 20]
    assert table.is_anomaly_N.tolist() == [False, True, False]
    proto, ok = table.columns["proto"], table.columns["ok"]
    assert [proto.words[code] for code in proto.codes_N] == [None, "udp", None]
    # As a word, true is not 1.
    assert [ok.words[code] for code in ok.codes_N] == ["true", None, "1"]


def test_a_nested_value_is_refused_with_column_and_row(tmp_path: Path) -> None:
    path = tmp_path / "flows.jsonl"
    path.write_text('{"a": 1, "label": 0}\n{"a": [1], "label": 1}\n')

    with pytest.raises(DataError, match=r"row 2, column 'a': expected a text") as caught:
        read(path)

    assert (caught.value.column, caught.value.row) == ("a", 2)


def test_parquet_gives_the_same_table_as_csv(tmp_path: Path, write_csv: WriteCsv) -> None:
    frame = pd.DataFrame(
        {"bytes": [10, 20, 30], "rate": [0.5, float("nan"), 1.5], "label": ["ok", "dos", "ok"]}
    )
    path = tmp_path / "flows.parquet"
    frame.to_parquet(path)

    table = read(path, normal="ok")

    same = read(
        write_csv([(10, 0.5, "ok"), (20, "", "dos"), (30, 1.5, "ok")], header=list(frame)),
        normal="ok",
    )
    for name in ("bytes", "rate"):
        assert str(values(table, name)) == str(values(same, name))
    assert table.kinds_N == same.kinds_N


def test_the_fingerprint_changes_with_a_cell_a_label_and_the_order(write_csv: WriteCsv) -> None:
    prints = {
        read(write_csv(rows, header=HEADER)).fingerprint
        for rows in (
            ROWS,
            list(ROWS),
            [("11", "tcp", "0"), *ROWS[1:]],
            [("10", "tcp", "1"), *ROWS[1:]],
            ROWS[::-1],
        )
    }

    assert len(prints) == 4
