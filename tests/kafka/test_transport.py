"""The transport on a real broker: what arrives, what is committed, and how it ends."""

import time
from collections import defaultdict
from collections.abc import Callable

import pytest

from tests.support.chunk_worker import WorkerProcess
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_topics import committed, create_topic, publish_numbers
from tests.support.plans import Protocol, worker_plan
from tests.support.waiting import wait_until

NewName = Callable[..., str]

PARTITIONS = 4


def _share(n: int) -> list[int]:
    """Records in each partition when n numbers are written round robin."""
    return [len(range(partition, n, PARTITIONS)) for partition in range(PARTITIONS)]


def test_every_record_arrives_once_and_in_order_and_is_committed(
    kafka_broker: KafkaBroker, new_topic: NewName, new_group: NewName
) -> None:
    topic, group, n = new_topic(), new_group(), 20_000
    publish_numbers(kafka_broker.bootstrap, topic, range(n))

    with WorkerProcess(worker_plan(kafka_broker.bootstrap, topic, group)) as worker:
        wait_until(lambda: len(worker.numbers()) >= n, within_s=20, what=worker.explain())
        code = worker.terminate()

    by_partition: dict[int, list[int]] = defaultdict(list)
    offsets: dict[int, list[int]] = defaultdict(list)
    for line in worker.said("chunk"):
        by_partition[line["partition"]].extend(line["numbers"])
        offsets[line["partition"]].append(line["last"])
    assert code == 0, worker.explain()
    assert all(lasts == sorted(lasts) for lasts in offsets.values())
    assert {p: list(range(p, n, PARTITIONS)) for p in range(PARTITIONS)} == by_partition
    assert committed(kafka_broker.bootstrap, group, topic) == _share(n)


def test_only_acknowledged_chunks_are_committed(
    kafka_broker: KafkaBroker, new_topic: NewName, new_group: NewName
) -> None:
    topic, group = new_topic(), new_group()
    publish_numbers(kafka_broker.bootstrap, topic, range(4000))
    plan = worker_plan(
        kafka_broker.bootstrap, topic, group, chunk_max_records=100, hold_after=5,
        shutdown_deadline_s=3.0,
    )  # fmt: skip

    with WorkerProcess(plan) as worker:
        worker.wait_for("begun", within_s=20, n=6)
        worker.wait_for("commit", within_s=5)
        code = worker.terminate()

    expected = [0] * PARTITIONS
    for line in worker.said("acked"):
        expected[line["partition"]] = line["last"] + 1
    assert code == 0, worker.explain()
    assert len(worker.said("acked")) == 5
    assert committed(kafka_broker.bootstrap, group, topic) == expected


def test_nothing_is_lost_when_a_worker_is_killed(
    kafka_broker: KafkaBroker, new_topic: NewName, new_group: NewName
) -> None:
    topic, group, n = new_topic(), new_group(), 4000
    publish_numbers(kafka_broker.bootstrap, topic, range(n))
    plan = worker_plan(
        kafka_broker.bootstrap, topic, group, chunk_max_records=100, delay_s=0.02,
        session_timeout_s=1.5,
    )  # fmt: skip

    with WorkerProcess(plan) as first:
        first.wait_for("acked", within_s=20, n=10)
        first.kill()
    acked = {
        number
        for line, done in zip(first.said("chunk"), first.said("acked"), strict=False)
        for number in line["numbers"]
        if done
    }
    after_crash = committed(kafka_broker.bootstrap, group, topic)
    with WorkerProcess({**plan, "delay_s": 0}) as second:
        wait_until(
            lambda: len(acked | set(second.numbers())) >= n, within_s=20, what=second.explain()
        )
        code = second.terminate()

    assert code == 0, second.explain()
    assert sum(after_crash) <= len(acked)
    assert acked | set(second.numbers()) == set(range(n))
    assert committed(kafka_broker.bootstrap, group, topic) == _share(n)


@pytest.mark.parametrize("protocol", ["range", "cooperative-sticky", "KIP-848"])
def test_workers_come_and_go_without_loss(
    kafka_broker: KafkaBroker, new_topic: NewName, new_group: NewName, protocol: Protocol
) -> None:
    topic, group, n = new_topic(), new_group(), 6000
    publish_numbers(kafka_broker.bootstrap, topic, range(n))
    plan = worker_plan(
        kafka_broker.bootstrap, topic, group, protocol=protocol, chunk_max_records=50, delay_s=0.03
    )

    with WorkerProcess(plan) as stays, WorkerProcess(plan) as goes:
        stays.wait_for("assigned", within_s=20)
        goes.wait_for("acked", within_s=20, n=5)
        wait_until(
            lambda: len(stays.partitions()) == 2, within_s=10, what=f"half each\n{stays.explain()}"
        )
        code_goes = goes.terminate()
        wait_until(
            lambda: len(set(stays.numbers()) | set(goes.numbers())) >= n,
            within_s=30,
            what=f"all numbers\n{stays.explain()}",
        )
        code_stays = stays.terminate()

    seen = stays.numbers() + goes.numbers()
    assert (code_stays, code_goes) == (0, 0), stays.explain() + goes.explain()
    assert set(seen) == set(range(n))
    # An orderly change of hands drains and commits first: nothing is repeated.
    assert len(seen) == n
    assert committed(kafka_broker.bootstrap, group, topic) == _share(n)
    assert not stays.said("lost")
    if protocol != "range":
        # Partitions that stay are not even named: at no time did the worker hold fewer than two.
        assert all(len(line["partitions"]) <= 2 for line in stays.said("revoked"))


