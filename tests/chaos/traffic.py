"""Numbered records into a topic, and exactly which of them the brokers have acknowledged."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self, cast

from confluent_kafka import KafkaError, Message, Producer

from tests.support.models import make_rows

POISON_EVERY: Final = 10
"""Each tenth record is malformed: it must become a dead letter."""

N_ROWS: Final = 500
TICK_S: Final = 0.02
FLUSH_S: Final = 150.0
"""Longer than any outage of a scenario: what is not acknowledged by then is a fault of the suite."""

Payload = bytes | None
Record = Callable[[int], Payload]

_ROWS: Final = [json.dumps(row)[1:].encode() for row in make_rows(N_ROWS)]


def flow(number: int) -> bytes:
    """Return the record of a number: a flow, or, each tenth, something that is none."""
    if number % POISON_EVERY == POISON_EVERY - 1:
        return b'{"n": %d, "bytes_out": "poison"' % number
    return b'{"n": %d, ' % number + _ROWS[number % N_ROWS]


@dataclass(frozen=True, slots=True)
class Published:
    """A record that the brokers have acknowledged.

    Parameters
    ----------
    number : int
        Increases in each partition.
    partition, offset : int
        Where it is.
    value : bytes or None
        What it holds.
    """

    number: int
    partition: int
    offset: int
    value: Payload


class Traffic:
    """Writes records 0, 1, 2, ... round robin over the partitions, at once or at a rate.

    The producer retries for ever, so a fault of the cluster delays records and loses none.

    Parameters
    ----------
    bootstrap : str
        The brokers.
    topic : str
        Where the records go.
    partitions : int
        Partitions to write to.
    record : callable
        Gives the value of a number.
    options : mapping, optional
        Further producer settings: compression, a transactional id.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        *,
        partitions: int,
        record: Record = flow,
        options: Mapping[str, str | int] | None = None,
    ) -> None:
        self._bootstrap = bootstrap
        self.topic = topic
        self.partitions = partitions
        self.published: list[Published] = []
        self.n_sent = 0
        self._record = record
        self._failures: list[KafkaError] = []
        self._halt = threading.Event()
        self._thread: threading.Thread | None = None
        self._aborted: set[int] = set()
        self.producer = self._connect(options or {})

    def _connect(self, options: Mapping[str, str | int]) -> Producer:
        return Producer(
            {
                "bootstrap.servers": self._bootstrap,
                "enable.idempotence": True,
                "delivery.timeout.ms": int(FLUSH_S * 1000),
                "socket.timeout.ms": 5000,
                "linger.ms": 5,
                "message.max.bytes": 4_000_000,
                "log_level": 2,  # outages are what the suite is about
                **options,
            }
        )

    def reconnect(self, options: Mapping[str, str | int]) -> None:
        """Go on with a new producer: another codec, or a topic that has changed."""
        self._flush()
        self.producer = self._connect(options)

    def publish(self, n_records: int) -> None:
        """Write so many further records as fast as they go, and wait for the brokers."""
        for _ in range(n_records):
            self._send()
        self._flush()

    def start(self, n_records: int, *, rate: float) -> Self:
        """Write so many records at a rate (records/s), in the background; `finish` waits for them."""
        last = self.n_sent + n_records
        self._thread = threading.Thread(target=self._stream, args=(last, rate), daemon=True)
        self._thread.start()
        return self

    def _stream(self, last: int, rate: float) -> None:
        began, first = time.monotonic(), self.n_sent
        while self.n_sent < last and not self._halt.wait(TICK_S):
            due = min(last, first + int((time.monotonic() - began) * rate))
            while self.n_sent < due:
                self._send()
            self.producer.poll(0)

    def finish(self) -> None:
        """Wait until everything is written and acknowledged."""
        if self._thread is not None:
            self._thread.join(FLUSH_S)
            assert not self._thread.is_alive(), f"{self.topic}: still writing after {FLUSH_S:g} s"
        self._flush()

    def close(self) -> None:
        """Stop writing, whatever is left."""
        self._halt.set()
        if self._thread is not None:
            self._thread.join()
        self.producer.purge()

    def forget_since(self, number: int) -> None:
        """Take back the records from this number on: their transaction was aborted."""
        self._aborted.update(range(number, self.n_sent))

    def committed(self) -> list[Published]:
        """Return the records that readers must see."""
        return [record for record in self.published if record.number not in self._aborted]

    def _send(self) -> None:
        number = self.n_sent
        value = self._record(number)

        def report(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                if error.code() != KafkaError._PURGE_QUEUE:
                    self._failures.append(error)
                return
            partition = cast("int", message.partition())
            offset = cast("int", message.offset())
            self.published.append(Published(number, partition, offset, value))

        while True:
            try:
                self.producer.produce(
                    self.topic,
                    value,
                    key=b"host-%d" % (number % 16),
                    partition=number % self.partitions,
                    on_delivery=report,
                )
                break
            except BufferError:
                self.producer.poll(0.1)
        self.n_sent += 1

    def _flush(self) -> None:
        left = self.producer.flush(FLUSH_S)
        assert not left, f"{left} records of {self.topic} were not acknowledged in {FLUSH_S:g} s"
        assert not self._failures, self._failures[0]
