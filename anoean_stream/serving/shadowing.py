"""The candidate beside the champion: the same chunks, the same thread, after the verdict was handed on.

Whatever the candidate does (an exception, an hour for a chunk's head), the champion's verdicts are on
their way before it begins, and `anoean_stream.compare.shadow.Shadow` bounds its time.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from mode import Service

from anoean_stream.compare.shadow import Shadow
from anoean_stream.detector.bundle import ServedModel
from anoean_stream.errors import BundleError, RegistryError
from anoean_stream.observe.metrics import Metrics
from anoean_stream.pipeline import Pipeline
from anoean_stream.records.shadowreport import ShadowReport
from anoean_stream.records.times import rfc3339
from anoean_stream.records.workerreport import ScoreDistribution
from anoean_stream.registry.registry import Registry
from anoean_stream.registry.watch import ModelWatch
from anoean_stream.serving.audit import Trail
from anoean_stream.serving.scorer import Judged, Scorer
from anoean_stream.settings import Settings

log: Final = structlog.get_logger("anoean.app")


class Shadowing(Service):
    """Follows the alias of the shadow, compares, and reports. Lives on the event loop but for `aside`.

    Parameters
    ----------
    settings : Settings
        ``shadow.*``, and the alias of the champion.
    registry : Registry
        Where the candidate stands.
    prepare : callable
        Checks a candidate as if it were to serve; in the loading thread.
    renew : callable
        Gives a pipeline the threshold that is asked for now.
    scorer : Scorer
        The thread to compare in, and the champion.
    metrics : Metrics
        What learns of it.
    trail : Trail
        The audit topic.
    on_change : callable
        Called when another candidate is compared, or none.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        *,
        prepare: Callable[[ServedModel], Pipeline],
        renew: Callable[[Pipeline], Pipeline],
        scorer: Scorer,
        metrics: Metrics,
        trail: Trail,
        on_change: Callable[[], None],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._settings = settings.shadow
        self._alias = settings.shadow.alias
        self._renew = renew
        self._scorer = scorer
        self._metrics = metrics
        self._trail = trail
        self._on_change = on_change
        self._shadow: Shadow | None = None
        self._began = datetime.now(tz=UTC)
        self.candidate: Pipeline | None = None
        self.watch = (
            None
            if self._alias is None
            else ModelWatch[Pipeline](
                registry,
                name=settings.model.name,
                alias=self._alias,
                prepare=prepare,
                on_model=self._take,
                on_refused=self._refused,
                on_absent=self._absent,
            )
        )

    async def look(self) -> None:
        """Look at the alias once."""
        if self.watch is not None:
            await self.watch.poll_now()

    def champion_changed(self) -> None:
        """Compare with another champion, or with another threshold of both, from now on."""
        if self.candidate is not None:
            self.candidate = self._renew(self.candidate)
        self._begin()

    def distribution(self) -> ScoreDistribution | None:
        """Return the candidate's scores; a sample (``shadow.sample_share``) of the traffic."""
        shadow, candidate = self._shadow, self.candidate
        if shadow is None or candidate is None:
            return None
        bins = dict(shadow.candidate_scores.counts)
        now = datetime.now(tz=UTC)
        return ScoreDistribution(
            version=candidate.model.version,
            since=rfc3339(self._began),
            until=rfc3339(now),
            seconds=(now - self._began).total_seconds(),
            records=sum(bins.values()),
            bins=bins,
        )

    def aside(self, judged: Judged) -> None:
        """Compare a chunk, if it is one of the sample and there is time. Scoring thread."""
        shadow = self._shadow
        if shadow is None or shadow.champion is not judged.pipeline:
            return
        try:
            shadow.consider(judged.verdict, cpu_s=judged.cpu_s)
        except Exception as error:
            # The guard of the champion: a bug in comparing must not end a worker that scores well.
            self._shadow = None
            log.exception("shadow_failed", candidate=shadow.candidate.model.version)
            self._trail.tell(
                "shadow_stopped",
                alias=self._alias,
                to_version=shadow.candidate.model.version,
                reason=f"comparing failed: {type(error).__name__}: {error}",
            )

    # ------------------------------------------------------------------ the candidate

    def _take(self, pipeline: Pipeline) -> None:
        before, self.candidate = self.candidate, pipeline
        log.info("shadow_in_use", candidate=pipeline.model.version)
        self._trail.tell(
            "shadow_started",
            alias=self._alias,
            from_version=None if before is None else before.model.version,
            to_version=pipeline.model.version,
            detail={"threshold": pipeline.shown_threshold},
        )
        self._begin()

    def _absent(self) -> None:
        if self.candidate is None:
            return
        before, self.candidate = self.candidate, None
        log.info("shadow_gone", candidate=before.model.version)
        self._begin()
        self._trail.tell(
            "shadow_stopped",
            alias=self._alias,
            from_version=before.model.version,
            reason=f"the alias {self._alias} is gone",
        )

    def _refused(self, name: str, version: str | None, error: BundleError | RegistryError) -> None:
        if version is None:
            return  # the store is away: the champion's watch says so
        self._metrics.model_refused.inc()
        log.warning("shadow_refused", model=name, version=version, reason=str(error))
        self._trail.tell(
            "refused",
            alias=self._alias,
            to_version=version,
            reason=str(error),
            detail={"kind": type(error).__name__},
        )

    def _begin(self) -> None:
        """Compare anew: another champion, another candidate, or another threshold."""
        left, self._shadow = self._shadow, None
        if left is not None:
            self._scorer.use_thread(self._publish, left)
        champion, candidate = self._scorer.pipeline, self.candidate
        self._on_change()
        if champion is None or candidate is None:
            return
        if champion.model.version == candidate.model.version:
            log.info("shadow_is_champion", version=candidate.model.version)
            return
        self._began = datetime.now(tz=UTC)
        self._shadow = Shadow(champion, candidate, settings=self._settings, seed=0)

    # ------------------------------------------------------------------ reports

    @Service.task
    async def _report(self) -> None:
        while not self.should_stop:
            await self.sleep(self._settings.report_interval_s)
            shadow = self._shadow
            if shadow is not None:
                await asyncio.wrap_future(self._scorer.use_thread(self._publish, shadow))

    async def on_stop(self) -> None:
        """Report what was compared since the last report."""
        shadow, self._shadow = self._shadow, None
        if shadow is not None:
            await asyncio.wait_for(
                asyncio.wrap_future(self._scorer.use_thread(self._publish, shadow)), timeout=1.0
            )

    def _publish(self, shadow: Shadow) -> None:
        """Write a report of what was compared since the last one. Scoring thread."""
        report = shadow.take_report(datetime.now(tz=UTC))
        if report is None:
            return
        self._count(report)
        self._trail.tell(
            "shadow_report",
            alias=self._alias,
            from_version=report.champion,
            to_version=report.candidate,
            detail=report.to_detail(),
        )

    def _count(self, report: ShadowReport) -> None:
        metrics = self._metrics
        metrics.shadow_records.inc(report.records)
        metrics.shadow_alerts.labels("champion").inc(report.champion_alerts)
        metrics.shadow_alerts.labels("candidate").inc(report.candidate_alerts)
        metrics.shadow_alerts.labels("both").inc(report.both_alerts)
        metrics.shadow_dead.inc(report.candidate_dead)
        metrics.shadow_left_out.inc(report.chunks_left_out)
        if report.rank_correlation is not None:
            metrics.shadow_correlation.set(report.rank_correlation)
        for who, quantiles in (
            ("champion", report.champion_quantiles),
            ("candidate", report.candidate_quantiles),
        ):
            for quantile, score in quantiles.items():
                metrics.shadow_score.labels(who, quantile).set(score)
