"""Input, commits, alerts and dead letters of a span of offsets, held against each other.

Outputs are handed over first, then the input, so that a dead letter can be compared with its record
while that passes by.
"""

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from anoean_stream.reconcile.findings import KINDS, Finding
from anoean_stream.reconcile.offsets import Offsets, Outputs, Runs, digest
from anoean_stream.records.alert import alert_id

_LAST_OFFSET: Final = 2**63 - 1
"""Kafka's offsets have 63 bits."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is asked of one input partition.

    Parameters
    ----------
    start, end : int
        The span: from `start` to before `end`.
    committed : int or None
        The group's next offset; None when it has committed nothing.
    low : int
        First offset that is still there.
    """

    start: int
    end: int
    committed: int | None
    low: int


@dataclass(slots=True)
class _Partition:
    bounds: Bounds
    runs: Runs = field(default_factory=Runs)
    alerts: Outputs = field(default_factory=Outputs)
    rescored: Outputs = field(default_factory=Outputs)
    letters: Outputs = field(default_factory=Outputs)


@dataclass(frozen=True, slots=True)
class PartitionRow:
    """The figures of one partition.

    Parameters
    ----------
    partition, start, end : int
        The span.
    committed : int or None
        The group's next offset.
    records : int
        Records that stand in the span.
    done : int
        Of these, behind the committed offset: by the guarantee scored or dead.
    lag : int
        The others.
    dead, alerted : int
        Records with a dead letter, with an alert.
    repeats : int
        Dead letters and alerts that say again what another says.
    """

    partition: int
    start: int
    end: int
    committed: int | None
    records: int
    done: int
    lag: int
    dead: int
    alerted: int
    repeats: int


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The comparison of input, commits and outputs."""

    rows: tuple[PartitionRow, ...]
    findings: tuple[Finding, ...]
    n_letters: int
    n_alerts: int


class Reconciliation:
    """Takes alerts and letters, then the input, and says what does not fit.

    Parameters
    ----------
    topic : str
        The input.
    bounds : mapping of int to Bounds
        By partition.
    """

    def __init__(self, topic: str, bounds: Mapping[int, Bounds]) -> None:
        self.topic = topic
        self._partitions = {number: _Partition(b) for number, b in bounds.items()}
        self._beyond: dict[int, array[int]] = {}
        self._counts: dict[str, int] = {}
        self._examples: dict[str, str] = {}
        self.n_letters = 0
        self.n_alerts = 0

    def add_alert(
        self, topic: str, partition: int, offset: int, *, id_: str, model: str, rescored: bool
    ) -> None:
        """Take an alert.

        Parameters
        ----------
        topic, partition, offset : str, int, int
            The record it is about.
        id_ : str
            Its id.
        model : str
            SHA-256 of the model it names.
        rescored : bool
            Whether a replay through the scorer published it: then its record has a letter, too.
        """
        if topic != self.topic:
            self._see("foreign", f"{topic}/{partition}/{offset}")
            return
        self.n_alerts += not rescored
        if id_ != alert_id(topic, partition, offset, model):
            self._see("wrong_id", f"{topic}/{partition}/{offset}")
            return
        place = self._place(partition, offset, "alert")
        if place is not None:
            (place.rescored if rescored else place.alerts).add(offset, int(id_[:16], 16))

    def add_letter(self, topic: str, partition: int, offset: int, *, mark: int) -> None:
        """Take a dead letter of a record; `mark` is the `digest` of its original bytes."""
        if topic != self.topic:
            self._see("foreign", f"{topic}/{partition}/{offset}")
            return
        self.n_letters += 1
        place = self._place(partition, offset, "dead letter")
        if place is not None:
            place.letters.add(offset, mark)

    def add_unreadable(self, example: str) -> None:
        """Take a record of the output topics that is neither alert nor dead letter."""
        self._see("unreadable", example)

    def outputs_are_complete(self) -> None:
        """Be told that all alerts and letters are in; the input comes next."""
        for place in self._partitions.values():
            for outputs in (place.alerts, place.rescored, place.letters):
                outputs.sort()

    def add_input(
        self, partition: int, offsets_N: Offsets, value_of: Callable[[int], bytes | None]
    ) -> None:
        """Take records of the span, in order.

        Parameters
        ----------
        partition : int
            Where they stand.
        offsets_N : ndarray of int64, shape (N,)
            Their offsets, increasing.
        value_of : callable
            Gives the value of the record at a place of the batch; asked only of dead ones.
        """
        place = self._partitions[partition]
        place.runs.add(offsets_N)
        letters_O = place.letters.offsets
        firsts_N = np.searchsorted(letters_O, offsets_N, side="left")
        ends_N = np.searchsorted(letters_O, offsets_N, side="right")
        marks_O = place.letters.marks
        for index in np.flatnonzero(ends_N > firsts_N).tolist():
            seen = digest(value_of(index))
            if (marks_O[firsts_N[index] : ends_N[index]] != seen).any():
                self._see("letter_differs", self._named(partition, int(offsets_N[index])))

    def finish(
        self, *, ends_now: Mapping[int, int], lows_now: Mapping[int, int], compacted: bool
    ) -> Reconciled:
        """Compare.

        Parameters
        ----------
        ends_now, lows_now : mapping of int to int
            The bounds of each partition after everything was read: records may have come and gone.
        compacted : bool
            Whether Kafka removes single records of the input, which then cannot be looked up.
        """
        self._judge_beyond(ends_now)
        rows = tuple(
            self._compare(
                number,
                place,
                end_now=ends_now[number],
                low_now=lows_now[number],
                compacted=compacted,
            )
            for number, place in sorted(self._partitions.items())
        )
        return Reconciled(
            rows=rows,
            findings=tuple(
                Finding(weight, kind, self._counts[kind], text, self._examples[kind])
                for kind, (weight, text) in KINDS.items()
                if kind in self._counts
            ),
            n_letters=self.n_letters,
            n_alerts=self.n_alerts,
        )

    def _compare(
        self, number: int, place: _Partition, *, end_now: int, low_now: int, compacted: bool
    ) -> PartitionRow:
        bounds = place.bounds
        alerted, dead = place.alerts.distinct(), place.letters.distinct()
        for what, outputs in (
            ("alert", place.alerts),
            ("alert", place.rescored),
            ("dead letter", place.letters),
        ):
            offsets = outputs.distinct()
            missing = offsets[~place.runs.contain(offsets)]
            gone = missing < low_now if not compacted else np.ones(len(missing), dtype=np.bool_)
            self._see_all("source_gone", number, missing[gone])
            self._see_all("no_source", number, missing[~gone], prefix=f"{what} about ")
            self._see_count("repeats", outputs.n_repeats(), self._named(number, 0, whole=True))
        self._see_all("two_ids", number, place.alerts.contradicting())
        self._see_all("dead_and_alerted", number, np.intersect1d(alerted, dead, assume_unique=True))
        self._see_count("rescored", len(place.rescored), self._named(number, 0, whole=True))
        committed = bounds.committed
        in_flight = [offsets[offsets >= (committed or 0)] for offsets in (alerted, dead)]
        self._see_all("in_flight", number, np.union1d(*in_flight))
        if committed is not None and committed > end_now:
            self._see_count(
                "committed_beyond_end", committed - end_now, self._named(number, committed)
            )
        if committed is not None and committed < bounds.low:
            self._see_count("lost", bounds.low - committed, self._named(number, committed))
        if committed is None and place.runs.n_records:
            self._see_count("nothing_committed", 1, self._named(number, 0, whole=True))
        done = place.runs.n_before(committed or 0)
        return PartitionRow(
            partition=number,
            start=bounds.start,
            end=bounds.end,
            committed=committed,
            records=place.runs.n_records,
            done=done,
            lag=place.runs.n_records - done,
            dead=len(dead),
            alerted=len(alerted),
            repeats=place.alerts.n_repeats() + place.letters.n_repeats(),
        )

    def _place(self, partition: int, offset: int, what: str) -> _Partition | None:
        """Return where an output belongs; None when the span leaves its record out."""
        if not 0 <= offset <= _LAST_OFFSET:
            self._see("no_source", f"{what} about {self._named(partition, offset)}")
            return None
        place = self._partitions.get(partition)
        if place is None or offset >= place.bounds.end:
            # Of a record that came after the look at the input, or of none: `finish` knows.
            self._beyond.setdefault(partition, array("q")).append(offset)
            return None
        if offset < place.bounds.start:
            self._see("before_span", self._named(partition, offset))
            return None
        return place

    def _judge_beyond(self, ends_now: Mapping[int, int]) -> None:
        for partition, offsets in self._beyond.items():
            is_there = np.frombuffer(offsets, dtype=np.int64) < ends_now.get(partition, 0)
            self._see_all("after_span", partition, np.frombuffer(offsets, np.int64)[is_there])
            self._see_all("no_source", partition, np.frombuffer(offsets, np.int64)[~is_there])

    def _named(self, partition: int, offset: int, *, whole: bool = False) -> str:
        return f"{self.topic}/{partition}" + ("" if whole else f"/{offset}")

    def _see(self, kind: str, example: str) -> None:
        self._see_count(kind, 1, example)

    def _see_all(self, kind: str, partition: int, offsets: Offsets, *, prefix: str = "") -> None:
        if len(offsets):
            example = prefix + self._named(partition, int(offsets[0]))
            self._see_count(kind, len(offsets), example)

    def _see_count(self, kind: str, n: int, example: str) -> None:
        if n:
            self._counts[kind] = self._counts.get(kind, 0) + n
            self._examples.setdefault(kind, example)
