"""The files of a bundle, and the checks that each must pass.

Every function raises a `BundleError` whose sentence begins with the origin and names the file.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from anoean_stream.detector.calibration import Calibration
from anoean_stream.detector.confinedfiles import too_large
from anoean_stream.detector.encoder import Encoder
from anoean_stream.detector.manifest import FileDigest, Golden, Manifest
from anoean_stream.errors import (
    BundleError,
    ConfigError,
    IncompatibleBundleError,
    IntegrityError,
    ManifestError,
    brief,
)
from anoean_stream.features.contract import FeatureContract

MANIFEST: Final = "manifest.json"
CONTRACT: Final = "contract.json"
WEIGHTS: Final = "weights.safetensors"
CALIBRATION: Final = "calibration.safetensors"
GOLDEN: Final = "golden.json"

FILES: Final[tuple[str, ...]] = (MANIFEST, CONTRACT, WEIGHTS, CALIBRATION, GOLDEN)
"""Names of a bundle's files."""

_MIB: Final = 2**20

MAX_BYTES: Final[Mapping[str, int]] = {
    MANIFEST: 1 * _MIB,  # 2 KB, and what the trainer tells about its data
    CONTRACT: 8 * _MIB,  # 10,000 fields with all there is to say about each need 3
    WEIGHTS: 256 * _MIB,  # the default network has 0.1; three times this is held while loading
    CALIBRATION: 128 * _MIB,  # 16 million held-out records
    GOLDEN: 16 * _MIB,  # 64 records
}
"""Largest size of each file, bytes. Below, a legitimate model would be refused; above, whoever may
write to the registry could fill the memory of every worker by one file."""

MAX_HEADER_BYTES: Final = 4 * _MIB
"""Largest header of a safetensors file: 100 bytes for each tensor. The library's own bound of 100 MB
is gigabytes of parsed JSON."""

MAX_GOLDEN_RECORDS: Final = 10_000
"""Golden records, each of them scored when a model is loaded: a tenth of a second for so many."""

COPY_AGAIN: Final = "copy the bundle again from where it was trained"
"""What helps when a file was damaged on its way."""


def check_size(file: str, data: bytes, *, origin: str) -> None:
    """Refuse a file that is larger than any model has, before anything else looks at it."""
    if len(data) > MAX_BYTES[file]:
        message = too_large(f"{origin}: {file}", len(data), max_bytes=MAX_BYTES[file])
        raise IntegrityError(message, file=file)


def check_names(manifest: Manifest, *, origin: str) -> None:
    """Refuse a manifest that names what is no file of a bundle; nothing else is ever opened."""
    strange = sorted(set(manifest.files) - set(FILES[1:]))
    if strange:
        message = (
            f"{origin}: {MANIFEST} names {strange[0][:100]!r}, which is no file of a bundle; "
            f"expected {', '.join(FILES[1:])}; {COPY_AGAIN}"
        )
        raise ManifestError(message, file=MANIFEST)


def check_intact(file: str, data: bytes | None, *, manifest: Manifest, origin: str) -> None:
    """Refuse a file that is missing, of another size or of another sha256 than the manifest says."""
    expected = manifest.files.get(file)
    if expected is None:
        message = f"{origin}: {MANIFEST} names no {file}, which every bundle has; {COPY_AGAIN}"
        raise ManifestError(message, file=MANIFEST)
    if data is None:
        message = f"{origin}: {file} is missing, {MANIFEST} names it; {COPY_AGAIN}"
        raise IntegrityError(message, file=file)
    if len(data) != expected.size_bytes:
        message = (
            f"{origin}: {file} has {len(data)} bytes, {MANIFEST} says {expected.size_bytes}: it is "
            f"truncated or another file; {COPY_AGAIN}"
        )
        raise IntegrityError(message, file=file)
    seen = FileDigest.of(data).sha256
    if seen != expected.sha256:
        message = (
            f"{origin}: {file} was changed after it was written (sha256 {seen}, {MANIFEST} says "
            f"{expected.sha256}); {COPY_AGAIN}"
        )
        raise IntegrityError(message, file=file)


