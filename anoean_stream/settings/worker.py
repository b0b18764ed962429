"""The worker process: scoring, alerts, overload, pages, log."""

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from anoean_stream.settings.section import Section, check_one_place, cross_check


class ScoringSettings(Section):
    """How a score becomes a decision."""

    false_positive_rate: float | None = Field(None, gt=0, le=1)
    """share of normal records that may raise an alert; null takes the rate the model was trained for"""
    max_record_bytes: int = Field(1_048_576, ge=16, le=1_000_000_000)
    """larger records are dead letters, in bytes"""
    dead_ratio_limit: float | None = Field(0.9, ge=0, le=1)
    """share of dead records in the window at which the worker stops: the input or a setting is wrong; null or 0 never"""
    dead_ratio_window: int = Field(10_000, ge=1000, le=100_000_000)
    """records of one worker over which that share is taken; fewer are not judged"""
    dead_run_limit: int | None = Field(10_000, ge=0, le=1_000_000_000)
    """dead records one after the other at which the worker stops; null or 0 never"""
    blas_threads: int = Field(1, ge=1, le=256)
    """threads of one worker's matrix library; more cores are better used by more workers"""


class AlertSettings(Section):
    """What an alert carries."""

    top_features: int = Field(5, ge=0, le=100)
    """features named in the explanation of an alert"""
    original_max_bytes: int = Field(65536, ge=0, le=100_000_000)
    """larger original records are left out of the alert (their topic, partition and offset stay), in bytes"""


class WorkerSettings(Section):
    """The process."""

    id: str | None = None
    """name of this worker in alerts and metrics; null takes host:process"""
    shutdown_deadline_s: float = Field(30.0, ge=1, le=3600)
    """seconds for an orderly stop before the process ends by force"""
    liveness_timeout_s: float = Field(30.0, ge=1, le=3600)
    """/live fails when the event loop, the poll thread or one chunk's scoring stood still for so many seconds"""
    stall_timeout_s: float = Field(300.0, ge=1, le=86400)
    """/live fails when brokers that are connected left a delivery unanswered, or no chunk was acknowledged while records wait, for so many seconds"""
    rebalance_timeout_s: float = Field(600.0, ge=1, le=86400)
    """/live fails when joining the group took so many seconds; give more than consumer.max_poll_interval_s, the time that the group may wait for another worker"""
    stall_grace_s: float = Field(60.0, ge=0, le=86400)
    """seconds from a failing /live until the worker ends itself with exit code 6"""
    report_interval_s: float = Field(10.0, ge=0.5, le=3600)
    """seconds between two reports on topics.workers; one that is silent for three of them counts as gone"""


class OverloadSettings(Section):
    """What to do when records come faster than they can be scored."""

    policy: Literal["wait", "sample"] = "wait"
    """wait scores every record, however late; sample drops some beyond the limits below, counts them and says so on the alerts topic"""
    max_lag_records: int | None = Field(1_000_000, ge=1)
    """sample when this worker's partitions have more unread records than this, until half of it; null: no limit"""
    max_age_s: float | None = Field(None, gt=0)
    """sample when the next record is older than so many seconds (by its Kafka timestamp), until half of it; null: no limit"""
    sample_share: float = Field(0.1, gt=0, lt=1)
    """share of records still scored while sampling; which ones depends on partition and offset only"""

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if self.policy == "sample" and self.max_lag_records is None and self.max_age_s is None:
            raise cross_check(
                "policy sample needs max_lag_records or max_age_s: without a limit it never begins",
                "policy",
                "max_lag_records",
                "max_age_s",
            )
        return self


class WebSettings(Section):
    """Health and metrics."""

    enabled: bool = True
    """serve /live, /ready and /metrics"""
    host: str = "127.0.0.1"
    """address to listen on; 0.0.0.0 for all (then with tls_* and bearer_token)"""
    port: int = Field(6066, ge=0, le=65535)
    """port to listen on; 0 takes a free one and logs it"""
    tls_certificate: str | None = None
    """PEM file of the server's certificate and its chain; null serves without TLS"""
    tls_key: str | None = None
    """PEM file of the server's key"""
    tls_key_password: SecretStr | None = None
    """password of the server's key"""
    tls_key_password_file: str | None = None
    """file that holds the password of the server's key, instead of tls_key_password"""
    bearer_token: SecretStr | None = Field(None, min_length=16)
    """whoever wants /metrics, or reasons from /live and /ready, must show it; null asks nobody"""
    bearer_token_file: str | None = None
    """file that holds the token, instead of bearer_token"""

    @model_validator(mode="after")
    def _tls_and_token_are_complete(self) -> Self:
        check_one_place(self, "tls_key_password", "bearer_token")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise cross_check(
                "tls_certificate and tls_key belong together; set both or none",
                "tls_certificate",
                "tls_key",
            )
        for key in ("tls_key_password", "tls_key_password_file"):
            if getattr(self, key) is not None and self.tls_key is None:
                raise cross_check(f"{key} would not be used without tls_key", key, "tls_key")
        return self


class LoggingSettings(Section):
    """What is said, and how."""

    format: Literal["auto", "pretty", "json"] = "auto"
    """auto is pretty on a terminal, JSON otherwise"""
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """least severe lines that are shown"""
