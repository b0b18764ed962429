"""Our settings in librdkafka's words; `security` says how we log in.

What a user may set is in `anoean_stream.settings`; what is fixed here is fixed because another
value breaks a promise (idempotence, commits of acknowledged records only) or costs a factor
(see docs/transport.md). ``consumer.options`` and ``producer.options`` come last and may override
what is merely fast, never what is promised.
"""

from typing import Final

from anoean_stream.errors import ConfigError
from anoean_stream.kafka.security import ClientConfig, security_config
from anoean_stream.settings import BrokerSettings, Settings

CONSUMER_PROMISES: Final = frozenset(
    {
        "enable.auto.commit",
        "enable.auto.offset.store",
        "group.id",
        "on_commit",
        "enable.partition.eof",
        "auto.offset.reset",
    }
)
"""Consumer options that may not be overridden: commits hold acknowledged records only."""

PRODUCER_PROMISES: Final = frozenset(
    {"acks", "request.required.acks", "enable.idempotence", "transactional.id"}
)
"""Producer options that may not be overridden: an acknowledged alert is on the brokers, once."""

METADATA_REFRESH_MS: Final = 30_000
"""Milliseconds between looks for new topics and partitions (librdkafka: 300 000): a topic that was
missing when the worker started is found within half a minute; below 1 000 it loads the brokers."""

STATISTICS_MS: Final = 2_000
"""Milliseconds between librdkafka's reports on connections and positions, which tell an outage from
a stall; below 500 writing them costs more than they tell."""


def admin_config(settings: Settings) -> ClientConfig:
    """Return the configuration of a client that neither consumes nor produces.

    Raises
    ------
    ConfigError
        A file that the broker section names cannot be read (so do the functions below).
    """
    return _connection(settings.broker)


def consumer_config(settings: Settings) -> ClientConfig:
    """Return the configuration of the worker's consumer.

    Raises
    ------
    ConfigError
        ``consumer.options`` names a key that this project must decide itself.
    """
    own = settings.consumer
    _refuse(own.options, CONSUMER_PROMISES, section="consumer")
    config: ClientConfig = {
        **_connection(settings.broker),
        "group.id": own.group_id,
        # Offsets are committed by the ledger, after delivery, and by nobody else.
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # By itself librdkafka would jump and say nothing; see positions.py.
        "auto.offset.reset": "error",
        "isolation.level": own.isolation_level,
        "max.poll.interval.ms": _ms(own.max_poll_interval_s),
        "fetch.wait.max.ms": _ms(own.fetch_wait_max_s),
        # The default of 1000 ms stops fetching for a second whenever the queue is full: 79k instead
        # of 674k records/s were measured.
        "fetch.queue.backoff.ms": 10,
        # Memory is bounded by both; the second is for all partitions together.
        "queued.min.messages": own.queued_min_messages,
        "queued.max.messages.kbytes": own.queued_max_kbytes,
        "allow.auto.create.topics": False,
        "topic.metadata.refresh.interval.ms": METADATA_REFRESH_MS,
        "statistics.interval.ms": STATISTICS_MS,
    }
    if own.group_instance_id is not None:
        config["group.instance.id"] = own.group_instance_id
    if own.group_protocol == "consumer":
        # KIP-848: assignor, session timeout and heartbeat live on the broker.
        config["group.protocol"] = "consumer"
    else:
        config["partition.assignment.strategy"] = own.assignment_strategy
        config["session.timeout.ms"] = _ms(own.session_timeout_s)
        config["heartbeat.interval.ms"] = _ms(own.heartbeat_interval_s)
    config.update(own.options)
    return config


def is_incremental(settings: Settings) -> bool:
    """Tell whether a rebalance names only the partitions that change (cooperative, KIP-848)."""
    own = settings.consumer
    return own.group_protocol == "consumer" or "cooperative" in own.assignment_strategy


def producer_config(settings: Settings) -> ClientConfig:
    """Return the configuration of the worker's producer (idempotent, acks=all).

    Raises
    ------
    ConfigError
        ``producer.options`` names a key that this project must decide itself.
    """
    own = settings.producer
    _refuse(own.options, PRODUCER_PROMISES, section="producer")
    return {
        **_connection(settings.broker),
        "acks": "all",
        "enable.idempotence": True,
        "linger.ms": own.linger_s * 1000,
        "compression.type": own.compression,
        "delivery.timeout.ms": _ms(own.delivery_timeout_s),
        "message.max.bytes": own.message_max_bytes,
        "batch.size": 262_144,  # a larger record makes a batch of its own
        # librdkafka's default is 1 GiB.
        "queue.buffering.max.kbytes": own.queue_max_kbytes,
        # As the Java client: the same key goes to the same partition, whoever wrote it.
        "partitioner": "murmur2_random",
        **own.options,
    }


def _connection(broker: BrokerSettings) -> ClientConfig:
    return {
        "bootstrap.servers": broker.bootstrap_servers,
        "client.id": broker.client_id,
        # One request's time limit; also how long a commit may take while no coordinator answers.
        "socket.timeout.ms": _ms(broker.request_timeout_s),
        # On by default; p99 at 200 records/s falls from 39 to 11 ms without it.
        "socket.nagle.disable": True,
        **security_config(broker),
        # A broker's restart is an everyday event: do not back off for the default of 10 s.
        "reconnect.backoff.max.ms": 2000,
    }


def _refuse(options: dict[str, str], promises: frozenset[str], *, section: str) -> None:
    for name in sorted(promises & options.keys()):
        raise ConfigError(
            f"{section}.options has {name!r} ({options[name]!r}), which this project decides itself "
            f"to keep its delivery guarantee; remove it from {section}.options"
        )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
