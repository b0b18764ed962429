"""Which dead letters have been sent again: kept in the metadata of a commit, so on the brokers.

A replay sends the letters of one reason, one partition or one span of time. A later one must
neither repeat them nor pass over the rest. What was sent is remembered as spans of offsets, each
with what it was restricted to, for each partition of the dead letters.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from confluent_kafka import TopicPartition

from anoean_stream.cli.dead_letters import DeadLetter, Selection
from anoean_stream.errors import ConfigError

MAX_METADATA_BYTES: Final = 4000
"""Brokers take 4096 (offset.metadata.max.bytes) unless set otherwise; a span has about 30."""


class DoneSpan(msgspec.Struct, frozen=True, array_like=True):
    """Letters that were replayed: offsets `first` to before `end` that fit the rest.

    Parameters
    ----------
    first, end : int
        Offsets in the dead letters.
    max_replays : int
        Only letters of records that had been replayed less often than this.
    reason : str or None
        Only of this reason.
    partition : int or None
        Only of records of this partition of the input.
    """

    first: int
    end: int
    max_replays: int
    reason: str | None
    partition: int | None

    def holds(self, letter: DeadLetter) -> bool:
        """Tell whether a letter was replayed with this span."""
        return (
            self.first <= letter.offset < self.end
            and letter.replay_count < self.max_replays
            and self.reason in {None, letter.reason}
            and self.partition in {None, letter.origin_partition}
        )

    def covers(self, other: "DoneSpan") -> bool:
        """Tell whether this span alone remembers all that another, restricted one does."""
        return (
            self.kind != other.kind
            and self.first <= other.first
            and other.end <= self.end
            and other.max_replays <= self.max_replays
            and self.reason in {None, other.reason}
            and self.partition in {None, other.partition}
        )

    @property
    def kind(self) -> tuple[int, str | None, int | None]:
        """What it is restricted to."""
        return self.max_replays, self.reason, self.partition


class ReplayMemory:
    """What was replayed of one partition of the dead letters.

    Parameters
    ----------
    spans : sequence of DoneSpan
        In any order.
    """

    def __init__(self, spans: Sequence[DoneSpan] = ()) -> None:
        self.spans = tuple(spans)

    @classmethod
    def from_commit(cls, committed: TopicPartition) -> "ReplayMemory":
        """Read what an earlier replay has committed; nothing when it is not ours."""
        try:
            return cls(msgspec.json.decode(committed.metadata or "[]", type=tuple[DoneSpan, ...]))
        except msgspec.DecodeError:
            return cls()

    def is_done(self, letter: DeadLetter) -> bool:
        """Tell whether a letter has been replayed."""
        return any(span.holds(letter) for span in self.spans)

    def with_replay(
        self, selection: Selection, *, first: int, end: int, max_replays: int, low: int
    ) -> "ReplayMemory":
        """Return the memory after another replay, without what retention has removed.

        Parameters
        ----------
        selection : Selection
            What it was restricted to; its times are already in `first` and `end`.
        first, end : int
            Offsets that were looked at.
        max_replays : int
            Letters of records replayed so often were left out.
        low : int
            First offset that is still there.
        """
        new = DoneSpan(first, end, max_replays, selection.reason, selection.partition)
        by_kind: dict[tuple[int, str | None, int | None], list[DoneSpan]] = {}
        for span in (*self.spans, *((new,) if first < end else ())):
            if span.end > low:
                by_kind.setdefault(span.kind, []).append(span)
        joined = [span for spans in by_kind.values() for span in _joined(spans)]
        return ReplayMemory(
            [span for span in joined if not any(other.covers(span) for other in joined)]
        )

    def to_commit(self, topic: str, partition: int, *, low: int) -> TopicPartition:
        """Return what to commit: the offset before which all is done, and the spans.

        Raises
        ------
        ConfigError
            When they are too many for a commit's metadata.
        """
        metadata = msgspec.json.encode(self.spans).decode()
        if len(metadata) > MAX_METADATA_BYTES:
            message = (
                f"{len(self.spans)} separate replays of partition {partition} are to be remembered, "
                f"more than a commit can hold ({len(metadata)} of {MAX_METADATA_BYTES} bytes); "
                "replay all that is left at once (without --reason, --partition, --since and "
                "--until)"
            )
            raise ConfigError(message)
        whole = [
            s.end for s in self.spans if s.reason is None and s.partition is None and s.first <= low
        ]
        return TopicPartition(topic, partition, max([low, *whole]), metadata=metadata)


def _joined(spans: Sequence[DoneSpan]) -> list[DoneSpan]:
    """Join spans of one kind that touch."""
    joined: list[DoneSpan] = []
    for span in sorted(spans, key=lambda span: span.first):
        if joined and span.first <= joined[-1].end:
            end = max(joined[-1].end, span.end)
            joined[-1] = msgspec.structs.replace(joined[-1], end=end)
        else:
            joined.append(span)
    return joined
