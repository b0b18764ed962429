"""Bytes to verdicts: every record accounted for, every alert complete and explained."""

import json
from pathlib import Path

import jsonschema
import msgspec
import numpy as np
import pytest

from anoean_stream.detector.bundle import ServedModel, read_bundle_folder
from anoean_stream.errors import ConfigError, IntegrityError
from anoean_stream.pipeline import Pipeline, Verdict, verify_bundle
from anoean_stream.records.alert import alert_schema
from anoean_stream.records.chunk import Chunk
from anoean_stream.records.outgoing import OutRecord
from anoean_stream.settings import AlertSettings, ScoringSettings
from tests.support.models import (
    attack_row,
    make_bundle,
    make_detector,
    make_golden,
    make_rows,
)
from tests.support.schemas import ALERT_SCHEMA_FILE


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    folder = tmp_path_factory.mktemp("bundle")
    make_bundle(folder)
    return ServedModel(name="edge", version="7", bundle=read_bundle_folder(folder))


def make_pipeline(
    model: ServedModel,
    *,
    rate: float | None = None,
    max_record_bytes: int = 100_000,
    original_max_bytes: int = 65_536,
) -> Pipeline:
    return Pipeline(
        model,
        scoring=ScoringSettings(false_positive_rate=rate, max_record_bytes=max_record_bytes),
        alerts=AlertSettings(original_max_bytes=original_max_bytes),
        worker_id="worker-1",
    )


def make_chunk(values: list[bytes | None], *, first_offset: int = 100) -> Chunk:
    n = len(values)
    return Chunk(
        topic="flows",
        partition=3,
        values=values,
        keys=[b"key-%d" % i for i in range(n)],
        offsets=[first_offset + 2 * i for i in range(n)],  # gaps, as transactions leave them
        timestamps_ms=[1_790_000_000_000 + i for i in range(n)],
    )


def encode(*rows: dict[str, object]) -> list[bytes | None]:
    return [msgspec.json.encode(row) for row in rows]


def alerts_of(verdict: Verdict) -> list[dict[str, object]]:
    return [json.loads(alert.value or b"") for alert in verdict.alerts]


def header(record: OutRecord, name: str) -> str:
    return dict(record.headers)[name].decode()


def test_every_record_is_scored_or_dead_once(model: ServedModel) -> None:
    chunk = make_chunk([*encode(*make_rows(50)), None, b"{", b"[]", *encode(attack_row())])

    verdict = make_pipeline(model).score_chunk(chunk)

    places = [*verdict.rows_G.tolist(), *(rejected.index for rejected in verdict.rejected)]
    assert sorted(places) == list(range(54))
    assert verdict.n_records == verdict.n_scored + len(verdict.dead_letters) == 54
    assert verdict.rejected_by_reason == {"tombstone": 1, "not_json": 1, "not_an_object": 1}


def test_chunk_of_which_sampling_left_nothing_is_judged_without_a_result(
    model: ServedModel,
) -> None:
    verdict = make_pipeline(model).score_chunk(make_chunk([])).beside((), n_sampled_out=7)

    assert (verdict.n_scored, verdict.rejected, verdict.alerts) == (0, (), ())
    assert verdict.n_records == verdict.n_sampled_out == 7


def test_attack_alerts_with_all_that_an_analyst_needs(model: ServedModel) -> None:
    attack = attack_row() | {
        "id.orig_h": "10.0.0.5",
        "id.orig_p": 40001,
        "id.resp_h": "10.0.0.80",
        "id.resp_p": 443,
        "uid": "CHhAvVGS1DHFjwGM9",
    }
    chunk = make_chunk(encode(*make_rows(3), attack))

    verdict = make_pipeline(model, rate=0.001).score_chunk(chunk)

    (alert,) = alerts_of(verdict)
    assert alert["source"] == {
        "topic": "flows",
        "partition": 3,
        "offset": 106,
        "timestamp": "2026-09-21T14:13:20.003000Z",
        "key": "key-3",
    }
    assert alert["flow"] == {
        "src_ip": "10.0.0.5",
        "src_port": 40001,
        "dst_ip": "10.0.0.80",
        "dst_port": 443,
        "app_proto": "backdoor",
        "proto": attack["proto"],
        "duration": 1e6,
        "flow_uid": "CHhAvVGS1DHFjwGM9",
    }
    assert alert["original"] == attack
    assert alert["model"]["version"] == "7"  # type: ignore[index]
    assert alert["model"]["sha256"] == model.bundle.sha256  # type: ignore[index]
    assert alert["score"] > alert["threshold"] > 0  # type: ignore[operator]
    assert alert["margin"] == pytest.approx(alert["score"] / alert["threshold"])  # type: ignore[operator]
    assert 0 < alert["p_value"]["conformal"] < 0.01  # type: ignore[index]
    shifts = alert["explanation"]
    assert isinstance(shifts, list)
    contributions = [shift["contribution"] for shift in shifts]
    assert contributions == sorted(contributions, reverse=True)
    assert str(shifts[0]["feature"]) in str(alert["reason"])
    assert verdict.alerts[0].key == b"10.0.0.5"
    assert header(verdict.alerts[0], "model-version") == "7"
    assert header(verdict.alerts[0], "severity") == alert["severity_label"]


