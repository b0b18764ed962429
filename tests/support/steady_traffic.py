"""Flows at a steady rate, of which each place in the topic tells what it holds."""

import threading
import time
from collections.abc import Sequence
from typing import Final, Self

from confluent_kafka import Producer

TICK_S: Final = 0.01
"""Seconds between two portions: above 0.1 the workers would see bursts."""


class SteadyTraffic:
    """Writes values in turn, over and over, round robin over the partitions.

    The record at an offset of a partition is ``values[(offset * partitions + partition) % len(values)]``:
    nothing has to be read back to know what stands where.

    Parameters
    ----------
    bootstrap, topic : str
        Where to.
    values : sequence of bytes
        What; a prime number of them, so that each partition gets all.
    partitions : int
        Of the topic, which must be empty.
    rate_per_s : float
        Records a second, over all partitions.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        *,
        values: Sequence[bytes],
        partitions: int,
        rate_per_s: float,
    ) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,  # order, and so the place of each record
                "linger.ms": 5,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 1_000_000,
            }
        )
        self._topic = topic
        self._values = values
        self._partitions = partitions
        self._rate_per_s = rate_per_s
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.n_sent = 0

    def start(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def stop(self) -> int:
        """End, wait until all is written, return how many records there are."""
        self._halt.set()
        self._thread.join()
        left = self._producer.flush(60)
        assert not left, f"{left} records were not delivered"
        return self.n_sent

    def ends(self) -> list[int]:
        """Return the next offset of each partition."""
        return [
            (self.n_sent - partition + self._partitions - 1) // self._partitions
            for partition in range(self._partitions)
        ]

    def _run(self) -> None:
        began = time.monotonic()
        values, partitions, produce = self._values, self._partitions, self._producer.produce
        while not self._halt.wait(TICK_S):
            due = int((time.monotonic() - began) * self._rate_per_s)
            for number in range(self.n_sent, due):
                produce(self._topic, values[number % len(values)], partition=number % partitions)
            self.n_sent = max(self.n_sent, due)
            self._producer.poll(0)
