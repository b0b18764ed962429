"""Which records of a topic some alert names, whatever version raised it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from anoean_stream.cli.progress import record_progress
from anoean_stream.cli.reader import Reader
from anoean_stream.records import notice
from anoean_stream.settings import Settings

_log: Final = logging.getLogger(__name__)

Offsets = Mapping[int, tuple[int, int]]
"""First offset, and the one after the last, by partition."""


@dataclass(slots=True)
class Alerted:
    """What the alerts topic says of a range.

    Parameters
    ----------
    places : set of (int, int)
        Partition and offset of each record of the range that an alert names.
    found : dict of str to (int, int)
        Of the alerts that were looked for: the record that each is about.
    foreign : int
        Messages that are neither alerts nor notices.
    """

    places: set[tuple[int, int]] = field(default_factory=set)
    found: dict[str, tuple[int, int]] = field(default_factory=dict)
    foreign: int = 0


class _Source(msgspec.Struct):
    topic: str
    partition: int
    offset: int


class _Alert(msgspec.Struct):
    """The part of an alert that names its record; a notice has neither id nor source."""

    event_kind: str = ""
    alert_id: str | None = None
    source: _Source | None = None


def read_alerted(
    settings: Settings, topic: str, offsets: Offsets, *, alert_ids: set[str]
) -> Alerted | None:
    """Read the alerts topic from its first record, for alerts about a range of an input topic.

    From its first: when an alert was written says little about when its record was, after a backlog
    or with clocks that differ.

    Parameters
    ----------
    settings : Settings
        Brokers, and ``topics.alerts``.
    topic : str
        The input topic.
    offsets : mapping
        The range.
    alert_ids : set of str
        Alerts to look for.

    Returns
    -------
    Alerted or None
        None when there is no alerts topic.

    Raises
    ------
    BrokerError
        When no broker answers, or it refuses us.
    """
    group = f"{settings.consumer.group_id}.train"
    decode = msgspec.json.Decoder(_Alert).decode
    alerted = Alerted()
    with Reader(settings, settings.topics.alerts, group=group) as reader:
        if not reader.partitions():
            return None
        bounds = reader.bounds()
        starts = {partition: low for partition, (low, _) in bounds.items()}
        ends = {partition: high for partition, (_, high) in bounds.items()}
        total = sum(ends.values()) - sum(starts.values())
        with record_progress(f"reading {reader.topic}", total=total) as advance:
            for partition, offset, message in reader.read_until(starts, ends):
                advance(1)
                try:
                    alert = decode(message.value() or b"")
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                    _log.debug("%s/%d/%d: %s", reader.topic, partition, offset, error)
                    alert = _Alert()
                if alert.alert_id is None or alert.source is None:
                    alerted.foreign += alert.event_kind != notice.EVENT_KIND
                    continue
                source = alert.source
                low, high = offsets.get(source.partition, (0, 0))
                if source.topic == topic and low <= source.offset < high:
                    place = source.partition, source.offset
                    alerted.places.add(place)
                    if alert.alert_id in alert_ids:
                        alerted.found[alert.alert_id] = place
    return alerted
