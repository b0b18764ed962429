"""Small real pipelines, and chunks for them, without a registry or a file."""

import functools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from anoean_stream.detector.bundle import ServedModel, read_bundle_folder
from anoean_stream.detector.detector import Detector
from anoean_stream.pipeline import Pipeline
from anoean_stream.records.chunk import Chunk
from anoean_stream.settings import AlertSettings, ScoringSettings
from tests.support.models import make_bundle


@functools.cache
def _model(seed: int, version: str) -> ServedModel:
    return served(version, seed=seed)


def served(version: str, *, detector: Detector | None = None, seed: int = 0) -> ServedModel:
    """Return a small model named edge, as the registry would give it."""
    with tempfile.TemporaryDirectory() as folder:
        make_bundle(Path(folder), name="edge", seed=seed, detector=detector)
        return ServedModel("edge", version, read_bundle_folder(Path(folder)))


def make_pipeline(
    version: str = "1",
    *,
    seed: int = 0,
    rate: float | None = None,
    detector: Detector | None = None,
) -> Pipeline:
    """Return a pipeline around a small model; another seed is another model."""
    model = _model(seed, version) if detector is None else served(version, detector=detector)
    return Pipeline(
        model,
        scoring=ScoringSettings(false_positive_rate=rate),
        alerts=AlertSettings(),
        worker_id="worker-1",
    )


def make_chunk(
    rows: Sequence[Mapping[str, Any] | bytes | None],
    *,
    first_offset: int = 0,
    partition: int = 0,
    first_timestamp_ms: int = 1_790_000_000_000,
) -> Chunk:
    """Return rows as a chunk of the topic flows; bytes are taken as they are."""
    n_rows = len(rows)
    return Chunk(
        topic="flows",
        partition=partition,
        values=[
            row if row is None or isinstance(row, bytes) else msgspec.json.encode(row)
            for row in rows
        ],
        keys=[None] * n_rows,
        offsets=range(first_offset, first_offset + n_rows),
        timestamps_ms=range(first_timestamp_ms, first_timestamp_ms + n_rows),
    )
