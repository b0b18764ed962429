"""The records that ``anoean models diff`` replays: a range of a topic, or a file."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from anoean_stream.cli.moments import parse_moment
from anoean_stream.cli.offline import Source, chunks
from anoean_stream.cli.progress import Advance, record_progress, row_progress
from anoean_stream.cli.reader import Reader, place
from anoean_stream.errors import DataError
from anoean_stream.kafka.chunking import chunks_of
from anoean_stream.records.chunk import Chunk
from anoean_stream.records.files import read_values
from anoean_stream.settings import Settings

_OFFSET: Final = "offset:"

_CHUNK_ROWS: Final = 2000
"""Rows scored together: about what a worker fetches at once, so that times are like a worker's."""


@dataclass(frozen=True, slots=True)
class Point:
    """Where a range begins or ends: one of the two is given.

    Parameters
    ----------
    moment : datetime or None
        Aware.
    offset : int or None
        Of every partition.
    """

    moment: datetime | None = None
    offset: int | None = None

    def __str__(self) -> str:
        if self.moment is not None:
            return self.moment.isoformat(timespec="seconds")
        return f"offset {self.offset}"


def parse_point(text: str, *, now: datetime) -> Point:
    """Return what ``offset:N``, ``2h`` or an ISO 8601 time stands for.

    Raises
    ------
    ValueError
        When it is none of them.

    Examples
    --------
    >>> parse_point("offset:120", now=datetime(2026, 5, 1, tzinfo=UTC)).offset
    120
    """
    if not text.startswith(_OFFSET):
        try:
            return Point(moment=parse_moment(text, now=now))
        except ValueError as error:
            message = f"{error}, or offset:1200 (of every partition)"
            raise ValueError(message) from error
    number = text.removeprefix(_OFFSET)
    if not (number.isascii() and number.isdigit()) or int(number) >= 2**63:
        message = f"{text!r} is no offset; give offset:N with a whole number from 0"
        raise ValueError(message)
    return Point(offset=int(number))


def _parsed(text: str) -> Point:
    try:
        return parse_point(text, now=datetime.now(tz=UTC))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


_POINT: Final = "TIME|offset:N"

FromOption = Annotated[
    Point | None,
    typer.Option(
        "--from",
        parser=_parsed,
        metavar=_POINT,
        help="From there on: 2h ago, ISO 8601 (UTC without a zone), or an offset of every partition; "
        "else from the oldest record.",
        show_default=False,
    ),
]
ToOption = Annotated[
    Point | None,
    typer.Option(
        "--to",
        parser=_parsed,
        metavar=_POINT,
        help="Before that; else up to the newest record of now.",
        show_default=False,
    ),
]


@dataclass(slots=True)
class TopicRange:
    """Records of a topic between two points, partition by partition.

    Parameters
    ----------
    reader : Reader
        Of the topic; closed by whoever made it.
    starts, ends : dict of int to int
        First offset of each partition, and the one after the last.
    """

    reader: Reader
    starts: dict[int, int]
    ends: dict[int, int]

    @property
    def n_records(self) -> int:
        """Offsets in the range; holes are counted as records."""
        return sum(max(self.ends[p] - start, 0) for p, start in self.starts.items())

    def described(self) -> dict[str, Any]:
        """Return it as the report names it."""
        return {
            "kind": "topic",
            "topic": self.reader.topic,
            "offsets": {str(p): [start, self.ends[p]] for p, start in sorted(self.starts.items())},
        }

    @property
    def title(self) -> str:
        """In few words."""
        return f"topic {self.reader.topic}"

    @contextmanager
    def progress(self) -> Iterator[Advance]:
        """Show how far it is."""
        with record_progress(f"replaying {self.reader.topic}", total=self.n_records) as advance:
            yield advance

    def chunks(self) -> Iterator[Chunk]:
        """Yield the records; a chunk is of one partition.

        Raises
        ------
        BrokerError
            When the broker stops answering, or refuses us.
        """
        for messages in self.reader.read_batches(self.starts, self.ends):
            within = [one for one in messages if place(one)[1] < self.ends[place(one)[0]]]
            if within:
                # Epochs and ends are for a consumer that commits.
                for fetched in chunks_of(within, defaultdict(int), lambda _: -1):
                    yield fetched.chunk


@dataclass(frozen=True, slots=True)
class FileRows:
    """Records of a file.

    Parameters
    ----------
    source : Source
        The file.
    """

    source: Source

    def described(self) -> dict[str, Any]:
        """Return it as the report names it."""
        return {"kind": "file", "file": str(self.source.path), "dataset": self.source.dataset}

    @property
    def title(self) -> str:
        """In few words."""
        return f"file {self.source.path.name}"

    @contextmanager
    def progress(self) -> Iterator[Advance]:
        """Show how far it is."""
        name, total = self.source.path.name, self.source.n_rows
        with row_progress(f"replaying {name}", total=total) as advance:
            yield advance

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows.

        Raises
        ------
        DataError
            When the file cannot be read.
        """
        values = read_values(self.source.path, columns=self.source.columns)
        return chunks(values, topic=self.source.path.name, chunk_records=_CHUNK_ROWS)


@contextmanager
def topic_range(
    settings: Settings, topic: str, *, begin: Point | None, end: Point | None
) -> Iterator[TopicRange]:
    """Open a range of a topic; no group is joined and nothing is committed.

    Parameters
    ----------
    settings : Settings
        Brokers.
    topic : str
        The topic.
    begin, end : Point or None
        None: the oldest record, and the end of now.

    Raises
    ------
    DataError
        When there is nothing in the range; says what the topic holds.
    BrokerError
        When the topic does not exist, no broker answers, or it refuses us.
    """
    with Reader(settings, topic, group=f"{settings.consumer.group_id}.models-diff") as reader:
        bounds = reader.bounds()
        starts = _offsets(reader, begin, bounds, default=0)
        ends = _offsets(reader, end, bounds, default=1)
        found = TopicRange(reader, starts, ends)
        if not found.n_records:
            held = ", ".join(
                f"partition {partition}: {low} to {high - 1}"
                if high > low
                else f"{partition}: none"
                for partition, (low, high) in sorted(bounds.items())
            )
            message = (
                f"topic {topic!r} has no record {_between(begin, end)}; offsets that it holds: {held}; "
                f"give another --from and --to"
            )
            raise DataError(message)
        yield found


def _offsets(
    reader: Reader, point: Point | None, bounds: dict[int, tuple[int, int]], *, default: int
) -> dict[int, int]:
    if point is None:
        return {partition: both[default] for partition, both in bounds.items()}
    if point.moment is not None:
        return reader.offsets_at(point.moment, bounds)
    assert point.offset is not None  # one of the two is given
    wanted = point.offset
    return {partition: min(max(wanted, low), high) for partition, (low, high) in bounds.items()}


def _between(begin: Point | None, end: Point | None) -> str:
    words = [
        f"{word} {point}" for word, point in (("from", begin), ("before", end)) if point is not None
    ]
    return " ".join(words) or "at all"
