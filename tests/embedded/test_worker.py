"""The worker process as operations people meet it: models come, go and are broken; it goes on."""

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from anoean_stream.kafka.embedded import EmbeddedBroker
from anoean_stream.registry.registry import Registry
from tests.support.models import attack_row, make_bundle, make_rows
from tests.support.topics import Record, publish, read_all
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess

MODEL = "anoean"


@dataclass
class Stage:
    """A broker with three topics, an empty registry, and a worker that is not started."""

    bootstrap: str
    flows: str
    alerts: str
    dead_letters: str
    registry_folder: Path
    worker: WorkerProcess

    @property
    def registry(self) -> Registry:
        return Registry(str(self.registry_folder))

    def add_model(self, tmp_path: Path, *, seed: int = 0, promote: bool = True) -> str:
        folder = tmp_path / f"bundle-{seed}"
        make_bundle(folder, name=MODEL, seed=seed)
        version = self.registry.publish(folder, MODEL)
        if promote:
            self.registry.set_alias(MODEL, "champion", version)
        return version

    def publish(self, *values: bytes | None) -> int:
        return publish(self.bootstrap, self.flows, values)

    def alerts_read(self) -> list[dict[str, object]]:
        return [json.loads(record.value or b"") for record in read_all(self.bootstrap, self.alerts)]

    def dead_letters_read(self) -> list[Record]:
        return read_all(self.bootstrap, self.dead_letters)


@pytest.fixture
def stage(
    embedded_broker: EmbeddedBroker,
    new_topic: Callable[[str], str],
    new_group: Callable[[], str],
    tmp_path: Path,
) -> Iterator[Stage]:
    flows, alerts, dead_letters = (new_topic(stem) for stem in ("flows", "alerts", "dlq"))
    worker = WorkerProcess(
        embedded_broker.bootstrap,
        tmp_path / "models",
        {
            "topics.input": flows,
            "topics.alerts": alerts,
            "topics.dead_letters": dead_letters,
            "consumer.group_id": new_group(),
            "scoring.false_positive_rate": 1.0,
        },
    )
    with worker:
        yield Stage(
            embedded_broker.bootstrap, flows, alerts, dead_letters, tmp_path / "models", worker
        )


def encode(*rows: dict[str, object]) -> list[bytes | None]:
    return [msgspec.json.encode(row) for row in rows]


def version_of(alert: dict[str, object]) -> str:
    model = alert["model"]
    assert isinstance(model, dict)
    return str(model["version"])


def test_without_a_model_it_is_live_not_ready_consumes_nothing_and_stops_at_once(
    stage: Stage,
) -> None:
    stage.publish(*encode(*make_rows(10)))

    status, body = stage.worker.probe("/ready")

    assert status == 503
    assert "no model" in body
    assert stage.worker.probe("/live")[0] == 200
    assert stage.worker.metrics()["anoean_partitions_assigned"] == 0
    assert stage.worker.stop() == 0
    assert read_all(stage.bootstrap, stage.alerts) == []


def test_first_model_starts_it_and_every_record_is_alerted_or_dead(
    stage: Stage, tmp_path: Path
) -> None:
    good = encode(*make_rows(200), attack_row())
    bad: list[bytes | None] = [b"{", b"", None, b"\xff", b"[]"]
    stage.publish(*good, *bad)

    stage.add_model(tmp_path)
    metrics = stage.worker.ready().wait_for_records(len(good) + len(bad))

    assert metrics["anoean_scored_total"] == len(good)
    assert sorted(record.value or b"" for record in stage.dead_letters_read()) == sorted(
        value or b"" for value in bad
    )
    originals = [alert["original"] for alert in stage.alerts_read()]
    assert sorted(map(json.dumps, originals)) == sorted(
        json.dumps(json.loads(value or b"")) for value in good
    )
    assert stage.worker.stop() == 0


def test_newer_model_is_taken_without_restart_and_each_alert_names_its_version(
    stage: Stage, tmp_path: Path
) -> None:
    first = stage.add_model(tmp_path)
    stage.publish(*encode(*make_rows(50)))
    stage.worker.ready().wait_for_records(50)

    second = stage.add_model(tmp_path, seed=1)
    stage.worker.wait_for_line("model_in_use", model=f"{MODEL}@{second}", before=f"{MODEL}@{first}")
    stage.publish(*encode(*make_rows(50, seed=1)))
    metrics = stage.worker.wait_for_records(100)

    versions = [version_of(alert) for alert in stage.alerts_read()]
    assert (versions.count(first), versions.count(second)) == (50, 50)
    assert metrics["anoean_model_swaps_total"] == 2


