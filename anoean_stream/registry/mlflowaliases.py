"""What stands in MLflow about an alias: the alias itself, and a tag with who moved it and why.

MLflow cannot write both in one step. So the tag is written first and holds two records, the one
that is to come and the one before: the one that counts is that of the version which the alias
names. Moving the alias, one step, changes which. An alias that a person moves in MLflow's pages
names a version of neither: then its record is made up, and the version before is in its history.
"""

from typing import Final

import msgspec

from anoean_stream.registry.layout import AliasRecord
from anoean_stream.registry.mlflowclient import MlflowError

_VALUE_MAX_CHARS: Final = 4900
"""Longest value of a tag; MLflow's databases take 5000."""


def alias_tag(alias: str) -> str:
    """Return the key of an alias's tag."""
    return f"anoean.alias.{alias}"


def alias_tag_value(data: bytes, *, before: bytes | None) -> tuple[str, str]:
    """Return the version to move to, and the value of the tag.

    Parameters
    ----------
    data : bytes
        The record that is to come, as in an alias file.
    before : bytes or None
        The one that counts until then.

    Raises
    ------
    MlflowError
        When it is no alias file, or too long.
    """
    try:
        record = AliasRecord.from_json(data)
    except ValueError as error:
        message = f"an alias must be a version, not {data[:60]!r} ({error})"
        raise MlflowError(message) from error
    records = [record]
    if before is not None:
        records.append(AliasRecord.from_json(before))
    value = msgspec.json.encode(records).decode()
    if len(value) > _VALUE_MAX_CHARS:
        value = msgspec.json.encode([record]).decode()
    if len(value) > _VALUE_MAX_CHARS:
        message = f"the record has {len(value)} characters, allowed are {_VALUE_MAX_CHARS}; shorten the reason"
        raise MlflowError(message)
    return record.version, value


def alias_bytes(version: str | None, value: str | None) -> bytes | None:
    """Return an alias file for the version that MLflow's alias names; None when there is no alias.

    Parameters
    ----------
    version : str or None
        What the alias names.
    value : str or None
        Value of the tag; one that cannot be read counts as none.
    """
    if version is None:
        return None
    records = _records(value)
    for record in records:
        if record.version == version:
            return record.to_json()
    if not records:
        return AliasRecord(version, updated_by="MLflow").to_json()
    moved = AliasRecord(
        version,
        updated_by="MLflow",
        reason="moved by other means than anoean",
        history=records[0].history_after(version),
        held=records[0].held,
    )
    return moved.to_json()


def _records(value: str | None) -> list[AliasRecord]:
    try:
        found = msgspec.json.decode(value or "[]", type=list[AliasRecord])
        return [AliasRecord.from_json(record.to_json()) for record in found]
    except (ValueError, RecursionError):
        return []
