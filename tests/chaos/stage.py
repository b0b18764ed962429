"""One run of a scenario: brokers, topics, a model, workers, traffic, and the evidence afterwards."""

import os
import random
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Final, Protocol

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.chaos.checker import Evidence, Output, Tally, reconcile
from tests.chaos.observer import (
    CommitWatch,
    GroupOffsets,
    ends_of,
    numbers_in,
    read_alerts,
    read_letters,
)
from tests.chaos.traffic import Record, Traffic, flow
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_cluster import KafkaCluster
from tests.support.registries import publish_model
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess

PARTITIONS: Final = 4
SETTLE_S: Final = 120.0
"""Seconds for the workers to catch up after the last fault: a session time-out, a restart, and more
on a busy machine."""

CHUNK: Final = 100

WORKER_SETTINGS: Final[Mapping[str, object]] = {
    "scoring.false_positive_rate": 1.0,  # every record alerts, so every record leaves a trace
    "consumer.chunk_max_records": CHUNK,
    "consumer.chunks_in_flight": 4,
    "consumer.commit_interval_s": 0.3,
    "consumer.session_timeout_s": 3,
    "consumer.heartbeat_interval_s": 0.5,
    "broker.request_timeout_s": 5,
    "worker.shutdown_deadline_s": 10,
}
"""Short time-outs, small chunks: many of them are in flight when a fault strikes."""

IN_FLIGHT: Final = 2 * 4 * CHUNK
"""Most records a crash may repeat: chunks_in_flight x chunk_max_records in work, and as many done
whose commit was just due (docs/delivery.md)."""


class Worker(Protocol):
    """What a scenario does with a worker, ours or a naive one."""

    process: Any

    def start(self) -> Any:
        """Start the process."""
        ...

    def metrics(self) -> dict[str, float]:
        """Return its counters; empty when it has none."""
        ...

    def stop(self, number: int = ...) -> int:
        """Send a signal and wait for the end."""
        ...

    def close(self) -> None:
        """End it now."""
        ...

    def tail(self) -> str:
        """Return its last lines."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row of the table, one object of build/chaos.json."""

    scenario: str
    seed: int
    records: int
    scored: int
    dead: int
    missing: int
    unaccounted: int
    repeated: int
    repeats_allowed: int
    out_of_order: int
    late_allowed: int
    stall_s: float
    seconds: float
    schedule: str
    notes: tuple[str, ...]
    ended: bool = True

    @property
    def is_good(self) -> bool:
        """Nothing missing, all accounted for, repeats within the bound, in order."""
        return (
            self.ended
            and not (self.missing or self.unaccounted)
            and self.out_of_order <= self.late_allowed
            and self.repeated <= self.repeats_allowed
        )

    def as_document(self) -> dict[str, Any]:
        """Return it as JSON's types."""
        return {**asdict(self), "notes": list(self.notes), "good": self.is_good}


_NUMBERS: Final = count(1)


