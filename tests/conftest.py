"""Fixtures for every test: a clean environment, and the data sets where a machine has them."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

DATA_DIR = "ANOEAN_DATA_DIR"
REQUIRE_DATA = "ANOEAN_REQUIRE_DATA"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the settings of the person who runs the tests: defaults are what is tested."""
    for name in list(os.environ):
        if name.upper().startswith("ANOEAN__"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("ANOEAN_CONFIG", raising=False)


@pytest.fixture(autouse=True)
def _no_quiet_log_left_behind() -> Iterator[None]:
    """Undo what a command that ran in this process did to librdkafka's lines (`quiet_librdkafka`)."""
    logger = logging.getLogger("anoean.kafka.librdkafka")
    handlers, propagate = list(logger.handlers), logger.propagate
    yield
    logger.handlers, logger.propagate = handlers, propagate


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with ``nsl-kdd/``, ``kdd99/`` and further public data sets."""
    folder = Path(os.environ.get(DATA_DIR) or ROOT.parent / "shared" / "data").resolve()
    if folder.is_dir():
        return folder
    sentence = (
        f"no data sets in {folder}; put NSL-KDD into <folder>/nsl-kdd and set {DATA_DIR}=<folder>"
    )
    if os.environ.get(REQUIRE_DATA) == "1":
        pytest.fail(f"{sentence} ({REQUIRE_DATA}=1 turns this skip into a failure)")
    pytest.skip(sentence)


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, without a config.yaml."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
