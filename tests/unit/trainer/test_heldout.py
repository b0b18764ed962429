"""The evaluation set: made once from held-out rows, and never trained on again."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from anoean_stream.features.fit import FieldSpec
from anoean_stream.registry import Registry
from anoean_stream.registry.evaluation import EvaluationSet, publish_evaluation, read_evaluation
from anoean_stream.settings import TrainingSettings
from tests.support.labelled import Watch, WriteCsv, labelled_rows
from trainer.datasets.files import read_labelled
from trainer.datasets.infer import infer_fields
from trainer.datasets.table import NORMAL, LabelledTable, joined, read_columns
from trainer.heldout import HeldOutRecord, overlap, sample_records
from trainer.prepare import prepare
from trainer.run import TrainRequest, train


def table_of(rows: list[dict[str, object]], *, kinds: list[str] | None = None) -> LabelledTable:
    kinds = kinds or [NORMAL] * len(rows)
    return LabelledTable(
        name="rows",
        columns=read_columns(iter(rows), name="rows", max_rows=10_000),
        is_anomaly_N=np.array([kind != NORMAL for kind in kinds]),
        kinds_N=kinds,
        fingerprint="",
    )


def test_rows_are_found_again_as_the_model_sees_them() -> None:
    table = table_of(
        [
            {"bytes": "1", "proto": "tcp", "uid": "a", "rate": 0.5},
            {"bytes": "1.0", "proto": " tcp", "uid": "b", "rate": 0.7},
            {"bytes": 1, "proto": "udp", "uid": "c", "rate": 0.5},
            {"bytes": None, "proto": "tcp", "uid": "d", "rate": 0.5},
        ]
    )
    specs = [FieldSpec(name, kind) for name, kind in (("bytes", "number"), ("proto", "category"))]  # type: ignore[arg-type]

    found = overlap(table, specs, values=[b'{"bytes":1,"proto":"tcp","tags":[1],"uid":"z"}'])

    assert found.rows_N.tolist() == [True, True, False, False]
    assert found.fields == ("bytes", "proto")
    narrower = overlap(table, specs, values=[b'{"bytes":"many","proto":"tcp"}'])
    assert narrower.fields == ("proto",)
    assert narrower.rows_N.tolist() == [True, True, False, True]
    assert not overlap(table, specs, values=[b'{"other":1}']).rows_N.any()


def test_a_sample_keeps_the_mix_and_all_of_the_rare_kinds() -> None:
    kinds = [NORMAL] * 8000 + ["dos"] * 1900 + ["u2r"] * 60 + ["worm"] * 40
    table = table_of([{"n": n, "attack_cat": kinds[n]} for n in range(10_000)], kinds=kinds)

    records = sample_records(table, np.arange(10_000), seed=0, most=1000)

    rows = [json.loads(value) for value, _ in records]
    found = Counter(kinds[row["n"]] for row in rows)
    assert (found["u2r"], found["worm"]) == (60, 40)
    assert found[NORMAL] / found["dos"] == pytest.approx(8000 / 1900, rel=0.02)
    assert 990 <= len(records) <= 1000
    assert all(set(row) == {"n"} for row in rows)  # no column that tells the answer
    assert all(
        is_anomaly == (kinds[row["n"]] != NORMAL)
        for row, (_, is_anomaly) in zip(rows, records, strict=True)
    )
    assert records == sample_records(table, np.arange(10_000), seed=0, most=1000)


@pytest.fixture
def request_(tmp_path: Path, write_csv: WriteCsv) -> TrainRequest:
    return TrainRequest(
        folder=tmp_path / "bundle",
        name="edge",
        data=write_csv(labelled_rows()),
        label_column="label",
        normal_value="normal",
    )


def keep_first(
    request: TrainRequest, quick: TrainingSettings, folder: Path
) -> tuple[EvaluationSet, Watch]:
    """Train, and let the held-out rows become the evaluation set."""
    registry = Registry(str(folder / "models"))
    watch = Watch()

    def keep(records: list[HeldOutRecord]) -> object:
        return publish_evaluation(registry, "edge", records, source="test")

    train(replace(request, keep_evaluation=keep), settings=quick, progress=watch)  # type: ignore[arg-type]
    found = read_evaluation(registry, "edge")
    assert found is not None
    return found, watch


def test_held_out_rows_become_the_set_and_the_manifest_names_it(
    request_: TrainRequest, quick: TrainingSettings, tmp_path: Path
) -> None:
    registry = Registry(str(tmp_path / "models"))

    result = train(
        replace(
            request_,
            keep_evaluation=lambda records: publish_evaluation(
                registry, "edge", records, source="test"
            ),
        ),
        settings=quick,
        progress=Watch(),
    )

    kept = read_evaluation(registry, "edge")
    assert kept is not None
    training = result.manifest.training
    assert training["evaluation"] == {
        "number": 1,
        "sha256": kept.info.sha256,
        "rows_in_it": 0,
    }
    assert kept.info.records == training["validation_normals"] + training["validation_anomalies"]
    assert kept.info.anomalies == training["validation_anomalies"]
    assert not any(b"label" in value for value in kept.values)


def test_rows_of_the_set_are_never_trained_on_with_another_seed(
    request_: TrainRequest, quick: TrainingSettings, tmp_path: Path
) -> None:
    kept, _ = keep_first(request_, quick, tmp_path)
    other = quick.model_copy(update={"seed": 5, "epochs": 1})
    table = read_labelled(
        request_.data or tmp_path, label_column="label", normal_value="normal", max_rows=10_000
    )
    inferred = infer_fields(table)

    def trained_on(held_out_N: NDArray[np.bool_] | None) -> set[bytes]:
        prepared = prepare(table, inferred, settings=other, held_out_N=held_out_N)
        return {value for value, _ in sample_records(table, prepared.split.training, seed=0)}

    in_set = overlap(table, inferred.specs, values=kept.values)

    assert len(trained_on(None) & set(kept.values)) > 100  # another seed draws other rows
    assert not trained_on(in_set.rows_N) & set(kept.values)
    watch = Watch()
    train(replace(request_, evaluation=kept), settings=other, progress=watch)
    n_records = kept.info.records
    assert any(f"{n_records:,} rows are in evaluation set 1" in line for line in watch.stages)


def test_the_same_file_and_seed_give_the_same_split_again(
    request_: TrainRequest, quick: TrainingSettings, tmp_path: Path
) -> None:
    kept, first = keep_first(request_, quick, tmp_path)
    again = Watch()

    train(replace(request_, evaluation=kept), settings=quick, progress=again)

    assert [epoch.discriminator_loss for epoch in again.epochs] == [
        epoch.discriminator_loss for epoch in first.epochs
    ]


def test_two_tables_join_by_name_and_a_gap_is_missing(write_csv: WriteCsv) -> None:
    header = ("bytes", "up", "label")
    first = read_labelled(
        write_csv([("1", "true", "n"), ("2", "false", "x")], header=header),
        label_column="label",
        normal_value="n",
        max_rows=10,
    )
    second = table_of([{"bytes": 2, "up": True, "ttl": 3}, {"bytes": 1, "up": 1, "ttl": None}])

    both = joined(first, second, name="both")

    assert [both.row(row) for row in range(4)] == [
        {"bytes": "1", "up": "true", "ttl": None},
        {"bytes": "2", "up": "false", "ttl": None},
        {"bytes": 2, "up": True, "ttl": 3},
        {"bytes": 1, "up": 1, "ttl": None},
    ]
    assert both.is_anomaly_N.tolist() == [False, True, False, False]
    assert list(both.kinds_N) == [NORMAL, "x", NORMAL, NORMAL]
