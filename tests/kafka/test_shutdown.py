"""A stop ends within its deadline, whatever hangs; what is committed was delivered."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from anoean_stream.errors import EXIT_LATE
from tests.support.kafka_broker import KafkaBroker
from tests.support.stage import Stage
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess

NewName = Callable[..., str]

DEADLINE_S = 4
ROOM_S = 0.5
"""Seconds that the measurement itself may take on a busy machine."""

SETTINGS: dict[str, object] = {
    "worker.shutdown_deadline_s": DEADLINE_S,
    "consumer.chunk_max_records": 100,
}


@pytest.fixture
def stage(kafka_broker: KafkaBroker, new_group: NewName, tmp_path: Path) -> Stage:
    return Stage.make(kafka_broker, new_group, tmp_path)


def timed_stop(worker: WorkerProcess, number: int = signal.SIGTERM) -> tuple[int, float]:
    """Return exit code and seconds from the signal to the end."""
    began = time.monotonic()
    code = worker.stop(number)
    return code, time.monotonic() - began


def begun(worker: WorkerProcess) -> None:
    """Wait until the first chunk is with the detector: the lag is noted when it is handed over."""
    worker.wait_for_line("partitions_assigned")
    wait_until(
        lambda: (
            worker.probe("/live")[0] == 0
            or any(name.startswith("anoean_consumer_lag") for name in worker.metrics())
        ),
        what="a first chunk",
        within_s=20,
        hint=worker.tail,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_worker_stops_at_once(stage: Stage, number: signal.Signals) -> None:
    with stage.worker(SETTINGS) as worker:
        worker.ready()
        code, took_s = timed_stop(worker, number)

    assert code == 0
    assert took_s < DEADLINE_S / 2


def test_worker_under_load_stops_in_order_and_commits_what_it_delivered(stage: Stage) -> None:
    n_records = stage.publish(60_000)

    with stage.worker(SETTINGS) as worker:
        worker.wait_for_records(500)
        code, took_s = timed_stop(worker)

    assert code == 0
    assert took_s < DEADLINE_S + ROOM_S
    n_committed = sum(stage.committed())
    assert 500 <= n_committed < n_records
    stage.assert_nothing_committed_was_not_delivered()
    # In order: nothing was delivered that is not committed, so a restart repeats nothing.
    assert len(stage.alerts_read()) == n_committed


def test_frozen_broker_cannot_hold_the_stop(
    own_kafka_broker: KafkaBroker, new_group: NewName, tmp_path: Path
) -> None:
    stage = Stage.make(own_kafka_broker, new_group, tmp_path)
    stage.publish(60_000)

    with stage.worker(SETTINGS) as worker:
        worker.wait_for_records(500)
        own_kafka_broker.pause()
        code, took_s = timed_stop(worker)
        own_kafka_broker.resume()
        assert code == 0, worker.tail()

    assert took_s < DEADLINE_S + ROOM_S
    stage.assert_nothing_committed_was_not_delivered()


def test_scoring_that_hangs_cannot_hold_the_stop(stage: Stage) -> None:
    stage.publish(1000)

    with stage.worker(SETTINGS, stuck="scoring") as worker:
        begun(worker)
        code, took_s = timed_stop(worker)
        assert code == 0, worker.tail()  # an orderly stop: the chunk is abandoned and read again

    assert took_s < DEADLINE_S + ROOM_S
    assert sum(stage.committed()) == 0


@pytest.mark.parametrize("stuck", ["loop", "lock"])
def test_event_loop_that_hangs_cannot_hold_the_stop(stage: Stage, stuck: str) -> None:
    stage.publish(1000)

    with stage.worker(SETTINGS, stuck=stuck) as worker:
        wait_until(
            lambda: worker.probe("/live")[0] == 0,
            what="an event loop that answers nothing",
            within_s=30,
            hint=worker.tail,
        )
        code, took_s = timed_stop(worker)
        line = worker.wait_for_line("worker_killed")

    assert took_s < DEADLINE_S + ROOM_S
    assert code == EXIT_LATE
    assert "stuck_worker.py" in line["stack"]
    stage.assert_nothing_committed_was_not_delivered()


def test_log_that_hangs_cannot_hold_the_stop(stage: Stage) -> None:
    stage.publish(1000)

    with stage.worker(SETTINGS, stuck="log") as worker:
        wait_until(lambda: worker.probe("/live")[0] == 0, what="a log that hangs", within_s=30)
        code, took_s = timed_stop(worker)

    assert took_s < DEADLINE_S + ROOM_S
    assert code == EXIT_LATE


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("stuck", ["loop", "scoring"])
def test_second_signal_ends_it_at_once(stage: Stage, stuck: str, number: signal.Signals) -> None:
    stage.publish(1000)

    with stage.worker({**SETTINGS, "worker.shutdown_deadline_s": 30}, stuck=stuck) as worker:
        begun(worker)
        if stuck == "loop":
            wait_until(
                lambda: worker.probe("/live")[0] == 0,
                what="an event loop that answers nothing",
                within_s=30,
                hint=worker.tail,
            )
        assert worker.process is not None
        worker.process.send_signal(signal.SIGTERM)
        worker.wait_for_line("worker_stopping")
        code, took_s = timed_stop(worker, number)

    assert took_s < 1
    assert code == 128 + number
    stage.assert_nothing_committed_was_not_delivered()
