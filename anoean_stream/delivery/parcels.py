"""Verdicts on their way to the brokers, and what is sent instead of a record that was refused."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from anoean_stream.errors import BrokerError
from anoean_stream.kafka.batch import BatchItem, Undelivered
from anoean_stream.observe.metrics import Metrics
from anoean_stream.pipeline import Verdict
from anoean_stream.records.alert import without_original
from anoean_stream.records.chunk import Chunk
from anoean_stream.records.deadletter import truncated
from anoean_stream.records.outgoing import OutRecord
from anoean_stream.settings import TopicSettings

Acknowledge = Callable[[], Awaitable[None]]
Addressed = tuple[str, OutRecord]
"""Topic and record."""

_FIRST_BACKOFF_S: Final = 0.1
_LONGEST_BACKOFF_S: Final = 10.0
"""Between two tries of the same delivery, seconds: at once would be a busy loop, and after more
than ten a broker that is back would wait for us."""


_ANY: Final = 1 << 62
"""More bytes than any record has: nothing was refused yet."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A verdict on its way to the brokers.

    Parameters
    ----------
    verdict : Verdict
        Its alerts and dead letters are to be delivered.
    chunk : Chunk
        What it was made of, the very object that the transport handed over.
    acknowledge : callable
        Awaited once, after the delivery.
    """

    verdict: Verdict
    chunk: Chunk
    acknowledge: Acknowledge


class Delivery(Protocol):
    """How verdicts reach the brokers."""

    @property
    def parcels_at_once(self) -> int:
        """Most parcels that one `deliver` gets."""
        ...

    async def deliver(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        """Return when the brokers have all alerts and dead letters, in order.

        Tries for ever, more and more slowly: the partition then waits, which is what back pressure
        means. What the brokers call too large is shortened.

        Returns
        -------
        sequence of Parcel
            Those to acknowledge; the others are another worker's by now.

        Raises
        ------
        BrokerError
            The broker will never take it (not authorised, even the shortest form too large).
        """
        ...


class Backoff:
    """Waits between two tries, twice as long each time."""

    def __init__(self) -> None:
        self.seconds = _FIRST_BACKOFF_S

    async def wait(self) -> None:
        """Wait."""
        await asyncio.sleep(self.seconds)
        self.seconds = min(2 * self.seconds, _LONGEST_BACKOFF_S)


class Shortener:
    """Says what to send instead of a record that was refused.

    Parameters
    ----------
    topics : TopicSettings
        Which records are alerts.
    metrics : Metrics
        Counts what was shortened.
    message_max_bytes : int
        Largest value that the producer takes, bytes.
    """

    def __init__(self, topics: TopicSettings, *, metrics: Metrics, message_max_bytes: int) -> None:
        self._topics = topics
        self._metrics = metrics
        self._message_max_bytes = message_max_bytes
        self._refused_bytes: dict[str, int] = {}  # smallest record that each topic has refused

    def beforehand(self, addressed: Addressed) -> Addressed:
        """Return what to send at first: what the topic refused once, it refuses again.

        A record that is shortened only after a refusal stands behind its neighbours.
        """
        topic, record = addressed
        if topic == self._topics.alerts and n_bytes(record) >= self._refused_bytes.get(topic, _ANY):
            return self.shorter(addressed)
        return addressed

    def again(self, addressed: Addressed, failure: Undelivered) -> Addressed:
        """Return what to send instead of a record that was not delivered.

        Raises
        ------
        BrokerError
            The broker will never take it.
        """
        topic, record = addressed
        if failure.is_too_large:
            smallest = self._refused_bytes.get(topic, _ANY)
            self._refused_bytes[topic] = min(smallest, n_bytes(record))
            return self.shorter(addressed)
        if not failure.is_retriable:
            message = f"topic {topic} will never take this record: {failure}"
            raise BrokerError(message)
        return topic, record

    def shorter(self, addressed: Addressed) -> Addressed:
        """Return an alert without its original, or a dead letter with half its value.

        Raises
        ------
        BrokerError
            It cannot be shortened.
        """
        self._metrics.truncated.inc()
        topic, record = addressed
        n = n_bytes(record)
        if topic == self._topics.alerts:
            shorter = without_original(record)
        else:
            shorter = truncated(record, min(n, self._message_max_bytes) // 2)
        if n_bytes(shorter) >= n:
            message = (
                f"topic {topic} takes no record of {n} bytes, and it cannot be shortened; "
                f"raise the topic's max.message.bytes and producer.message_max_bytes"
            )
            raise BrokerError(message)
        return topic, shorter


def n_bytes(record: OutRecord) -> int:
    """Return the bytes that a record's sender chose; headers are ours, and short."""
    return len(record.value or b"") + len(record.key or b"")


def addressed_records(parcels: Sequence[Parcel], topics: TopicSettings) -> Iterator[Addressed]:
    """Give all records of some parcels in order, with their topics."""
    for parcel in parcels:
        yield from ((topics.alerts, record) for record in parcel.verdict.alerts)
        yield from ((topics.dead_letters, record) for record in parcel.verdict.dead_letters)


def items_of(pending: Sequence[Addressed]) -> list[BatchItem]:
    """Return records as a producer takes them."""
    return [(topic, record.key, record.value, record.headers) for topic, record in pending]
