"""Each thing that can stand still does, for real: /live names it, and the worker ends with code 6."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer

from anoean_stream.errors import EXIT_STALLED
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_topics import create_topic
from tests.support.stage import Stage
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess

NewName = Callable[..., str]

QUICK: dict[str, object] = {
    "worker.liveness_timeout_s": 3,
    "worker.stall_timeout_s": 5,
    "worker.rebalance_timeout_s": 5,
    "worker.stall_grace_s": 2,
}
SMALL_CHUNKS = {**QUICK, "consumer.chunk_max_records": 50}


@pytest.fixture
def stage(kafka_broker: KafkaBroker, new_group: NewName, tmp_path: Path) -> Stage:
    return Stage.make(kafka_broker, new_group, tmp_path)


def ended(worker: WorkerProcess, *, within_s: float = 30) -> int | None:
    wait_until(
        lambda: worker.exit_code is not None, what="its end", within_s=within_s, hint=worker.tail
    )
    return worker.exit_code


def unlive(worker: WorkerProcess) -> str:
    """Wait for /live to fail and return its body."""
    return wait_until(
        lambda: next((body for code, body in [worker.probe("/live")] if code == 503), ""),
        what="a failing /live",
        within_s=20,
        hint=worker.tail,
    )


@pytest.mark.parametrize(
    ("stuck", "problem", "frame"),
    [
        ("scoring", "scoring thread stands still", "stuck_worker.py"),
        ("poll", "poll thread stands still", "stuck_worker.py"),
        ("acks", "no chunk acknowledged while", ""),
        ("places", "no chunk acknowledged while", ""),
    ],
)
def test_what_sticks_is_named_by_live_and_ends_the_worker(
    stage: Stage, stuck: str, problem: str, frame: str
) -> None:
    stage.publish(3000)

    with stage.worker(SMALL_CHUNKS, stuck=stuck) as worker:
        body = unlive(worker)
        code = ended(worker)
        line = worker.wait_for_line("worker_ended_by_watchdog")

    assert problem in json.loads(body)["problems"][0]
    assert code == EXIT_STALLED
    assert problem in line["reason"]
    assert frame in line["stack"]


@pytest.mark.parametrize("stuck", ["loop", "lock"])
def test_event_loop_that_sticks_cannot_answer_and_is_ended_all_the_same(
    stage: Stage, stuck: str
) -> None:
    stage.publish(100)

    with stage.worker(QUICK, stuck=stuck) as worker:
        code = ended(worker)
        line = worker.wait_for_line("worker_ended_by_watchdog")

    assert code == EXIT_STALLED
    assert "event loop stands still" in line["reason"]
    assert "stuck_worker.py" in line["stack"]


def test_log_that_hangs_cannot_hold_the_end(stage: Stage) -> None:
    stage.publish(100)

    with stage.worker(QUICK, stuck="log") as worker:
        assert ended(worker) == EXIT_STALLED


def test_delivery_that_no_broker_answers_ends_the_worker(
    own_kafka_broker: KafkaBroker, new_group: NewName, tmp_path: Path
) -> None:
    stage = Stage.make(own_kafka_broker, new_group, tmp_path)
    stage.publish(30_000)

    with stage.worker(SMALL_CHUNKS) as worker:
        worker.wait_for_records(100)
        own_kafka_broker.pause()
        body = unlive(worker)
        code = ended(worker)
        own_kafka_broker.resume()

    assert "no broker answers a delivery" in body
    assert code == EXIT_STALLED


def test_rebalance_that_never_ends_is_named_and_ends_the_worker(stage: Stage) -> None:
    other = Consumer(
        {
            "bootstrap.servers": stage.broker.bootstrap,
            "group.id": stage.group,
            "partition.assignment.strategy": "range",
            "session.timeout.ms": 6000,
        }
    )
    try:
        other.subscribe([stage.flows])
        wait_until(lambda: other.poll(0.1) or other.assignment(), what="it joins", within_s=20)
        # From now on it polls no more: it is alive, and never gives up what it has.
        with stage.worker({**QUICK, "consumer.assignment_strategy": "range"}) as worker:
            body = unlive(worker)
            code = ended(worker)
    finally:
        other.close()

    assert "rebalancing for" in body
    assert code == EXIT_STALLED


def test_slow_worker_that_moves_is_left_alone(stage: Stage) -> None:
    n_records = stage.publish(1000)

    with stage.worker(SMALL_CHUNKS, stuck="slow") as worker:
        began = time.monotonic()
        worker.wait_for_records(n_records)
        took_s = time.monotonic() - began
        assert worker.stop() == 0
        assert not [line for line in worker.lines() if line["event"] == "worker_stalled"]

    assert took_s > 6  # more than every limit


def test_brokers_that_are_gone_for_longer_than_every_limit_are_no_stall(
    own_kafka_broker: KafkaBroker, new_group: NewName, tmp_path: Path
) -> None:
    stage = Stage.make(own_kafka_broker, new_group, tmp_path)
    n_records = stage.publish(20_000)

    with stage.worker(SMALL_CHUNKS) as worker:
        worker.wait_for_records(100)
        own_kafka_broker.kill()
        wait_until(
            lambda: "no broker is connected for 1" in worker.probe("/ready")[1],
            what="an outage of more than 10 s",
            within_s=40,
            hint=worker.tail,
        )
        live, _ = worker.probe("/live")
        own_kafka_broker.start()
        worker.wait_for_records(n_records)
        wait_until(
            lambda: sum(stage.committed()) == n_records,
            what="every offset committed",
            within_s=60,
            hint=worker.tail,
        )
        code = worker.stop()

    assert live == 200
    assert code == 0
    stage.assert_nothing_committed_was_not_delivered()


def test_idle_worker_behind_a_transactional_writer_is_no_stall(stage: Stage) -> None:
    writer = Producer(
        {"bootstrap.servers": stage.broker.bootstrap, "transactional.id": stage.group}
    )
    writer.init_transactions(30)
    for n_records, is_kept in ((100, True), (50, False), (20, True)):
        writer.begin_transaction()
        for _ in range(n_records):
            writer.produce(stage.flows, b"{}")
        writer.flush(30)
        if is_kept:
            writer.commit_transaction(30)
        else:
            writer.abort_transaction(30)

    with stage.worker(QUICK) as worker:
        worker.wait_for_records(120)
        began = time.monotonic()
        # Markers stand after the last record: the end is never reached by reading records.
        wait_until(lambda: time.monotonic() - began > 9, within_s=20, what="stall time and grace")
        assert worker.probe("/live")[0] == 200
        assert not [line for line in worker.lines() if line["event"] == "worker_stalled"]
        assert worker.stop() == 0


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_spare_worker_is_ready_and_no_stall(
    stage: Stage, new_group: NewName, protocol: str
) -> None:
    narrow = new_group("narrow")
    create_topic(stage.broker.bootstrap, narrow, partitions=1)
    settings = {**QUICK, "topics.input": narrow, "consumer.group_protocol": protocol}

    with stage.worker(settings) as first, stage.worker(settings) as second:
        first.ready()
        second.ready()
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > 8, within_s=20, what="rebalance limit, grace")
        answers = [worker.probe("/live")[0] for worker in (first, second)]
        held = [worker.metrics()["anoean_partitions_assigned"] for worker in (first, second)]

    assert answers == [200, 200]
    assert sorted(held) == [0, 1]
