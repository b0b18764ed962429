"""Every setting: name, type, bounds, default and the comment that config.yaml shows.

The models are frozen and refuse unknown keys. `anoean_stream.configfile` merges the sources
(defaults < file < environment < ``--set``) and says where each value came from;
`anoean_stream.configdocs` writes config.yaml from this module, so a description here is
documentation there (choices and bounds are added to it, no need to repeat them).

What two settings must fulfil together is checked here too, in ``model_validator`` methods that
raise `cross_check`, so that a message names every setting involved and where it was set.
"""

import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError


def cross_check(message: str, *keys: str) -> PydanticCustomError:
    """Make the error of a combination that cannot work.

    Parameters
    ----------
    message : str
        What is wrong, values seen, what to do.
    *keys : str
        The settings involved, ``key`` within the section, or ``section.key``.
    """
    return PydanticCustomError("cross_check", "{message}", {"message": message, "keys": keys})


def check_one_place(section: "Section", *keys: str) -> None:
    """Refuse a secret that is given twice, as ``<key>`` and as ``<key>_file``."""
    for key in keys:
        if getattr(section, key) is not None and getattr(section, f"{key}_file") is not None:
            raise cross_check(f"{key} and {key}_file are both set; remove one", key, f"{key}_file")


class Section(BaseModel):
    """What all sections share: immutable, nothing unknown, defaults validated, numbers finite."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        # pydantic would print what it was given, secrets too; our own messages show what may be shown.
        hide_input_in_errors=True,
    )


_SERVERS = r"^\s*[^\s,;]+:[0-9]{1,5}\s*(,\s*[^\s,;]+:[0-9]{1,5}\s*)*$"
"""host:port, or several with commas between; IPv6 addresses stand in brackets."""


class BrokerSettings(Section):
    """How to reach Kafka."""

    bootstrap_servers: str = Field(
        "127.0.0.1:9092", pattern=_SERVERS, examples=["kafka-1:9092,kafka-2:9092"]
    )
    """host:port of one or more brokers, separated by commas"""
    client_id: str = "anoean"
    """name of this client in the broker's logs and quotas"""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """whether the connection is encrypted (SSL) and how we log in (SASL)"""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    """how we log in; needed with SASL_*"""
    sasl_username: str | None = None
    """user for PLAIN and SCRAM"""
    sasl_password: SecretStr | None = None
    """password for PLAIN and SCRAM; better in ANOEAN__BROKER__SASL_PASSWORD, or in a file of its own"""
    sasl_password_file: str | None = None
    """file that holds the password, instead of sasl_password"""
    sasl_oauth_token_url: str | None = Field(
        None, pattern=r"^https?://[^\s/]+\S*$", examples=["https://login.example.org/token"]
    )
    """token endpoint for OAUTHBEARER (OpenID Connect, client credentials)"""
    sasl_oauth_client_id: str | None = Field(None, min_length=1)
    """client id at the token endpoint"""
    sasl_oauth_client_secret: SecretStr | None = None
    """client secret at the token endpoint"""
    sasl_oauth_client_secret_file: str | None = None
    """file that holds the client secret, instead of sasl_oauth_client_secret"""
    sasl_oauth_scope: str | None = Field(None, min_length=1)
    """scope to ask for; null asks for none"""
    sasl_oauth_extensions: dict[str, str] = Field(default_factory=dict)
    """further names and values that the broker gets with the token"""
    sasl_oauth_ca_location: str | None = None
    """PEM file of the authorities to trust at the token endpoint; null takes the system's"""
    ssl_ca_location: str | None = None
    """PEM file of the authorities to trust; null takes the system's"""
    ssl_certificate_location: str | None = None
    """PEM file of the client's certificate, for mutual TLS"""
    ssl_key_location: str | None = None
    """PEM file of the client's key"""
    ssl_key_password: SecretStr | None = None
    """password of the client's key"""
    ssl_key_password_file: str | None = None
    """file that holds the password of the client's key, instead of ssl_key_password"""
    connect_timeout_s: float = Field(20.0, ge=1, le=600)
    """seconds for the first contact at the start; without an answer the process ends (exit code 4)"""
    request_timeout_s: float = Field(30.0, gt=0, le=600)
    """seconds to wait for the answer to one request (metadata, commit)"""

    @model_validator(mode="after")
    def _secrets_stand_in_one_place(self) -> Self:
        check_one_place(self, "sasl_password", "sasl_oauth_client_secret", "ssl_key_password")
        return self

    @model_validator(mode="after")
    def _login_is_complete(self) -> Self:
        login: tuple[str, ...] = (
            "sasl_mechanism", "sasl_username", "sasl_password", "sasl_password_file",
        )  # fmt: skip
        oauth = (
            "sasl_oauth_token_url", "sasl_oauth_client_id", "sasl_oauth_client_secret",
            "sasl_oauth_client_secret_file", "sasl_oauth_scope", "sasl_oauth_extensions",
            "sasl_oauth_ca_location",
        )  # fmt: skip
        protocol, mechanism = self.security_protocol, self.sasl_mechanism
        if not protocol.startswith("SASL_"):
            self._refuse_unused(
                (*login, *oauth),
                f"with security_protocol {protocol}; expected SASL_SSL or SASL_PLAINTEXT",
                "security_protocol",
            )
        elif mechanism == "OAUTHBEARER":
            self._require(oauth[:2], "sasl_oauth_client_secret", "sasl_mechanism OAUTHBEARER")
            self._refuse_unused(login[1:], "with sasl_mechanism OAUTHBEARER", "sasl_mechanism")
        else:
            self._require(login[:2], "sasl_password", f"security_protocol {protocol}")
            self._refuse_unused(
                oauth, f"with sasl_mechanism {mechanism}; expected OAUTHBEARER", "sasl_mechanism"
            )
        return self

    @model_validator(mode="after")
    def _extensions_can_be_sent(self) -> Self:
        # RFC 7628 and KIP-342; librdkafka separates them by commas.
        for name, value in self.sasl_oauth_extensions.items():
            if not re.fullmatch(r"[A-Za-z]+", name) or name == "auth":
                raise cross_check(
                    f"sasl_oauth_extensions has the name {name!r}; expected letters only, not 'auth'",
                    "sasl_oauth_extensions",
                )
            if not re.fullmatch(r"[\x21-\x2b\x2d-\x7e]+", value):
                raise cross_check(
                    f"sasl_oauth_extensions.{name} has a value that cannot be sent; expected printable "
                    "ASCII without blanks and commas",
                    "sasl_oauth_extensions",
                )
        return self

    @model_validator(mode="after")
    def _certificates_are_complete(self) -> Self:
        if (self.ssl_certificate_location is None) != (self.ssl_key_location is None):
            raise cross_check(
                "ssl_certificate_location and ssl_key_location belong together; set both or none",
                "ssl_certificate_location",
                "ssl_key_location",
            )
        # Whether the files exist is seen when connecting: a configuration may be checked on
        # another machine than the one that holds the keys.
        if not self.security_protocol.endswith("SSL"):
            self._refuse_unused(
                ("ssl_ca_location", "ssl_certificate_location", "ssl_key_location"),
                f"with security_protocol {self.security_protocol}; expected SSL or SASL_SSL",
                "security_protocol",
            )
        if self.ssl_key_location is None:
            self._refuse_unused(
                ("ssl_key_password", "ssl_key_password_file"),
                "without ssl_key_location",
                "ssl_key_location",
            )
        return self

    def _require(self, keys: tuple[str, ...], secret: str, chosen: str) -> None:
        """Refuse a login with something missing; its secret may stand in a file instead."""
        missing = [key for key in keys if getattr(self, key) is None]
        names = list(missing)
        if getattr(self, secret) is None and getattr(self, f"{secret}_file") is None:
            missing.append(secret)
            names.append(f"{secret} (or {secret}_file)")
        if missing:
            by = "security_protocol" if "protocol" in chosen else "sasl_mechanism"
            raise cross_check(f"{chosen} needs {' and '.join(names)} too", by, *missing)

    def _refuse_unused(self, keys: tuple[str, ...], why: str, by: str) -> None:
        """Refuse what would be ignored: whoever set it believes that it works."""
        unused = [key for key in keys if getattr(self, key) not in (None, {})]
        if unused:
            raise cross_check(f"{' and '.join(unused)} would not be used {why}", by, *unused)


