"""A bundle written and read back."""

import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest

from anoean_stream.detector.bundle import FILES, Golden, read_bundle, read_bundle_folder
from anoean_stream.errors import ConfigError, ManifestError
from tests.support.models import (
    json_decode,
    make_bundle,
    make_detector,
    make_golden,
    make_rows,
)


def test_a_bundle_scores_as_the_detector_it_was_written_from(tmp_path: Path) -> None:
    detector = make_detector()
    make_bundle(tmp_path / "edge", detector=detector)

    bundle = read_bundle_folder(tmp_path / "edge")

    contract = bundle.detector.contract
    features = contract.transform(contract.raw_from_rows(make_rows(50, seed=4)))
    expected, seen = detector.score(features), bundle.detector.score(features)
    assert contract.id == detector.contract.id
    np.testing.assert_array_equal(seen.distance_B, expected.distance_B)
    np.testing.assert_array_equal(seen.p_value_B, expected.p_value_B)
    bundle.verify(json_decode(contract))


def test_a_bundle_is_five_files_and_nothing_partial(tmp_path: Path) -> None:
    make_bundle(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)


def test_the_manifest_is_written_for_people_and_says_what_matters(tmp_path: Path) -> None:
    written = make_bundle(tmp_path, name="edge", false_positive_rate=0.02, metrics={"aupr": 0.75})

    text = (tmp_path / "manifest.json").read_text()

    assert '\n  "name": "edge",\n' in text
    assert '"aupr": 0.75' in text
    bundle = read_bundle_folder(tmp_path)
    assert bundle.manifest == written
    assert bundle.manifest.false_positive_rate == 0.02
    assert bundle.manifest.threshold == bundle.detector.calibration.threshold(0.02)
    assert bundle.manifest.latent_dim == 4
    assert bundle.manifest.created_at.endswith("Z")
    assert set(bundle.manifest.files) == set(FILES[1:])


def test_the_identity_of_a_bundle_is_the_hash_of_its_manifest(tmp_path: Path) -> None:
    make_bundle(tmp_path / "a", seed=0)
    make_bundle(tmp_path / "b", seed=1)

    a, b = read_bundle_folder(tmp_path / "a"), read_bundle_folder(tmp_path / "b")

    assert len(a.sha256) == 64
    assert a.sha256 == read_bundle_folder(tmp_path / "a").sha256
    assert a.sha256 != b.sha256


def test_other_files_in_the_folder_are_not_part_of_the_bundle(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    before = read_bundle_folder(tmp_path).sha256
    (tmp_path / "report.json").write_text("{}")

    assert read_bundle_folder(tmp_path).sha256 == before


def test_writing_over_a_bundle_replaces_it(tmp_path: Path) -> None:
    make_bundle(tmp_path, seed=0)
    make_bundle(tmp_path, seed=1)

    assert read_bundle_folder(tmp_path).detector.contract.id == make_detector(seed=1).contract.id


def test_a_reader_beside_a_writer_sees_a_whole_bundle_or_an_error_but_never_a_mixture(
    tmp_path: Path,
) -> None:
    detectors = [make_detector(seed=seed) for seed in (0, 1)]
    ids = {detector.contract.id for detector in detectors}
    make_bundle(tmp_path, detector=detectors[0])
    done = threading.Event()

    def write() -> None:
        for turn in range(20):
            make_bundle(tmp_path, detector=detectors[turn % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    n_whole = 0
    while not done.is_set():
        try:
            bundle = read_bundle_folder(tmp_path)
        except Exception as error:  # noqa: BLE001  # what it may be is the question
            assert type(error).__name__ in {"ManifestError", "IntegrityError"}, error  # noqa: PT017
        else:
            assert bundle.detector.contract.id in ids
            bundle.verify(json_decode(bundle.detector.contract))
            n_whole += 1
    writer.join()

    bundle = read_bundle_folder(tmp_path)
    assert bundle.detector.contract.id == detectors[1].contract.id


def test_an_interrupted_writer_leaves_no_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_bundle(tmp_path)
    replace = Path.replace

    def fail_on_weights(self: Path, target: Path) -> Path:
        if target.name == "weights.safetensors":
            msg = "disk full"
            raise OSError(msg)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail_on_weights)
    with pytest.raises(OSError, match="disk full"):
        make_bundle(tmp_path, seed=1)

    with pytest.raises(ManifestError, match="half written"):
        read_bundle_folder(tmp_path)


def test_what_cannot_be_served_is_not_written(tmp_path: Path) -> None:
    detector = make_detector(n_calibration=100)

    with pytest.raises(ConfigError, match="100 normal records"):
        make_bundle(tmp_path / "a", detector=detector, false_positive_rate=1e-4)
    with pytest.raises(ValueError, match="below 1"):
        make_bundle(tmp_path / "a", detector=detector, false_positive_rate=1.0)
    with pytest.raises(ValueError, match=r"\['aupr'\] are not finite"):
        make_bundle(tmp_path / "a", detector=detector, metrics={"aupr": float("nan")})
    assert not (tmp_path / "a").exists()


def test_a_golden_batch_that_proves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="2 records and 1 scores"):
        Golden(records=("{}", "{}"), scores=(1.0,))
    with pytest.raises(ValueError, match="at least one"):
        Golden(records=(), scores=())
    with pytest.raises(ValueError, match="not finite"):
        Golden(records=("{}",), scores=(float("nan"),))


def test_the_golden_scores_are_those_of_the_detector(tmp_path: Path) -> None:
    detector = make_detector()
    rows = make_rows(3, seed=12)

    golden = make_golden(detector, rows=rows)

    raw = detector.contract.raw_from_rows(rows)
    expected = detector.distances(detector.contract.transform(raw))
    assert golden.scores == tuple(expected.tolist())
    assert [msgspec.json.decode(record) for record in golden.records] == rows


def test_a_bundle_is_read_from_memory_as_well(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    files = {file: (tmp_path / file).read_bytes() for file in FILES}

    bundle = read_bundle(files, origin="memory://models/edge/1")

    assert bundle.origin == "memory://models/edge/1"
    assert bundle.sha256 == read_bundle_folder(tmp_path).sha256
