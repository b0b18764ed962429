"""Where to read on when the brokers do not have the offset that is asked for.

librdkafka would jump by itself (``auto.offset.reset``) and say nothing, so it is told to report an
error instead, and the jump is made here: counted, told, and never forward past a record that still
exists.

===============================  =======================  =========================================
what the brokers say             read on at               lost
===============================  =======================  =========================================
nothing committed, new group     auto_offset_reset        none: that is the user's choice
nothing committed, other
partitions are                   the beginning            none: the partition was added later
the offset was deleted           the beginning            what lay between: retention was faster
the offset is past the end       the beginning            none; the topic was recreated or truncated
the offset is there after all    that offset              none: a change of leader, say
===============================  =======================  =========================================
"""

from dataclasses import dataclass
from typing import Final, Literal, Protocol

from confluent_kafka import TopicPartition
from faust.types import TP

Why = Literal["new_group", "new_partition", "retention", "truncated", "available"]

LOOK_UP_S: Final = 5.0
"""Seconds for one question about offsets: it is asked in the poll thread, which a rebalance waits
for; above the session time-out (6 s at least in practice) the group would notice."""

RETRY_S: Final = 1.0
"""Seconds until a question that no broker answered is asked again."""


class OffsetSource(Protocol):
    """The methods of `confluent_kafka.Consumer` that tell offsets; see there."""

    # ruff: noqa: D102 - confluent-kafka documents them

    def get_watermark_offsets(
        self, partition: TopicPartition, timeout: float
    ) -> tuple[int, int] | None: ...
    def committed(
        self, partitions: list[TopicPartition], timeout: float
    ) -> list[TopicPartition]: ...


@dataclass(frozen=True, slots=True)
class Jump:
    """A partition is read on at another offset than the one that was asked for.

    Parameters
    ----------
    tp : TP
        The partition.
    why : str
        ``new_group``, ``new_partition``, ``retention``, ``truncated`` or ``available``.
    wanted : int or None
        The next offset to read, as it was known; None when nothing was committed.
    offset : int
        Where reading goes on.
    """

    tp: TP
    why: Why
    wanted: int | None
    offset: int

    @property
    def n_lost(self) -> int:
        """Offsets that were deleted unread: records, and markers of transactions."""
        if self.why != "retention" or self.wanted is None:
            return 0
        return self.offset - self.wanted

    def __str__(self) -> str:
        where = f"{self.tp.topic}[{self.tp.partition}]"
        if self.why == "retention":
            return (
                f"{self.n_lost} records of {where}, offsets {self.wanted} to {self.offset - 1}, were "
                "deleted by the topic's retention before they were read, and are lost; raise its "
                "retention.ms or retention.bytes, or add workers"
            )
        if self.why == "truncated":
            return (
                f"{where} ends before offset {self.wanted}, which was next: the topic was recreated "
                f"or truncated; reading it from its beginning, offset {self.offset}"
            )
        if self.why == "available":
            return f"offset {self.offset} of {where} is there again; reading on"
        if self.why == "new_partition":
            return f"{where} is new to this group; reading it from its beginning"
        return f"nothing is committed for {where}; reading it from offset {self.offset}"


def jump(
    tp: TP,
    wanted: int | None,
    *,
    low: int,
    high: int,
    from_end: bool,
    is_new_group: bool,
) -> Jump:
    """Decide where a partition is read on.

    Parameters
    ----------
    tp : TP
        The partition.
    wanted : int or None
        The offset the brokers do not have; None when nothing was committed.
    low, high : int
        First offset of the partition, and the one after its last.
    from_end : bool
        ``consumer.auto_offset_reset`` is ``latest``.
    is_new_group : bool
        The group has committed nothing for any partition of the topic.
    """
    if wanted is None:
        if not is_new_group:
            return Jump(tp, "new_partition", None, low)
        return Jump(tp, "new_group", None, high if from_end else low)
    if wanted < low:
        return Jump(tp, "retention", wanted, low)
    if wanted <= high:
        return Jump(tp, "available", wanted, wanted)
    return Jump(tp, "truncated", wanted, low)


def look_up(handle: OffsetSource, tp: TP, wanted: int | None, *, from_end: bool) -> Jump:
    """Ask the brokers for the partition's bounds and decide. Blocks, at most two `LOOK_UP_S`.

    Raises
    ------
    KafkaException
        No broker answered; ask again.
    """
    bounds = handle.get_watermark_offsets(TopicPartition(*tp), timeout=LOOK_UP_S)
    low, high = bounds if bounds is not None else (0, 0)
    is_new_group = True
    if wanted is None and from_end:
        # Only here it matters: a partition that is added to a topic in use holds records before
        # this worker hears of it, and `latest` would skip them.
        is_new_group = not _has_commits(handle, tp)
    return jump(tp, wanted, low=low, high=high, from_end=from_end, is_new_group=is_new_group)


def _has_commits(handle: OffsetSource, tp: TP) -> bool:
    # Partitions are numbered from 0 and only ever added: those below were there before.
    below = [TopicPartition(tp.topic, number) for number in range(tp.partition)]
    if not below:
        return False
    return any(found.offset >= 0 for found in handle.committed(below, timeout=LOOK_UP_S))