class ConsumerSettings(Section):
    """How records are read."""

    group_id: str = Field("anoean", min_length=1)
    """consumer group; workers of one group share the partitions"""
    group_instance_id: str | None = None
    """fixed name of this worker in the group (static membership); null gives it a new one each start"""
    group_protocol: Literal["classic", "consumer"] = "classic"
    """consumer is KIP-848 (Kafka 4; session timeout and heartbeat are then the broker's)"""
    assignment_strategy: Literal["range", "roundrobin", "cooperative-sticky"] = "cooperative-sticky"
    """how partitions are shared out; classic protocol only"""
    auto_offset_reset: Literal["earliest", "latest"] = "earliest"
    """where a group without committed offsets begins"""
    isolation_level: Literal["read_committed", "read_uncommitted"] = "read_committed"
    """read_committed skips records of aborted transactions"""
    session_timeout_s: float = Field(45.0, ge=1, le=1800)
    """seconds without a heartbeat before the group takes this worker's partitions away"""
    heartbeat_interval_s: float = Field(3.0, gt=0, le=600)
    """seconds between heartbeats; at most a third of session_timeout_s"""
    max_poll_interval_s: float = Field(300.0, ge=1, le=86400)
    """seconds without a poll before the client leaves the group by itself"""
    chunk_max_records: int = Field(8000, ge=1, le=100_000)
    """most records taken from the prefetch at once; those of one partition are scored together"""
    chunk_linger_s: float = Field(0.002, ge=0, le=1)
    """seconds to gather more records after the first one of a chunk"""
    chunks_in_flight: int = Field(4, ge=1, le=1000)
    """fetched batches that may wait for the detector; then the consumer pauses"""
    queued_max_kbytes: int = Field(65536, ge=1024, le=2_097_151)
    """memory for prefetched records, in kilobytes"""
    queued_min_messages: int = Field(20000, ge=1, le=10_000_000)
    """records to prefetch per partition, within queued_max_kbytes"""
    fetch_wait_max_s: float = Field(0.1, ge=0, le=300)
    """seconds the broker may hold a fetch that has too little to return"""
    commit_interval_s: float = Field(1.0, gt=0, le=600)
    """seconds between commits of the offsets that were acknowledged"""
    options: dict[str, str] = Field(default_factory=dict)
    """further librdkafka consumer settings, by librdkafka's names"""

    @model_validator(mode="after")
    def _timeouts_fit(self) -> Self:
        # A group member is given up after one session timeout; three heartbeats must fit into it,
        # or one lost packet costs a rebalance.
        if self.heartbeat_interval_s > self.session_timeout_s / 3:
            raise cross_check(
                f"heartbeat_interval_s {self.heartbeat_interval_s:g} is more than a third of "
                f"session_timeout_s {self.session_timeout_s:g}; "
                f"expected at most {self.session_timeout_s / 3:g}",
                "heartbeat_interval_s",
                "session_timeout_s",
            )
        if self.max_poll_interval_s < self.session_timeout_s:
            raise cross_check(
                f"max_poll_interval_s {self.max_poll_interval_s:g} is less than "
                f"session_timeout_s {self.session_timeout_s:g}; librdkafka refuses that",
                "max_poll_interval_s",
                "session_timeout_s",
            )
        return self


