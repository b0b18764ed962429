"""How records are read and written, and the topics."""

from typing import Literal, Self

from pydantic import Field, model_validator

from anoean_stream.settings.section import Section, cross_check


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
