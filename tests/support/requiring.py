"""What a test needs of its machine: skipped with a sentence, or failed where nothing may be skipped."""

import os
from collections.abc import Callable
from typing import Final, TypeVar

import pytest

from tests.support.kafka_jars import KafkaUnavailableError
from tests.support.store_servers import ServersUnavailableError

T = TypeVar("T")

REQUIRE_KAFKA: Final = "ANOEAN_REQUIRE_KAFKA"
"""When this variable is 1, a missing Kafka is a failure: what the project's own pipeline sets."""

REQUIRE_STORES: Final = "ANOEAN_REQUIRE_STORES"
"""When it is 1, servers for registries that cannot be installed are a failure."""


def with_kafka(begin: Callable[[], T]) -> T:
    """Return what `begin` does; skip, or fail, where there is no Java 17 or no Maven."""
    try:
        return begin()
    except KafkaUnavailableError as error:
        sentence = (
            f"a real Kafka broker is needed: {error}. Install Java 17 and Maven, then run "
            "`pytest tests/kafka tests/chaos`"
        )
        if os.environ.get(REQUIRE_KAFKA) == "1":
            pytest.fail(f"{sentence} ({REQUIRE_KAFKA}=1 makes this a failure)", pytrace=False)
        pytest.skip(sentence)


def with_stores(begin: Callable[[], T]) -> T:
    """Return what `begin` does; skip, or fail, where moto and MLflow cannot be installed."""
    try:
        return begin()
    except ServersUnavailableError as error:
        sentence = (
            f"servers for registries are needed: {error}. Let pip reach a package index, or set "
            "ANOEAN_CACHE_DIR to a folder in which they are, then run `pytest tests/stores`"
        )
        if os.environ.get(REQUIRE_STORES) == "1":
            pytest.fail(f"{sentence} ({REQUIRE_STORES}=1 makes this a failure)", pytrace=False)
        pytest.skip(sentence)
