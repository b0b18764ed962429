"""A run of records of one partition, as fetched: the unit that is scored, acknowledged, committed."""

from collections.abc import Sequence
from dataclasses import dataclass


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
    """

    topic: str
    partition: int
    values: Sequence[bytes | None]
    keys: Sequence[bytes | None]
    offsets: Sequence[int]
    timestamps_ms: Sequence[int]

    @property
    def n_records(self) -> int:
        """Number of records B."""
        return len(self.values)