def test_alert_keeps_its_id_on_a_repeat_and_gets_another_from_another_model(
    model: ServedModel, tmp_path: Path
) -> None:
    make_bundle(tmp_path, seed=5)
    other = ServedModel(name="edge", version="8", bundle=read_bundle_folder(tmp_path))
    chunk = make_chunk(encode(attack_row()))

    def ids(served: ServedModel) -> list[object]:
        verdict = make_pipeline(served, rate=1.0).score_chunk(chunk)
        return [alert["alert_id"] for alert in alerts_of(verdict)]

    assert ids(model) == ids(model)
    assert ids(model) != ids(other)


def test_dead_letter_holds_the_original_bytes_reason_and_origin(model: ServedModel) -> None:
    chunk = make_chunk([b"\xff\xfe", None])

    poison, tombstone = make_pipeline(model).score_chunk(chunk).dead_letters

    assert (poison.key, poison.value) == (b"key-0", b"\xff\xfe")
    assert (tombstone.key, tombstone.value) == (b"key-1", None)
    assert header(poison, "anoean-reason") == "not_utf8"
    assert header(poison, "anoean-topic") == "flows"
    assert header(poison, "anoean-partition") == "3"
    assert header(tombstone, "anoean-offset") == "102"
    assert header(tombstone, "anoean-timestamp-ms") == "1790000000001"
    assert header(tombstone, "anoean-model-version") == "7"
    assert header(tombstone, "anoean-worker") == "worker-1"


def test_scores_do_not_depend_on_the_neighbours(model: ServedModel) -> None:
    pipeline = make_pipeline(model)
    values = encode(*make_rows(40), attack_row())

    together = pipeline.score_chunk(make_chunk(values)).distances_G
    alone = [pipeline.score_chunk(make_chunk([value])).distances_G[0] for value in values]

    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_false_positive_rate_is_kept_on_fresh_normals(model: ServedModel) -> None:
    rows = make_rows(5000, seed=4)

    verdict = make_pipeline(model, rate=0.05).score_chunk(make_chunk(encode(*rows)))

    assert 0.03 < verdict.anomalous_G.mean() < 0.07
    assert len(verdict.alerts) == verdict.anomalous_G.sum()


def test_rate_of_one_alerts_for_every_scored_record(model: ServedModel) -> None:
    verdict = make_pipeline(model, rate=1.0).score_chunk(make_chunk(encode(*make_rows(20))))

    alerts = alerts_of(verdict)
    assert len(alerts) == 20
    assert {alert["margin"] for alert in alerts} == {None}


def test_rate_below_what_the_calibration_can_tell_is_refused(model: ServedModel) -> None:
    with pytest.raises(ConfigError, match=r"0\.0005 at the least"):
        make_pipeline(model, rate=1e-9)


@pytest.mark.parametrize(
    "value",
    [b'{"duration": NaN, "bytes_out": 1e12}', b'{"duration": 1e6, "note": "\xff"}'],
    ids=["nan-literal", "bad-utf8-in-a-field-nobody-reads"],
)
def test_original_that_is_no_strict_json_travels_as_base64(
    model: ServedModel, value: bytes
) -> None:
    verdict = make_pipeline(model, rate=1.0).score_chunk(make_chunk([value]))

    assert verdict.rejected == ()
    (alert,) = alerts_of(verdict)
    assert alert["original"] is None
    assert msgspec.convert(alert["original_base64"], bytes, strict=False) == value


