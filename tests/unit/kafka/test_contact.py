"""The first contact: what ends it at once, what is waited for, and when the waiting ends."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError

from anoean_stream.errors import BrokerError
from anoean_stream.kafka.access import check_access
from anoean_stream.kafka.contact import Admin, has_controller
from anoean_stream.kafka.embedded import EmbeddedBroker
from anoean_stream.kafka.faults import fatal_error, is_silent_refusal, refusal_at_start
from anoean_stream.kafka.topics import missing_topics
from anoean_stream.kafka.wire import Gates
from anoean_stream.settings import Settings

TOKEN_FAILED = "Failed to acquire SASL OAUTHBEARER token: Could not resolve host"


def _settings(servers: str, **broker: Any) -> Settings:
    return Settings.model_validate({"broker": {"bootstrap_servers": servers, **broker}})


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken and does not listen, so that nobody else can answer on it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])


def test_nobody_there_is_waited_for_until_the_deadline_and_not_longer(closed_port: int) -> None:
    admin = Admin(_settings(f"127.0.0.1:{closed_port}", connect_timeout_s=1))
    began = time.monotonic()

    with pytest.raises(BrokerError, match=r"within 1 s .*Connection refused.*check that Kafka"):
        admin.reach()

    assert 1 <= time.monotonic() - began < 5


def test_a_broker_that_comes_in_time_is_reached(closed_port: int) -> None:
    with EmbeddedBroker() as broker:
        cluster = Admin(_settings(f"127.0.0.1:{closed_port},{broker.bootstrap}")).reach()

    assert cluster.brokers
    assert not has_controller(cluster)


def test_the_wait_can_be_given_up(closed_port: int) -> None:
    given_up = threading.Event()
    given_up.set()
    began = time.monotonic()

    with pytest.raises(BrokerError):
        check_access(_settings(f"127.0.0.1:{closed_port}"), given_up=given_up)

    assert time.monotonic() - began < 10


def test_a_broker_without_controller_is_not_asked_for_permissions() -> None:
    with EmbeddedBroker() as broker:
        check_access(_settings(broker.bootstrap))  # would raise a time-out after 30 s
        assert missing_topics(_settings(broker.bootstrap), ["nope"]) == ["nope"]


@pytest.mark.parametrize(
    ("code", "text", "sentence"),
    [
        (KafkaError._AUTHENTICATION, TOKEN_FAILED, "gave no token (Could not resolve host)"),
        (
            KafkaError._TRANSPORT,
            "ssl/tls alert bad certificate: SSL alert number 42",
            "wants a client certificate",
        ),
        (
            KafkaError._TRANSPORT,
            "tlsv13 alert certificate required: SSL alert number 116",
            "wants a client certificate",
        ),
        (
            KafkaError._TRANSPORT,
            "SSL handshake failed: connecting to a PLAINTEXT broker listener?",
            "does not speak TLS",
        ),
        (KafkaError._BAD_MSG, "Invalid response size 1213486160", "does not answer as Kafka"),
    ],
)
def test_what_is_an_outage_later_is_a_wrong_setting_at_the_start(
    code: int, text: str, sentence: str
) -> None:
    settings = _settings("kafka:9093", security_protocol="SSL")
    error = KafkaError(code, text)

    refusal = refusal_at_start(error, settings)

    assert refusal is not None
    assert sentence in str(refusal)
    assert fatal_error(error, settings) is None


@pytest.mark.parametrize("code", [KafkaError._TRANSPORT, KafkaError._RESOLVE])
def test_an_outage_is_waited_for_at_the_start_too(code: int) -> None:
    assert refusal_at_start(KafkaError(code, "Connection refused"), Settings()) is None


def test_only_silence_is_taken_for_another_protocol() -> None:
    silence = KafkaError(KafkaError._ALL_BROKERS_DOWN)
    word = KafkaError(KafkaError._TRANSPORT, "Connection refused")

    assert is_silent_refusal([silence, silence])
    assert not is_silent_refusal([])
    assert not is_silent_refusal([silence, word])


def test_gates_are_open_when_all_are() -> None:
    async def scenario() -> None:
        first, second = asyncio.Event(), asyncio.Event()
        gates = Gates(first, second)
        waiting = asyncio.create_task(gates.wait())
        second.set()
        await asyncio.sleep(0)
        assert not gates.is_set()
        assert not waiting.done()

        first.set()

        assert await waiting
        assert gates.is_set()

    asyncio.run(scenario())
