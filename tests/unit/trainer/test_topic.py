"""A range of a topic as a table: labels joined, flagged records left out, a sample that repeats."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pytest

from anoean_stream.errors import DataError
from trainer.datasets.labels import Labels, read_label_file
from trainer.datasets.sieve import TopicRecord
from trainer.datasets.topic import Gathered, TopicRange, gather


def record(offset: int, *, partition: int = 0, **said: object) -> TopicRecord:
    value = json.dumps({"uid": f"F{offset}", "bytes": offset}).encode()
    return TopicRecord(partition, offset, value, **said)  # type: ignore[arg-type]


def labels_of(*rows: dict[str, object], id_field: str | None = "uid") -> Labels:
    labels = Labels(topic="flows", normal_value="benign", id_field=id_field)
    for row in rows:
        labels.add(row)
    return labels


def gathered(
    records: Iterable[TopicRecord],
    labels: Labels | None = None,
    *,
    max_rows: int = 1000,
    seed: int = 0,
) -> Gathered:
    kept = list(records)
    source = TopicRange(topic="flows", read=lambda: kept, labels=labels or labels_of())
    return gather(source, max_rows=max_rows, seed=seed)


def uids(found: Gathered, *, anomalous: bool) -> list[object]:
    rows = (found.table.is_anomaly_N == anomalous).nonzero()[0].tolist()
    return [found.table.row(row)["uid"] for row in rows]


def test_flagged_records_are_no_normals_without_a_label_that_says_so() -> None:
    labels = labels_of({"uid": "F2", "label": "Benign"}, {"uid": "F3", "label": "scan"})

    found = gathered(
        [
            record(0),
            record(1, above=True),
            record(2, above=True),
            record(3, alerted=True),
            record(4, alerted=True, above=True),
        ],
        labels,
    )

    assert uids(found, anomalous=False) == ["F0", "F2"]
    assert uids(found, anomalous=True) == ["F3"]
    assert (found.counts.flagged, found.counts.flagged_by_alert) == (2, 1)
    assert found.table.kinds_N[-1] == "scan"
    assert "2 records were flagged" in found.notes[0]


def test_a_normal_label_by_an_id_that_several_records_have_clears_none_of_the_flagged() -> None:
    copied = json.dumps({"uid": "F1", "bytes": 7}).encode()
    labels = labels_of({"uid": "F1", "label": "benign"})

    found = gathered([record(0), record(1), TopicRecord(0, 2, copied, above=True)], labels)

    assert uids(found, anomalous=False) == ["F0", "F1"]
    assert found.counts.flagged == 1
    assert labels.counts.ambiguous == 1


def test_a_label_by_place_clears_its_record_whatever_id_it_has() -> None:
    labels = labels_of({"partition": 1, "offset": "5", "label": "benign"})

    found = gathered([record(5, partition=1, above=True), record(5, above=True)], labels)

    assert (found.counts.labelled_normals, found.counts.flagged) == (1, 1)


def test_the_last_label_of_a_record_wins_by_whatever_it_names_it() -> None:
    labels = labels_of(
        {"uid": "F1", "label": "benign"},
        {"alert_id": "a1", "label": "scan"},
        {"topic": "flows", "partition": 0, "offset": 2, "label": "scan"},
        {"topic": "flows", "partition": 0, "offset": 2, "label": "dos"},
        {"uid": "F3", "label": "scan"},
        {"partition": 0, "offset": 3, "label": "benign"},
    )
    labels.found_alert("a1", (0, 1))

    found = gathered([record(1), record(2), record(3, above=True)], labels)

    assert uids(found, anomalous=True) == ["F1", "F2"]
    assert list(found.table.kinds_N) == ["scan", "dos", "normal"]
    assert (labels.counts.contradictory, labels.counts.duplicates) == (2, 1)
    assert any("labels contradict" in note for note in found.notes)


def test_labels_that_fit_nothing_are_counted_and_named() -> None:
    labels = labels_of(
        {"uid": "F99", "label": "scan"},
        {"alert_id": "b2", "label": "scan"},
        {"partition": 7, "offset": 7, "label": "scan"},
        {"topic": "other", "partition": 0, "offset": 0, "label": "scan"},
    )

    found = gathered([record(0)], labels)

    assert labels.counts.unmatched == 4
    (note,) = found.notes
    assert "4 labels fit no record" in note
    assert "other/0/0" in note


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"uid": "F1"}, "no 'label'"),
        ({"label": "scan"}, "names no record"),
        ({"label": "scan", "partition": 0, "offset": "x"}, "expected a number"),
        ({"label": "scan", "partition": 0, "offset": -1}, "expected a whole number"),
        ({"label": ["scan"], "uid": "F1"}, "expected"),
    ],
)
def test_a_row_that_is_no_label_is_refused_with_its_number(
    row: dict[str, object], complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(json.dumps({"uid": "F1", "label": "scan"}) + "\n" + json.dumps(row) + "\n")

    with pytest.raises(DataError, match=complaint) as refusal:
        read_label_file(path, labels_of())

    assert refusal.value.row == 2


def test_labels_of_a_csv_file_count_like_those_of_json(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("partition,offset,label\n0,1,scan\n0,2,BENIGN\n")
    labels = labels_of()
    read_label_file(path, labels)

    found = gathered([record(1), record(2, above=True)], labels)

    assert uids(found, anomalous=True) == ["F1"]
    assert uids(found, anomalous=False) == ["F2"]


def test_more_than_fits_is_a_sample_that_repeats_in_any_order_of_reading() -> None:
    records = [record(offset, partition=p) for p in range(3) for offset in range(400)]
    labels: list[dict[str, object]] = [
        {"partition": 1, "offset": offset, "label": "scan"} for offset in range(20)
    ]

    first = gathered(records, labels_of(*labels, id_field=None), max_rows=200)
    again = gathered(records[::-1], labels_of(*labels, id_field=None), max_rows=200)
    other = gathered(records, labels_of(*labels, id_field=None), max_rows=200, seed=1)

    assert first.table.fingerprint == again.table.fingerprint != other.table.fingerprint
    assert first.table.n_rows == 200
    assert first.counts.labelled_anomalies == 20
    assert first.counts.sampled_out == 1000
    offsets = [int(str(first.table.row(row)["bytes"])) for row in range(200)]
    assert 150 < sum(offsets) / 200 < 250  # from all of the range
    assert "uniform draw" in first.notes[0]


def test_anomalies_are_sampled_only_beyond_half_of_the_rows() -> None:
    rows: list[dict[str, object]] = [{"uid": f"F{n}", "label": "scan"} for n in range(300)]
    labels = labels_of(*rows)

    found = gathered([record(n) for n in range(600)], labels, max_rows=100)

    assert (found.counts.labelled_anomalies, found.counts.normals) == (50, 50)


def test_each_record_is_counted_once() -> None:
    labels = labels_of({"uid": "F1", "label": "scan"}, {"uid": "F2", "label": "benign"})
    records = [
        *(record(n, above=n % 7 == 3) for n in range(300)),
        TopicRecord(0, 300, None),
        TopicRecord(0, 301, b"{", refused="not_json"),
        TopicRecord(0, 302, b"[1]"),
    ]

    counts = asdict(gathered(records, labels, max_rows=120).counts)

    parts = {name: n for name, n in counts.items() if not name.startswith(("read", "flagged_"))}
    assert counts["read"] == sum(parts.values()) == 303
    assert counts["refused"] == 2


def test_lists_in_a_record_are_no_columns_and_are_named() -> None:
    nested = json.dumps({"uid": "F1", "bytes": 1, "tags": ["a"], "meta": {"x": 1}}).encode()

    found = gathered([record(0), TopicRecord(0, 1, nested)])

    assert set(found.table.columns) == {"uid", "bytes"}
    assert "2 fields hold lists or objects" in found.notes[0]


def test_what_only_python_reads_is_read() -> None:
    odd = [b'\xef\xbb\xbf{"bytes": NaN, "uid": "a"}', b'{"uid": "\\ud800", "bytes": 1}']

    found = gathered([TopicRecord(0, n, value) for n, value in enumerate(odd)])

    assert found.table.row(0)["bytes"] is None
    assert found.table.row(1)["uid"] == "\ufffd"


def test_nothing_to_train_on_is_an_error_with_the_next_step() -> None:
    with pytest.raises(DataError, match="1 flagged without a label"):
        gathered([record(0, above=True)])
