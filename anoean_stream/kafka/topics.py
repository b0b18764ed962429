"""Topics: list, create, and say which are missing. All functions block; call them off the event loop."""

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, cast

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin._metadata import ClusterMetadata
from confluent_kafka.cimpl import NewTopic

from anoean_stream.kafka.contact import Admin, has_controller
from anoean_stream.kafka.faults import is_unknown_topic
from anoean_stream.settings import Settings

DEFAULT_PARTITIONS: Final = 4
"""Partitions of a new topic: how many workers can share it. More can be added later, fewer cannot."""

_AUDIT_CONFIG: Final = {"retention.ms": "-1"}
"""What was done with models is kept for good: 1 kB for each action, some kB for a shadow report."""

_CONTROL_CONFIG: Final = {"retention.ms": "3600000", "segment.ms": "600000"}
"""News of an hour ago are none: whoever starts reads the registry anyway."""

_WORKERS_CONFIG: Final = {
    "cleanup.policy": "compact",
    # Only closed segments are compacted. With the brokers' week and gigabyte, `anoean models status`
    # would read every report of seven days to find the newest of each worker.
    "segment.ms": "600000",
    "segment.bytes": "16777216",
    "min.cleanable.dirty.ratio": "0.1",
    # How long it can be seen that a worker stopped in order, and was not lost.
    "delete.retention.ms": "86400000",
}


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """One topic as the brokers describe it.

    Parameters
    ----------
    name : str
        Its name.
    partitions : int
        Number of partitions.
    replication : int
        Copies of each partition.
    """

    name: str
    partitions: int
    replication: int


def list_topics(settings: Settings) -> list[TopicInfo]:
    """Return all topics this user may see, by name, without Kafka's own.

    Raises
    ------
    BrokerError
        No broker answers, or it refuses us.
    """
    return _existing(Admin(settings).reach("listing the topics"))


def _existing(cluster: ClusterMetadata) -> list[TopicInfo]:
    return [
        TopicInfo(
            name,
            len(topic.partitions),
            max((len(p.replicas) for p in topic.partitions.values()), default=0),
        )
        for name, topic in sorted(cluster.topics.items())
        if topic.error is None and not name.startswith("__")
    ]


def worker_topics(settings: Settings) -> tuple[str, ...]:
    """Return the names of the topics without which no worker does its work."""
    own = settings.topics
    return own.input, own.alerts, own.dead_letters


def operation_topics(settings: Settings) -> tuple[str, ...]:
    """Return the names of the topics about models and workers; one that is null is left out."""
    own = settings.topics
    return tuple(name for name in (own.audit, own.control, own.workers) if name is not None)


def topic_uses(settings: Settings) -> dict[str, str]:
    """Return what each topic of the settings is used for, in the order of the settings."""
    own = settings.topics
    uses = {
        own.input: "input",
        own.alerts: "alerts",
        own.dead_letters: "dead letters",
        own.audit: "audit of models",
        own.control: "control of workers",
        own.workers: "reports of workers",
    }
    return {name: use for name, use in uses.items() if name is not None}


def partitions_of(settings: Settings, name: str, *, otherwise: int) -> int:
    """Return how many partitions a new topic gets.

    One for those about models and workers: a few records a second, and everybody reads all of them.
    """
    return 1 if name in operation_topics(settings) else otherwise


def missing_topics(settings: Settings, names: Iterable[str] | None = None) -> list[str]:
    """Return which of the topics do not exist, in the order given.

    Parameters
    ----------
    settings : Settings
        Where the brokers are.
    names : iterable of str, optional
        Topics to look for; None takes the three of the worker.

    Raises
    ------
    BrokerError
        No broker answers, or it refuses us; so does a topic that this user may not see, which may
        well exist.
    """
    admin = Admin(settings)
    cluster = admin.reach("looking for the topics")
    known = {topic.name for topic in _existing(cluster)}
    unseen = [name for name in names or worker_topics(settings) if name not in known]
    if unseen and has_controller(cluster):
        described = admin.client.describe_topics(
            TopicCollection(unseen), request_timeout=admin.timeout_s
        )
        for name in unseen:
            try:
                admin.answer(described[name])
            except KafkaException as err:
                if not is_unknown_topic(err.args[0]):
                    raise admin.broker_error(err, f"looking for topic {name!r}", name) from err
    return unseen


def _defaults(settings: Settings, name: str) -> Mapping[str, str]:
    """Return the configuration that a topic of ours needs and the brokers do not give it."""
    own = settings.topics
    configs: dict[str | None, Mapping[str, str]] = {
        # The largest record that the input may hold, and our headers: a dead letter must be whole.
        own.dead_letters: {"max.message.bytes": str(settings.producer.message_max_bytes)},
        own.audit: _AUDIT_CONFIG,
        own.control: _CONTROL_CONFIG,
        own.workers: _WORKERS_CONFIG,
    }
    return configs.get(name, {})


def create_topics(
    settings: Settings,
    topics: Mapping[str, int] | None = None,
    *,
    replication: int = -1,
    config: Mapping[str, str] | None = None,
) -> list[str]:
    """Create topics that do not exist yet, and wait until they do.

    Parameters
    ----------
    settings : Settings
        Where the brokers are.
    topics : mapping of str to int, optional
        Number of partitions by name; None takes all that the settings name, with what
        `partitions_of` and `DEFAULT_PARTITIONS` give them.
    replication : int
        Copies of each partition; -1 takes the brokers' default.
    config : mapping of str to str, optional
        Topic configuration, by Kafka's names.

    Returns
    -------
    list of str
        The topics that were created; those that existed are left as they are.

    Raises
    ------
    BrokerError
        No broker answers, or one of the topics is refused.
    """
    wanted = topics or {
        name: partitions_of(settings, name, otherwise=DEFAULT_PARTITIONS)
        for name in topic_uses(settings)
    }
    admin = Admin(settings)
    admin.reach("creating the topics")
    requests = [
        NewTopic(
            name,
            num_partitions=n,
            replication_factor=replication,
            config={**_defaults(settings, name), **(config or {})},
        )
        for name, n in wanted.items()
    ]
    futures = cast(
        "dict[str, Future[None]]",
        admin.client.create_topics(
            requests, operation_timeout=admin.timeout_s, request_timeout=admin.timeout_s
        ),
    )
    created = []
    for name, future in futures.items():
        try:
            admin.answer(future)
        except KafkaException as err:
            if err.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise admin.broker_error(err, f"creating topic {name!r}", name) from err
        else:
            created.append(name)
    return created
