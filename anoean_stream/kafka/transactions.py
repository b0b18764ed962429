"""Transactions: records and the input offsets they were made from become visible together, or not at all.

librdkafka's transactional calls block, so one thread makes them, one transaction at a time. What a
transaction is fenced by is the group metadata given with the offsets (KIP-447): the broker refuses
it when the group has moved on since that was read.

The thread is a daemon and each wait looks at a halt flag: a broker that does not answer cannot hold
the process.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import ClassVar, Final, TypeVar, cast

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka import Producer as LibrdkafkaProducer
from faust.types import TP

from anoean_stream.errors import BrokerError
from anoean_stream.kafka.batch import BatchItem
from anoean_stream.kafka.config import producer_config
from anoean_stream.kafka.faults import News, client_logger, fatal_error
from anoean_stream.kafka.outcome import CONSEQUENCES, HaltedError, Outcome, Records, StuckError
from anoean_stream.kafka.security import ClientConfig
from anoean_stream.settings import Settings

T = TypeVar("T")

logger = logging.getLogger("anoean.kafka.transactions")

SLICE_S: Final = 0.5
"""Seconds of one blocking call that can be resumed; only how soon the thread sees the halt flag."""

OFFSETS_S: Final = 10.0
"""Seconds of one `send_offsets_to_transaction`, which cannot be resumed: each call sends its requests
anew, so a group coordinator that takes longer is never waited for long enough."""

OVERDUE_S: Final = 5.0
"""Seconds beyond its own limit after which a call counts as stuck. librdkafka 2.16 sometimes never
returns from `send_offsets_to_transaction` when the group's coordinator was restarted meanwhile."""

PAUSE_S: Final = 0.05
"""Seconds before such a call is resumed: some errors come at once, and would make a busy loop."""

FENCED_TWICE_S: Final = 300.0
"""Seconds within which a second fencing ends the worker. One comes of a pause or an outage longer
than the transaction time-out; two in a few minutes come of another worker with the same id."""

_FENCED: Final = frozenset(
    {
        KafkaError._FENCED,  # noqa: SLF001 - the public name of a local error code
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
    }
)


def transactional_id(settings: Settings, *, otherwise: str) -> str:
    """Return the name under which a restarted worker fences its former self.

    Parameters
    ----------
    settings : Settings
        ``consumer.group_instance_id`` or ``worker.id`` names the worker over restarts.
    otherwise : str
        Names it when neither is set; unique, so that no other worker is fenced by mistake.
    """
    name = settings.consumer.group_instance_id or settings.worker.id or otherwise
    return f"{settings.consumer.group_id}-{name}"


def transactional_config(settings: Settings, name: str) -> ClientConfig:
    """Return the configuration of a producer with this transactional id."""
    config = producer_config(settings)
    timeout_ms = round(settings.producer.transaction_timeout_s * 1000)

    def at_most(key: str) -> int:
        return min(int(config[key]), timeout_ms)

    return {
        **config,
        "transactional.id": name,
        "transaction.timeout.ms": timeout_ms,
        # librdkafka refuses both when they are longer than the transaction.
        "delivery.timeout.ms": at_most("delivery.timeout.ms"),
        "socket.timeout.ms": at_most("socket.timeout.ms"),
    }


