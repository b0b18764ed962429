"""`anoean evaluate`: figures of merit of a version, through the worker's pipeline."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from anoean_stream.cli import main
from anoean_stream.cli.evaluate import at_threshold
from anoean_stream.records.kdd import NSL_KDD_COLUMNS
from anoean_stream.registry import Registry
from tests.support.models import attack_row, make_rows
from tests.support.registries import make_registry, write_csv, write_jsonl

Captured = pytest.CaptureFixture[str]
LABELS = ("--model", "edge", "--normal-value", "0")


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.chdir(tmp_path)
    return make_registry(tmp_path)


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """Rows with a label: 300 normals, 10 loud attacks, 5 that look like normals."""
    normals = [row | {"label": 0} for row in make_rows(300, seed=11)]
    loud = [attack_row(seed=seed) | {"label": "flood"} for seed in range(10)]
    quiet = [row | {"label": "stealth"} for row in make_rows(5, seed=12)]
    return [*normals, *loud, *quiet]


def report(capsys: Captured) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return parsed


def test_figures_are_those_of_the_detectors_scores(
    registry: Registry, rows: list[dict[str, Any]], capsys: Captured
) -> None:
    write_jsonl(Path("flows.jsonl"), rows)

    assert main(["evaluate", "flows.jsonl", *LABELS, "--json"]) == 0

    detector = registry.load("edge", "1").detector
    distances = detector.distances(
        detector.contract.transform(detector.contract.raw_from_rows(rows))
    )
    is_anomaly = np.array([row["label"] != 0 for row in rows])
    seen = report(capsys)
    assert (seen["rows"], seen["scored"], seen["anomalies"]) == (315, 315, 15)
    figures = seen["figures"]
    assert figures["aupr"] == pytest.approx(average_precision_score(is_anomaly, distances))
    assert figures["roc_auc"] == pytest.approx(roc_auc_score(is_anomaly, distances))
    assert figures["recall_by_kind_at_fpr_0.01"]["flood"] == 1.0
    assert {"best_f1", "accuracy", "recall_at_fpr_0.001", "recall_at_fpr_0.01"} <= set(figures)
    threshold = registry.manifest("edge", "1").threshold
    alerted = distances > threshold
    assert seen["at_threshold"]["threshold"] == threshold
    assert seen["at_threshold"]["alerts"] == alerted.sum()
    assert seen["at_threshold"]["recall"] == pytest.approx(alerted[is_anomaly].mean())
    assert seen["at_threshold"]["false_positive_rate"] == pytest.approx(alerted[~is_anomaly].mean())
    assert seen["at_threshold"]["by_kind"]["flood"] == {"rows": 10, "recall": 1.0}
    assert seen["at_threshold"]["by_kind"]["stealth"]["rows"] == 5


def test_csv_and_json_lines_give_the_same_figures(
    registry: Registry, rows: list[dict[str, Any]], capsys: Captured
) -> None:
    write_jsonl(Path("flows.jsonl"), rows)
    write_csv(Path("flows.csv"), rows, also=("label",))

    reports = []
    for file in ("flows.jsonl", "flows.csv"):
        assert main(["evaluate", file, *LABELS, "--json"]) == 0
        reports.append(report(capsys))

    assert reports[0]["figures"] == reports[1]["figures"]
    assert reports[0]["at_threshold"] == reports[1]["at_threshold"]


def test_the_version_decides(
    registry: Registry, rows: list[dict[str, Any]], capsys: Captured
) -> None:
    write_jsonl(Path("flows.jsonl"), rows)

    assert main(["evaluate", "flows.jsonl", *LABELS, "--version", "2", "--json"]) == 0

    seen = report(capsys)
    assert seen["version"] == "2"
    assert seen["at_threshold"]["threshold"] == registry.manifest("edge", "2").threshold


def test_rows_that_cannot_be_scored_are_counted_apart(
    registry: Registry, rows: list[dict[str, Any]], capsys: Captured
) -> None:
    rows.insert(3, rows[0] | {"duration": "long", "label": "flood"})
    rows.insert(200, rows[0] | {"bytes_in": ["list"], "label": 0})
    write_jsonl(Path("flows.jsonl"), rows)

    words = ["evaluate", "flows.jsonl", *LABELS, "--json"]
    assert main([*words, "--set", "consumer.chunk_max_records=64"]) == 0

    seen = report(capsys)
    assert (seen["rows"], seen["scored"], seen["dead_letters"]) == (317, 315, 2)
    # Labels stay with their rows behind a row that was rejected.
    assert seen["at_threshold"]["by_kind"]["flood"] == {"rows": 10, "recall": 1.0}


def test_the_table_shows_figures_and_kinds(
    registry: Registry, rows: list[dict[str, Any]], capsys: Captured
) -> None:
    write_jsonl(Path("flows.jsonl"), rows)

    assert main(["evaluate", "flows.jsonl", *LABELS]) == 0

    said = capsys.readouterr().out
    assert "315 rows, 15 of them anomalies" in said
    for word in ("aupr", "roc auc", "false positive rate", "flood", "stealth"):
        assert word in said


def test_a_published_data_set_brings_its_own_labels(
    registry: Registry, rows: list[dict[str, Any]], capsys: Captured
) -> None:
    # The model reads none of its columns but these two: enough to see labels and rows arrive.
    cells = [
        ",".join(
            {
                "duration": "1e6" if attack else "1",
                "protocol_type": "tcp",
                "label": "neptune" if attack else "normal",
            }.get(column, "0")
            for column in NSL_KDD_COLUMNS
        )
        for attack in [False] * 20 + [True] * 3
    ]
    Path("nsl").mkdir()
    Path("nsl/KDDTest+.txt").write_text("\n".join(cells))

    words = ["evaluate", "--dataset", "nsl-kdd", "--data-dir", "nsl", "--model", "edge", "--json"]
    assert main(words) == 0

    seen = report(capsys)
    assert (seen["rows"], seen["anomalies"]) == (23, 3)
    assert list(seen["at_threshold"]["by_kind"]) == ["neptune"]


def test_at_threshold_without_an_alert_has_no_precision() -> None:
    outcome = at_threshold(
        np.array([False, False]), np.array([True, False]), ["flood", "0"], threshold=9.0
    )

    assert outcome["precision"] is None
    assert outcome["recall"] == 0.0
    assert outcome["by_kind"] == {"flood": {"rows": 1, "recall": 0.0}}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model", "edge"], "--normal-value VALUE is missing"),
        ([*LABELS, "--label-column", "attack"], "row 1: no column 'attack'"),
        (["--model", "edge", "--normal-value", "benign"], "normal is 'benign', labels seen: 0"),
    ],
)
def test_wrong_labels_are_told_in_a_sentence(
    registry: Registry,
    rows: list[dict[str, Any]],
    words: list[str],
    sentence: str,
    capsys: Captured,
) -> None:
    write_jsonl(Path("flows.jsonl"), rows)

    assert main(["evaluate", "flows.jsonl", *words]) == 2

    said = capsys.readouterr()
    assert sentence in said.err
    assert said.out == ""


def test_a_row_without_a_label_is_named(
    registry: Registry, rows: list[dict[str, Any]], capsys: Captured
) -> None:
    rows[7]["label"] = None
    write_jsonl(Path("flows.jsonl"), rows)

    assert main(["evaluate", "flows.jsonl", *LABELS]) == 2

    assert "row 8, column 'label': no label" in capsys.readouterr().err


def test_an_empty_file_is_told_in_a_sentence(registry: Registry, capsys: Captured) -> None:
    Path("flows.jsonl").write_text("")

    assert main(["evaluate", "flows.jsonl", *LABELS]) == 2

    assert "has no rows" in capsys.readouterr().err


def test_without_the_training_libraries_it_says_what_to_install(
    registry: Registry,
    rows: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    write_jsonl(Path("flows.jsonl"), rows)
    monkeypatch.delitem(sys.modules, "trainer.evaluate", raising=False)
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)

    assert main(["evaluate", "flows.jsonl", *LABELS]) == 2

    assert "pip install 'anoean-stream[train]'" in capsys.readouterr().err
