"""The published JSON Schemas: not stale, and real records keep to them."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from anoean_stream.records.audit import AuditRecord
from anoean_stream.records.control import ControlMessage
from anoean_stream.records.outgoing import OutRecord
from anoean_stream.records.shadowreport import Disagreement, Opinion, ShadowReport
from tests.support.reporting import make_distribution, make_report
from tests.support.schemas import (
    AUDIT_SCHEMA_FILE,
    CONTROL_SCHEMA_FILE,
    PUBLISHED,
    WORKER_REPORT_SCHEMA_FILE,
)


def shadow_report() -> ShadowReport:
    opinion = Opinion(score=5.0, threshold=4.5, explanation=())
    example = Disagreement(
        kind="only_champion",
        topic="flows",
        partition=0,
        offset=7,
        flow={"src_ip": "10.0.0.1", "bytes": 5},
        champion=opinion,
        candidate=opinion,
    )
    return ShadowReport(
        champion="1",
        candidate="2",
        since="2026-05-01T10:00:00Z",
        until="2026-05-01T10:01:00Z",
        records=1000,
        champion_alerts=10,
        candidate_alerts=12,
        both_alerts=8,
        candidate_dead=0,
        rank_correlation=0.9,
        champion_quantiles={"p50": 1.0, "max": 9.0},
        candidate_quantiles={"p50": 1.1, "max": 8.0},
        champion_us=11.0,
        candidate_us=12.0,
        chunks=5,
        chunks_left_out=1,
        examples=(example,),
    )


def audit(**changes: Any) -> AuditRecord:
    record: dict[str, Any] = {"model": "edge", "who": "ann@desk", "who_kind": "user"}
    return AuditRecord.of(**(record | changes))


RECORDS: dict[Path, list[OutRecord]] = {
    AUDIT_SCHEMA_FILE: [
        audit(action="promoted", alias="champion", to_version="2").to_record(),
        audit(
            action="shadow_report", who_kind="worker", detail=shadow_report().to_detail()
        ).to_record(),
    ],
    CONTROL_SCHEMA_FILE: [ControlMessage.now("edge", who="ann@desk", what="x" * 900).to_record()],
    WORKER_REPORT_SCHEMA_FILE: [
        make_report().to_record(),
        make_report(version=None, problem="no alias").to_record(),
        make_report(
            scores=make_distribution([0.0, 1.0, 20.0]), shadow_scores=make_distribution([])
        ).to_record(),
    ],
}


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: file.name)
def test_published_schema_is_rendered_from_the_records(file: Path) -> None:
    published = json.loads(file.read_text())

    jsonschema.Draft202012Validator.check_schema(published)
    assert published == PUBLISHED[file](), "stale: run python -m tests.support.schemas"


@pytest.mark.parametrize("file", RECORDS, ids=lambda file: file.name)
def test_real_records_keep_to_their_schema(file: Path) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(file.read_text()))

    for record in RECORDS[file]:
        assert record.value is not None
        validator.validate(json.loads(record.value))


@pytest.mark.parametrize(
    ("file", "change"),
    [
        (AUDIT_SCHEMA_FILE, {"action": "invented"}),
        (AUDIT_SCHEMA_FILE, {"event_id": "7"}),
        (CONTROL_SCHEMA_FILE, {"model": 5}),
        (WORKER_REPORT_SCHEMA_FILE, {"interval_s": 0}),
    ],
)
def test_schema_refuses_what_is_no_such_record(file: Path, change: dict[str, Any]) -> None:
    value = json.loads(RECORDS[file][0].value or b"")

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value | change, json.loads(file.read_text()))
