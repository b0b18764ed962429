"""The comparison itself: it adds up where it does, and every way of not adding up is seen."""

import numpy as np
import pytest

from anoean_stream.reconcile.counters import WorkerCounts, check_counters
from anoean_stream.reconcile.findings import KINDS, Finding
from anoean_stream.reconcile.offsets import Outputs, Runs, digest
from anoean_stream.reconcile.topics import Bounds, Reconciled, Reconciliation
from anoean_stream.records.alert import alert_id

MODEL, OTHER_MODEL = "a" * 64, "b" * 64


class Story:
    """One partition with 100 records from offset 10 on, every tenth offset a gap; 80 committed."""

    start, end = 10, 110
    committed: int | None = 80
    low = 10
    end_now = 110
    low_now = 10
    compacted = False

    def __init__(self) -> None:
        self.alerts: list[tuple[int, str]] = [(11, MODEL), (25, MODEL)]
        self.letters: list[tuple[int, bytes | None]] = [(12, b"12"), (13, b"13")]
        self.rescored: list[int] = []

    def value(self, offset: int) -> bytes | None:
        return b"%d" % offset

    def tell(self) -> Reconciled:
        bounds = Bounds(self.start, self.end, self.committed, self.low)
        book = Reconciliation("flows", {0: bounds})
        for offset, model in self.alerts:
            id_ = alert_id("flows", 0, offset, model)
            book.add_alert("flows", 0, offset, id_=id_, model=model, rescored=False)
        for offset in self.rescored:
            id_ = alert_id("flows", 0, offset, MODEL)
            book.add_alert("flows", 0, offset, id_=id_, model=MODEL, rescored=True)
        for offset, value in self.letters:
            book.add_letter("flows", 0, offset, mark=digest(value))
        book.outputs_are_complete()
        offsets = np.array([n for n in range(self.start, self.end) if n % 10], dtype=np.int64)
        for batch in np.array_split(offsets, 7):
            values = [self.value(offset) for offset in batch.tolist()]
            book.add_input(0, batch, values.__getitem__)
        return book.finish(
            ends_now={0: self.end_now}, lows_now={0: self.low_now}, compacted=self.compacted
        )


def weighed(found: Reconciled, weight: str) -> dict[str, int]:
    return {f.kind: f.n for f in found.findings if f.weight == weight}


def test_a_sound_partition_adds_up_and_is_counted_without_its_gaps() -> None:
    found = Story().tell()

    (row,) = found.rows
    assert found.findings == ()
    assert (row.records, row.done, row.lag) == (90, 63, 27)
    assert (row.dead, row.alerted, row.repeats) == (2, 2, 0)
    assert (found.n_letters, found.n_alerts) == (2, 2)


def test_repeats_with_the_same_id_are_counted_and_within_the_guarantee() -> None:
    story = Story()
    story.alerts *= 3
    story.letters.append((12, b"12"))

    found = story.tell()

    assert weighed(found, "problem") == {}
    assert weighed(found, "note") == {"repeats": 5}
    assert found.rows[0].alerted == 2


@pytest.mark.parametrize("offset", [20, 109 + 1, 10**7, -1, 2**63, 10**30])
def test_an_alert_without_a_record_is_a_problem(offset: int) -> None:
    story = Story()
    story.alerts.append((offset, MODEL))

    assert weighed(story.tell(), "problem") == {"no_source": 1}


@pytest.mark.parametrize("offset", [20, 10**7])
def test_a_dead_letter_without_a_record_is_a_problem(offset: int) -> None:
    story = Story()
    story.letters.append((offset, b""))

    assert weighed(story.tell(), "problem") == {"no_source": 1}


def test_two_alerts_with_different_ids_on_one_record_are_a_problem() -> None:
    story = Story()
    story.alerts += [(25, OTHER_MODEL), (26, OTHER_MODEL)]

    assert weighed(story.tell(), "problem") == {"two_ids": 1}


def test_an_id_that_no_worker_would_give_is_a_problem() -> None:
    book = Reconciliation("flows", {0: Bounds(0, 10, 10, 0)})
    book.add_alert("flows", 0, 3, id_="0" * 32, model=MODEL, rescored=False)
    book.outputs_are_complete()

    found = book.finish(ends_now={0: 10}, lows_now={0: 0}, compacted=False)

    assert weighed(found, "problem") == {"wrong_id": 1}


