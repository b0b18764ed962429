"""Small real detectors and bundles: random weights, everything after them fitted. No torch."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from anoean_stream.detector.bundle import Decode, Golden, Manifest, write_bundle
from anoean_stream.detector.calibration import Calibration, fit_gaussian
from anoean_stream.detector.detector import Detector, norm
from anoean_stream.detector.encoder import Encoder
from anoean_stream.features.batch import RawBatch
from anoean_stream.features.contract import FeatureContract
from anoean_stream.features.fit import FieldSpec, fit_contract

SPECS: Final = (
    FieldSpec("duration", "number", unit="s"),
    FieldSpec("bytes_out", "number", unit="bytes"),
    FieldSpec("bytes_in", "number", unit="bytes"),
    FieldSpec("error_rate", "number"),
    FieldSpec("logged_in", "flag"),
    FieldSpec("proto", "category"),
    FieldSpec("service", "category"),
)
"""Fields of `make_rows`; ``bytes_in`` and ``service`` have gaps."""

PROTOCOLS: Final = ("tcp", "udp", "icmp")
SERVICES: Final = ("http", "dns", "smtp", "443", "8080")


def make_rows(n_rows: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Return normal-looking rows with all kinds of field, some gaps and a rare word."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for _ in range(n_rows):
        row: dict[str, Any] = {
            "duration": float(rng.exponential(2.0)),
            "bytes_out": int(rng.lognormal(6.0, 1.5)),
            "bytes_in": int(rng.lognormal(7.0, 1.5)),
            "error_rate": float(rng.random() * 0.1),
            "logged_in": bool(rng.random() < 0.7),
            "proto": str(rng.choice(PROTOCOLS, p=(0.7, 0.25, 0.05))),
            "service": str(rng.choice(SERVICES)),
        }
        if rng.random() < 0.05:
            row["bytes_in"] = None
        if rng.random() < 0.05:
            del row["service"]
        rows.append(row)
    return rows


def attack_row(*, seed: int = 0) -> dict[str, Any]:
    """Return a row far from those of `make_rows`: huge, erroneous, an unknown service."""
    row = make_rows(1, seed=seed)[0]
    return row | {"duration": 1e6, "bytes_out": 10**12, "error_rate": 1.0, "service": "backdoor"}


def columns_of(
    rows: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, np.ndarray[Any, np.dtype[np.float64]]], dict[str, list[str | None]]]:
    """Return rows as the columns that `fit_contract` takes."""
    numbers = {
        spec.name: np.array(
            [np.nan if row.get(spec.name) is None else float(row[spec.name]) for row in rows]
        )
        for spec in SPECS
        if spec.kind != "category"
    }
    categories = {
        spec.name: [row.get(spec.name) for row in rows] for spec in SPECS if spec.kind == "category"
    }
    return numbers, categories


def make_contract(*, seed: int = 0, n_rows: int = 400) -> FeatureContract:
    """Return a contract fitted to synthetic rows."""
    numbers, categories = columns_of(make_rows(n_rows, seed=seed))
    return fit_contract(
        SPECS, numbers=numbers, categories=categories, normal_N=np.ones(n_rows, dtype=np.bool_)
    )


def make_encoder(
    contract: FeatureContract,
    *,
    seed: int = 0,
    hidden: tuple[int, ...] = (16, 8),
    latent_dim: int = 4,
) -> Encoder:
    """Return an encoder with random weights, not whitened."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return np.asarray(rng.standard_normal(shape) / np.sqrt(shape[0]), dtype=np.float32)

    units = (*hidden, latent_dim)
    tensors = {"dense.weight": draw(contract.n_dense, units[0]), "dense.bias": draw(units[0])}
    for index, cardinality in enumerate(contract.cardinalities):
        tensors[f"category.{index}.weight"] = draw(cardinality, units[0])
    for index, (n_in, n_out) in enumerate(pairwise(units), start=1):
        tensors[f"hidden.{index}.weight"] = draw(n_in, n_out)
        tensors[f"hidden.{index}.bias"] = draw(n_out)
    return Encoder.from_tensors(tensors, contract)


def make_detector(
    *,
    seed: int = 0,
    contract: FeatureContract | None = None,
    calibration_rows: Sequence[Mapping[str, object]] | None = None,
    n_calibration: int = 2000,
    hidden: tuple[int, ...] = (16, 8),
    latent_dim: int = 4,
) -> Detector:
    """Return a whitened, calibrated detector.

    With a contract of your own give `calibration_rows` too: normal rows for mu, Sigma and the
    threshold.
    """
    contract = contract or make_contract(seed=seed)
    if calibration_rows is None:
        calibration_rows = make_rows(n_calibration, seed=seed + 1)
    features = contract.transform(contract.raw_from_rows(calibration_rows))
    encoder = make_encoder(contract, seed=seed, hidden=hidden, latent_dim=latent_dim)
    whitened = encoder.whitened(*fit_gaussian(encoder.forward(features)))
    return Detector(
        contract=contract,
        encoder=whitened,
        calibration=Calibration.fit(norm(whitened.forward(features))),
    )


def json_decode(contract: FeatureContract) -> Decode:
    """Return a slow and plain decoder, for `Bundle.verify` and `Golden.compute`."""

    def decode(values: Sequence[bytes]) -> RawBatch:
        return contract.raw_from_rows(msgspec.json.decode(value) for value in values)

    return decode


def make_golden(detector: Detector, *, rows: Sequence[Mapping[str, Any]] | None = None) -> Golden:
    """Return a golden batch of normal rows and an attack."""
    rows = rows if rows is not None else [*make_rows(20, seed=99), attack_row()]
    return Golden.compute(
        detector,
        [msgspec.json.encode(row).decode() for row in rows],
        decode=json_decode(detector.contract),
    )


def make_bundle(
    folder: Path,
    *,
    name: str = "test-model",
    seed: int = 0,
    detector: Detector | None = None,
    golden: Golden | None = None,
    false_positive_rate: float = 0.01,
    metrics: Mapping[str, float] | None = None,
) -> Manifest:
    """Write a small real bundle to a folder and return its manifest."""
    detector = detector or make_detector(seed=seed)
    return write_bundle(
        folder,
        name=name,
        detector=detector,
        golden=golden or make_golden(detector),
        training={"rows": 400, "seed": seed, "data_sha256": "0" * 64},
        metrics=metrics or {"aupr": 0.5},
        false_positive_rate=false_positive_rate,
    )
