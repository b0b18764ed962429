"""Two minutes of an operator's worst day, at 20,000 flows a second: models come, go, and are bad.

Every record is accounted for, and judged by exactly the version that its alert names.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
import numpy as np
import pytest

from anoean_stream.detector.bundle import ServedModel
from anoean_stream.detector.calibration import Calibration
from anoean_stream.detector.detector import Detector
from anoean_stream.pipeline import Pipeline
from anoean_stream.records.audit import AuditRecord
from anoean_stream.registry.registry import Registry
from anoean_stream.settings import AlertSettings, ScoringSettings
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_topics import committed, create_topic
from tests.support.models import attack_row, make_bundle, make_detector, make_rows
from tests.support.offline_scores import OfflineScores, Seen
from tests.support.steady_traffic import SteadyTraffic
from tests.support.topics import read_all
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess

MODEL: Final = "anoean"
PARTITIONS: Final = 4
RATE_PER_S: Final = 20_000
N_VALUES: Final = 3989
"""Different records; a prime number, see `SteadyTraffic`."""
ATTACK_EVERY: Final = 199
FALSE_POSITIVE_RATE: Final = 0.005
SECONDS: Final = 120
SWAP_S: Final = 5.0
"""From the move of the alias to the last worker, with the control topic."""
PAUSE_MS: Final = 50.0
RESULTS: Final = Path(__file__).parents[2] / "build" / "models-in-operation.json"


def traffic_values() -> list[bytes]:
    rows = make_rows(N_VALUES, seed=11)
    for place in range(0, N_VALUES, ATTACK_EVERY):
        rows[place] = attack_row(seed=place)
    return [msgspec.json.encode(row) for row in rows]


@dataclass
class Site:
    """A registry, two workers, and somebody who moves models; everything that he did, in order."""

    bootstrap: str
    topics: dict[str, str]
    group: str
    folder: Path
    scores: OfflineScores
    workers: list[WorkerProcess] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    n_swaps: int = 0
    n_rollbacks: int = 0

    @property
    def models(self) -> Path:
        return self.folder / "models"

    @property
    def registry(self) -> Registry:
        return Registry(str(self.models))

    def settings(self) -> dict[str, object]:
        return {
            **{f"topics.{use}": name for use, name in self.topics.items()},
            "consumer.group_id": self.group,
            "registry.poll_interval_s": 2,
            "alerts.top_features": 1,
            "swap.watch_min_records": 2000,
            "swap.hold_down_s": 20,
        }

    def worker(self, name: str) -> WorkerProcess:
        return WorkerProcess(self.bootstrap, self.models, {**self.settings(), "worker.id": name})

    def command(self, *words: str, exit_code: int = 0) -> str:
        settings = {
            "broker.bootstrap_servers": self.bootstrap,
            "registry.url": self.models,
            **self.settings(),
        }
        flags = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        done = subprocess.run(
            [sys.executable, "-m", "anoean_stream", *words, *flags],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == exit_code, done.stdout + done.stderr
        return done.stdout + done.stderr

    # ------------------------------------------------------------------ models

    def add(self, detector: Detector) -> str:
        """Publish a version, and note what it says of the traffic."""
        bundle = self.folder / f"bundle-{time.monotonic_ns()}"
        make_bundle(bundle, name=MODEL, detector=detector, false_positive_rate=FALSE_POSITIVE_RATE)
        version = self.registry.publish(bundle, MODEL)
        model = ServedModel(MODEL, version, self.registry.load(MODEL, version))
        pipeline = Pipeline(
            model,
            scoring=ScoringSettings(),
            alerts=AlertSettings(top_features=0),
            worker_id="offline",
        )
        self.scores.add(version, pipeline)
        return version

    def serving(self, version: str) -> None:
        """Wait until both workers serve a version."""
        for worker in self.workers:
            wait_until(
                lambda worker=worker: f'version="{version}"' in worker.probe("/metrics")[1],  # type: ignore[misc]
                what=f"version {version} in use",
                within_s=30,
                hint=worker.tail,
            )

    def follow(self, version: str) -> None:
        """Wait for both workers; note how long after the move of the alias the later one swapped."""
        self.serving(version)
        moved_at = datetime.fromisoformat(self.registry.alias_record(MODEL, "champion").updated_at)
        swapped_at = max(
            datetime.fromisoformat(line["timestamp"])
            for worker in self.workers
            for line in worker.lines()
            if line.get("event") == "model_in_use" and line["model"] == f"{MODEL}@{version}"
        )
        self.seconds.append((swapped_at - moved_at).total_seconds())

    def promote(self, version: str) -> None:
        self.command("models", "promote", MODEL, version, "--force", "--reason", "a drill")
        self.follow(version)
        self.n_swaps += 1

    def roll_back(self, to: str) -> None:
        self.command("models", "rollback", MODEL, "--reason", "a drill", "--no-wait")
        self.follow(to)
        self.n_rollbacks += 1

    def slip_in(self, version: str) -> None:
        """Move the alias past all checks, as somebody with a text editor does."""
        self.registry.set_alias(MODEL, "champion", version, by="somebody")

    def refused(self, version: str) -> None:
        for worker in self.workers:
            worker.wait_for_line("model_refused", version=version)

    def audit(self) -> list[AuditRecord]:
        records = read_all(self.bootstrap, self.topics["audit"])
        return [AuditRecord.from_json(record.value or b"") for record in records]


@pytest.fixture
def site(
    kafka_broker: KafkaBroker, new_group: Callable[[str], str], tmp_path: Path
) -> Iterator[Site]:
    group = new_group("operations")
    uses = ("input", "alerts", "dead_letters", "audit", "control", "workers")
    topics = {use: f"{group}.{use}" for use in uses}
    for use, name in topics.items():
        n = PARTITIONS if use in {"input", "alerts", "dead_letters"} else 1
        create_topic(kafka_broker.bootstrap, name, partitions=n)
    scores = OfflineScores(traffic_values(), partitions=PARTITIONS)
    site = Site(kafka_broker.bootstrap, topics, group, tmp_path, scores)
    yield site
    for worker in site.workers:
        worker.close()


def alarmist() -> Detector:
    detector = make_detector(seed=50)
    near_zero = Calibration.fit(np.linspace(0.0, 0.01, 2000))
    return Detector(detector.contract, detector.encoder, near_zero)


def stranger() -> Detector:
    detector = make_detector(seed=51)
    first, *rest = detector.contract.numbers
    renamed = msgspec.structs.replace(first, name="flow_duration_milliseconds")
    contract = msgspec.structs.replace(detector.contract, numbers=(renamed, *rest))
    return Detector(contract, detector.encoder, detector.calibration)


def corrupt(models: Path, version: str) -> None:
    weights = models / MODEL / "versions" / version / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 0x40
    weights.write_bytes(data)


def play(site: Site) -> None:
    """Ten swaps and three roll backs, with every accident in between."""
    good = [site.add(make_detector(seed=seed)) for seed in range(10)]
    broken, strange, loud = (
        site.add(detector) for detector in (make_detector(seed=60), stranger(), alarmist())
    )
    corrupt(site.models, broken)

    site.promote(good[1])
    site.promote(good[2])

    # A corrupted bundle: the command refuses it, and so do the workers when it is slipped in.
    assert "was changed after it was written" in site.command(
        "models", "promote", MODEL, broken, "--force", "--reason", "a drill", exit_code=3
    )
    site.slip_in(broken)
    site.refused(broken)
    site.promote(good[3])

    # A model that alerts on everything: the workers take it back by themselves.
    site.slip_in(loud)
    wait_until(
        lambda: any("model_rolled_back" in worker.output() for worker in site.workers),
        what="an automatic roll back",
        within_s=20,
    )
    site.serving(good[3])
    wait_until(
        lambda: site.registry.alias_version(MODEL, "champion") == good[3],
        what="the alias to be moved back",
        within_s=10,
    )
    site.n_swaps += 1
    site.n_rollbacks += 1

    site.promote(good[4])
    site.roll_back(to=good[3])

    # An incompatible contract.
    site.slip_in(strange)
    site.refused(strange)
    site.promote(good[5])

    # The registry goes away, and comes back.
    away = site.folder / "away"
    site.models.rename(away)
    for worker in site.workers:
        worker.wait_for_line("model_not_found")
        assert worker.probe("/ready")[0] == 200
    assert "there is no registry" in site.command("models", "rollback", MODEL, exit_code=3)
    away.rename(site.models)

    for version in good[6:9]:
        site.promote(version)
    site.roll_back(to=good[7])
    site.promote(good[9])


@pytest.mark.timeout(300)
def test_two_minutes_of_swaps_lose_nothing_and_no_version_judges_for_another(site: Site) -> None:
    first = site.add(make_detector(seed=100))
    site.registry.set_alias(MODEL, "champion", first)
    site.workers = [site.worker(name).start() for name in ("north", "south")]
    for worker in site.workers:
        worker.ready()
    wait_until(
        lambda: [w.metrics().get("anoean_partitions_assigned") for w in site.workers] == [2, 2],
        what="two partitions each",
        within_s=30,
    )
    traffic = SteadyTraffic(
        site.bootstrap,
        site.topics["input"],
        values=traffic_values(),
        partitions=PARTITIONS,
        rate_per_s=RATE_PER_S,
    ).start()
    began = time.monotonic()

    play(site)
    wait_until(lambda: time.monotonic() - began > SECONDS, what="two minutes", within_s=SECONDS)
    n_records = traffic.stop()
    wait_until(
        lambda: committed(site.bootstrap, site.group, site.topics["input"]) == traffic.ends(),
        what="every offset committed",
        within_s=30,
    )
    metrics = [worker.metrics() for worker in site.workers]
    codes = [worker.stop() for worker in site.workers]

    assert codes == [0, 0]
    assert (site.n_swaps, site.n_rollbacks) >= (10, 3)
    assert n_records >= 0.98 * SECONDS * RATE_PER_S
    assert sum(one["anoean_records_total"] for one in metrics) == n_records
    assert sum(one["anoean_scored_total"] for one in metrics) == n_records
    alerts = [
        Seen(alert.source.partition, alert.source.offset, alert.model.version, alert.score)
        for record in read_all(site.bootstrap, site.topics["alerts"])
        for alert in (msgspec.json.decode(record.value or b"", type=_Alert),)
    ]
    ends = dict(enumerate(traffic.ends()))
    assert len({(one.partition, one.offset) for one in alerts}) == len(alerts)
    assert site.scores.wrong_scores(alerts) == []
    assert site.scores.wrong_decisions(alerts, ends) == []
    _the_checks_can_fail(site.scores, alerts, ends)

    pauses = [
        one.detail["pause_ms"]
        for one in site.audit()
        if one.action == "swapped" and one.detail["pause_ms"] is not None
    ]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(
        json.dumps(
            {
                "records": n_records,
                "records_per_s": RATE_PER_S,
                "alerts": len(alerts),
                "versions": len({one.version for one in alerts}),
                "swaps": site.n_swaps,
                "roll_backs": site.n_rollbacks,
                "move_to_last_worker_s": sorted(round(one, 3) for one in site.seconds),
                "pause_at_swap_ms": sorted(round(one, 1) for one in pauses),
                "longest_pause_ms": max(pauses),
            },
            indent=1,
        )
    )
    assert max(site.seconds) < SWAP_S
    assert median(pauses) < PAUSE_MS
    _all_is_on_record(site.audit())


def _the_checks_can_fail(scores: OfflineScores, alerts: list[Seen], ends: dict[int, int]) -> None:
    """Each damage to what was seen is noticed."""
    middle = alerts[len(alerts) // 2]
    others = [one for one in alerts if one is not middle]
    versions = sorted({one.version for one in alerts} - {middle.version})
    assert scores.wrong_scores([replace(middle, version=versions[0])])
    assert scores.wrong_decisions(others, ends)
    assert scores.wrong_decisions([*others, replace(middle, offset=middle.offset + 1)], ends)


def _all_is_on_record(audit: list[AuditRecord]) -> None:
    actions = {one.action for one in audit}
    assert {"loaded", "swapped", "refused", "rolled_back", "forced"} <= actions
    automatic = [one for one in audit if one.action == "rolled_back" and one.who_kind == "worker"]
    assert any(one.detail["registry_moved"] for one in automatic)
    refusals = {one.detail["kind"] for one in audit if one.action == "refused"}
    assert {"IntegrityError", "IncompatibleBundleError"} <= refusals


class _Source(msgspec.Struct):
    partition: int
    offset: int


class _Model(msgspec.Struct):
    version: str


class _Alert(msgspec.Struct):
    source: _Source
    model: _Model
    score: float
