"""Who may do what: the least access lists that a worker needs, and each login, on a real broker."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._resource import ResourceType

from anoean_stream.configfile import load_settings
from anoean_stream.kafka.access import check_access
from anoean_stream.kafka.topics import list_topics
from anoean_stream.records.control import ControlMessage
from anoean_stream.registry.registry import Registry
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_topics import create_topic
from tests.support.models import make_bundle, make_rows
from tests.support.registries import publish_model
from tests.support.secure_broker import Acl, SecureBroker
from tests.support.secure_stage import LIMIT_S, SecureStage
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess

DOCS: Final = Path(__file__).parents[2] / "docs" / "security.md"

LEAST: Final = ("flows", "group", "alerts", "dead_letters")
"""Which permission of `SecureStage.least_acls`, by what it is for."""


@pytest.fixture
def stage(
    secure_broker: SecureBroker, new_group: Callable[[str], str], tmp_path: Path
) -> SecureStage:
    return SecureStage(secure_broker, tmp_path, new_group("access")).build()


def _grant_all_but(stage: SecureStage, user: str, left_out: int | None = None) -> None:
    acls = [acl for number, acl in enumerate(stage.least_acls) if number != left_out]
    stage.broker.grant(user, acls)


def _command(stage: SecureStage, acl: Acl, user: str) -> str:
    """Return the grant as the message and the docs write it."""
    kind, word = acl.resource.name.lower(), acl.operation.name.capitalize()
    return f"--allow-principal User:{user} --operation {word} --{kind} {acl.name}"


@pytest.mark.parametrize(
    ("login", "user", "group_protocol"),
    [
        ("password", "worker", "classic"),
        ("password", "worker", "consumer"),
        ("certificate", "cert-worker", "classic"),
        ("token", "oauth-worker", "classic"),
    ],
)
def test_a_worker_with_the_least_access_lists_does_all_its_work(
    stage: SecureStage, login: str, user: str, group_protocol: str
) -> None:
    _grant_all_but(stage, user)
    good = [msgspec.json.encode(row) for row in make_rows(40)]
    bad = [b"no json %d" % number for number in range(5)]
    stage.broker.publish(stage.flows, good + bad)
    way: dict[str, object] = getattr(stage, login)()

    with stage.worker({**way, "consumer.group_protocol": group_protocol}) as worker:
        worker.ready().wait_for_records(45)
        page = worker.probe("/metrics")[1]
        assert worker.stop() == 0
        said = worker.output()

    assert len(stage.broker.read(stage.alerts)) == 40
    assert sorted(stage.broker.read(stage.dead_letters)) == sorted(bad)
    assert stage.broker.committed(stage.group, stage.flows) == 45
    assert "planted" not in page + said


def test_topics_about_models_need_one_permission_each_and_none_of_them_is_needed(
    stage: SecureStage,
) -> None:
    _grant_all_but(stage, "worker")
    topics = {use: f"{use}-{stage.name}" for use in ("audit", "control", "workers")}
    stage.broker.create_topics(*topics.values())
    way = {**stage.password(), **{f"topics.{use}": name for use, name in topics.items()}}
    stage.broker.publish(stage.flows, [msgspec.json.encode(row) for row in make_rows(5)])

    with stage.worker(way) as worker:
        worker.ready().wait_for_records(5)
        wait_until(
            lambda: worker.metrics().get(f'anoean_news_lost_total{{topic="{topics["audit"]}"}}'),
            what="a count of what was not written",
            within_s=20,
            hint=worker.tail,
        )
        assert worker.stop() == 0
    assert stage.broker.read(topics["audit"]) == []

    for use, operation in (
        ("audit", AclOperation.WRITE),
        ("workers", AclOperation.WRITE),
        ("control", AclOperation.READ),
    ):
        stage.broker.grant("worker", [Acl(ResourceType.TOPIC, topics[use], operation)])
    with stage.worker({**way, "registry.poll_interval_s": 3600}) as worker:
        worker.ready()
        registry = Registry(str(stage.folder / "models"))
        make_bundle(stage.folder / "second", name="anoean", seed=1)
        second = registry.publish(stage.folder / "second", "anoean")
        registry.set_alias("anoean", "champion", second)
        told = ControlMessage.now("anoean", who="tester").to_record()
        assert told.value is not None
        stage.broker.publish(topics["control"], [told.value])
        worker.wait_for_line("model_in_use", model=f"anoean@{second}", timeout_s=10)
        assert worker.stop() == 0
    assert len(stage.broker.read(topics["audit"])) >= 2
    assert stage.broker.read(topics["workers"])


@pytest.mark.parametrize("left_out", range(len(LEAST)), ids=LEAST)
def test_without_any_one_of_them_it_ends_with_the_command_that_grants_it(
    stage: SecureStage, left_out: int
) -> None:
    _grant_all_but(stage, "worker", left_out)

    ended = stage.run(stage.password())

    assert (ended.code, len(ended.sentences)) == (4, 1), ended.output
    assert _command(stage, stage.least_acls[left_out], "worker") in ended.sentences[0]
    assert ended.seconds < LIMIT_S


def test_the_documented_access_lists_are_the_ones_granted_here(stage: SecureStage) -> None:
    text = DOCS.read_text(encoding="utf-8")
    section = text.split("## What a worker needs", 1)[1].split("\n## ", 1)[0]
    documented = re.findall(r"--operation (\w+) --(topic|group) (\S+)", section)
    names = {
        stage.flows: "flows", stage.group: "anoean", stage.alerts: "anomalies",
        stage.dead_letters: "anomalies.dlq",
    }  # fmt: skip

    assert sorted(documented) == sorted(
        (acl.operation.name.capitalize(), acl.resource.name.lower(), names[acl.name])
        for acl in stage.least_acls
    )


def test_a_permission_that_is_withdrawn_later_ends_the_worker(stage: SecureStage) -> None:
    _grant_all_but(stage, "worker")
    stage.broker.publish(stage.flows, [msgspec.json.encode(row) for row in make_rows(5)])

    with stage.worker(stage.password()) as worker:
        worker.ready().wait_for_records(5)
        stage.broker.withdraw("worker", stage.least_acls[2])
        stage.broker.publish(stage.flows, [msgspec.json.encode(row) for row in make_rows(5)])
        wait_until(
            lambda: worker.exit_code is not None,
            what="the end of the worker",
            within_s=LIMIT_S,
            hint=worker.tail,
        )
        code, said = worker.exit_code, worker.output()

    assert code == 4, said
    assert "grant Read (input) or Write (alerts, dead letters) on it" in said
    assert stage.broker.committed(stage.group, stage.flows) == 5


def test_a_broker_that_comes_a_little_later_is_waited_for(
    own_kafka_broker: KafkaBroker, new_group: Callable[[str], str], tmp_path: Path
) -> None:
    for name in ("flows", "alerts", "letters"):
        create_topic(own_kafka_broker.bootstrap, name, partitions=1)
    models = publish_model(tmp_path)
    settings = {
        "topics.input": "flows", "topics.alerts": "alerts", "topics.dead_letters": "letters",
        "consumer.group_id": new_group("late"), "broker.connect_timeout_s": 60,
    }  # fmt: skip
    own_kafka_broker.stop()

    with WorkerProcess(own_kafka_broker.bootstrap, models, settings) as worker:
        wait_until(lambda: "Connection refused" in worker.output(), what="a try", within_s=20)
        assert worker.probe("/live")[0] == 200
        own_kafka_broker.start()
        worker.ready()
        assert worker.stop() == 0


@pytest.mark.parametrize("tls", [True, False], ids=["SASL_SSL", "SASL_PLAINTEXT"])
@pytest.mark.parametrize("kind", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_every_kind_of_password_logs_in(stage: SecureStage, kind: str, *, tls: bool) -> None:
    _grant_all_but(stage, "worker")
    values = stage.settings(stage.password(kind=kind, tls=tls))
    settings = load_settings(None, [f"{key}={value}" for key, value in values.items()])

    check_access(settings)

    seen: set[Any] = {topic.name for topic in list_topics(settings)}
    assert {stage.flows, stage.alerts, stage.dead_letters} <= seen


def test_the_token_endpoint_is_asked_for_the_scope(stage: SecureStage) -> None:
    values = stage.settings(stage.token())
    settings = load_settings(None, [f"{key}={value}" for key, value in values.items()])

    list_topics(settings)

    request = stage.broker.tokens.requests[-1]
    assert (request["grant_type"], request["scope"]) == ("client_credentials", "kafka")
