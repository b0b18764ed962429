"""Every metric there is, its meaning, and what to do about it.

A closed list: the worker cannot count under a name that is not here. Cost is per chunk, never per
record. Labels come from closed sets (reason, kind, topic, partition, model version), never from
record content.
"""

import prometheus_client as prometheus

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""From one quick chunk to a delivery that waits for a broker, seconds."""

_MARGINS = (0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Scores as multiples of the threshold: an alert is above 1."""

_RECORDS = (1, 10, 50, 100, 250, 500, 1000, 2000, 5000, 10_000, 100_000)


class Metrics:
    """The worker's metrics in a registry of their own, so that two apps in one process keep apart.

    Thread-safe, as prometheus_client is.
    """

    def __init__(self) -> None:
        self.registry = prometheus.CollectorRegistry(auto_describe=True)
        registry = self.registry

        # Nothing skipped in silence: records = scored + dead letters + sampled out (0 unless
        # overload.policy is sample), at every scrape.
        self.records = prometheus.Counter(
            "anoean_records",
            "Records of acknowledged chunks: scored, dead and sampled out together.",
            registry=registry,
        )
        self.scored = prometheus.Counter(
            "anoean_scored", "Records that got a score.", registry=registry
        )
        self.alerts = prometheus.Counter(
            "anoean_alerts", "Alerts that the brokers acknowledged.", registry=registry
        )
        self.dead_letters = prometheus.Counter(
            "anoean_dead_letters",
            "Dead letters that the brokers acknowledged; see docs/records.md for each reason.",
            ["reason"],
            registry=registry,
        )
        self.sampled_out = prometheus.Counter(
            "anoean_sampled_out",
            "Records not looked at because the worker was too far behind; overload.policy: sample.",
            registry=registry,
        )
        self.missing_values = prometheus.Counter(
            "anoean_missing_values",
            "Missing fields that were imputed; a rise means that an exporter dropped a field.",
            registry=registry,
        )

        self.lost = prometheus.Counter(
            "anoean_lost_records",
            "Offsets that the topic's retention deleted before they were read: raise retention.ms, "
            "or add workers.",
            ["topic", "partition"],
            registry=registry,
        )

        # Where the time goes.
        self.chunk_records = prometheus.Histogram(
            "anoean_chunk_records", "Records in a chunk.", buckets=_RECORDS, registry=registry
        )
        self.scoring_seconds = prometheus.Histogram(
            "anoean_scoring_seconds",
            "Pipeline time of a chunk.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.delivery_seconds = prometheus.Histogram(
            "anoean_delivery_seconds",
            "Time until the brokers acknowledged the output of a chunk.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.end_to_end_seconds = prometheus.Histogram(
            "anoean_end_to_end_seconds",
            "Kafka timestamp of a chunk's newest record to acknowledged output.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.delivery_retries = prometheus.Counter(
            "anoean_delivery_retries",
            "Alerts and dead letters sent again because no broker acknowledged them in time.",
            registry=registry,
        )
        self.truncated = prometheus.Counter(
            "anoean_truncated",
            "Alerts and dead letters shortened because the broker takes no larger record.",
            registry=registry,
        )

        # What the scores look like.
        self.score_margin = prometheus.Histogram(
            "anoean_score_margin",
            "Score as a multiple of the threshold, one sample of each chunk.",
            buckets=_MARGINS,
            registry=registry,
        )

        # Which model decides.
        self.model_info = prometheus.Gauge(
            "anoean_model_info",
            "1 for the model in use.",
            ["name", "version", "sha256"],
            registry=registry,
        )
        self.model_loaded_at = prometheus.Gauge(
            "anoean_model_loaded_timestamp_seconds",
            "When the model in use was loaded.",
            registry=registry,
        )
        self.model_swaps = prometheus.Counter(
            "anoean_model_swaps",
            "Models taken into use, the first one included.",
            registry=registry,
        )
        self.model_refused = prometheus.Counter(
            "anoean_model_refused",
            "Versions refused (docs/registry.md); the old one keeps serving.",
            registry=registry,
        )

        self.threshold = prometheus.Gauge(
            "anoean_threshold", "Score above which a record alerts.", registry=registry
        )
        self.swap_pause_seconds = prometheus.Histogram(
            "anoean_swap_pause_seconds",
            "Time without scoring before the first chunk of a new model; idle time counts, so look at it "
            "under load.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.scoring_gap_seconds = prometheus.Histogram(
            "anoean_scoring_gap_seconds",
            "Time between two chunks in which the scoring thread judged none; mostly idle time.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.rollbacks = prometheus.Counter(
            "anoean_rollbacks",
            "Models that this worker took back by itself, by the rule that they broke "
            "(docs/operations.md).",
            ["rule"],
            registry=registry,
        )
        self.news_lost = prometheus.Counter(
            "anoean_news_lost",
            "Records for the audit, control and workers topics that no broker took; alerts are not "
            "among them.",
            ["topic"],
            registry=registry,
        )

        # What a candidate would do (alias shadow).
        self.shadow_records = prometheus.Counter(
            "anoean_shadow_records",
            "Records that champion and candidate scored.",
            registry=registry,
        )
        self.shadow_alerts = prometheus.Counter(
            "anoean_shadow_alerts",
            "Of these, above the threshold of the champion, of the candidate, of both.",
            ["by"],
            registry=registry,
        )
        self.shadow_dead = prometheus.Counter(
            "anoean_shadow_dead",
            "Records that the champion scored and the candidate could not.",
            registry=registry,
        )
        self.shadow_left_out = prometheus.Counter(
            "anoean_shadow_left_out_chunks",
            "Chunks drawn for comparison that shadow.time_share did not allow.",
            registry=registry,
        )
        self.shadow_correlation = prometheus.Gauge(
            "anoean_shadow_rank_correlation",
            "Spearman's correlation of the scores of both, in the last report.",
            registry=registry,
        )
        self.shadow_score = prometheus.Gauge(
            "anoean_shadow_score",
            "Quantiles of the scores in the last report.",
            ["by", "quantile"],
            registry=registry,
        )

        # Where the worker stands in the topic.
        self.partitions = prometheus.Gauge(
            "anoean_partitions_assigned", "Partitions of this worker.", registry=registry
        )
        self.lag = prometheus.Gauge(
            "anoean_consumer_lag_records",
            "Records after the last one read; grows when the worker is too slow.",
            ["topic", "partition"],
            registry=registry,
        )
        self.rebalances = prometheus.Counter(
            "anoean_rebalances", "Changes of this worker's partitions.", registry=registry
        )
        self.commits = prometheus.Counter(
            "anoean_commits", "Offset commits that succeeded.", registry=registry
        )
        self.broker_errors = prometheus.Counter(
            "anoean_broker_errors", "Errors that librdkafka reported.", registry=registry
        )

        # When the counters began: what `anoean verify` compares them with must lie after it.
        self.started_at = prometheus.Gauge(
            "anoean_worker_started_timestamp_seconds",
            "When this worker began to count.",
            registry=registry,
        )
        self.started_at.set_to_current_time()

    def value(self, sample: str) -> int:
        """Return a counter by its name on the page, 0 when there is no such sample."""
        return int(self.registry.get_sample_value(sample) or 0)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return prometheus.generate_latest(self.registry)


def read_exposition(text: str) -> dict[str, float]:
    """Return what `Metrics.exposition` wrote, by sample name with its labels.

    Examples
    --------
    >>> read_exposition('a_total{reason="empty"} 2.0')
    {'a_total{reason="empty"}': 2.0}
    """
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}
