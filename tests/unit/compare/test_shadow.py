"""A shadow takes its share of chunks and of time, and nothing that it does reaches the champion."""

import logging
import math
import time
from datetime import UTC, datetime

import numpy as np
import pytest

from anoean_stream.compare.shadow import CREDIT_MAX_S, HEAD_RECORDS, PIECE_MAX_S, Shadow, is_drawn
from anoean_stream.pipeline import Measurement, Pipeline, Verdict
from anoean_stream.records.chunk import Chunk
from anoean_stream.settings import ShadowSettings
from tests.support.models import attack_row, make_detector, make_rows
from tests.support.pipelines import make_chunk, make_pipeline

NOON = datetime(2126, 5, 1, 12, tzinfo=UTC)
PLENTY_S = 1.0
"""Seconds for a verdict that leave a candidate all the time that it may save up."""


def make_shadow(
    champion: Pipeline, candidate: Pipeline, *, share: float = 1.0, time_share: float = 1.0
) -> Shadow:
    settings = ShadowSettings(sample_share=share, time_share=time_share)
    return Shadow(champion, candidate, settings=settings, seed=0)


def chunk_at(offset: int, *, n_rows: int = 50, partition: int = 0) -> Chunk:
    rows = [*make_rows(n_rows - 1, seed=offset), attack_row(seed=offset)]
    return make_chunk(rows, first_offset=offset, partition=partition)


def timed(champion: Pipeline, chunk: Chunk) -> tuple[Verdict, float]:
    started_s = time.thread_time()
    verdict = champion.score_chunk(chunk)
    return verdict, time.thread_time() - started_s


def test_report_of_an_interval_counts_what_a_brute_force_count_does() -> None:
    champion, candidate = make_pipeline("1", rate=0.1), make_pipeline("2", seed=1, rate=0.1)
    shadow = make_shadow(champion, candidate)
    chunks = [chunk_at(1000 * number) for number in range(6)]

    for chunk in chunks:
        shadow.consider(champion.score_chunk(chunk), cpu_s=PLENTY_S)
    report = shadow.take_report(NOON)

    assert report is not None
    first = np.concatenate([champion.measure(chunk).distances_G for chunk in chunks])
    second = np.concatenate([candidate.measure(chunk).distances_G for chunk in chunks])
    first_alerts, second_alerts = first > champion.threshold, second > candidate.threshold
    assert (report.records, report.chunks, report.chunks_left_out) == (300, 6, 0)
    assert report.champion_alerts == first_alerts.sum() > 0
    assert report.candidate_alerts == second_alerts.sum() > 0
    assert report.both_alerts == (first_alerts & second_alerts).sum() > 0
    assert report.candidate_us > 0
    assert (report.champion, report.candidate) == ("1", "2")
    assert {example.kind for example in report.examples} == {"only_champion", "only_candidate"}
    assert shadow.candidate_scores.n_scores == 300


def test_reports_begin_where_the_one_before_ended() -> None:
    champion = make_pipeline("1")
    shadow = make_shadow(champion, make_pipeline("2", seed=1))
    later = NOON.replace(hour=13)

    assert shadow.take_report(NOON) is None
    shadow.consider(champion.score_chunk(chunk_at(0)), cpu_s=PLENTY_S)
    first = shadow.take_report(later)
    nothing = shadow.take_report(later)
    shadow.consider(champion.score_chunk(chunk_at(100, n_rows=30)), cpu_s=PLENTY_S)
    second = shadow.take_report(later.replace(hour=14))

    assert first is not None
    assert second is not None
    assert nothing is None
    assert (first.since[11:13], first.until[11:13], first.records) == ("12", "13", 50)
    assert (second.since[11:13], second.until[11:13], second.records) == ("13", "14", 30)
    assert shadow.candidate_scores.n_scores == 80  # of all intervals


def test_two_workers_draw_the_same_chunks_and_as_many_as_were_asked_for() -> None:
    n_chunks, share = 4000, 0.25
    chunks = [
        make_chunk([b"{}"], first_offset=37 * number, partition=number % 6)
        for number in range(n_chunks)
    ]

    drawn = [is_drawn(chunk, share=share) for chunk in chunks]

    again = [is_drawn(make_chunk([b"{}", b"{}"], first_offset=37 * n, partition=n % 6), share=share)
             for n in range(n_chunks)]  # fmt: skip
    assert drawn == again
    deviation = math.sqrt(n_chunks * share * (1 - share))
    assert abs(sum(drawn) - n_chunks * share) < 4 * deviation
    assert all(is_drawn(chunk, share=1.0) for chunk in chunks)


