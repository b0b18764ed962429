"""NSL-KDD for real: trained, published to Kafka, scored by the worker, compared with a file."""

import csv
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from anoean_stream.records.files import dataset_file, read_rows, row_to_json
from anoean_stream.records.kdd import KDD_COLUMNS
from tests.support.kafka_broker import KafkaBroker
from tests.support.topics import read_all
from tests.support.worker import WorkerProcess

N_TEST_ROWS = 22_544
TRAIN_LIMIT_S = 180.0


def anoean(*words: str, timeout_s: float = 300.0) -> dict[str, Any]:
    """Run a command with --json and return its object."""
    done = subprocess.run(
        [sys.executable, "-m", "anoean_stream", *words, "--json"],
        stdout=subprocess.PIPE,
        check=True,
        timeout=timeout_s,
    )
    document = json.loads(done.stdout)
    assert isinstance(document, dict)
    return document


def row_key(row: Mapping[str, object]) -> tuple[object, ...]:
    """The 41 features of a row: rows that agree in them must have the same score."""
    return tuple(row[name] for name in KDD_COLUMNS)


def rows_of_the_file(data_dir: Path) -> list[tuple[object, ...]]:
    path, columns = dataset_file("nsl-kdd", "test", data_dir / "nsl-kdd")
    return [row_key(json.loads(row_to_json(row))) for row in read_rows(path, columns=columns)]


def scores_in(path: Path) -> list[float]:
    with path.open(newline="") as file:
        return [float(row["score"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, data_dir: Path
) -> tuple[Path, dict[str, Any]]:
    """Registry folder, and what `anoean train` printed."""
    registry = tmp_path_factory.mktemp("registry") / "models"
    report = anoean(
        "train", "--dataset", "nsl-kdd", "--data-dir", str(data_dir / "nsl-kdd"),
        "--set", f"registry.url={registry}",
    )  # fmt: skip
    return registry, report


@pytest.mark.timeout(400)
def test_training_reaches_an_aupr_of_099_within_three_minutes(
    trained: tuple[Path, dict[str, Any]],
) -> None:
    _, report = trained

    assert report["metrics"]["aupr"] >= 0.99
    assert report["seconds"] < TRAIN_LIMIT_S


@pytest.mark.timeout(400)
def test_worker_gives_the_test_set_the_scores_that_the_file_gets(  # noqa: PLR0917  # fixtures
    trained: tuple[Path, dict[str, Any]],
    data_dir: Path,
    kafka_broker: KafkaBroker,
    new_topic: Callable[..., str],
    new_group: Callable[[], str],
    tmp_path: Path,
) -> None:
    registry, _ = trained
    flows, alerts, dead_letters = (new_topic(stem) for stem in ("flows", "alerts", "dlq"))
    dataset = ("--dataset", "nsl-kdd", "--split", "test", "--data-dir", str(data_dir / "nsl-kdd"))
    scores_file = tmp_path / "scores.csv"
    anoean("score", *dataset, "--output", str(scores_file), "--set", f"registry.url={registry}")
    published = anoean(
        "publish", *dataset, "--topic", flows,
        "--set", f"broker.bootstrap_servers={kafka_broker.bootstrap}",
    )  # fmt: skip
    settings = {
        "topics.input": flows,
        "topics.alerts": alerts,
        "topics.dead_letters": dead_letters,
        "consumer.group_id": new_group(),
        "scoring.false_positive_rate": 1.0,  # every record alerts, so that every score is seen
    }

    with WorkerProcess(kafka_broker.bootstrap, registry, settings) as worker:
        metrics = worker.ready().wait_for_records(N_TEST_ROWS, timeout_s=120)
        assert worker.stop() == 0

    assert published["acknowledged"] == N_TEST_ROWS
    assert metrics["anoean_scored_total"] == N_TEST_ROWS
    seen = [json.loads(record.value or b"") for record in read_all(kafka_broker.bootstrap, alerts)]
    places = {(alert["source"]["partition"], alert["source"]["offset"]) for alert in seen}
    assert len(seen) == len(places) == N_TEST_ROWS
    by_row = dict(zip(rows_of_the_file(data_dir), scores_in(scores_file), strict=True))
    by_worker = [alert["score"] for alert in seen]
    by_file = [by_row[row_key(alert["original"])] for alert in seen]
    np.testing.assert_allclose(by_worker, by_file, rtol=1e-5, atol=1e-5)
    assert Counter(row_key(alert["original"]) for alert in seen) == Counter(
        rows_of_the_file(data_dir)
    )


@pytest.mark.timeout(400)
def test_scores_of_the_test_set_reach_an_aupr_of_093(
    trained: tuple[Path, dict[str, Any]], data_dir: Path, tmp_path: Path
) -> None:
    registry, _ = trained
    folder = data_dir / "nsl-kdd"
    scores_file = tmp_path / "scores.csv"
    anoean(
        "score", "--dataset", "nsl-kdd", "--split", "test", "--data-dir", str(folder),
        "--output", str(scores_file), "--set", f"registry.url={registry}",
    )  # fmt: skip
    path, columns = dataset_file("nsl-kdd", "test", folder)

    is_attack = [row["label"] != "normal" for row in read_rows(path, columns=columns)]

    assert average_precision_score(is_attack, scores_in(scores_file)) >= 0.93
