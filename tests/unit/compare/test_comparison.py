"""A comparison says what a brute-force count says, and keeps what the models disagree on most."""

import dataclasses
import math
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy.stats import spearmanr

from anoean_stream.compare.comparison import Comparison
from anoean_stream.compare.disagreements import EXAMPLE_MAX_BYTES
from anoean_stream.detector.detector import Detector
from anoean_stream.features.fit import FieldSpec, fit_contract
from anoean_stream.pipeline import Pipeline
from anoean_stream.records.chunk import Chunk
from anoean_stream.records.shadowreport import ShadowReport
from tests.support.models import (
    SPECS,
    attack_row,
    columns_of,
    make_detector,
    make_rows,
)
from tests.support.pipelines import make_chunk, make_pipeline

SINCE = datetime(2026, 5, 1, 10, tzinfo=UTC)
UNTIL = datetime(2026, 5, 1, 11, tzinfo=UTC)
BROKEN: list[bytes | None] = [b"{", None, b"[1]"]

Row = dict[str, Any] | bytes | None


def mixed_rows(n_rows: int, *, seed: int) -> list[Row]:
    """Return normal rows, attacks of all sizes, and broken ones between."""
    rows: list[Row] = [*make_rows(n_rows, seed=seed), *BROKEN]
    for number in range(n_rows // 5):
        row = make_rows(1, seed=1000 + seed + number)[0]
        rows.append(row | {"duration": 3.0 * 1.5**number, "error_rate": min(1.0, number / 20)})
    order = np.random.default_rng(seed).permutation(len(rows))
    return [rows[place] for place in order.tolist()]


def compared(
    champion: Pipeline, candidate: Pipeline, chunks: list[Chunk], **options: Any
) -> Comparison:
    comparison = Comparison(
        champion, candidate, max_examples=options.pop("max_examples", 5), seed=0, **options
    )
    for chunk in chunks:
        comparison.add(chunk, champion.measure(chunk), champion_cpu_s=0.01)
    return comparison


def scores_by_place(pipeline: Pipeline, chunks: list[Chunk]) -> dict[tuple[int, int], float]:
    """Return the score of each record that has a finite one, one record at a time."""
    found = {}
    for chunk in chunks:
        for value, offset in zip(chunk.values, chunk.offsets, strict=True):
            alone = make_chunk([value], first_offset=offset, partition=chunk.partition)
            measured = pipeline.measure(alone)
            if len(measured.rows_G) and math.isfinite(measured.distances_G[0]):
                found[chunk.partition, offset] = float(measured.distances_G[0])
    return found


def other_contract_detector() -> Detector:
    """Return a detector that reads fewer fields, one of them as another kind."""
    specs = [spec for spec in SPECS if spec.name not in {"bytes_in", "service"}]
    rows = make_rows(400, seed=3)
    numbers, categories = columns_of(rows)
    contract = fit_contract(
        specs,
        numbers={n: v for n, v in numbers.items() if n != "bytes_in"},
        categories={n: v for n, v in categories.items() if n != "service"},
        normal_N=np.ones(400, dtype=np.bool_),
    )
    return make_detector(contract=contract, calibration_rows=make_rows(1000, seed=4))


def needy_detector() -> Detector:
    """Return a detector that cannot score records whose field note is a text."""
    rows = [row | {"note": float(number)} for number, row in enumerate(make_rows(400))]
    numbers, categories = columns_of(rows)
    contract = fit_contract(
        [*SPECS, FieldSpec("note", "number")],
        numbers=numbers | {"note": np.arange(400.0)},
        categories=categories,
        normal_N=np.ones(400, dtype=np.bool_),
    )
    return make_detector(contract=contract, calibration_rows=rows)


def overflowing_detector() -> Detector:
    """Return a detector with finite weights whose scores of large rows are not finite."""
    detector = make_detector(seed=5)
    layers = list(detector.encoder.layers)
    huge = np.full_like(layers[0].weight, 3e37)
    layers[0] = dataclasses.replace(layers[0], weight=huge)
    return dataclasses.replace(
        detector, encoder=dataclasses.replace(detector.encoder, layers=tuple(layers))
    )


@pytest.fixture(scope="module")
def chunks() -> list[Chunk]:
    return [
        make_chunk(mixed_rows(150, seed=seed), first_offset=1000 * seed, partition=seed % 2)
        for seed in range(4)
    ]


@pytest.mark.parametrize("kind", ["another model", "another contract", "needy"])
def test_counts_and_correlation_are_those_of_a_brute_force_count(
    kind: str, chunks: list[Chunk]
) -> None:
    if kind == "needy":
        spoiled = [dict(row) | {"note": "text"} for row in make_rows(30, seed=8)]
        chunks = [*chunks, make_chunk(spoiled, first_offset=9000)]
    champion = make_pipeline("1", rate=0.05)
    candidate = {
        "another model": make_pipeline("2", seed=1, rate=0.02),
        "another contract": make_pipeline("2", detector=other_contract_detector(), rate=0.02),
        "needy": make_pipeline("2", detector=needy_detector(), rate=0.02),
    }[kind]

    report = compared(champion, candidate, chunks).report(
        since=SINCE, until=UNTIL, chunks_left_out=3
    )

    first, second = scores_by_place(champion, chunks), scores_by_place(candidate, chunks)
    both = sorted(first.keys() & second.keys())
    alerts = {place for place in both if first[place] > champion.threshold}
    candidate_alerts = {place for place in both if second[place] > candidate.threshold}
    assert report.records == len(both)
    assert report.champion_alerts == len(alerts) > 10
    assert report.candidate_alerts == len(candidate_alerts) > 10
    assert report.both_alerts == len(alerts & candidate_alerts)
    assert report.candidate_dead == len(first) - len(both)
    assert (report.candidate_dead > 0) is (kind == "needy")
    expected = spearmanr([first[p] for p in both], [second[p] for p in both]).statistic
    assert report.rank_correlation == pytest.approx(expected, abs=1e-3)
    assert (report.chunks, report.chunks_left_out) == (len(chunks), 3)
    assert (report.since, report.until) == ("2026-05-01T10:00:00.000Z", "2026-05-01T11:00:00.000Z")
    for quantiles, scores in (
        (report.champion_quantiles, [first[place] for place in both]),
        (report.candidate_quantiles, [second[place] for place in both]),
    ):
        assert list(quantiles) == ["p50", "p90", "p99", "p99.9", "max"]
        assert quantiles["max"] == pytest.approx(max(scores), rel=1e-5)
        exact = np.quantile(scores, [0.5, 0.9, 0.99], method="inverted_cdf")
        np.testing.assert_allclose([quantiles[n] for n in ("p50", "p90", "p99")], exact, rtol=0.011)


def test_records_that_only_the_candidate_can_score_are_counted(chunks: list[Chunk]) -> None:
    spoiled = [dict(row) | {"note": "text"} for row in make_rows(30, seed=8)]
    comparison = compared(
        make_pipeline("2", detector=needy_detector()), make_pipeline("1"), [make_chunk(spoiled)]
    )

    assert comparison.champion_dead == 30
    report = comparison.report(since=SINCE, until=UNTIL)
    assert (report.records, report.candidate_dead) == (0, 0)
    assert (report.rank_correlation, report.champion_quantiles) == (None, {})


def test_examples_are_those_that_differ_most_with_both_explanations(chunks: list[Chunk]) -> None:
    champion = make_pipeline("1", rate=0.05)
    candidate = make_pipeline("2", seed=1, rate=0.05)

    report = compared(champion, candidate, chunks, max_examples=4).report(since=SINCE, until=UNTIL)

    first, second = scores_by_place(champion, chunks), scores_by_place(candidate, chunks)
    for kind, above, below in (
        ("only_champion", (first, champion.threshold), (second, candidate.threshold)),
        ("only_candidate", (second, candidate.threshold), (first, champion.threshold)),
    ):
        sizes = {
            place: math.log(above[0][place] / above[1]) - math.log(below[0][place] / below[1])
            for place in first.keys() & second.keys()
            if above[0][place] > above[1] and below[0][place] <= below[1]
        }
        found = [(one.partition, one.offset) for one in report.examples if one.kind == kind]
        assert len(sizes) > len(set(found)) == 4
        # By size, not by place: two records may differ by the same.
        largest = sorted(sizes.values(), reverse=True)[:4]
        assert [sizes[place] for place in found] == pytest.approx(largest, rel=1e-4)
    for example in report.examples:
        place = example.partition, example.offset
        assert example.topic == "flows"
        assert example.flow["app_proto" if "app_proto" in example.flow else "proto"]
        assert example.champion.score == pytest.approx(first[place], rel=1e-5)
        assert example.candidate.score == pytest.approx(second[place], rel=1e-5)
        assert example.champion.threshold == champion.threshold
        above_threshold = example.champion if example.kind == "only_champion" else example.candidate
        assert above_threshold.explanation
    explained = [e for e in report.examples if e.champion.explanation and e.candidate.explanation]
    assert explained
    assert all(e.champion.explanation != e.candidate.explanation for e in explained)


def test_a_report_survives_the_way_through_an_audit_record(chunks: list[Chunk]) -> None:
    everything = make_pipeline("1", rate=1.0)  # its threshold is minus infinity
    report = compared(everything, make_pipeline("2", seed=1), chunks).report(
        since=SINCE, until=UNTIL
    )

    detail = msgspec.json.decode(msgspec.json.encode(report.to_detail()))

    assert ShadowReport.from_detail(detail) == report
    assert report.champion_alerts == report.records
    assert len(report.examples) == 5


def test_scores_that_are_not_finite_make_the_record_dead_for_the_candidate() -> None:
    champion, candidate = make_pipeline("1"), make_pipeline("2", seed=1)
    candidate._detector = overflowing_detector()
    chunk = make_chunk([*make_rows(50), attack_row()])
    with np.errstate(all="ignore"):
        scores = candidate.measure(make_chunk([attack_row()])).distances_G
    assert not np.isfinite(scores).any(), "this model does not overflow: the test shows nothing"

    report = compared(champion, candidate, [chunk]).report(since=SINCE, until=UNTIL)

    assert report.candidate_dead > 0
    assert report.records + report.candidate_dead == 51


def test_only_the_head_of_a_verdict_is_compared() -> None:
    champion, candidate = make_pipeline("1", rate=0.1), make_pipeline("2", seed=1, rate=0.1)
    chunk = make_chunk([b"{", *make_rows(99, seed=3)])
    comparison = Comparison(champion, candidate, max_examples=5, seed=0)

    pairs = comparison.add(chunk.head(40), champion.score_chunk(chunk), champion_cpu_s=4e-4)

    assert pairs.rows_P.tolist() == list(range(1, 40))
    report = comparison.report(since=SINCE, until=UNTIL)
    assert report.records == 39
    assert report.champion_us == pytest.approx(10.0)
    assert report.candidate_us > 0


def test_a_large_record_is_counted_and_no_example() -> None:
    champion = make_pipeline("1", rate=1.0)
    candidate = make_pipeline("2", seed=1)
    small = make_rows(1)[0]
    rows = [small | {"note": "x" * EXAMPLE_MAX_BYTES}, small]

    report = compared(champion, candidate, [make_chunk(rows)]).report(since=SINCE, until=UNTIL)

    assert (report.champion_alerts, report.candidate_alerts) == (2, 0)
    assert [example.offset for example in report.examples] == [1]


def test_no_examples_are_kept_when_none_are_wanted(chunks: list[Chunk]) -> None:
    comparison = compared(
        make_pipeline("1", rate=0.2), make_pipeline("2", seed=1), chunks, max_examples=0
    )

    assert comparison.report(since=SINCE, until=UNTIL).examples == ()


def test_a_model_agrees_with_itself(chunks: list[Chunk]) -> None:
    report = compared(make_pipeline("1"), make_pipeline("2"), chunks).report(
        since=SINCE, until=UNTIL
    )

    assert report.champion_alerts == report.candidate_alerts == report.both_alerts
    assert report.rank_correlation == pytest.approx(1)
    assert report.examples == ()
