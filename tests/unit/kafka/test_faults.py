"""What is fatal, what is news, and what the sentences say."""

import logging

import pytest
from confluent_kafka import KafkaError

from anoean_stream.kafka.faults import LogLimit, News, fatal_error, is_unknown_topic
from anoean_stream.settings import Settings


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "topic 'flows'; grant Read"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "consumer group 'anoean'; grant Read"),
        (KafkaError._AUTHENTICATION, "127.0.0.1:9092 does not accept these credentials"),
        (KafkaError.FENCED_INSTANCE_ID, "give each worker its own name"),
        (KafkaError.INCONSISTENT_GROUP_PROTOCOL, "consumer.assignment_strategy"),
    ],
)
def test_an_error_that_waiting_cannot_repair_names_the_next_step(code: int, expected: str) -> None:
    error = fatal_error(KafkaError(code), Settings(), topic="flows")

    assert error is not None
    assert error.exit_code == 4
    assert expected in str(error)


@pytest.mark.parametrize(
    "code",
    [
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError._MAX_POLL_EXCEEDED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    ],
)
def test_an_error_that_waiting_repairs_is_not_fatal(code: int) -> None:
    assert fatal_error(KafkaError(code), Settings()) is None


def test_a_fatal_flag_of_librdkafka_is_believed() -> None:
    error = fatal_error(KafkaError(KafkaError._STATE, "lost", fatal=True), Settings())

    assert error is not None
    assert "it resumes at the last commit" in str(error)


def test_an_untrusted_certificate_names_the_setting() -> None:
    text = "ssl://b:9093: SSL handshake failed: certificate verify failed: unknown CA"
    error = fatal_error(KafkaError(KafkaError._SSL, text), Settings())

    assert error is not None
    assert "broker.ssl_ca_location" in str(error)


def test_an_unknown_topic_is_recognised() -> None:
    assert is_unknown_topic(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
    assert not is_unknown_topic(KafkaError(KafkaError._TRANSPORT))


def test_news_of_one_kind_is_told_once_an_interval_with_a_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    times = iter((0.0, 1.0, 2.0, 10.0, 10.0))
    news = News(logging.getLogger("anoean.test"), interval_s=10, clock=lambda: next(times))

    with caplog.at_level(logging.WARNING, logger="anoean.test"):
        for _ in range(4):
            news.tell("down", "broker down")
        news.tell("other", "something else")

    assert caplog.messages == [
        "broker down",
        "broker down (2 more like this since the last line)",
        "something else",
    ]


def test_librdkafka_lines_of_one_kind_are_held_back_and_other_errors_never() -> None:
    limit = LogLimit(interval_s=60)

    def passes(level: int, text: str) -> bool:
        return bool(limit.filter(logging.LogRecord("x", level, "", 0, text, None, None)))

    fail = "FAIL [rdkafka#consumer-1] [thrd:h:1/1]: h:1/1: Connect failed (after %dms)"
    assert passes(logging.WARNING, fail % 1)
    assert not passes(logging.WARNING, fail % 2)
    assert passes(logging.WARNING, "REQTMOUT [rdkafka#consumer-1] [thrd:h:1/1]: timed out")
    assert not passes(logging.ERROR, fail % 3)
    errors = "FATAL [rdkafka#consumer-1] [thrd:main]: Fatal error: fenced"
    assert passes(logging.ERROR, errors)
    assert passes(logging.ERROR, errors)
