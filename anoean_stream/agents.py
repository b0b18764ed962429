"""The agent: take a chunk, await the pipeline, deliver, acknowledge.

The event loop only moves messages. `Scorer` runs the pipeline in one thread of its own; `Outbox`
delivers in order behind it, so that a chunk is scored while the one before waits for the brokers.
A chunk is acknowledged when every alert and dead letter made from it is, and not before.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

import faust
import structlog
from mode import Service

from anoean_stream.errors import BrokerError
from anoean_stream.kafka.producer import BatchItem, Undelivered
from anoean_stream.observe.health import Health
from anoean_stream.observe.metrics import Metrics
from anoean_stream.overload.episode import Overload
from anoean_stream.pipeline import Pipeline, Verdict
from anoean_stream.records.alert import without_original
from anoean_stream.records.chunk import Chunk
from anoean_stream.records.deadletter import truncated
from anoean_stream.records.deadlimit import DeadLimit
from anoean_stream.records.outgoing import OutRecord
from anoean_stream.settings import TopicSettings

log = structlog.get_logger("anoean.agents")

Acknowledge = Callable[[], Awaitable[None]]

UNDELIVERED_VERDICTS: Final = 2
"""Verdicts that may wait for the brokers: with 1 the scorer would idle during a delivery, with
more only memory and the repeats after a crash would grow."""

_FIRST_BACKOFF_S: Final = 0.1
_LONGEST_BACKOFF_S: Final = 10.0
"""Between two tries of the same delivery, seconds: at once would be a busy loop, and after more
than ten a broker that is back would wait for us."""


class Scorer:
    """Runs the pipeline in one thread; the model is swapped between two chunks.

    One thread, so that no chunk is scored by half a model and no lock is needed.

    Parameters
    ----------
    health : Health
        Learns since when a chunk is being scored.
    metrics : Metrics
        Learns how long it took.
    """

    def __init__(self, *, health: Health, metrics: Metrics) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="anoean-score")
        self._pipeline: Pipeline | None = None
        self._health = health
        self._metrics = metrics

    def swap(self, pipeline: Pipeline) -> None:
        """Use another pipeline from the next chunk on; call it in the event loop."""
        self._pipeline = pipeline

    async def run(self, chunk: Chunk) -> Verdict:
        """Judge a chunk without blocking the event loop.

        Raises
        ------
        RuntimeError
            Before the first `swap`: the transport hands out no chunk without a model.
        """
        pipeline = self._pipeline
        if pipeline is None:
            message = "a chunk arrived before any model was loaded"
            raise RuntimeError(message)
        started = time.monotonic()
        self._health.scoring(started)
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, pipeline.score_chunk, chunk)
        finally:
            self._health.scoring(None)
            self._metrics.scoring_seconds.observe(time.monotonic() - started)

    def close(self) -> None:
        """Let the thread end; a chunk that is being scored is finished first."""
        self._executor.shutdown(wait=False)


class BatchSender(Protocol):
    """What the outbox needs of a producer."""

    async def send_batch(self, items: Sequence[BatchItem]) -> Sequence[Undelivered]:
        """Send items; return, when the brokers have answered for each, which were not taken."""
        ...


class Outbox(Service):
    """Delivers verdicts in order and acknowledges their chunks; part of the Faust app.

    Parameters
    ----------
    producer : callable
        Gives the running producer.
    topics : TopicSettings
        Where alerts and dead letters go.
    metrics : Metrics
        Counts what was delivered, retried and shortened.
    message_max_bytes : int
        Largest value that the producer takes, bytes.
    dead_limit : DeadLimit, optional
        Ends the worker when nearly everything is dead.
    """

    def __init__(
        self,
        producer: Callable[[], BatchSender],
        *,
        topics: TopicSettings,
        metrics: Metrics,
        message_max_bytes: int,
        dead_limit: DeadLimit | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._producer = producer
        self._topics = topics
        self._metrics = metrics
        self._message_max_bytes = message_max_bytes
        self._dead_limit = dead_limit
        self._queue: asyncio.Queue[tuple[Verdict, Acknowledge]] = asyncio.Queue(
            UNDELIVERED_VERDICTS - 1
        )

    async def put(self, verdict: Verdict, acknowledge: Acknowledge) -> None:
        """Queue a verdict; wait while two earlier ones are undelivered.

        Parameters
        ----------
        verdict : Verdict
            What is to be delivered.
        acknowledge : callable
            Awaited once, after the brokers have acknowledged everything.
        """
        await self._queue.put((verdict, acknowledge))

    @Service.task
    async def _deliver_in_order(self) -> None:
        while not self.should_stop:
            verdict, acknowledge = await self._queue.get()
            started = time.monotonic()
            await self.deliver(verdict)
            self._count(verdict, time.monotonic() - started)
            await acknowledge()
            if self._dead_limit is not None:  # last: what it counts is delivered and acknowledged
                self._dead_limit.see(verdict.chunk, verdict.rejected)

    async def deliver(self, verdict: Verdict) -> None:
        """Return when the brokers have every alert and dead letter of a verdict.

        Tries for ever, more and more slowly: the partition then waits, which is what back pressure
        means. What the brokers call too large is shortened.

        Raises
        ------
        BrokerError
            When the broker will never take it (not authorised, even the shortest form too large).
        """
        pending = [
            *((self._topics.alerts, record) for record in verdict.alerts),
            *((self._topics.dead_letters, record) for record in verdict.dead_letters),
        ]
        backoff_s = _FIRST_BACKOFF_S
        while pending:
            undelivered = await self._producer().send_batch(
                [(topic, record.key, record.value, record.headers) for topic, record in pending]
            )
            if not undelivered:
                return
            pending = [self._again(*pending[failure.index], failure) for failure in undelivered]
            self._metrics.delivery_retries.inc(len(pending))
            if not all(failure.is_too_large for failure in undelivered):
                log.warning(
                    "delivery_retried",
                    n=len(pending),
                    topics=sorted({topic for topic, _ in pending}),
                    backoff_s=backoff_s,
                    reason=str(undelivered[0]),
                )
                await asyncio.sleep(backoff_s)
                backoff_s = min(2 * backoff_s, _LONGEST_BACKOFF_S)

    def _again(self, topic: str, record: OutRecord, failure: Undelivered) -> tuple[str, OutRecord]:
        """Return what to send instead of a record that was not delivered."""
        if failure.is_too_large:
            self._metrics.truncated.inc()
            return topic, self._shorter(topic, record)
        if not failure.is_retriable:
            message = f"topic {topic} will never take this record: {failure}"
            raise BrokerError(message)
        return topic, record

    def _shorter(self, topic: str, record: OutRecord) -> OutRecord:
        n_bytes = _n_bytes(record)
        if topic == self._topics.alerts:
            shorter = without_original(record)
        else:
            shorter = truncated(record, min(n_bytes, self._message_max_bytes) // 2)
        if _n_bytes(shorter) >= n_bytes:
            message = (
                f"topic {topic} takes no record of {n_bytes} bytes, and it cannot be shortened; "
                f"raise the topic's max.message.bytes and producer.message_max_bytes"
            )
            raise BrokerError(message)
        return shorter

    def _count(self, verdict: Verdict, seconds: float) -> None:
        metrics = self._metrics
        metrics.records.inc(verdict.n_records)
        metrics.scored.inc(verdict.n_scored)
        metrics.sampled_out.inc(verdict.n_sampled_out)
        metrics.alerts.inc(len(verdict.alerts) - verdict.n_notices)
        for reason, n in verdict.rejected_by_reason.items():
            metrics.dead_letters.labels(reason).inc(n)
        metrics.missing_values.inc(verdict.n_missing)
        metrics.chunk_records.observe(verdict.n_records)
        metrics.delivery_seconds.observe(seconds)
        newest_ms = max(verdict.chunk.timestamps_ms[-1:], default=-1)
        if newest_ms >= 0:
            metrics.end_to_end_seconds.observe(max(time.time() - newest_ms / 1000, 0.0))
        if verdict.n_scored and verdict.threshold > 0:
            metrics.score_margin.observe(float(verdict.distances_G[-1]) / verdict.threshold)


def _n_bytes(record: OutRecord) -> int:
    """Bytes that a record's sender chose; headers are ours, and short."""
    return len(record.value or b"") + len(record.key or b"")


def add_detector(
    app: faust.App, *, topic: str, scorer: Scorer, outbox: Outbox, overload: Overload
) -> None:
    """Give the app its one agent: chunks of the input topic through scorer and outbox."""

    async def detect(stream: faust.StreamT[Any]) -> None:
        assert isinstance(stream, faust.Stream)  # StreamT lacks noack
        # noack: Faust itself would acknowledge a chunk even when scoring it raised.
        async for event in stream.noack().events():

            async def acknowledge(event: faust.EventT[Any] = event) -> None:
                await stream.ack(event)

            thinned = overload.thin(event.value)
            verdict = await scorer.run(thinned.chunk)
            verdict = verdict.beside(thinned.notices, n_sampled_out=thinned.n_dropped)
            await outbox.put(verdict, acknowledge)

    source = app.topic(topic, key_serializer="raw", value_serializer="raw")
    app.agent(source, name="detector", concurrency=1)(detect)
