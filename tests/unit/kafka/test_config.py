"""Settings in librdkafka's words."""

from typing import Any

import pytest
from confluent_kafka import Consumer, Producer

from anoean_stream.errors import ConfigError
from anoean_stream.kafka.config import (
    consumer_config,
    is_incremental,
    producer_config,
)
from anoean_stream.settings import Settings


def _settings(**sections: Any) -> Settings:
    return Settings.model_validate(sections)


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"consumer": {"group_protocol": "consumer", "group_instance_id": "w1"}},
        {"consumer": {"assignment_strategy": "range"}},
        {"consumer": {"session_timeout_s": 300, "max_poll_interval_s": 300}},
        {"producer": {"compression": "none", "message_max_bytes": 1000}},
    ],
)
def test_librdkafka_accepts_what_we_make_of_the_settings(sections: dict[str, Any]) -> None:
    settings = _settings(**sections)

    Consumer(consumer_config(settings)).close()
    Producer(producer_config(settings)).flush(0)


def test_commits_are_ours_alone() -> None:
    config = consumer_config(_settings())

    assert config["enable.auto.commit"] is False
    assert config["enable.auto.offset.store"] is False
    assert config["auto.offset.reset"] == "error"


def test_the_measured_pitfalls_are_avoided() -> None:
    config = consumer_config(_settings())

    assert config["fetch.queue.backoff.ms"] == 10
    assert config["socket.nagle.disable"] is True
    assert config["queued.max.messages.kbytes"] == 65536


def test_the_producer_is_idempotent() -> None:
    config = producer_config(_settings(producer={"options": {"linger.ms": "50"}}))

    assert config["enable.idempotence"] is True
    assert config["acks"] == "all"
    assert config["linger.ms"] == "50"


@pytest.mark.parametrize(
    ("section", "option"),
    [
        ("consumer", "enable.auto.commit"),
        ("consumer", "auto.offset.reset"),
        ("consumer", "group.id"),
        ("producer", "acks"),
        ("producer", "transactional.id"),
    ],
)
def test_an_option_that_would_break_a_promise_is_refused(section: str, option: str) -> None:
    settings = _settings(**{section: {"options": {option: "x"}}})

    with pytest.raises(ConfigError, match=f"{section}.options has '{option}'"):
        (consumer_config if section == "consumer" else producer_config)(settings)


def test_kip_848_leaves_the_assignor_to_the_broker() -> None:
    config = consumer_config(_settings(consumer={"group_protocol": "consumer"}))

    assert config["group.protocol"] == "consumer"
    assert not {"partition.assignment.strategy", "session.timeout.ms"} & config.keys()


@pytest.mark.parametrize(
    ("consumer", "expected"),
    [
        ({}, True),
        ({"assignment_strategy": "range"}, False),
        ({"assignment_strategy": "range", "group_protocol": "consumer"}, True),
    ],
)
def test_the_kind_of_rebalance_follows_the_protocol(
    consumer: dict[str, Any], *, expected: bool
) -> None:
    assert is_incremental(_settings(consumer=consumer)) is expected
