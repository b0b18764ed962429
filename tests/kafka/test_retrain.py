"""Retraining from a topic on a real Kafka: labels joined, a flood of one attack, shadow, schedule."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import msgspec
import pytest

from anoean_stream.cli.audit_reader import read_audit
from anoean_stream.cli.train_topic import TopicSource, open_range
from anoean_stream.configfile import load_settings
from anoean_stream.detector.threshold import ThresholdChoice
from anoean_stream.errors import BrokerError, DataError
from anoean_stream.registry import Registry
from anoean_stream.simulate import Flow
from tests.support.kafka_broker import KafkaBroker
from tests.support.labelled import Watch
from tests.support.retraining import (
    BASE,
    FLOOD,
    KNOWN,
    RetrainStage,
    flagged,
    flows,
    make_stage,
    recall,
    run_script,
    train_champion,
    values,
    write_labels,
)
from tests.support.secure_broker import SecureBroker
from tests.support.secure_stage import SecureStage
from tests.support.topics import publish, read_all
from trainer.datasets.topic import TopicRange, gather
from trainer.run import TrainRequest, train
from trainer.warmstart import WarmStart


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with a champion, and the file it was trained on."""
    return train_champion(tmp_path_factory.mktemp("champion"))


@pytest.fixture
def stage(
    kafka_broker: KafkaBroker, new_group: Callable[[str], str], tmp_path: Path, trained: Path
) -> RetrainStage:
    return make_stage(kafka_broker.bootstrap, new_group("retrain"), tmp_path, trained=trained)


@pytest.fixture
def new_site(
    kafka_broker: KafkaBroker, new_group: Callable[[str], str], tmp_path: Path
) -> RetrainStage:
    """A site without a champion."""
    return make_stage(kafka_broker.bootstrap, new_group("retrain"), tmp_path, trained=None)


def flooded(stage: RetrainStage) -> tuple[list[Flow], Path]:
    """Publish traffic of which 30 % is one attack; return the flood, and labels of the rest."""
    attack = flows(4000, seed=5, attacks=[FLOOD], share=1.0)
    seen = flagged(stage.settings(), attack)
    flood = [flow for flow, is_flagged in zip(attack, seen, strict=True) if is_flagged][:3000]
    assert len(flood) == 3000
    quiet = flows(7000, seed=6, attacks=[kind for kind in KNOWN if kind != FLOOD], share=0.02)
    traffic = [*quiet, *flood]
    Random(0).shuffle(traffic)
    stage.publish(traffic)
    labels = [
        {"flow_uid": flow.record["flow_uid"], "label": flow.attack} for flow in quiet if flow.attack
    ]
    return flood, write_labels(stage.folder / "labels.jsonl", labels)


def unguarded(source: TopicRange) -> TopicRange:
    """The same range, as if nothing had been flagged."""
    records = [replace(record, alerted=False, above=False) for record in source.read()]
    return replace(source, read=lambda: records)


def open_flooded(stage: RetrainStage, labels: Path) -> TopicRange:
    source = TopicSource(
        topic=stage.site.topic("input"),
        labels=str(labels),
        id_field="flow_uid",
        normal_value="0",
    )
    return open_range(stage.settings(), source, name="anoean", note=Watch().note)


def test_a_flood_that_the_champion_flags_teaches_nothing(stage: RetrainStage) -> None:
    flood, labels = flooded(stage)
    table = gather(open_flooded(stage, labels), max_rows=100_000, seed=0).table
    normals = {table.row(row)["flow_uid"] for row in (~table.is_anomaly_N).nonzero()[0].tolist()}

    trained = stage.site.json(
        "train", "--from-topic", stage.site.topic("input"), "--labels", str(labels),
        "--id-field", "flow_uid", "--data", str(stage.campaigns), *BASE,
        "--warm-start", "champion", "--publish-as", "shadow",
    )  # fmt: skip

    assert not normals & {flow.record["flow_uid"] for flow in flood}
    assert len(normals) > 6000
    records = trained["topic"]["records"]
    assert records["read"] == 10_000
    assert records["flagged"] >= records["flagged_by_champion"] >= 3000
    assert "left out" in " ".join(trained["notes"])
    probe = flows(2000, seed=99, attacks=[FLOOD], share=1.0)
    before = recall(stage.settings(), probe)
    assert recall(stage.settings(model__alias="shadow"), probe) >= before > 0.95


