"""The notice: what the alerts topic says about the detector itself, beside its alerts.

A notice tells that records were *not* looked at. It stands on the alerts topic because whoever reads
no alert there would otherwise take silence for peace. It has a schema of its own
(docs/schemas/notice-1.0.json); ``event_kind`` and the header of the same name tell it from an alert.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from anoean_stream.records.outgoing import OutRecord
from anoean_stream.records.times import rfc3339

SCHEMA_VERSION: Final = "1.0"

EVENT_KIND: Final = "notice"

State = Literal["started", "continues", "ended"]


class Gap(msgspec.Struct, frozen=True):
    """What was not looked at in one partition since the last notice."""

    topic: str
    partition: Annotated[int, Meta(ge=0)]
    first_offset: Annotated[int, Meta(ge=0, description="first offset of the sampled range")]
    last_offset: Annotated[
        int | None,
        Meta(description="last offset of it; null in the notice that begins an episode: open"),
    ]
    records: Annotated[int, Meta(ge=0, description="records read in the range")]
    dropped: Annotated[int, Meta(ge=0, description="of them, those that were not scored")]


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Records are being dropped because the worker is too far behind (overload.policy: sample)."""

    schema_version: Literal["1.0"] = "1.0"
    notice_id: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    event_kind: Literal["notice"] = "notice"
    notice: Literal["overload_sampling"] = "overload_sampling"
    state: Annotated[
        State, Meta(description="started: from now on; continues: each minute; ended: all again")
    ]
    at: Annotated[str, Meta(description="RFC 3339, microseconds")]
    episode_started_at: Annotated[str, Meta(description="RFC 3339; the same in one episode")]
    sample_share: Annotated[float, Meta(gt=0, lt=1, description="share of records still scored")]
    reason: Annotated[str, Meta(description="the limit that was passed, in one line")]
    dropped: Annotated[int, Meta(ge=0, description="records not scored since the last notice")]
    dropped_in_episode: Annotated[int, Meta(ge=0)]
    gaps: tuple[Gap, ...]
    worker: str


def write_notice(
    state: State,
    *,
    at: datetime,
    episode_started_at: datetime,
    sample_share: float,
    reason: str,
    dropped_in_episode: int,
    gaps: Sequence[Gap],
    worker_id: str,
) -> OutRecord:
    """Return a notice as a record for the alerts topic; its key is the worker's name."""
    began = rfc3339(episode_started_at, digits="microseconds")
    identity = f"{worker_id}|{began}|{state}|{rfc3339(at, digits='microseconds')}"
    notice = Notice(
        notice_id=hashlib.sha256(identity.encode()).hexdigest()[:32],
        state=state,
        at=rfc3339(at, digits="microseconds"),
        episode_started_at=began,
        sample_share=sample_share,
        reason=reason,
        dropped=sum(gap.dropped for gap in gaps),
        dropped_in_episode=dropped_in_episode,
        gaps=tuple(gaps),
        worker=worker_id,
    )
    return OutRecord(
        key=worker_id.encode(),
        value=msgspec.json.encode(notice),
        headers=(
            ("content-type", b"application/json"),
            ("schema-version", SCHEMA_VERSION.encode()),
            ("event-kind", EVENT_KIND.encode()),
        ),
    )


def notice_schema() -> dict[str, Any]:
    """Return the JSON Schema of a notice."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Anoean notice {SCHEMA_VERSION}",
        **msgspec.json.schema(Notice),
    }
