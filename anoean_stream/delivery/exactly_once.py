"""Exactly once: alerts, dead letters and offsets in one Kafka transaction (docs/exactly-once.md)."""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog
from confluent_kafka import KafkaError
from mode import Service

from anoean_stream.delivery.parcels import (
    Addressed,
    Backoff,
    Parcel,
    Shortener,
    addressed_records,
    items_of,
    n_bytes,
)
from anoean_stream.kafka.batch import Undelivered
from anoean_stream.kafka.claims import Claim, Membership
from anoean_stream.kafka.outcome import HaltedError, StuckError
from anoean_stream.kafka.transactions import TransactionalProducer, transactional_id
from anoean_stream.kafka.wire import FLUSH_SHARE, Wire
from anoean_stream.observe.metrics import Metrics
from anoean_stream.records.chunk import Chunk

log = structlog.get_logger("anoean.delivery")

PARCELS_IN_TRANSACTION: Final = 16
"""Most chunks in one transaction. A transaction costs some round trips whatever is in it, so all
that wait go together; more than the chunks in flight (consumer.chunks_in_flight batches, one chunk
for each partition in them) never wait."""


class Claimant(Protocol):
    """What `ExactlyOnce` needs of a consumer; `anoean_stream.kafka.consumer.Consumer` has it."""

    def claim(self, chunks: Sequence[Chunk]) -> Claim:
        """Return which chunks a transaction may hold now."""
        ...

    async def membership(self) -> Membership | None:
        """Read what fences a transaction."""
        ...

    def committed_with(self, claim: Claim) -> None:
        """Note the offsets that a transaction committed."""
        ...


class ExactlyOnce(Service):
    """Writes alerts, dead letters and the offsets of their chunks in one transaction.

    Parameters
    ----------
    consumer : callable
        Gives the running consumer.
    wire : Wire
        Settings, the listener and the stop's clock.
    metrics : Metrics
        Counts what was retried and shortened.
    """

    parcels_at_once = PARCELS_IN_TRANSACTION

    def __init__(
        self, consumer: Callable[[], Claimant], *, wire: Wire, metrics: Metrics, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        settings = wire.settings
        self._consumer = consumer
        self._wire = wire
        self._topics = settings.topics
        self._metrics = metrics
        self._shortener = Shortener(
            settings.topics,
            metrics=metrics,
            message_max_bytes=settings.producer.message_max_bytes,
        )
        self._name = transactional_id(settings, otherwise=uuid.uuid4().hex)
        self._producer = self._new_producer()
        self._membership: Membership | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def _new_producer(self) -> TransactionalProducer:
        return TransactionalProducer(self._wire.settings, name=self._name, on_error=self._on_error)

    async def on_start(self) -> None:
        """Begin to fence a former self; the consumer may join meanwhile, it waits for that by itself."""
        self._loop = asyncio.get_running_loop()
        self._start_producer()
        log.info("transactions_used", transactional_id=self._name)

    def _start_producer(self) -> None:
        fenced = asyncio.wrap_future(self._producer.start())
        self.add_future(self._until_fenced(fenced))

    async def _until_fenced(self, fenced: "asyncio.Future[None]") -> None:
        try:
            await fenced
        except HaltedError:
            log.debug("transactions_never_began")

    async def on_stop(self) -> None:
        """Abort what is open, within the stop's deadline."""
        limit_s = max(0.5, self._wire.stop_clock.left_s(FLUSH_SHARE))
        if not await asyncio.to_thread(self._producer.close, limit_s):
            log.error(
                "transaction_abandoned",
                note="no broker ended it in time; the brokers abort it after "
                "producer.transaction_timeout_s, and its chunks are read again",
            )

    def _on_error(self, error: KafkaError) -> None:
        """Carry what librdkafka says into the event loop. The producer's thread."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._wire.listener.on_broker_error, error)
        except RuntimeError:  # the loop is closed: the process is at its end
            log.debug("nobody_listens", exc_info=True)

    async def deliver(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        """See `Delivery.deliver`; returns those whose offsets were committed with their records."""
        letters = [
            list(map(_Letter, addressed_records([parcel], self._topics))) for parcel in parcels
        ]
        backoff = Backoff()
        while True:
            claim = self._consumer().claim([parcel.chunk for parcel in parcels])
            places = [at for at, parcel in enumerate(parcels) if _is_among(parcel, claim.chunks)]
            if not places:
                log.info("chunks_left_to_their_new_owner", n=len(parcels))
                return ()
            membership = await self._proof_of(claim)
            if membership is None:
                await backoff.wait()  # thrown out of the group, and about to hear of it
                continue
            pending = [letter for at in places for letter in letters[at]]
            try:
                outcome = await self._producer.transact(
                    items_of([letter.addressed for letter in pending]),
                    offsets=claim.offsets,
                    group_metadata=membership.metadata,
                    alone=frozenset(at for at, one in enumerate(pending) if one.is_suspect),
                )
            except StuckError:
                log.warning(
                    "transaction_stuck", note="librdkafka hangs; going on with a new producer"
                )
                self._producer = self._new_producer()
                self._start_producer()
                continue
            if outcome.is_committed:
                self._consumer().committed_with(claim)
                return [parcels[at] for at in places]
            self._metrics.delivery_retries.inc(len(pending))
            if outcome.has_group_moved_on:
                self._membership = None
            self._shorten(pending, outcome.failures)
            if not outcome.is_too_large:
                log.warning(
                    "transaction_aborted",
                    n=len(pending),
                    partitions=sorted(f"{tp.topic}/{tp.partition}" for tp in claim.offsets),
                    backoff_s=backoff.seconds,
                    reason=str(outcome),
                )
                await backoff.wait()

    async def _proof_of(self, claim: Claim) -> Membership | None:
        """Return metadata read while the claimed partitions were ours; None: there are none now."""
        if self._membership is None or not self._membership.covers(claim):
            self._membership = await self._consumer().membership()
            if self._membership is not None and not self._membership.covers(claim):
                self._membership = None
        return self._membership

    def _shorten(self, pending: Sequence["_Letter"], failures: Sequence[Undelivered]) -> None:
        """Shorten what is too large; a broker refuses a request as a whole, so find out which it is.

        The next transaction sends each suspect alone and ends at the first that is refused. What is
        at least as large goes the same way: one transaction for each would take for ever.
        """
        large = [pending[one.index] for one in failures if one.is_too_large]
        for failure in failures:
            if not failure.is_too_large:
                self._shortener.again(pending[failure.index].addressed, failure)
        guilty = [letter for letter in large if letter.is_suspect or len(large) == 1]
        for letter in large:
            letter.is_suspect = True
        if not guilty:
            return
        limits: dict[str, int] = {}
        for letter in guilty:
            topic, _ = letter.addressed
            limits[topic] = min(letter.n_bytes, limits.get(topic, letter.n_bytes))
        for letter in pending:
            topic, _ = letter.addressed
            if letter.is_suspect and topic in limits and letter.n_bytes >= limits[topic]:
                letter.addressed = self._shortener.shorter(letter.addressed)


@dataclass(slots=True)
class _Letter:
    """A record of a transaction that is tried until it succeeds."""

    addressed: Addressed
    is_suspect: bool = False  # was in a request that was refused as too large

    @property
    def n_bytes(self) -> int:
        return n_bytes(self.addressed[1])


def _is_among(parcel: Parcel, chunks: Sequence[Chunk]) -> bool:
    return any(parcel.chunk is chunk for chunk in chunks)
