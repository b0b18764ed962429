"""The gate on NSL-KDD: what learnt nothing is refused, what is as good is accepted."""

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest

from anoean_stream.cli import main
from anoean_stream.records.files import dataset_file, read_rows
from anoean_stream.registry import Registry

Captured = pytest.CaptureFixture[str]

N_ROWS = 12_000
"""Of 125,973 training rows: enough for a held-out AUPR of 0.99 after five epochs of a second each."""

ALONE = ("--set", "topics.audit=null", "--set", "topics.control=null")
FAST = ("--set", "training.epochs=5", "--set", "training.false_positive_rate=0.01")


def write_training_rows(data_dir: Path, *, shuffled: bool) -> Path:
    """Write a part of KDDTrain+; shuffled, each row has the label of another."""
    path, columns = dataset_file("nsl-kdd", "train", data_dir / "nsl-kdd")
    rng = random.Random(0)
    rows = rng.sample(list(read_rows(path, columns=columns)), N_ROWS)
    labels = [row["label"] for row in rows]
    if shuffled:
        rng.shuffle(labels)
    file = Path("shuffled.csv" if shuffled else "flows.csv")
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, columns)
        writer.writeheader()
        writer.writerows(row | {"label": label} for row, label in zip(rows, labels, strict=True))
    return file


def anoean(capsys: Captured, *words: str, exit_code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*words, *ALONE, "--json"]) == exit_code
    said = capsys.readouterr()
    document: dict[str, Any] = json.loads(said.out)
    return document | {"stderr": said.err}


def train(capsys: Captured, file: Path, *, seed: int) -> str:
    words = ("--data", str(file), "--label-column", "label", "--normal-value", "normal")
    trained = anoean(
        capsys, "train", *words, "--name", "edge", *FAST, "--set", f"training.seed={seed}"
    )
    return str(trained["version"])


@pytest.mark.timeout(180)
def test_shuffled_labels_are_refused_and_an_equal_model_is_accepted(
    data_dir: Path, empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(empty_folder / "cache"))
    flows = write_training_rows(data_dir, shuffled=False)
    champion = train(capsys, flows, seed=1)
    equal = train(capsys, flows, seed=2)
    nonsense = train(capsys, write_training_rows(data_dir, shuffled=True), seed=1)
    # Rows that none of them has seen.
    anoean(
        capsys, "models", "evaluation", "set", "edge", "--max-records", "2000",
        "--dataset", "nsl-kdd", "--split", "test", "--data-dir", str(data_dir / "nsl-kdd"),
    )  # fmt: skip
    registry = Registry("models")
    promote = ("models", "promote", "edge", "--set", "gate.online=false")

    refused = anoean(capsys, *promote, nonsense, exit_code=3)

    assert registry.aliases("edge") == {"champion": champion}
    assert refused["outcome"] == "refused"
    aupr = next(rule for rule in refused["rules"] if rule["rule"] == "aupr")
    assert not aupr["passed"]
    assert aupr["figures"]["high"] < 0
    assert "- aupr: AUPR" in refused["stderr"]

    accepted = anoean(capsys, *promote, equal)

    assert registry.aliases("edge") == {"champion": equal, "previous": champion}
    assert accepted["outcome"] == "promoted"
    assert all(rule["passed"] for rule in accepted["rules"])
    figures = {rule["rule"]: rule["figures"] for rule in accepted["rules"]}
    assert figures["aupr"]["candidate"] > 0.9
    print(refused["rules"], accepted["rules"], sep="\n")  # noqa: T201 - figures, for `pytest -s`
