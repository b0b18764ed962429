# ruff: noqa: PLR0917, ARG002 - the signatures are Faust's and confluent-kafka's
"""Faust's producer on librdkafka: idempotent, futures resolved by delivery reports.

`Producer.send_batch` is the way for alerts and dead letters: one future for the batch, 2 us a
record; `Producer.send` is what Faust itself calls, one future a record, 9 us (through
`topic.send` 50).
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final, cast

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as LibrdkafkaProducer
from faust.transport.producer import Producer as FaustProducer
from faust.types import TP, HeadersArg
from faust.types.tuples import RecordMetadata

from anoean_stream.errors import BrokerError, DeliveryError
from anoean_stream.kafka.batch import Batch, BatchItem, Undelivered
from anoean_stream.kafka.config import producer_config
from anoean_stream.kafka.faults import (
    News,
    client_logger,
    fatal_error,
    is_unknown_topic,
    missing_topic_sentence,
)
from anoean_stream.kafka.wire import FLUSH_SHARE, wire_of

logger = logging.getLogger("anoean.kafka.producer")

POLL_S: Final = 0.1
"""Seconds one poll for delivery reports waits; only how soon the thread sees the halt flag."""

FIRST_FLUSH_SHARE: Final = 0.7
"""The same while the consumer still has to leave the group: Faust flushes before and after."""

_UNANSWERED: Final = frozenset(
    {
        KafkaError._MSG_TIMED_OUT,  # noqa: SLF001 - the public name of a local error code
        KafkaError._TRANSPORT,  # noqa: SLF001 - the same
        KafkaError._TIMED_OUT,  # noqa: SLF001 - the same
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001 - the same
        KafkaError._PURGE_QUEUE,  # noqa: SLF001 - the same
        KafkaError._PURGE_INFLIGHT,  # noqa: SLF001 - the same
    }
)
"""Errors that no broker has said: only time has passed, or we ended it."""


class Producer(FaustProducer):
    """Writes for Faust's agents. Coroutines run in the event loop; none blocks it."""

    logger = logger
    connect: ClassVar[Callable[..., LibrdkafkaProducer]] = LibrdkafkaProducer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._wire = wire_of(self.app)
        self._client: LibrdkafkaProducer | None = None
        self._thread: threading.Thread | None = None
        self._halted = threading.Event()
        self._news = News(logger)
        # Delivery reports, from the poll thread to the loop; one wake-up for each burst.
        self._reports: deque[Callable[[], None]] = deque()
        self._is_woken = False
        self._room = asyncio.Event()
        self._n_waiting = 0  # coroutines that wait for room
        self._n_batches = 0  # batches whose fate is not known
        self._running_loop: asyncio.AbstractEventLoop | None = None

    # ------------------------------------------------------------------ life

    async def on_start(self) -> None:
        """Create the client; it connects when needed."""
        await super().on_start()
        self._running_loop = asyncio.get_running_loop()
        config = producer_config(self._wire.settings)
        try:
            self._client = type(self).connect(
                {**config, "error_cb": self._heard}, logger=client_logger("producer")
            )
        except KafkaException as err:
            raise BrokerError(
                f"librdkafka cannot work with this configuration: {err.args[0].str()}; check "
                "producer.options and the broker section"
            ) from err
        self._thread = threading.Thread(
            target=self._poll, args=(self._client,), name="anoean-kafka-deliver", daemon=True
        )
        self._thread.start()

    def _poll(self, client: LibrdkafkaProducer) -> None:
        while not self._halted.is_set():
            client.poll(POLL_S)

    async def flush(self) -> None:
        """Wait until every record is acknowledged or failed; when stopping, within the deadline."""
        await self.buffer.flush()
        clock = self._wire.stop_clock
        while self._client is not None and len(self._client):
            if self.app.should_stop:
                clock.start()
                if clock.left_s(FIRST_FLUSH_SHARE) <= 0:
                    return
            self._room.clear()
            await self._wait_for_room(POLL_S)

    async def on_stop(self) -> None:
        """Deliver what is left within the stop's deadline, then end the client."""
        self._wire.stop_clock.start()
        await super().on_stop()
        if self._client is None or self._thread is None:
            return
        limit_s = self._wire.stop_clock.left_s(FLUSH_SHARE)
        left = await asyncio.to_thread(self._client.flush, limit_s)
        if left:
            logger.error(
                "%d records were not delivered at the stop; their input is not committed and is read "
                "again after the restart",
                left,
            )
            self._client.purge()
            await asyncio.to_thread(self._client.flush, POLL_S)  # reports what was purged
        self._halted.set()
        await asyncio.to_thread(self._thread.join, 10 * POLL_S)
        self._settle()

    # ------------------------------------------------------------------ sending

    async def send_batch(self, items: Sequence[BatchItem]) -> tuple[Undelivered, ...]:
        """Write records, and return when the brokers have acknowledged or refused each of them.

        Waits while librdkafka's queue is full. Safe to call concurrently.

        Parameters
        ----------
        items : sequence of (topic, key, value, headers)
            What to write; order is kept for each partition.

        Returns
        -------
        tuple of Undelivered
            Records that were not acknowledged, by index; empty when all is well.

        Raises
        ------
        BrokerError
            The producer is not running.
        """
        failures = await self._send_together(items)
        large = [one.index for one in failures if one.is_too_large]
        if len(large) > 1:
            # A broker refuses a whole request when one record in it is too large: each alone, then.
            still = [
                Undelivered(index, one.error)
                for index in large
                for one in await self._send_together([items[index]])
            ]
            others = [one for one in failures if not one.is_too_large]
            failures = tuple(sorted(others + still, key=lambda one: one.index))
        for failure in failures:
            self._on_error(failure.error)
        return failures

    async def _send_together(self, items: Sequence[BatchItem]) -> tuple[Undelivered, ...]:
        client, loop = self._running()
        if not items:
            return ()
        batch = Batch(len(items), loop.create_future())
        self._wire.listener.on_sending()
        self._n_batches += 1
        try:
            await self._produce_all(client, items, batch)
            return await batch.future
        finally:
            self._n_batches -= 1
            is_answered = all(one.error.code() not in _UNANSWERED for one in batch.failures)
            if is_answered and not self._n_batches:
                self._wire.listener.on_sent()

    async def _produce_all(
        self, client: LibrdkafkaProducer, items: Sequence[BatchItem], batch: Batch
    ) -> None:
        for index, (topic, key, value, headers) in enumerate(items):
            report = partial(self._on_batch_report, batch, index)
            error = await self._produce(
                client, topic, value, key, headers=headers, on_delivery=report
            )
            if error is not None:
                batch.failures.append(Undelivered(index, error))
                batch.n_refused += 1
        if batch.is_complete:
            batch.resolve()

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: HeadersArg | None,
        *,
        transactional_id: str | None = None,
    ) -> Awaitable[RecordMetadata]:
        """Write one record; the future returned is resolved by its delivery report.

        Raises
        ------
        BrokerError
            The producer is not running. (The future fails with DeliveryError.)
        """
        client, loop = self._running()
        future: asyncio.Future[RecordMetadata] = loop.create_future()
        listed = headers.items() if isinstance(headers, Mapping) else headers or ()
        report = partial(self._on_report, future)
        error = await self._produce(
            client,
            topic,
            value,
            key,
            headers=list(listed),
            on_delivery=report,
            partition=-1 if partition is None else partition,
            timestamp_ms=0 if timestamp is None else round(timestamp * 1000),
        )
        if error is not None:
            self._resolve(future, error, None)
        return future

    async def send_and_wait(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: HeadersArg | None,
        *,
        transactional_id: str | None = None,
    ) -> RecordMetadata:
        """Write one record and wait for its delivery report.

        Raises
        ------
        DeliveryError
            No broker acknowledged it.
        """
        return await (await self.send(topic, key, value, partition, timestamp, headers))

    def _running(self) -> tuple[LibrdkafkaProducer, asyncio.AbstractEventLoop]:
        if self._client is None or self._running_loop is None or self._halted.is_set():
            raise BrokerError("the producer is not running; start the Faust app before sending")
        return self._client, self._running_loop

    async def _produce(
        self,
        client: LibrdkafkaProducer,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        *,
        headers: Iterable[tuple[str, bytes]],
        on_delivery: Callable[[KafkaError | None, Message], None],
        partition: int = -1,
        timestamp_ms: int = 0,
    ) -> KafkaError | None:
        """Put a record into librdkafka's queue; return the error when it does not even get there."""
        while True:
            try:
                client.produce(
                    topic,
                    value,
                    key,
                    headers=list(headers),
                    on_delivery=on_delivery,
                    partition=partition,
                    timestamp=timestamp_ms,
                )
            except BufferError:
                # Full means that reports are outstanding, and each of them makes room.
                self._room.clear()
                await self._wait_for_room(1.0)
            except KafkaException as err:
                return cast("KafkaError", err.args[0])
            else:
                return None

    async def _wait_for_room(self, timeout_s: float) -> None:
        self._n_waiting += 1
        try:
            await asyncio.wait_for(self._room.wait(), timeout_s)
        except TimeoutError:
            return  # the caller looks again: a report may have come before the event was cleared
        finally:
            self._n_waiting -= 1

    # ------------------------------------------------------------------ delivery reports

    def _on_report(
        self, future: "asyncio.Future[RecordMetadata]", error: KafkaError | None, message: Message
    ) -> None:
        """Take one record's report. Poll thread."""
        self._reports.append(partial(self._resolve, future, error, message))
        self._wake(self._running_loop)

    def _on_batch_report(
        self, batch: Batch, index: int, error: KafkaError | None, message: Message
    ) -> None:
        """Take the report of one record of a batch; wake the loop for the last one. Poll thread."""
        if error is not None:
            batch.failures.append(Undelivered(index, error))
        if error is None or error.code() not in _UNANSWERED:
            self._wire.listener.on_answer()
        batch.n_reported += 1
        if batch.is_complete:
            self._reports.append(batch.resolve)
            self._wake(self._running_loop)
        elif self._n_waiting:
            self._wake(self._running_loop)

    def _wake(self, loop: asyncio.AbstractEventLoop | None) -> None:
        if not self._is_woken and loop is not None:
            self._is_woken = True
            try:
                loop.call_soon_threadsafe(self._settle)
            except RuntimeError:  # the loop is closed: the process is at its end
                logger.debug("nobody listens any more", exc_info=True)

    def _settle(self) -> None:
        """Resolve what was reported. Event loop."""
        self._is_woken = (
            False  # before the look into the deque, so that no report waits for the next
        )
        self._room.set()
        while self._reports:
            self._reports.popleft()()

    def _resolve(
        self,
        future: "asyncio.Future[RecordMetadata]",
        error: KafkaError | None,
        message: Message | None,
    ) -> None:
        if error is not None:
            self._on_error(error)
        if future.done():
            return
        if error is not None or message is None:
            said = "no report" if error is None else f"{error.name()}: {error.str()}"
            future.set_exception(
                DeliveryError(f"a record was not delivered: {said}; send it again")
            )
            return
        tp = TP(cast("str", message.topic()), cast("int", message.partition()))
        kind, stamp_ms = message.timestamp()
        offset = cast("int", message.offset())
        future.set_result(
            RecordMetadata(tp.topic, tp.partition, tp, offset, stamp_ms / 1000.0, kind)
        )

    # ------------------------------------------------------------------ errors

    def _heard(self, error: KafkaError) -> None:
        """Take what librdkafka's error callback says. Poll thread."""
        self._reports.append(partial(self._on_error, error))
        self._wake(self._running_loop)

    def _on_error(self, error: KafkaError) -> None:
        self._wire.listener.on_broker_error(error)
        fatal = fatal_error(error, self._wire.settings)
        if fatal is not None:
            if not self.should_stop:
                self.add_future(self.crash(fatal))
        elif is_unknown_topic(error):
            servers = self._wire.settings.broker.bootstrap_servers
            self._news.tell("missing", missing_topic_sentence(None, servers), level=logging.ERROR)
        else:
            self._news.tell(error.name(), f"{error.name()}: {error.str()}")

    # ------------------------------------------------------------------ the rest of the interface

    async def create_topic(self, topic: str, *args: Any, **kwargs: Any) -> None:
        """Do nothing: topics are created by deployment, or with `anoean topics create`."""

    def key_partition(self, topic: str, key: bytes) -> TP:
        """Refuse: only Faust's tables and transactions ask.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError("the rdkafka:// transport leaves partitions to librdkafka")

    def supports_headers(self) -> bool:
        """Return True."""
        return True
