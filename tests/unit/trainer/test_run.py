"""A whole training: from a file to a bundle that the worker's code verifies."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anoean_stream.detector.bundle import Bundle, Golden, read_bundle_folder
from anoean_stream.errors import ConfigError, DataError, IntegrityError, TrainingError
from anoean_stream.settings import TrainingSettings
from tests.support.labelled import HEADER, Watch, WriteCsv, flow_rows, labelled_rows
from trainer.evaluate import figures_of_merit
from trainer.export import json_decode
from trainer.networks import Encoder
from trainer.run import TrainRequest, TrainResult, train

PNG = b"\x89PNG\r\n"


@pytest.fixture
def request_(tmp_path: Path, write_csv: WriteCsv) -> TrainRequest:
    return TrainRequest(
        folder=tmp_path / "bundle",
        name="test-model",
        data=write_csv(labelled_rows(), name="flows.csv.gz"),
        label_column="label",
        normal_value="normal",
        checkpoint=tmp_path / "train.checkpoint",
    )


def score(bundle: Bundle, records: list[dict[str, object]]) -> list[float]:
    contract = bundle.detector.contract
    raw = json_decode(contract)([json.dumps(record).encode() for record in records])
    distances: list[float] = bundle.detector.distances(contract.transform(raw)).tolist()
    return distances


def test_unseen_rows_are_separated_by_the_worker(
    request_: TrainRequest, quick: TrainingSettings, watch: Watch
) -> None:
    result = train(request_, settings=quick, progress=watch)

    bundle = read_bundle_folder(request_.folder)
    bundle.verify(json_decode(bundle.detector.contract))
    unseen = [
        *flow_rows(500, seed=50),
        *flow_rows(30, seed=51, label="scan"),
        *flow_rows(30, seed=52, label="exfiltration"),
    ]
    kinds = [str(row[-1]) for row in unseen]
    scores = score(bundle, [dict(zip(HEADER, row, strict=True)) for row in unseen])
    figures = figures_of_merit(scores, [kind != "normal" for kind in kinds], kinds)
    assert figures["aupr"] > 0.97
    assert result.manifest.metrics["aupr"] > 0.97
    assert result.manifest.name == "test-model"
    alerts = np.mean(np.array(scores[:500]) > result.manifest.threshold)
    assert alerts < 0.05  # asked for 1 %
    assert not request_.checkpoint.exists()  # type: ignore[union-attr]


def test_the_report_has_what_a_person_needs(
    request_: TrainRequest, quick: TrainingSettings, watch: Watch
) -> None:
    train(request_, settings=quick, progress=watch)

    folder = request_.folder / "report"
    report = json.loads((folder / "report.json").read_text())
    assert set(report["figures"]) == {
        "aupr",
        "roc_auc",
        "best_f1",
        "best_f1_threshold",
        "accuracy",
        "recall_at_fpr_0.001",
        "recall_at_fpr_0.01",
        "recall_by_kind_at_fpr_0.01",
    }
    assert set(report["figures"]["recall_by_kind_at_fpr_0.01"]) == {"scan", "exfiltration"}
    assert "address" in report["features"]["excluded"]["src_ip"]
    assert report["features"]["flags"] == ["encrypted"]
    assert len(report["epochs"]) == len(watch.epochs) > 0
    assert report["training"]["seed"] == quick.seed
    assert report["training"]["training_normals"] == 1200
    assert report["training"]["training_anomalies"] == 128
    card = (folder / "MODEL_CARD.md").read_text()
    assert "# Model card: test-model" in card
    assert "| scan |" in card
    assert "- `src_ip`: an address" in card
    for picture in ("losses.png", "scores.png"):
        assert (folder / picture).read_bytes().startswith(PNG)
    assert any("left out 'src_ip'" in line for line in watch.stages)


def test_golden_records_are_real_rows_with_the_fields_of_the_contract(
    request_: TrainRequest, quick: TrainingSettings, watch: Watch
) -> None:
    train(request_, settings=quick, progress=watch)

    bundle = read_bundle_folder(request_.folder)
    records = [json.loads(record) for record in bundle.golden.records]
    assert len(records) == 64
    assert all(set(record) == {"duration", "bytes", "service", "encrypted"} for record in records)
    assert sum(score > bundle.manifest.threshold for score in bundle.golden.scores) >= 12
    swapped = Golden(bundle.golden.records, bundle.golden.scores[::-1])
    with pytest.raises(IntegrityError, match="golden"):
        replace(bundle, golden=swapped).verify(json_decode(bundle.detector.contract))


def test_the_same_training_gives_the_same_bundle(
    request_: TrainRequest, quick: TrainingSettings, watch: Watch, tmp_path: Path
) -> None:
    first = train(request_, settings=quick, progress=watch)
    again = train(replace(request_, folder=tmp_path / "again"), settings=quick, progress=watch)

    assert first.manifest.files == again.manifest.files


def test_ctrl_c_leaves_the_best_model_so_far_and_resume_goes_on(
    request_: TrainRequest, quick: TrainingSettings, tmp_path: Path
) -> None:
    watch = Watch(interrupt_in_epoch=2)

    stopped = train(request_, settings=quick, progress=watch)

    bundle = read_bundle_folder(request_.folder)
    bundle.verify(json_decode(bundle.detector.contract))
    assert stopped.interrupted
    assert stopped.manifest.training["interrupted"]
    assert "stopped by Ctrl-C after 1 epochs" in watch.notes[-1]
    assert "--resume" in watch.notes[-1]

    resumed = train(
        replace(request_, resume=True, folder=tmp_path / "resumed"),
        settings=quick,
        progress=Watch(),
    )
    unbroken = train(
        replace(request_, folder=tmp_path / "unbroken", checkpoint=None),
        settings=quick,
        progress=Watch(),
    )

    def history(result: TrainResult) -> list[tuple[float, float]]:
        return [(e["discriminator_loss"], e["validation_aupr"]) for e in result.report["epochs"]]

    assert history(resumed) == history(unbroken)
    assert resumed.manifest.files == unbroken.manifest.files


def test_ctrl_c_before_the_first_epoch_leaves_nothing(
    request_: TrainRequest, quick: TrainingSettings
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(request_, settings=quick, progress=Watch(interrupt_in_epoch=1))

    assert not request_.folder.exists()


def test_a_checkpoint_that_cannot_be_written_does_not_cost_the_model(
    request_: TrainRequest, quick: TrainingSettings, watch: Watch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    request = replace(request_, checkpoint=tmp_path / "file" / "train.checkpoint")

    train(request, settings=quick, progress=watch)

    assert read_bundle_folder(request.folder).manifest.name == "test-model"
    assert [note for note in watch.notes if "no checkpoints" in note] == [watch.notes[0]]


def test_a_rate_that_few_normals_cannot_vouch_for_is_raised_and_said(
    request_: TrainRequest, quick: TrainingSettings, watch: Watch
) -> None:
    settings = quick.model_copy(update={"false_positive_rate": 1e-5, "epochs": 1})

    result = train(request_, settings=settings, progress=watch)

    assert result.manifest.false_positive_rate == pytest.approx(1 / 301)
    assert "300 normal validation rows can vouch for" in watch.notes[0]


def test_an_export_that_differs_from_torch_is_an_error(
    request_: TrainRequest,
    quick: TrainingSettings,
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = Encoder.to_tensors

    def bent(
        encoder: Encoder,
    ) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        tensors = original(encoder)
        tensors["hidden.1.bias"] = tensors["hidden.1.bias"] + np.float32(0.01)
        return tensors

    monkeypatch.setattr(Encoder, "to_tensors", bent)

    with pytest.raises(TrainingError, match="torch and numpy differ by"):
        train(request_, settings=quick, progress=watch)
    assert not request_.folder.exists()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"data": None}, "got neither"),
        ({"dataset": "nsl-kdd"}, "got both"),
        ({"label_column": None}, "--data needs --label-column"),
        ({"normal_value": None}, "--data needs --label-column NAME and --normal-value"),
        ({"data": None, "dataset": "iris"}, "unknown data set 'iris'; known are: nsl-kdd, kdd99"),
        ({"data": None, "dataset": "kdd99"}, "needs --data-dir"),
    ],
)
def test_a_request_that_cannot_work_says_what_is_missing(
    request_: TrainRequest,
    quick: TrainingSettings,
    watch: Watch,
    change: dict[str, object],
    complaint: str,
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        train(replace(request_, **change), settings=quick, progress=watch)  # type: ignore[arg-type]


def test_nsl_kdd_reaches_0_99_in_a_few_epochs_on_a_part_of_it(
    data_dir: Path, tmp_path: Path, watch: Watch
) -> None:
    settings = TrainingSettings(epochs=3, max_rows=200_000)
    request = TrainRequest(
        folder=tmp_path, name="nsl", dataset="nsl-kdd", data_dir=data_dir / "nsl-kdd"
    )

    result = train(request, settings=settings, progress=watch)

    assert result.manifest.metrics["aupr"] > 0.99
    assert "num_outbound_cmds" in result.report["features"]["excluded"]


def test_the_cicids2017_sample_trains_with_its_faults(
    data_dir: Path, tmp_path: Path, watch: Watch
) -> None:
    request = TrainRequest(
        folder=tmp_path,
        name="web",
        data=data_dir / "cicids2017" / "Thursday_WebAttacks_sample_raw-header.csv.gz",
        label_column="Label",
        normal_value="benign",
    )

    result = train(request, settings=TrainingSettings(epochs=3), progress=watch)

    assert result.manifest.metrics["aupr"] > 0.9
    excluded = result.report["features"]["excluded"]
    assert "a copy of 'Fwd Header Length'" in excluded["Fwd Header Length.1"]
    contract = read_bundle_folder(tmp_path).detector.contract
    assert "missing(Flow Bytes/s)" in contract.dense_names


def test_the_nf_bot_iot_file_trains_without_addresses_and_labels(
    data_dir: Path, tmp_path: Path, watch: Watch
) -> None:
    request = TrainRequest(
        folder=tmp_path,
        name="iot",
        data=data_dir / "netflow" / "NF-BoT-IoT-v2_reduced.csv.gz",
        label_column="Label",
        normal_value="0",
        attack_column="Attack",
    )

    result = train(request, settings=TrainingSettings(epochs=2), progress=watch)

    names = read_bundle_folder(tmp_path).detector.contract.field_names
    assert {
        "IPV4_SRC_ADDR",
        "IPV4_DST_ADDR",
        "L4_SRC_PORT",
        "Dataset",
        "Label",
        "Attack",
    }.isdisjoint(names)
    assert set(result.report["at_threshold"]["recall_by_kind"]) == {
        "DDoS",
        "DoS",
        "Reconnaissance",
        "Theft",
    }
    assert result.manifest.metrics["aupr"] > 0.99


def test_a_table_without_anomalies_is_refused(
    request_: TrainRequest, quick: TrainingSettings, watch: Watch, write_csv: WriteCsv
) -> None:
    request = replace(request_, data=write_csv(flow_rows(50, seed=0)))

    with pytest.raises(DataError, match="every row is normal"):
        train(request, settings=quick, progress=watch)
