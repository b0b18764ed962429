"""A real Apache Kafka for the tests of this folder; skipped with a sentence where there is none."""

import os
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_topics import create_topic
from tests.support.requiring import with_kafka
from tests.support.secure_broker import OAUTH_CLIENTS, USERS, SecureBroker


def _started() -> KafkaBroker:
    return with_kafka(lambda: KafkaBroker().start())


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[KafkaBroker]:
    """One broker for all tests of the run; tests that stop or freeze it take `own_kafka_broker`."""
    broker = _started()
    yield broker
    broker.close()


@pytest.fixture
def own_kafka_broker() -> Iterator[KafkaBroker]:
    """A broker that a test may stop, kill and start again."""
    broker = _started()
    yield broker
    broker.close()


@pytest.fixture(scope="session")
def secure_broker(
    kafka_broker: KafkaBroker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SecureBroker]:
    """One broker with TLS, logins and access lists; users and secrets are in `tests.support`."""
    broker = SecureBroker(
        tmp_path_factory.mktemp("secure"), users=USERS, oauth_clients=OAUTH_CLIENTS
    )
    broker.start()  # kafka_broker has started, so there is a Kafka, and a failure is one
    with broker.tokens:
        yield broker
    broker.close()


@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return count(1)


@pytest.fixture
def new_topic(kafka_broker: KafkaBroker, _numbers: Iterator[int]) -> Callable[..., str]:
    """Create a topic with a fresh name: ``new_topic("flows", partitions=4, config={...})``."""

    def create(
        stem: str = "topic", *, partitions: int = 4, config: dict[str, str] | None = None
    ) -> str:
        name = f"{stem}-{os.getpid()}-{next(_numbers)}"
        create_topic(kafka_broker.bootstrap, name, partitions=partitions, config=config)
        return name

    return create


@pytest.fixture
def new_group(_numbers: Iterator[int]) -> Callable[..., str]:
    """Return a fresh consumer group name: ``new_group("workers")``."""

    def name(stem: str = "group") -> str:
        return f"{stem}-{os.getpid()}-{next(_numbers)}"

    return name
