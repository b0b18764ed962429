"""Training that begins from a version: the same latents, the same fields, fewer epochs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anoean_stream.detector.bundle import read_bundle_folder
from anoean_stream.errors import ConfigError, DataError
from anoean_stream.settings import TrainingSettings
from tests.support.labelled import HEADER, Watch, WriteCsv, labelled_rows
from tests.support.models import make_bundle, make_detector, make_rows
from tests.support.retraining import flows, write_labelled
from trainer.batches import Rows
from trainer.run import TrainRequest, train
from trainer.warmstart import WarmStart, torch_encoder


@pytest.fixture
def request_(tmp_path: Path, write_csv: WriteCsv) -> TrainRequest:
    return TrainRequest(
        folder=tmp_path / "bundle",
        name="test-model",
        data=write_csv(labelled_rows()),
        label_column="label",
        normal_value="normal",
    )


def start_from(folder: Path) -> WarmStart:
    return WarmStart("test-model", "1", read_bundle_folder(folder))


@pytest.mark.parametrize("hidden", [(16, 8), (16,), ()])
def test_the_torch_network_of_a_bundle_computes_its_latents(
    hidden: tuple[int, ...], tmp_path: Path
) -> None:
    make_bundle(tmp_path, detector=make_detector(hidden=hidden))
    detector = read_bundle_folder(tmp_path).detector
    features = detector.contract.transform(detector.contract.raw_from_rows(make_rows(500, seed=3)))

    inputs = Rows.of(features)
    with torch.inference_mode():
        latents_NZ = torch_encoder(detector.encoder)(inputs.dense_ND, inputs.codes_NC).numpy()

    np.testing.assert_allclose(latents_NZ, detector.encoder.forward(features), rtol=1e-4, atol=1e-4)


def test_the_contract_stays_and_the_manifest_names_the_start(
    request_: TrainRequest, quick: TrainingSettings, write_csv: WriteCsv, tmp_path: Path
) -> None:
    train(request_, settings=quick, progress=Watch())
    start = start_from(request_.folder)
    watch = Watch()

    again = train(
        replace(
            request_,
            folder=tmp_path / "again",
            warm_start=start,
            data=write_csv(labelled_rows(seed=7), name="newer.csv"),
        ),
        settings=quick.model_copy(update={"learning_rate": 5e-4}),
        progress=watch,
    )

    bundle = read_bundle_folder(tmp_path / "again")
    assert bundle.detector.contract == start.contract
    assert again.manifest.training["warm_start"] == start.provenance
    assert any("training.learning_rate is 0.0005, was 0.001" in note for note in watch.notes)


def test_a_warm_start_needs_fewer_epochs_than_a_cold_one(tmp_path: Path) -> None:
    settings = TrainingSettings(
        latent_dim=8, encoder_hidden=(64, 32), epochs=8, false_positive_rate=0.01, threads=1
    )
    request = TrainRequest(
        folder=tmp_path / "first",
        name="test-model",
        data=write_labelled(tmp_path / "monday.jsonl", flows(5000, seed=1, share=0.1)),
        label_column="label",
        normal_value="0",
        attack_column="attack",
    )
    train(request, settings=settings, progress=Watch())
    later = replace(
        request,
        folder=tmp_path / "later",
        data=write_labelled(tmp_path / "tuesday.jsonl", flows(5000, seed=2, share=0.1)),
    )

    cold, warm = Watch(), Watch()
    train(later, settings=settings, progress=cold)
    start = start_from(request.folder)
    train(replace(later, warm_start=start), settings=settings, progress=warm)

    def epochs_to(watch: Watch, aupr: float) -> int:
        reached = [epoch.number for epoch in watch.epochs if epoch.validation_aupr >= aupr]
        return min(reached, default=settings.epochs + 1)

    goal = max(epoch.validation_aupr for epoch in cold.epochs)
    assert epochs_to(warm, goal) == 1
    assert epochs_to(cold, goal) > 2


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"latent_dim": 5}, r"32, 16, 4 units.*32, 16, 5.*training\.latent_dim=4"),
        ({"encoder_hidden": (32,)}, r"training\.encoder_hidden=\[32,16\]"),
    ],
)
def test_other_shapes_are_an_error_that_gives_the_right_ones(
    request_: TrainRequest,
    quick: TrainingSettings,
    change: dict[str, object],
    complaint: str,
) -> None:
    train(request_, settings=quick, progress=Watch())
    start = start_from(request_.folder)

    with pytest.raises(ConfigError, match=complaint):
        train(
            replace(request_, warm_start=start),
            settings=quick.model_copy(update=change),
            progress=Watch(),
        )


def test_data_without_a_field_of_the_start_is_an_error_that_names_it(
    request_: TrainRequest, quick: TrainingSettings, write_csv: WriteCsv
) -> None:
    train(request_, settings=quick, progress=Watch())
    start = start_from(request_.folder)
    data = write_csv([row[1:] for row in labelled_rows()], header=HEADER[1:], name="less.csv")

    with pytest.raises(DataError, match="has no duration, which test-model@1 reads"):
        train(replace(request_, data=data, warm_start=start), settings=quick, progress=Watch())


def test_a_features_file_and_a_start_contradict_each_other(
    request_: TrainRequest, quick: TrainingSettings, tmp_path: Path
) -> None:
    train(request_, settings=quick, progress=Watch())
    start = start_from(request_.folder)

    with pytest.raises(ConfigError, match="drop one"):
        train(
            replace(request_, warm_start=start, features=tmp_path / "features.yaml"),
            settings=quick,
            progress=Watch(),
        )