def test_original_above_its_limit_is_left_out_and_its_place_stays(model: ServedModel) -> None:
    pipeline = make_pipeline(model, rate=1.0, original_max_bytes=10)

    (alert,) = alerts_of(pipeline.score_chunk(make_chunk(encode(attack_row()))))

    assert alert["original"] is None
    assert alert["source"]["offset"] == 100  # type: ignore[index]


def test_alerts_follow_the_published_schema(model: ServedModel) -> None:
    published = json.loads(ALERT_SCHEMA_FILE.read_text())
    values = [*encode(attack_row(), *make_rows(20)), b'{"duration": NaN}', b'{"service": "x"}']
    verdict = make_pipeline(model, rate=1.0).score_chunk(make_chunk(values))

    validator = jsonschema.Draft202012Validator(published)
    validator.check_schema(published)
    for alert in alerts_of(verdict):
        validator.validate(alert)

    assert published == alert_schema(), "docs/schemas is stale: run python -m tests.support.schemas"


def test_schema_refuses_an_alert_without_an_id(model: ServedModel) -> None:
    (alert,) = alerts_of(
        make_pipeline(model, rate=1.0).score_chunk(make_chunk(encode(attack_row())))
    )
    del alert["alert_id"]

    with pytest.raises(jsonschema.ValidationError, match="alert_id"):
        jsonschema.validate(alert, alert_schema())


def test_severity_grows_with_the_margin(model: ServedModel) -> None:
    pipeline = make_pipeline(model, rate=0.05)
    verdict = pipeline.score_chunk(make_chunk(encode(*make_rows(500, seed=4), attack_row())))

    alerts = sorted(alerts_of(verdict), key=lambda alert: alert["score"])  # type: ignore[arg-type,return-value]
    severities = [alert["severity"] for alert in alerts]
    assert len(set(severities)) > 2
    assert severities == sorted(severities)  # type: ignore[type-var]


def test_golden_batch_is_verified_through_the_workers_own_decoder(tmp_path: Path) -> None:
    detector = make_detector()
    golden = make_golden(detector)
    make_bundle(tmp_path / "good", detector=detector, golden=golden)
    shifted = msgspec.structs.replace(golden, scores=tuple(score * 1.01 for score in golden.scores))
    make_bundle(tmp_path / "bad", detector=detector, golden=shifted)

    verify_bundle(read_bundle_folder(tmp_path / "good"))
    with pytest.raises(IntegrityError, match=r"golden\.json"):
        verify_bundle(read_bundle_folder(tmp_path / "bad"))


def test_measurement_is_the_verdict_without_records_to_send(model: ServedModel) -> None:
    pipeline = make_pipeline(model)
    chunk = make_chunk([b"{", *encode(*make_rows(50), attack_row()), None])

    measured, verdict = pipeline.measure(chunk), pipeline.score_chunk(chunk)

    for name in ("rows_G", "distances_G", "p_values_G", "anomalous_G"):
        np.testing.assert_array_equal(getattr(measured, name), getattr(verdict, name))
    assert (measured.rejected, measured.n_missing) == (verdict.rejected, verdict.n_missing)
    assert measured.raw.n_rows == verdict.n_scored == 51


def test_explanation_of_a_few_records_is_that_of_their_alerts(model: ServedModel) -> None:
    pipeline = make_pipeline(model)
    chunk = make_chunk(encode(*make_rows(50), attack_row()))
    measured = pipeline.measure(chunk)

    (explained,) = pipeline.explain(measured, [50])
    (short,) = pipeline.explain(measured, [50], top=1)

    alert = alerts_of(pipeline.score_chunk(chunk))[-1]
    assert [msgspec.to_builtins(shift) for shift in explained] == alert["explanation"]
    assert short == explained[:1]


def test_head_of_a_chunk_has_the_places_of_the_chunk() -> None:
    chunk = make_chunk(encode(*make_rows(5)))

    head = chunk.head(2)

    assert (head.offsets, head.keys) == ([100, 102], [b"key-0", b"key-1"])
    assert (head.values, head.timestamps_ms) == (chunk.values[:2], chunk.timestamps_ms[:2])
    assert (head.topic, head.partition) == ("flows", 3)
    assert chunk.head(9) is chunk
