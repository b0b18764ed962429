"""Topics: list, create, and say which are missing. All functions block; call them off the event loop."""

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, cast

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from anoean_stream.errors import BrokerError
from anoean_stream.kafka.config import admin_config
from anoean_stream.kafka.faults import client_logger, fatal_error
from anoean_stream.settings import Settings

DEFAULT_PARTITIONS: Final = 4
"""Partitions of a new topic: how many workers can share it. More can be added later, fewer cannot."""

MARGIN_S: Final = 5.0
"""Seconds to wait for an answer beyond the limit that the broker was given."""


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """One topic as the brokers describe it.

    Parameters
    ----------
    name : str
        Its name.
    partitions : int
        Number of partitions.
    replication : int
        Copies of each partition.
    """

    name: str
    partitions: int
    replication: int


class _Admin:
    """An admin client that remembers what librdkafka last complained of."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.timeout_s = settings.broker.request_timeout_s
        self._last: KafkaError | None = None
        config: dict[str, Any] = {**admin_config(settings), "error_cb": self._heard}
        try:
            self.client = AdminClient(config, logger=client_logger("admin"))
        except KafkaException as err:
            raise BrokerError(
                f"librdkafka cannot work with this configuration: {err.args[0].str()}; check the "
                "broker section"
            ) from err

    def _heard(self, error: KafkaError) -> None:
        # A refused password says more than the time-out that follows from it.
        if self._last is None or fatal_error(self._last, self._settings) is None:
            self._last = error

    def broker_error(self, err: KafkaException, doing: str) -> BrokerError:
        """Return the error to raise for a failed request."""
        self.client.poll(0)  # serves error_cb
        error = cast("KafkaError", err.args[0])
        for known in (error, self._last):
            fatal = None if known is None else fatal_error(known, self._settings)
            if fatal is not None:
                return fatal
        servers = self._settings.broker.bootstrap_servers
        if error.code() in {KafkaError._TRANSPORT, KafkaError._TIMED_OUT}:  # noqa: SLF001 - public names
            last = "" if self._last is None else f" ({self._last.str()})"
            return BrokerError(
                f"{doing} failed: no answer from {servers} within {self.timeout_s:g} s{last}; check "
                "that Kafka runs there and broker.bootstrap_servers is right"
            )
        return BrokerError(f"{doing} failed on {servers}: {error.name()}: {error.str()}")


def list_topics(settings: Settings) -> list[TopicInfo]:
    """Return all topics this user may see, by name, without Kafka's own.

    Raises
    ------
    BrokerError
        No broker answers, or it refuses us.
    """
    admin = _Admin(settings)
    try:
        found = admin.client.list_topics(timeout=admin.timeout_s).topics
    except KafkaException as err:
        raise admin.broker_error(err, "listing the topics") from err
    return [
        TopicInfo(
            name,
            len(topic.partitions),
            max((len(p.replicas) for p in topic.partitions.values()), default=0),
        )
        for name, topic in sorted(found.items())
        if topic.error is None and not name.startswith("__")
    ]


def worker_topics(settings: Settings) -> tuple[str, ...]:
    """Return the names of the topics a worker reads and writes."""
    own = settings.topics
    return own.input, own.alerts, own.dead_letters


def missing_topics(settings: Settings, names: Iterable[str] | None = None) -> list[str]:
    """Return which of the topics do not exist, in the order given.

    Parameters
    ----------
    settings : Settings
        Where the brokers are.
    names : iterable of str, optional
        Topics to look for; None takes the three of the worker.

    Raises
    ------
    BrokerError
        No broker answers, or it refuses us.
    """
    known = {topic.name for topic in list_topics(settings)}
    return [name for name in names or worker_topics(settings) if name not in known]


def create_topics(
    settings: Settings,
    topics: Mapping[str, int] | None = None,
    *,
    replication: int = -1,
    config: Mapping[str, str] | None = None,
) -> list[str]:
    """Create topics that do not exist yet, and wait until they do.

    Parameters
    ----------
    settings : Settings
        Where the brokers are.
    topics : mapping of str to int, optional
        Number of partitions by name; None takes the three of the worker with `DEFAULT_PARTITIONS`.
    replication : int
        Copies of each partition; -1 takes the brokers' default.
    config : mapping of str to str, optional
        Topic configuration, by Kafka's names.

    Returns
    -------
    list of str
        The topics that were created; those that existed are left as they are.

    Raises
    ------
    BrokerError
        No broker answers, or one of the topics is refused.
    """
    wanted = topics or dict.fromkeys(worker_topics(settings), DEFAULT_PARTITIONS)
    admin = _Admin(settings)
    requests = [
        NewTopic(name, num_partitions=n, replication_factor=replication, config=dict(config or {}))
        for name, n in wanted.items()
    ]
    futures = cast(
        "dict[str, Future[None]]",
        admin.client.create_topics(
            requests, operation_timeout=admin.timeout_s, request_timeout=admin.timeout_s
        ),
    )
    created = []
    for name, future in futures.items():
        try:
            future.result(admin.timeout_s + MARGIN_S)
        except KafkaException as err:
            if err.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise admin.broker_error(err, f"creating topic {name!r}") from err
        else:
            created.append(name)
    return created
