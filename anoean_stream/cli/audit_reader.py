"""The audit topic, read back: what was done with a model, oldest first."""

import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from anoean_stream.cli.reader import Reader
from anoean_stream.errors import ConfigError
from anoean_stream.records.audit import AuditRecord
from anoean_stream.settings import Settings

_log: Final = logging.getLogger(__name__)


def read_audit(
    settings: Settings, model: str, *, since: datetime | None = None
) -> list[AuditRecord]:
    """Return what the audit topic holds of a model, in the order of the times in the records.

    Parameters
    ----------
    settings : Settings
        Brokers, and ``topics.audit``.
    model : str
        Name of the model.
    since : datetime, optional
        Leave out what was written before.

    Raises
    ------
    ConfigError
        When ``topics.audit`` is null.
    BrokerError
        When the topic does not exist, no broker answers, or it refuses us.
    """
    topic = settings.topics.audit
    if topic is None:
        message = "topics.audit is null: nothing is recorded; set it to a topic and create that"
        raise ConfigError(message)
    with Reader(settings, topic, group=f"{settings.consumer.group_id}.audit-reader") as reader:
        return sorted(_records(reader, model, since), key=lambda record: record.at)


def _records(reader: Reader, model: str, since: datetime | None) -> Iterator[AuditRecord]:
    bounds = reader.bounds()
    starts = (
        {partition: low for partition, (low, _) in bounds.items()}
        if since is None
        else reader.offsets_at(since, bounds)
    )
    ends = {partition: high for partition, (_, high) in bounds.items()}
    key = model.encode()
    for partition, offset, message in reader.read_until(starts, ends):
        if message.key() != key:
            continue
        try:
            yield AuditRecord.from_json(message.value() or b"")
        except ValueError as error:
            # Somebody else writes there too, or a newer program; one foreign record hides no other.
            _log.warning("%s/%d/%d is no audit record: %s", reader.topic, partition, offset, error)
