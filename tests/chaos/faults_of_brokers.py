"""Brokers that die, freeze, all vanish, or cannot be reached; alerts that the cluster does not take."""

import threading
import time
from collections.abc import Callable
from typing import Final

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in its __all__
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from tests.chaos.scenarios import scenario
from tests.chaos.stage import PARTITIONS, Stage
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_cluster import KafkaCluster

RATE: Final = 1500.0
QUOTA: Final = 200_000
"""Bytes a second that the throttled client may write."""

PAUSE: Final = threading.Event()
"""Never set: `PAUSE.wait(s)` is the length of an outage."""


def _cluster(stage: Stage) -> KafkaCluster:
    assert isinstance(stage.brokers, KafkaCluster)
    return stage.brokers


def _begin(stage: Stage) -> int:
    """Start a worker and traffic; return how many records there will be, some of them committed."""
    stage.set_up()
    stage.start_worker()
    n_records = int(RATE * stage.scaled(20, 6))
    stage.new_traffic().start(n_records, rate=RATE)
    stage.wait_for_commits(int(n_records * stage.rng.uniform(0.1, 0.3)))
    return n_records


def _end(stage: Stage) -> None:
    _cluster(stage).repair()
    stage.settle()
    assert stage.workers[-1].stop() == 0, stage.explain()


def _outage(
    stage: Stage, strike: Callable[[KafkaCluster, int], None], *, full_s: float, quick_s: float
) -> None:
    """Play one outage: `strike` gets the cluster and the leader of an input partition.

    `KafkaCluster.repair` ends it: dead nodes start, frozen ones go on, networks heal.
    """
    _begin(stage)
    cluster = _cluster(stage)
    strike(cluster, cluster.leader(stage.flows, stage.rng.randrange(PARTITIONS)))
    # Its coordinator may be gone too: what the worker has in flight may then be read again.
    stage.n_crashes += 1
    PAUSE.wait(stage.scaled(full_s, quick_s))
    _end(stage)


@scenario("broker-leader-sigkill", needs="cluster")
def leader_sigkill(stage: Stage) -> None:
    """SIGKILL the leader of an input partition and of its alerts, for ten seconds."""
    _outage(stage, lambda cluster, leader: cluster.nodes[leader].kill(), full_s=10, quick_s=4)


@scenario("broker-all-down", needs="cluster")
def all_down(stage: Stage) -> None:
    """SIGKILL all brokers; they are back after a minute, and the worker never ended."""

    def strike(cluster: KafkaCluster, leader: int) -> None:
        del leader
        for node in cluster.nodes.values():
            node.kill()

    _outage(stage, strike, full_s=60, quick_s=8)


@scenario("broker-paused", needs="cluster")
def broker_paused(stage: Stage) -> None:
    """Freeze a leader (SIGSTOP) for twelve seconds: connections stay open, nothing answers."""
    _outage(stage, lambda cluster, leader: cluster.nodes[leader].pause(), full_s=12, quick_s=6)


@scenario("network-cut-to-one-broker", needs="cluster")
def network_cut(stage: Stage) -> None:
    """Cut the network between the worker and one broker for twelve seconds; brokers see each other."""
    _outage(stage, lambda cluster, leader: cluster.proxies[leader].cut(), full_s=12, quick_s=6)


@scenario("network-cut-to-all-brokers", needs="cluster")
def network_cut_all(stage: Stage) -> None:
    """Cut the worker off from all brokers for longer than its session; then the cable is back."""

    def strike(cluster: KafkaCluster, leader: int) -> None:
        del leader
        for proxy in cluster.proxies.values():
            proxy.cut()

    _outage(stage, strike, full_s=20, quick_s=8)


@scenario("alerts-unavailable", needs="cluster")
def alerts_unavailable(stage: Stage) -> None:
    """The alerts topic has too few in-sync replicas and takes nothing; consumption waits for it."""
    n_records = _begin(stage)
    _require_in_sync(stage, 3)
    cluster = _cluster(stage)
    down = stage.rng.choice(sorted(cluster.nodes))
    cluster.nodes[down].kill()
    stage.n_crashes += 1
    PAUSE.wait(stage.scaled(15, 6))
    before = stage.committed()
    PAUSE.wait(1.0)
    assert stage.committed() == before < n_records, "commits went on without alerts"
    _require_in_sync(stage, 2)
    _end(stage)


def _require_in_sync(stage: Stage, n_replicas: int) -> None:
    entry = ConfigEntry(
        "min.insync.replicas", str(n_replicas), incremental_operation=AlterConfigOpType.SET
    )
    resource = ConfigResource(ResourceType.TOPIC, stage.alerts, incremental_configs=[entry])
    stage.admin.incremental_alter_configs([resource])[resource].result(20)


@scenario("alerts-over-quota")
def alerts_over_quota(stage: Stage) -> None:
    """The broker throttles the worker's alerts (client quota); consumption keeps pace with it."""
    broker = stage.brokers
    assert isinstance(broker, KafkaBroker)
    stage.set_up()
    client = f"{stage.group}-throttled"
    broker.admin_tool(
        "kafka.admin.ConfigCommand",
        "--alter", "--entity-type", "clients", "--entity-name", client,
        "--add-config", f"producer_byte_rate={QUOTA}",
    )  # fmt: skip
    traffic = stage.new_traffic()
    n_records = int(stage.scaled(6000, 2000))
    traffic.publish(n_records)
    began = time.monotonic()
    worker = stage.start_worker(broker__client_id=client, producer__compression="none")
    stage.settle()
    took_s = time.monotonic() - began
    assert worker.stop() == 0
    # An alert has more than 1000 bytes; without the quota this takes a second.
    assert took_s > 0.5 * n_records * 1000 / QUOTA, f"done in {took_s:.1f} s: no quota was applied"
