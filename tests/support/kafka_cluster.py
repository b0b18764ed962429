"""Three nodes of Apache Kafka on this machine: replication 3, two in-sync replicas at least.

Each broker has two listeners: one for whoever observes, and one for workers, which is advertised
through a proxy that can be cut (`TcpProxy`).
"""

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from confluent_kafka.admin import AdminClient

from tests.support.kafka_broker import KafkaBroker, free_port
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import wait_until

HEAP_MB: Final = 256

CLUSTER_PROPERTIES: Final = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    # A dead broker is noticed in three seconds, not in ten: a test waits for it.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "controller.quorum.election.timeout.ms": "500",
    "controller.quorum.fetch.timeout.ms": "1000",
    "replica.lag.time.max.ms": "5000",
}


class KafkaCluster:
    """A KRaft cluster of three combined nodes; each can be killed, frozen, or cut off from workers.

    Parameters
    ----------
    n_nodes : int
        Brokers; three is the least for which min.insync.replicas 2 survives one of them.
    """

    def __init__(self, n_nodes: int = 3) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="anoean-cluster-"))
        numbers = range(1, n_nodes + 1)
        controllers = {node: free_port() for node in numbers}
        self.nodes: dict[int, KafkaBroker] = {}
        self.proxies: dict[int, TcpProxy] = {}
        for node in numbers:
            port, worker_port = free_port(), free_port()
            self.proxies[node] = TcpProxy(worker_port)
            self.nodes[node] = KafkaBroker(
                self._folder / f"node-{node}",
                port=port,
                heap_mb=HEAP_MB,
                node_id=node,
                controller_ports=controllers,
                properties={
                    **CLUSTER_PROPERTIES,
                    "listeners": f"PLAINTEXT://127.0.0.1:{port},WORKERS://127.0.0.1:{worker_port},"
                    f"CONTROLLER://127.0.0.1:{controllers[node]}",
                    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,WORKERS:PLAINTEXT,"
                    "CONTROLLER:PLAINTEXT",
                    "inter.broker.listener.name": "PLAINTEXT",
                },
            )

    @property
    def bootstrap(self) -> str:
        """Addresses for whoever observes: never cut."""
        return ",".join(node.bootstrap for node in self.nodes.values())

    @property
    def worker_bootstrap(self) -> str:
        """Addresses for workers: through the proxies."""
        return ",".join(f"127.0.0.1:{proxy.port}" for proxy in self.proxies.values())

    def start(self) -> Self:
        """Start all nodes, and wait until each knows the others."""
        for number, node in self.nodes.items():
            proxy = self.proxies[number].start()
            node.set_property(
                "advertised.listeners",
                f"PLAINTEXT://{node.bootstrap},WORKERS://127.0.0.1:{proxy.port}",
            )
        self.start_nodes()
        return self

    def start_nodes(self) -> None:
        """Start the nodes that do not run; all at once, since one alone is no quorum."""
        stopped = [node for node in self.nodes.values() if not node.is_running]
        for node in stopped:
            node.begin_start()
        for node in stopped:
            node.finish_start()
        self.wait_until_whole()

    def wait_until_whole(self) -> None:
        """Wait until all nodes are alive in the cluster's own eyes."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 2})
        wait_until(
            lambda: len(admin.list_topics(timeout=10).brokers) == len(self.nodes),
            what="all brokers in the metadata",
            within_s=60,
        )

    def leader(self, topic: str, partition: int = 0) -> int:
        """Return the node that leads a partition."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 2})
        return int(admin.list_topics(topic, timeout=10).topics[topic].partitions[partition].leader)

    def repair(self) -> None:
        """Undo every fault: thaw, heal and start what is not as it was."""
        for proxy in self.proxies.values():
            proxy.heal()
        for node in self.nodes.values():
            if node.is_running:
                node.resume()
        self.start_nodes()

    def close(self) -> None:
        """End all nodes at once; their data are thrown away."""
        for node in self.nodes.values():
            node.kill()
        for proxy in self.proxies.values():
            proxy.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
