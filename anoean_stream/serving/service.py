"""All that surrounds the scorer, put together: models, shadow, reports, and the way out for their news."""

import asyncio
from typing import Any, Final

from mode import Service
from mode.types import ServiceT

from anoean_stream.kafka.sideline import Sideline
from anoean_stream.kafka.wire import StopClock
from anoean_stream.observe.health import Health
from anoean_stream.observe.metrics import Metrics
from anoean_stream.pipeline import Pipeline
from anoean_stream.records.chunk import Chunk
from anoean_stream.records.control import ControlMessage
from anoean_stream.registry.polling import Polling
from anoean_stream.registry.registry import Registry
from anoean_stream.serving.audit import Trail
from anoean_stream.serving.candidate import RecentRecords
from anoean_stream.serving.livescores import LiveScores
from anoean_stream.serving.models import ModelService
from anoean_stream.serving.reports import ReportService
from anoean_stream.serving.scorer import Judged, Scorer, ScoringListener
from anoean_stream.serving.shadowing import Shadowing
from anoean_stream.settings import Settings

_FLUSH_SHARE: Final = 0.9
"""Until which part of worker.shutdown_deadline_s news may be written: after the last deliveries (0.85)."""

_FLUSH_S: Final = 0.5
"""Seconds for them at the most: nobody waits for news of a worker that ends."""


class Serving(ScoringListener):
    """The services of one worker that decide what it serves and tell of it.

    Parameters
    ----------
    settings : Settings
        All of them.
    registry : Registry
        Where models stand.
    scorer : Scorer
        Listened to from now on.
    health, metrics : Health, Metrics
        What learns of it.
    worker_id : str
        Name in alerts.
    loaded : asyncio.Event
        Set with the first model.
    stop_clock : StopClock
        The deadline of the stop.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        *,
        scorer: Scorer,
        health: Health,
        metrics: Metrics,
        worker_id: str,
        loaded: asyncio.Event,
        stop_clock: StopClock,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._recent = RecentRecords()
        self._scores = LiveScores()
        self._sideline = Sideline(
            settings, on_control=self._heard, on_lost=lambda topic, _: self._lost(topic)
        )
        trail = Trail(settings, worker_id=worker_id, sideline=self._sideline)
        self.models = ModelService(
            settings,
            registry,
            scorer=scorer,
            health=health,
            metrics=metrics,
            trail=trail,
            recent=self._recent,
            worker_id=worker_id,
            loaded=loaded,
            on_swap=self._swapped,
        )
        self._shadowing = Shadowing(
            settings,
            registry,
            prepare=self.models.prepare,
            renew=self.models.with_choice_of_now,
            scorer=scorer,
            metrics=metrics,
            trail=trail,
            on_change=self._changed,
        )
        self._reports = ReportService(
            settings,
            worker_id=worker_id,
            sideline=self._sideline,
            models=self.models,
            shadowing=self._shadowing,
            scorer=scorer,
            scores=self._scores,
            health=health,
            metrics=metrics,
        )
        self._polling = Polling(
            (self.models.look, self._shadowing.look),
            interval_s=settings.registry.poll_interval_s,
            jitter=settings.registry.poll_jitter,
        )
        scorer.listener = self
        self.services: tuple[ServiceT, ...] = (
            _SidelineService(self._sideline, stop_clock),
            self.models,
            self._shadowing,
            self._reports,
            _PollingService(self._polling),
        )
        """To be started in this order, and stopped in reverse."""

    # ------------------------------------------------------------------ from the scorer

    def arriving(self, chunk: Chunk) -> None:
        """Keep some records to try a candidate on."""
        self._recent.offer(chunk)

    def scored(self, judged: Judged) -> None:
        """Count the scores."""
        verdict = judged.verdict
        self._scores.add(verdict.model.version, verdict.distances_G)

    def judged(self, judged: Judged) -> None:
        """Watch a model that is new."""
        self.models.judged(judged)

    def aside(self, judged: Judged) -> None:
        """Compare with the shadow."""
        self._shadowing.aside(judged)

    # ------------------------------------------------------------------ from the others

    def _swapped(self, pipeline: Pipeline) -> None:
        self._scores.begin(pipeline.model.version)
        self._shadowing.champion_changed()
        self._changed()

    def _changed(self) -> None:
        self._reports.changed()

    def _heard(self, control: ControlMessage) -> None:
        """Look at the registry because somebody says so. The sideline's thread."""
        if control.model == self._settings.model.name:
            self._polling.wake_from_any_thread()

    def _lost(self, topic: str) -> None:
        self._metrics.news_lost.labels(topic).inc()


class _SidelineService(Service):
    """Starts and ends the sideline with the worker."""

    def __init__(self, sideline: Sideline, clock: StopClock, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._sideline = sideline
        self._clock = clock

    async def on_start(self) -> None:
        self._sideline.start()

    async def on_stop(self) -> None:
        self._clock.start()
        await asyncio.to_thread(
            self._sideline.stop, min(_FLUSH_S, self._clock.left_s(_FLUSH_SHARE))
        )


class _PollingService(Service):
    """Looks at the registry for as long as the worker runs."""

    def __init__(self, polling: Polling, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._polling = polling

    @Service.task
    async def _look(self) -> None:
        await self._polling.run()

    async def on_stop(self) -> None:
        """Stop looking; a load under way is abandoned."""
        self._polling.stop()
