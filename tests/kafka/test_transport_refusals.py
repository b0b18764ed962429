"""A broker that refuses: the worker ends with a sentence; creating topics says what happened."""

from collections.abc import Callable, Iterator

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from anoean_stream.errors import BrokerError
from anoean_stream.kafka.topics import create_topics, list_topics, missing_topics
from anoean_stream.settings import Settings
from tests.support.chunk_worker import WorkerProcess
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_jars import KafkaUnavailableError
from tests.support.kafka_topics import create_topic
from tests.support.plans import worker_plan

NewName = Callable[..., str]


def _deny(broker: KafkaBroker, kind: ResourceType, name: str, operation: AclOperation) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    binding = AclBinding(
        kind, name, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*", operation,
        AclPermissionType.DENY,
    )  # fmt: skip
    admin.create_acls([binding])[binding].result(20)


@pytest.fixture(scope="module")
def strict_broker(kafka_broker: KafkaBroker) -> Iterator[KafkaBroker]:
    """A broker with access lists: all is allowed that is not denied."""
    broker = KafkaBroker(
        properties={
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "true",
        }
    )
    try:
        broker.start()
    except KafkaUnavailableError as error:  # kafka_broker has started, so this is no skip
        pytest.fail(str(error))
    yield broker
    broker.close()


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (ResourceType.TOPIC, "grant Read (input) or Write (alerts, dead letters) on it"),
        (ResourceType.GROUP, "grant Read on the group, or set consumer.group_id"),
    ],
)
def test_a_worker_that_may_not_read_ends_with_the_next_step(
    strict_broker: KafkaBroker, new_group: NewName, kind: ResourceType, sentence: str
) -> None:
    topic, group = new_group("secret"), new_group()
    create_topic(strict_broker.bootstrap, topic)
    _deny(strict_broker, kind, topic if kind is ResourceType.TOPIC else group, AclOperation.READ)

    with WorkerProcess(worker_plan(strict_broker.bootstrap, topic, group)) as worker:
        code = worker.wait(within_s=30)

    assert code != 0
    assert sentence in "".join(worker.log), worker.explain()


def test_topics_are_created_once_with_the_partitions_asked_for(
    kafka_broker: KafkaBroker, new_group: NewName
) -> None:
    names = {new_group("one"): 3, new_group("two"): 1}
    settings = Settings.model_validate({"broker": {"bootstrap_servers": kafka_broker.bootstrap}})

    assert missing_topics(settings, names) == list(names)
    assert create_topics(settings, names) == list(names)
    assert create_topics(settings, names) == []
    found = {info.name: info.partitions for info in list_topics(settings)}
    assert {name: found[name] for name in names} == names
    assert missing_topics(settings, names) == []


def test_a_topic_name_the_broker_refuses_is_an_error_that_names_it(
    kafka_broker: KafkaBroker,
) -> None:
    settings = Settings.model_validate({"broker": {"bootstrap_servers": kafka_broker.bootstrap}})

    with pytest.raises(BrokerError, match=r"creating topic 'no spaces' failed"):
        create_topics(settings, {"no spaces": 1})
