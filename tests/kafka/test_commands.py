"""The commands around the worker on a real Kafka: topics, publish and watch."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tests.support.kafka_broker import KafkaBroker, free_port
from tests.support.models import attack_row, make_rows
from tests.support.registries import publish_model
from tests.support.site import Site
from tests.support.topics import read_all
from tests.support.worker import WorkerProcess

BROKEN = (b"{", b"[1]", b'{"bytes_out": "many"}', b"\xff")


@pytest.fixture
def site(kafka_broker: KafkaBroker, new_group: Callable[[str], str]) -> Site:
    group = new_group("site")
    settings: dict[str, object] = {
        "topics.input": f"{group}.flows",
        "topics.alerts": f"{group}.anomalies",
        "topics.dead_letters": f"{group}.dlq",
        "topics.audit": f"{group}.audit",
        "topics.control": f"{group}.control",
        "topics.workers": f"{group}.workers",
        "consumer.group_id": group,
    }
    return Site(kafka_broker.bootstrap, settings)


@pytest.fixture
def worker(site: Site, tmp_path: Path) -> Iterator[WorkerProcess]:
    models = publish_model(tmp_path)
    site.json("topics", "create", "--partitions", "2")
    with WorkerProcess(site.bootstrap, models, site.settings) as started:
        yield started.ready()


def write_flows(path: Path) -> int:
    """Labelled flows as JSON lines, some of them broken; return how many lines."""
    good = [{**row, "label": 0} for row in make_rows(40)] + [{**attack_row(), "label": 1}]
    lines = [*(msgspec.json.encode(row) for row in good), *BROKEN]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return len(lines)


def test_topics_are_created_once_and_listed_with_their_use(site: Site) -> None:
    uses = ("input", "alerts", "dead_letters", "audit", "control", "workers")
    names = [site.topic(use) for use in uses]

    assert set(site.json("topics", "list")["missing"]) == set(names)
    assert site.json("topics", "create", "--partitions", "3")["created"] == names
    assert site.json("topics", "create") == {"created": [], "existing": names}
    listed = {topic["name"]: topic for topic in site.json("topics", "list")["topics"]}
    assert [listed[name]["partitions"] for name in names] == [3, 3, 3, 1, 1, 1]


def test_publish_to_a_missing_topic_says_how_to_make_it(site: Site, tmp_path: Path) -> None:
    write_flows(tmp_path / "flows.jsonl")

    said = site.run("publish", str(tmp_path / "flows.jsonl"), exit_code=4)

    assert f"{site.settings['topics.input']}" in said
    assert "anoean topics create" in said
    assert "Traceback" not in said


def test_labels_travel_in_headers_and_never_in_the_value(site: Site, tmp_path: Path) -> None:
    n_lines = write_flows(tmp_path / "flows.jsonl")
    site.json("topics", "create")

    published = site.json("publish", str(tmp_path / "flows.jsonl"))

    assert published["acknowledged"] == published["sent"] == n_lines
    records = read_all(site.bootstrap, str(site.settings["topics.input"]))
    assert len(records) == n_lines
    assert not any(b'"label"' in (record.value or b"") for record in records)
    labels = sorted(record.headers.get("anoean-label", "-") for record in records)
    assert labels == ["-"] * len(BROKEN) + ["0"] * 40 + ["1"]


def test_watch_prints_alerts_as_they_stand_in_the_topic(
    site: Site, worker: WorkerProcess, tmp_path: Path
) -> None:
    n_lines = write_flows(tmp_path / "flows.jsonl")
    site.json("publish", str(tmp_path / "flows.jsonl"))
    worker.wait_for_records(n_lines)

    lines = site.run("watch", "--json", "--from-beginning", "--count", "1").splitlines()

    assert len(lines) == 1
    values = {
        record.value for record in read_all(site.bootstrap, str(site.settings["topics.alerts"]))
    }
    assert lines[0].encode() in values
    assert json.loads(lines[0])["model"]["version"] == "1"


def test_watch_waits_for_a_broker_that_is_not_there_and_ends_cleanly(site: Site) -> None:
    lost = Site(f"127.0.0.1:{free_port()}", site.settings)
    process = lost.start("watch")
    assert process.stderr is not None

    first = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, rest = process.communicate(timeout=30)

    assert first.startswith(b"waiting:")
    assert process.returncode == 130
    assert b"Traceback" not in rest
    assert out == b""
