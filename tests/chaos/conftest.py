"""The short versions of the scenarios, played in lanes while the tests wait for their rows."""

import os
from collections.abc import Iterator

import pytest

from tests.chaos.lanes import Lanes, Task
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_jars import KafkaUnavailableError, class_path

REQUIRE = "ANOEAN_REQUIRE_KAFKA"


def _need_kafka() -> None:
    try:
        class_path()
    except KafkaUnavailableError as error:
        sentence = f"the fault suite needs a real Kafka: {error}"
        if os.environ.get(REQUIRE) == "1":
            pytest.fail(f"{sentence} ({REQUIRE}=1 makes this a failure)", pytrace=False)
        pytest.skip(sentence)


@pytest.fixture(scope="session")
def lanes(request: pytest.FixtureRequest) -> Iterator[Lanes]:
    """Play every scenario that a selected test asks for; skipped where there is no Kafka."""
    _need_kafka()
    asked = (getattr(item, "callspec", None) for item in request.session.items)
    tasks: list[Task] = [spec.params["task"] for spec in asked if spec and "task" in spec.params]
    playing = Lanes(tasks, quick=True)
    yield playing
    playing.close()


@pytest.fixture
def broker() -> Iterator[KafkaBroker]:
    """Give a broker of its own."""
    _need_kafka()
    with KafkaBroker() as started:
        yield started
