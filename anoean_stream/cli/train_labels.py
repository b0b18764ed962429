"""Labels for records of a topic, from a file or from a topic."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from anoean_stream.cli.progress import record_progress
from anoean_stream.cli.reader import Reader
from anoean_stream.settings import Settings

if TYPE_CHECKING:
    from trainer.datasets.labels import Labels

TOPIC_PREFIX: Final = "topic:"
"""What ``--labels`` begins with when it names a topic."""


def read_labels(settings: Settings, source: str, labels: "Labels") -> dict[str, Any]:
    """Take all labels of a file or topic, and return where they come from, as JSON values.

    Labels of a topic come in the order of their Kafka timestamps, and within a partition in that of
    their offsets.

    Parameters
    ----------
    settings : Settings
        Brokers.
    source : str
        A path, or ``topic:NAME``.
    labels : Labels
        Takes them.

    Raises
    ------
    DataError
        When the file cannot be read, or a row of it is no label.
    BrokerError
        When the topic does not exist, no broker answers, or it refuses us.
    """
    from trainer.datasets.labels import read_label_file
    from trainer.datasets.published import content_sha256

    if not source.startswith(TOPIC_PREFIX):
        path = Path(source)
        read_label_file(path, labels)
        return {"source": path.name, "sha256": content_sha256(path)}
    topic = source.removeprefix(TOPIC_PREFIX)
    with Reader(settings, topic, group=f"{settings.consumer.group_id}.train") as reader:
        bounds = reader.bounds()
        rows = _rows(reader, bounds)
    decode = msgspec.json.Decoder(dict[str, object]).decode
    for _, _, _, value in sorted(rows, key=lambda row: row[:3]):
        try:
            labels.add(decode(value))
        except (ValueError, RecursionError):
            # Anybody may write there; one message that is no label hides no other.
            labels.counts.faulty += 1
    return {
        "source": source,
        "offsets": {str(p): [low, high - 1] for p, (low, high) in bounds.items() if low < high},
    }


def _rows(reader: Reader, bounds: dict[int, tuple[int, int]]) -> list[tuple[int, int, int, bytes]]:
    """Return time, partition, offset and value of each message; times never fall in a partition."""
    starts = {partition: low for partition, (low, _) in bounds.items()}
    ends = {partition: high for partition, (_, high) in bounds.items()}
    latest_ms: dict[int, int] = {}
    rows = []
    total = sum(ends.values()) - sum(starts.values())
    with record_progress(f"reading {reader.topic}", total=total) as advance:
        for partition, offset, message in reader.read_until(starts, ends):
            advance(1)
            latest_ms[partition] = max(latest_ms.get(partition, -1), message.timestamp()[1])
            rows.append((latest_ms[partition], partition, offset, message.value() or b""))
    return rows
