"""An alias other than the champion names another version: no gate, but it is told."""

from collections.abc import Mapping
from typing import Any

from anoean_stream.cli.trail import tell
from anoean_stream.records.audit import AuditRecord
from anoean_stream.registry import Registry
from anoean_stream.registry.registry import who_am_i
from anoean_stream.settings import Settings


def move_alias(
    settings: Settings,
    registry: Registry,
    name: str,
    version: str,
    *,
    alias: str,
    reason: str,
    detail: Mapping[str, Any] | None = None,
) -> str | None:
    """Let an alias name a version, tell the audit topic, and wake the workers.

    Returns
    -------
    str or None
        The version that it named before.

    Raises
    ------
    ConflictError
        When somebody else moved the alias meanwhile.
    RegistryError
        When there is no such version, or the store cannot be written.
    """
    before = registry.set_alias(name, alias, version, reason=reason)
    tell(
        settings,
        AuditRecord.of(
            "promoted",
            model=name,
            alias=alias,
            from_version=before,
            to_version=version,
            who=who_am_i(),
            who_kind="user",
            reason=reason,
            detail=detail,
        ),
    )
    return before