def test_without_the_guard_the_same_flood_blinds_the_model(stage: RetrainStage) -> None:
    _, labels = flooded(stage)
    settings = stage.settings()
    folder = stage.folder / "unguarded"

    train(
        TrainRequest(
            folder=folder,
            name="anoean",
            topic=unguarded(open_flooded(stage, labels)),
            data=stage.campaigns,
            label_column="label",
            normal_value="0",
            attack_column="attack",
            warm_start=WarmStart(
                "anoean", "1", Registry(settings.registry.url).load("anoean", "1")
            ),
        ),
        settings=settings.training,
        progress=Watch(),
    )

    probe = flows(2000, seed=99, attacks=[FLOOD], share=1.0)
    Registry(settings.registry.url).set_alias(
        "anoean", "blind", Registry(settings.registry.url).publish(folder, "anoean")
    )
    assert recall(settings, probe) > 0.95
    assert recall(stage.settings(model__alias="blind"), probe) < 0.1


def test_what_a_worker_alerted_on_is_guarded_and_labelled_by_alert(stage: RetrainStage) -> None:
    traffic = flows(2000, seed=7, share=0.1)
    stage.publish(traffic)
    with stage.site.worker() as worker:
        worker.ready().wait_for_records(len(traffic))
    alerts = [
        json.loads(record.value or b"")
        for record in read_all(stage.site.bootstrap, stage.site.topic("alerts"))
    ]
    assert len(alerts) > 100
    # Now the champion flags nothing: only the alerts remember.
    choice = ThresholdChoice(kind="distance", value=1e6, distances={"1": 1e6})
    Registry(str(stage.site.settings["registry.url"])).set_threshold("anoean", choice)
    said = [(alerts[0], "benign"), (alerts[1], "scan"), (alerts[2], "scan"), (alerts[2], "Benign")]
    labels = write_labels(
        stage.folder / "labels.jsonl",
        [{"alert_id": alert["alert_id"], "label": word} for alert, word in said],
    )
    source = TopicSource(topic=stage.site.topic("input"), labels=str(labels), normal_value="benign")

    watch = Watch()
    found = open_range(stage.settings(), source, name="anoean", note=watch.note)
    gathered = gather(found, max_rows=10_000, seed=0)

    counts = gathered.counts
    assert counts.read == len(traffic)
    assert (counts.flagged_by_alert, counts.flagged_by_champion) == (len(alerts) - 3, 0)
    assert (counts.labelled_anomalies, counts.labelled_normals) == (1, 2)
    assert found.labels.counts.contradictory == 1
    assert gathered.provenance["guard"]["alerted_records"] == len(alerts)
    source_of = alerts[1]["source"]
    anomalies = [
        gathered.table.row(row) for row in gathered.table.is_anomaly_N.nonzero()[0].tolist()
    ]
    assert [row["flow_uid"] for row in anomalies] == [alerts[1]["original"]["flow_uid"]]
    low, high = gathered.provenance["offsets"][str(source_of["partition"])]
    assert low <= source_of["offset"] <= high


