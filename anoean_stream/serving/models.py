"""Follows the champion and its threshold, exchanges models between two chunks, and takes a bad one back.

::

    registry --ModelWatch--> check_candidate --> Pipeline --> Scorer.swap
       ^                      (loading thread)                    |
       +---- roll_back <---- SwapRules <---- each verdict <-------+

A model is taken back in this process first, from memory, at once; then the alias is moved, so that the
other workers follow. Where the registry cannot be written, this worker goes on with the old model and
tries again at each look.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from mode import Service

from anoean_stream.detector.bundle import ServedModel
from anoean_stream.detector.threshold import ThresholdChoice
from anoean_stream.errors import (
    BundleError,
    ConfigError,
    IncompatibleBundleError,
    RegistryError,
)
from anoean_stream.observe.health import Health
from anoean_stream.observe.metrics import Metrics
from anoean_stream.pipeline import Pipeline
from anoean_stream.registry.registry import Registry
from anoean_stream.registry.watch import ModelWatch
from anoean_stream.serving.audit import Trail
from anoean_stream.serving.candidate import RecentRecords, check_candidate
from anoean_stream.serving.scorer import Judged, Scorer
from anoean_stream.serving.takenback import TakenBack
from anoean_stream.serving.thresholds import ThresholdWatch
from anoean_stream.serving.watchrules import Broken, Rates, SwapRules
from anoean_stream.settings import Settings

log: Final = structlog.get_logger("anoean.app")

_NEWS_S: Final = 5.0
"""Seconds that the news of a swap waits for the first chunk, to tell how long nothing was scored."""


class ModelService(Service):
    """Decides which pipeline judges the next chunk. Lives on the event loop.

    Parameters
    ----------
    settings : Settings
        All of them.
    registry : Registry
        Where models and threshold stand.
    scorer : Scorer
        What is given another pipeline.
    health, metrics : Health, Metrics
        What learns of it.
    trail : Trail
        The audit topic.
    recent : RecentRecords
        Live traffic to try a candidate on.
    worker_id : str
        Name in alerts.
    loaded : asyncio.Event
        Set with the first model.
    on_swap : callable
        Called after each swap with the pipeline that serves now.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        *,
        scorer: Scorer,
        health: Health,
        metrics: Metrics,
        trail: Trail,
        recent: RecentRecords,
        worker_id: str,
        loaded: asyncio.Event,
        on_swap: Callable[[Pipeline], None],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._settings = settings
        self._registry = registry
        self._scorer = scorer
        self._health = health
        self._metrics = metrics
        self._trail = trail
        self._recent = recent
        self._worker_id = worker_id
        self._on_swap = on_swap
        self._loaded = loaded
        self._taken_back = TakenBack(settings, registry, worker_id=worker_id, trail=trail)
        self.watch = ModelWatch[Pipeline](
            registry,
            name=settings.model.name,
            alias=settings.model.alias,
            prepare=self.prepare,
            on_model=self._take,
            on_refused=self._refused,
            is_held=self._taken_back.is_held,
        )
        self.thresholds = ThresholdWatch(registry, name=settings.model.name, on_choice=self._choose)
        self.serving_since: datetime | None = None
        self._before: Pipeline | None = None
        self._rates = Rates()
        self._rules: SwapRules | None = None
        self._rules_until = 0.0
        self._news: Callable[[float | None], None] | None = None
        self._problem: tuple[float, str | None, str] | None = None

    async def on_stop(self) -> None:
        """Tell of a swap whose first chunk never came."""
        self._tell_news(None)

    async def look(self) -> None:
        """Look at the registry once: threshold, champion, and what is still owed to it."""
        await self.thresholds.poll_now()
        await self.watch.poll_now()
        await self._taken_back.settle()

    @property
    def problem(self) -> str | None:
        """Why this worker does not serve what the alias names; None when all is well."""
        if self._problem is None:
            return None
        at, version, sentence = self._problem
        seen, answered_at = self.watch.seen, self.watch.answered_at
        if version is None:
            return None if answered_at is not None and answered_at > at else sentence
        return sentence if seen is not None and seen.version == version else None

    # ------------------------------------------------------------------ taking a model

    def prepare(self, model: ServedModel) -> Pipeline:
        """Check a model and return it ready to judge; in the thread that loads.

        Raises
        ------
        BundleError
            It must not serve here.
        """
        own, serving = self._settings, self._scorer.pipeline
        check_candidate(
            model.bundle,
            champion=None if serving is None else serving.model.bundle.detector.contract,
            recent=self._recent.values(),
            contract_dead_share=own.swap.contract_dead_share,
            latency_budget_us=own.swap.latency_budget_us,
            max_record_bytes=own.scoring.max_record_bytes,
        )
        try:
            return self._pipeline(model, self.thresholds.choice)
        except ConfigError as error:
            raise IncompatibleBundleError(str(error), file="calibration.safetensors") from error

    def _pipeline(self, model: ServedModel, choice: ThresholdChoice | None) -> Pipeline:
        own = self._settings
        return Pipeline(
            model,
            scoring=own.scoring,
            alerts=own.alerts,
            worker_id=self._worker_id,
            choice=choice,
        )

    def _take(self, pipeline: Pipeline) -> None:
        """Serve a model that the alias has come to name."""
        before = self._scorer.pipeline
        if before is not None:
            self._before = before
            swap = self._settings.swap
            # The smaller one: a model that was exported for a hundred times the rate is no better.
            budget = min(pipeline.chosen.budget, before.chosen.budget)
            self._rules = (
                SwapRules(swap, budget=budget, before=self._rates) if swap.watch_s else None
            )
            self._rules_until = time.monotonic() + swap.watch_s
        self._install(pipeline)
        self._problem = None
        self._tell_with_pause(before, pipeline)

    def _install(self, pipeline: Pipeline) -> None:
        """Let a pipeline judge from the next chunk on, and say so where others look."""
        model, metrics = pipeline.model, self._metrics
        before = self._health.model
        self._scorer.swap(pipeline)
        self._rates = Rates()
        self.serving_since = datetime.now(tz=UTC)
        self._health.model = f"{model.name}@{model.version}"
        metrics.model_info.clear()
        metrics.model_info.labels(model.name, model.version, model.bundle.sha256).set(1)
        metrics.model_loaded_at.set(time.time())
        metrics.model_swaps.inc()
        self._show_threshold(pipeline)
        log.info(
            "model_in_use",
            model=self._health.model,
            before=before,
            threshold=round(pipeline.shown_threshold, 4),
            threshold_source=pipeline.chosen.source,
            sha256=model.bundle.sha256[:12],
        )
        self._on_swap(pipeline)
        self._loaded.set()

    def _show_threshold(self, pipeline: Pipeline) -> None:
        self._metrics.threshold.set(pipeline.shown_threshold)

    def _tell_with_pause(self, before: Pipeline | None, pipeline: Pipeline) -> None:
        """Tell of a swap when its first chunk was scored; after some seconds without one all the same."""
        self._tell_news(None)  # of the swap before
        detail = {
            "threshold": pipeline.shown_threshold,
            "threshold_source": pipeline.chosen.source,
            "sha256": pipeline.model.bundle.sha256,
        }

        def tell(gap_s: float | None) -> None:
            pause_ms = None if gap_s is None or before is None else round(gap_s * 1000, 3)
            self._trail.tell(
                "loaded" if before is None else "swapped",
                from_version=None if before is None else before.model.version,
                to_version=pipeline.model.version,
                detail={**detail, "pause_ms": pause_ms},
            )

        self._news = tell
        asyncio.get_running_loop().call_later(_NEWS_S, self._tell_late, tell)

    def _tell_late(self, news: Callable[[float | None], None]) -> None:
        if self._news is news:
            self._tell_news(None)

    def _tell_news(self, gap_s: float | None) -> None:
        news, self._news = self._news, None
        if news is not None:
            news(gap_s)

    def _refused(self, name: str, version: str | None, error: BundleError | RegistryError) -> None:
        serving = self._health.model
        self._problem = (time.monotonic(), version, str(error))
        self._health.model_problem = str(error)
        if version is not None:
            self._metrics.model_refused.inc()
            self._trail.tell(
                "refused",
                to_version=version,
                reason=str(error),
                detail={"kind": type(error).__name__, "serving": serving},
            )
        log.warning(
            "model_refused" if version is not None else "model_not_found",
            model=name,
            version=version,
            reason=str(error),
            serving=serving,
        )

    # ------------------------------------------------------------------ the threshold

    def _choose(self, choice: ThresholdChoice | None) -> None:
        if self._scorer.pipeline is not None:
            self.add_future(self._use_choice(choice))

    async def _use_choice(self, choice: ThresholdChoice | None) -> None:
        """Judge with another threshold from the next chunk on."""
        serving = self._scorer.pipeline
        assert serving is not None
        loop = asyncio.get_running_loop()
        try:
            pipeline = await loop.run_in_executor(None, self._pipeline, serving.model, choice)
        except ConfigError as error:
            self._metrics.model_refused.inc()
            log.warning("threshold_refused", choice=str(choice), reason=str(error))
            self._trail.tell(
                "refused",
                to_version=serving.model.version,
                reason=str(error),
                detail={"kind": "threshold", "serving": self._health.model},
            )
            return
        if self._scorer.pipeline is not serving or self.thresholds.choice != choice:
            return  # a swap, or another choice, was quicker; it has seen this one or its successor
        self._scorer.swap(pipeline)
        self._show_threshold(pipeline)
        if self._rules is not None:
            self._rules = SwapRules(
                self._settings.swap, budget=pipeline.chosen.budget, before=self._rates
            )
        self._on_swap(pipeline)
        log.info(
            "threshold_in_use",
            model=self._health.model,
            threshold=round(pipeline.shown_threshold, 6),
            before=round(serving.shown_threshold, 6),
            source=pipeline.chosen.source,
        )
        self._trail.tell(
            "threshold_changed",
            to_version=pipeline.model.version,
            detail={
                "threshold": pipeline.shown_threshold,
                "threshold_source": pipeline.chosen.source,
                "before": serving.shown_threshold,
                "effective": True,
            },
        )

    # ------------------------------------------------------------------ taking a model back

    def judged(self, judged: Judged) -> None:
        """Hear of a verdict: it may show that the model must not stay. Event loop."""
        if judged.pipeline is not self._scorer.pipeline:
            return  # of the model before; the swap came while it was scored
        if self._news is not None:
            if judged.gap_s is not None:
                self._metrics.swap_pause_seconds.observe(judged.gap_s)
            self._tell_news(judged.gap_s)
        self._rates.add(judged.verdict, cpu_s=judged.cpu_s)
        if self._rules is None:
            return
        if time.monotonic() > self._rules_until:
            self._rules = None
            return
        broken = self._rules.see(judged.verdict, cpu_s=judged.cpu_s)
        if broken is not None:
            self._rules = None
            self._take_back(broken)

    def _take_back(self, broken: Broken) -> None:
        """Serve the model before again, from memory, with the next chunk."""
        left, target = self._scorer.pipeline, self._before
        assert left is not None
        if target is None or self._taken_back.is_held_down:
            why = (
                "no version before it is known"
                if target is None
                else "a roll back was made less than swap.hold_down_s ago"
            )
            log.error("rollback_held_down", model=self._health.model, rule=broken.sentence, why=why)
            sentence = f"{broken.sentence}; not rolled back: {why}"
            self._problem = (time.monotonic(), left.model.version, sentence)
            return
        self._before = None
        self._metrics.rollbacks.labels(broken.rule).inc()
        log.error(
            "model_rolled_back",
            model=left.model.name,
            left=left.model.version,
            to=target.model.version,
            rule=broken.rule,
            reason=broken.sentence,
        )
        self._tell_news(None)
        self._install(self.with_choice_of_now(target))
        self._taken_back.note(left.model, target.model, broken, seen=self.watch.seen)
        self.watch.took(target.model)
        self.add_future(self._taken_back.settle())

    def with_choice_of_now(self, pipeline: Pipeline) -> Pipeline:
        """Return a pipeline with the threshold that is asked for now; a millisecond."""
        try:
            return self._pipeline(pipeline.model, self.thresholds.choice)
        except ConfigError:
            return pipeline  # it cannot vouch for that rate: with the threshold that it had
