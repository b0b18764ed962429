"""The workers topic, read back: the newest report of each worker of a model, and what comes after.

A worker that stops in order writes a null value; one that is silent for three of its intervals is
gone.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, Self

from confluent_kafka import Message, TopicPartition

from anoean_stream.cli.reader import Reader, place
from anoean_stream.cli.times import parse_utc
from anoean_stream.errors import BrokerError, ConfigError
from anoean_stream.records.workerreport import WorkerReport
from anoean_stream.settings import Settings

_log: Final = logging.getLogger(__name__)

_SILENT_INTERVALS: Final = 3
"""Reports that may be missing before a worker counts as gone (docs/schemas/worker-report-1.0.json)."""

PATIENCE_S: Final = 5.0
"""Seconds that a person at a terminal waits for a broker; ``broker.request_timeout_s`` is for workers."""


def impatient(settings: Settings) -> Settings:
    """Return the settings for a command that can do without the broker: it gives up sooner."""
    timeout_s = min(settings.broker.request_timeout_s, PATIENCE_S)
    broker = settings.broker.model_copy(update={"request_timeout_s": timeout_s})
    return settings.model_copy(update={"broker": broker})


@dataclass(frozen=True, slots=True)
class SeenWorker:
    """One worker as its newest report shows it.

    Parameters
    ----------
    report : WorkerReport
        The newest.
    stopped_at : datetime or None
        When it said that it stops.
    """

    report: WorkerReport
    stopped_at: datetime | None = None

    @property
    def at(self) -> datetime:
        """When it reported."""
        return parse_utc(self.report.at)

    def gone_at(self) -> datetime:
        """When it counts as gone, unless another report comes."""
        return self.at + timedelta(seconds=_SILENT_INTERVALS * self.report.interval_s)

    def state(self, now: datetime) -> Literal["live", "gone", "stopped"]:
        """Return whether it works, was lost, or stopped in order."""
        if self.stopped_at is not None:
            return "stopped"
        return "live" if now <= self.gone_at() else "gone"


def live_reports(
    workers: Iterable[SeenWorker], *, now: datetime, group: str | None = None
) -> list[WorkerReport]:
    """Return the reports of those who work, of one group or of all."""
    return [
        worker.report
        for worker in workers
        if worker.state(now) == "live" and group in {None, worker.report.group}
    ]


class WorkerReports:
    """Follows the workers topic for one model. Not thread-safe; close it.

    Parameters
    ----------
    settings : Settings
        Brokers, and ``topics.workers``.
    model : str
        Name of the model.

    Raises
    ------
    ConfigError
        When ``topics.workers`` is null.
    BrokerError
        When librdkafka refuses the configuration.
    """

    def __init__(self, settings: Settings, model: str) -> None:
        topic = settings.topics.workers
        if topic is None:
            message = "topics.workers is null: workers report nowhere; set it and create the topic"
            raise ConfigError(message)
        self._model = model
        self._workers: dict[bytes, SeenWorker] = {}
        group = f"{settings.consumer.group_id}.worker-reports"
        self._reader = Reader(impatient(settings), topic, group=group)

    def read(self) -> list[SeenWorker]:
        """Return every worker that the topic knows, by group and id. Blocks while it is read.

        Raises
        ------
        BrokerError
            When the topic does not exist, no broker answers within 5 s, or it refuses us.
        """
        bounds = self._reader.bounds()
        starts = {partition: low for partition, (low, _) in bounds.items()}
        ends = {partition: high for partition, (_, high) in bounds.items()}
        for _, _, message in self._reader.read_until(starts, ends):
            self._take(message)
        self._reader.start_at(ends)
        # Reading up to an end pauses the partition there.
        self._reader.consumer.resume([TopicPartition(self._reader.topic, p) for p in ends])
        return self._sorted()

    def follow(self, timeout_s: float) -> list[SeenWorker]:
        """Return the same after what came since; waits at most so long for a first report.

        Call `read` before.

        Raises
        ------
        BrokerError
            When waiting cannot help (credentials, authorisation).
        """
        for message in self._reader.poll(timeout_s):
            self._take(message)
        return self._sorted()

    def close(self) -> None:
        """Leave."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _sorted(self) -> list[SeenWorker]:
        return [self._workers[key] for key in sorted(self._workers)]

    def _take(self, message: Message) -> None:
        key, value = message.key(), message.value()
        if key is None:
            return
        if value is None:
            # Without an earlier report nobody knows which model it followed.
            if key in self._workers:
                stopped_at = datetime.fromtimestamp(message.timestamp()[1] / 1000, tz=UTC)
                self._workers[key] = SeenWorker(self._workers[key].report, stopped_at)
            return
        try:
            report = WorkerReport.from_json(value)
            for text in (report.at, report.started_at, report.serving_since or report.at):
                parse_utc(text)
        except ValueError as error:
            # A foreign record, or one of a newer program, hides no other.
            partition, offset = place(message)
            _log.warning(
                "%s/%d/%d is no worker's report: %s", self._reader.topic, partition, offset, error
            )
            return
        if report.model == self._model and report.key == key:
            self._workers[key] = SeenWorker(report)
        else:
            self._workers.pop(key, None)  # it follows another model now


def read_workers(settings: Settings, model: str) -> list[SeenWorker]:
    """Return every worker of a model that the topic knows; see `WorkerReports`.

    Raises
    ------
    ConfigError
        When ``topics.workers`` is null.
    BrokerError
        When the topic does not exist, no broker answers within 5 s, or it refuses us.
    """
    with WorkerReports(settings, model) as reports:
        return reports.read()


def try_workers(
    settings: Settings, model: str
) -> tuple[list[SeenWorker], BrokerError | ConfigError | None]:
    """Return the workers of a model, and why they are not known; None when they are."""
    try:
        return read_workers(settings, model), None
    except (BrokerError, ConfigError) as error:
        return [], error
