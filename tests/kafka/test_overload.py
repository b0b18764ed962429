"""Slow and refusing alerts topics hold consumption back; sampling begins, is told, and ends."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anoean_stream.overload.rule import is_kept
from benchmarks.backlog import measure, rss_mib
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_quota import set_produce_quota
from tests.support.kafka_topics import create_topic
from tests.support.stage import Stage
from tests.support.topics import read_all
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess

NewName = Callable[..., str]

SMALL: dict[str, object] = {"consumer.chunk_max_records": 200, "consumer.chunks_in_flight": 4}
MOST_IN_FLIGHT = 200 * 4


@pytest.fixture
def stage(kafka_broker: KafkaBroker, new_group: NewName, tmp_path: Path) -> Stage:
    return Stage.make(kafka_broker, new_group, tmp_path)


def n_done(worker: WorkerProcess) -> int:
    return int(worker.metrics().get("anoean_records_total", 0))


def standing_still(worker: WorkerProcess, *, for_s: float = 3.0) -> int:
    """Return how many records are acknowledged once that has not changed for a while."""
    seen = (-1, 0.0)

    def still() -> bool:
        nonlocal seen
        done = n_done(worker)
        if done != seen[0]:
            seen = (done, time.monotonic())
        return time.monotonic() - seen[1] > for_s

    wait_until(still, within_s=40, what="a worker that waits", hint=worker.tail)
    return seen[0]


def n_handed_over(worker: WorkerProcess, n_records: int) -> int:
    """Return how many records have left the prefetch, by the lag that the worker tells."""
    # A partition has a lag from its first chunk on.
    return sum(
        n_records // 4 - int(lag)
        for name, lag in worker.metrics().items()
        if name.startswith("anoean_consumer_lag_records")
    )


def test_memory_stays_below_the_bound_of_the_docs(
    kafka_broker: KafkaBroker, tmp_path: Path
) -> None:
    result = measure(kafka_broker.bootstrap, tmp_path, 200_000, {})

    assert result["peak_rss_mib"] < result["bound_mib"]
    # A bound that anything would pass says nothing.
    assert result["bound_mib"] < 6 * result["peak_rss_mib"]


def test_alerts_topic_that_is_missing_holds_back_and_nothing_is_dropped(
    kafka_broker: KafkaBroker, new_group: NewName, tmp_path: Path
) -> None:
    stage = Stage.make(kafka_broker, new_group, tmp_path)
    n_records = stage.publish(20_000)
    later = new_group("later-alerts")

    with stage.worker({**SMALL, "topics.alerts": later}) as worker:
        worker.ready()
        assert standing_still(worker) == 0
        assert n_handed_over(worker, n_records) <= MOST_IN_FLIGHT
        assert worker.probe("/live")[0] == 200
        create_topic(kafka_broker.bootstrap, later)
        metrics = worker.wait_for_records(n_records, timeout_s=90)
        assert worker.stop() == 0

    alerts = [json.loads(record.value or b"") for record in read_all(kafka_broker.bootstrap, later)]
    assert metrics["anoean_sampled_out_total"] == 0
    assert len({alert["alert_id"] for alert in alerts}) == n_records
    assert sum(stage.committed()) == n_records


def test_frozen_broker_holds_back_with_flat_memory_and_it_goes_on_by_itself(
    own_kafka_broker: KafkaBroker, new_group: NewName, tmp_path: Path
) -> None:
    stage = Stage.make(own_kafka_broker, new_group, tmp_path)
    n_records = stage.publish(40_000)

    with stage.worker(SMALL) as worker:
        worker.wait_for_records(1000)
        own_kafka_broker.pause()
        done = standing_still(worker)
        before_mib = rss_mib(worker.pid)
        assert n_handed_over(worker, n_records) - done <= MOST_IN_FLIGHT
        assert standing_still(worker, for_s=5) == done
        grown_mib = rss_mib(worker.pid) - before_mib
        own_kafka_broker.resume()
        worker.wait_for_records(n_records, timeout_s=90)
        # The counters are not enough: the session has timed out, so what was in flight counts twice.
        wait_until(
            lambda: sum(stage.committed()) == n_records,
            what="every offset committed",
            within_s=90,
            hint=worker.tail,
        )
        assert worker.stop() == 0

    assert grown_mib < 20
    assert len({alert["alert_id"] for alert in stage.alerts_read()}) == n_records


def test_alerts_over_quota_are_slow_and_none_is_dropped(stage: Stage) -> None:
    n_records = stage.publish(3000)
    client = stage.group  # a name of its own: other tests use the same broker
    set_produce_quota(stage.broker, client, 200_000)
    settings = {
        **SMALL,
        "broker.client_id": client,
        "producer.compression": "none",
        "worker.stall_timeout_s": 5,
        "worker.stall_grace_s": 2,
    }

    with stage.worker(settings) as worker:
        first = worker.wait_for_records(1)["anoean_records_total"]
        began = time.monotonic()
        wait_until(
            lambda: time.monotonic() - began > 8, within_s=20, what="more than stall and grace"
        )
        slow = n_done(worker)
        handed_over = n_handed_over(worker, n_records)
        set_produce_quota(stage.broker, client, None)
        worker.wait_for_records(n_records, timeout_s=60)
        assert worker.stop() == 0

    assert first < n_records
    assert slow < n_records, "the quota did not bite"
    assert handed_over - slow <= MOST_IN_FLIGHT
    assert len({alert["alert_id"] for alert in stage.alerts_read()}) == n_records


SAMPLING: dict[str, object] = {
    "consumer.chunk_max_records": 500,
    "overload.policy": "sample",
    "overload.max_lag_records": 10_000,
    "overload.sample_share": 0.2,
}


def split(stage: Stage) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return alerts and notices of the alerts topic."""
    messages = stage.alerts_read()
    return (
        [one for one in messages if one["event_kind"] == "alert"],
        [one for one in messages if one["event_kind"] == "notice"],
    )