def test_labels_of_a_topic_in_their_order_and_past_what_is_none(
    stage: RetrainStage, new_topic: Callable[..., str]
) -> None:
    attacks = flows(40, seed=8, attacks=[FLOOD], share=1.0)
    stage.publish([*flows(200, seed=9, share=0.0), *attacks])
    topic = new_topic("labels", partitions=1)
    words = [{"flow_uid": flow.record["flow_uid"], "label": "brute force"} for flow in attacks]
    later = {"flow_uid": attacks[0].record["flow_uid"], "label": "normal"}
    unknown = {"topic": "elsewhere", "partition": 0, "offset": 3, "label": "normal"}
    rows = [msgspec.json.encode(row) for row in (*words, later, unknown)]
    publish(stage.site.bootstrap, topic, [*rows, b"no label", b"[]", None], partitions=1)
    source = TopicSource(
        topic=stage.site.topic("input"),
        labels=f"topic:{topic}",
        id_field="flow_uid",
        normal_value="normal",
    )
    watch = Watch()

    found = open_range(stage.settings(), source, name="anoean", note=watch.note)
    gathered = gather(found, max_rows=10_000, seed=0)

    assert (gathered.counts.labelled_anomalies, gathered.counts.labelled_normals) == (39, 1)
    counts = found.labels.counts
    assert (counts.faulty, counts.contradictory, counts.unmatched) == (3, 1, 1)
    assert "3 messages of topic:" in watch.notes[0]
    assert any("elsewhere/0/3" in note for note in gathered.notes)
    assert gathered.provenance["labels"] == {"source": f"topic:{topic}", "offsets": {"0": [0, 44]}}
    assert set(gathered.table.kinds_N) == {"normal", "brute force"}


def test_broken_records_are_counted_and_a_range_ends_where_it_was_told(
    stage: RetrainStage,
) -> None:
    topic = stage.site.topic("input")
    good = values(flows(100, seed=9, share=0.0))
    publish(
        stage.site.bootstrap, topic, [*good, b"{", None, b'{"bytes_fwd": "many"}'], partitions=2
    )
    between = datetime.now(UTC)
    publish(stage.site.bootstrap, topic, good, partitions=2)

    before = open_range(
        stage.settings(), TopicSource(topic=topic, until=between), name="anoean", note=print
    )
    gathered = gather(before, max_rows=1000, seed=0)

    assert (gathered.counts.read, gathered.counts.refused) == (103, 3)
    assert "not_json 1" in " ".join(gathered.notes)
    with pytest.raises(DataError, match="has no records since"):
        open_range(
            stage.settings(),
            TopicSource(topic=topic, since=datetime.now(UTC) + timedelta(hours=1)),
            name="anoean",
            note=print,
        )


def test_alerts_that_may_not_be_read_are_an_error_and_not_a_weaker_guard(
    secure_broker: SecureBroker, new_group: Callable[[str], str], tmp_path: Path
) -> None:
    secure = SecureStage(secure_broker, tmp_path, new_group("guard")).build()
    secure.broker.publish(secure.flows, values(flows(10, seed=9, share=0.0)))
    secure.broker.grant("worker", [acl for acl in secure.least_acls if acl.name != secure.alerts])
    words = secure.settings(secure.password())
    settings = load_settings(None, [f"{key}={value}" for key, value in words.items()])

    with pytest.raises(BrokerError, match=secure.alerts):
        open_range(settings, TopicSource(topic=secure.flows), name="anoean", note=print)


def test_without_champion_and_alerts_it_asks_before_it_trusts(new_site: RetrainStage) -> None:
    new_site.site.settings["training.epochs"] = 2
    new_site.publish(flows(1000, seed=3, share=0.0))
    words = (
        "train", "--from-topic", new_site.site.topic("input"), "--data", str(new_site.campaigns),
        *BASE,
    )  # fmt: skip

    said = new_site.site.run(*words, exit_code=2)
    trained = new_site.site.json(*words, "--trust-unlabelled", "--publish-as", "shadow")

    assert "nothing guards the normals" in said
    assert "--trust-unlabelled" in said
    assert trained["rows"] == 3000
    assert trained["topic"]["guard"] == {
        "champion": None,
        "threshold": None,
        "alerted_records": 0,
    }
    registry = Registry(str(new_site.site.settings["registry.url"]))
    assert registry.aliases("anoean") == {"shadow": "1"}
    assert [record.action for record in read_audit(new_site.settings(), "anoean")] == [
        "evaluation_changed",
        "promoted",
    ]


