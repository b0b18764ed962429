"""Every setting: name, type, bounds, default and the comment that config.yaml shows.

The models are frozen and refuse unknown keys. `anoean_stream.configfile` merges the sources
(defaults < file < environment < ``--set``) and says where each value came from;
`anoean_stream.configdocs` writes config.yaml from this package, so a description here is
documentation there (choices and bounds are added to it, no need to repeat them).

What two settings must fulfil together is checked here too, in ``model_validator`` methods that
raise `cross_check`, so that a message names every setting involved and where it was set.
"""

from typing import Self

from pydantic import model_validator

from anoean_stream.settings.broker import (
    BrokerSettings,
)
from anoean_stream.settings.models import (
    GateSettings,
    ModelSettings,
    RegistrySettings,
    ShadowSettings,
    SwapSettings,
)
from anoean_stream.settings.section import (
    Section,
    check_one_place,
    cross_check,
)
from anoean_stream.settings.training import (
    TrainingSettings,
)
from anoean_stream.settings.wire import (
    ConsumerSettings,
    ProducerSettings,
    TopicSettings,
)
from anoean_stream.settings.worker import (
    AlertSettings,
    LoggingSettings,
    OverloadSettings,
    ScoringSettings,
    WebSettings,
    WorkerSettings,
)

__all__ = [
    "AlertSettings",
    "BrokerSettings",
    "ConsumerSettings",
    "GateSettings",
    "LoggingSettings",
    "ModelSettings",
    "OverloadSettings",
    "ProducerSettings",
    "RegistrySettings",
    "ScoringSettings",
    "Section",
    "Settings",
    "ShadowSettings",
    "SwapSettings",
    "TopicSettings",
    "TrainingSettings",
    "WebSettings",
    "WorkerSettings",
    "check_one_place",
    "cross_check",
]


class Settings(Section):
    """All sections."""

    broker: BrokerSettings = BrokerSettings()
    consumer: ConsumerSettings = ConsumerSettings()
    producer: ProducerSettings = ProducerSettings()
    topics: TopicSettings = TopicSettings()
    model: ModelSettings = ModelSettings()
    registry: RegistrySettings = RegistrySettings()
    swap: SwapSettings = SwapSettings()
    shadow: ShadowSettings = ShadowSettings()
    gate: GateSettings = GateSettings()
    scoring: ScoringSettings = ScoringSettings()
    alerts: AlertSettings = AlertSettings()
    worker: WorkerSettings = WorkerSettings()
    overload: OverloadSettings = OverloadSettings()
    web: WebSettings = WebSettings()
    logging: LoggingSettings = LoggingSettings()
    training: TrainingSettings = TrainingSettings()

    @model_validator(mode="after")
    def _exactly_once_reads_committed(self) -> Self:
        # An offset in an open transaction must not be passed over: read_uncommitted would hand the
        # next owner of a partition the offset before it, and its records would alert twice.
        level = self.consumer.options.get("isolation.level", self.consumer.isolation_level)
        if self.producer.delivery == "exactly_once" and level != "read_committed":
            raise cross_check(
                f"producer.delivery exactly_once needs consumer.isolation_level read_committed, "
                f"found {level}; set it so, or take at_least_once",
                "producer.delivery",
                "consumer.isolation_level",
            )
        return self
