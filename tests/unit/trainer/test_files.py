"""Labelled files with every fault that was met: read, or refused with the column and the row."""

import json
from pathlib import Path

import numpy as np
import pytest

from anoean_stream.errors import DataError
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
    return column.numbers[column.codes_N].tolist()


@pytest.mark.parametrize("name", ["flows.csv", "flows.csv.gz", "flows.txt"])
def test_a_plain_or_packed_csv_is_read(write_csv, name: str) -> None:  # type: ignore[no-untyped-def]
    table = read(write_csv(ROWS, header=HEADER, name=name))

    assert table.is_anomaly_N.tolist() == [False, True, False, False]
    assert table.kinds_N == ["normal", "1", "normal", "normal"]
    assert values(table, "bytes") == [10, 20, 30, 40]
    assert table.columns["proto"].words == ("tcp", "udp")
    assert "label" not in table.columns
