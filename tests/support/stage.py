"""A real broker with three topics, a registry with a champion, and workers that are not started."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import KafkaException

from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_topics import committed, create_topic
from tests.support.models import make_rows
from tests.support.registries import publish_model
from tests.support.topics import Record, publish, read_all
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess


@dataclass(frozen=True)
class Stage:
    """Names of one worker's surroundings."""

    broker: KafkaBroker
    flows: str
    alerts: str
    dead_letters: str
    group: str
    registry_folder: Path

    @classmethod
    def make(cls, broker: KafkaBroker, name: Callable[[str], str], folder: Path) -> "Stage":
        """Create topics and a model; every record alerts."""
        models = publish_model(folder)
        flows, alerts, dead_letters = (name(stem) for stem in ("flows", "alerts", "dlq"))
        for topic in (flows, alerts, dead_letters):
            create_topic(broker.bootstrap, topic)
        return cls(broker, flows, alerts, dead_letters, name("group"), models)

    def worker(
        self,
        settings: Mapping[str, object] | None = None,
        *,
        stuck: str | None = None,
    ) -> WorkerProcess:
        """Return a worker, with one of `tests.support.stuck_worker.STICKS` if wanted."""
        command: Sequence[str] = ("-m", "anoean_stream")
        if stuck is not None:
            command = ("-m", "tests.support.stuck_worker", stuck)
        return WorkerProcess(
            self.broker.bootstrap,
            self.registry_folder,
            {
                "topics.input": self.flows,
                "topics.alerts": self.alerts,
                "topics.dead_letters": self.dead_letters,
                "consumer.group_id": self.group,
                "scoring.false_positive_rate": 1.0,
                **(settings or {}),
            },
            command=command,
        )

    def publish(self, n_records: int, *, seed: int = 0) -> int:
        """Write made-up rows, round robin over the partitions."""
        values = [msgspec.json.encode(row) for row in make_rows(min(n_records, 2000), seed=seed)]
        repeated = (values[i % len(values)] for i in range(n_records))
        return publish(self.broker.bootstrap, self.flows, repeated, partitions=4)

    def committed(self) -> list[int]:
        """Return the committed next offset of each partition."""
        return committed(self.broker.bootstrap, self.group, self.flows)

    def alerts_read(self) -> list[dict[str, Any]]:
        """Return all messages of the alerts topic; waits for a broker that has just come back."""
        found: list[list[Record]] = []

        def read() -> bool:
            try:
                found.append(read_all(self.broker.bootstrap, self.alerts))
            except KafkaException:
                return False
            return True

        wait_until(read, within_s=20, what="a broker that serves the alerts topic")
        return [json.loads(record.value or b"") for record in found[0]]

    def assert_nothing_committed_was_not_delivered(self) -> None:
        """Every record before a committed offset has its alert; every record alerts here."""
        places = {(a["source"]["partition"], a["source"]["offset"]) for a in self.alerts_read()}
        missing = [
            (partition, offset)
            for partition, end in enumerate(self.committed())
            for offset in range(end)
            if (partition, offset) not in places
        ]
        assert not missing, f"{len(missing)} committed without an alert, first {missing[:3]}"
