"""A broker inside the process: librdkafka's mock cluster, for the demo and for fast tests.

It speaks Kafka's protocol to any client on this machine and keeps everything in memory. It knows
consumer groups (the classic protocol), commits and idempotent producers; it does not know
`CreateTopics`, access lists, or retention. Not for production.
"""

import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaException, Producer

from anoean_stream.errors import BrokerError
from anoean_stream.kafka.faults import client_logger

PARTITIONS: Final = 4
"""Partitions of every topic: the mock cluster's own number, not to be changed from Python."""

STOP_TIMEOUT_S: Final = 5.0
"""Seconds for the mock cluster to end; it takes milliseconds, or for ever."""

START_TIMEOUT_S: Final = 10.0
"""Seconds for the mock cluster to answer; it takes milliseconds."""


class EmbeddedBroker:
    """A broker that lives as long as this object; topics appear when first named.

    Use `create_topics` for topics that are consumed before anything is written: our consumer never
    creates a topic by accident.

    Examples
    --------
    >>> with EmbeddedBroker() as broker:
    ...     broker.create_topics(["flows"])
    ...     broker.bootstrap.startswith("127.0.0.1:")
    True
    """

    def __init__(self) -> None:
        self._owner: Producer | None = None
        self._bootstrap = ""

    @property
    def bootstrap(self) -> str:
        """host:port for ``broker.bootstrap_servers``.

        Raises
        ------
        BrokerError
            The broker is not running.
        """
        if self._owner is None:
            raise BrokerError("the embedded broker is not running; call start() first")
        return self._bootstrap

    def start(self) -> Self:
        """Start the broker on a free port of 127.0.0.1. Blocks for some milliseconds.

        Raises
        ------
        BrokerError
            librdkafka could not start it.
        """
        if self._owner is not None:
            return self
        try:
            # The cluster belongs to this client and ends with it; the address given is ignored.
            config = {"test.mock.num.brokers": 1, "bootstrap.servers": "mock"}
            owner = Producer(config, logger=client_logger("embedded"))
            brokers = owner.list_topics(timeout=START_TIMEOUT_S).brokers.values()
        except KafkaException as err:
            raise BrokerError(f"the embedded broker did not start: {err}") from err
        self._owner = owner
        self._bootstrap = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
        return self

    def create_topics(self, names: Iterable[str]) -> None:
        """Create topics with `PARTITIONS` partitions each; existing ones are left alone.

        Raises
        ------
        BrokerError
            The broker is not running, or refuses a name.
        """
        if self._owner is None:
            raise BrokerError("the embedded broker is not running; call start() first")
        for name in names:
            try:
                found = self._owner.list_topics(name, timeout=START_TIMEOUT_S).topics[name]
            except KafkaException as err:
                raise BrokerError(
                    f"the embedded broker did not create topic {name!r}: {err}"
                ) from err
            if found.error is not None:
                raise BrokerError(
                    f"the embedded broker did not create topic {name!r}: {found.error}; use letters, "
                    "digits, '.', '_' and '-'"
                )

    def stop(self) -> None:
        """End the broker; everything in it is gone. Clients see a broker that is down."""
        if self._owner is None:
            return
        # librdkafka 2.16 rarely never returns from ending a mock cluster (seen once in three runs of
        # all tests). It does so in a thread that nobody waits for for long: the process can end.
        owners = [self._owner]
        self._owner = None
        ending = threading.Thread(target=owners.clear, name="anoean-embedded-end", daemon=True)
        ending.start()
        ending.join(STOP_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
