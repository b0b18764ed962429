"""The producer on a real broker: one future for a batch, and which record failed and why."""

import asyncio
from collections.abc import Callable

import pytest
from confluent_kafka import KafkaError

from anoean_stream.errors import DeliveryError
from anoean_stream.kafka.batch import BatchItem
from anoean_stream.settings import Settings
from tests.support.kafka_broker import KafkaBroker
from tests.support.producing import running_producer
from tests.support.topics import read_all

NewName = Callable[..., str]


def _settings(broker: KafkaBroker, **producer: object) -> Settings:
    return Settings.model_validate(
        {"broker": {"bootstrap_servers": broker.bootstrap}, "producer": producer}
    )


def _batch(topic: str, values: list[bytes]) -> list[BatchItem]:
    return [(topic, b"key", value, (("n", b"1"),)) for value in values]


def test_a_batch_is_on_the_broker_when_send_batch_returns(
    kafka_broker: KafkaBroker, new_topic: NewName
) -> None:
    topic = new_topic("alerts")
    values = [b"%d" % number for number in range(5000)]

    async def act() -> object:
        async with running_producer(_settings(kafka_broker)) as producer:
            return await producer.send_batch(_batch(topic, values))

    failures = asyncio.run(act())

    assert failures == ()
    assert [
        record.value for record in read_all(kafka_broker.bootstrap, topic)
    ] == values  # one key, so in order


@pytest.mark.parametrize(
    ("limit", "message_max_bytes"),
    [("1000000", 5_000), ("5000", 1_000_000)],
    ids=["refused by the client", "refused by the topic"],
)
def test_a_record_that_is_too_large_fails_alone(
    kafka_broker: KafkaBroker, new_topic: NewName, limit: str, message_max_bytes: int
) -> None:
    topic = new_topic("alerts", partitions=1, config={"max.message.bytes": limit})
    # The broker refuses the whole request, so the neighbours' fate is ours to sort out.
    settings = _settings(
        kafka_broker, message_max_bytes=message_max_bytes, compression="none", linger_s=0.1
    )
    values = [b"a", b"x" * 20_000, b"b"]

    async def act() -> tuple[tuple[int, bool, bool], ...]:
        async with running_producer(settings) as producer:
            failures = await producer.send_batch(_batch(topic, values))
            return tuple((one.index, one.is_too_large, one.is_retriable) for one in failures)

    assert asyncio.run(act()) == ((1, True, False),)
    assert [record.value for record in read_all(kafka_broker.bootstrap, topic)] == [b"a", b"b"]


def test_a_full_queue_waits_for_deliveries_and_loses_nothing(
    kafka_broker: KafkaBroker, new_topic: NewName
) -> None:
    topic = new_topic("alerts", partitions=1)
    settings = _settings(kafka_broker, options={"queue.buffering.max.messages": "50"})
    values = [b"%d" % number for number in range(1000)]

    async def act() -> object:
        async with running_producer(settings) as producer:
            return await producer.send_batch(_batch(topic, values))

    assert asyncio.run(act()) == ()
    assert [record.value for record in read_all(kafka_broker.bootstrap, topic)] == values


def test_send_resolves_its_future_with_the_place_of_the_record(
    kafka_broker: KafkaBroker, new_topic: NewName
) -> None:
    topic = new_topic("alerts", partitions=2)

    async def act() -> tuple[str, int, int]:
        async with running_producer(_settings(kafka_broker)) as producer:
            sent = await producer.send_and_wait(topic, None, b"v", 1, 12.5, {"h": b"1"})
            return sent.topic, sent.partition, sent.offset

    assert asyncio.run(act()) == (topic, 1, 0)


def test_send_fails_with_a_retriable_error_when_no_broker_answers() -> None:
    settings = Settings.model_validate(
        {
            "broker": {"bootstrap_servers": "127.0.0.1:1"},
            "producer": {"delivery_timeout_s": 1.0},
            "worker": {"shutdown_deadline_s": 1.0},
        }
    )

    async def act() -> list[tuple[int, bool]]:
        async with running_producer(settings) as producer:
            with pytest.raises(DeliveryError, match="MSG_TIMED_OUT"):
                await producer.send_and_wait("t", None, b"v", None, None, None)
            failures = await producer.send_batch([("t", None, b"v", ())])
            assert failures[0].error.code() == KafkaError._MSG_TIMED_OUT
            return [(one.index, one.is_retriable) for one in failures]

    assert asyncio.run(act()) == [(0, True)]
