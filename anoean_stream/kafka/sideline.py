"""Beside the wire: news of models out, the control topic in. Never in the way of a record.

A client of its own with a thread of its own. Whatever happens here (no such topic, no access, a slow
broker) is logged and counted, and neither stops, slows nor ends the worker: what is served stands in
the registry, and this only tells of it.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final, cast

from confluent_kafka import (
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from anoean_stream.errors import BrokerError
from anoean_stream.kafka.config import admin_config, producer_config
from anoean_stream.kafka.faults import News, client_logger, is_unknown_topic, missing_topic_sentence
from anoean_stream.records.control import ControlMessage
from anoean_stream.records.outgoing import OutRecord
from anoean_stream.settings import Settings

logger = logging.getLogger("anoean.kafka.sideline")

_LOOK_S: Final = 0.2
"""Seconds one poll waits: how soon a control message and the wish to stop are noticed."""

_FIND_S: Final = 15.0
"""Seconds between two looks for a control topic that is not there yet, and for new partitions."""

_METADATA_S: Final = 0.5
"""Seconds one such look may take: a stop waits for it. The connection goes on being made meanwhile."""

_FIND_AGAIN_S: Final = 1.0
"""Seconds until the next look when no broker answered."""

_END_S: Final = 3.0
"""Seconds in which the thread must have ended: a look and a poll take 0.7 at the most."""

_DELIVERY_S: Final = 60.0
"""Seconds after which a record that no broker took is given up, and counted."""

_QUEUE_KBYTES: Final = 8192
"""Kilobytes of records that wait for a broker; a shadow report has up to 100."""


class Sideline:
    """Writes records that nobody waits for, and hears the control topic.

    Parameters
    ----------
    settings : Settings
        Brokers; ``topics.control`` (null: nothing is heard).
    on_control : callable
        Gets each control message, in this object's thread; must not block or raise.
    on_lost : callable
        Gets topic and reason of each record that was not taken, in this object's thread.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_control: Callable[[ControlMessage], None],
        on_lost: Callable[[str, str], None],
    ) -> None:
        self._settings = settings
        self._topic = settings.topics.control
        self._on_control = on_control
        self._on_lost = on_lost
        self._news = News(logger)
        self._halted = threading.Event()
        self._partitions: set[int] = set()
        self._find_at = 0.0
        self._thread: threading.Thread | None = None
        self._producer: Producer | None = None

    def start(self) -> None:
        """Create the clients; they connect when needed.

        Raises
        ------
        ConfigError, BrokerError
            The configuration cannot work: the worker could not run with it either.
        """
        own = self._settings
        quick = {
            "delivery.timeout.ms": round(_DELIVERY_S * 1000),
            "queue.buffering.max.kbytes": max(
                _QUEUE_KBYTES, -(-own.producer.message_max_bytes // 1024)
            ),
            "linger.ms": 20,
            "error_cb": self._heard,
        }
        consuming: dict[str, Any] = {
            **admin_config(own),
            # Never joined: partitions are assigned, as each worker must hear everything.
            "group.id": f"{own.consumer.group_id}.control",
            "enable.auto.commit": False,
            "auto.offset.reset": "latest",
            "allow.auto.create.topics": False,
            "queued.max.messages.kbytes": 1024,
            "error_cb": self._heard,
        }
        try:
            self._producer = Producer(
                {**producer_config(own), **quick}, logger=client_logger("sideline")
            )
            consumer = (
                None
                if self._topic is None
                else Consumer(consuming, logger=client_logger("sideline"))
            )
        except KafkaException as error:
            message = f"librdkafka cannot work with this configuration: {error.args[0].str()}"
            raise BrokerError(message) from error
        self._thread = threading.Thread(
            target=self._run, args=(self._producer, consumer), name="anoean-sideline", daemon=True
        )
        self._thread.start()

    def send(self, topic: str | None, record: OutRecord) -> None:
        """Hand over a record and return at once; with topic None nothing is written. Any thread."""
        if topic is None or self._producer is None:
            return
        headers = cast("list[tuple[str, str | bytes | None]]", list(record.headers))
        try:
            self._producer.produce(
                topic, record.value, key=record.key, headers=headers, on_delivery=self._report
            )
        except BufferError:
            self._lose(topic, "too many records wait for the brokers")
        except KafkaException as error:
            self._lose(topic, error.args[0].str())

    def stop(self, limit_s: float) -> None:
        """Write what waits, for so many seconds at the most, then end. Blocks.

        The thread has ended and the clients are gone when this returns: one that was still inside
        librdkafka while the interpreter ends would take the process down with a segmentation fault.
        """
        self._halted.set()
        producer, self._producer = self._producer, None
        if producer is not None and producer.flush(limit_s):
            logger.warning("%d records about models were not written at the stop", len(producer))
            producer.purge()
            producer.flush(_LOOK_S)
        if self._thread is not None:
            self._thread.join(_END_S)

    # ------------------------------------------------------------------ the thread

    def _run(self, producer: Producer, consumer: Consumer | None) -> None:
        while not self._halted.is_set():
            try:
                self._turn(producer, consumer)
            except Exception:
                # The guard of the worker: a bug in telling of models must not end what scores them.
                if self._news.is_due("bug") is not None:
                    logger.exception("news of models failed; going on")
                self._halted.wait(_LOOK_S)
        if consumer is not None:
            consumer.close()

    def _turn(self, producer: Producer, consumer: Consumer | None) -> None:
        if consumer is None:
            producer.poll(_LOOK_S)
            return
        producer.poll(0)
        if time.monotonic() >= self._find_at:
            self._find(consumer)
        message = consumer.poll(_LOOK_S)
        if message is not None:
            self._hear(message)

    def _find(self, consumer: Consumer) -> None:
        """Read all partitions of the control topic, new ones too, from now on."""
        assert self._topic is not None
        self._find_at = time.monotonic() + _FIND_S
        try:
            found = consumer.list_topics(self._topic, timeout=_METADATA_S).topics[self._topic]
        except KafkaException as error:
            self._find_at = time.monotonic() + _FIND_AGAIN_S
            logger.debug("control topic %s: %s", self._topic, error.args[0].str())
            return
        if found.error is not None:
            self._tell_missing(found.error)
            return
        new = set(found.partitions) - self._partitions
        if not new:
            return
        try:
            positions = consumer.position(
                [TopicPartition(self._topic, one) for one in self._partitions]
            )
            held = {at.partition: at.offset for at in positions if at.offset >= 0}
            consumer.assign(
                [
                    TopicPartition(self._topic, one, held.get(one, OFFSET_END))
                    for one in sorted(self._partitions | new)
                ]
            )
        except KafkaException as error:
            self._news.tell("assign", f"control topic {self._topic!r}: {error.args[0].str()}")
            return
        self._partitions |= new
        logger.debug("hearing %s, partitions %s", self._topic, sorted(self._partitions))

    def _hear(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            self._tell_missing(error)
            return
        try:
            control = ControlMessage.from_json(message.value() or b"")
        except ValueError as problem:
            place = f"{message.topic()}/{message.partition()}/{message.offset()}"
            self._news.tell("foreign", f"{place} is no control message: {problem}")
            return
        self._on_control(control)

    def _tell_missing(self, error: KafkaError) -> None:
        self._partitions.clear()
        poll_s = self._settings.registry.poll_interval_s
        why = (
            missing_topic_sentence(self._topic, self._settings.broker.bootstrap_servers)
            if is_unknown_topic(error)
            else error.str()
        )
        self._news.tell(
            "missing",
            f"no control messages ({why}); the registry is looked at every {poll_s:g} s",
            level=logging.INFO,
        )

    def _heard(self, error: KafkaError) -> None:
        # Outages are told by the clients of the wire; here they would be told twice.
        logger.debug("librdkafka: %s: %s", error.name(), error.str())

    def _report(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            return
        topic = str(message.topic())
        missing = missing_topic_sentence(topic, self._settings.broker.bootstrap_servers)
        self._lose(topic, missing if is_unknown_topic(error) else error.str())

    def _lose(self, topic: str, reason: str) -> None:
        self._news.tell(f"lost {topic}", f"not written to {topic}: {reason}")
        self._on_lost(topic, reason)
