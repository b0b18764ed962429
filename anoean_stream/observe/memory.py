"""How much memory a worker may take, computed from its settings: the bound of docs/operations.md.

An upper limit, not a forecast: each part is counted as if it were full, and each as if it were in
the heaviest form it ever has. A record costs more than its bytes, because Python and librdkafka
keep it in objects.
"""

from dataclasses import dataclass
from typing import Final

from anoean_stream.settings import Settings

KIB: Final = 1024
MIB: Final = 1024 * 1024

BASE_BYTES: Final = 128 * MIB
"""Interpreter, libraries, a model of the paper's size, and both librdkafka clients: 94 MiB were
measured; a larger model adds its own size."""

FETCH_BYTES: Final = 50 * MIB
"""One fetch response (librdkafka's fetch.max.bytes): it may come when the prefetch is nearly full."""

PREFETCHED_RECORD_BYTES: Final = 400
"""What librdkafka keeps for a prefetched record beside its bytes."""

RECORD_BYTES: Final = 450
"""What Python keeps for a record of a chunk beside its bytes: value, key, offset and time objects,
and librdkafka's message while the chunk is made."""

SCORING_BYTES: Final = 6 * KIB
"""Decoded fields and matrices of one record in the pipeline: 41 fields, the encoder's widest layer."""

UNDELIVERED_CHUNKS: Final = 3
"""Verdicts that are scored, queued, and on their way to the brokers."""

ALLOCATOR_SHARE: Final = 1.3
"""What the allocators of C and Python keep for themselves of what was freed."""


@dataclass(frozen=True, slots=True)
class MemoryBound:
    """The parts, bytes.

    Parameters
    ----------
    base, prefetch, chunks, scoring, alerts, producer : int
        What each may hold at most.
    """

    base: int
    prefetch: int
    chunks: int
    scoring: int
    alerts: int
    producer: int

    @property
    def total(self) -> int:
        """All parts, with what allocators keep, bytes."""
        parts = self.prefetch + self.chunks + self.scoring + self.alerts + self.producer
        return round(self.base + ALLOCATOR_SHARE * parts)


def memory_bound(
    settings: Settings, *, record_bytes: int, n_partitions: int, alert_share: float
) -> MemoryBound:
    """Return the most memory that a worker with these settings takes, at any lag.

    Parameters
    ----------
    settings : Settings
        Sizes of chunks and queues.
    record_bytes : int
        Size of an ordinary record, bytes.
    n_partitions : int
        Partitions that the worker may be assigned.
    alert_share : float
        Share of records that alert, 0 to 1.
    """
    own = settings.consumer
    prefetch_bytes = own.queued_max_kbytes * KIB + FETCH_BYTES
    # Whichever is reached first ends the prefetch; one more fetch may be under way.
    n_prefetched = min(
        prefetch_bytes // record_bytes,
        own.queued_min_messages * n_partitions + FETCH_BYTES // record_bytes,
    )
    n_in_flight = own.chunks_in_flight * own.chunk_max_records
    n_alerts = alert_share * min(n_in_flight, UNDELIVERED_CHUNKS * own.chunk_max_records)
    alert_bytes = 2 * KIB + min(record_bytes, settings.alerts.original_max_bytes)
    return MemoryBound(
        base=BASE_BYTES,
        prefetch=n_prefetched * (record_bytes + PREFETCHED_RECORD_BYTES),
        chunks=n_in_flight * (record_bytes + RECORD_BYTES),
        scoring=own.chunk_max_records * (record_bytes + SCORING_BYTES),
        alerts=round(n_alerts * alert_bytes),
        producer=min(settings.producer.queue_max_kbytes * KIB, round(n_alerts * alert_bytes)),
    )
