"""Fixtures for the trainer: files of small tables, and settings for seconds of training."""

import csv
import gzip
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from anoean_stream.settings import TrainingSettings
from tests.support.labelled import HEADER, Watch, WriteCsv


@pytest.fixture
def write_csv(tmp_path: Path) -> WriteCsv:
    """Write a header and rows to a CSV in the test's folder; ``.gz`` is packed."""

    def write(
        rows: Sequence[Sequence[object]],
        *,
        header: Sequence[str] = HEADER,
        name: str = "flows.csv",
        encoding: str = "utf-8",
    ) -> Path:
        path = tmp_path / name
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(header)
        writer.writerows(rows)
        data = text.getvalue().encode(encoding)
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
        return path

    return write


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Torch with one thread: with two on busy cores the tests took twenty times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def quick() -> TrainingSettings:
    """Settings of a training of a second or two."""
    return TrainingSettings(
        latent_dim=4,
        encoder_hidden=(32, 16),
        discriminator_hidden=(16,),
        batch_size=100,
        epochs=4,
        false_positive_rate=0.01,
        threads=1,
    )
