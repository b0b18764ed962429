"""librdkafka's mock cluster for the tests of this folder: no Java, no container."""

import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from anoean_stream.kafka.embedded import EmbeddedBroker
from tests.support.operator import Operator, make_operated_registry


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[EmbeddedBroker]:
    """One mock cluster for all tests of the run."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return count(1)


@pytest.fixture
def new_topic(embedded_broker: EmbeddedBroker, _numbers: Iterator[int]) -> Callable[..., str]:
    """Create a topic with a fresh name and the mock's four partitions."""

    def create(stem: str = "topic") -> str:
        name = f"{stem}-{os.getpid()}-{next(_numbers)}"
        embedded_broker.create_topics([name])
        return name

    return create


@pytest.fixture
def new_group(_numbers: Iterator[int]) -> Callable[..., str]:
    """Return a fresh consumer group name."""

    def name(stem: str = "group") -> str:
        return f"{stem}-{os.getpid()}-{next(_numbers)}"

    return name


@pytest.fixture
def operator(
    embedded_broker: EmbeddedBroker,
    new_topic: Callable[[str], str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Operator:
    """An operator of the model ``edge`` with three versions; the last is champion."""
    topics = {use: new_topic(use) for use in ("audit", "control", "workers")}
    return Operator(embedded_broker.bootstrap, topics, make_operated_registry(tmp_path), capsys)
