"""The independent client: reads outputs, inputs and committed offsets back, with nothing of ours."""

import json
import threading
from collections.abc import Iterator
from typing import Any, Final, Self, cast

import msgspec
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from tests.chaos.checker import Output
from tests.support.waiting import wait_until

READ_S: Final = 60.0
WATCH_EVERY_S: Final = 0.3


def read(bootstrap: str, topic: str, *, isolation: str = "read_committed") -> Iterator[Message]:
    """Yield every record between a topic's beginning and its end of now."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "observer",
            "enable.auto.commit": False,
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "fetch.message.max.bytes": 8_000_000,
            "log_level": 2,
        }
    )
    try:
        ends = end_offsets(consumer, topic)
        waiting = {partition for partition, (low, high) in ends.items() if high > low}
        consumer.assign([TopicPartition(topic, p, low) for p, (low, _) in ends.items()])
        while waiting:
            got = wait_until(
                lambda: consumer.consume(10_000, 0.2), what=f"records of {topic}", within_s=READ_S
            )
            for message in got:
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                    waiting.discard(cast("int", message.partition()))
                else:
                    raise KafkaException(error)
    finally:
        consumer.close()


def end_offsets(consumer: Consumer, topic: str) -> dict[int, tuple[int, int]]:
    """Return first and next offset of each partition."""
    partitions = consumer.list_topics(topic, timeout=15).topics[topic].partitions
    return {
        partition: cast(
            "tuple[int, int]",
            consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=15),
        )
        for partition in partitions
    }


def ends_of(bootstrap: str, topic: str) -> dict[int, int]:
    """Return the end of each partition."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "observer", "log_level": 2})
    try:
        return {partition: high for partition, (_, high) in end_offsets(consumer, topic).items()}
    finally:
        consumer.close()


def read_alerts(bootstrap: str, topic: str) -> list[Output]:
    """Return the alerts of a topic."""
    return [_alert(message) for message in read(bootstrap, topic)]


def _alert(message: Message) -> Output:
    alert: dict[str, Any] = msgspec.json.decode(message.value() or b"")
    original = alert.get("original")
    source = alert["source"]
    return Output(
        number=original["n"] if isinstance(original, dict) else None,
        partition=source["partition"],
        offset=source["offset"],
        lane=_lane(message),
        appended_ms=message.timestamp()[1],
        alert_id=alert["alert_id"],
    )


def read_letters(bootstrap: str, topic: str) -> list[Output]:
    """Return the dead letters of a topic."""
    return [_letter(message) for message in read(bootstrap, topic)]


def _letter(message: Message) -> Output:
    headers = dict(cast("list[tuple[str, bytes]]", message.headers() or []))
    return Output(
        number=None,
        partition=int(headers["anoean-partition"]),
        offset=int(headers["anoean-offset"]),
        lane=_lane(message),
        appended_ms=message.timestamp()[1],
        value=message.value(),
    )


def _lane(message: Message) -> tuple[str, int]:
    return cast("str", message.topic()), cast("int", message.partition())


def numbers_in(bootstrap: str, topic: str) -> frozenset[int]:
    """Return the numbers of the records that stand in an input topic now."""
    found = set()
    for message in read(bootstrap, topic):
        try:
            found.add(int(json.loads((message.value() or b"").decode().split(",")[0] + "}")["n"]))
        except (ValueError, KeyError):
            continue  # no flow: such scenarios do not ask
    return frozenset(found)


class CommitWatch:
    """Looks at a group's committed offsets a few times a second: they must never go back.

    A worker that lost its partitions and commits nevertheless would show here.

    Parameters
    ----------
    admin : AdminClient
        Asks.
    group, topic : str
        What is watched.
    """

    def __init__(self, admin: AdminClient, group: str, topic: str) -> None:
        self._where = (admin, group, topic)
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.went_back: list[str] = []

    def _watch(self) -> None:
        seen: dict[int, int] = {}
        while not self._halt.wait(WATCH_EVERY_S):
            try:
                now = committed_offsets(*self._where)
            except (KafkaException, TimeoutError):
                continue  # an outage, which is the point of the scenario
            for partition, offset in now.items():
                if offset < seen.get(partition, 0):
                    self.went_back.append(f"[{partition}] {seen[partition]} -> {offset}")
                seen[partition] = offset

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._halt.set()
        self._thread.join()


def committed_offsets(admin: AdminClient, group: str, topic: str) -> dict[int, int]:
    """Return the committed next offset of each partition of a topic, 0 where there is none."""
    n_partitions = len(admin.list_topics(topic, timeout=10).topics[topic].partitions)
    asked = [TopicPartition(topic, number) for number in range(n_partitions)]
    found = admin.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(group, asked)], require_stable=True, request_timeout=10
    )[group].result(15)
    return {p.partition: max(0, p.offset) for p in found.topic_partitions}
