"""A model as files: written by the trainer, checked to the last byte before a worker serves it.

::

    manifest.json             what it is, and the sha256 of the others; written last
    contract.json             the feature contract, canonical JSON
    weights.safetensors       the encoder, whitening folded in
    calibration.safetensors   distances of held-out normals
    golden.json               records with the scores they must get

Other files in the folder (report, model card, plots) are not part of the bundle and not read.
Nothing here can execute code: JSON and safetensors hold data only.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import safetensors.numpy

from anoean_stream import __version__
from anoean_stream.detector.bundlefiles import (
    CALIBRATION,
    CONTRACT,
    COPY_AGAIN,
    FILES,
    GOLDEN,
    MANIFEST,
    MAX_BYTES,
    WEIGHTS,
    check_consistent,
    check_intact,
    check_names,
    check_size,
    read_calibration,
    read_contract,
    read_encoder,
    read_golden,
)
from anoean_stream.detector.confinedfiles import RefusedFileError, read_confined
from anoean_stream.detector.detector import Detector
from anoean_stream.detector.manifest import (
    FORMAT_VERSION,
    Decode,
    FileDigest,
    Golden,
    Manifest,
)
from anoean_stream.detector.signature import SIGNATURE
from anoean_stream.errors import AnoeanError, IntegrityError, ManifestError

__all__ = [
    "CALIBRATION",
    "CONTRACT",
    "FILES",
    "FORMAT_VERSION",
    "GOLDEN",
    "MANIFEST",
    "MAX_BYTES",
    "WEIGHTS",
    "Bundle",
    "Decode",
    "FileDigest",
    "Golden",
    "Manifest",
    "ServedModel",
    "read_bundle",
    "read_bundle_folder",
    "write_bundle",
]

GOLDEN_RTOL: Final = 1e-4
GOLDEN_ATOL: Final = 1e-5
"""A golden score may differ by ``GOLDEN_ATOL + GOLDEN_RTOL * score``: float32 in two matrix
libraries differs by some 1e-6, two models by far more. Both above 0, rtol below 1e-2."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model that was read and found whole.

    Parameters
    ----------
    manifest : Manifest
        What it says about itself.
    detector : Detector
        What scores.
    golden : Golden
        What proves it.
    sha256 : str
        Hexadecimal, of the bytes of manifest.json: through the digests in it, of everything.
    origin : str
        Where it was read from, for messages.
    """

    manifest: Manifest
    detector: Detector
    golden: Golden
    sha256: str
    origin: str = "bundle"

    def verify(self, decode: Decode) -> None:
        """Score the golden records and compare; milliseconds.

        Parameters
        ----------
        decode : callable
            Turns JSON records (sequence of bytes) into a `RawBatch` with one row each, by this
            bundle's contract: the same decoder that will serve.

        Raises
        ------
        IntegrityError
            When a score is not finite or differs from the trainer's, or a record is refused.
        """
        where = f"{self.origin}: {GOLDEN}"
        detector = self.detector
        try:
            raw = decode([record.encode() for record in self.golden.records])
            scores_B = detector.distances(detector.contract.transform(raw))
        except (AnoeanError, ValueError) as error:
            message = f"{where}: the golden records cannot be scored: {error}; train again"
            raise IntegrityError(message, file=GOLDEN) from error
        expected_B = np.array(self.golden.scores)
        if len(scores_B) != len(expected_B):
            message = (
                f"{where}: {len(scores_B)} of {len(expected_B)} golden records could be decoded; "
                "train again"
            )
            raise IntegrityError(message, file=GOLDEN)
        wrong = ~np.isclose(scores_B, expected_B, rtol=GOLDEN_RTOL, atol=GOLDEN_ATOL)
        if wrong.any():
            worst = int(np.flatnonzero(wrong)[0])
            message = (
                f"{where}: record {worst + 1} of {len(expected_B)} scores {scores_B[worst]:.6g} "
                f"here, the trainer computed {expected_B[worst]:.6g}; {COPY_AGAIN}, or train again"
            )
            raise IntegrityError(message, file=GOLDEN)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A bundle under its name in the registry: what the pipeline scores with and alerts name.

    Parameters
    ----------
    name, version : str
        In the registry.
    bundle : Bundle
        The model.
    """

    name: str
    version: str
    bundle: Bundle


