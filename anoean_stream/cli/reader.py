"""Records of a topic, without joining a group: from now on, or all that is there."""

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Self, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from anoean_stream.errors import BrokerError
from anoean_stream.kafka.config import consumer_config
from anoean_stream.kafka.faults import client_logger, fatal_error, missing_topic_sentence
from anoean_stream.settings import Settings

_BATCH: Final = 5000
_STALL_S: Final = 30.0
"""Seconds without any record of a partition that is known to hold more: then the broker is gone."""


class Reader:
    """Reads one topic by partition and offset; commits only when told to. Not thread-safe.

    Parameters
    ----------
    settings : Settings
        Brokers, security, and consumer options.
    topic : str
        The topic.
    group : str
        Name under which offsets are committed, and looked up; no group is joined.

    Raises
    ------
    BrokerError
        When librdkafka refuses the configuration.
    """

    def __init__(self, settings: Settings, topic: str, *, group: str) -> None:
        self._settings = settings
        self.topic = topic
        self._fatal: BrokerError | None = None
        self._ended: set[int] = set()
        config: dict[str, Any] = {
            **consumer_config(settings),
            "group.id": group,
            # An offset that is no longer there (retention, a new embedded broker): take what is.
            "auto.offset.reset": "earliest",
            # A topic may end in records that nobody is given (markers of transactions): only this
            # event tells that the end is reached.
            "enable.partition.eof": True,
            "error_cb": self._heard,
        }
        config.pop("group.instance.id", None)
        try:
            self.consumer = Consumer(config, logger=client_logger("reader"))
        except KafkaException as error:
            message = f"librdkafka cannot work with this configuration: {error.args[0].str()}"
            raise BrokerError(message) from error

    def partitions(self, *, timeout_s: float | None = None) -> list[int]:
        """Return the partitions of the topic; none when it does not exist.

        Raises
        ------
        BrokerError
            When no broker answers, or it refuses us.
        """
        limit_s = timeout_s or self._settings.broker.request_timeout_s
        try:
            found = self.consumer.list_topics(self.topic, timeout=limit_s).topics[self.topic]
        except KafkaException as error:
            raise self._error(error, f"looking for topic {self.topic!r}") from error
        if found.error is None:
            return sorted(found.partitions)
        # A topic that may not be read must not look like one that is not there.
        refusal = fatal_error(found.error, self._settings, topic=self.topic)
        if refusal is not None:
            raise refusal
        return []

    def bounds(self) -> dict[int, tuple[int, int]]:
        """Return the first offset and the next one of each partition.

        Raises
        ------
        BrokerError
            When the topic does not exist, no broker answers, or it refuses us.
        """
        partitions = self.partitions()
        if not partitions:
            servers = self._settings.broker.bootstrap_servers
            raise BrokerError(missing_topic_sentence(self.topic, servers))
        return {partition: self._bounds(partition) for partition in partitions}

    def offsets_at(self, moment: datetime, bounds: Mapping[int, tuple[int, int]]) -> dict[int, int]:
        """Return, by partition, the first offset whose record is not older than a moment.

        Where there is none it is the end that `bounds` names. Timestamps need not increase: behind
        that offset older records may stand.

        Raises
        ------
        BrokerError
            When no broker answers, or it refuses us.
        """
        asked_ms = max(round(moment.timestamp() * 1000), 0)
        asked = [TopicPartition(self.topic, partition, asked_ms) for partition in bounds]
        try:
            found = self.consumer.offsets_for_times(
                asked, timeout=self._settings.broker.request_timeout_s
            )
        except KafkaException as error:
            raise self._error(error, f"asking {self.topic!r} for offsets by time") from error
        for at in found:
            if at.error is not None:
                raise self._error(KafkaException(at.error), f"asking {self.topic!r} by time")
        return {
            at.partition: bounds[at.partition][1] if at.offset < 0 else at.offset for at in found
        }

    def committed(self) -> dict[int, TopicPartition]:
        """Return what the group has committed, by partition; a negative offset is nothing.

        Raises
        ------
        BrokerError
            When no broker answers, or it refuses us.
        """
        asked = [TopicPartition(self.topic, partition) for partition in self.partitions()]
        try:
            found = self.consumer.committed(asked, timeout=self._settings.broker.request_timeout_s)
        except KafkaException as error:
            raise self._error(error, "asking for committed offsets") from error
        return {at.partition: at for at in found}

    def start_at(self, offsets: Mapping[int, int]) -> None:
        """Read on from these offsets, by partition."""
        self._ended.clear()
        self.consumer.assign(
            [TopicPartition(self.topic, partition, offset) for partition, offset in offsets.items()]
        )

    def poll(self, timeout_s: float) -> list[Message]:
        """Return what has arrived, at most 5000 records; waits only for the first one.

        Raises
        ------
        BrokerError
            When waiting cannot help (credentials, authorisation).
        """
        first = self.consumer.poll(timeout_s)
        if self._fatal is not None:
            raise self._fatal
        if first is None:
            return []
        messages = [first, *self.consumer.consume(_BATCH - 1, 0.002)]
        return [message for message in messages if not self._is_event(message)]

    def raise_if_hopeless(self) -> None:
        """Raise what no waiting can mend, if librdkafka has reported such a thing.

        Raises
        ------
        BrokerError
            Refused credentials, authorisation, certificates.
        """
        if self._fatal is not None:
            raise self._fatal

    def read_until(
        self,
        starts: Mapping[int, int],
        ends: Mapping[int, int],
        *,
        timeout_s: float | None = None,
    ) -> Iterator[tuple[int, int, Message]]:
        """Yield partition, offset and message from `starts` to before `ends`, then stop.

        With `timeout_s` it also stops after so many seconds, wherever it is.

        Raises
        ------
        BrokerError
            When the broker stops answering for half a minute, or refuses us.
        """
        for messages in self.read_batches(starts, ends, timeout_s=timeout_s):
            for message in messages:
                partition, offset = place(message)
                if offset < ends.get(partition, 0):
                    yield partition, offset, message

    def read_batches(
        self,
        starts: Mapping[int, int],
        ends: Mapping[int, int],
        *,
        timeout_s: float | None = None,
    ) -> Iterator[list[Message]]:
        """Yield what `read_until` does in batches, with what came from beyond the ends.

        Raises
        ------
        BrokerError
            When the broker stops answering for half a minute, or refuses us.
        """
        waiting = {p: end for p, end in ends.items() if starts[p] < end}
        if not waiting:
            return
        self.start_at({partition: starts[partition] for partition in waiting})
        began = time.monotonic()
        deadline = began + _STALL_S
        while waiting:
            if timeout_s is not None and time.monotonic() - began > timeout_s:
                return
            if messages := self.poll(0.2):
                yield messages
                deadline = time.monotonic() + _STALL_S  # not counting the caller's own time
            self._drop_finished(waiting)
            if time.monotonic() > deadline:
                message_text = (
                    f"reading {self.topic!r} stopped: nothing came from partitions "
                    f"{sorted(waiting)} for {_STALL_S:.0f} s; check the brokers, then try again"
                )
                raise BrokerError(message_text)

    def close(self) -> None:
        """Leave; commits nothing."""
        self.consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_event(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return False
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the public name of a local error code
            self._ended.add(place(message)[0])
        return True

    def _drop_finished(self, waiting: dict[int, int]) -> None:
        # By position, not by the last record: offsets have holes (compaction, transactions).
        asked = [TopicPartition(self.topic, partition) for partition in waiting]
        for at in self.consumer.position(asked):
            if at.offset >= waiting[at.partition] or at.partition in self._ended:
                del waiting[at.partition]
                # What is written meanwhile would be fetched for nothing.
                self.consumer.pause([TopicPartition(self.topic, at.partition)])

    def _bounds(self, partition: int) -> tuple[int, int]:
        try:
            bounds = self.consumer.get_watermark_offsets(
                TopicPartition(self.topic, partition),
                timeout=self._settings.broker.request_timeout_s,
            )
        except KafkaException as error:
            raise self._error(error, f"asking for the offsets of {self.topic!r}") from error
        return bounds

    def _error(self, error: KafkaException, doing: str) -> BrokerError:
        self.consumer.poll(0)  # serves error_cb
        known = cast("KafkaError", error.args[0])
        fatal = self._fatal or fatal_error(known, self._settings, topic=self.topic)
        if fatal is not None:
            return fatal
        servers = self._settings.broker.bootstrap_servers
        return BrokerError(
            f"{doing} failed on {servers}: {known.str()}; check that Kafka runs there and "
            "broker.bootstrap_servers is right"
        )

    def _heard(self, error: KafkaError) -> None:
        self._fatal = self._fatal or fatal_error(error, self._settings, topic=self.topic)


def place(message: Message) -> tuple[int, int]:
    """Return partition and offset of a message."""
    return cast("int", message.partition()), cast("int", message.offset())


def header_texts(message: Message) -> dict[str, str]:
    """Return the headers as text; of several with one name the last."""
    pairs = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    return {name: (value or b"").decode(errors="replace") for name, value in pairs}
