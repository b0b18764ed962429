"""The short versions of the scenarios, played in lanes while the tests wait for their rows."""

from collections.abc import Iterator

import pytest

from tests.chaos.lanes import Lanes, Task
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_jars import class_path
from tests.support.requiring import with_kafka


@pytest.fixture(scope="session")
def lanes(request: pytest.FixtureRequest) -> Iterator[Lanes]:
    """Play every scenario that a selected test asks for; skipped where there is no Kafka."""
    with_kafka(class_path)
    asked = (getattr(item, "callspec", None) for item in request.session.items)
    tasks: list[Task] = [spec.params["task"] for spec in asked if spec and "task" in spec.params]
    playing = Lanes(tasks, quick=True)
    yield playing
    playing.close()


@pytest.fixture
def broker() -> Iterator[KafkaBroker]:
    """Give a broker of its own."""
    started = with_kafka(lambda: KafkaBroker().start())
    yield started
    started.close()
