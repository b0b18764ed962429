"""What Kafka and the workers say of a span of time, read in the order that makes it comparable.

1. the input's bounds and the group's committed offsets,
2. the workers' counters: they hold at least what was committed then,
3. alerts and dead letters up to their end of now: they hold at least what the counters do,
4. the input itself, to know which offsets are real, and what bytes the dead ones had,
5. the input's bounds once more: what was written and removed meanwhile.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, cast

import msgspec
import numpy as np
from confluent_kafka import KafkaException, Message
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # there, but not in __all__
    AdminClient,
    ConfigResource,
    ResourceType,
)

from anoean_stream.cli.dead_letters import parse_dead_letter
from anoean_stream.cli.progress import record_progress
from anoean_stream.cli.reader import Reader, header_texts, place
from anoean_stream.cli.scrape import read_counts
from anoean_stream.kafka.config import admin_config
from anoean_stream.reconcile.counters import WorkerCounts, check_counters
from anoean_stream.reconcile.findings import Finding
from anoean_stream.reconcile.offsets import TOMBSTONE_DIGEST, digest
from anoean_stream.reconcile.topics import Bounds, Reconciled, Reconciliation
from anoean_stream.records.deadletter import REPLAYED_FROM_HEADER
from anoean_stream.records.notice import EVENT_KIND
from anoean_stream.settings import Settings

_CLOCKS_DIFFER_S: Final = 600.0
"""Outputs are read from so much before the span, seconds: the clocks of whoever writes the input
may be ahead of the workers'. Larger only costs time."""


class _Source(msgspec.Struct):
    topic: str
    partition: int
    offset: int


class _Model(msgspec.Struct):
    sha256: str


class _Alert(msgspec.Struct):
    """What is needed of an alert; the rest is skipped unparsed."""

    alert_id: str
    source: _Source
    model: _Model


