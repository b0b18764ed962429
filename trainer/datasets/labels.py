"""What people said of records of a topic, found again by place, by alert, or by the record's own id.

A label is a row with a word (``label``) and one of:

- ``alert_id``: the record that this alert is about;
- ``topic``, ``partition`` and ``offset`` (without a topic: the one that is read);
- the field that ``--id-field`` names, as the record has it (``uid``, ``flow_id``).

Of several labels for one record the last one wins.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from anoean_stream.errors import DataError
from anoean_stream.features.values import to_category, to_number
from anoean_stream.records.files import read_rows

LABEL_FIELD: Final = "label"
"""Field of the label in a row when ``--label-column`` names no other."""

_SHOWN: Final = 3
"""Labels named in a note: enough to find the mistake, few enough for a line."""

Place = tuple[int, int]
"""Partition and offset."""


@dataclass(frozen=True, slots=True)
class Label:
    """One label.

    Parameters
    ----------
    is_anomaly : bool
    kind : str
        Kind of attack of an anomaly.
    order : int
        Its place among all labels, from 0; the highest wins.
    said_of : str
        What it names, for messages.
    by_id : bool
        Whether it names its record by what stands in the record.
    """

    is_anomaly: bool
    kind: str
    order: int
    said_of: str
    by_id: bool = False


@dataclass(slots=True)
class LabelCounts:
    """What became of the labels.

    Parameters
    ----------
    rows : int
        Labels that were read.
    used : int
        Records that have one.
    duplicates, contradictory : int
        Labels of a record that has another one, which says the same, or something else.
    unmatched : int
        Labels of which no record was read: out of the range, another topic, a mistyped id.
    faulty : int
        Messages of a label topic that are no labels.
    ambiguous : int
        "Normal" by an id that several records have: flagged ones of these stay left out.
    """

    rows: int = 0
    used: int = 0
    duplicates: int = 0
    contradictory: int = 0
    unmatched: int = 0
    faulty: int = 0
    ambiguous: int = 0


@dataclass(slots=True, kw_only=True)
class Labels:
    """Labels of the records of one topic.

    Parameters
    ----------
    topic : str
        The topic that is read.
    normal_value : str
        Label of normal records, in any case; every other one is an anomaly.
    label_column : str
        Field of the label.
    attack_column : str, optional
        Field with the kind of attack; without it the label is the kind.
    id_field : str, optional
        Field of the record by which labels may name it.
    """

    topic: str
    normal_value: str
    label_column: str = LABEL_FIELD
    attack_column: str | None = None
    id_field: str | None = None
    counts: LabelCounts = field(default_factory=LabelCounts)
    _by_place: dict[Place, Label] = field(default_factory=dict)
    _by_alert: dict[str, list[Label]] = field(default_factory=dict)
    _by_id: dict[str, Label] = field(default_factory=dict)
    _elsewhere: list[str] = field(default_factory=list)
    _contradictory: list[str] = field(default_factory=list)
    _duplicates: list[str] = field(default_factory=list)
    _matched_places: set[Place] = field(default_factory=set)
    _matched_ids: Counter[str] = field(default_factory=Counter)

    def add(self, row: Mapping[str, object]) -> None:
        """Take a row.

        Raises
        ------
        ValueError
            When it has no label, or names no record.
        """
        word = to_category(row.get(self.label_column))
        if word is None:
            message = f"no {self.label_column!r}; expected the label of a record"
            raise ValueError(message)
        kind = None if self.attack_column is None else to_category(row.get(self.attack_column))
        is_anomaly = word.casefold() != normal_word(self.normal_value)
        order = self.counts.rows
        alert = to_category(row.get("alert_id"))
        id_ = None if self.id_field is None else to_category(row.get(self.id_field))
        if alert is not None:
            label = Label(is_anomaly, kind or word, order, f"alert {alert}")
            self._by_alert.setdefault(alert, []).append(label)
        elif row.get("partition") is not None and row.get("offset") is not None:
            place = _whole(row, "partition"), _whole(row, "offset")
            topic = to_category(row.get("topic")) or self.topic
            said_of = f"{topic}/{place[0]}/{place[1]}"
            if topic == self.topic:
                self._put(place, Label(is_anomaly, kind or word, order, said_of))
            else:
                self._elsewhere.append(said_of)
        elif id_ is not None:
            label = Label(is_anomaly, kind or word, order, f"{self.id_field} {id_}", by_id=True)
            self._by_id[id_] = self._later(self._by_id.get(id_), label)
        else:
            also = "" if self.id_field is None else f", or {self.id_field}"
            message = (
                f"it names no record; expected alert_id, or topic, partition and offset{also}"
                + (" (or name a field of the record with --id-field)" if not also else "")
            )
            raise ValueError(message)
        self.counts.rows += 1

    @property
    def alert_ids(self) -> set[str]:
        """Alerts that labels name and of which it is not yet known which record they are about."""
        return set(self._by_alert)

    def found_alert(self, alert_id: str, place: Place) -> None:
        """Take note of the record that an alert is about; to be called before `of`."""
        for label in self._by_alert.pop(alert_id, ()):
            self._put(place, label)

    def of(self, place: Place, *, id_: str | None) -> Label | None:
        """Return the label of a record that was read, None when it has none.

        Parameters
        ----------
        place : (int, int)
            Partition and offset.
        id_ : str or None
            What the record has in `id_field`.
        """
        by_place = self._by_place.get(place)
        by_id = None if id_ is None else self._by_id.get(id_)
        if by_place is not None:
            self._matched_places.add(place)
        if by_id is not None:
            assert id_ is not None  # it was found by it
            self._matched_ids[id_] += 1
        if by_place is None or by_id is None:
            label = by_place or by_id
        else:
            label = self._later(*sorted((by_place, by_id), key=lambda one: one.order))
        self.counts.used += label is not None
        return label

    def n_of_id(self, id_: str) -> int:
        """Return how many records with this labelled id were read."""
        return self._matched_ids[id_]

    def finish(self) -> list[str]:
        """Count what is left over, and return a sentence for each thing that a person should know."""
        unmatched = [
            *self._elsewhere,
            *(one.said_of for labels in self._by_alert.values() for one in labels),
            *(one.said_of for place, one in self._by_place.items() if place not in self._matched_places),
            *(one.said_of for id_, one in self._by_id.items() if id_ not in self._matched_ids),
        ]  # fmt: skip
        counts = self.counts
        counts.unmatched = len(unmatched)
        counts.contradictory, counts.duplicates = len(self._contradictory), len(self._duplicates)
        sentences = [
            _sentence(unmatched, "labels fit no record that was read"),
            _sentence(self._contradictory, "labels contradict another of the same record; the last one counts"),
            _sentence(self._duplicates, "labels repeat another of the same record"),
        ]  # fmt: skip
        return [sentence for sentence in sentences if sentence]

    def _put(self, place: Place, label: Label) -> None:
        self._by_place[place] = self._later(self._by_place.get(place), label)

    def _later(self, one: Label | None, other: Label) -> Label:
        """Return the later of two labels of a record, and remember that there are two."""
        if one is None:
            return other
        same = one.is_anomaly == other.is_anomaly
        (self._duplicates if same else self._contradictory).append(other.said_of)
        return max(one, other, key=lambda label: label.order)


def read_label_file(path: Path, labels: Labels) -> None:
    """Take every row of a CSV, JSON lines or Parquet file as a label.

    Raises
    ------
    DataError
        When the file cannot be read, or a row is no label; names the row.
    """
    for number, row in enumerate(read_rows(path), start=1):
        try:
            labels.add(row)
        except ValueError as error:
            message = f"{path}, row {number}: {error}; mend or remove the row"
            raise DataError(message, row=number) from error


def normal_word(normal_value: str) -> str:
    """Return the label of normal rows as labels are compared: ``0.0`` is ``0``, ``Benign`` ``benign``."""
    return (to_category(normal_value) or normal_value).casefold()


def _whole(row: Mapping[str, object], name: str) -> int:
    number = to_number(row[name])
    if not number.is_integer() or number < 0:
        message = f"{name} is {row[name]!r}, expected a whole number from 0"
        raise ValueError(message)
    return int(number)


def _sentence(names: list[str], what: str) -> str:
    if not names:
        return ""
    shown = ", ".join(name[:80] for name in names[:_SHOWN])
    return f"{len(names):,} {what} ({shown}{', ...' if len(names) > _SHOWN else ''})"
