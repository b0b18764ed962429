"""Which model decides, what it must show before, and what is watched afterwards."""

from pydantic import Field

from anoean_stream.settings.section import Section


class ModelSettings(Section):
    """Which model decides."""

    name: str = Field(
        "anoean", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", examples=["edge-flows"]
    )
    """name of the model in the registry"""
    alias: str = Field("champion", pattern=r"^[a-z][a-z0-9_-]{0,49}$", examples=["champion"])
    """alias that names the version to serve"""


class RegistrySettings(Section):
    """Where models are kept."""

    url: str = Field("models", min_length=1)
    """folder or URL of the registry (models, file:///srv/models, s3://bucket/models, mlflow+https://host:5000)"""
    poll_interval_s: float = Field(10.0, ge=0.1, le=86400)
    """seconds between looks for a newer version"""
    poll_jitter: float = Field(0.1, ge=0, le=0.9)
    """random part of poll_interval_s, so that workers do not look all at once"""
    trusted_keys: tuple[str, ...] = Field(
        (), max_length=100, examples=["[/etc/anoean/models.pub.pem]"]
    )
    """public keys (base64 or PEM file) of which one must have signed a model; empty serves unsigned ones too"""
    keep_versions: int = Field(10, ge=1, le=100_000)
    """newest versions that `anoean models gc` keeps, besides all that an alias names or that were champion last"""
    disagree_after_s: float = Field(60.0, ge=1, le=86400)
    """seconds after which workers that serve another version than the alias names are a problem"""


class SwapSettings(Section):
    """What a new model must show before it serves, and what takes it back afterwards."""

    latency_budget_us: float = Field(200.0, gt=0, le=1_000_000)
    """most CPU time for a record, in microseconds, on the warm-up batch and while it is watched; above 200 one core scores fewer than 5000 records a second"""
    watch_s: float = Field(600.0, ge=0, le=86400)
    """seconds for which a new model is watched after it was taken into use; 0 never rolls back by itself"""
    watch_min_records: int = Field(2000, ge=100, le=100_000_000)
    """records of one worker before its alert rate or its dead letters are judged"""
    alert_rate_factor: float = Field(10.0, gt=1, le=1_000_000)
    """roll back when the alert rate is above so many times the budget, and above so many times what it was before"""
    contract_dead_share: float = Field(0.05, gt=0, le=1)
    """roll back when a larger share of records does not fit the model's feature contract, and it did fit the one before"""
    hold_down_s: float = Field(900.0, ge=0, le=604800)
    """seconds after an automatic roll back in which that version is not taken again, and none is rolled back by itself"""


class ShadowSettings(Section):
    """How the version that the alias shadow names is compared with the champion."""

    alias: str | None = Field("shadow", pattern=r"^[a-z][a-z0-9_-]{0,49}$", examples=["shadow"])
    """alias of the version to compare; null compares none"""
    sample_share: float = Field(0.25, gt=0, le=1)
    """share of chunks that the shadow scores too"""
    time_share: float = Field(0.25, gt=0, le=10)
    """most time for the shadow, as a share of the champion's scoring time; beyond it chunks are left out"""
    report_interval_s: float = Field(60.0, ge=0.5, le=86400)
    """seconds between two reports on topics.audit"""
    examples: int = Field(5, ge=0, le=100)
    """most examples in a report of each kind of disagreement"""


class GateSettings(Section):
    """What `anoean models promote` asks of a version before it becomes champion."""

    offline: bool = True
    """compare it with the champion on the model's evaluation set (`anoean models evaluation`)"""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """confidence of the interval of the difference (paired bootstrap); refused when all of it is below 0"""
    bootstrap_samples: int = Field(1000, ge=100, le=100_000)
    """resamples of the evaluation set"""
    min_anomalies: int = Field(30, ge=2, le=10_000_000)
    """anomalies that the evaluation set must have, and normals as well, to tell anything"""
    online: bool = True
    """compare it with the champion on live traffic, by its shadow reports on topics.audit"""
    min_shadow_records: int = Field(10_000, ge=1, le=1_000_000_000)
    """records that both must have scored, over all workers"""
    alert_rate_ratio_max: float = Field(2.0, gt=1, le=1_000_000)
    """most that the alert rate may grow, or shrink, as a factor"""
    overlap_min: float = Field(0.3, ge=0, le=1)
    """least share of alerts, of either, that both raise; asked when there are min_shadow_alerts"""
    min_shadow_alerts: int = Field(20, ge=1, le=1_000_000)
    """alerts, of either, below which rate and overlap are not judged"""
    dead_share_max: float = Field(0.001, ge=0, le=1)
    """most records that the champion scored and the candidate cannot, as a share"""
