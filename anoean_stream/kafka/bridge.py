"""What the poll thread says, carried into the event loop."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError
from faust.types import TP

from anoean_stream.kafka.chunking import Fetched
from anoean_stream.kafka.positions import Jump
from anoean_stream.kafka.statistics import read_statistics
from anoean_stream.kafka.wire import wire_of

if TYPE_CHECKING:
    from anoean_stream.kafka.consumer import Consumer

logger = logging.getLogger("anoean.kafka.bridge")


class Bridge:
    """A `PollerOwner` that calls the consumer's methods in the event loop, in order.

    Parameters
    ----------
    consumer : Consumer
        Who hears.
    loop : asyncio.AbstractEventLoop
        Where.
    """

    # ruff: noqa: D102 - `PollerOwner` documents them

    def __init__(self, consumer: "Consumer", loop: asyncio.AbstractEventLoop) -> None:
        self._consumer = consumer
        self._loop = loop
        self._listener = wire_of(consumer.app).listener
        self.n_in_flight: Callable[[], int] = int  # 0, until there is a poller

    def _post(self, function: Callable[..., object], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop is closed: the process is at its end
            logger.debug("nobody listens any more", exc_info=True)

    def received(self, chunks: list[Fetched]) -> None:
        self._post(self._consumer.on_received, chunks)

    def assigned(self, epochs: Mapping[TP, int]) -> None:
        self._post(self._consumer.on_assigned, epochs)

    def revoked(self, tps: frozenset[TP], done: Callable[[], None]) -> None:
        def begin() -> None:
            self._consumer.add_future(self._consumer.on_revoked(tps, done))

        self._post(begin)

    def lost(self, tps: frozenset[TP]) -> None:
        self._post(self._consumer.on_lost, tps)

    def reported(self, error: KafkaError, topic: str | None) -> None:
        self._post(self._consumer.on_broker_error, error, topic)

    def jumped(self, jump: Jump, epoch: int) -> None:
        self._post(self._consumer.on_jumped, jump, epoch)

    def heard(self, error: KafkaError) -> None:
        """Take what librdkafka's error callback says; it knows no topic."""
        self.reported(error, None)

    def told(self, report: str) -> None:
        """Take librdkafka's statistics."""
        own = wire_of(self._consumer.app).settings.consumer
        found = read_statistics(report, is_kip848=own.group_protocol == "consumer")
        self._listener.on_statistics(
            n_connected=found.n_connected,
            is_joined=found.is_joined,
            n_waiting=found.n_unread + self.n_in_flight(),
        )

    def polled(self, monotonic_s: float) -> None:
        self._listener.on_poll(monotonic_s)

    def failed(self, error: BaseException) -> None:
        self._post(self._consumer.end_with, error)
