"""The independent client: reads outputs, inputs and committed offsets back, with nothing of ours."""

import re
import threading
from collections.abc import Iterator
from typing import Any, Final, Self, cast

import msgspec
from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from tests.chaos.checker import Output
from tests.support.waiting import wait_until

_NUMBER: Final = re.compile(rb'\{"n": (\d+),')

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
                elif error.code() == KafkaError._PARTITION_EOF:
                    waiting.discard(cast("int", message.partition()))
                else:
                    raise KafkaException(error)
    finally:
        consumer.close()


def end_offsets(consumer: Consumer, topic: str) -> dict[int, tuple[int, int]]:
    """Return first and next offset of each partition; waits for brokers that have just come back."""
    found: dict[int, tuple[int, int]] = {}

    def ask() -> bool:
        try:
            partitions = consumer.list_topics(topic, timeout=15).topics[topic].partitions
            for number in partitions:
                place = TopicPartition(topic, number)
                found[number] = consumer.get_watermark_offsets(place, timeout=15)
        except KafkaException:
            return False  # a leader that is not caught up says so, and soon is
        return True

    wait_until(ask, what=f"the offsets of {topic}", within_s=READ_S)
    return found


def ends_of(bootstrap: str, topic: str) -> dict[int, int]:
    """Return the end of each partition."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "observer", "log_level": 2})
    try:
        return {partition: high for partition, (_, high) in end_offsets(consumer, topic).items()}
    finally:
        consumer.close()


def read_alerts(bootstrap: str, topic: str) -> list[Output]:
    """Return the alerts of a topic, without the notices that may stand between them."""
    return [
        _alert(message)
        for message in read(bootstrap, topic)
        if ("event-kind", b"notice") not in (message.headers() or [])
    ]


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
        number=number_of(message.value()),
        partition=int(headers["anoean-partition"]),
        offset=int(headers["anoean-offset"]),
        lane=_lane(message),
        appended_ms=message.timestamp()[1],
        value=message.value(),
    )


def _lane(message: Message) -> tuple[str, int]:
    return cast("str", message.topic()), cast("int", message.partition())


def numbers_in(bootstrap: str, topic: str) -> frozenset[int]:
    """Return the numbers of the flows that stand in an input topic now."""
    numbers = (number_of(message.value()) for message in read(bootstrap, topic))
    return frozenset(number for number in numbers if number is not None)


def number_of(value: bytes | None) -> int | None:
    """Return the number in a record that `traffic.flow` made, good or not; None in others."""
    found = _NUMBER.match(value or b"")
    return None if found is None else int(found[1])


class GroupOffsets:
    """What a group has committed; asks as the group, without joining it.

    (An admin client is not used for it: librdkafka 2.16 ends the process by an assertion in
    ListConsumerGroupOffsets when all brokers vanish at the wrong moment.)

    Parameters
    ----------
    bootstrap, group, topic : str
        What is looked at.
    """

    def __init__(self, bootstrap: str, group: str, topic: str) -> None:
        self._topic = topic
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group,
                "enable.auto.commit": False,
                "socket.timeout.ms": 5000,
                "log_level": 2,
            }
        )

    def now(self) -> dict[int, int]:
        """Return the committed next offset of each partition, 0 where there is none.

        Raises
        ------
        KafkaException
            No coordinator answers.
        """
        partitions = self._consumer.list_topics(self._topic, timeout=5).topics[self._topic]
        return dict.fromkeys(partitions.partitions, 0) | self.found()

    def found(self) -> dict[int, int]:
        """Return the committed next offset of each partition that has one."""
        partitions = self._consumer.list_topics(self._topic, timeout=5).topics[self._topic]
        asked = [TopicPartition(self._topic, number) for number in partitions.partitions]
        answer = self._consumer.committed(asked, timeout=5) if asked else []
        return {p.partition: p.offset for p in answer if p.offset >= 0}

    def close(self) -> None:
        """Forget the connection."""
        self._consumer.close()


class CommitWatch:
    """Looks at a group's committed offsets a few times a second: they must never go back.

    A worker that lost its partitions and commits nevertheless would show here.

    Parameters
    ----------
    bootstrap, group, topic : str
        What is watched.
    """

    def __init__(self, bootstrap: str, group: str, topic: str) -> None:
        self._offsets = GroupOffsets(bootstrap, group, topic)
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._seen: dict[int, int] = {}
        self.went_back: list[str] = []

    def start_again(self) -> None:
        """Forget what was seen: the topic is another now."""
        self._seen = {}

    def _watch(self) -> None:
        while not self._halt.wait(WATCH_EVERY_S):
            try:
                now = self._offsets.now()
            except KafkaException:
                continue  # an outage, which is the point of the scenario
            for partition, offset in now.items():
                if offset < self._seen.get(partition, 0):
                    self.went_back.append(f"[{partition}] {self._seen[partition]} -> {offset}")
                self._seen[partition] = offset

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._halt.set()
        self._thread.join()
        self._offsets.close()