@pytest.mark.parametrize("bytes_of_letter", [b"", None, b"12 "])
def test_a_dead_letter_without_the_bytes_of_its_record_is_a_problem(
    bytes_of_letter: bytes | None,
) -> None:
    story = Story()
    story.letters[0] = (12, bytes_of_letter)

    found = story.tell()

    assert weighed(found, "problem") == {"letter_differs": 1}
    assert found.findings[0].example == "flows/0/12"


def test_one_wrong_repeat_among_right_ones_is_seen() -> None:
    story = Story()
    story.letters += [(12, b"12"), (12, b"x")]

    assert weighed(story.tell(), "problem") == {"letter_differs": 1}


def test_a_record_that_is_dead_and_alerted_is_a_problem_unless_a_replay_did_it() -> None:
    story, replayed = Story(), Story()
    story.alerts.append((13, MODEL))
    replayed.rescored.append(13)

    assert weighed(story.tell(), "problem") == {"dead_and_alerted": 1}
    assert weighed(replayed.tell(), "problem") == {}
    assert weighed(replayed.tell(), "note") == {"rescored": 1}


def test_outputs_after_the_committed_offset_are_in_flight() -> None:
    story = Story()
    story.letters.append((81, b"81"))
    story.alerts.append((79, MODEL))

    found = story.tell()

    assert weighed(found, "problem") == {}
    assert weighed(found, "note") == {"in_flight": 1}


def test_outputs_of_records_that_came_after_the_look_are_no_problem() -> None:
    story = Story()
    story.end_now = 200
    story.alerts += [(150, MODEL), (5, MODEL)]

    found = story.tell()

    assert weighed(found, "problem") == {}
    assert weighed(found, "note") == {"after_span": 1, "before_span": 1}


def test_partitions_added_meanwhile_are_no_problem_and_others_are() -> None:
    book = Reconciliation("flows", {0: Bounds(0, 10, 10, 0)})
    for partition in (1, 2):
        id_ = alert_id("flows", partition, 3, MODEL)
        book.add_alert("flows", partition, 3, id_=id_, model=MODEL, rescored=False)
    book.outputs_are_complete()

    found = book.finish(ends_now={0: 10, 1: 4}, lows_now={0: 0, 1: 0}, compacted=False)

    assert weighed(found, "problem") == {"no_source": 1}
    assert weighed(found, "note") == {"after_span": 1}


def test_offsets_committed_beyond_the_end_are_a_problem() -> None:
    story = Story()
    story.committed = 112

    assert weighed(story.tell(), "problem") == {"committed_beyond_end": 2}


def test_records_that_retention_removed_before_they_were_read_are_a_problem() -> None:
    story = Story()
    story.committed, story.low = 4, 10

    found = story.tell()

    assert weighed(found, "problem") == {"lost": 6}
    assert found.rows[0].lag == 90


def test_sources_that_retention_or_compaction_removed_cannot_be_decided() -> None:
    removed, compacted = Story(), Story()
    for story in (removed, compacted):
        story.alerts.append((20, MODEL))
    removed.low_now, compacted.compacted = 21, True

    for story in (removed, compacted):
        found = story.tell()
        assert weighed(found, "problem") == {}
        assert weighed(found, "unknown") == {"source_gone": 1}


def test_a_group_that_committed_nothing_has_only_lag() -> None:
    story = Story()
    story.committed = None
    story.alerts, story.letters = [], []

    found = story.tell()

    assert (found.rows[0].done, found.rows[0].lag) == (0, 90)
    assert weighed(found, "note") == {"nothing_committed": 1}


def test_outputs_about_another_input_are_counted_and_left_alone() -> None:
    book = Reconciliation("flows", {0: Bounds(0, 10, 10, 0)})
    book.add_alert("others", 7, 3, id_="x", model=MODEL, rescored=False)
    book.add_letter("others", 7, 3, mark=1)
    book.add_unreadable("flows.dlq/0/1")
    book.outputs_are_complete()

    found = book.finish(ends_now={0: 10}, lows_now={0: 0}, compacted=False)

    assert weighed(found, "note") == {"foreign": 2, "unreadable": 1}
    assert (found.n_alerts, found.n_letters) == (0, 0)