def test_sampling_begins_beyond_the_limit_ends_below_it_and_every_record_is_counted(
    stage: Stage,
) -> None:
    n_records = stage.publish(60_000)

    with stage.worker(SAMPLING) as worker:
        metrics = worker.wait_for_records(n_records)
        code = worker.stop()
    alerts, notices = split(stage)

    n_dropped = metrics["anoean_sampled_out_total"]
    assert code == 0
    assert n_dropped > 0.5 * n_records
    assert metrics["anoean_records_total"] == n_records
    assert metrics["anoean_scored_total"] + n_dropped == n_records  # none is dead here
    assert metrics["anoean_alerts_total"] == len(alerts) == metrics["anoean_scored_total"]
    assert sum(stage.committed()) == n_records
    assert {notice["state"] for notice in notices} == {"started", "ended"}
    assert sum(notice["dropped"] for notice in notices) == n_dropped
    dropped_places = {
        (gap["partition"], offset)
        for notice in notices
        for gap in notice["gaps"]
        if gap["last_offset"] is not None
        for offset in range(gap["first_offset"], gap["last_offset"] + 1)
        if not is_kept(gap["partition"], np.array([offset], dtype=np.uint64), 0.2)[0]
    }
    scored_places = {(a["source"]["partition"], a["source"]["offset"]) for a in alerts}
    assert len(dropped_places) == n_dropped
    assert not dropped_places & scored_places
    assert len(dropped_places | scored_places) == n_records


def test_worker_that_stops_while_it_samples_says_what_it_dropped(stage: Stage) -> None:
    n_records = stage.publish(60_000)

    with stage.worker({**SAMPLING, "consumer.chunk_max_records": 50}, stuck="slow") as worker:
        worker.wait_for_line("sampling_started")
        worker.wait_for_records(200)
        assert worker.stop() == 0
    _, notices = split(stage)

    assert notices[-1]["state"] == "ended"
    assert notices[-1]["reason"] == "the worker stops"
    assert notices[-1]["dropped"] > 0
    assert sum(stage.committed()) < n_records
