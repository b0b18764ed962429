"""What became of each record, counted from what stands in the topics. Trusts nobody's word.

`reconcile` is pure; `tests/chaos/test_checker.py` shows that it sees each kind of damage.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from tests.chaos.traffic import Published

_SHOWN: Final = 3
"""Examples in a note: enough to look for, few enough to read."""


@dataclass(frozen=True, slots=True)
class Output:
    """An alert or a dead letter as it stands in its topic.

    Parameters
    ----------
    number : int or None
        The record it is about, where its content tells.
    partition, offset : int
        The record it says it is about.
    lane : tuple
        Topic and partition it stands in; the order within one is the broker's.
    appended_ms : int
        When the broker took it, milliseconds since 1970.
    alert_id : str or None
        None for a dead letter.
    value : bytes or None
        Of a dead letter: what must be the original's bytes.
    """

    number: int | None
    partition: int
    offset: int
    lane: tuple[str, int]
    appended_ms: int
    alert_id: str | None = None
    value: bytes | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was found in the topics and the group.

    Parameters
    ----------
    published : sequence of Published
        What the brokers took, aborted transactions left out.
    outputs : sequence of Output
        Alerts and dead letters, in the broker's order for each lane.
    kept : set of int or None
        Numbers that still stand in the input; None: all of them.
    n_told_lost : int or None
        Records that workers reported as deleted by retention before they were read; None when
        compaction took some away, which is what its topic is for and no loss.
    committed, ends : mapping of int to int
        By partition of the input: next offset the group has committed; end of the log.
    commits_back : sequence of str
        Committed offsets that were seen to go backwards.
    """

    published: Sequence[Published]
    outputs: Sequence[Output]
    kept: frozenset[int] | None = None
    n_told_lost: int | None = 0
    committed: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    commits_back: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Tally:
    """The counts, and a sentence for each thing that is wrong.

    Parameters
    ----------
    records : int
        Records of the input.
    scored, dead : int
        Records with an alert (every record alerts here), and with a dead letter.
    missing : int
        Records with neither, although they stood in the topic when the workers had caught up.
    unaccounted : int
        Whatever does not add up otherwise: outputs without a record, for a record of the other
        kind, with other bytes or another id; losses that nobody reported; offsets not committed.
    repeated : int
        Outputs beyond the first of each record.
    out_of_order : int
        First outputs that stand behind one of a later record of the same partition.
    stall_s : float
        Longest time in which no output was appended, between the first and the last.
    notes : tuple of str
        What is wrong, with examples.
    missing_numbers : frozenset of int
        Which records are missing.
    """

    records: int
    scored: int
    dead: int
    missing: int
    unaccounted: int
    repeated: int
    out_of_order: int
    stall_s: float
    notes: tuple[str, ...]
    missing_numbers: frozenset[int] = frozenset()


def reconcile(evidence: Evidence) -> Tally:
    """Count what became of each record."""
    by_place = {(one.partition, one.offset): one for one in evidence.published}
    by_number = {one.number: one for one in evidence.published}
    notes: list[str] = []
    alerts: dict[int, list[Output]] = defaultdict(list)
    letters: dict[int, list[Output]] = defaultdict(list)
    strangers = []
    for output in evidence.outputs:
        record = (
            by_place.get((output.partition, output.offset))
            if output.number is None
            else by_number.get(output.number)
        )
        if record is None or (record.partition, record.offset) != (output.partition, output.offset):
            strangers.append(output)
        elif output.alert_id is not None:
            alerts[record.number].append(output)
        else:
            letters[record.number].append(output)

    n_unaccounted = _note(notes, "outputs about no record", strangers)
    both = alerts.keys() & letters.keys()
    n_unaccounted += _note(notes, "records both scored and dead", sorted(both))
    mixed = [n for n, them in alerts.items() if len({one.alert_id for one in them}) > 1]
    n_unaccounted += _note(notes, "records with alerts of different ids", mixed)
    changed = [
        number
        for number, them in letters.items()
        if any((one.value or b"") != (by_number[number].value or b"") for one in them)
    ]
    n_unaccounted += _note(notes, "dead letters with other bytes than their record", changed)

    unseen = by_number.keys() - alerts.keys() - letters.keys()
    missing = unseen if evidence.kept is None else unseen & evidence.kept
    n_missing = _note(notes, "records missing", sorted(missing))
    n_gone = len(unseen) - len(missing)
    if evidence.n_told_lost is not None and n_gone != evidence.n_told_lost:
        notes.append(f"{n_gone} records went unread, workers reported {evidence.n_told_lost}")
        n_unaccounted += abs(n_gone - evidence.n_told_lost)
    behind = {
        partition: (evidence.committed.get(partition, 0), end)
        for partition, end in evidence.ends.items()
        if evidence.committed.get(partition, 0) != end
    }
    n_unaccounted += _note(notes, "partitions not committed to their end", sorted(behind.items()))
    n_unaccounted += _note(notes, "commits that went backwards", evidence.commits_back)

    n_outputs = sum(map(len, alerts.values())) + sum(map(len, letters.values()))
    late = _late(alerts, by_number) + _late(letters, by_number)
    _note(notes, "outputs out of order", late)
    return Tally(
        records=len(by_number),
        scored=len(alerts),
        dead=len(letters),
        missing=n_missing,
        unaccounted=n_unaccounted,
        repeated=n_outputs - len(alerts) - len(letters),
        out_of_order=len(late),
        stall_s=_longest_gap_s(output.appended_ms for output in evidence.outputs),
        notes=tuple(notes),
        missing_numbers=frozenset(missing),
    )


def _note(notes: list[str], what: str, examples: Sequence[object]) -> int:
    if examples:
        shown = ", ".join(map(str, examples[:_SHOWN]))
        more = ", ..." if len(examples) > _SHOWN else ""
        notes.append(f"{len(examples)} {what}: {shown}{more}")
    return len(examples)


def _late(outputs: dict[int, list[Output]], by_number: dict[int, Published]) -> list[int]:
    """Return numbers whose first output in a lane stands behind that of a later record.

    A repeat after a crash stands behind later ones rightly, so only first outputs count.
    """
    highest: dict[tuple[tuple[str, int], int], int] = {}
    late = []
    # `outputs` was filled in the order of the lanes: its keys are in the order of first outputs.
    for number, them in outputs.items():
        key = (them[0].lane, by_number[number].partition)
        if number < highest.get(key, -1):
            late.append(number)
        highest[key] = max(number, highest.get(key, -1))
    return late


def _longest_gap_s(times_ms: Iterable[int]) -> float:
    ordered = sorted(times_ms)
    gaps = (after - before for before, after in pairwise(ordered))
    return max(gaps, default=0) / 1000
