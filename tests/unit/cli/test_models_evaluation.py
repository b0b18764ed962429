"""`anoean models evaluation`: labelled rows of a file become the set that judges candidates."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from anoean_stream.cli import main
from anoean_stream.records.files import row_to_json
from anoean_stream.registry import Registry
from anoean_stream.registry.evaluation import read_evaluation
from tests.support.models import attack_row, make_rows
from tests.support.registries import make_registry, write_csv, write_jsonl

Captured = pytest.CaptureFixture[str]
SET = ("models", "evaluation", "set", "edge")
LABELS = ("--normal-value", "0", "--set", "topics.audit=null")


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return make_registry(tmp_path)


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """900 normals, 90 floods and 3 worms, labelled."""
    normals = [row | {"label": 0} for row in make_rows(900, seed=11)]
    floods = [attack_row(seed=seed) | {"label": "flood"} for seed in range(90)]
    worms = [attack_row(seed=seed) | {"label": "worm", "duration": 7e6} for seed in range(3)]
    return [*normals, *floods, *worms]


def document(capsys: Captured) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return parsed


def test_rows_are_kept_without_their_label(
    registry: Registry, rows: list[dict[str, Any]], capsys: Captured
) -> None:
    write_jsonl(Path("golden.jsonl"), rows)

    assert main([*SET, "golden.jsonl", *LABELS, "--json"]) == 0

    said = document(capsys)
    counts = (said["number"], said["rows"], said["n_records"], said["n_anomalies"])
    assert counts == (1, 993, 993, 93)
    assert said["source"] == "golden.jsonl"
    found = read_evaluation(registry, "edge")
    assert found is not None
    assert found.is_anomaly_N.tolist() == [row["label"] != 0 for row in rows]
    expected = [row_to_json({k: v for k, v in row.items() if k != "label"}) for row in rows]
    assert list(found.values) == expected


def test_a_larger_file_is_sampled_and_rare_kinds_stay(
    registry: Registry, rows: list[dict[str, Any]], capsys: Captured
) -> None:
    write_csv(Path("golden.csv"), rows, also=("label",))

    assert main([*SET, "golden.csv", *LABELS, "--max-records", "100"]) == 0

    said = capsys.readouterr()
    assert "100 records" in said.out
    assert "of 2 kinds" in said.out
    assert "a sample of 993 rows" in said.err
    found = read_evaluation(registry, "edge")
    assert found is not None
    worms = Counter(json.loads(value)["duration"] for value in found.values)[7e6]
    assert (len(found.values), worms) == (100, 3)
    assert found.info.source == "golden.csv, a sample of 993 rows"


def test_the_sample_is_always_the_same(
    registry: Registry, rows: list[dict[str, Any]], capsys: Captured
) -> None:
    write_jsonl(Path("golden.jsonl"), rows)
    words = [*SET, "golden.jsonl", *LABELS, "--max-records", "200", "--json"]

    main(words)
    first = document(capsys)
    main(words)
    second = document(capsys)

    assert (first["number"], second["number"]) == (1, 2)
    assert first["sha256"] == second["sha256"]


def test_a_published_data_set_needs_no_label_options(
    registry: Registry, data_dir: Path, capsys: Captured
) -> None:
    words = (
        "--dataset", "nsl-kdd", "--data-dir", str(data_dir / "nsl-kdd"), "--max-records", "1000",
        "--set", "topics.audit=null", "--json",
    )  # fmt: skip

    assert main([*SET, *words]) == 0

    said = document(capsys)
    assert (said["rows"], said["n_records"]) == (22_544, 1000)
    assert said["source"].startswith("nsl-kdd, KDDTest+.txt")


def test_show_says_which_set_is_in_force(
    registry: Registry, rows: list[dict[str, Any]], capsys: Captured
) -> None:
    write_jsonl(Path("golden.jsonl"), rows)
    main([*SET, "golden.jsonl", *LABELS])
    main([*SET, "golden.jsonl", *LABELS, "--max-records", "500"])
    capsys.readouterr()

    assert main(["models", "evaluation", "show", "edge"]) == 0
    table = capsys.readouterr().out
    assert main(["models", "evaluation", "show", "edge", "--json"]) == 0

    assert max(map(len, table.splitlines())) <= 80
    assert "golden.jsonl, a sample of 993 rows" in table
    said = document(capsys)
    assert (said["name"], said["number"], said["n_records"]) == ("edge", 2, 500)


def test_a_set_that_is_too_small_for_the_gate_is_kept_with_a_note(
    registry: Registry, rows: list[dict[str, Any]], capsys: Captured
) -> None:
    write_jsonl(Path("golden.jsonl"), rows[-3:] + rows[:50])

    assert main([*SET, "golden.jsonl", *LABELS]) == 0

    assert "too few for the gate, which asks for 30 of each" in capsys.readouterr().err


def test_without_a_set_show_says_how_to_give_one(registry: Registry, capsys: Captured) -> None:
    assert main(["models", "evaluation", "show", "edge"]) == 3

    assert "anoean models evaluation set edge FILE" in capsys.readouterr().err


def test_a_mistyped_model_is_no_new_folder(
    registry: Registry, rows: list[dict[str, Any]], capsys: Captured
) -> None:
    write_jsonl(Path("golden.jsonl"), rows)

    assert main(["models", "evaluation", "set", "egde", "golden.jsonl", *LABELS]) == 3

    assert "no model 'egde'" in capsys.readouterr().err
    assert not (Path(registry.url) / "egde").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--normal-value", "1"), "no scored row is normal"),
        (("--normal-value", "0", "--label-column", "kind"), "no column 'kind'"),
        ((), "--normal-value VALUE is missing"),
    ],
)
def test_labels_that_do_not_tell_are_refused(
    registry: Registry,
    rows: list[dict[str, Any]],
    capsys: Captured,
    words: tuple[str, ...],
    complaint: str,
) -> None:
    write_jsonl(Path("golden.jsonl"), rows)

    assert main([*SET, "golden.jsonl", *words]) == 2

    assert complaint in capsys.readouterr().err
    assert read_evaluation(registry, "edge") is None