# Counters. The story has 63 records behind the committed offset, 2 letters and 2 alerts.


def counts(
    records: int = 63, *, scored: int = 61, dead: int = 2, alerts: int = 2, started_at: float = 100
) -> WorkerCounts:
    return WorkerCounts("http://w", records, scored, dead, alerts, started_at)


def checked(
    *workers: WorkerCounts, since: float | None = 50.0, outputs_are_whole: bool = True
) -> dict[str, tuple[str, int]]:
    found = check_counters(
        workers, Story().tell(), since=since, outputs_are_whole=outputs_are_whole
    )
    return {finding.kind: (finding.weight, finding.n) for finding in found}


def test_counters_that_fit_say_nothing() -> None:
    assert checked(counts()) == {}
    assert checked(counts(40, scored=39, dead=1, alerts=0), counts(23, scored=22, dead=1)) == {}
    assert checked() == {}


def test_counters_that_differ_within_a_worker_are_a_problem_whenever_it_began() -> None:
    assert checked(counts(63, scored=60))["counters_unequal"] == ("problem", 1)
    old = counts(63, scored=60, started_at=1)
    assert checked(old)["counters_unequal"] == ("problem", 1)


def test_records_behind_the_commit_that_nobody_counted_are_a_problem() -> None:
    assert checked(counts(60, scored=58)) == {"not_counted": ("problem", 3)}


def test_more_counted_than_committed_is_within_the_guarantee() -> None:
    assert checked(counts(70, scored=68)) == {"counted_more": ("note", 7)}


def test_outputs_that_were_counted_and_are_not_there_are_a_problem() -> None:
    assert checked(counts(63, scored=58, dead=5, alerts=2)) == {"letters_missing": ("problem", 3)}
    assert checked(counts(alerts=6)) == {"alerts_missing": ("problem", 4)}
    assert checked(counts(alerts=6), outputs_are_whole=False) == {"alerts_missing": ("unknown", 4)}


def test_counters_of_an_older_worker_or_an_open_span_are_not_compared() -> None:
    old = counts(10, scored=8, started_at=49)
    assert checked(counts(), old) == {"counters_not_compared": ("unknown", 1)}
    assert checked(old, since=None) == {"counters_not_compared": ("unknown", 1)}


# The parts.


def test_runs_are_joined_across_batches_and_hold_exactly_what_was_added() -> None:
    rng = np.random.default_rng(0)
    offsets = np.flatnonzero(rng.random(5000) < 0.7).astype(np.int64)
    runs = Runs()
    for batch in np.array_split(offsets, 40):
        runs.add(batch)

    everything = np.arange(-5, 5005)
    assert runs.n_records == len(offsets)
    np.testing.assert_array_equal(runs.contain(everything), np.isin(everything, offsets))
    for offset in (-1, 0, 17, 4999, 10_000):
        assert runs.n_before(offset) == (offsets < offset).sum()


def test_a_topic_without_gaps_is_one_run() -> None:
    runs = Runs()
    for first in range(0, 1000, 100):
        runs.add(np.arange(first, first + 100))

    assert len(runs._firsts) == 1
    assert not Runs().contain(np.array([1]))[0]


def test_outputs_are_sorted_before_they_are_compared() -> None:
    outputs = Outputs()
    for offset, mark in ((7, 2), (3, 1), (7, 2), (7, 2**64 - 1), (3, 1)):
        outputs.add(offset, mark)
    outputs.sort()

    assert outputs.distinct().tolist() == [3, 7]
    assert outputs.n_repeats() == 2
    assert outputs.contradicting().tolist() == [7]


def test_digest_tells_a_tombstone_from_no_bytes() -> None:
    assert len({digest(None), digest(b""), digest(b"0")}) == 3


def test_problems_are_listed_first() -> None:
    weights = [weight for weight, _ in KINDS.values()]

    assert weights == sorted(weights, key=("problem", "note", "unknown").index)
    assert all(isinstance(f, Finding) for f in Story().tell().findings)
