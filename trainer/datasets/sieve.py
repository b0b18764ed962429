"""Which records of a topic may be trained on, and a sample of them that fits into memory.

Nobody labels all traffic: a record without a label counts as normal. That is an open door: whoever
floods the topic with one attack would teach the next model that it is normal. So a record that was
flagged, by an alert of whatever version or by the champion now, is trained on as normal only when a
label says that it is; without one it is left out. Anomalies are only those with a label.
"""

import hashlib
import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from anoean_stream.features.values import to_category
from trainer.datasets.labels import Labels
from trainer.datasets.payloads import object_in


@dataclass(frozen=True, slots=True)
class TopicRecord:
    """A record as it was read, and what was said of it.

    Parameters
    ----------
    partition, offset : int
        Where it stands.
    value : bytes or None
        As fetched.
    alerted : bool
        Whether an alert names it.
    above : bool
        Whether the champion scores it above its threshold.
    refused : str or None
        Why the champion cannot score it, a reason of `anoean_stream.records.deadletter`.
    """

    partition: int
    offset: int
    value: bytes | None
    alerted: bool = False
    above: bool = False
    refused: str | None = None


@dataclass(slots=True)
class TopicCounts:
    """What became of the records of a range; the first is the sum of the others.

    Parameters
    ----------
    read : int
        All.
    normals : int
        Taken as normal because nothing speaks against it.
    labelled_normals, labelled_anomalies : int
        Taken as a label says.
    flagged : int
        Left out: flagged as anomalous, and no label says otherwise.
    refused : int
        Left out: the champion cannot score them.
    unreadable : int
        Left out: no JSON object.
    sampled_out : int
        Left out by the draw that keeps to ``training.max_rows``.
    flagged_by_alert, flagged_by_champion : int
        Parts of `flagged`; one record may be in both.
    """

    read: int = 0
    normals: int = 0
    labelled_normals: int = 0
    labelled_anomalies: int = 0
    flagged: int = 0
    refused: int = 0
    unreadable: int = 0
    sampled_out: int = 0
    flagged_by_alert: int = 0
    flagged_by_champion: int = 0


class Entry(NamedTuple):
    """A record in a sample: the heap keeps the smallest draws, so the largest is on top."""

    negative_draw: int
    partition: int
    offset: int
    value: bytes
    kind: str | None
    labelled: bool


@dataclass(slots=True)
class Sieve:
    """Decides about each record, and keeps a sample of those that may be trained on.

    Parameters
    ----------
    labels : Labels
        With the records of their alerts.
    max_rows : int
        Most records kept, at least 2.
    seed : int
        Of the draw.
    """

    labels: Labels
    max_rows: int
    seed: int
    counts: TopicCounts = field(default_factory=TopicCounts)
    _normals: list[Entry] = field(default_factory=list)
    _anomalies: list[Entry] = field(default_factory=list)
    _waiting: dict[str, list[TopicRecord]] = field(default_factory=dict)
    _refused: Counter[str] = field(default_factory=Counter)

    def take(self, record: TopicRecord) -> None:
        """Decide about a record."""
        self.counts.read += 1
        id_ = self._id_of(record.value)
        label = self.labels.of((record.partition, record.offset), id_=id_)
        if record.refused is not None or record.value is None:
            self.counts.refused += 1
            self._refused[record.refused or "tombstone"] += 1
            return
        flagged = record.alerted or record.above
        if label is None:
            if flagged:
                self._leave_out(record)
            else:
                self._keep_normal(record, labelled=False)
        elif label.is_anomaly:
            self._keep(self._anomalies, self._most_anomalies, record, label.kind, labelled=True)
            self.counts.labelled_anomalies += 1
        elif flagged and label.by_id and id_ is not None:
            # Whoever writes records chooses their ids: only one that is alone clears its record.
            self._waiting.setdefault(id_, []).append(record)
        else:
            self._keep_normal(record, labelled=True)

    def finish(self) -> list[Entry]:
        """Return what is trained on, in the order of partition and offset."""
        for id_, records in self._waiting.items():
            if self.labels.n_of_id(id_) == 1:
                self._keep_normal(records[0], labelled=True)
                continue
            self.labels.counts.ambiguous += 1
            for record in records:
                self._leave_out(record)
        self._waiting.clear()
        # Both samples together must fit.
        while len(self._normals) > self.max_rows - len(self._anomalies):
            self.uncount(heapq.heappop(self._normals))
            self.counts.sampled_out += 1
        return sorted(
            (*self._normals, *self._anomalies), key=lambda entry: (entry.partition, entry.offset)
        )

    def uncount(self, entry: Entry) -> None:
        """Take back that a record was kept."""
        if entry.kind is not None:
            self.counts.labelled_anomalies -= 1
        elif entry.labelled:
            self.counts.labelled_normals -= 1
        else:
            self.counts.normals -= 1

    def notes(self) -> list[str]:
        """Return a sentence for each reason for which records were left out."""
        counts = self.counts
        notes = []
        if counts.flagged:
            notes.append(
                f"{counts.flagged:,} records were flagged as anomalous and have no label "
                f"({counts.flagged_by_alert:,} by an alert, {counts.flagged_by_champion:,} by the "
                "champion now): left out; label them to train on them"
            )
        if counts.refused:
            reasons = ", ".join(f"{reason} {n:,}" for reason, n in self._refused.most_common())
            notes.append(f"{counts.refused:,} records cannot be scored ({reasons}): left out")
        if counts.unreadable:
            notes.append(f"{counts.unreadable:,} records are no JSON objects: left out")
        if counts.sampled_out:
            notes.append(
                f"{counts.sampled_out:,} records were left out by a uniform draw, to keep to "
                f"{self.max_rows:,} rows (training.max_rows)"
            )
        if self.labels.counts.ambiguous:
            notes.append(
                f"{self.labels.counts.ambiguous:,} labels say normal of an id that several records "
                "have: the flagged ones of these are left out; label them by partition and offset"
            )
        return notes

    @property
    def _most_anomalies(self) -> int:
        return max(1, self.max_rows // 2)

    def _leave_out(self, record: TopicRecord) -> None:
        self.counts.flagged += 1
        self.counts.flagged_by_alert += record.alerted
        self.counts.flagged_by_champion += record.above

    def _keep_normal(self, record: TopicRecord, *, labelled: bool) -> None:
        self._keep(self._normals, self.max_rows, record, None, labelled=labelled)
        if labelled:
            self.counts.labelled_normals += 1
        else:
            self.counts.normals += 1

    def _keep(
        self,
        heap: list[Entry],
        size: int,
        record: TopicRecord,
        kind: str | None,
        *,
        labelled: bool,
    ) -> None:
        assert record.value is not None  # refused before
        draw = _draw(self.seed, record.partition, record.offset)
        entry = Entry(-draw, record.partition, record.offset, record.value, kind, labelled)
        if len(heap) < size:
            heapq.heappush(heap, entry)
            return
        self.counts.sampled_out += 1
        self.uncount(heapq.heappushpop(heap, entry))

    def _id_of(self, value: bytes | None) -> str | None:
        if self.labels.id_field is None or value is None:
            return None
        row = object_in(value)
        try:
            return None if row is None else to_category(row.get(self.labels.id_field))
        except ValueError:
            return None  # a list or an object names nothing


def _draw(seed: int, partition: int, offset: int) -> int:
    """Return a number in [0, 2**64) that depends on nothing which stands in the record."""
    place = f"{seed}|{partition}|{offset}".encode()
    return int.from_bytes(hashlib.blake2b(place, digest_size=8).digest(), "big")
