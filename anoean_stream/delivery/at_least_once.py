"""At least once: alerts are written, and the consumer commits the offsets some time later.

A crash between the two repeats alerts, with the same ids.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from anoean_stream.delivery.parcels import (
    Backoff,
    Parcel,
    Shortener,
    addressed_records,
    items_of,
)
from anoean_stream.kafka.batch import BatchItem, Undelivered
from anoean_stream.observe.metrics import Metrics
from anoean_stream.settings import TopicSettings

log = structlog.get_logger("anoean.delivery")


class BatchSender(Protocol):
    """What `AtLeastOnce` needs of a producer."""

    async def send_batch(self, items: Sequence[BatchItem]) -> Sequence[Undelivered]:
        """Send items; return, when the brokers have answered for each, which were not taken."""
        ...


class AtLeastOnce:
    """Writes alerts and dead letters; the ledger's offsets are committed later.

    Parameters
    ----------
    producer : callable
        Gives the running producer.
    topics : TopicSettings
        Where alerts and dead letters go.
    metrics : Metrics
        Counts what was retried and shortened.
    message_max_bytes : int
        Largest value that the producer takes, bytes.
    """

    parcels_at_once = 1

    def __init__(
        self,
        producer: Callable[[], BatchSender],
        *,
        topics: TopicSettings,
        metrics: Metrics,
        message_max_bytes: int,
    ) -> None:
        self._producer = producer
        self._topics = topics
        self._metrics = metrics
        self._shortener = Shortener(topics, metrics=metrics, message_max_bytes=message_max_bytes)

    async def deliver(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        """See `Delivery.deliver`; every parcel is delivered."""
        records = addressed_records(parcels, self._topics)
        pending = list(map(self._shortener.beforehand, records))
        backoff = Backoff()
        while pending:
            undelivered = await self._producer().send_batch(items_of(pending))
            if not undelivered:
                break
            pending = [self._shortener.again(pending[one.index], one) for one in undelivered]
            self._metrics.delivery_retries.inc(len(pending))
            if not all(failure.is_too_large for failure in undelivered):
                log.warning(
                    "delivery_retried",
                    n=len(pending),
                    topics=sorted({topic for topic, _ in pending}),
                    backoff_s=backoff.seconds,
                    reason=str(undelivered[0]),
                )
                await backoff.wait()
        return parcels