class ProducerSettings(Section):
    """How alerts and dead letters are written (always idempotent, acks=all)."""

    delivery: Literal["at_least_once", "exactly_once"] = "at_least_once"
    """exactly_once writes alerts, dead letters and offsets in Kafka transactions (docs/exactly-once.md)"""
    transaction_timeout_s: float = Field(30.0, ge=1, le=900)
    """seconds until the brokers abort a transaction whose worker died; exactly_once only"""
    linger_s: float = Field(0.005, ge=0, le=60)
    """seconds to gather records into one request"""
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "lz4"
    """how batches are compressed"""
    delivery_timeout_s: float = Field(60.0, ge=1, le=3600)
    """seconds until a record that no broker acknowledged counts as failed and is sent again"""
    message_max_bytes: int = Field(2_097_152, ge=1000, le=1_000_000_000)
    """largest record to write, in bytes; not above the topic's max.message.bytes"""
    queue_max_kbytes: int = Field(65536, ge=1024, le=2_097_151)
    """memory for records that wait for the brokers, in kilobytes; then the sender waits"""
    options: dict[str, str] = Field(default_factory=dict)
    """further librdkafka producer settings, by librdkafka's names"""

    @model_validator(mode="after")
    def _largest_record_fits(self) -> Self:
        if self.queue_max_kbytes * 1024 < self.message_max_bytes:
            raise cross_check(
                f"queue_max_kbytes {self.queue_max_kbytes} holds no record of message_max_bytes "
                f"{self.message_max_bytes}; expected at least {-(-self.message_max_bytes // 1024)}",
                "queue_max_kbytes",
                "message_max_bytes",
            )
        return self


