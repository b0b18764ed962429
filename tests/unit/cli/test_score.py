"""`anoean score`: what it says of a row is what the worker's code says of it."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anoean_stream.cli import main
from anoean_stream.registry import Registry
from tests.support.models import attack_row, make_rows
from tests.support.registries import make_registry, write_csv, write_jsonl

Captured = pytest.CaptureFixture[str]
MODEL = ("--model", "edge")


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.chdir(tmp_path)
    return make_registry(tmp_path)


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return [*make_rows(120, seed=7), *(attack_row(seed=seed) for seed in range(5))]


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def scores(text: str) -> list[float]:
    return [float(row["score"]) for row in table(text)]


def expected_scores(registry: Registry, rows: list[dict[str, Any]], version: str) -> list[float]:
    detector = registry.load("edge", version).detector
    contract = detector.contract
    expected: list[float] = detector.distances(
        contract.transform(contract.raw_from_rows(rows))
    ).tolist()
    return expected


def test_each_row_gets_the_detectors_score(
    registry: Registry, rows: list[dict[str, Any]], capsys: Captured
) -> None:
    write_jsonl(Path("flows.jsonl"), rows)

    assert main(["score", "flows.jsonl", *MODEL]) == 0

    scored = table(capsys.readouterr().out)
    assert [int(row["row"]) for row in scored] == list(range(1, len(rows) + 1))
    np.testing.assert_allclose(
        [float(row["score"]) for row in scored], expected_scores(registry, rows, "1"), rtol=1e-6
    )
    threshold = registry.manifest("edge", "1").threshold
    assert [row["anomaly"] for row in scored] == [
        str(int(float(row["score"]) > threshold)) for row in scored
    ]
    assert [row["anomaly"] for row in scored[-5:]] == ["1"] * 5
    assert all(0 < float(row["p_value"]) <= 1 for row in scored)


def test_csv_compressed_csv_and_json_lines_score_alike(
    registry: Registry, rows: list[dict[str, Any]], capsys: Captured
) -> None:
    write_jsonl(Path("flows.jsonl"), rows)
    write_csv(Path("flows.csv"), rows)
    Path("flows.csv.gz").write_bytes(gzip.compress(Path("flows.csv").read_bytes()))

    texts = []
    for file in ("flows.jsonl", "flows.csv", "flows.csv.gz"):
        assert main(["score", file, *MODEL]) == 0
        texts.append(capsys.readouterr().out)

    assert texts[0] == texts[1] == texts[2]


def test_the_size_of_the_chunks_changes_no_score(
    registry: Registry, rows: list[dict[str, Any]], capsys: Captured
) -> None:
    write_jsonl(Path("flows.jsonl"), [*rows[:10], "{broken", *rows[10:]])

    texts = []
    for size in ("1", "7", "1000"):
        words = ["score", "flows.jsonl", *MODEL, "--set", f"consumer.chunk_max_records={size}"]
        assert main(words) == 0
        texts.append(table(capsys.readouterr().out))

    for other in texts[1:]:
        assert [row["row"] for row in other] == [row["row"] for row in texts[0]]
        assert [row["reason"] for row in other] == [row["reason"] for row in texts[0]]
        np.testing.assert_allclose(
            [float(row["score"] or 0) for row in other],
            [float(row["score"] or 0) for row in texts[0]],
            rtol=1e-5,
        )


def test_a_bad_record_keeps_its_place_and_its_reason(
    registry: Registry, rows: list[dict[str, Any]], capsys: Captured
) -> None:
    wrong = rows[0] | {"duration": "long"}
    write_jsonl(Path("flows.jsonl"), [rows[0], "{broken", rows[1], "[]", wrong, rows[2]])

    assert main(["score", "flows.jsonl", *MODEL]) == 0

    scored = table(capsys.readouterr().out)
    assert [row["reason"] for row in scored] == [
        "", "not_json", "", "not_an_object", "wrong_type", "",
    ]  # fmt: skip
    assert [row["score"] == "" for row in scored] == [bool(row["reason"]) for row in scored]
    assert "duration" in scored[4]["detail"]
    np.testing.assert_allclose(
        [float(row["score"]) for row in scored if row["score"]],
        expected_scores(registry, rows[:3], "1"),
        rtol=1e-6,
    )


def test_json_lines_leave_out_what_there_is_not(
    registry: Registry, rows: list[dict[str, Any]], capsys: Captured
) -> None:
    write_jsonl(Path("flows.jsonl"), [rows[0], "{broken"])

    assert main(["score", "flows.jsonl", *MODEL, "--format", "jsonl"]) == 0

    good, bad = map(json.loads, capsys.readouterr().out.splitlines())
    assert set(good) == {"row", "score", "p_value", "anomaly"}
    assert set(bad) == {"row", "reason", "detail"}


def test_the_summary_counts_every_row(
    registry: Registry, rows: list[dict[str, Any]], capsys: Captured
) -> None:
    write_jsonl(Path("flows.jsonl"), [*rows, "{broken", "[]", "[]"])

    words = ["score", "flows.jsonl", *MODEL, "--json", "--output", "scores.jsonl"]
    assert main(words) == 0

    summary = json.loads(capsys.readouterr().out)
    assert summary["rows"] == len(rows) + 3
    assert summary["scored"] == len(rows)
    assert summary["dead_letters"] == {"not_an_object": 2, "not_json": 1}
    assert summary["version"] == "1"
    written = [json.loads(line) for line in Path("scores.jsonl").read_text().splitlines()]
    assert len(written) == len(rows) + 3
    assert summary["anomalies"] == sum(row.get("anomaly", 0) for row in written) >= 5


def test_a_version_is_chosen_by_number_or_alias(
    registry: Registry, rows: list[dict[str, Any]], capsys: Captured
) -> None:
    write_jsonl(Path("flows.jsonl"), rows)
    registry.set_alias("edge", "shadow", "2")

    for ref in ("2", "shadow"):
        assert main(["score", "flows.jsonl", *MODEL, "--version", ref]) == 0

        np.testing.assert_allclose(
            scores(capsys.readouterr().out), expected_scores(registry, rows, "2"), rtol=1e-6
        )


def test_the_rate_of_the_settings_moves_the_threshold(
    registry: Registry, rows: list[dict[str, Any]], capsys: Captured
) -> None:
    write_jsonl(Path("flows.jsonl"), rows)

    words = ["score", "flows.jsonl", *MODEL, "--json", "--set", "scoring.false_positive_rate=1"]
    assert main(words) == 0

    assert json.loads(capsys.readouterr().out)["anomalies"] == len(rows)


def test_a_damaged_model_scores_nothing(
    registry: Registry, rows: list[dict[str, Any]], capsys: Captured
) -> None:
    write_jsonl(Path("flows.jsonl"), rows)
    path = Path("models/edge/versions/1/weights.safetensors")
    path.write_bytes(path.read_bytes()[:-1])

    assert main(["score", "flows.jsonl", *MODEL, "--output", "scores.csv"]) == 3

    assert "weights.safetensors" in capsys.readouterr().err
    assert not Path("scores.csv").exists()


def test_a_mistyped_file_does_not_empty_the_output(registry: Registry, capsys: Captured) -> None:
    Path("scores.csv").write_text("of yesterday")

    assert main(["score", "flosw.jsonl", *MODEL, "--output", "scores.csv"]) == 2

    assert "no such file: flosw.jsonl" in capsys.readouterr().err
    assert Path("scores.csv").read_text() == "of yesterday"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "got neither"),
        (["flows.jsonl", "--dataset", "nsl-kdd"], "got both"),
        (["--dataset", "nsl-kdd"], "needs --data-dir"),
        (["--dataset", "nsl-kdd", "--data-dir", "nowhere"], "KDDTest+.txt"),
        (["--dataset", "mnist", "--data-dir", "nowhere"], "unknown data set 'mnist'"),
        (["flows.jsonl", "--json", "--output", "-"], "both write to stdout"),
        (["flows.jsonl", "--output", "no/such/folder/scores.csv"], "cannot write"),
    ],
)
def test_what_cannot_work_is_told_in_a_sentence(
    registry: Registry, words: list[str], sentence: str, capsys: Captured
) -> None:
    write_jsonl(Path("flows.jsonl"), make_rows(3))

    assert main(["score", *words, *MODEL]) == 2

    said = capsys.readouterr()
    assert sentence in said.err
    assert said.out == ""