class Stage:
    """Topics, a group and a registry of their own on shared brokers.

    Parameters
    ----------
    brokers : KafkaBroker or KafkaCluster
        Where it plays.
    seed : int
        Of every random choice: ``stage.rng``.
    quick : bool
        Fewer records and shorter outages: what `make test` has time for.
    make_worker : callable, optional
        Makes another kind of worker; given bootstrap, registry and settings.
    """

    def __init__(
        self,
        brokers: KafkaBroker | KafkaCluster,
        *,
        seed: int,
        quick: bool,
        make_worker: Callable[[str, Path, Mapping[str, object]], Worker] | None = None,
    ) -> None:
        self.brokers = brokers
        self.quick = quick
        self.seed = seed
        self.rng = random.Random(seed)
        self.n_crashes = 0
        self.late_allowed = 0
        self.admin = AdminClient({"bootstrap.servers": brokers.bootstrap, "log_level": 2})
        self.schedule = ""
        self.make_worker = make_worker or WorkerProcess
        self._name = f"chaos-{os.getpid()}-{next(_NUMBERS)}"
        self.group = self._name
        self.flows, self.alerts, self.dead_letters = (
            f"{self._name}-{kind}" for kind in ("flows", "alerts", "dlq")
        )
        self.offsets = GroupOffsets(brokers.bootstrap, self.group, self.flows)
        self.watch = CommitWatch(brokers.bootstrap, self.group, self.flows)
        self._ends: dict[int, int] = {}
        self.workers: list[Worker] = []
        self.traffic: Traffic | None = None
        self._began = time.monotonic()
        self._folder = tempfile.TemporaryDirectory(prefix="anoean-chaos-")
        self.registry = publish_model(Path(self._folder.name))
        self.n_told_lost = 0
        self.tally: Tally | None = None
        self.some_expired = False  # retention or compaction took records away
        self.is_compacted = False

    # ------------------------------------------------------------------ topics

    def set_up(
        self,
        *,
        flows: Mapping[str, str] | None = None,
        alerts: Mapping[str, str] | None = None,
        dead_letters: Mapping[str, str] | None = None,
        partitions: int = PARTITIONS,
        without: tuple[str, ...] = (),
    ) -> None:
        """Create the topics, each with further Kafka settings; `without` leaves some out."""
        stamped = {"message.timestamp.type": "LogAppendTime"}
        for name, config in (
            (self.flows, dict(flows or {})),
            (self.alerts, {**stamped, **(alerts or {})}),
            (self.dead_letters, {**stamped, **(dead_letters or {})}),
        ):
            if name not in without:
                self.create_topic(name, partitions=partitions, config=config)

    def create_topic(
        self, name: str, *, partitions: int = PARTITIONS, config: Mapping[str, str] | None = None
    ) -> None:
        """Create one topic, on all nodes where there are several, and wait until it has leaders."""
        copies = len(self.brokers.nodes) if isinstance(self.brokers, KafkaCluster) else 1
        request = NewTopic(name, partitions, copies, config=dict(config or {}))
        self.admin.create_topics([request])[name].result(30)
        self.wait_for_leaders(name)

    def wait_for_leaders(self, name: str) -> None:
        """Wait until every partition of a topic has a leader."""

        def led() -> bool:
            found = self.admin.list_topics(name, timeout=10).topics[name]
            return bool(found.partitions) and all(p.leader >= 0 for p in found.partitions.values())

        wait_until(led, what=f"leaders of {name}", within_s=30)

    # ------------------------------------------------------------------ actors

    def new_worker(self, **settings: object) -> Worker:
        """Return a worker that is not started; ``section__key=value`` are settings."""
        brokers = self.brokers
        address = (
            brokers.worker_bootstrap if isinstance(brokers, KafkaCluster) else brokers.bootstrap
        )
        worker = self.make_worker(
            address,
            self.registry,
            {
                **WORKER_SETTINGS,
                "topics.input": self.flows,
                "topics.alerts": self.alerts,
                "topics.dead_letters": self.dead_letters,
                "consumer.group_id": self.group,
                **{name.replace("__", "."): value for name, value in settings.items()},
            },
        )
        self.workers.append(worker)
        return worker

    def start_worker(self, **settings: object) -> Worker:
        """Return a worker whose process runs."""
        worker = self.new_worker(**settings)
        worker.start()
        return worker

    def new_traffic(
        self,
        *,
        record: Record = flow,
        partitions: int = PARTITIONS,
        options: Mapping[str, str | int] | None = None,
    ) -> Traffic:
        """Return the traffic of this stage, not started."""
        self.traffic = Traffic(
            self.brokers.bootstrap,
            self.flows,
            partitions=partitions,
            record=record,
            options=options,
        )
        return self.traffic

    def scaled(self, full: float, quick: float) -> float:
        """Return one of two values, for the length of the run."""
        return quick if self.quick else full

    # ------------------------------------------------------------------ looking

    def committed(self) -> int:
        """Return how many offsets the group has committed, over all partitions; 0 in an outage."""
        try:
            return sum(self.offsets.now().values())
        except KafkaException:
            return 0

    def wait_for_commits(self, n_offsets: int, *, within_s: float = SETTLE_S) -> None:
        """Wait until so many offsets are committed."""
        wait_until(
            lambda: self.committed() >= n_offsets,
            what=f"{n_offsets} committed offsets",
            within_s=within_s,
            hint=self.explain,
        )

    def settle(self, *, within_s: float = SETTLE_S) -> None:
        """Wait until all traffic is written and every offset up to the end is committed."""
        assert self.traffic is not None
        self.traffic.finish()
        self._ends = ends_of(self.brokers.bootstrap, self.flows)
        self._wait_for_ends(self._ends, within_s=within_s)

    def has_settled(self) -> bool:
        """Tell whether every offset up to the end of now is committed."""
        return self._has_reached(ends_of(self.brokers.bootstrap, self.flows))

    def _has_reached(self, ends: Mapping[int, int]) -> bool:
        try:
            now = self.offsets.now()
        except KafkaException:
            return False
        return all(now.get(partition, 0) >= end for partition, end in ends.items())

    def _wait_for_ends(self, ends: Mapping[int, int], *, within_s: float) -> None:
        wait_until(
            lambda: self._has_reached(ends),
            what="every offset committed",
            within_s=within_s,
            hint=self.explain,
        )

    def settle_by_outputs(self, *, within_s: float = SETTLE_S) -> None:
        """Wait until the group has committed past the last record that readers see.

        For transactional input: markers stand behind it, and nobody commits past them.
        """
        assert self.traffic is not None
        self.traffic.finish()
        last: dict[int, int] = {}
        for record in self.traffic.committed():
            last[record.partition] = max(last.get(record.partition, -1), record.offset)
        self._ends = {partition: offset + 1 for partition, offset in last.items()}
        self._wait_for_ends(self._ends, within_s=within_s)

    def wait_for_positions(self, n_partitions: int) -> None:
        """Wait until the group has committed where it began in so many partitions."""
        assert self.traffic is None, "before there is traffic"
        wait_until(
            lambda: len(self.offsets.found()) == n_partitions,
            what=f"{n_partitions} partitions with a committed beginning",
            within_s=30,
            hint=self.explain,
        )

    def records_kept(self) -> int:
        """Return how many records stand in the input now."""
        return len(numbers_in(self.brokers.bootstrap, self.flows))

    def explain(self) -> str:
        """Return the last lines of all workers."""
        return "\n----\n".join(worker.tail() for worker in self.workers)

    # ------------------------------------------------------------------ the end

    def outcome(self, scenario: str, problem: str | None = None) -> Outcome:
        """Read everything back and count; `problem` says why the scenario did not reach its end."""
        if isinstance(self.brokers, KafkaCluster):
            self.brokers.repair()
        self.tally = reconcile(self.evidence())
        row = self._row(scenario, self.tally)
        return row if problem is None else replace(row, ended=False, notes=(problem, *row.notes))

    def evidence(self) -> Evidence:
        """Read everything back."""
        assert self.traffic is not None
        bootstrap = self.brokers.bootstrap
        committed = self.offsets.now()
        # Behind the last record there may be markers of transactions, which nobody need commit.
        now = {p: min(offset, self._ends.get(p, offset)) for p, offset in committed.items()}
        outputs: list[Output] = [
            *read_alerts(bootstrap, self.alerts),
            *read_letters(bootstrap, self.dead_letters),
        ]
        return Evidence(
            published=self.traffic.committed(),
            outputs=outputs,
            kept=numbers_in(bootstrap, self.flows) if self.some_expired else None,
            n_told_lost=None if self.is_compacted else self.n_told_lost,
            committed=now,
            ends=self._ends,
            commits_back=self.watch.went_back,
        )

    def _row(self, scenario: str, tally: Tally) -> Outcome:
        return Outcome(
            scenario=scenario,
            seed=self.seed,
            records=tally.records,
            scored=tally.scored,
            dead=tally.dead,
            missing=tally.missing,
            unaccounted=tally.unaccounted,
            repeated=tally.repeated,
            repeats_allowed=self.n_crashes * IN_FLIGHT,
            out_of_order=tally.out_of_order,
            late_allowed=self.late_allowed,
            stall_s=round(tally.stall_s, 2),
            seconds=round(time.monotonic() - self._began, 1),
            schedule=self.schedule,
            notes=tally.notes,
        )

    def close(self) -> None:
        """End everything that this stage started; the topics stay with the brokers."""
        if self.traffic is not None:
            self.traffic.close()
        for worker in self.workers:
            worker.close()
        self.offsets.close()
        self._folder.cleanup()
        # Hundreds of runs share a broker. Not waited for: the brokers do it when they can.
        self.admin.delete_topics([self.flows, self.alerts, self.dead_letters])
        self.admin.poll(0.1)