def test_chunks_that_are_not_drawn_are_neither_compared_nor_left_out() -> None:
    champion = make_pipeline("1")
    shadow = make_shadow(champion, make_pipeline("2", seed=1), share=0.3)
    chunks = [chunk_at(10 * number, n_rows=10) for number in range(60)]

    for chunk in chunks:
        shadow.consider(champion.score_chunk(chunk), cpu_s=PLENTY_S)
    report = shadow.take_report(NOON)

    assert report is not None
    assert report.chunks == sum(is_drawn(chunk, share=0.3) for chunk in chunks)
    assert report.chunks_left_out == 0


def test_a_candidate_that_is_twenty_times_slower_takes_its_share_and_no_more() -> None:
    champion = make_pipeline("1")
    slow = make_pipeline("2", detector=make_detector(seed=1, hidden=(2048, 2048)))
    chunks = [
        make_chunk(make_rows(2000, seed=number), first_offset=2000 * number) for number in range(8)
    ]
    champion_s, slow_s = (
        min(timed(pipeline, chunks[0])[1] for _ in range(4)) for pipeline in (champion, slow)
    )
    assert slow_s > 5 * champion_s, "the candidate is not slow: the test shows nothing"
    shadow = make_shadow(champion, slow, time_share=0.25)
    largest_s = 0.0

    for number in range(160):
        verdict, cpu_s = timed(champion, chunks[number % len(chunks)])
        before_s = shadow.candidate_cpu_s
        shadow.consider(verdict, cpu_s=cpu_s)
        largest_s = max(largest_s, shadow.candidate_cpu_s - before_s)

    spent_s = shadow.candidate_cpu_s  # the report itself is charged too, and saved afterwards
    report = shadow.take_report(NOON)
    assert report is not None
    assert report.chunks > 1
    assert report.chunks_left_out > 0
    assert report.chunks + report.chunks_left_out == 160
    assert spent_s <= 0.25 * shadow.champion_cpu_s + largest_s
    # Heads, never a whole chunk at once: that would hold up the champion for 0.1 s and more.
    assert report.records / report.chunks < 0.5 * chunks[0].n_records


def test_savings_are_bounded_and_so_is_a_piece() -> None:
    champion, candidate = make_pipeline("1"), make_pipeline("2", seed=1)
    shadow = make_shadow(champion, candidate)
    for _ in range(100):
        shadow.consider(champion.score_chunk(make_chunk([])), cpu_s=PLENTY_S)

    assert shadow.champion_cpu_s == 100 * PLENTY_S
    assert shadow._credit_s == CREDIT_MAX_S
    shadow._cost_s, shadow._cost_records = 1.0, 1000.0  # a millisecond a record
    assert shadow._affordable(10_000) == round(PIECE_MAX_S / 1e-3)
    shadow._credit_s = 0.0
    assert shadow._affordable(10_000) == 0


def test_the_first_piece_of_a_large_chunk_is_a_head() -> None:
    champion = make_pipeline("1")
    shadow = make_shadow(champion, make_pipeline("2", seed=1))
    verdict, cpu_s = timed(champion, make_chunk(make_rows(3000)))

    shadow.consider(verdict, cpu_s=cpu_s)
    report = shadow.take_report(NOON)

    assert report is not None
    assert report.records == HEAD_RECORDS


class _Raising(Pipeline):
    def measure(self, chunk: Chunk) -> Measurement:
        message = f"no score for {chunk.n_records} records"
        raise FloatingPointError(message)


def test_a_candidate_that_raises_costs_the_champion_nothing_but_a_log_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    champion, candidate = make_pipeline("1"), make_pipeline("2", seed=1)
    candidate.__class__ = _Raising
    shadow = make_shadow(champion, candidate)

    with caplog.at_level(logging.ERROR):
        for number in range(3):
            shadow.consider(champion.score_chunk(chunk_at(number)), cpu_s=PLENTY_S)
    report = shadow.take_report(NOON)

    assert report is not None
    assert (report.records, report.candidate_dead, report.chunks) == (0, 150, 3)
    assert shadow.failures == 3
    assert [record.getMessage() for record in caplog.records] == [
        "candidate version 2 failed scoring flows/0 from 0"
    ]


def test_a_candidate_that_raises_while_it_explains_still_gives_the_counts() -> None:
    champion, candidate = make_pipeline("1", rate=0.2), make_pipeline("2", seed=1, rate=0.2)
    shadow = make_shadow(champion, candidate)
    shadow.consider(champion.score_chunk(chunk_at(0)), cpu_s=PLENTY_S)
    candidate.__class__ = _Raising

    report = shadow.take_report(NOON)

    assert report is not None
    assert (report.records, report.examples, shadow.failures) == (50, (), 1)
