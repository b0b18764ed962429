"""The transport on librdkafka's mock cluster: what needs a broker, but no particular one."""

import asyncio
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, Producer

from anoean_stream.errors import BrokerError
from anoean_stream.kafka.embedded import PARTITIONS, EmbeddedBroker
from anoean_stream.kafka.topics import list_topics, missing_topics
from anoean_stream.settings import Settings
from tests.support.chunk_worker import WorkerProcess
from tests.support.kafka_topics import committed, publish_numbers
from tests.support.plans import worker_plan
from tests.support.producing import running_producer
from tests.support.topics import read_all
from tests.support.waiting import wait_until

NewName = Callable[..., str]


def _settings(broker: EmbeddedBroker) -> Settings:
    return Settings.model_validate({"broker": {"bootstrap_servers": broker.bootstrap}})


def test_every_record_arrives_once_and_is_committed(
    embedded_broker: EmbeddedBroker, new_topic: NewName, new_group: NewName
) -> None:
    topic, group, n = new_topic(), new_group(), 5000
    publish_numbers(embedded_broker.bootstrap, topic, range(n))

    with WorkerProcess(worker_plan(embedded_broker.bootstrap, topic, group)) as worker:
        wait_until(lambda: len(worker.numbers()) >= n, within_s=20, what=worker.explain())
        code = worker.terminate()

    assert code == 0, worker.explain()
    assert sorted(worker.numbers()) == list(range(n))
    assert committed(embedded_broker.bootstrap, group, topic) == [n // PARTITIONS] * PARTITIONS


def test_chunks_that_are_not_acknowledged_are_read_again_by_the_next_worker(
    embedded_broker: EmbeddedBroker, new_topic: NewName, new_group: NewName
) -> None:
    topic, group, n = new_topic(), new_group(), 1000
    publish_numbers(embedded_broker.bootstrap, topic, range(n))
    plan = worker_plan(
        embedded_broker.bootstrap, topic, group, chunk_max_records=50, shutdown_deadline_s=2.0,
        protocol="range",
    )  # fmt: skip

    with WorkerProcess({**plan, "hold_after": 3}) as first:
        first.wait_for("begun", within_s=20, n=4)
        assert first.terminate() == 0, first.explain()
    n_acked = sum(line["n_records"] for line in first.said("begun")[:3])
    with WorkerProcess(plan) as second:
        wait_until(lambda: len(second.numbers()) >= n - n_acked, within_s=20, what=second.explain())
        assert second.terminate() == 0, second.explain()

    done = {number for line in first.said("chunk")[:3] for number in line["numbers"]}
    assert len(done) == n_acked
    assert sorted(done | set(second.numbers())) == list(range(n))
    assert not done & set(second.numbers())


def test_the_producer_writes_a_batch_with_keys_and_headers(
    embedded_broker: EmbeddedBroker, new_topic: NewName
) -> None:
    topic = new_topic()
    values = [b"%d" % number for number in range(500)]

    async def act() -> object:
        async with running_producer(_settings(embedded_broker)) as producer:
            return await producer.send_batch([(topic, b"k", value, ()) for value in values])

    assert asyncio.run(act()) == ()
    assert [record.value for record in read_all(embedded_broker.bootstrap, topic)] == values


def test_topics_appear_with_four_partitions_and_are_listed(
    embedded_broker: EmbeddedBroker, new_topic: NewName
) -> None:
    topic = new_topic()
    settings = _settings(embedded_broker)

    known = {info.name: info.partitions for info in list_topics(settings)}

    assert known[topic] == PARTITIONS
    assert missing_topics(settings, [topic, "not-there"]) == ["not-there"]


def test_a_stopped_broker_says_so() -> None:
    broker = EmbeddedBroker()

    with pytest.raises(BrokerError, match="not running; call start"):
        _ = broker.bootstrap
    with pytest.raises(BrokerError, match="not running; call start"):
        broker.create_topics(["flows"])


def test_a_record_survives_from_one_plain_client_to_another() -> None:
    with EmbeddedBroker() as broker:
        broker.create_topics(["flows"])
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        producer.produce("flows", b"v")
        assert producer.flush(10) == 0
        consumer = Consumer(
            {
                "bootstrap.servers": broker.bootstrap,
                "group.id": "g",
                "auto.offset.reset": "earliest",
            }
        )
        consumer.subscribe(["flows"])
        messages = consumer.consume(1, 20)
        consumer.close()
        del producer, consumer

    assert [message.value() for message in messages] == [b"v"]


def test_listing_topics_of_a_broker_that_is_down_names_the_address() -> None:
    settings = Settings.model_validate(
        {"broker": {"bootstrap_servers": "127.0.0.1:1", "connect_timeout_s": 1}}
    )

    with pytest.raises(BrokerError, match=r"no answer from 127\.0\.0\.1:1 within 1 s"):
        list_topics(settings)
