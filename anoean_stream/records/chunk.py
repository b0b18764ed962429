"""A run of records of one partition, as fetched: the unit that is scored, acknowledged, committed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from anoean_stream.records.outgoing import Headers


def no_headers(index: int) -> Headers:
    """Return no headers, whichever record is asked for."""
    del index
    return ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """B raw records of one partition, in offset order.

    Offsets increase but need not be consecutive: compaction and transactions leave gaps.

    Parameters
    ----------
    topic : str
        Topic the records were read from.
    partition : int
        Partition of the topic.
    values : sequence of (bytes or None), length B
        Payloads, untouched; None is a tombstone.
    keys : sequence of (bytes or None), length B
        Kafka keys.
    offsets : sequence of int, length B
        Offsets in the partition.
    timestamps_ms : sequence of int, length B
        Kafka timestamps, milliseconds since 1970; -1 when the broker has none.
    headers_of : callable
        Gives the Kafka headers of a record by its place, from 0. A function, because only records
        that are rejected are ever asked for theirs: making them for all would cost more than
        fetching.
    """

    topic: str
    partition: int
    values: Sequence[bytes | None]
    keys: Sequence[bytes | None]
    offsets: Sequence[int]
    timestamps_ms: Sequence[int]
    headers_of: Callable[[int], Headers] = field(default=no_headers, repr=False, compare=False)

    @property
    def n_records(self) -> int:
        """Number of records B."""
        return len(self.values)

    def head(self, n_records: int) -> "Chunk":
        """Return the first records of it; all of them when it has no more."""
        if n_records >= self.n_records:
            return self
        return replace(
            self,
            values=self.values[:n_records],
            keys=self.keys[:n_records],
            offsets=self.offsets[:n_records],
            timestamps_ms=self.timestamps_ms[:n_records],
        )
