"""A range of a topic as training data: offsets, labels, and what guards the normals."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from confluent_kafka import Message

from anoean_stream.cli.progress import record_progress
from anoean_stream.cli.reader import Reader, place
from anoean_stream.cli.train_alerts import Alerted, Offsets, read_alerted
from anoean_stream.cli.train_guard import judged, open_champion
from anoean_stream.cli.train_labels import read_labels
from anoean_stream.errors import ConfigError, DataError
from anoean_stream.pipeline import Pipeline
from anoean_stream.records.times import rfc3339
from anoean_stream.settings import Settings

if TYPE_CHECKING:
    from trainer.datasets.sieve import TopicRecord
    from trainer.datasets.topic import TopicRange


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSource:
    """What the command line says about the topic.

    Parameters
    ----------
    topic : str
        Its name.
    since, until : datetime, optional
        By Kafka's timestamps; without them all that is there now.
    labels : str, optional
        A path, or ``topic:NAME``.
    id_field : str, optional
        Field of the record by which labels may name it.
    label_column, normal_value, attack_column : str, optional
        As for files; the label stands in ``label`` if nothing else is said.
    trust_unlabelled : bool
        Go on where neither a champion nor an alert can tell what is not normal.
    """

    topic: str
    since: datetime | None = None
    until: datetime | None = None
    labels: str | None = None
    id_field: str | None = None
    label_column: str | None = None
    normal_value: str | None = None
    attack_column: str | None = None
    trust_unlabelled: bool = False


def topic_source(topic: str | None, **said: Any) -> TopicSource | None:
    """Return what the command line says about the topic; None when it names none.

    Raises
    ------
    ConfigError
        When it says something about a topic, and names none.
    """
    if topic is not None:
        return TopicSource(topic=topic, **said)
    about_a_topic = {
        "since": "--since",
        "until": "--until",
        "labels": "--labels",
        "id_field": "--id-field",
        "trust_unlabelled": "--trust-unlabelled",
    }
    given = [option for key, option in about_a_topic.items() if said[key]]
    if given:
        message = f"{', '.join(given)}: about a topic, and none is named; add --from-topic NAME"
        raise ConfigError(message)
    return None


def open_range(
    settings: Settings, source: TopicSource, *, name: str, note: Callable[[str], None]
) -> "TopicRange":
    """Look up offsets, read labels and alerts, load the champion; the records are read later.

    Parameters
    ----------
    settings : Settings
        Brokers, topics, registry, and how the champion decides.
    source : TopicSource
        What is wanted.
    name : str
        The model whose champion guards.
    note : callable
        Told what a person should know.

    Raises
    ------
    ConfigError
        When nothing guards the normals, and `trust_unlabelled` was not given.
    DataError
        When the range is empty, or the labels cannot be read.
    BrokerError
        When a topic does not exist, no broker answers, or it refuses us.
    RegistryError, BundleError
        When there is a champion that cannot be loaded.
    """
    from trainer.datasets.labels import LABEL_FIELD, Labels
    from trainer.datasets.topic import TopicRange

    if source.labels is not None and source.normal_value is None:
        message = "--labels needs --normal-value VALUE: what a label says of normal records"
        raise ConfigError(message)
    offsets = _offsets(settings, source)
    labels = Labels(
        topic=source.topic,
        normal_value=source.normal_value or "",
        label_column=source.label_column or LABEL_FIELD,
        attack_column=source.attack_column,
        id_field=source.id_field,
    )
    said_by = None
    if source.labels is not None:
        said_by = read_labels(settings, source.labels, labels)
        if labels.counts.faulty:
            note(f"{labels.counts.faulty:,} messages of {source.labels} are no labels: passed over")
    alerted = read_alerted(settings, source.topic, offsets, alert_ids=labels.alert_ids)
    if alerted is None:
        note(f"there is no topic {settings.topics.alerts!r}: only the champion guards the normals")
        alerted = Alerted()
    if alerted.foreign:
        note(f"{alerted.foreign:,} messages of {settings.topics.alerts} are no alerts: passed over")
    for alert_id, found in alerted.found.items():
        labels.found_alert(alert_id, found)
    places = alerted.places
    champion = open_champion(settings, name)
    _require_guard(source, champion, n_alerted=len(places), name=name, settings=settings, note=note)
    origin = {
        "since": None if source.since is None else rfc3339(source.since, digits="seconds"),
        "until": None if source.until is None else rfc3339(source.until, digits="seconds"),
        "offsets": {str(p): [low, high - 1] for p, (low, high) in offsets.items() if low < high},
        "labels": said_by,
        "guard": {
            "champion": None if champion is None else champion.model.version,
            "threshold": None if champion is None else champion.threshold,
            "alerted_records": len(places),
        },
    }

    def read() -> Iterator["TopicRecord"]:
        return _records(settings, source.topic, offsets, champion=champion, alerted=places)

    return TopicRange(topic=source.topic, read=read, labels=labels, origin=origin)


def _offsets(settings: Settings, source: TopicSource) -> Offsets:
    """Return the range by partition: fixed here, whatever is written meanwhile."""
    with Reader(settings, source.topic, group=f"{settings.consumer.group_id}.train") as reader:
        bounds = reader.bounds()
        starts = {partition: low for partition, (low, _) in bounds.items()}
        ends = {partition: high for partition, (_, high) in bounds.items()}
        if source.since is not None:
            starts = reader.offsets_at(source.since, bounds)
        if source.until is not None:
            ends = reader.offsets_at(source.until, bounds)
    offsets = {p: (starts[p], max(starts[p], ends[p])) for p in bounds}
    if not any(low < high for low, high in offsets.values()):
        message = (
            f"topic {source.topic!r} has no records "
            f"{_between(source.since, source.until)}; give an earlier --since or a later --until"
        )
        raise DataError(message)
    return offsets


def _require_guard(
    source: TopicSource,
    champion: Pipeline | None,
    *,
    n_alerted: int,
    name: str,
    settings: Settings,
    note: Callable[[str], None],
) -> None:
    if champion is not None or n_alerted:
        return
    nothing = (
        f"nothing guards the normals: model {name!r} has no {settings.model.alias}, and no alert on "
        f"{settings.topics.alerts!r} names a record of the range, so an attack in it would be "
        "learned as normal"
    )
    if not source.trust_unlabelled:
        message = (
            f"{nothing}; train the first version on a labelled file, or give --trust-unlabelled if "
            "you know that the unlabelled traffic is clean"
        )
        raise ConfigError(message)
    note(f"{nothing}; --trust-unlabelled was given")


def _records(
    settings: Settings,
    topic: str,
    offsets: Offsets,
    *,
    champion: Pipeline | None,
    alerted: set[tuple[int, int]],
) -> Iterator["TopicRecord"]:
    starts = {partition: low for partition, (low, _) in offsets.items()}
    ends = {partition: high for partition, (_, high) in offsets.items()}
    total = sum(ends.values()) - sum(starts.values())
    with (
        Reader(settings, topic, group=f"{settings.consumer.group_id}.train") as reader,
        record_progress(f"reading {topic}", total=total) as advance,
    ):
        for messages in reader.read_batches(starts, ends):
            by_partition: dict[int, list[Message]] = {}
            for message in messages:
                partition, offset = place(message)
                if offset < ends[partition]:
                    by_partition.setdefault(partition, []).append(message)
            for partition, group in by_partition.items():
                yield from judged(
                    group, topic=topic, partition=partition, champion=champion, alerted=alerted
                )
                advance(len(group))


def _between(since: datetime | None, until: datetime | None) -> str:
    parts = [
        f"since {rfc3339(since, digits='seconds')}" if since else "",
        f"until {rfc3339(until, digits='seconds')}" if until else "",
    ]
    return " ".join(part for part in parts if part) or "at all"
