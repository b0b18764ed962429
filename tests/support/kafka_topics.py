"""Numbered records in topics, and what a group has committed: for tests on either broker."""

import json
from collections.abc import Mapping

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.support.topics import publish


def create_topic(
    bootstrap: str, name: str, *, partitions: int = 4, config: Mapping[str, str] | None = None
) -> None:
    """Create a topic and wait until it exists."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    request = NewTopic(name, partitions, 1, config=dict(config or {}))
    admin.create_topics([request])[name].result(30)


def publish_numbers(
    bootstrap: str,
    topic: str,
    numbers: range,
    *,
    partitions: int = 4,
    padding: int = 0,
    compression: str = "lz4",
) -> None:
    """Write one JSON record for each number, round robin over the partitions, and wait for all."""
    filler = "x" * padding
    values = (json.dumps({"n": number, "p": filler}).encode() for number in numbers)
    publish(bootstrap, topic, values, partitions=partitions, compression=compression)


def committed(bootstrap: str, group: str, topic: str, *, partitions: int = 4) -> list[int]:
    """Return the committed next offset of each partition, 0 where there is none."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    asked = [TopicPartition(topic, number) for number in range(partitions)]
    future = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, asked)])[group]
    found = {p.partition: p.offset for p in future.result(30).topic_partitions}
    return [max(0, found.get(number, 0)) for number in range(partitions)]
