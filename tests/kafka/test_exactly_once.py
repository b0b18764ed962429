"""Exactly once on a real Kafka: a reader of committed records sees each alert and each dead letter once.

Every record alerts (false-positive rate 1), one in ten is malformed, and each names its number; so
what is missing or repeated has a name. The control at the end is the same with at least once: it
must fail the check, or the check is worth nothing.
"""

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_topics import committed, create_topic
from tests.support.models import make_rows
from tests.support.stage import Stage, publish_model
from tests.support.topics import Record, publish, read_all
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess

NewName = Callable[..., str]
Place = tuple[int, int]
"""Partition and offset of an input record."""

SMALL_CHUNKS: dict[str, object] = {
    "scoring__false_positive_rate": 1.0,
    "consumer__chunk_max_records": 40,
    "consumer__chunks_in_flight": 2,
}
EXACTLY: dict[str, object] = {
    **SMALL_CHUNKS,
    "producer__delivery": "exactly_once",
    "producer__transaction_timeout_s": 5,
}
KIP_848: dict[str, object] = {"consumer__group_protocol": "consumer"}
N_ALERTING, N_MALFORMED = 5400, 600


def make_values(n_good: int = N_ALERTING, n_bad: int = N_MALFORMED) -> list[bytes | None]:
    distinct = make_rows(200)
    values: list[bytes | None] = [
        msgspec.json.encode(distinct[number % len(distinct)] | {"number": number})
        for number in range(n_good)
    ]
    values += [b"malformed %d" % number for number in range(n_bad)]
    random.Random(0).shuffle(values)
    return values


@dataclass
class Seen:
    """How often each input record was answered for, by what a reader sees."""

    alerts: Counter[Place]
    dead_letters: Counter[Place]

    @property
    def repeats(self) -> int:
        both = self.alerts + self.dead_letters
        return sum(n - 1 for n in both.values())

    @property
    def distinct(self) -> int:
        return len(self.alerts | self.dead_letters)


def alert_place(record: Record) -> Place:
    source = json.loads(record.value or b"")["source"]
    return source["partition"], source["offset"]


def letter_place(record: Record) -> Place:
    return int(record.headers["anoean-partition"]), int(record.headers["anoean-offset"])


def look(stage: Stage, isolation_level: str = "read_committed") -> Seen:
    def read(topic: str) -> list[Record]:
        return read_all(stage.bootstrap, topic, isolation_level=isolation_level)

    return Seen(
        Counter(map(alert_place, read(stage.alerts))),
        Counter(map(letter_place, read(stage.dead_letters))),
    )


def n_committed(stage: Stage) -> int:
    return sum(committed(stage.bootstrap, stage.group, stage.flows))


def wait_for_commit(
    stage: Stage, n_records: int, *workers: WorkerProcess, within_s: float = 60
) -> None:
    wait_until(
        lambda: n_committed(stage) == n_records,
        what=f"{n_records} records committed",
        within_s=within_s,
        hint=lambda: f"{n_committed(stage)}\n" + "\n---\n".join(one.tail() for one in workers),
    )


def assert_each_once(
    stage: Stage, n_alerting: int = N_ALERTING, n_malformed: int = N_MALFORMED
) -> None:
    seen = look(stage)
    assert set(seen.alerts.values()) == {1}, seen.alerts.most_common(3)
    assert set(seen.dead_letters.values()) == {1}, seen.dead_letters.most_common(3)
    assert (len(seen.alerts), len(seen.dead_letters)) == (n_alerting, n_malformed)


@pytest.fixture(scope="module")
def broker(kafka_broker: KafkaBroker) -> Iterator[KafkaBroker]:
    """A broker that looks for dead transactions each second: its default of ten only takes longer."""
    own = KafkaBroker(
        properties={"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000"}
    ).start()
    yield own
    own.close()


@pytest.fixture
def stage(broker: KafkaBroker, new_group: NewName, tmp_path: Path) -> Stage:
    names = [new_group(stem) for stem in ("flows", "alerts", "dlq")]
    for name in names:
        create_topic(broker.bootstrap, name)
    return Stage(
        broker.bootstrap, names[0], names[1], names[2], new_group(), publish_model(tmp_path)
    )


def test_orderly_run_commits_offsets_with_the_alerts(stage: Stage) -> None:
    values = make_values()
    publish(stage.bootstrap, stage.flows, values, partitions=4)

    with stage.worker(**EXACTLY) as worker:
        metrics = worker.ready().wait_for_records(len(values))
        wait_for_commit(stage, len(values), worker, within_s=5)
        code = worker.stop()

    assert code == 0
    assert_each_once(stage)
    assert metrics["anoean_alerts_total"] == N_ALERTING
