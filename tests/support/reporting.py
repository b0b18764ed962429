"""What workers write about themselves, written by the tests: reports, tombstones, audit records."""

import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self, cast

import msgspec
import numpy as np
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    Message,
    Producer,
    TopicPartition,
)
from numpy.typing import ArrayLike

from anoean_stream.detector.sketch import ScoreSketch
from anoean_stream.records.control import ControlMessage
from anoean_stream.records.outgoing import OutRecord
from anoean_stream.records.workerreport import ScoreDistribution, WorkerReport
from anoean_stream.registry import CHAMPION, Registry

_SEND_S: Final = 30.0


def rfc3339(moment: datetime) -> str:
    """Return a moment as records have it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def make_report(
    worker: str = "w1",
    *,
    version: str | None = "1",
    now: datetime | None = None,
    ago_s: float = 0.0,
    serving_s: float = 3600.0,
    **changes: Any,
) -> WorkerReport:
    """Return a report of a worker of group ``anoean`` that follows ``edge@champion``.

    Written `ago_s` before now; it serves its version, and runs, since `serving_s`.
    """
    now = now or datetime.now(UTC)
    since = rfc3339(now - timedelta(seconds=serving_s))
    report = WorkerReport(
        worker=worker,
        group="anoean",
        at=rfc3339(now - timedelta(seconds=ago_s)),
        started_at=since,
        interval_s=10.0,
        model="edge",
        alias="champion",
        version=version,
        sha256=None if version is None else version * 64,
        serving_since=None if version is None else since,
        wanted_version=version,
        problem=None,
        shadow_version=None,
        threshold=None if version is None else 4.5,
        threshold_source="the model's own, rate 0.01",
        partitions=2,
        records=1000,
        alerts=10,
    )
    return msgspec.structs.replace(report, **changes)


def make_distribution(
    scores_B: ArrayLike, *, seconds: float = 3600.0, version: str = "1"
) -> ScoreDistribution:
    """Return scores as a worker counts them."""
    sketch = ScoreSketch()
    sketch.add(np.asarray(scores_B, dtype=np.float64))
    now = datetime.now(UTC)
    return ScoreDistribution(
        version=version,
        since=rfc3339(now - timedelta(seconds=seconds)),
        until=rfc3339(now),
        seconds=seconds,
        records=sketch.n_scores,
        bins=sketch.counts,
    )


def tombstone(report: WorkerReport) -> OutRecord:
    """Return what a worker writes when it stops in order."""
    return OutRecord(key=report.key, value=None)


def send(bootstrap: str, topic: str, records: Iterable[OutRecord]) -> None:
    """Write records and wait until all are acknowledged."""
    failures: list[KafkaError] = []
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})

    def report(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(error)

    for record in records:
        headers = cast("list[tuple[str, str | bytes | None]]", list(record.headers))
        producer.produce(topic, record.value, key=record.key, headers=headers, on_delivery=report)
    assert not producer.flush(_SEND_S)
    assert not failures, failures[0]


class StandInWorker:
    """Reports like a worker: looks at the registry when the control topic says so, and only then.

    Parameters
    ----------
    bootstrap : str
        The broker.
    topics : mapping of str to str
        ``control`` and ``workers``.
    registry : Registry
        Where it looks.
    report : WorkerReport
        Its first report.
    """

    def __init__(
        self, bootstrap: str, topics: Mapping[str, str], registry: Registry, report: WorkerReport
    ) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._registry = registry
        self._report = report
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": f"standin-{report.worker}"}
        )
        self.heard: list[ControlMessage] = []

    def __enter__(self) -> Self:
        # From the beginning: the topic is the test's own, and news that is old does no harm.
        topic = self._topics["control"]
        partitions = self._consumer.list_topics(topic, timeout=_SEND_S).topics[topic].partitions
        self._consumer.assign([TopicPartition(topic, n, OFFSET_BEGINNING) for n in partitions])
        self._say(self._report)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(_SEND_S)
        self._consumer.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            message = self._consumer.poll(0.1)
            if message is None or message.error() is not None:
                continue
            self.heard.append(ControlMessage.from_json(message.value() or b""))
            self._say(self._looked())

    def _looked(self) -> WorkerReport:
        version = self._registry.alias_version("edge", CHAMPION)
        choice = self._registry.threshold("edge").choice
        return make_report(
            self._report.worker,
            version=version,
            serving_s=0,
            group=self._report.group,
            threshold=None if choice is None else choice.distances.get(version, 4.5),
            threshold_source="the model's own, rate 0.01" if choice is None else str(choice),
        )

    def _say(self, report: WorkerReport) -> None:
        send(self._bootstrap, self._topics["workers"], [report.to_record()])