def test_without_labelled_anomalies_it_says_what_to_label(stage: RetrainStage) -> None:
    stage.publish(flows(300, seed=3, share=0.1))

    said = stage.site.run("train", "--from-topic", stage.site.topic("input"), exit_code=2)

    assert "0 labelled anomalies among" in said
    assert "label some of them" in said


def test_the_candidate_is_shadow_and_the_audit_topic_says_on_what_it_was_trained(
    stage: RetrainStage,
) -> None:
    stage.site.settings["training.epochs"] = 2
    stage.publish(flows(1000, seed=3, share=0.02))

    trained = stage.site.json(
        "train", "--from-topic", stage.site.topic("input"), "--since", "1h", "--data",
        str(stage.campaigns), *BASE, "--warm-start", "anoean@champion", "--publish-as", "shadow",
    )  # fmt: skip

    registry = Registry(str(stage.site.settings["registry.url"]))
    assert registry.aliases("anoean") == {"champion": "1", "shadow": "2"}
    assert (trained["alias"], trained["champion"]) == ("shadow", False)
    told = read_audit(stage.settings(), "anoean")[-1]
    assert (told.action, told.alias, told.from_version, told.to_version) == (
        "promoted", "shadow", None, "2",
    )  # fmt: skip
    assert told.detail["topic"] == trained["topic"]
    assert told.detail["metrics"] == trained["metrics"]
    assert told.detail["evaluation"]["number"] == 1
    training = registry.manifest("anoean", "2").training
    assert training["topic"]["offsets"] == {"0": [0, 499], "1": [0, 499]}
    assert training["warm_start"]["version"] == "1"
    assert any("training.epochs is 2, was 8" in note for note in trained["notes"])
    woken = read_all(stage.site.bootstrap, str(stage.site.settings["topics.control"]))
    assert len(woken) == 1


def test_the_script_trains_a_shadow_and_later_makes_it_champion(stage: RetrainStage) -> None:
    traffic = flows(1500, seed=3, share=0.05)
    stage.publish(traffic)
    labels = write_labels(
        stage.folder / "labels.jsonl",
        [
            {"flow_uid": flow.record["flow_uid"], "label": flow.attack or "benign"}
            for flow in traffic
            if flow.attack
        ],
    )
    registry = Registry(str(stage.site.settings["registry.url"]))
    environment = {
        "RETRAIN_TOPIC": stage.site.topic("input"),
        "RETRAIN_LABELS": str(labels),
        "RETRAIN_NORMAL_VALUE": "benign",
        "RETRAIN_ID_FIELD": "flow_uid",
        "RETRAIN_WAIT": "",
        "RETRAIN_DIR": str(stage.folder / "state"),
        "RETRAIN_LOG_DIR": str(stage.folder / "logs"),
    }

    # The gate has tests of its own; what it decides comes through as the exit code.
    config = stage.write_config(gate__offline=False, gate__online=False, training__epochs=2)
    trained = run_script("train", environment, config=config)
    after_training = registry.aliases("anoean")
    promoted = run_script("promote", environment, config=config)

    assert (trained, promoted) == (0, 0)
    assert after_training == {"champion": "1", "shadow": "2"}
    assert registry.aliases("anoean")["champion"] == "2"
    assert registry.aliases("anoean")["previous"] == "1"
    training = registry.manifest("anoean", "2").training
    assert training["topic"]["records"]["labelled_anomalies"] > 50
    assert training["warm_start"]["version"] == "1"
    logs = sorted(path.name.split("-")[1] for path in (stage.folder / "logs").iterdir())
    assert logs == ["promote", "train"]