def corrupt(folder: Path) -> None:
    path = folder / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 0x40
    path.write_bytes(data)


def truncate(folder: Path) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def remove(folder: Path) -> None:
    (folder / "calibration.safetensors").unlink()


def half_write(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes()[:200])


def from_the_future(folder: Path) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"format_version": 99}))


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (corrupt, "weights.safetensors"),
        (truncate, "weights.safetensors"),
        (remove, "calibration.safetensors"),
        (half_write, "manifest.json"),
        (from_the_future, "manifest.json"),
    ],
)
def test_broken_bundle_is_refused_by_file_while_the_old_model_goes_on(
    stage: Stage, tmp_path: Path, damage: Callable[[Path], None], named: str
) -> None:
    good = stage.add_model(tmp_path)
    stage.worker.ready()
    bad = stage.add_model(tmp_path, seed=1, promote=False)
    damage(stage.registry_folder / MODEL / "versions" / bad)

    alias = stage.registry_folder / MODEL / "aliases" / "champion.json"
    record = json.loads(alias.read_text())
    alias.write_text(json.dumps(record | {"version": bad}))
    refusal = stage.worker.wait_for_line("model_refused", version=bad)
    stage.publish(*encode(*make_rows(30)))
    metrics = stage.worker.wait_for_records(30)

    assert named in refusal["reason"]
    assert refusal["serving"] == f"{MODEL}@{good}"
    assert {version_of(alert) for alert in stage.alerts_read()} == {good}
    assert metrics["anoean_model_refused_total"] == 1
    assert stage.worker.probe("/ready")[0] == 200


def test_registry_that_vanishes_does_not_stop_the_scoring(stage: Stage, tmp_path: Path) -> None:
    stage.add_model(tmp_path)
    stage.worker.ready()

    shutil.rmtree(stage.registry_folder)
    stage.worker.wait_for_line("model_not_found")
    stage.publish(*encode(*make_rows(30)))

    assert stage.worker.wait_for_records(30)["anoean_scored_total"] == 30


def test_killed_worker_repeats_alerts_with_the_same_ids_and_misses_none(
    stage: Stage, tmp_path: Path
) -> None:
    stage.add_model(tmp_path)
    n_records = stage.publish(*encode(*make_rows(3000)))
    stage.worker.ready().wait_for_records(1)

    stage.worker.stop(signal.SIGKILL)
    stage.worker.start().ready()
    stage.publish(*encode(*make_rows(10, seed=1)))
    wait_until(
        lambda: len({alert["alert_id"] for alert in stage.alerts_read()}) == n_records + 10,
        what="an alert for each record",
        within_s=40,
        hint=stage.worker.tail,
    )

    places: dict[object, set[str]] = {}
    for alert in stage.alerts_read():
        source = alert["source"]
        assert isinstance(source, dict)
        place = (source["partition"], source["offset"])
        places.setdefault(place, set()).add(str(alert["alert_id"]))
    assert len(places) == n_records + 10
    assert {len(ids) for ids in places.values()} == {1}


def test_taken_port_is_a_sentence_and_exit_code_2(stage: Stage) -> None:
    port = json.loads(json.dumps(stage.worker.wait_for_line("web_listening")))["url"].rsplit(":")[
        -1
    ]
    second = WorkerProcess(stage.bootstrap, stage.registry_folder, {"web.port": port})

    with second:
        wait_until(
            lambda: second.exit_code is not None, what="the second worker's end", within_s=30
        )

        assert second.exit_code == 2
        assert f"cannot listen on 127.0.0.1:{port}" in second.tail()


def test_probes_and_metrics_are_served_in_their_formats(stage: Stage, tmp_path: Path) -> None:
    stage.add_model(tmp_path)
    stage.worker.ready()

    status, body = stage.worker.probe("/ready")

    ready = json.loads(body)
    assert (status, ready["status"], ready["partitions"]) == (200, "ok", 4)
    assert ready["model"].startswith(f"{MODEL}@")
    metrics = stage.worker.metrics()
    assert metrics["anoean_partitions_assigned"] == 4
    assert any(name.startswith("anoean_model_info{") for name in metrics)
