"""Models in operation on a real Kafka: the topics' configuration, roll back, who serves what."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType

from tests.support.kafka_broker import KafkaBroker
from tests.support.operator import Captured, Operator, make_operated_registry
from tests.support.reporting import make_report, tombstone


@pytest.fixture
def operator(
    kafka_broker: KafkaBroker, new_group: Callable[[str], str], tmp_path: Path, capsys: Captured
) -> Operator:
    stem = new_group("site")
    uses = ("input", "alerts", "dead_letters", "audit", "control", "workers")
    topics = {use: f"{stem}.{use}" for use in uses}
    return Operator(kafka_broker.bootstrap, topics, make_operated_registry(tmp_path), capsys)


def config_of(operator: Operator, use: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, operator.topics[use])
    admin = AdminClient({"bootstrap.servers": operator.bootstrap})
    found = admin.describe_configs([resource])[resource].result(30)
    return {name: str(entry.value) for name, entry in found.items()}


def test_topics_about_models_and_workers_get_what_they_need(operator: Operator) -> None:
    created = operator.json("topics", "create", "--partitions", "3")["created"]

    assert created == list(operator.topics.values())
    listed = operator.json("topics", "list")
    partitions = {topic["name"]: topic["partitions"] for topic in listed["topics"]}
    assert [partitions[name] for name in created] == [3, 3, 3, 1, 1, 1]
    assert listed["missing"] == []
    assert listed["uses"][operator.topics["workers"]] == "reports of workers"
    assert config_of(operator, "audit")["retention.ms"] == "-1"
    assert config_of(operator, "control")["retention.ms"] == "3600000"
    assert config_of(operator, "workers")["cleanup.policy"] == "compact"
    assert config_of(operator, "dead_letters")["max.message.bytes"] == "2097152"


def test_topic_that_is_null_is_neither_created_nor_missed(operator: Operator) -> None:
    left_out = operator.topics["audit"]
    operator.topics["audit"] = "null"

    assert left_out not in operator.json("topics", "create")["created"]
    assert operator.json("topics", "list")["missing"] == []


def test_what_is_missing_is_named_with_its_use(operator: Operator) -> None:
    operator("topics", "create", operator.topics["input"])

    _, err = operator("topics", "list")

    assert f"{operator.topics['control']} (control of workers)" in err
    assert operator.topics["input"] not in err


def test_roll_back_reaches_every_worker_within_five_seconds(operator: Operator) -> None:
    operator("topics", "create")
    with operator.worker("w1", version="3"), operator.worker("w2", version="3"):
        began_s = time.monotonic()
        found = operator.json("models", "rollback", "--reason", "flood of alerts")
        took_s = time.monotonic() - began_s

    assert found["workers"]["followed"] == ["w1", "w2"]
    assert found["workers"]["seconds"] < 5
    assert took_s < 10
    assert operator.json("models", "status")["state"] == "agreed"
    assert "flood of alerts" in operator("models", "history")[0]


def test_worker_that_stopped_in_order_is_told_from_one_that_was_lost(operator: Operator) -> None:
    operator("topics", "create")
    stopped = make_report("stopped", version="3")
    operator.report(stopped, make_report("lost", version="3", ago_s=40))
    operator.write("workers", tombstone(stopped))

    found = operator.json("models", "status")

    states = {one["worker"]: one["state"] for one in found["workers"]}
    assert states == {"stopped": "stopped", "lost": "gone"}
    assert found["state"] == "no_workers"
