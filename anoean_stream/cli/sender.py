"""Records to a topic, each of them counted until a broker has acknowledged it."""

from collections.abc import Sequence
from typing import Any, Final, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from anoean_stream.errors import BrokerError, DeliveryError
from anoean_stream.kafka.config import producer_config
from anoean_stream.kafka.faults import (
    client_logger,
    fatal_error,
    is_unknown_topic,
    missing_topic_sentence,
)
from anoean_stream.settings import Settings

_POLL_S: Final = 0.05
"""Seconds to wait for reports when librdkafka's queue is full."""

_SPARE_S: Final = 5.0
"""Seconds beyond producer.delivery_timeout_s for the last reports to arrive."""


class Sender:
    """Writes records and counts what the brokers acknowledged.

    Blocks while librdkafka's queue is full. Not thread-safe.

    Parameters
    ----------
    settings : Settings
        Brokers and producer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._failure: KafkaError | None = None
        self._failed_topic: str | None = None
        self._fatal: BrokerError | None = None
        config: dict[str, Any] = {**producer_config(settings), "error_cb": self._heard}
        try:
            self._producer = Producer(config, logger=client_logger("sender"))
        except KafkaException as error:
            message = f"librdkafka cannot work with this configuration: {error.args[0].str()}"
            raise BrokerError(message) from error
        self.n_sent = 0
        self.n_acknowledged = 0

    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Hand one record to librdkafka; `finish` tells whether it arrived.

        Raises
        ------
        BrokerError
            When waiting cannot help (credentials, authorisation).
        """
        pairs = cast("list[tuple[str, str | bytes | None]]", list(headers))
        while True:
            try:
                self._producer.produce(
                    topic, value, key=key, headers=pairs, on_delivery=self._report
                )
                break
            except BufferError:
                self.poll(_POLL_S)
            except KafkaException as error:
                raise self._undelivered(error.args[0], topic) from error
        self.n_sent += 1

    def poll(self, timeout_s: float = 0.0) -> None:
        """Serve delivery reports.

        Raises
        ------
        BrokerError
            When waiting cannot help.
        """
        self._producer.poll(timeout_s)
        if self._fatal is not None:
            raise self._fatal

    def finish(self) -> None:
        """Wait until every record is acknowledged.

        Raises
        ------
        DeliveryError
            When some were not, within producer.delivery_timeout_s.
        BrokerError
            When waiting cannot help.
        """
        self._producer.flush(self._settings.producer.delivery_timeout_s + _SPARE_S)
        if self._fatal is not None:
            raise self._fatal
        if self.n_acknowledged != self.n_sent:
            raise self._undelivered(self._failure, self._failed_topic)

    def _report(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.n_acknowledged += 1
            return
        if self._failure is None:
            self._failure, self._failed_topic = error, message.topic()

    def _heard(self, error: KafkaError) -> None:
        self._fatal = self._fatal or fatal_error(error, self._settings)

    def _undelivered(self, error: KafkaError | None, topic: str | None) -> DeliveryError:
        servers = self._settings.broker.bootstrap_servers
        if error is not None and is_unknown_topic(error):
            return DeliveryError(missing_topic_sentence(topic, servers))
        n_missing = self.n_sent - self.n_acknowledged
        why = "" if error is None else f" ({error.str()})"
        return DeliveryError(
            f"{n_missing} of {self.n_sent} records were not acknowledged by {servers}{why}; "
            "check that Kafka runs there, then send them again"
        )
