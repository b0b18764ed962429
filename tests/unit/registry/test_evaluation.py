"""Evaluation sets: what goes in comes out, whole and unchanged, or is refused by name."""

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from anoean_stream.errors import DataError, RegistryError
from anoean_stream.registry import Registry, evaluation
from anoean_stream.registry.evaluation import (
    EvaluationInfo,
    evaluation_info,
    publish_evaluation,
    read_evaluation,
)

RECORDS = [(b'{"bytes":1}', False), (b'{"bytes":9.50,"x":"\xc3\xa9"}', True), (b"{}", False)]


@pytest.fixture(params=["folder", "memory"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    return Registry(
        str(tmp_path / "models")
        if request.param == "folder"
        else f"memory://evaluation-{tmp_path.name}"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Registry:
    return Registry(str(tmp_path / "models"))


def publish(registry: Registry, name: str = "edge") -> EvaluationInfo:
    return publish_evaluation(registry, name, RECORDS, source="flows.csv", by="ann@desk")


def path_of(registry: Registry, file: str, *, number: int = 1) -> Path:
    return Path(registry.url) / "edge/evaluation" / str(number) / file


def rewrite(registry: Registry, packed: bytes) -> None:
    """Put other records in place, and a meta.json that vouches for them."""
    path_of(registry, "records.jsonl.gz").write_bytes(packed)
    meta = json.loads(path_of(registry, "meta.json").read_bytes())
    meta["sha256"] = hashlib.sha256(packed).hexdigest()
    path_of(registry, "meta.json").write_text(json.dumps(meta))


def test_records_come_back_with_their_labels_byte_for_byte(registry: Registry) -> None:
    info = publish(registry)

    found = read_evaluation(registry, "edge")

    assert found is not None
    assert found.values == tuple(value for value, _ in RECORDS)
    assert found.is_anomaly_N.tolist() == [False, True, False]
    assert found.info == info
    assert (info.number, info.records, info.anomalies) == (1, 3, 1)
    assert (info.source, info.created_by) == ("flows.csv", "ann@desk")


def test_a_model_without_a_set_has_none(registry: Registry) -> None:
    publish(registry, "core")

    assert read_evaluation(registry, "edge") is None
    assert evaluation_info(registry, "edge") is None


def test_the_highest_whole_set_is_in_force(registry: Registry) -> None:
    publish(registry)
    second = publish_evaluation(registry, "edge", RECORDS[:2], source="newer")
    # A publisher that died before it wrote meta.json.
    registry.store.replace("edge/evaluation/3/records.jsonl.gz", b"half")

    found = read_evaluation(registry, "edge")

    assert found is not None
    assert found.info == second
    assert second.number == 2
    assert publish(registry).number == 4


def test_the_set_is_no_model(registry: Registry) -> None:
    publish(registry)

    assert registry.models() == []


def test_the_same_records_have_the_same_hash(registry: Registry) -> None:
    assert publish(registry).sha256 == publish(registry).sha256


def test_a_record_of_several_lines_is_one_record(registry: Registry) -> None:
    publish_evaluation(registry, "edge", [(b'{\n"a":\r\n1}', True), *RECORDS], source="x")

    found = read_evaluation(registry, "edge")

    assert found is not None
    assert json.loads(found.values[0]) == {"a": 1}
    assert found.info.records == 4


@pytest.mark.parametrize(
    ("records", "complaint"),
    [
        ([*RECORDS, (b"[1]", True)], "record 4 .* is no JSON object"),
        ([*RECORDS, (b"{", True)], "record 4 .* is no JSON object"),
        ([*RECORDS, (b'{"a":"\xff"}', True)], "record 4 .* is no JSON object"),
        (RECORDS[:1], "0 of 1 records .* expected both"),
        (RECORDS[1:2], "1 of 1 records .* expected both"),
        ([], "0 of 0 records .* expected both"),
    ],
)
def test_what_cannot_judge_is_not_published(
    registry: Registry, records: list[tuple[bytes, bool]], complaint: str
) -> None:
    with pytest.raises(DataError, match=complaint):
        publish_evaluation(registry, "edge", records, source="x")

    assert read_evaluation(registry, "edge") is None


def test_too_many_records_are_refused(registry: Registry) -> None:
    with pytest.raises(DataError, match=r"200001 records .* allowed are 200000; take a sample"):
        publish_evaluation(registry, "edge", [(b"{}", True)] * 200_001, source="x")


def test_too_many_bytes_are_refused(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "MAX_BYTES", 100)

    with pytest.raises(DataError, match=r"more than 100 bytes .*record 3 of 3"):
        publish(registry)


def test_a_name_that_leaves_the_registry_is_refused(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="cannot name a model"):
        publish(registry, "../edge")


def test_changed_records_are_refused(folder: Registry) -> None:
    publish(folder)
    path = path_of(folder, "records.jsonl.gz")
    path.write_bytes(gzip.compress(b'{"is_anomaly":true,"record":{}}\n'))

    with pytest.raises(RegistryError, match=r"records\.jsonl\.gz was changed .* evaluation set"):
        read_evaluation(folder, "edge")


@pytest.mark.parametrize(
    ("packed", "complaint"),
    [
        (b"no gzip", "is no gzip file"),
        (gzip.compress(b"x" * 500)[:-9], "is not one whole gzip file"),
        (gzip.compress(b"{}\n") + b"more", "is not one whole gzip file"),
        (gzip.compress(b"{}\n"), "line 1 cannot be read"),
        (gzip.compress(b'{"is_anomaly":true,"record":{}}\n'), "has 1 records and 1 anomalies"),
        (gzip.compress(bytes(5000)), "has more than 4000 bytes when it is unpacked"),
    ],
    ids=["no gzip", "cut", "more behind it", "no record", "too few", "too large"],
)
def test_records_that_nobody_published_are_refused(
    folder: Registry, packed: bytes, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "MAX_BYTES", 4000)
    publish(folder)
    rewrite(folder, packed)

    with pytest.raises(RegistryError, match=complaint):
        read_evaluation(folder, "edge")


@pytest.mark.parametrize(
    ("meta", "complaint"),
    [
        (b"{", "is no description of a set"),
        (b'{"sha256":1}', "is no description of a set"),
        (b"[" * 10_000, "is no description of a set"),
    ],
)
def test_a_broken_description_is_named(folder: Registry, meta: bytes, complaint: str) -> None:
    publish(folder)
    path_of(folder, "meta.json").write_bytes(meta)

    with pytest.raises(RegistryError, match=complaint):
        read_evaluation(folder, "edge")
