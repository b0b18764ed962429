"""Dead letters as they stand in their topic, and which of them somebody means."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from confluent_kafka import Message

from anoean_stream.cli.reader import Reader, header_texts, place
from anoean_stream.records.deadletter import REPLAY_COUNT_HEADER, REPLAYED_FROM_HEADER

CUT_HEADER: Final = "anoean-original-bytes"
"""On a dead letter whose value was cut: its whole size. Such a value must not be sent again."""

PREVIEW_CHARS: Final = 100

Span = tuple[int, int]
"""First offset, and the one after the last."""


class DeadLetter(msgspec.Struct, frozen=True):
    """One dead letter.

    Parameters
    ----------
    partition, offset : int
        Where it stands.
    written_at : datetime or None
        When it was written.
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
    replay_count : int
        How many times the record had been sent again before it became this letter.
    replayed_from : str
        topic/partition/offset of the letter that was sent again; empty when none was.
    """

    partition: int
    offset: int
    written_at: datetime | None
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
    replay_count: int
    replayed_from: str

    @property
    def place(self) -> str:
        """Where it stands, as ``anoean dlq show`` takes it."""
        return f"{self.partition}:{self.offset}"

    @property
    def origin(self) -> str:
        """Where the record was read: topic/partition/offset, with ? for what no header tells."""
        partition = "?" if self.origin_partition is None else self.origin_partition
        offset = "?" if self.origin_offset is None else self.origin_offset
        return f"{self.origin_topic or '?'}/{partition}/{offset}"

    @property
    def has_origin(self) -> bool:
        """Whether topic, partition and offset of the record are known: a worker wrote this."""
        return bool(
            self.origin_topic
            and self.origin_partition is not None
            and self.origin_offset is not None
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters somebody means; None is any.

    Parameters
    ----------
    reason : str or None
        Only these.
    partition : int or None
        Only of records of this partition of the input.
    since, until : datetime or None
        Only letters written in this time.
    """

    reason: str | None = None
    partition: int | None = None
    since: datetime | None = None
    until: datetime | None = None

    def takes(self, letter: DeadLetter) -> bool:
        """Tell whether reason and partition of a letter are the wanted ones."""
        return self.reason in {None, letter.reason} and self.partition in {
            None,
            letter.origin_partition,
        }

    def spans(self, reader: Reader) -> dict[int, Span]:
        """Return which offsets of the dead letters lie in the wanted time, by their partition.

        Raises
        ------
        BrokerError
            When the topic does not exist, or the broker does not answer.
        """
        bounds = reader.bounds()
        starts = {p: low for p, (low, _) in bounds.items()}
        ends = {p: high for p, (_, high) in bounds.items()}
        if self.since is not None:
            starts = reader.offsets_at(self.since, bounds)
        if self.until is not None:
            ends = reader.offsets_at(self.until, bounds)
        return {p: (starts[p], max(starts[p], ends[p])) for p in bounds}


def read_letters(reader: Reader, spans: Mapping[int, Span]) -> Iterator[tuple[DeadLetter, Message]]:
    """Yield every letter of the spans with its message, each partition in order.

    Raises
    ------
    BrokerError
        When the broker stops answering.
    """
    starts = {partition: first for partition, (first, _) in spans.items()}
    ends = {partition: end for partition, (_, end) in spans.items()}
    for _, _, message in reader.read_until(starts, ends):
        yield parse_dead_letter(message), message


def parse_dead_letter(message: Message) -> DeadLetter:
    """Read a dead letter; headers that are missing leave their fields empty."""
    headers = header_texts(message)
    partition, offset = place(message)
    value = message.value()
    return DeadLetter(
        partition=partition,
        offset=offset,
        written_at=_written_at(message),
        reason=headers.get("anoean-reason", "unknown"),
        detail=headers.get("anoean-detail", ""),
        origin_topic=headers.get("anoean-topic", ""),
        origin_partition=_whole(headers.get("anoean-partition")),
        origin_offset=_whole(headers.get("anoean-offset")),
        worker=headers.get("anoean-worker", ""),
        model_version=headers.get("anoean-model-version", ""),
        size_bytes=None if value is None else len(value),
        preview="" if value is None else preview(value),
        is_cut=CUT_HEADER in headers,
        replay_count=_whole(headers.get(REPLAY_COUNT_HEADER)) or 0,
        replayed_from=headers.get(REPLAYED_FROM_HEADER, ""),
    )


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


def printable(text: str) -> str:
    """Return a text without what a terminal would obey; records may hold anything."""
    return "".join(char if char.isprintable() else "." for char in text)


def preview(value: bytes) -> str:
    """Return the beginning of a value on one line."""
    text = value[: PREVIEW_CHARS * 4].decode(errors="replace")
    return printable(text[:PREVIEW_CHARS]) + ("..." if len(text) > PREVIEW_CHARS else "")


def _whole(text: str | None) -> int | None:
    # Not isdecimal alone: it takes digits of all scripts, and int() any length of them.
    fits = text is not None and text.isascii() and text.isdecimal() and len(text) < 20  # noqa: PLR2004  2**63 has 19
    return int(text) if text is not None and fits else None


def _written_at(message: Message) -> datetime | None:
    _, stamp_ms = message.timestamp()
    try:
        return datetime.fromtimestamp(stamp_ms / 1000, tz=UTC) if stamp_ms >= 0 else None
    except (ValueError, OverflowError, OSError):  # no year that a calendar has
        return None
