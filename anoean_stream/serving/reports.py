"""What this worker serves, told every few seconds to the workers topic; a null when it stops."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Final

from mode import Service

from anoean_stream.kafka.sideline import Sideline
from anoean_stream.observe.health import Health
from anoean_stream.observe.metrics import Metrics
from anoean_stream.records.outgoing import OutRecord
from anoean_stream.records.times import rfc3339
from anoean_stream.records.workerreport import WorkerReport, report_key
from anoean_stream.serving.livescores import LiveScores
from anoean_stream.serving.models import ModelService
from anoean_stream.serving.scorer import Scorer
from anoean_stream.serving.shadowing import Shadowing
from anoean_stream.settings import Settings

_BETWEEN_S: Final = 0.2
"""Seconds between two reports at the least, however often something changes."""


class ReportService(Service):
    """Writes reports: at an interval, and when something changed.

    Parameters
    ----------
    settings : Settings
        Interval, topic, names.
    worker_id : str
        Who reports.
    sideline : Sideline
        The way out.
    models, shadowing, scorer, scores, health, metrics
        What is reported.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        worker_id: str,
        sideline: Sideline,
        models: ModelService,
        shadowing: Shadowing,
        scorer: Scorer,
        scores: LiveScores,
        health: Health,
        metrics: Metrics,
        now: Callable[[], datetime] = lambda: datetime.now(tz=UTC),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._settings = settings
        self._worker_id = worker_id
        self._sideline = sideline
        self._models = models
        self._shadowing = shadowing
        self._scorer = scorer
        self._scores = scores
        self._health = health
        self._metrics = metrics
        self._now = now
        self._started_at = now()
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Report soon: something is not as it was. Event loop."""
        self._changed.set()

    @Service.task
    async def _report(self) -> None:
        topic, interval_s = self._settings.topics.workers, self._settings.worker.report_interval_s
        while topic is not None and not self.should_stop:
            began = time.monotonic()
            self._changed.clear()
            self._sideline.send(topic, self.report().to_record())
            await self.sleep(_BETWEEN_S)
            left_s = interval_s - (time.monotonic() - began)
            stopping = asyncio.ensure_future(self._changed.wait())
            await self.wait(stopping, timeout=max(left_s, _BETWEEN_S))
            stopping.cancel()

    async def on_stop(self) -> None:
        """Say that this worker is gone: a null value under its key."""
        key = report_key(self._settings.consumer.group_id, self._worker_id)
        self._sideline.send(self._settings.topics.workers, OutRecord(key=key, value=None))

    def report(self) -> WorkerReport:
        """Return what is so now."""
        settings, models = self._settings, self._models
        pipeline, seen = self._scorer.pipeline, models.watch.seen
        candidate = self._shadowing.candidate
        return WorkerReport(
            worker=self._worker_id,
            group=settings.consumer.group_id,
            at=rfc3339(self._now()),
            started_at=rfc3339(self._started_at),
            interval_s=settings.worker.report_interval_s,
            model=settings.model.name,
            alias=settings.model.alias,
            version=None if pipeline is None else pipeline.model.version,
            sha256=None if pipeline is None else pipeline.model.bundle.sha256,
            serving_since=None if models.serving_since is None else rfc3339(models.serving_since),
            wanted_version=None if seen is None else seen.version,
            problem=models.problem,
            shadow_version=None if candidate is None else candidate.model.version,
            threshold=pipeline.threshold if pipeline and isfinite(pipeline.threshold) else None,
            threshold_source="" if pipeline is None else pipeline.chosen.source,
            partitions=self._health.n_partitions or 0,
            records=self._metrics.value("anoean_records_total"),
            alerts=self._metrics.value("anoean_alerts_total"),
            scores=self._scores.distribution(),
            shadow_scores=self._shadowing.distribution(),
        )
