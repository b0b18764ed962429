"""Any bytes through the whole pipeline: scored or dead, once, and nothing raises."""

import json
import math
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anoean_stream.detector.bundle import ServedModel, read_bundle_folder
from anoean_stream.pipeline import Pipeline, Verdict
from anoean_stream.records.alert import without_original
from anoean_stream.records.chunk import Chunk
from anoean_stream.records.deadletter import truncated
from anoean_stream.settings import AlertSettings, ScoringSettings
from tests.support import hostile
from tests.support.fuzzing import fuzz
from tests.support.models import make_bundle
from tests.support.schemas import ALERT_SCHEMA_FILE

MAX_ALERT_BYTES = 250_000
"""A third of producer.message_max_bytes: 64 KiB of original and no text longer than 256."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    folder = tmp_path_factory.mktemp("bundle")
    make_bundle(folder)
    return ServedModel("m", "1", read_bundle_folder(folder))


@pytest.fixture(scope="module")
def pipeline(model: ServedModel) -> Pipeline:
    """Every scored record alerts: so every record is written, too."""
    return make_pipeline(model)


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(Path(ALERT_SCHEMA_FILE).read_text()))


def make_pipeline(
    model: ServedModel, *, alerts: AlertSettings | None = None, max_record_bytes: int = 1_048_576
) -> Pipeline:
    return Pipeline(
        model,
        scoring=ScoringSettings(false_positive_rate=1.0, max_record_bytes=max_record_bytes),
        alerts=alerts or AlertSettings(),
        worker_id="w",
    )


def chunk_of(
    values: Sequence[bytes | None], *, key: bytes | None = b"k", timestamp_ms: int = 1
) -> Chunk:
    n = len(values)
    return Chunk("flows", 0, values, [key] * n, range(n), [timestamp_ms] * n)


def refuse_constant(word: str) -> None:
    pytest.fail(f"{word} is no JSON")


def read_strictly(data: bytes | None) -> dict[str, Any]:
    """Decode as the strictest reader would: UTF-8, no NaN, no half surrogates, not deep."""
    assert data is not None
    json.loads(data.decode(), parse_constant=refuse_constant)
    decoded: dict[str, Any] = msgspec.json.decode(data)
    return decoded


def check(verdict: Verdict, schema: jsonschema.Draft202012Validator) -> None:
    chunk = verdict.chunk
    places = [*verdict.rows_G.tolist(), *(rejected.index for rejected in verdict.rejected)]
    assert sorted(places) == list(range(chunk.n_records))
    assert all(map(math.isfinite, verdict.distances_G.tolist()))
    assert len(verdict.alerts) == verdict.n_scored
    for record in verdict.alerts:
        schema.validate(read_strictly(record.value))
        assert len(record.value or b"") <= MAX_ALERT_BYTES
        assert len(record.key or b"") <= 1024
        schema.validate(read_strictly(without_original(record).value))
    assert len(verdict.dead_letters) == len(verdict.rejected)
    for rejected, letter in zip(verdict.rejected, verdict.dead_letters, strict=True):
        assert letter.value == chunk.values[rejected.index]
        assert letter.key == chunk.keys[rejected.index]
        assert sum(len(value) for _, value in letter.headers) < 3000


@fuzz(400)
@given(
    values=st.lists(hostile.records, min_size=1, max_size=6),
    key=hostile.keys,
    timestamp_ms=hostile.timestamps_ms,
)
def test_any_record_is_scored_or_dead_once_and_its_alert_is_valid(
    pipeline: Pipeline,
    schema: jsonschema.Draft202012Validator,
    values: list[bytes | None],
    key: bytes | None,
    timestamp_ms: int,
) -> None:
    check(pipeline.score_chunk(chunk_of(values, key=key, timestamp_ms=timestamp_ms)), schema)


@pytest.mark.parametrize("name", hostile.heavy_records(100))
def test_the_heaviest_record_takes_no_longer_than_two_seconds_and_makes_a_small_alert(
    pipeline: Pipeline, schema: jsonschema.Draft202012Validator, name: str
) -> None:
    record = hostile.heavy_records(hostile.MEBIBYTE)[name]
    assert len(record) <= hostile.MEBIBYTE

    began = time.process_time()
    verdict = pipeline.score_chunk(chunk_of([record]))
    seconds = time.process_time() - began

    check(verdict, schema)
    # 0.2 s in a process of its own; garbage collection of pytest's heap makes it three times that.
    # Quadratic time would be minutes.
    assert seconds < 2, name


@pytest.mark.parametrize("name", hostile.heavy_records(100))
def test_the_heaviest_originals_that_an_alert_carries_are_valid(
    pipeline: Pipeline, schema: jsonschema.Draft202012Validator, name: str
) -> None:
    record = hostile.heavy_records(AlertSettings().original_max_bytes)[name]

    check(pipeline.score_chunk(chunk_of([record], key=record)), schema)


@pytest.mark.parametrize("field", ["duration", "proto", "src_ip", "other"])
def test_no_depth_is_just_deep_enough_to_break_something(
    pipeline: Pipeline, schema: jsonschema.Draft202012Validator, field: str
) -> None:
    # Decoding, showing and encoding follow to different depths: around each limit one may fail.
    values: list[bytes | None] = []
    for depth in (60, 62, 63, 64, 65, 100, *range(850, 1010)):
        values.append(b'{"%s":%s%s}' % (field.encode(), b"[" * depth, b"]" * depth))
        values.append(b'{"a":NaN,"%s":%s%s}' % (field.encode(), b"[" * depth, b"]" * depth))
        values.append(b'{"%s":%s1%s}' % (field.encode(), b'{"a":' * depth, b"}" * depth))

    check(pipeline.score_chunk(chunk_of(values)), schema)


def test_an_original_deeper_than_parsers_follow_goes_as_base64(pipeline: Pipeline) -> None:
    def nested(levels: int) -> bytes:
        return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"

    fits, too_deep = pipeline.score_chunk(chunk_of([nested(64), nested(65)])).alerts

    assert read_strictly(fits.value)["original"] is not None
    assert read_strictly(too_deep.value)["original"] is None
    assert read_strictly(too_deep.value)["original_base64"] is not None


def test_half_a_surrogate_pair_is_shown_as_what_it_is_not(pipeline: Pipeline) -> None:
    # Regression: such a record ended the worker, at each restart again.
    record = b'{"proto":"\\ud800","src_ip":"10.0.0.\\udfff"}'

    (alert,) = pipeline.score_chunk(chunk_of([record])).alerts

    assert read_strictly(alert.value)["flow"]["src_ip"] == "10.0.0.\ufffd"
    assert alert.key == "10.0.0.\ufffd".encode()


def test_a_time_beyond_the_calendar_is_no_time(pipeline: Pipeline) -> None:
    # Regression: producers choose timestamps, and this one ended the worker.
    (alert,) = pipeline.score_chunk(chunk_of([b"{}"], timestamp_ms=2**63 - 1)).alerts

    assert read_strictly(alert.value)["source"]["timestamp"] is None


def test_a_dead_letter_with_an_endless_key_can_be_cut_until_it_fits(pipeline: Pipeline) -> None:
    # Regression: only the value was cut, and the worker ended when that was empty.
    (letter,) = pipeline.score_chunk(chunk_of([b"["], key=b"k" * 1_000_000)).dead_letters

    shorter = truncated(letter, 1000)

    assert len(shorter.key or b"") + len(shorter.value or b"") <= 1000
    headers = dict(shorter.headers)
    assert headers["anoean-original-key-bytes"] == b"1000000"
    assert headers["anoean-original-bytes"] == b"1"
    assert truncated(shorter, 500).headers == shorter.headers


def test_text_of_a_record_is_cut_in_flow_explanation_reason_and_key(pipeline: Pipeline) -> None:
    long = "x" * 20_000
    record = hostile.as_json({"src_ip": long, "proto": long, "duration": 1e9})

    (alert,) = pipeline.score_chunk(chunk_of([record], key=long.encode())).alerts

    assert len(alert.value or b"") < 50_000  # of which the original has 40,000
    assert len(alert.key or b"") == 256


@pytest.mark.parametrize("name", hostile.heavy_records(100))
def test_the_heaviest_record_takes_no_more_than_forty_times_its_size(
    pipeline: Pipeline, name: str
) -> None:
    record = hostile.heavy_records(hostile.MEBIBYTE)[name]
    pipeline.score_chunk(chunk_of([b"{}"]))  # what is made once is not counted
    tracemalloc.start()
    try:
        pipeline.score_chunk(chunk_of([record]))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 40 * hostile.MEBIBYTE, name
