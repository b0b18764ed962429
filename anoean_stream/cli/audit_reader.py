"""The audit topic, read back: what was done with a model, oldest first."""

import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from anoean_stream.cli.reader import Reader
from anoean_stream.errors import ConfigError
from anoean_stream.records.audit import AuditRecord
from anoean_stream.records.times import rfc3339
from anoean_stream.settings import Settings

_log: Final = logging.getLogger(__name__)

_LAST: Final = 10_000
"""Records of a partition to look at when the broker says that there are none since a time."""


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
        Leave out what was done before.

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
    ends = {partition: high for partition, (_, high) in bounds.items()}
    starts = {partition: low for partition, (low, _) in bounds.items()}
    if since is not None:
        found = reader.offsets_at(since, bounds)
        # Our embedded broker knows no offsets by time, and says that there is nothing since then.
        starts = {
            partition: max(low, ends[partition] - _LAST) if found == ends else found[partition]
            for partition, low in starts.items()
        }
    key = model.encode()
    earliest = "" if since is None else rfc3339(since, digits="microseconds")
    for partition, offset, message in reader.read_until(starts, ends):
        if message.key() != key:
            continue
        try:
            record = AuditRecord.from_json(message.value() or b"")
            if record.at >= earliest:
                yield record
        except ValueError as error:
            # Somebody else writes there too, or a newer program; one foreign record hides no other.
            _log.warning("%s/%d/%d is no audit record: %s", reader.topic, partition, offset, error)
