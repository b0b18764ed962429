"""Every way in which a bundle can be broken: refused, with a sentence naming origin and file."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import safetensors.numpy

from anoean_stream.detector.bundle import (
    CALIBRATION,
    CONTRACT,
    FILES,
    GOLDEN,
    MANIFEST,
    WEIGHTS,
    Bundle,
    FileDigest,
    Golden,
    Manifest,
    read_bundle,
    read_bundle_folder,
)
from anoean_stream.errors import (
    BundleError,
    IncompatibleBundleError,
    IntegrityError,
    ManifestError,
)
from anoean_stream.features.batch import RawBatch
from tests.support.models import json_decode, make_bundle, make_contract

ORIGIN = "models/edge/versions/7"

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("bundle")
    make_bundle(folder)
    return {file: (folder / file).read_bytes() for file in FILES}


@pytest.fixture
def files(intact: Files) -> Files:
    return dict(intact)


def refusal(files: Files, kind: type[BundleError], *, file: str) -> str:
    """Read a broken bundle; return the sentence after checking what every sentence must have."""
    with pytest.raises(BundleError) as caught:
        read_bundle(files, origin=ORIGIN)
    sentence = str(caught.value)
    assert type(caught.value) is kind, sentence
    assert caught.value.file == file, sentence
    assert ORIGIN in sentence
    assert file in sentence
    return sentence


def sealed_with(files: Files, *, file: str, data: bytes) -> Files:
    """Put in another file as a faulty trainer would: with the right hash in the manifest."""
    manifest = Manifest.from_json(files[MANIFEST], origin=ORIGIN)
    digests = manifest.files | {file: FileDigest.of(data)}
    return files | {file: data, MANIFEST: resealed(files, files=digests)}


def resealed(files: Files, /, **changes: Any) -> bytes:
    manifest = Manifest.from_json(files[MANIFEST], origin=ORIGIN)
    return msgspec.structs.replace(manifest, **changes).sealed().to_json()


def weights_with(files: Files, change: Callable[[dict[str, Any]], None]) -> Files:
    tensors = safetensors.numpy.load(files[WEIGHTS])
    change(tensors)
    return sealed_with(files, file=WEIGHTS, data=safetensors.numpy.save(tensors))


def test_the_untouched_bundle_is_read(files: Files) -> None:
    assert isinstance(read_bundle(files, origin=ORIGIN), Bundle)


def test_a_bundle_without_manifest_is_half_written(files: Files) -> None:
    del files[MANIFEST]

    assert "half written" in refusal(files, ManifestError, file=MANIFEST)


@pytest.mark.parametrize("file", FILES[1:])
def test_a_missing_file(files: Files, file: str) -> None:
    del files[file]

    assert "is missing" in refusal(files, IntegrityError, file=file)


@pytest.mark.parametrize("file", FILES[1:])
def test_a_truncated_file(files: Files, file: str) -> None:
    files[file] = files[file][:-1]

    sentence = refusal(files, IntegrityError, file=file)

    assert f"{len(files[file])} bytes" in sentence
    assert "truncated" in sentence


@pytest.mark.parametrize("file", FILES[1:])
def test_an_empty_file(files: Files, file: str) -> None:
    files[file] = b""

    assert "has 0 bytes" in refusal(files, IntegrityError, file=file)


@pytest.mark.parametrize("file", FILES[1:])
@pytest.mark.parametrize("where", [0.0, 0.5, 0.999])
def test_one_changed_byte(files: Files, file: str, where: float) -> None:
    data = bytearray(files[file])
    data[int(where * len(data))] ^= 1
    files[file] = bytes(data)

    sentence = refusal(files, IntegrityError, file=file)

    assert "was changed" in sentence
    assert hashlib.sha256(data).hexdigest() in sentence


def test_a_truncated_manifest(files: Files) -> None:
    files[MANIFEST] = files[MANIFEST][: len(files[MANIFEST]) // 2]

    assert "not readable" in refusal(files, ManifestError, file=MANIFEST)


def test_an_empty_manifest(files: Files) -> None:
    files[MANIFEST] = b""

    assert "not readable" in refusal(files, ManifestError, file=MANIFEST)


def test_any_changed_byte_of_the_manifest_is_noticed(files: Files) -> None:
    original = files[MANIFEST]
    for place in range(len(original)):
        data = bytearray(original)
        data[place] ^= 1
        with pytest.raises((ManifestError, IntegrityError)) as caught:
            read_bundle(files | {MANIFEST: bytes(data)}, origin=ORIGIN)
        assert caught.value.file == MANIFEST
        assert f"{ORIGIN}: {MANIFEST}" in str(caught.value)


def test_a_metric_edited_by_hand_is_noticed(files: Files) -> None:
    files[MANIFEST] = files[MANIFEST].replace(b'"aupr": 0.5', b'"aupr": 0.9')

    assert "was changed after it was written" in refusal(files, IntegrityError, file=MANIFEST)


def test_a_manifest_of_another_format_version(files: Files) -> None:
    files[MANIFEST] = b'{"format_version": 2, "layout": "not known here"}'

    sentence = refusal(files, ManifestError, file=MANIFEST)

    assert "format version 2, this program reads 1" in sentence


def test_a_manifest_of_the_right_version_with_other_keys(files: Files) -> None:
    files[MANIFEST] = b'{"format_version": 1}'

    assert "is no manifest" in refusal(files, ManifestError, file=MANIFEST)


def test_a_manifest_that_names_no_weights(files: Files) -> None:
    manifest = Manifest.from_json(files[MANIFEST], origin=ORIGIN)
    digests = {file: digest for file, digest in manifest.files.items() if file != WEIGHTS}
    files[MANIFEST] = resealed(files, files=digests)

    assert f"names no {WEIGHTS}" in refusal(files, ManifestError, file=MANIFEST)


def test_a_contract_of_another_training(files: Files) -> None:
    files = sealed_with(files, file=CONTRACT, data=make_contract(seed=5).to_json())

    sentence = refusal(files, IncompatibleBundleError, file=CONTRACT)

    assert make_contract(seed=5).id in sentence
    assert "two trainings" in sentence


def test_a_contract_of_another_format_version(files: Files) -> None:
    files = sealed_with(files, file=CONTRACT, data=b'{"format_version":9}')

    assert "version 9" in refusal(files, IncompatibleBundleError, file=CONTRACT)


def test_a_contract_that_is_none(files: Files) -> None:
    files = sealed_with(files, file=CONTRACT, data=b"[]")

    assert "no feature contract" in refusal(files, ManifestError, file=CONTRACT)


def test_weights_that_are_no_safetensors(files: Files) -> None:
    files = sealed_with(files, file=WEIGHTS, data=b"\x80\x04pickled")

    assert "no safetensors file" in refusal(files, IntegrityError, file=WEIGHTS)


def test_weights_that_do_not_fit_the_contract(files: Files) -> None:
    def add_an_input(tensors: dict[str, Any]) -> None:
        tensors["dense.weight"] = np.zeros((7, 16), dtype=np.float32)

    sentence = refusal(weights_with(files, add_an_input), IncompatibleBundleError, file=WEIGHTS)

    assert "(7, 16)" in sentence
    assert "(6, 16)" in sentence


def test_weights_without_a_layer(files: Files) -> None:
    def drop_a_bias(tensors: dict[str, Any]) -> None:
        del tensors["hidden.2.bias"]

    sentence = refusal(weights_with(files, drop_a_bias), IncompatibleBundleError, file=WEIGHTS)

    assert "'hidden.2.bias' is missing" in sentence


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite(files: Files, value: float) -> None:
    def spoil(tensors: dict[str, Any]) -> None:
        tensors["hidden.1.weight"][3, 3] = value

    sentence = refusal(weights_with(files, spoil), IntegrityError, file=WEIGHTS)

    assert "'hidden.1.weight' has 1 values that are not finite" in sentence


def test_a_manifest_that_counts_other_latent_dimensions(files: Files) -> None:
    files[MANIFEST] = resealed(files, latent_dim=3)

    sentence = refusal(files, IncompatibleBundleError, file=MANIFEST)

    assert "3 latent dimensions" in sentence
    assert "has 4" in sentence


def test_a_calibration_that_is_no_safetensors(files: Files) -> None:
    files = sealed_with(files, file=CALIBRATION, data=b"")

    assert "no safetensors file" in refusal(files, IntegrityError, file=CALIBRATION)


@pytest.mark.parametrize(
    ("tensors", "why"),
    [
        ({"distances": np.zeros(3)}, "expected 'scores'"),
        ({"scores": np.array([2.0, 1.0])}, "ascending"),
        ({"scores": np.array([1.0, np.nan])}, "not finite"),
        ({"scores": np.zeros(3, dtype=np.float32)}, "float32"),
    ],
)
def test_a_calibration_with_other_content(files: Files, tensors: dict[str, Any], why: str) -> None:
    files = sealed_with(files, file=CALIBRATION, data=safetensors.numpy.save(tensors))

    assert why in refusal(files, IntegrityError, file=CALIBRATION)


def test_a_threshold_that_is_not_the_calibrations(files: Files) -> None:
    files[MANIFEST] = resealed(files, threshold=123.0)

    assert "threshold 123.0" in refusal(files, IncompatibleBundleError, file=MANIFEST)


def test_a_rate_that_the_calibration_cannot_vouch_for(files: Files) -> None:
    files[MANIFEST] = resealed(files, false_positive_rate=1e-9)

    assert "1e-09" in refusal(files, IncompatibleBundleError, file=MANIFEST)


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"\xff", b'{"records":["{}"],"scores":[]}', b'{"records":["{}"],"scores":[null]}'],
)
def test_a_golden_batch_that_is_none(files: Files, data: bytes) -> None:
    files = sealed_with(files, file=GOLDEN, data=data)

    assert "no golden batch" in refusal(files, IntegrityError, file=GOLDEN)


def verification_refused(bundle: Bundle, decode: Any) -> str:
    with pytest.raises(IntegrityError) as caught:
        bundle.verify(decode)
    assert caught.value.file == GOLDEN
    assert f"{ORIGIN}: {GOLDEN}" in str(caught.value)
    return str(caught.value)


def golden_with(files: Files, **changes: Any) -> Files:
    golden = msgspec.json.decode(files[GOLDEN], type=Golden)
    data = msgspec.json.encode(msgspec.structs.replace(golden, **changes))
    return sealed_with(files, file=GOLDEN, data=data)


def test_a_golden_score_that_differs(files: Files) -> None:
    scores = list(msgspec.json.decode(files[GOLDEN], type=Golden).scores)
    scores[2] *= 1.001
    bundle = read_bundle(golden_with(files, scores=tuple(scores)), origin=ORIGIN)

    sentence = verification_refused(bundle, json_decode(bundle.detector.contract))

    assert "record 3 of 21 scores" in sentence
    assert f"{scores[2]:.6g}" in sentence


def test_a_golden_score_that_differs_by_rounding_only_is_accepted(files: Files) -> None:
    scores = msgspec.json.decode(files[GOLDEN], type=Golden).scores
    nearly = tuple(score * (1 + 1e-6) for score in scores)
    bundle = read_bundle(golden_with(files, scores=nearly), origin=ORIGIN)

    bundle.verify(json_decode(bundle.detector.contract))


def test_weights_of_another_model_are_found_by_the_golden_scores(
    files: Files, tmp_path: Path
) -> None:
    def disturb(tensors: dict[str, Any]) -> None:
        tensors["hidden.2.weight"] *= np.float32(1.01)

    bundle = read_bundle(weights_with(files, disturb), origin=ORIGIN)

    assert "the trainer computed" in verification_refused(
        bundle, json_decode(bundle.detector.contract)
    )


def test_weights_so_large_that_some_score_could_overflow(files: Files) -> None:
    def blow_up(tensors: dict[str, Any]) -> None:
        for name in ("dense.weight", "hidden.1.weight", "hidden.2.weight"):
            tensors[name] = np.full_like(tensors[name], 3e38)

    sentence = refusal(weights_with(files, blow_up), IncompatibleBundleError, file=WEIGHTS)

    assert "no finite score" in sentence


def test_a_manifest_that_names_a_file_elsewhere(files: Files) -> None:
    manifest = Manifest.from_json(files[MANIFEST], origin=ORIGIN)
    digests = manifest.files | {"../../etc/passwd": FileDigest.of(b"")}
    files[MANIFEST] = resealed(files, files=digests)

    assert "'../../etc/passwd'" in refusal(files, ManifestError, file=MANIFEST)


def test_golden_records_that_the_decoder_refuses(files: Files) -> None:
    broken = golden_with(files, records=('{"duration": "soon"}',), scores=(1.0,))
    bundle = read_bundle(broken, origin=ORIGIN)

    assert "soon" in verification_refused(bundle, json_decode(bundle.detector.contract))


def test_golden_records_that_the_decoder_leaves_out(files: Files) -> None:
    bundle = read_bundle(files, origin=ORIGIN)
    decode = json_decode(bundle.detector.contract)

    def lose_one(values: Any) -> RawBatch:
        return decode(values[1:])

    assert "20 of 21 golden records" in verification_refused(bundle, lose_one)


def test_a_decoder_for_another_contract(files: Files) -> None:
    bundle = read_bundle(files, origin=ORIGIN)

    def decode(values: Any) -> RawBatch:
        return RawBatch(np.zeros((len(values), 2)), ())

    assert "decode the records with the same contract" in verification_refused(bundle, decode)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"nowhere: manifest\.json is missing"):
        read_bundle_folder(tmp_path / "nowhere")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    (tmp_path / WEIGHTS).mkdir()

    with pytest.raises(IntegrityError, match=rf"{tmp_path.name}: {WEIGHTS} cannot be read"):
        read_bundle_folder(tmp_path)
