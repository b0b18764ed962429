"""All scenarios, and the brokers they play on. Importing this module fills the list."""

from collections.abc import Callable
from typing import Final

from tests.chaos import faults_of_brokers, faults_of_steps, faults_of_topics, faults_of_workers
from tests.chaos.permissions import GUARDED
from tests.chaos.scenarios import Needs
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_cluster import KafkaCluster

FAMILIES: Final = (faults_of_workers, faults_of_brokers, faults_of_topics, faults_of_steps)

BY_SCHEDULE: Final = frozenset({"exceptions-at-random"})
"""Scenarios that are a random schedule, and so played with many seeds."""

N_SCHEDULES: Final = 200

_QUICK_CLEANER: Final = {"log.cleaner.backoff.ms": "500"}
"""Compaction looks for work twice a second, not every 15 s: a test waits for it."""

_BROKERS: Final[dict[Needs, Callable[[], KafkaBroker | KafkaCluster]]] = {
    "single": lambda: KafkaBroker(properties=_QUICK_CLEANER),
    "guarded": lambda: KafkaBroker(properties=GUARDED),
    "cluster": KafkaCluster,
}


def start_brokers(needs: Needs) -> KafkaBroker | KafkaCluster:
    """Start what a scenario needs.

    Raises
    ------
    KafkaUnavailableError
        Java or Maven is missing.
    """
    return _BROKERS[needs]().start()