class TransactionalProducer:
    """Runs transactions in a thread of its own, in the order in which they are asked for.

    Parameters
    ----------
    settings : Settings
        All of them; broker and producer are read.
    name : str
        The transactional id.
    on_error : callable
        Hears of every error librdkafka reports; in the thread.
    """

    connect: ClassVar[Callable[..., LibrdkafkaProducer]] = LibrdkafkaProducer

    def __init__(
        self, settings: Settings, *, name: str, on_error: Callable[[KafkaError], None]
    ) -> None:
        self.name = name
        self._settings = settings
        self._on_error = on_error
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._halted = threading.Event()
        self._thread = threading.Thread(
            target=self._serve, name="anoean-kafka-transact", daemon=True
        )
        self._news = News(logger)
        self._overdue_at: float | None = None  # the thread writes, the event loop reads
        # From here on: the thread only.
        self._client: LibrdkafkaProducer | None = None
        self._fenced_at: float | None = None
        self._heard_fatal: BrokerError | None = None

    # ------------------------------------------------------------------ for the event loop

    def start(self) -> Future[None]:
        """Start the thread and fence the transaction that a former self may have left open.

        Until that is done, the offsets of that transaction cannot be read, and nothing is consumed.

        Returns
        -------
        Future
            Done when the brokers have answered; fails with BrokerError when they refuse.
        """
        self._thread.start()

        def begin() -> None:
            self._initialised()

        return self._ask(begin)

    async def transact(
        self,
        items: Sequence[BatchItem],
        *,
        offsets: Mapping[TP, int],
        group_metadata: bytes,
        alone: frozenset[int] = frozenset(),
    ) -> Outcome:
        """Write records and commit offsets in one transaction; try as long as brokers are away.

        Parameters
        ----------
        items : sequence of (topic, key, value, headers)
            What to write; order is kept for each partition.
        offsets : mapping of TP to int
            Next offset to read, by partition.
        group_metadata : bytes
            What fences the offsets: `Consumer.consumer_group_metadata` of the consumer that read them.
        alone : frozenset of int
            Items to send in requests of their own, so that a refusal tells which one is at fault.

        Raises
        ------
        BrokerError
            No waiting repairs it: not authorised, fenced by another worker.
        HaltedError
            `close` was called meanwhile.
        StuckError
            librdkafka hangs; the transaction is not committed, and never will be once another
            producer with this name is started.
        """
        records = Records(items, alone)
        partitions = [TopicPartition(tp.topic, tp.partition, at) for tp, at in offsets.items()]
        running = asyncio.wrap_future(
            self._ask(lambda: self._transact(records, partitions, group_metadata))
        )
        while not running.done():
            await asyncio.wait({running}, timeout=OVERDUE_S)
            overdue_at = self._overdue_at
            if not running.done() and overdue_at is not None and time.monotonic() > overdue_at:
                self._halted.set()  # should it ever return, it shall not commit
                raise StuckError
        return await running

    def close(self, timeout_s: float) -> bool:
        """Abort what is open and end the thread. Blocks; False when it is stuck (the broker is down)."""
        self._halted.set()
        self._jobs.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _ask(self, job: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # an asker that stops waiting must not cancel it

        def run() -> None:
            try:
                future.set_result(job())
            except Exception as error:  # noqa: BLE001 - the asker gets whatever it is
                future.set_exception(error)

        self._jobs.put(run)
        return future

    # ------------------------------------------------------------------ the thread

    def _serve(self) -> None:
        while not self._halted.is_set():
            try:
                job = self._jobs.get(timeout=SLICE_S)
            except queue.Empty:
                if self._client is not None:
                    self._client.poll(0)  # serves error_cb
                continue
            if job is not None:
                job()
        if self._client is not None:
            self._client.purge(blocking=False)  # what is not committed shall not hold us
            self._client.close()  # aborts the open transaction

    def _initialised(self) -> LibrdkafkaProducer:
        """Return the client, made and initialised when there is none."""
        if self._client is None:
            config: dict[str, object] = {
                **transactional_config(self._settings, self.name),
                "error_cb": self._heard,
            }
            try:
                self._client = type(self).connect(config, logger=client_logger("transactions"))
            except KafkaException as err:
                raise BrokerError(
                    f"librdkafka cannot work with this configuration: {err.args[0].str()}; check "
                    "producer.options and the broker section"
                ) from err
            try:
                self._patiently(self._client, self._client.init_transactions)
            except KafkaException as err:
                raise self._fatal(err.args[0]) from err
        return self._client

    def _transact(
        self, records: Records, offsets: list[TopicPartition], group_metadata: bytes
    ) -> Outcome:
        client = self._initialised()
        try:
            client.begin_transaction()
            self._produce(client, records)
            if not records.failures:
                self._patiently(
                    client,
                    partial(client.send_offsets_to_transaction, offsets, group_metadata),
                    slice_s=OFFSETS_S,
                )
                self._patiently(client, client.commit_transaction)
                return Outcome()
            error = records.failures[0].error
        except KafkaException as err:
            error = cast("KafkaError", err.args[0])
            if error.fatal():
                return self._renewed_after(error)
        try:
            self._patiently(client, client.abort_transaction)
        except KafkaException as err:
            return self._renewed_after(cast("KafkaError", err.args[0]))
        outcome = records.outcome(error)
        assert outcome.error is not None
        fatal = fatal_error(outcome.error, self._settings, topic=records.topic_at_fault)
        if fatal is not None:
            raise fatal
        return outcome

    def _renewed_after(self, error: KafkaError) -> Outcome:
        """Drop the client, so that the next transaction has a new one; raise when that is no help."""
        now = time.monotonic()
        again = self._fenced_at is not None and now - self._fenced_at < FENCED_TWICE_S
        if error.code() not in _FENCED or again:
            raise self._fatal(error)
        logger.warning(
            "transactional id %s was fenced (%s): the transaction took longer than "
            "producer.transaction_timeout_s, or another worker has the same id; going on with a new "
            "producer",
            self.name,
            error.str(),
        )
        self._fenced_at = now
        self._client = None
        return Outcome(error)

    def _fatal(self, error: KafkaError) -> BrokerError:
        return fatal_error(error, self._settings) or BrokerError(
            f"transactions as {self.name!r} do not work: {error.name()}: {error.str()}; start the "
            "worker again, it resumes at the last commit"
        )

    def _produce(self, client: LibrdkafkaProducer, records: Records) -> None:
        """Put all records into librdkafka's queue; stop at the first that ends the transaction."""
        for index in range(len(records.items)):
            is_alone = index in records.alone
            if is_alone:
                self._flush(client)
            goes_on = self._produce_one(client, records, index)
            if is_alone:
                self._flush(client)
                goes_on = not records.failures
            if not goes_on:
                return

    def _produce_one(self, client: LibrdkafkaProducer, records: Records, index: int) -> bool:
        """Put one record into the queue; False when the transaction has ended meanwhile."""
        topic, key, value, headers = records.items[index]
        report = partial(records.report, index)
        while True:
            try:
                client.produce(topic, value, key, headers=list(headers), on_delivery=report)
            except BufferError:
                self._check_halt()
                client.poll(SLICE_S)
            except KafkaException as err:
                error = cast("KafkaError", err.args[0])
                if error.code() not in CONSEQUENCES:
                    records.report(index, error)  # its own fault: look at the others too
                    return True
                client.poll(0)  # the reports say why
                if not records.failures:
                    raise
                return False
            else:
                return True

    def _flush(self, client: LibrdkafkaProducer) -> None:
        while client.flush(SLICE_S):
            self._check_halt()

    def _patiently(
        self,
        client: LibrdkafkaProducer,
        call: Callable[[float], object],
        *,
        slice_s: float = SLICE_S,
    ) -> None:
        """Make a blocking call again and again while it says that this may help."""
        while True:
            self._check_halt()
            self._overdue_at = time.monotonic() + slice_s + OVERDUE_S
            try:
                call(slice_s)
            except KafkaException as err:
                error = cast("KafkaError", err.args[0])
                client.poll(
                    0
                )  # serves error_cb: a refused password is heard there and nowhere else
                if self._heard_fatal is not None:
                    raise self._heard_fatal from err
                if not error.retriable():
                    raise
                self._news.tell(error.name(), f"a transaction waits: {error.str()}")
                self._halted.wait(PAUSE_S)
            else:
                return
            finally:
                self._overdue_at = None

    def _check_halt(self) -> None:
        if self._halted.is_set():
            raise HaltedError

    def _heard(self, error: KafkaError) -> None:
        """Take what librdkafka's error callback says."""
        self._on_error(error)
        if error.code() in _FENCED or error.fatal():
            return  # the call under way returns it
        fatal = fatal_error(error, self._settings)
        if fatal is not None:
            self._heard_fatal = fatal
        else:
            self._news.tell(error.name(), f"{error.name()}: {error.str()}")
