"""The worker on a real Kafka: counts are equal, whatever the input."""

import json
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_topics import committed
from tests.support.models import make_rows
from tests.support.registries import publish_model
from tests.support.topics import publish, read_all
from tests.support.waiting import wait_until
from tests.support.worker_stage import Stage

N_GOOD, N_BAD = 100_000, 10_000


@pytest.fixture
def stage(
    kafka_broker: KafkaBroker,
    new_topic: Callable[..., str],
    new_group: Callable[[], str],
    tmp_path: Path,
) -> Stage:
    return Stage(
        kafka_broker.bootstrap,
        new_topic("flows"),
        new_topic("alerts"),
        new_topic("dlq"),
        new_group(),
        publish_model(tmp_path),
    )


def poison(number: int) -> bytes | None:
    """One of the kinds of malformed record, with its number in it where there is room for one."""
    kinds: list[bytes | None] = [
        None,
        b"",
        b'{"number": %d' % number,
        b"[%d]" % number,
        b"\xff\xfe%d" % number,
        b'{"bytes_out": {"number": %d}}' % number,
        b'{"bytes_out": ' + b"[" * 3000 + b"%d" % number + b"]" * 3000 + b"}",
        b'{"bytes_out": 1},{"bytes_in": %d}' % number,
        b"not json %d" % number,
    ]
    return kinds[number % len(kinds)]


def test_ten_thousand_malformed_among_a_hundred_thousand_good_are_all_accounted_for(
    stage: Stage,
) -> None:
    distinct = [msgspec.json.encode(row) for row in make_rows(5000)]
    good: list[bytes | None] = [distinct[i % len(distinct)] for i in range(N_GOOD)]
    bad = [poison(number) for number in range(N_BAD)]
    values = good + bad
    random.Random(0).shuffle(values)  # a schedule, not a secret
    publish(stage.bootstrap, stage.flows, values)

    with stage.worker() as worker:
        metrics = worker.ready().wait_for_records(N_GOOD + N_BAD, timeout_s=90)
        assert worker.stop() == 0

    assert metrics["anoean_records_total"] == N_GOOD + N_BAD
    assert metrics["anoean_scored_total"] == N_GOOD
    letters = read_all(stage.bootstrap, stage.dead_letters)
    assert Counter(letter.value for letter in letters) == Counter(bad)
    inputs = {(r.partition, r.offset): r.value for r in read_all(stage.bootstrap, stage.flows)}
    for letter in letters:
        origin = (int(letter.headers["anoean-partition"]), int(letter.headers["anoean-offset"]))
        assert inputs[origin] == letter.value
    alerts = [json.loads(alert.value or b"") for alert in read_all(stage.bootstrap, stage.alerts)]
    assert len(alerts) == len({alert["alert_id"] for alert in alerts})
    assert len(alerts) == metrics["anoean_alerts_total"]
    assert sum(committed(stage.bootstrap, stage.group, stage.flows)) == N_GOOD + N_BAD


def test_two_workers_share_the_topic_and_one_killed_loses_nothing(stage: Stage) -> None:
    rows = [msgspec.json.encode(row) for row in make_rows(4000)]
    rate_one = {"scoring__false_positive_rate": 1.0, "consumer__chunk_max_records": 100}

    with stage.worker(**rate_one) as first, stage.worker(**rate_one) as second:
        wait_until(
            lambda: (
                first.metrics().get("anoean_partitions_assigned") == 2
                and second.metrics().get("anoean_partitions_assigned") == 2
            ),
            what="two partitions each",
            within_s=60,
            hint=lambda: first.tail() + second.tail(),
        )
        publish(stage.bootstrap, stage.flows, rows)
        first.wait_for_records(1)
        first.stop(signal.SIGKILL)

        wait_until(
            lambda: sum(committed(stage.bootstrap, stage.group, stage.flows)) == len(rows),
            what="every offset committed",
            within_s=60,
            hint=second.tail,
        )
        assert second.stop() == 0

    alerts = [json.loads(alert.value or b"") for alert in read_all(stage.bootstrap, stage.alerts)]
    places = {(a["source"]["partition"], a["source"]["offset"]) for a in alerts}
    assert len(places) == len(rows)
    assert len({alert["alert_id"] for alert in alerts}) == len(rows)


def test_missing_input_topic_is_named_with_the_command_that_makes_it(stage: Stage) -> None:
    with stage.worker(topics__input="no-such-topic") as worker:
        wait_until(
            lambda: "no-such-topic" in worker.tail() and "anoean topics create" in worker.tail(),
            what="a sentence about the missing topic",
            within_s=40,
            hint=worker.tail,
        )
        assert worker.probe("/ready")[0] == 503
        assert worker.stop() == 0