def read_contract(data: bytes, *, manifest: Manifest, origin: str) -> FeatureContract:
    """Return the feature contract, which must be the one the manifest was written for."""
    try:
        contract = FeatureContract.from_json(data)
    except BundleError as error:
        message = f"{origin}: {CONTRACT}: {error}"
        raise type(error)(message, file=CONTRACT) from error
    if contract.id != manifest.contract_id:
        message = (
            f"{origin}: {CONTRACT} has the identity {contract.id}, {MANIFEST} was written for "
            f"{manifest.contract_id}: the files come from two trainings; {COPY_AGAIN}"
        )
        raise IncompatibleBundleError(message, file=CONTRACT)
    return contract


def read_encoder(data: bytes, *, contract: FeatureContract, origin: str) -> Encoder:
    """Return the encoder, whose tensors must be finite and fit the contract."""
    tensors = _read_tensors(data, file=WEIGHTS, origin=origin)
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            message = (
                f"{origin}: {WEIGHTS}: tensor {name!r} has {np.sum(~np.isfinite(tensor))} values "
                "that are not finite: training went wrong; train again"
            )
            raise IntegrityError(message, file=WEIGHTS)
    try:
        encoder = Encoder.from_tensors(tensors, contract)
        encoder.check_bounded(contract)
    except ValueError as error:
        message = f"{origin}: {WEIGHTS}: {brief(error)}; train again"
        raise IncompatibleBundleError(message, file=WEIGHTS) from error
    return encoder


def read_calibration(data: bytes, *, origin: str) -> Calibration:
    """Return the calibration."""
    tensors = _read_tensors(data, file=CALIBRATION, origin=origin)
    try:
        return Calibration(tensors["scores"])
    except KeyError as error:
        message = (
            f"{origin}: {CALIBRATION} has the tensors {sorted(tensors)}, expected 'scores'; "
            f"{COPY_AGAIN}"
        )
        raise IntegrityError(message, file=CALIBRATION) from error
    except ValueError as error:
        message = f"{origin}: {CALIBRATION}: {brief(error)}; train again"
        raise IntegrityError(message, file=CALIBRATION) from error


def _read_tensors(data: bytes, *, file: str, origin: str) -> dict[str, NDArray[Any]]:
    header_bytes = int.from_bytes(data[:8], "little")
    if header_bytes > MAX_HEADER_BYTES:
        message = (
            f"{origin}: {file} is no safetensors file of a model: its header has {header_bytes} "
            f"bytes, allowed are {MAX_HEADER_BYTES}; {COPY_AGAIN}"
        )
        raise IntegrityError(message, file=file)
    try:
        tensors = safetensors.numpy.load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        message = f"{origin}: {file} is no safetensors file: {brief(error)}; {COPY_AGAIN}"
        raise IntegrityError(message, file=file) from error
    # Copies own their memory: a view would keep the whole file and be aligned by chance.
    return {name: np.array(tensor, order="C") for name, tensor in tensors.items()}


def read_golden(data: bytes, *, origin: str) -> Golden:
    """Return the golden batch."""
    try:
        golden = msgspec.json.decode(data, type=Golden)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"{origin}: {GOLDEN} is no golden batch: {brief(error)}; {COPY_AGAIN}"
        raise IntegrityError(message, file=GOLDEN) from error
    if len(golden.records) > MAX_GOLDEN_RECORDS:
        message = (
            f"{origin}: {GOLDEN} has {len(golden.records)} records, allowed are "
            f"{MAX_GOLDEN_RECORDS}; train again"
        )
        raise IntegrityError(message, file=GOLDEN)
    return golden


def check_consistent(
    manifest: Manifest, *, encoder: Encoder, calibration: Calibration, origin: str
) -> None:
    """Refuse a manifest whose numbers are not those of the files it names."""
    if manifest.latent_dim != encoder.latent_dim:
        message = (
            f"{origin}: {MANIFEST} says {manifest.latent_dim} latent dimensions, {WEIGHTS} has "
            f"{encoder.latent_dim}; train again"
        )
        raise IncompatibleBundleError(message, file=MANIFEST)
    try:
        threshold = calibration.threshold(manifest.false_positive_rate)
    except ConfigError as error:
        message = f"{origin}: {MANIFEST}: {error}"
        raise IncompatibleBundleError(message, file=MANIFEST) from error
    if threshold != manifest.threshold:
        message = (
            f"{origin}: {MANIFEST} says threshold {manifest.threshold!r}, {CALIBRATION} gives "
            f"{threshold!r} at a false-positive rate of {manifest.false_positive_rate}; train again"
        )
        raise IncompatibleBundleError(message, file=MANIFEST)
