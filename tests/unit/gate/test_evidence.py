"""Shadow reports added up: whose count, and whose do not."""

import msgspec
import pytest

from anoean_stream.gate.evidence import Evidence, gather
from anoean_stream.records.audit import AuditRecord
from tests.support.shadowing import make_report, report_record


def gathered(*records: AuditRecord) -> Evidence:
    return gather(records, champion="1", candidate="2")


def test_reports_of_all_workers_add_up() -> None:
    evidence = gathered(
        report_record(worker="w1"),
        report_record(worker="w1"),
        report_record(
            make_report(
                records=1000, candidate_us=32.0, candidate_dead=7, chunks_left_out=3, both_alerts=50
            ),
            worker="w2",
        ),
    )

    assert evidence.records == 21_000
    assert evidence.champion_alerts == 300
    assert evidence.candidate_alerts == 330
    assert evidence.both_alerts == 210
    assert evidence.either_alerts == 420
    assert evidence.candidate_dead == 7
    assert evidence.chunks_left_out == 3
    assert (evidence.n_workers, evidence.n_reports) == (2, 3)
    # Weighted by records: a report of nothing must not count as fast.
    assert evidence.candidate_us == pytest.approx((20_000 * 10.0 + 1000 * 32.0) / 21_000)


def test_nothing_is_nothing() -> None:
    assert gathered() == Evidence()


def test_a_report_of_no_record_adds_no_time() -> None:
    empty = make_report(
        records=0, champion_alerts=0, candidate_alerts=0, both_alerts=0, candidate_us=0.0
    )

    assert gathered(report_record(), report_record(empty)).candidate_us == pytest.approx(10.0)


def test_reports_of_other_pairs_are_left_out_and_counted() -> None:
    evidence = gathered(
        report_record(),
        report_record(make_report(candidate="3")),
        report_record(make_report(champion="3", candidate="1")),
        report_record(make_report(champion="2", candidate="1")),
    )

    assert (evidence.n_reports, evidence.n_other_pair, evidence.records) == (1, 3, 10_000)


@pytest.mark.parametrize(
    "detail",
    [
        {},
        {"champion": "1", "candidate": "2"},
        make_report().to_detail() | {"records": -5},
        make_report().to_detail() | {"records": "many"},
        make_report().to_detail() | {"both_alerts": 101},
        make_report().to_detail() | {"records": 129},
        make_report().to_detail() | {"candidate_us": float("nan")},
        make_report().to_detail() | {"candidate_us": float("inf")},
        make_report().to_detail() | {"candidate_us": -1.0},
    ],
)
def test_what_is_no_report_is_left_out_and_counted(detail: dict[str, object]) -> None:
    broken = msgspec.structs.replace(report_record(), detail=detail)

    evidence = gathered(report_record(), broken)

    assert (evidence.n_reports, evidence.n_unusable, evidence.records) == (1, 1, 10_000)


def test_a_report_that_no_worker_wrote_is_left_out_and_counted() -> None:
    by_hand = msgspec.structs.replace(report_record(), who_kind="user")

    assert gathered(by_hand) == Evidence(n_unusable=1)


def test_other_actions_are_passed_over() -> None:
    loaded = AuditRecord.of("loaded", model="edge", who="w1", who_kind="worker")

    assert gathered(loaded) == Evidence()


def test_a_record_that_was_delivered_twice_counts_once() -> None:
    record = report_record()

    assert gathered(record, record) == gathered(record)
