"""The audit record: one thing that was done with a model, by whom, when and why.

Written by commands and by workers to ``topics.audit``, never changed, read by ``anoean models
history``, by the gate (shadow reports) and by whoever must show afterwards why a model decided.
docs/schemas/audit-1.0.json is the published schema.
"""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from anoean_stream.records.outgoing import OutRecord
from anoean_stream.records.times import rfc3339

SCHEMA_VERSION: Final = "1.0"

EVENT_KIND: Final = "audit"

Action = Literal[
    "loaded",  # a worker serves its first model
    "swapped",  # a worker serves another model than before
    "refused",  # a worker, or the gate, does not take a version; the old one goes on
    "shadow_started",  # a worker compares a candidate with its champion
    "shadow_stopped",  # it compares none any more
    "shadow_report",  # what the comparison showed since the last report
    "promoted",  # an alias was moved, and the gate had no objection
    "forced",  # an alias was moved against the gate, or without asking it
    "rolled_back",  # champion names an earlier version again
    "alias_removed",  # an alias names nothing any more
    "threshold_changed",  # another threshold was asked for, or is in use
    "evaluation_changed",  # another labelled set judges candidates
    "deleted",  # versions were removed from the registry
]
"""Everything there is; docs/audit.md says what `detail` holds for each."""


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was done with a model."""

    schema_version: Literal["1.0"] = "1.0"
    event_id: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    event_kind: Literal["audit"] = "audit"
    at: Annotated[str, Meta(description="RFC 3339, microseconds")]
    action: Action
    model: Annotated[str, Meta(description="name of the model; the record's key")]
    alias: Annotated[str | None, Meta(description="the alias that it is about")] = None
    from_version: Annotated[str | None, Meta(description="version before; null: none")] = None
    to_version: Annotated[str | None, Meta(description="version it is about, or afterwards")] = None
    who: Annotated[str, Meta(description="user@host, or the worker's id")]
    who_kind: Literal["user", "worker"]
    group: Annotated[str | None, Meta(description="consumer group of the worker")] = None
    reason: Annotated[str, Meta(description="why, in one line; for a refusal the sentence")] = ""
    detail: Annotated[
        dict[str, Any],
        Meta(description="figures; which ones depends on the action (docs/audit.md)"),
    ] = {}

    @classmethod
    def of(
        cls,
        action: Action,
        *,
        model: str,
        who: str,
        who_kind: Literal["user", "worker"],
        alias: str | None = None,
        from_version: str | None = None,
        to_version: str | None = None,
        group: str | None = None,
        reason: str = "",
        detail: Mapping[str, Any] | None = None,
    ) -> "AuditRecord":
        """Return a record of something that was done now, with an id of its own."""
        return cls(
            event_id=uuid.uuid4().hex,
            at=rfc3339(datetime.now(tz=UTC), digits="microseconds"),
            action=action,
            model=model,
            alias=alias,
            from_version=from_version,
            to_version=to_version,
            who=who,
            who_kind=who_kind,
            group=group,
            reason=reason,
            detail=dict(detail or {}),
        )

    def to_record(self) -> OutRecord:
        """Return it as a record for the audit topic; the key is the model's name."""
        return OutRecord(
            key=self.model.encode(),
            value=msgspec.json.encode(self),
            headers=(
                ("content-type", b"application/json"),
                ("schema-version", SCHEMA_VERSION.encode()),
                ("event-kind", EVENT_KIND.encode()),
                ("action", self.action.encode()),
            ),
        )

    @classmethod
    def from_json(cls, data: bytes) -> "AuditRecord":
        """Read what `to_record` wrote; raises ValueError for anything else."""
        try:
            return msgspec.json.decode(data, type=cls)
        except RecursionError as error:
            message = "nested too deeply"
            raise ValueError(message) from error


def audit_schema() -> dict[str, Any]:
    """Return the JSON Schema of an audit record."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Anoean audit record {SCHEMA_VERSION}",
        **msgspec.json.schema(AuditRecord),
    }
