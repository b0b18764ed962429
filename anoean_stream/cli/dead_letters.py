"""Dead letters as they stand in their topic, and how far they have been replayed."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from confluent_kafka import Message, TopicPartition

from anoean_stream.cli.reader import Reader, header_texts, place

REPLAY_COUNT_HEADER: Final = "anoean-replay-count"
"""How many times a record has been sent again; on the record that was sent."""

REPLAYED_FROM_HEADER: Final = "anoean-replayed-from"
"""topic/partition/offset of the dead letter that was sent again."""

CUT_HEADER: Final = "anoean-original-bytes"
"""On a dead letter whose value was cut: its whole size. Such a value must not be sent again."""

PREVIEW_CHARS: Final = 100

_ALL: Final = "*"
"""Stands for all reasons in the positions of a partition."""


class DeadLetter(msgspec.Struct, frozen=True):
    """One dead letter.

    Parameters
    ----------
    partition, offset : int
        Where it stands.
    reason, detail : str
        Why the record could not be scored.
    origin_topic : str
        Where the record was read; empty when the header is missing.
    origin_partition, origin_offset : int or None
        The same.
    worker, model_version : str
        Who judged it, with which model.
    size_bytes : int or None
        Size of the value; None for a tombstone.
    preview : str
        The value's beginning, made printable.
    is_cut : bool
        Whether the value is shorter than the original.
    """

    partition: int
    offset: int
    reason: str
    detail: str
    origin_topic: str
    origin_partition: int | None
    origin_offset: int | None
    worker: str
    model_version: str
    size_bytes: int | None
    preview: str
    is_cut: bool


def parse_dead_letter(message: Message) -> DeadLetter:
    """Read a dead letter; headers that are missing leave their fields empty."""
    headers = header_texts(message)
    partition, offset = place(message)
    value = message.value()
    return DeadLetter(
        partition=partition,
        offset=offset,
        reason=headers.get("anoean-reason", "unknown"),
        detail=headers.get("anoean-detail", ""),
        origin_topic=headers.get("anoean-topic", ""),
        origin_partition=_whole(headers.get("anoean-partition")),
        origin_offset=_whole(headers.get("anoean-offset")),
        worker=headers.get("anoean-worker", ""),
        model_version=headers.get("anoean-model-version", ""),
        size_bytes=None if value is None else len(value),
        preview="" if value is None else _preview(value),
        is_cut=CUT_HEADER in headers,
    )


@dataclass(slots=True)
class Positions:
    """How far one partition of the dead letters has been replayed, for each reason.

    A replay of one reason only must neither repeat its records nor hide those of other reasons
    from a later replay. So the commit of the partition carries, as its metadata, the next offset of
    each reason; ``*`` is that of all of them, and the committed offset itself.
    """

    next_of_reason: dict[str, int]

    @classmethod
    def from_commit(cls, committed: TopicPartition) -> "Positions":
        """Read what an earlier replay has committed."""
        positions = cls({})
        with suppress(msgspec.DecodeError):  # somebody else's metadata: the offset alone counts
            positions.next_of_reason = msgspec.json.decode(
                committed.metadata or "{}", type=dict[str, int]
            )
        if committed.offset >= 0:
            positions.next_of_reason[_ALL] = committed.offset
        return positions

    def first(self, reason: str | None, *, low: int) -> int:
        """Return where to begin reading, not before `low`."""
        seen = self.next_of_reason.get(_ALL, 0)
        if reason is not None:
            seen = max(seen, self.next_of_reason.get(reason, 0))
        return max(seen, low)

    def is_done(self, letter: DeadLetter) -> bool:
        """Tell whether a letter has been replayed."""
        return letter.offset < self.first(letter.reason, low=0)

    def advance(self, reason: str | None, next_offset: int) -> None:
        """Remember that everything of this reason (None: of all) before an offset is done."""
        key = _ALL if reason is None else reason
        self.next_of_reason[key] = max(next_offset, self.next_of_reason.get(key, 0))

    def to_commit(self, topic: str, partition: int) -> TopicPartition:
        """Return what to commit."""
        seen = self.next_of_reason.get(_ALL, 0)
        reasons = {
            reason: offset
            for reason, offset in self.next_of_reason.items()
            if reason != _ALL and offset > seen
        }
        metadata = msgspec.json.encode(reasons).decode()
        return TopicPartition(topic, partition, seen, metadata=metadata)


def replay_counts(
    reader: Reader, letters: Iterable[DeadLetter], *, timeout_s: float
) -> dict[tuple[int, int], int]:
    """Return how often the records behind dead letters had been sent again before.

    The count is a header of the origin record, which the worker does not carry over: so the origin
    is looked up, as far as it is still there.

    Parameters
    ----------
    reader : Reader
        Reader of the origin topic.
    letters : iterable of DeadLetter
        Letters of that topic.
    timeout_s : float
        Seconds for the whole look-up; what is not found in time counts as 0.

    Returns
    -------
    dict of (int, int) to int
        By partition and offset of the origin.
    """
    wanted: dict[int, set[int]] = {}
    for letter in letters:
        if letter.origin_partition is not None and letter.origin_offset is not None:
            wanted.setdefault(letter.origin_partition, set()).add(letter.origin_offset)
    bounds = reader.bounds()
    counts: dict[tuple[int, int], int] = {}
    for partition, offsets in wanted.items():
        low, high = bounds.get(partition, (0, 0))
        there = {offset for offset in offsets if low <= offset < high}
        if not there:
            continue
        spans = reader.read_until(
            {partition: min(there)}, {partition: max(there) + 1}, timeout_s=timeout_s
        )
        for _, offset, message in spans:
            if offset in there:
                count = _whole(header_texts(message).get(REPLAY_COUNT_HEADER))
                counts[partition, offset] = count or 0
    return counts


def by_reason(letters: Iterable[DeadLetter]) -> Mapping[str, int]:
    """Count letters by reason, the commonest first."""
    counts: dict[str, int] = {}
    for letter in letters:
        counts[letter.reason] = counts.get(letter.reason, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def as_document(letter: DeadLetter) -> dict[str, Any]:
    """Return a letter as a JSON object."""
    document: dict[str, Any] = msgspec.to_builtins(letter)
    return document


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _preview(value: bytes) -> str:
    text = value[: PREVIEW_CHARS * 4].decode(errors="replace")
    printable = "".join(char if char.isprintable() else "." for char in text[:PREVIEW_CHARS])
    return printable + ("..." if len(text) > PREVIEW_CHARS else "")
