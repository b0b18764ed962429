"""An independent client: values into a topic, and everything that is in one."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from confluent_kafka import (
    Consumer,
    KafkaError,
    Message,
    Producer,
    TopicPartition,
)

_READ_TIMEOUT_S = 30.0

_ANY_PARTITION = -1
"""librdkafka's word for: let the partitioner choose."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it stands in a topic."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, str]


def publish(
    bootstrap: str,
    topic: str,
    values: Iterable[bytes | None],
    *,
    partitions: int | None = None,
    compression: str = "none",
) -> int:
    """Write values, wait until all are acknowledged, return how many.

    With `partitions` they go round robin, in order within each; else librdkafka chooses.
    """
    failures: list[object] = []
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            # Without it a retry (a new topic has no leader yet) would change the order.
            "enable.idempotence": True,
            "linger.ms": 20,
            "batch.size": 1_000_000,
            "message.max.bytes": 20_000_000,
            "compression.type": compression,
        }
    )
    n_values = 0

    def report(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(error)

    for value in values:
        while True:
            try:
                partition = _ANY_PARTITION if partitions is None else n_values % partitions
                producer.produce(topic, value, partition=partition, on_delivery=report)
                break
            except BufferError:
                producer.poll(0.1)
        n_values += 1
    left = producer.flush(60)
    assert not left, f"{left} records were not delivered"
    assert not failures, failures[0]
    return n_values


def read_all(
    bootstrap: str, topic: str, *, isolation_level: str = "read_committed"
) -> list[Record]:
    """Return all records between the topic's beginning and its end of now.

    With ``read_committed`` those of aborted transactions are left out, and the end of open ones is
    waited for; with ``read_uncommitted`` everything is returned that was ever written.
    """
    config: dict[str, str | int | float | bool] = {
        "bootstrap.servers": bootstrap,
        "group.id": "test-reader",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
    }
    ends = _ends(config, topic)
    # Control records and aborted ones are never returned: only the end-of-partition event tells that
    # the last offset was passed.
    consumer = Consumer(
        {**config, "isolation.level": isolation_level, "enable.partition.eof": True}
    )
    try:
        waiting = {partition for partition, (low, high) in ends.items() if high > low}
        consumer.assign(
            [TopicPartition(topic, partition, ends[partition][0]) for partition in ends]
        )
        records: list[Record] = []
        deadline = time.monotonic() + _READ_TIMEOUT_S
        while waiting:
            assert time.monotonic() < deadline, f"{topic}: partitions {waiting} have no end"
            for message in consumer.consume(10_000, 0.2):
                partition, offset = cast("int", message.partition()), cast("int", message.offset())
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    if offset >= ends[partition][1]:
                        waiting.discard(partition)
                    continue
                assert error is None, error
                headers = cast("Sequence[tuple[str, bytes]]", message.headers() or [])
                records.append(
                    Record(
                        partition,
                        offset,
                        message.key(),
                        message.value(),
                        {name: value.decode() for name, value in headers},
                    )
                )
                if offset + 1 >= ends[partition][1]:
                    waiting.discard(partition)
        return records
    finally:
        consumer.close()


def _ends(config: dict[str, str | int | float | bool], topic: str) -> dict[int, tuple[int, int]]:
    """Return first and next offset of each partition, open transactions included."""
    consumer = Consumer({**config, "isolation.level": "read_uncommitted"})
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        return {
            partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
            for partition in partitions
        }
    finally:
        consumer.close()
