"""The first contact with the brokers, and a client to ask them things. Everything here blocks.

librdkafka never gives up: it reconnects for ever, and what is wrong reaches only its error callback.
That is right for a worker that runs and wrong for one that starts, where a mistake in the settings
is likelier than an outage. So whoever starts asks here first, for ``broker.connect_timeout_s``.
"""

import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, Final, TypeVar, cast

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._metadata import ClusterMetadata

from anoean_stream.errors import BrokerError
from anoean_stream.kafka.config import admin_config
from anoean_stream.kafka.faults import (
    client_logger,
    fatal_error,
    is_silent_refusal,
    refusal_at_start,
    silent_refusal_sentence,
)
from anoean_stream.settings import Settings

T = TypeVar("T")

LOOK_S: Final = 0.5
"""Seconds one attempt lasts: how soon a refusal, or the wish to stop, is noticed."""

SILENCE_S: Final = 5.0
"""Seconds after which connections that are taken and closed without a word count as refused: a
broker that is just starting does that, too, but for a second or two."""

MARGIN_S: Final = 5.0
"""Seconds to wait for an answer beyond the limit that the broker was given."""


class Admin:
    """An admin client that remembers what librdkafka complained of. Not thread-safe.

    Parameters
    ----------
    settings : Settings
        Where the brokers are, and how to log in.

    Raises
    ------
    ConfigError
        A file that the broker section names cannot be read.
    BrokerError
        librdkafka refuses the configuration.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.timeout_s = settings.broker.request_timeout_s
        self._heard: list[KafkaError] = []
        config: dict[str, Any] = {**admin_config(settings), "error_cb": self._hear}
        try:
            self.client = AdminClient(config, logger=client_logger("admin"))
        except KafkaException as err:
            raise BrokerError(
                f"librdkafka cannot work with this configuration: {err.args[0].str()}; check the "
                "broker section"
            ) from err

    def _hear(self, error: KafkaError) -> None:
        self._heard.append(error)

    def reach(
        self, doing: str = "reaching the brokers", *, given_up: threading.Event | None = None
    ) -> ClusterMetadata:
        """Return what the brokers say of the cluster, at the first contact.

        Parameters
        ----------
        doing : str
            What is in vain without it, for the message.
        given_up : threading.Event, optional
            Ends the wait.

        Raises
        ------
        BrokerError
            No broker answers within ``broker.connect_timeout_s``, or one refuses us; one sentence
            that says what to do.
        """
        began = time.monotonic()
        limit_s = self._settings.broker.connect_timeout_s
        while True:
            try:
                return self.client.list_topics(timeout=LOOK_S)
            except KafkaException as err:
                self.client.poll(LOOK_S / 5)  # serves error_cb
                passed_s = time.monotonic() - began
                refusal = self._refusal(passed_s)
                if refusal is not None:
                    raise refusal from err
                if passed_s > limit_s or (given_up is not None and given_up.is_set()):
                    raise self._no_answer(doing, limit_s) from err

    def answer(self, future: "Future[T]") -> T:
        """Wait for the answer to one request.

        Raises
        ------
        KafkaException
            The broker refuses, or does not answer in time.
        """
        try:
            return future.result(self.timeout_s + MARGIN_S)
        except FutureTimeoutError as err:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from err  # noqa: SLF001 - a public name

    def broker_error(
        self, err: KafkaException, doing: str, topic: str | None = None
    ) -> BrokerError:
        """Return the error to raise for a failed request."""
        self.client.poll(0)  # serves error_cb
        error = cast("KafkaError", err.args[0])
        for known in (error, *self._heard):
            fatal = fatal_error(known, self._settings, topic=topic)
            if fatal is not None:
                return fatal
        if error.code() in {KafkaError._TRANSPORT, KafkaError._TIMED_OUT}:  # noqa: SLF001 - public names
            return self._no_answer(doing, self.timeout_s)
        servers = self._settings.broker.bootstrap_servers
        return BrokerError(f"{doing} failed on {servers}: {error.name()}: {error.str()}")

    def _refusal(self, passed_s: float) -> BrokerError | None:
        # A refused password says more than the time-outs around it, so each of them is looked at.
        for known in self._heard:
            refusal = refusal_at_start(known, self._settings)
            if refusal is not None:
                return refusal
        if passed_s > SILENCE_S and is_silent_refusal(self._heard):
            return BrokerError(silent_refusal_sentence(self._settings))
        return None

    def _no_answer(self, doing: str, limit_s: float) -> BrokerError:
        servers = self._settings.broker.bootstrap_servers
        telling = [one for one in self._heard if one.code() != KafkaError._ALL_BROKERS_DOWN]  # noqa: SLF001 - a public name
        last = f" ({telling[-1].str()})" if telling else ""
        return BrokerError(
            f"{doing} failed: no answer from {servers} within {limit_s:g} s{last}; check that Kafka "
            "runs there and broker.bootstrap_servers is right"
        )


def has_controller(cluster: ClusterMetadata) -> bool:
    """Tell whether the cluster has a controller, which describes topics.

    The mock cluster names one, number 0, that is none of its brokers; a request would wait for it.
    """
    return cluster.controller_id in cluster.brokers
