"""What the commands about thresholds look at: the model's versions, the choice, the live traffic."""

from datetime import UTC, datetime
from functools import cached_property

from anoean_stream.cli.threshold_traffic import Traffic
from anoean_stream.cli.worker_reports import live_reports, try_workers
from anoean_stream.detector.bundle import Bundle
from anoean_stream.detector.threshold import Threshold, ThresholdChoice, work_out
from anoean_stream.errors import BrokerError, ConfigError, ModelNotFoundError
from anoean_stream.records.workerreport import WorkerReport
from anoean_stream.registry import CHAMPION, Registry
from anoean_stream.settings import Settings


class ThresholdStage:
    """One model, its champion and shadow, and the live workers of the group.

    Aliases are read at once, workers and bundles when they are asked for.

    Parameters
    ----------
    settings : Settings
        All of them.
    registry : Registry
        The registry.
    model : str
        Name of the model.

    Raises
    ------
    ModelNotFoundError
        When there is no such model, or it has no champion.
    RegistryError
        When the registry cannot be read.
    """

    def __init__(self, settings: Settings, registry: Registry, model: str) -> None:
        self.settings = settings
        self.model = model
        self.champion = registry.alias_version(model, CHAMPION)
        self.shadow = _shadow(settings, registry, model)
        self._registry = registry
        self._bundles: dict[str, Bundle] = {}

    @cached_property
    def _workers(self) -> tuple[list[WorkerReport], BrokerError | ConfigError | None]:
        workers, why_not = try_workers(self.settings, self.model)
        group = self.settings.consumer.group_id
        return live_reports(workers, now=datetime.now(tz=UTC), group=group), why_not

    @property
    def live(self) -> list[WorkerReport]:
        """Reports of the live workers of the group."""
        return self._workers[0]

    @property
    def workers_unknown(self) -> BrokerError | ConfigError | None:
        """Why the workers are not known; None when they are."""
        return self._workers[1]

    def work_out(self, choice: ThresholdChoice | None, version: str) -> Threshold:
        """Return what a choice comes to for a version, as a worker with these settings works it out.

        Raises
        ------
        BundleError
            When the version cannot be loaded.
        ConfigError
            When its calibration cannot vouch for the rate.
        """
        if version not in self._bundles:
            self._bundles[version] = self._registry.load(self.model, version)
        bundle = self._bundles[version]
        return work_out(
            choice,
            version=version,
            calibration=bundle.detector.calibration,
            model_rate=bundle.manifest.false_positive_rate,
            model_threshold=bundle.manifest.threshold,
            settings_rate=self.settings.scoring.false_positive_rate,
        )

    def traffic(self) -> Traffic:
        """Return the scores that the champion gave to live traffic."""
        return Traffic.of(self.champion, (report.scores for report in self.live))

    def counted_traffic(self) -> Traffic:
        """Return `traffic`, of which there is some.

        Raises
        ------
        BrokerError, ConfigError
            When no live worker reported any, or nobody can be asked.
        """
        if (error := self.workers_unknown) is not None:
            message = f"what scores the traffic gets is not known: {error}"
            raise type(error)(message) from error
        traffic = self.traffic()
        if not traffic.n_records:
            message = (
                f"no live worker of group {self.settings.consumer.group_id!r} has reported scores of "
                f"version {self.champion}; look at `anoean models status`, and wait for the next report"
            )
            raise ConfigError(message)
        return traffic

    def shadow_traffic(self) -> Traffic | None:
        """Return those of the shadow, a sample of the traffic; None without one."""
        if self.shadow is None:
            return None
        return Traffic.of(self.shadow, (report.shadow_scores for report in self.live))


def _shadow(settings: Settings, registry: Registry, model: str) -> str | None:
    if settings.shadow.alias is None:
        return None
    try:
        return registry.alias_version(model, settings.shadow.alias)
    except ModelNotFoundError:
        return None
