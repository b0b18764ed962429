"""What a worker did with models, told to the audit topic and to the other workers."""

from collections.abc import Mapping
from typing import Any

from anoean_stream.kafka.sideline import Sideline
from anoean_stream.records.audit import Action, AuditRecord
from anoean_stream.records.control import ControlMessage
from anoean_stream.settings import Settings


class Trail:
    """Writes audit records in the name of one worker; returns at once, never raises.

    Parameters
    ----------
    settings : Settings
        Model, topics, group.
    worker_id : str
        Who it was.
    sideline : Sideline
        The way out.
    """

    def __init__(self, settings: Settings, *, worker_id: str, sideline: Sideline) -> None:
        self._settings = settings
        self._worker_id = worker_id
        self._sideline = sideline

    def tell(
        self,
        action: Action,
        *,
        alias: str | None = None,
        from_version: str | None = None,
        to_version: str | None = None,
        reason: str = "",
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Write that this was done."""
        settings = self._settings
        record = AuditRecord.of(
            action,
            model=settings.model.name,
            who=self._worker_id,
            who_kind="worker",
            alias=alias or settings.model.alias,
            from_version=from_version,
            to_version=to_version,
            group=settings.consumer.group_id,
            reason=reason,
            detail=detail,
        )
        self._sideline.send(settings.topics.audit, record.to_record())

    def wake_others(self, what: str) -> None:
        """Let all workers look at the registry at once."""
        settings = self._settings
        message = ControlMessage.now(settings.model.name, who=self._worker_id, what=what)
        self._sideline.send(settings.topics.control, message.to_record())