_decode_alert = msgspec.json.Decoder(_Alert).decode


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was found.

    Parameters
    ----------
    found : Reconciled
        Input, commits and outputs, compared.
    workers : tuple of WorkerCounts
        Their counters.
    findings : tuple of Finding
        From topics and counters; problems first.
    is_compacted : bool or None
        Whether the input is compacted; None when the broker would not tell.
    n_before : int
        Offsets of the input that retention has removed, all partitions together.
    """

    found: Reconciled
    workers: tuple[WorkerCounts, ...]
    findings: tuple[Finding, ...]
    is_compacted: bool | None
    n_before: int


def gather(
    settings: Settings, *, since: datetime | None, until: datetime | None, urls: Sequence[str]
) -> Evidence:
    """Read it all, and compare.

    Parameters
    ----------
    settings : Settings
        Brokers, topics and group.
    since, until : datetime or None
        The span, by the timestamps of the input; None is the beginning, and now.
    urls : sequence of str
        /metrics of all workers.

    Raises
    ------
    BrokerError
        When a topic does not exist, or the broker does not answer.
    ConfigError
        When a worker does not.
    """
    topics = settings.topics
    with Reader(settings, topics.input, group=settings.consumer.group_id) as reader:
        asked = _bounds(reader, since=since, until=until)
        reconciliation = Reconciliation(topics.input, asked)
        workers = tuple(read_counts(url) for url in urls)
        are_whole = [
            _read_outputs(settings, topics.alerts, since, take=_take_alert(reconciliation)),
            _read_outputs(settings, topics.dead_letters, since, take=_take_letter(reconciliation)),
        ]
        reconciliation.outputs_are_complete()
        _read_input(reader, asked, reconciliation)
        bounds_now = reader.bounds()
    is_compacted = _is_compacted(settings, topics.input)
    found = reconciliation.finish(
        ends_now={partition: high for partition, (_, high) in bounds_now.items()},
        lows_now={partition: low for partition, (low, _) in bounds_now.items()},
        compacted=is_compacted is True,
    )
    counted = check_counters(
        workers,
        found,
        since=since.timestamp() if since is not None and until is None else None,
        outputs_are_whole=all(are_whole),
    )
    weights = ("problem", "unknown", "note")
    findings = sorted([*found.findings, *counted], key=lambda f: weights.index(f.weight))
    n_before = sum(low for low, _ in bounds_now.values())
    return Evidence(found, workers, tuple(findings), is_compacted, n_before)


def _bounds(reader: Reader, *, since: datetime | None, until: datetime | None) -> dict[int, Bounds]:
    bounds = reader.bounds()
    committed = reader.committed()
    starts = {partition: low for partition, (low, _) in bounds.items()}
    ends = {partition: high for partition, (_, high) in bounds.items()}
    if since is not None:
        starts = reader.offsets_at(since, bounds)
    if until is not None:
        ends = reader.offsets_at(until, bounds)
    return {
        partition: Bounds(
            start=starts[partition],
            end=max(starts[partition], ends[partition]),
            committed=offset if (offset := committed[partition].offset) >= 0 else None,
            low=low,
        )
        for partition, (low, _) in bounds.items()
    }


def _read_outputs(
    settings: Settings, topic: str, since: datetime | None, *, take: Callable[[Message], None]
) -> bool:
    """Read a topic up to its end of now; return whether retention has left the span alone."""
    with Reader(settings, topic, group=settings.consumer.group_id) as reader:
        bounds = reader.bounds()
        starts = {partition: low for partition, (low, _) in bounds.items()}
        ends = {partition: high for partition, (_, high) in bounds.items()}
        if since is not None:
            starts = reader.offsets_at(since - timedelta(seconds=_CLOCKS_DIFFER_S), bounds)
        total = sum(ends[partition] - starts[partition] for partition in bounds)
        with record_progress(f"reading {topic}", total=total) as advance:
            for messages in reader.read_batches(starts, ends):
                for message in messages:
                    if place(message)[1] < ends[place(message)[0]]:
                        take(message)
                advance(len(messages))
    return all(low in {0, high} or starts[p] > low for p, (low, high) in bounds.items())


def _take_alert(reconciliation: Reconciliation) -> Callable[[Message], None]:
    def take(message: Message) -> None:
        try:
            alert = _decode_alert(message.value() or b"")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if header_texts(message).get("event-kind") != EVENT_KIND:  # notices are about no record
                reconciliation.add_unreadable(_named(message))
            return
        source = alert.source
        reconciliation.add_alert(
            source.topic,
            source.partition,
            source.offset,
            id_=alert.alert_id,
            model=alert.model.sha256,
            rescored=REPLAYED_FROM_HEADER in header_texts(message),
        )

    return take


def _take_letter(reconciliation: Reconciliation) -> Callable[[Message], None]:
    def take(message: Message) -> None:
        letter = parse_dead_letter(message)
        if letter.origin_partition is None or letter.origin_offset is None:
            reconciliation.add_unreadable(_named(message))
            return
        mark = digest(message.value())
        if letter.is_cut:  # compared by what it says of the whole value
            mark = _leading_bits(header_texts(message).get("anoean-original-sha256", ""))
        reconciliation.add_letter(
            letter.origin_topic, letter.origin_partition, letter.origin_offset, mark=mark
        )

    return take


def _read_input(reader: Reader, asked: dict[int, Bounds], reconciliation: Reconciliation) -> None:
    starts = {partition: bounds.start for partition, bounds in asked.items()}
    ends = {partition: bounds.end for partition, bounds in asked.items()}
    total = sum(ends[partition] - starts[partition] for partition in asked)
    with record_progress(f"reading {reader.topic}", total=total) as advance:
        for messages in reader.read_batches(starts, ends):
            partitions = np.fromiter(map(Message.partition, messages), np.int64, len(messages))
            offsets = np.fromiter(map(Message.offset, messages), np.int64, len(messages))
            for partition in np.unique(partitions).tolist():
                rows = np.flatnonzero((partitions == partition) & (offsets < ends[partition]))
                reconciliation.add_input(partition, offsets[rows], _values(messages, rows.tolist()))
            advance(len(messages))


def _values(messages: Sequence[Message], rows: Sequence[int]) -> Callable[[int], bytes | None]:
    return lambda index: messages[rows[index]].value()


def _is_compacted(settings: Settings, topic: str) -> bool | None:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    admin = AdminClient(admin_config(settings))
    try:
        future = admin.describe_configs([resource])[resource]
        entries = future.result(settings.broker.request_timeout_s)
    except (KafkaException, TimeoutError):  # not allowed (DescribeConfigs): said in the report
        return None
    return "compact" in (entries["cleanup.policy"].value or "")


def _leading_bits(hexadecimal: str) -> int:
    try:
        return int.from_bytes(bytes.fromhex(hexadecimal[:16]))
    except ValueError:
        return TOMBSTONE_DIGEST  # what a value that was cut cannot have


def _named(message: Message) -> str:
    partition, offset = place(message)
    return f"{cast('str', message.topic())}/{partition}/{offset}"
