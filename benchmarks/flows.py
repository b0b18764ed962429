"""Flows of 41 fields and about 870 bytes, the shape of NSL-KDD, and a model of the paper's size.

Made up and seeded, so that a benchmark needs no data. The weights are random: what a record costs
does not depend on them. What an alert costs does, so the threshold is fitted to let one in a
hundred through.
"""

from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from anoean_stream.detector.bundle import Golden, write_bundle
from anoean_stream.features.contract import FeatureContract
from anoean_stream.features.fit import FieldSpec, fit_contract
from anoean_stream.pipeline import decode_golden
from anoean_stream.records.kdd import KDD_COLUMNS
from tests.support.models import make_detector

CATEGORIES: Final = {"protocol_type": 3, "service": 70, "flag": 11}
"""Words of each category, as many as NSL-KDD has."""

ALERT_RATE: Final = 0.01
"""Share of records that raise an alert; an ordinary network has fewer, one under attack more."""

_GOLDEN_ROWS: Final = 64


def make_flows(n_rows: int, *, seed: int) -> list[dict[str, Any]]:
    """Return rows with rates in [0, 1], heavy-tailed counts, and words."""
    rng = np.random.default_rng(seed)
    columns: dict[str, list[Any]] = {}
    for name in KDD_COLUMNS:
        if name in CATEGORIES:
            words = [f"{name[:4]}_{i}" for i in range(CATEGORIES[name])]
            columns[name] = rng.choice(words, n_rows).tolist()
        elif name.endswith("_rate"):
            columns[name] = rng.random(n_rows).round(2).tolist()
        else:
            columns[name] = rng.lognormal(3.0, 2.0, n_rows).astype(int).tolist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def make_contract(rows: list[dict[str, Any]]) -> FeatureContract:
    """Return a contract of 38 numbers and 3 categories fitted to the rows."""
    numbers = [name for name in KDD_COLUMNS if name not in CATEGORIES]
    return fit_contract(
        [FieldSpec(name, "category" if name in CATEGORIES else "number") for name in KDD_COLUMNS],
        numbers={name: np.array([float(row[name]) for row in rows]) for name in numbers},
        categories={name: [row[name] for row in rows] for name in CATEGORIES},
        normal_N=np.ones(len(rows), dtype=np.bool_),
    )


def write_model(folder: Path, *, seed: int = 0) -> None:
    """Write a bundle with the paper's encoder (128-64-32-16) and random weights of a seed."""
    rows = make_flows(5000, seed=1)
    contract = make_contract(rows)
    detector = make_detector(
        seed=seed,
        contract=contract,
        calibration_rows=make_flows(5000, seed=2),
        hidden=(128, 64, 32),
        latent_dim=16,
    )
    golden = Golden.compute(
        detector,
        [msgspec.json.encode(row).decode() for row in rows[:_GOLDEN_ROWS]],
        decode=lambda values: decode_golden(contract, values),
    )
    write_bundle(
        folder,
        name="bench",
        detector=detector,
        golden=golden,
        training={"rows": len(rows), "seed": 1, "note": "random weights, for benchmarks"},
        metrics={},
        false_positive_rate=ALERT_RATE,
    )
