"""Numbered records in topics, and what a group has committed: for tests on either broker."""

import json
from collections.abc import Mapping

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic


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
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            # Without it a retry (a new topic has no leader yet) would change the order.
            "enable.idempotence": True,
            "linger.ms": 20,
            "compression.type": compression,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    filler = "x" * padding
    for number in numbers:
        value = json.dumps({"n": number, "p": filler}).encode()
        while True:
            try:
                producer.produce(topic, value, partition=number % partitions)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(30) == 0, f"records for {topic} were not delivered"


def committed(bootstrap: str, group: str, topic: str, *, partitions: int = 4) -> list[int]:
    """Return the committed next offset of each partition, 0 where there is none."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    asked = [TopicPartition(topic, number) for number in range(partitions)]
    future = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, asked)])[group]
    found = {p.partition: p.offset for p in future.result(30).topic_partitions}
    return [max(0, found.get(number, 0)) for number in range(partitions)]


def read_values(bootstrap: str, topic: str, *, n: int, within_s: float = 20.0) -> list[bytes]:
    """Return the first n values of a topic, from the beginning."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"reader-{topic}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    try:
        parts = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in parts])
        values: list[bytes] = []
        while len(values) < n:
            messages = consumer.consume(n - len(values), within_s)
            assert messages, f"only {len(values)} of {n} records in {topic} within {within_s:g} s"
            values.extend(value for m in messages if (value := m.value()) is not None)
        return values
    finally:
        consumer.close()
