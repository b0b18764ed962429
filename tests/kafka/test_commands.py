"""The commands around the worker on a real Kafka: topics, publish, watch, dead letters and replay."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from anoean_stream.registry.registry import Registry
from tests.support.kafka_broker import KafkaBroker, free_port
from tests.support.models import attack_row, make_bundle, make_rows
from tests.support.topics import read_all
from tests.support.worker import WorkerProcess

BROKEN = (b"{", b"[1]", b'{"bytes_out": "many"}', b"\xff")


@dataclass
class Site:
    """A broker and the settings that every command of a test shares."""

    bootstrap: str
    settings: dict[str, object]

    @property
    def flags(self) -> list[str]:
        shared = {"broker.bootstrap_servers": self.bootstrap, **self.settings}
        return [part for key, value in shared.items() for part in ("--set", f"{key}={value}")]

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "anoean_stream", *words, *self.flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *words: str, exit_code: int = 0) -> str:
        process = self.start(*words)
        out, err = process.communicate(timeout=60)
        assert process.returncode == exit_code, err.decode()
        return (out if exit_code == 0 else err).decode()

    def json(self, *words: str) -> dict[str, Any]:
        document = json.loads(self.run(*words, "--json"))
        assert isinstance(document, dict)
        return document


@pytest.fixture
def site(kafka_broker: KafkaBroker, new_group: Callable[[str], str]) -> Site:
    group = new_group("site")
    settings: dict[str, object] = {
        "topics.input": f"{group}.flows",
        "topics.alerts": f"{group}.anomalies",
        "topics.dead_letters": f"{group}.dlq",
        "consumer.group_id": group,
    }
    return Site(kafka_broker.bootstrap, settings)


@pytest.fixture
def worker(site: Site, tmp_path: Path) -> Iterator[WorkerProcess]:
    make_bundle(tmp_path / "bundle", name="anoean")
    registry = Registry(str(tmp_path / "models"))
    registry.set_alias("anoean", "champion", registry.publish(tmp_path / "bundle", "anoean"))
    site.json("topics", "create", "--partitions", "2")
    with WorkerProcess(site.bootstrap, tmp_path / "models", site.settings) as started:
        yield started.ready()


def write_flows(path: Path) -> int:
    """Labelled flows as JSON lines, some of them broken; return how many lines."""
    good = [{**row, "label": 0} for row in make_rows(40)] + [{**attack_row(), "label": 1}]
    lines = [*(msgspec.json.encode(row) for row in good), *BROKEN]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return len(lines)


def test_topics_are_created_once_and_listed_with_their_use(site: Site) -> None:
    names = [str(site.settings[f"topics.{use}"]) for use in ("input", "alerts", "dead_letters")]

    assert set(site.json("topics", "list")["missing"]) == set(names)
    assert site.json("topics", "create", "--partitions", "3")["created"] == names
    assert site.json("topics", "create") == {"created": [], "existing": names}
    listed = {topic["name"]: topic for topic in site.json("topics", "list")["topics"]}
    assert {listed[name]["partitions"] for name in names} == {3}


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


def test_dead_letters_are_listed_replayed_once_and_repeats_are_told(
    site: Site, worker: WorkerProcess, tmp_path: Path
) -> None:
    n_lines = write_flows(tmp_path / "flows.jsonl")
    site.json("publish", str(tmp_path / "flows.jsonl"))
    worker.wait_for_records(n_lines)

    listed = site.json("dlq", "list")
    tried = site.json("dlq", "replay", "--dry-run")
    typed = site.json("dlq", "replay", "--reason", "wrong_type")
    worker.wait_for_records(n_lines + 1)
    rest = site.json("dlq", "replay", "--reason", "not_json")
    worker.wait_for_records(n_lines + 2)
    again = site.json("dlq", "replay", "--reason", "not_json")
    worker.wait_for_records(n_lines + 3)

    reasons = {"not_json": 1, "not_an_object": 1, "wrong_type": 1, "not_utf8": 1}
    assert listed["by_reason"] == reasons
    assert {letter["origin_topic"] for letter in listed["letters"]} == {
        site.settings["topics.input"]
    }
    assert (tried["found"], tried["replayed"]) == (4, 0)
    assert (typed["replayed"], typed["by_reason"]) == (1, {"wrong_type": 1})
    assert (rest["replayed"], rest["replayed_before"]) == (1, 0)
    # It was not mended, so it died again: the second replay sends that one letter, and says so.
    assert (again["replayed"], again["replayed_before"]) == (1, 1)
    inputs = read_all(site.bootstrap, str(site.settings["topics.input"]))
    sent_again = [r for r in inputs if "anoean-replay-count" in r.headers]
    assert sorted(r.value or b"" for r in sent_again) == sorted(
        [b"{", b"{", b'{"bytes_out": "many"}']
    )
    assert sorted(r.headers["anoean-replay-count"] for r in sent_again) == ["1", "1", "2"]


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
