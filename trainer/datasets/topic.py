"""A range of a topic as a labelled table."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from anoean_stream.errors import DataError
from trainer.datasets.labels import Labels
from trainer.datasets.payloads import RowReader
from trainer.datasets.sieve import Sieve, TopicCounts, TopicRecord
from trainer.datasets.table import NORMAL, LabelledTable, fingerprint, read_columns


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRange:
    """A range of a topic to train on.

    Parameters
    ----------
    topic : str
        Its name.
    read : callable
        Gives the records; called once. Whoever calls the trainer knows how to read a topic.
    labels : Labels
        With all labels in it, and the records of their alerts.
    origin : mapping
        JSON values for the manifest: offsets, labels, what guards the normals.
    """

    topic: str
    read: Callable[[], Iterable[TopicRecord]]
    labels: Labels
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gathered:
    """A range as a table.

    Parameters
    ----------
    table : LabelledTable
        May lack anomalies.
    counts : TopicCounts
        What became of the records.
    provenance : dict
        JSON values for the manifest.
    notes : tuple of str
        What a person should know.
    """

    table: LabelledTable
    counts: TopicCounts
    provenance: dict[str, Any]
    notes: tuple[str, ...]


def gather(source: TopicRange, *, max_rows: int, seed: int) -> Gathered:
    """Read a range and return what may be trained on.

    Where there is more than `max_rows`, normals are a uniform sample of the range, and anomalies are
    sampled only beyond half of the rows. The draw depends on seed, partition and offset alone: the
    same range gives the same rows, in whatever order partitions are read.

    Parameters
    ----------
    source : TopicRange
        Topic, labels, records.
    max_rows : int
        Most rows, at least 2.
    seed : int
        Of the draw.

    Raises
    ------
    DataError
        When nothing is left.
    """
    sieve = Sieve(source.labels, max_rows=max_rows, seed=seed)
    for record in source.read():
        sieve.take(record)
    entries = sieve.finish()
    counts = sieve.counts
    reader = RowReader()
    kinds_N: list[str] = []

    def rows() -> Iterator[dict[str, object]]:
        for entry in entries:
            row = reader.read(entry.value)
            if row is None:
                counts.unreadable += 1
                sieve.uncount(entry)
                continue
            kinds_N.append(entry.kind or NORMAL)
            yield row

    name = f"topic {source.topic}"
    label_notes = source.labels.finish()
    if not entries:
        message = (
            f"{name}: of {counts.read:,} records none may be trained on ({counts.flagged:,} flagged "
            f"without a label, {counts.refused:,} that the champion cannot score); give an earlier "
            "--since, or label the flagged ones"
        )
        raise DataError(message)
    columns = read_columns(rows(), name=name, max_rows=max_rows)
    table = LabelledTable(
        name=name,
        columns=columns,
        is_anomaly_N=np.array([kind != NORMAL for kind in kinds_N], dtype=np.bool_),
        kinds_N=kinds_N,
        fingerprint=fingerprint(columns.values(), kinds_N),
    )
    provenance = {
        "topic": source.topic,
        **source.origin,
        "records": asdict(counts),
        "label_counts": asdict(source.labels.counts),
    }
    return Gathered(table, counts, provenance, (*sieve.notes(), *label_notes, *reader.notes()))
