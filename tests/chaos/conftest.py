"""Brokers for the short versions of the scenarios: started once, when the first test asks."""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.chaos import catalogue
from tests.chaos.scenarios import Needs
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_cluster import KafkaCluster
from tests.support.kafka_jars import KafkaUnavailableError

REQUIRE = "ANOEAN_REQUIRE_KAFKA"

Brokers = Callable[[Needs], KafkaBroker | KafkaCluster]


@pytest.fixture(scope="session")
def brokers() -> Iterator[Brokers]:
    """Give the brokers that a scenario needs; skipped with a sentence where there is no Kafka."""
    running: dict[Needs, KafkaBroker | KafkaCluster] = {}

    def get(needs: Needs) -> KafkaBroker | KafkaCluster:
        if needs not in running:
            try:
                running[needs] = catalogue.start_brokers(needs)
            except KafkaUnavailableError as error:
                sentence = f"the fault suite needs a real Kafka: {error}"
                if os.environ.get(REQUIRE) == "1":
                    pytest.fail(f"{sentence} ({REQUIRE}=1 makes this a failure)", pytrace=False)
                pytest.skip(sentence)
        return running[needs]

    yield get
    for broker in running.values():
        broker.close()
