"""The alert: everything needed to act on one anomalous record without a join.

The structs below are the published schema: `alert_schema` renders them as JSON Schema, and
docs/schemas/alert-1.0.json is that rendering.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from anoean_stream.records.bounds import (
    KEY_MAX_BYTES,
    TEXT_MAX_CHARS,
    is_nested_deeply,
    short_text,
)
from anoean_stream.records.chunk import Chunk
from anoean_stream.records.flow import FlowValue, flow_fields, flow_fields_of_large
from anoean_stream.records.outgoing import OutRecord
from anoean_stream.records.times import rfc3339

SCHEMA_VERSION: Final = "1.0"

SeverityLabel = Literal["low", "medium", "high", "critical"]

_SEVERITY_LABELS: Final[tuple[tuple[int, SeverityLabel], ...]] = (
    (90, "critical"),
    (75, "high"),
    (50, "medium"),
    (0, "low"),
)
"""Lowest severity of each label."""

_REASON_FEATURES: Final = 3
"""Features named in the one-line reason; more than three nobody reads."""


class Source(msgspec.Struct, frozen=True):
    """Where the record was read."""

    topic: str
    partition: Annotated[int, Meta(ge=0)]
    offset: Annotated[int, Meta(ge=0)]
    timestamp: Annotated[str | None, Meta(description="Kafka timestamp of the record, RFC 3339")]
    key: Annotated[
        str | None,
        Meta(description="Kafka key as text, at most 256 characters; undecodable bytes replaced"),
    ]


class FeatureShift(msgspec.Struct, frozen=True):
    """One feature of the explanation."""

    feature: str
    value: Annotated[
        float | str | None, Meta(description="value in the record, raw units; null: missing")
    ]
    normal_p5: float | None
    normal_p50: Annotated[
        float | str | None, Meta(description="median of normal records, or their commonest word")
    ]
    normal_p95: float | None
    contribution: Annotated[
        float, Meta(description="by how much the score falls when this feature is set to normal")
    ]


class Model(msgspec.Struct, frozen=True):
    """Which model decided."""

    name: str
    version: str
    sha256: Annotated[str, Meta(description="of the bundle's manifest")]
    feature_contract_sha256: str
    trained_at: Annotated[str, Meta(description="RFC 3339")]


class PValue(msgspec.Struct, frozen=True):
    """How rare such a score is among normal records."""

    conformal: Annotated[float, Meta(gt=0, le=1)]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One anomalous record of the input topic."""

    schema_version: Literal["1.0"] = "1.0"
    alert_id: Annotated[
        str,
        Meta(
            pattern="^[0-9a-f]{32}$",
            description="hash of topic, partition, offset and model: a repeat has the same id",
        ),
    ]
    event_kind: Literal["alert"] = "alert"
    detected_at: Annotated[str, Meta(description="RFC 3339, microseconds")]
    source: Source
    flow: Annotated[
        dict[str, FlowValue],
        Meta(description="addresses, ports, counters, times of the record, as far as it has them"),
    ]
    original: Annotated[
        Any, Meta(description="the record as it was read; null when it is too large or no JSON")
    ]
    original_base64: Annotated[
        str | None,
        Meta(description="the record's bytes when they are no strict JSON, or nested too deeply"),
    ] = None
    score: Annotated[
        float, Meta(ge=0, description="Mahalanobis distance; higher is more anomalous")
    ]
    threshold: Annotated[float, Meta(ge=0, description="alert when the score is above it")]
    margin: Annotated[float | None, Meta(description="score / threshold; null without threshold")]
    p_value: PValue
    severity: Annotated[int, Meta(ge=0, le=100)]
    severity_label: SeverityLabel
    explanation: Annotated[
        tuple[FeatureShift, ...], Meta(description="what moved the score most, largest first")
    ]
    reason: Annotated[str, Meta(description="the explanation in one line")]
    model: Model
    worker: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One record above the threshold, before it becomes an alert.

    Parameters
    ----------
    index : int
        Place in the chunk, from 0.
    distance : float
        Score; higher is more anomalous.
    p_value : float
        Conformal p-value, (0, 1].
    explanation : tuple of FeatureShift
        What moved the score most, largest first.
    """

    index: int
    distance: float
    p_value: float
    explanation: tuple[FeatureShift, ...]


class AlertWriter:
    """Turns findings of one model into alerts.

    Parameters
    ----------
    model : Model
        The model that found them, as alerts name it.
    threshold : float
        Distance above which a record is an anomaly; -inf when every record is to alert.
    worker_id : str
        Name of this worker.
    original_max_bytes : int
        Larger originals are left out; topic, partition and offset still name them.
    """

    def __init__(
        self, model: Model, *, threshold: float, worker_id: str, original_max_bytes: int
    ) -> None:
        self._model = model
        self._threshold = max(threshold, 0.0)
        self._worker_id = worker_id
        self._original_max_bytes = original_max_bytes
        self._encode = msgspec.json.Encoder().encode
        self._headers = (
            ("content-type", b"application/json"),
            ("schema-version", SCHEMA_VERSION.encode()),
            ("model-version", model.version.encode()),
            ("bundle-sha256", model.sha256.encode()),
        )

    def write(self, chunk: Chunk, finding: Finding, *, detected_at: datetime) -> OutRecord:
        """Return the alert of one record.

        The key is the source address, so that alerts of one host keep their order; without one it
        is the record's own key, or the sha256 of one that is very long.
        """
        value = chunk.values[finding.index]
        assert value is not None  # a tombstone was never scored
        flow, original, original_base64 = self._original(value)
        severity = _severity(finding, self._threshold)
        label = next(label for lowest, label in _SEVERITY_LABELS if severity >= lowest)
        alert = Alert(
            alert_id=alert_id(
                chunk.topic, chunk.partition, chunk.offsets[finding.index], self._model.sha256
            ),
            detected_at=rfc3339(detected_at, digits="microseconds"),
            source=Source(
                topic=chunk.topic,
                partition=chunk.partition,
                offset=chunk.offsets[finding.index],
                timestamp=_kafka_time(chunk.timestamps_ms[finding.index]),
                key=_text(chunk.keys[finding.index]),
            ),
            flow=flow,
            original=original,
            original_base64=original_base64,
            score=finding.distance,
            threshold=self._threshold,
            margin=finding.distance / self._threshold if self._threshold > 0 else None,
            p_value=PValue(conformal=finding.p_value),
            severity=severity,
            severity_label=label,
            explanation=finding.explanation,
            reason=_reason(finding.explanation),
            model=self._model,
            worker=self._worker_id,
        )
        source_address = flow.get("src_ip")
        return OutRecord(
            key=_short_key(chunk.keys[finding.index])
            if source_address is None
            else str(source_address).encode(),
            value=self._encode(alert),
            headers=(*self._headers, ("severity", label.encode())),
        )

    def _original(self, value: bytes) -> tuple[dict[str, FlowValue], object, str | None]:
        """Return the flow fields, what `original` holds, and what `original_base64` holds."""
        if len(value) > self._original_max_bytes:
            return flow_fields_of_large(value), None, None
        try:
            record = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # Scored all the same (NaN literals, bad UTF-8 in a field that nobody reads): its bytes
            # would break the alert's JSON.
            return flow_fields(_loose(value)), None, base64.b64encode(value).decode()
        flow = flow_fields(record)
        if is_nested_deeply(value, record):
            return flow, None, base64.b64encode(value).decode()
        return flow, msgspec.Raw(value), None


def alert_id(topic: str, partition: int, offset: int, model_sha256: str) -> str:
    """Return the id of the alert that one model raises on one record, 32 hex digits.

    A repeat after a crash has the same id; another model's opinion has another.
    """
    origin = f"{topic}|{partition}|{offset}|{model_sha256}"
    return hashlib.sha256(origin.encode()).hexdigest()[:32]


def alert_schema() -> dict[str, Any]:
    """Return the JSON Schema of an alert."""
    schema = msgspec.json.schema(Alert)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Anoean alert {SCHEMA_VERSION}",
        **schema,
    }


def _severity(finding: Finding, threshold: float) -> int:
    """Return 25 at the threshold, 50 at 1.5 times, 75 at 3 times, 90 at 7.5 times the threshold."""
    if threshold <= 0:
        return round(100 * (1 - finding.p_value))
    return round(100 * (1 - 0.75 * threshold / finding.distance))


def _reason(explanation: tuple[FeatureShift, ...]) -> str:
    if not explanation:
        return "no single feature moves the score: the combination is unusual"
    parts = []
    for shift in explanation[:_REASON_FEATURES]:
        usual = (
            f"usually {_show(shift.normal_p50)}"
            if shift.normal_p5 is None
            else f"usually {_show(shift.normal_p5)} to {_show(shift.normal_p95)}"
        )
        parts.append(f"{shift.feature} = {_show(shift.value)} ({usual})")
    return "; ".join(parts)


def _show(value: float | str | None) -> str:
    if value is None:
        return "missing"
    return value if isinstance(value, str) else f"{value:.6g}"


def _loose(value: bytes) -> dict[str, Any]:
    try:
        record = json.loads(value.decode(errors="replace"))
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _kafka_time(timestamp_ms: int) -> str | None:
    if timestamp_ms < 0:
        return None
    try:
        return rfc3339(datetime.fromtimestamp(timestamp_ms / 1000, tz=UTC), digits="microseconds")
    except (ValueError, OverflowError, OSError):
        return None  # the producer chose it, up to the year 292 million


def _text(key: bytes | None) -> str | None:
    # A character has at most four bytes: no need to decode a key of a megabyte.
    return None if key is None else short_text(key[: 4 * TEXT_MAX_CHARS].decode(errors="replace"))


def _short_key(key: bytes | None) -> bytes | None:
    if key is None or len(key) <= KEY_MAX_BYTES:
        return key
    return hashlib.sha256(key).hexdigest().encode()


def without_original(record: OutRecord) -> OutRecord:
    """Return an alert without the record it is about, for brokers that take no larger one.

    Topic, partition and offset in `source` still name it.
    """
    assert record.value is not None  # an alert always has a value
    alert = msgspec.json.decode(record.value)
    alert |= {"original": None, "original_base64": None}
    return OutRecord(key=record.key, value=msgspec.json.encode(alert), headers=record.headers)