def test_unacknowledged_chunks_stop_the_fetching_and_not_the_worker(
    kafka_broker: KafkaBroker, new_topic: NewName, new_group: NewName
) -> None:
    topic, group = new_topic(), new_group()
    publish_numbers(kafka_broker.bootstrap, topic, range(20_000))
    plan = worker_plan(
        kafka_broker.bootstrap, topic, group, chunk_max_records=100, chunks_in_flight=3,
        hold_after=0, shutdown_deadline_s=3.0,
    )  # fmt: skip

    with WorkerProcess(plan) as worker:
        worker.wait_for("begun", within_s=20, n=3)
        before = len(worker.said("tick"))
        worker.wait_for("tick", within_s=10, n=before + 20)  # two seconds: the stall is over
        code = worker.terminate()

    begun = sum(line["n_records"] for line in worker.said("begun"))
    assert code == 0, worker.explain()
    assert 0 < begun <= 3 * 100
    assert committed(kafka_broker.bootstrap, group, topic) == [0] * PARTITIONS


def test_a_worker_without_a_model_is_ready_and_joins_nothing(
    kafka_broker: KafkaBroker, new_topic: NewName, new_group: NewName
) -> None:
    topic, group = new_topic(), new_group()
    publish_numbers(kafka_broker.bootstrap, topic, range(100))

    with WorkerProcess(worker_plan(kafka_broker.bootstrap, topic, group, gated=True)) as worker:
        worker.wait_for("ready", within_s=15)
        worker.wait_for("tick", within_s=10, n=10)
        code = worker.terminate(within_s=5)

    assert code == 0, worker.explain()
    assert not worker.said("assigned")
    assert not worker.said("begun")


def test_a_missing_topic_is_named_and_read_once_it_exists(
    kafka_broker: KafkaBroker, new_group: NewName
) -> None:
    topic, group = new_group("late-topic"), new_group()
    plan = worker_plan(
        kafka_broker.bootstrap, topic, group, options={"topic.metadata.refresh.interval.ms": "500"}
    )

    with WorkerProcess(plan) as worker:
        sentence = f"topic '{topic}' does not exist on {kafka_broker.bootstrap}"
        wait_until(lambda: sentence in "".join(worker.log), within_s=20, what=sentence)
        create_topic(kafka_broker.bootstrap, topic)
        publish_numbers(kafka_broker.bootstrap, topic, range(100))
        wait_until(lambda: len(worker.numbers()) == 100, within_s=20, what=worker.explain())
        code = worker.terminate()

    assert code == 0, worker.explain()
    assert "anoean topics create" in "".join(worker.log)


def test_a_worker_goes_on_after_the_broker_was_killed(
    own_kafka_broker: KafkaBroker, new_group: NewName
) -> None:
    broker, topic, group = own_kafka_broker, new_group("topic"), new_group()
    create_topic(broker.bootstrap, topic)
    publish_numbers(broker.bootstrap, topic, range(2000))

    with WorkerProcess(worker_plan(broker.bootstrap, topic, group)) as worker:
        wait_until(lambda: len(worker.numbers()) >= 2000, within_s=20, what=worker.explain())
        broker.kill()
        worker.wait_for("error", within_s=10)
        broker.start()
        publish_numbers(broker.bootstrap, topic, range(2000, 4000))
        wait_until(
            lambda: set(worker.numbers()) == set(range(4000)), within_s=30, what=worker.explain()
        )
        wait_until(
            lambda: committed(broker.bootstrap, group, topic) == _share(4000),
            within_s=10,
            what="the commits",
        )
        code = worker.terminate()

    assert code == 0, worker.explain()


def test_a_worker_stops_within_its_deadline_while_the_broker_is_frozen(
    own_kafka_broker: KafkaBroker, new_group: NewName
) -> None:
    broker, topic, group = own_kafka_broker, new_group("topic"), new_group()
    create_topic(broker.bootstrap, topic)
    publish_numbers(broker.bootstrap, topic, range(2000))
    plan = worker_plan(
        broker.bootstrap, topic, group, chunk_max_records=50, delay_s=0.05, shutdown_deadline_s=4.0
    )

    with WorkerProcess(plan) as worker:
        worker.wait_for("acked", within_s=20, n=3)
        broker.pause()
        start = time.monotonic()
        code = worker.terminate(within_s=8)
        took_s = time.monotonic() - start
        broker.resume()

    assert code == 0, worker.explain()
    assert took_s < 6
