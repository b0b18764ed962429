"""Exactly once on a real Kafka: a reader of committed records sees each alert and each dead letter once.

Every record alerts (false-positive rate 1), one in ten is malformed, and each names its number; so
what is missing or repeated has a name. The control at the end is the same with at least once: it
must fail the check, or the check is worth nothing.
"""

import asyncio
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
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from faust.types import TP

from anoean_stream.kafka.outcome import Outcome
from anoean_stream.kafka.transactions import TransactionalProducer
from anoean_stream.settings import Settings
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_topics import committed, create_topic
from tests.support.models import make_rows
from tests.support.registries import publish_model
from tests.support.topics import Record, publish, read_all
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess
from tests.support.worker_stage import Stage

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
N_ALERTING, N_MALFORMED = 3600, 400


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


def kill_and_restart(
    stage: Stage, settings: dict[str, object], *, seed: int, n_kills: int, n_records: int
) -> None:
    """Kill one worker again and again at random moments, and let the last one finish."""
    rng = random.Random(seed)
    with stage.worker(**settings) as worker:
        for _ in range(n_kills):
            worker.ready().wait_for_records(rng.randint(100, n_records // (n_kills + 2)))
            time.sleep(rng.random() * 0.1)  # anywhere in a transaction, not only at its end
            worker.stop(signal.SIGKILL)
            worker.start()
        wait_for_commit(stage, n_records, worker)
        assert worker.stop() == 0


@pytest.mark.parametrize(
    ("protocol", "seed"), [({}, 1), (KIP_848, 2)], ids=["cooperative-sticky", "KIP-848"]
)
def test_worker_killed_at_random_moments_repeats_and_loses_nothing(
    stage: Stage, protocol: dict[str, object], seed: int
) -> None:
    values = make_values()
    publish(stage.bootstrap, stage.flows, values, partitions=4)

    # A fixed id: a restarted worker ends the transaction of its former self at once.
    settings = EXACTLY | protocol | {"worker__id": "one"}
    kill_and_restart(stage, settings, seed=seed, n_kills=3, n_records=len(values))

    assert_each_once(stage)


def test_control_the_same_kills_with_at_least_once_repeat_alerts(stage: Stage) -> None:
    values = make_values()
    publish(stage.bootstrap, stage.flows, values, partitions=4)

    # Seldom commits (they are due by time, and after chunks_in_flight chunks), so that the kill comes
    # between an alert and its commit.
    settings = SMALL_CHUNKS | {
        "worker__id": "one",
        "consumer__commit_interval_s": 10,
        "consumer__chunks_in_flight": 1000,
    }
    kill_and_restart(stage, settings, seed=1, n_kills=1, n_records=len(values))

    seen = look(stage)
    assert seen.distinct == len(values)
    assert seen.repeats > 0
    with pytest.raises(AssertionError):
        assert_each_once(stage)


@pytest.mark.parametrize("protocol", [{}, KIP_848], ids=["cooperative-sticky", "KIP-848"])
def test_one_of_two_workers_killed_hands_over_without_a_repeat(
    stage: Stage, protocol: dict[str, object]
) -> None:
    values = make_values()
    settings = EXACTLY | protocol

    with stage.worker(**settings) as first, stage.worker(**settings) as second:
        wait_for_halves(first, second)
        publish(stage.bootstrap, stage.flows, values, partitions=4)
        first.wait_for_records(500)
        first.stop(signal.SIGKILL)  # nobody fences it: the brokers end its transaction
        wait_for_commit(stage, len(values), second)
        assert second.stop() == 0

    assert_each_once(stage)


@pytest.mark.parametrize("protocol", [{}, KIP_848], ids=["cooperative-sticky", "KIP-848"])
def test_worker_that_slept_through_its_session_commits_nothing_of_what_it_lost(
    stage: Stage, protocol: dict[str, object]
) -> None:
    values = make_values()
    settings = EXACTLY | protocol | {"producer__transaction_timeout_s": 60}

    with stage.worker(**settings) as zombie, stage.worker(**settings) as other:
        wait_for_halves(zombie, other)
        publish(stage.bootstrap, stage.flows, values, partitions=4)
        zombie.wait_for_records(300)
        zombie.freeze()
        wait_until(
            lambda: other.metrics().get("anoean_partitions_assigned") == 4,
            what="all partitions with the other worker",
            within_s=40,
            hint=other.tail,
        )
        zombie.thaw()
        zombie.wait_for_line("partitions_lost")
        wait_for_commit(stage, len(values), other, zombie, within_s=90)
        assert other.stop() == 0
        zombie.stop()

    assert_each_once(stage)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_offsets_of_a_member_that_left_are_refused_and_its_records_stay_hidden(
    stage: Stage, new_group: NewName, protocol: str
) -> None:
    settings = Settings.model_validate({"broker": {"bootstrap_servers": stage.bootstrap}})
    config = {"bootstrap.servers": stage.bootstrap, "group.id": stage.group}
    former = Consumer({**config, "group.protocol": protocol})
    former.subscribe([stage.flows])
    wait_until(lambda: former.poll(0.1) or former.assignment(), within_s=20, what="assignment")
    metadata = former.consumer_group_metadata()
    former.close()
    later = Consumer({**config, "group.protocol": protocol})
    later.subscribe([stage.flows])
    wait_until(lambda: later.poll(0.1) or later.assignment(), within_s=20, what="assignment")
    producer = TransactionalProducer(settings, name=new_group("zombie"), on_error=print)

    async def act() -> Outcome:
        await asyncio.wrap_future(producer.start())
        item = (stage.alerts, None, b"a zombie's", ())
        return await producer.transact(
            [item], offsets={TP(stage.flows, 0): 7}, group_metadata=metadata
        )

    outcome = asyncio.run(act())
    assert producer.close(20)
    later.close()

    assert outcome.has_group_moved_on, str(outcome)
    assert n_committed(stage) == 0
    assert read_all(stage.bootstrap, stage.alerts) == []


def test_workers_come_and_go_without_a_repeat(stage: Stage) -> None:
    values = make_values()
    half = len(values) // 2
    publish(stage.bootstrap, stage.flows, values[:half], partitions=4)

    with stage.worker(**EXACTLY) as stays:
        stays.ready().wait_for_records(300)
        with stage.worker(**EXACTLY) as guest:
            wait_for_halves(stays, guest)
            # Only now, so that there is something left for the guest however fast the other is.
            publish(stage.bootstrap, stage.flows, values[half:], partitions=4)
            guest.wait_for_records(300)
            assert guest.stop() == 0
        wait_for_commit(stage, len(values), stays)
        assert stays.stop() == 0

    assert_each_once(stage)


def test_broker_killed_in_the_middle_repeats_nothing(
    own_kafka_broker: KafkaBroker, tmp_path: Path
) -> None:
    broker = own_kafka_broker
    for name in ("flows", "alerts", "dlq"):
        create_topic(broker.bootstrap, name)
    stage = Stage(broker.bootstrap, "flows", "alerts", "dlq", "group", publish_model(tmp_path))
    values = make_values()
    publish(stage.bootstrap, stage.flows, values, partitions=4)

    with stage.worker(**EXACTLY | {"producer__transaction_timeout_s": 60}) as worker:
        for n_records in (500, 2000):
            worker.ready().wait_for_records(n_records)
            broker.kill()
            broker.start()
        wait_for_commit(stage, len(values), worker, within_s=60)
        assert worker.stop() == 0

    assert_each_once(stage)


def test_alerts_too_large_for_the_topic_are_shortened_and_the_rest_is_whole(
    broker: KafkaBroker, stage: Stage
) -> None:
    small = {"max.message.bytes": "6000"}
    alerts, dead_letters = f"{stage.alerts}-small", f"{stage.dead_letters}-small"
    create_topic(broker.bootstrap, alerts, partitions=1, config=small)
    create_topic(broker.bootstrap, dead_letters, partitions=1, config=small)
    stage = Stage(
        stage.bootstrap, stage.flows, alerts, dead_letters, stage.group, stage.registry_folder
    )
    large = {"note": "x" * 8000}
    rows = [row | (large if number % 10 == 0 else {}) for number, row in enumerate(make_rows(50))]
    values: list[bytes | None] = [msgspec.json.encode(row) for row in rows]
    values += [b"[" * 8000, b"short and malformed"]
    publish(stage.bootstrap, stage.flows, values, partitions=1)

    with stage.worker(**EXACTLY, producer__compression="none") as worker:
        wait_for_commit(stage, len(values), worker.ready(), within_s=30)
        metrics = worker.metrics()
        assert worker.stop() == 0

    assert_each_once(stage, n_alerting=50, n_malformed=2)
    originals = [
        json.loads(record.value or b"")["original"] for record in read_all(stage.bootstrap, alerts)
    ]
    assert originals.count(None) == 5 == sum("note" in row for row in rows)
    lengths = [len(record.value or b"") for record in read_all(stage.bootstrap, dead_letters)]
    assert sorted(lengths) == [19, 4000]
    assert metrics["anoean_truncated_total"] == 6
    # Transactions that ended at a refusal are there for those who do not ask for committed records.
    assert look(stage, "read_uncommitted").repeats > 0


def test_hung_broker_does_not_hold_a_stop(own_kafka_broker: KafkaBroker, tmp_path: Path) -> None:
    broker = own_kafka_broker
    for name in ("flows", "alerts", "dlq"):
        create_topic(broker.bootstrap, name)
    stage = Stage(broker.bootstrap, "flows", "alerts", "dlq", "group", publish_model(tmp_path))
    values = make_values()
    publish(stage.bootstrap, stage.flows, values, partitions=4)

    with stage.worker(**EXACTLY, worker__shutdown_deadline_s=4) as worker:
        worker.ready().wait_for_records(300)
        broker.pause()
        began = time.monotonic()
        worker.stop()
        seconds = time.monotonic() - began
        broker.resume()

    assert seconds < 10  # the deadline, and what an interpreter on a busy machine needs to end
    with stage.worker(**EXACTLY) as worker:
        wait_for_commit(stage, len(values), worker)
        assert worker.stop() == 0
    assert_each_once(stage)


def test_user_who_may_not_write_transactions_learns_what_to_grant(
    new_group: NewName, tmp_path: Path
) -> None:
    with KafkaBroker(
        properties={
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "true",
        }
    ) as broker:
        for name in ("flows", "alerts", "dlq"):
            create_topic(broker.bootstrap, name)
        group = new_group()
        binding = AclBinding(
            ResourceType.TRANSACTIONAL_ID, f"{group}-", ResourcePatternType.PREFIXED,
            "User:ANONYMOUS", "*", AclOperation.WRITE, AclPermissionType.DENY,
        )  # fmt: skip
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        admin.create_acls([binding])[binding].result(20)
        stage = Stage(broker.bootstrap, "flows", "alerts", "dlq", group, publish_model(tmp_path))

        with stage.worker(**EXACTLY) as worker:
            wait_until(
                lambda: worker.exit_code is not None,
                what="the end of the worker",
                within_s=30,
                hint=worker.tail,
            )
            assert worker.exit_code == 4
            assert f"transactional ids with the prefix '{group}-'" in worker.tail()


def wait_for_halves(first: WorkerProcess, second: WorkerProcess) -> None:
    wait_until(
        lambda: all(
            worker.metrics().get("anoean_partitions_assigned") == 2 for worker in (first, second)
        ),
        what="two partitions each",
        within_s=60,
        hint=lambda: first.tail() + second.tail(),
    )
