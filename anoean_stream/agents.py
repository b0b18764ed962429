"""The agent: take a chunk, await the pipeline, deliver, acknowledge.

The event loop only moves messages. `Scorer` runs the pipeline in one thread of its own; `Outbox`
delivers in order behind it, so that a chunk is scored while the one before waits for the brokers.
A chunk is acknowledged when every alert and dead letter made from it is, and not before.
"""

import asyncio
import time
from typing import Any, Final

import faust
from mode import Service

from anoean_stream.delivery.parcels import Acknowledge, Delivery, Parcel
from anoean_stream.observe.metrics import Metrics
from anoean_stream.overload.episode import Overload
from anoean_stream.pipeline import Verdict
from anoean_stream.records.chunk import Chunk
from anoean_stream.records.deadlimit import DeadLimit
from anoean_stream.serving.scorer import Scorer

UNDELIVERED_VERDICTS: Final = 2
"""Verdicts that may wait for the brokers: with 1 the scorer would idle during a delivery, with
more only memory and the repeats after a crash would grow."""


class Outbox(Service):
    """Delivers verdicts in order and acknowledges their chunks; part of the Faust app.

    Parameters
    ----------
    delivery : Delivery
        How: at least once, or exactly once.
    metrics : Metrics
        Counts what was delivered.
    dead_limit : DeadLimit, optional
        Ends the worker when nearly everything is dead.
    """

    def __init__(
        self,
        delivery: Delivery,
        *,
        metrics: Metrics,
        dead_limit: DeadLimit | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._delivery = delivery
        self._metrics = metrics
        self._dead_limit = dead_limit
        self._queue: asyncio.Queue[Parcel] = asyncio.Queue(
            max(UNDELIVERED_VERDICTS - 1, delivery.parcels_at_once)
        )

    async def put(
        self, verdict: Verdict, acknowledge: Acknowledge, *, chunk: Chunk | None = None
    ) -> None:
        """Queue a verdict; wait while too many earlier ones are undelivered.

        Parameters
        ----------
        verdict : Verdict
            What is to be delivered.
        acknowledge : callable
            Awaited once, after the brokers have acknowledged everything.
        chunk : Chunk, optional
            What the transport handed over; None: the verdict's.
        """
        await self._queue.put(Parcel(verdict, chunk or verdict.chunk, acknowledge))

    @Service.task
    async def _deliver_in_order(self) -> None:
        while not self.should_stop:
            parcels = [await self._queue.get()]
            while len(parcels) < self._delivery.parcels_at_once and not self._queue.empty():
                parcels.append(self._queue.get_nowait())
            started = time.monotonic()
            delivered = await self._delivery.deliver(parcels)
            seconds = time.monotonic() - started
            for parcel in delivered:
                self._count(parcel.verdict, seconds)
                await parcel.acknowledge()
                if (
                    self._dead_limit is not None
                ):  # last: what it counts is delivered and acknowledged
                    self._dead_limit.see(parcel.verdict.chunk, parcel.verdict.rejected)

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
            await outbox.put(verdict, acknowledge, chunk=event.value)

    source = app.topic(topic, key_serializer="raw", value_serializer="raw")
    app.agent(source, name="detector", concurrency=1)(detect)