_TOPIC = r"^[a-zA-Z0-9._-]{1,249}$"
"""What Kafka takes as the name of a topic."""


class TopicSettings(Section):
    """Names of the topics; they are created by deployment, or with `anoean topics create`."""

    input: str = Field("flows", pattern=_TOPIC, examples=["site-1.flows"])
    """records to score, one JSON object a message"""
    alerts: str = Field("anomalies", pattern=_TOPIC, examples=["site-1.flows"])
    """alerts, one JSON object a message"""
    dead_letters: str = Field("anomalies.dlq", pattern=_TOPIC, examples=["site-1.flows"])
    """records that could not be scored: original bytes, reason and origin"""
    audit: str | None = Field("anomaly-audit", pattern=_TOPIC, examples=["site-1.audit"])
    """what was done with models, by whom and why, and shadow reports; null: said in the log only"""
    control: str | None = Field("anomaly-control", pattern=_TOPIC, examples=["site-1.control"])
    """tells workers to look at the registry at once; null: they look every registry.poll_interval_s"""
    workers: str | None = Field("anomaly-workers", pattern=_TOPIC, examples=["site-1.workers"])
    """what each worker serves, and the scores it sees; null: `anoean models status` knows nothing"""

    @model_validator(mode="after")
    def _topics_differ(self) -> Self:
        # A worker that writes where it reads would score its own alerts, without end.
        keys = [key for key in type(self).model_fields if getattr(self, key) is not None]
        for place, key in enumerate(keys):
            for other in keys[:place]:
                if getattr(self, key) == getattr(self, other):
                    raise cross_check(
                        f"{other} and {key} are both {getattr(self, key)!r}; expected different topics",
                        other,
                        key,
                    )
        return self


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


Units = Annotated[int, Field(ge=1, le=65536)]
"""Size of one hidden layer."""


class TrainingSettings(Section):
    """Algorithm 1 of the paper (Gherbi et al., ACML 2019) and what surrounds it."""

    latent_dim: int = Field(16, ge=1, le=1024)
    """dimensions of the latent space"""
    encoder_hidden: tuple[Units, ...] = (128, 64, 32)
    """units of the encoder's hidden layers"""
    discriminator_hidden: tuple[Units, ...] = (32, 16)
    """units of the discriminator's hidden layers"""
    batch_size: int = Field(200, ge=8, le=1_000_000)
    """records in a batch, normals and anomalies together"""
    anomaly_share: float = Field(0.1, gt=0, lt=1)
    """share of anomalies in a batch and in the training set"""
    discriminator_steps: int = Field(1, ge=1, le=100)
    """discriminator steps to one encoder step (n_D)"""
    learning_rate: float = Field(1e-3, gt=0, le=1)
    """Adam's learning rate"""
    adam_beta1: float = Field(0.5, ge=0, lt=1)
    """Adam's beta1"""
    epochs: int = Field(40, ge=1, le=100_000)
    """most passes over the training normals; a small table is passed over several times for one epoch"""
    patience: int = Field(8, ge=1, le=100_000)
    """epochs without a better validation AUPR before training stops"""
    ema_decay: float = Field(0.999, ge=0, lt=1)
    """decay of the averaged weights that are exported; 0 exports the last ones"""
    weight_decay: float = Field(0.0, ge=0, le=10)
    """decoupled weight decay of the encoder (AdamW); 0 is plain Adam"""
    replacement_rate: float = Field(0.01, ge=0, le=0.5)
    """share of the cells of a training batch made unknown (a category) or missing (any field that can be)"""
    artificial_share: float = Field(0.0, ge=0, lt=1)
    """share of the anomalies of a batch that are made from normals; 0 trains on labelled ones only"""
    threads: int | None = Field(None, ge=1, le=1024)
    """threads of torch; null takes one for every 1000 records of a batch, and at most the cores"""
    validation_share: float = Field(0.2, gt=0, lt=1)
    """share of the rows held out for stopping, mu, Sigma and the threshold"""
    false_positive_rate: float = Field(0.001, gt=0, lt=1)
    """share of normal records that may raise an alert: the model's own threshold"""
    max_rows: int = Field(2_000_000, ge=100)
    """more rows than this are refused rather than filling the memory"""
    seed: int = Field(0, ge=0, le=2**32 - 1)
    """seed of every random choice"""


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
