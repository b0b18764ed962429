"""The control message: look at the registry now.

It carries no order, only news: whoever can write to ``topics.control`` can make workers read the
registry earlier than they would, and nothing else. What is to be served, and with which threshold,
stands in the registry alone.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from anoean_stream.records.outgoing import OutRecord
from anoean_stream.records.times import rfc3339


class ControlMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Something about a model was changed in the registry."""

    schema_version: Literal["1.0"] = "1.0"
    event_kind: Literal["control"] = "control"
    at: Annotated[str, Meta(description="RFC 3339")]
    model: Annotated[str, Meta(max_length=200, description="name of the model")]
    who: Annotated[str, Meta(max_length=500, description="user@host, or the worker's id")]
    what: Annotated[str, Meta(max_length=500, description="in one line, for a person")] = ""

    @classmethod
    def now(cls, model: str, *, who: str, what: str = "") -> "ControlMessage":
        """Return a message of now."""
        at = rfc3339(datetime.now(tz=UTC))
        return cls(at=at, model=model, who=who, what=what[:500])

    def to_record(self) -> OutRecord:
        """Return it as a record for the control topic; the key is the model's name."""
        return OutRecord(
            key=self.model.encode(),
            value=msgspec.json.encode(self),
            headers=(("content-type", b"application/json"), ("event-kind", b"control")),
        )

    @classmethod
    def from_json(cls, data: bytes) -> "ControlMessage":
        """Read what `to_record` wrote; raises ValueError for anything else."""
        try:
            return msgspec.json.decode(data, type=cls)
        except RecursionError as error:
            message = "nested too deeply"
            raise ValueError(message) from error


def control_schema() -> dict[str, Any]:
    """Return the JSON Schema of a control message."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Anoean control message 1.0",
        **msgspec.json.schema(ControlMessage),
    }