def write_bundle(
    folder: Path,
    *,
    name: str,
    detector: Detector,
    golden: Golden,
    training: Mapping[str, Any],
    metrics: Mapping[str, float],
    false_positive_rate: float,
) -> Manifest:
    """Write a model to a folder; blocks until it is on the disk.

    An old manifest goes first and the new one comes last, so that a folder with a manifest is a
    whole bundle at any moment. Not to be called twice at once on one folder.

    Parameters
    ----------
    folder : Path
        Made when it is not there.
    name : str
        Model.
    detector : Detector
        Whitened and calibrated.
    golden : Golden
        From `Golden.compute`, after the detector was finished.
    training : mapping
        JSON values: fingerprint of the data, rows, seed, hyperparameters.
    metrics : mapping of str to float
        Figures of merit on held-out rows; finite.
    false_positive_rate : float
        In (0, 1); the calibration must be able to vouch for it.

    Raises
    ------
    ValueError
        When a metric is not finite or the rate is 1.
    ConfigError
        When the rate is outside (0, 1] or too small for the calibration.
    BundleError
        When the detector could not be read back.
    """
    bad = sorted(key for key, value in metrics.items() if not np.isfinite(value))
    if bad:
        message = f"metrics {bad} are not finite; leave out what could not be computed"
        raise ValueError(message)
    threshold = detector.calibration.threshold(false_positive_rate)
    if not np.isfinite(threshold):
        message = f"false_positive_rate is {false_positive_rate}, expected below 1 for a model"
        raise ValueError(message)
    scores = {"scores": detector.calibration.scores_sorted_N}
    contents = {
        CONTRACT: detector.contract.to_json(),
        WEIGHTS: safetensors.numpy.save(detector.encoder.to_tensors()),
        CALIBRATION: safetensors.numpy.save(scores),
        GOLDEN: msgspec.json.format(msgspec.json.encode(golden), indent=2) + b"\n",
    }
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        name=name,
        created_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        code_version=__version__,
        contract_id=detector.contract.id,
        files={file: FileDigest.of(data) for file, data in contents.items()},
        training=dict(training),
        metrics={key: float(value) for key, value in metrics.items()},
        false_positive_rate=false_positive_rate,
        threshold=threshold,
        latent_dim=detector.encoder.latent_dim,
    ).sealed()
    contents[MANIFEST] = manifest.to_json()
    read_bundle(contents, origin=f"the new bundle {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    (folder / SIGNATURE).unlink(missing_ok=True)  # of the old manifest
    _sync_folder(folder)
    for file, data in contents.items():  # the manifest was put in last and is written last
        _write_durably(folder / file, data)
    _sync_folder(folder)
    return manifest


def read_bundle(files: Mapping[str, bytes], *, origin: str) -> Bundle:
    """Return the model in these files, after checking each; `Bundle.verify` is the last check.

    Parameters
    ----------
    files : mapping of name to bytes
        At least `FILES`; others are ignored.
    origin : str
        Where they come from; begins every message.

    Raises
    ------
    ManifestError
        The manifest is missing (a bundle half written), unreadable, or of another format version.
    IntegrityError
        A file is missing, truncated or changed, or holds what is no such thing.
    IncompatibleBundleError
        The files are intact and do not fit together, or not this program.
    """
    if MANIFEST not in files:
        message = (
            f"{origin}: {MANIFEST} is missing, it is written last: the bundle is half written or "
            f"is none; wait for the writer, or {COPY_AGAIN}"
        )
        raise ManifestError(message, file=MANIFEST)
    for file in FILES:
        if file in files:
            check_size(file, files[file], origin=origin)
    manifest = Manifest.from_json(files[MANIFEST], origin=origin)
    check_names(manifest, origin=origin)
    for file in FILES[1:]:
        check_intact(file, files.get(file), manifest=manifest, origin=origin)
    contract = read_contract(files[CONTRACT], manifest=manifest, origin=origin)
    encoder = read_encoder(files[WEIGHTS], contract=contract, origin=origin)
    calibration = read_calibration(files[CALIBRATION], origin=origin)
    check_consistent(manifest, encoder=encoder, calibration=calibration, origin=origin)
    golden = read_golden(files[GOLDEN], origin=origin)
    return Bundle(
        manifest=manifest,
        detector=Detector(contract=contract, encoder=encoder, calibration=calibration),
        golden=golden,
        sha256=FileDigest.of(files[MANIFEST]).sha256,
        origin=origin,
    )


def read_bundle_folder(folder: Path) -> Bundle:
    """Return the model in a folder; see `read_bundle`. Blocks on the disk.

    Raises
    ------
    BundleError
        As `read_bundle`, and when a file cannot be read, is a link or larger than `MAX_BYTES`.
    """
    files: dict[str, bytes] = {}
    for file in FILES:
        try:
            files[file] = read_confined(folder, file, max_bytes=MAX_BYTES[file])
        except FileNotFoundError:
            continue  # read_bundle says which one is missing and what that means
        except RefusedFileError as error:
            raise IntegrityError(str(error), file=file) from error
        except OSError as error:
            message = f"{folder}: {file} cannot be read: {error}; check the folder's permissions"
            raise IntegrityError(message, file=file) from error
    return read_bundle(files, origin=str(folder))


def _write_durably(path: Path, data: bytes) -> None:
    """Write a file so that it appears whole or not at all, also after a power cut."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
