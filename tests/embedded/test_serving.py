"""Models in operation: told at once, tried on live traffic, watched, taken back, and all of it on record."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from anoean_stream.cli.trail import tell
from anoean_stream.detector.calibration import Calibration
from anoean_stream.detector.detector import Detector
from anoean_stream.detector.threshold import ThresholdChoice
from anoean_stream.kafka.embedded import EmbeddedBroker
from anoean_stream.records.audit import AuditRecord
from anoean_stream.records.shadowreport import ShadowReport
from anoean_stream.records.workerreport import WorkerReport
from anoean_stream.registry.registry import Registry
from anoean_stream.settings import BrokerSettings, Settings, TopicSettings
from tests.support.models import make_bundle, make_detector, make_rows
from tests.support.topics import publish, read_all
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess

MODEL = "anoean"
NEVER_S = 3600
BOTH = ("champion", "candidate", "both")
QUICK_S = 5.0
"""What a roll back may take from the command to all workers."""


@dataclass
class Stage:
    """A broker with six topics, a registry, and workers that look at it only when they are told."""

    bootstrap: str
    topics: dict[str, str]
    group: str
    folder: Path
    settings: dict[str, object] = field(default_factory=dict)
    n_bundles: int = 0

    @property
    def registry(self) -> Registry:
        return Registry(str(self.folder / "models"))

    def worker(self, **settings: object) -> WorkerProcess:
        further = {name.replace("__", "."): value for name, value in settings.items()}
        return WorkerProcess(
            self.bootstrap,
            self.folder / "models",
            {
                **{f"topics.{use}": name for use, name in self.topics.items()},
                "consumer.group_id": self.group,
                "registry.poll_interval_s": NEVER_S,
                "worker.report_interval_s": 0.5,
                **further,
            },
        )

    def add(self, detector: Detector | None = None, *, seed: int = 0, rate: float = 0.01) -> str:
        """Publish a version."""
        self.n_bundles += 1
        folder = self.folder / f"bundle-{self.n_bundles}"
        make_bundle(
            folder, name=MODEL, seed=seed, detector=detector, false_positive_rate=rate,
        )  # fmt: skip
        return self.registry.publish(folder, MODEL)

    def move(self, version: str) -> None:
        """Let champion name a version, and tell everybody, as a command does."""
        before = self.registry.set_alias(MODEL, "champion", version)
        self.say(before, version)

    def say(self, before: str | None = None, version: str | None = None) -> None:
        record = AuditRecord.of(
            "promoted", model=MODEL, who="tester", who_kind="user", from_version=before,
            to_version=version,
        )  # fmt: skip
        settings = Settings(
            broker=BrokerSettings(bootstrap_servers=self.bootstrap),
            topics=TopicSettings.model_validate(self.topics),
        )
        assert tell(settings, record)

    def flows(self, n: int, *, seed: int = 0) -> int:
        return publish(
            self.bootstrap, self.topics["input"], map(msgspec.json.encode, make_rows(n, seed=seed))
        )

    def all_audit(self) -> list[AuditRecord]:
        records = read_all(self.bootstrap, self.topics["audit"])
        return [AuditRecord.from_json(record.value or b"") for record in records]

    def audit(self, action: str) -> list[AuditRecord]:
        return [one for one in self.all_audit() if one.action == action]

    def wait_for_audit(self, action: str, *, within_s: float = 15.0) -> AuditRecord:
        wait_until(lambda: bool(self.audit(action)), what=f"audit {action}", within_s=within_s)
        return self.audit(action)[-1]

    def reports(self) -> list[WorkerReport | None]:
        records = read_all(self.bootstrap, self.topics["workers"])
        return [
            None if record.value is None else WorkerReport.from_json(record.value)
            for record in records
        ]


@pytest.fixture
def stage(
    embedded_broker: EmbeddedBroker,
    new_topic: Callable[[str], str],
    new_group: Callable[[], str],
    tmp_path: Path,
) -> Stage:
    uses = ("input", "alerts", "dead_letters", "audit", "control", "workers")
    return Stage(
        embedded_broker.bootstrap, {use: new_topic(use) for use in uses}, new_group(), tmp_path
    )


def alarmist() -> Detector:
    """A model that calls nearly all traffic anomalous: calibrated on scores near zero."""
    detector = make_detector(seed=3)
    return Detector(
        contract=detector.contract,
        encoder=detector.encoder,
        calibration=Calibration.fit(np.linspace(0.0, 0.01, 2000)),
    )


def stranger() -> Detector:
    """A model of another exporter: one of its fields no record has."""
    detector = make_detector()
    first, *rest = detector.contract.numbers
    renamed = msgspec.structs.replace(first, name="flow_duration_milliseconds")
    contract = msgspec.structs.replace(detector.contract, numbers=(renamed, *rest))
    return Detector(contract=contract, encoder=detector.encoder, calibration=detector.calibration)


def test_a_control_message_swaps_at_once_and_the_audit_topic_has_it(stage: Stage) -> None:
    first = stage.add()
    stage.registry.set_alias(MODEL, "champion", first)
    second = stage.add(seed=1)

    with stage.worker() as worker:
        worker.ready()
        stage.flows(500)
        worker.wait_for_records(500)
        began = time.monotonic()
        stage.move(second)
        worker.wait_for_line("model_in_use", model=f"{MODEL}@{second}", timeout_s=QUICK_S)
        assert time.monotonic() - began < QUICK_S
        stage.flows(500, seed=1)
        worker.wait_for_records(1000)

        swapped = stage.wait_for_audit("swapped")
        assert worker.metrics()["anoean_swap_pause_seconds_count"] == 1

    loaded = stage.wait_for_audit("loaded")
    assert (loaded.from_version, loaded.to_version) == (None, first)
    assert (swapped.from_version, swapped.to_version) == (first, second)
    assert swapped.who_kind == "worker"
    assert swapped.group == stage.group
    assert swapped.detail["pause_ms"] >= 0


def test_messages_of_other_models_and_foreign_bytes_wake_nobody(stage: Stage) -> None:
    first, second = stage.add(), stage.add(seed=1)
    stage.registry.set_alias(MODEL, "champion", first)

    with stage.worker() as worker:
        worker.ready()
        publish(stage.bootstrap, stage.topics["control"], [b"\xff", b"[]", b'{"model":"other"}'])
        stage.registry.set_alias(MODEL, "champion", second)
        publish(
            stage.bootstrap,
            stage.topics["control"],
            [b'{"at":"","model":"other","who":"x"}'],
        )
        stage.flows(200)
        worker.wait_for_records(200)
        assert worker.metrics()["anoean_model_swaps_total"] == 1

        stage.say()
        worker.wait_for_line("model_in_use", model=f"{MODEL}@{second}", timeout_s=QUICK_S)


def test_a_model_that_alerts_on_everything_is_taken_back_by_itself(stage: Stage) -> None:
    good, bad = stage.add(), stage.add(alarmist())
    stage.registry.set_alias(MODEL, "champion", good)

    with stage.worker(swap__watch_min_records=500) as worker:
        worker.ready()
        stage.flows(3000)
        worker.wait_for_records(3000)
        stage.move(bad)
        worker.wait_for_line("model_in_use", model=f"{MODEL}@{bad}")
        stage.flows(3000, seed=1)
        line = worker.wait_for_line("model_rolled_back", left=bad, to=good)
        worker.wait_for_records(6000)
        record = stage.wait_for_audit("rolled_back")

        assert line["rule"] == "alert_rate"
        assert worker.metrics()['anoean_rollbacks_total{rule="alert_rate"}'] == 1
        alias = stage.registry.alias_record(MODEL, "champion")
        assert alias.version == good
        assert set(alias.held) == {bad}

        # A person insists: it is taken, and within the hold-down it is not taken back again.
        stage.move(bad)
        worker.wait_for_line("model_in_use", model=f"{MODEL}@{bad}", before=f"{MODEL}@{good}")
        stage.flows(3000, seed=2)
        worker.wait_for_line("rollback_held_down")
        assert stage.registry.alias_version(MODEL, "champion") == bad
        assert worker.stop() == 0

    assert (record.from_version, record.to_version) == (bad, good)
    assert record.detail["automatic"] is True
    assert record.detail["registry_moved"] is True
    assert record.detail["value"] > record.detail["bound"]
    assert len(stage.audit("rolled_back")) == 1


def test_a_model_exported_for_a_hundred_times_the_rate_is_judged_by_the_budget_before(
    stage: Stage,
) -> None:
    good, generous = stage.add(rate=0.001), stage.add(seed=1, rate=0.5)
    stage.registry.set_alias(MODEL, "champion", good)

    with stage.worker(swap__watch_min_records=500) as worker:
        worker.ready()
        stage.flows(1000)
        worker.wait_for_records(1000)
        stage.move(generous)
        worker.wait_for_line("model_in_use", model=f"{MODEL}@{generous}")
        stage.flows(2000, seed=1)
        worker.wait_for_line("model_rolled_back", left=generous, to=good, rule="alert_rate")


def test_without_a_registry_the_model_is_taken_back_all_the_same_and_the_alias_later(
    stage: Stage,
) -> None:
    good, bad = stage.add(), stage.add(alarmist())
    stage.registry.set_alias(MODEL, "champion", good)
    models, away = stage.folder / "models", stage.folder / "away"

    with stage.worker(swap__watch_min_records=500, registry__poll_interval_s=0.5) as worker:
        worker.ready()
        stage.flows(1000)
        worker.wait_for_records(1000)
        stage.registry.set_alias(MODEL, "champion", bad)
        worker.wait_for_line("model_in_use", model=f"{MODEL}@{bad}")
        models.rename(away)
        models.write_text("the disk is gone")
        stage.flows(3000, seed=1)
        worker.wait_for_line("model_rolled_back", left=bad, to=good)
        worker.wait_for_line("rollback_not_in_registry")
        worker.wait_for_records(4000)
        models.unlink()
        away.rename(models)

        wait_until(
            lambda: stage.registry.alias_version(MODEL, "champion") == good,
            what="the alias to follow",
            within_s=10,
            hint=worker.tail,
        )
        assert worker.metrics()["anoean_model_swaps_total"] == 3
        assert worker.stop() == 0

    assert [one.detail["registry_moved"] for one in stage.audit("rolled_back")] == [False, True]


def test_a_contract_that_live_traffic_does_not_fit_is_refused_with_the_field(stage: Stage) -> None:
    good, strange = stage.add(), stage.add(stranger())
    stage.registry.set_alias(MODEL, "champion", good)

    with stage.worker() as worker:
        worker.ready()
        stage.flows(500)
        worker.wait_for_records(500)
        stage.move(strange)
        line = worker.wait_for_line("model_refused", version=strange, timeout_s=QUICK_S)
        refused = stage.wait_for_audit("refused")

        assert "flow_duration_milliseconds" in line["reason"]
        assert line["serving"] == f"{MODEL}@{good}"
        wait_until(
            lambda: any(one and one.problem for one in stage.reports()),
            what="a report of the problem",
            within_s=10,
        )

    assert (refused.to_version, refused.detail["kind"]) == (strange, "IncompatibleBundleError")
    report = next(one for one in stage.reports() if one is not None and one.problem)
    assert (report.version, report.wanted_version) == (good, strange)
    assert "flow_duration_milliseconds" in str(report.problem)


def test_a_model_over_the_latency_budget_is_refused(stage: Stage) -> None:
    first = stage.add()
    stage.registry.set_alias(MODEL, "champion", first)

    with stage.worker(swap__latency_budget_us=0.01) as worker:
        line = worker.wait_for_line("model_refused", version=first)

    assert "swap.latency_budget_us" in line["reason"]


def test_a_threshold_is_in_use_between_two_chunks_and_survives_a_restart(stage: Stage) -> None:
    version = stage.add()
    stage.registry.set_alias(MODEL, "champion", version)
    choice = ThresholdChoice(kind="distance", value=0.001, distances={version: 0.001})

    with stage.worker() as worker:
        worker.ready()
        stage.flows(300)
        few = worker.wait_for_records(300)["anoean_alerts_total"]
        stage.registry.set_threshold(MODEL, choice)
        stage.say()
        worker.wait_for_line("threshold_in_use", threshold=0.001, timeout_s=QUICK_S)
        stage.flows(300, seed=1)
        wait_until(
            lambda: worker.metrics()["anoean_alerts_total"] >= few + 290,
            what="an alert for nearly every record",
            within_s=20,
        )
        assert worker.metrics()["anoean_threshold"] == pytest.approx(0.001)
        assert worker.metrics()["anoean_model_swaps_total"] == 1
        assert worker.stop() == 0

    with stage.worker() as again:
        again.ready()
        line = again.wait_for_line("model_in_use")
        assert line["threshold"] == pytest.approx(0.001)
        stage.registry.roll_back_threshold(MODEL)
        stage.say()
        again.wait_for_line("threshold_in_use", before=0.001, timeout_s=QUICK_S)
        assert again.stop() == 0

    changes = stage.audit("threshold_changed")
    assert [one.detail["threshold"] == 0.001 for one in changes] == [True, False]
    assert all(one.detail["effective"] for one in changes)


def test_a_threshold_that_the_model_cannot_vouch_for_changes_nothing(stage: Stage) -> None:
    stage.registry.set_alias(MODEL, "champion", stage.add())

    with stage.worker() as worker:
        worker.ready()
        before = worker.metrics()["anoean_threshold"]
        stage.registry.set_threshold(MODEL, ThresholdChoice(kind="false_positive_rate", value=1e-9))
        stage.say()
        line = worker.wait_for_line("threshold_refused", timeout_s=QUICK_S)
        assert worker.metrics()["anoean_threshold"] == before
        assert worker.stop() == 0

    assert "2000 normal records" in line["reason"]
    assert stage.audit("refused")[0].detail["kind"] == "threshold"


def test_reports_say_what_is_served_and_a_stop_says_good_bye(stage: Stage) -> None:
    version = stage.add()
    stage.registry.set_alias(MODEL, "champion", version)

    with stage.worker(worker__id="worker-7") as worker:
        worker.ready()
        stage.flows(1000)
        worker.wait_for_records(1000)

        def last() -> Any:
            reports = stage.reports()
            return reports[-1] if reports else None

        wait_until(
            lambda: last() is not None and last().records == 1000, what="a report", within_s=10
        )
        report = last()
        assert worker.stop() == 0

    assert (report.worker, report.group, report.model) == ("worker-7", stage.group, MODEL)
    assert (report.version, report.wanted_version, report.problem) == (version, version, None)
    assert report.partitions == 4
    assert report.scores.records == 1000
    assert sum(report.scores.bins.values()) == 1000
    assert stage.reports()[-1] is None


def test_without_the_three_topics_it_follows_a_roll_back_at_its_next_look(stage: Stage) -> None:
    first, second = stage.add(), stage.add(seed=1)
    for version in (first, second):
        stage.registry.set_alias(MODEL, "champion", version)
    nothing = dict.fromkeys(("topics__audit", "topics__control", "topics__workers"), "null")
    poll_s = 2.0

    with stage.worker(**nothing, registry__poll_interval_s=poll_s) as worker:
        worker.ready()
        stage.flows(100)
        worker.wait_for_records(100)
        stage.registry.roll_back(MODEL)
        began = time.monotonic()
        worker.wait_for_line("model_in_use", model=f"{MODEL}@{first}")
        # One look, its jitter, and the time to load on a busy machine.
        assert time.monotonic() - began < 1.1 * poll_s + 2
        assert worker.stop() == 0

    assert stage.audit("loaded") == []
    assert stage.reports() == []


def test_a_shadow_is_compared_with_the_champion_and_reported(stage: Stage) -> None:
    champion, candidate = stage.add(), stage.add(seed=1)
    stage.registry.set_alias(MODEL, "champion", champion)

    with stage.worker(
        shadow__sample_share=1, shadow__time_share=10, shadow__report_interval_s=1
    ) as worker:
        worker.ready()
        stage.registry.set_alias(MODEL, "shadow", candidate)
        stage.say()
        worker.wait_for_line("shadow_in_use", candidate=candidate)
        n = sum(stage.flows(100, seed=seed) for seed in range(8))
        worker.wait_for_records(n)
        wait_until(
            lambda: worker.metrics()["anoean_shadow_records_total"] >= 100,
            what="a report",
            within_s=20,
            hint=worker.tail,
        )
        reported = stage.reports()[-1]
        stage.registry.remove_alias(MODEL, "shadow")
        stage.say()
        worker.wait_for_line("shadow_gone", candidate=candidate)
        assert worker.stop() == 0

    reports = [ShadowReport.from_detail(one.detail) for one in stage.audit("shadow_report")]
    assert {(one.champion, one.candidate) for one in reports} == {(champion, candidate)}
    assert 100 <= sum(one.records for one in reports) <= n
    assert all(one.both_alerts <= one.champion_alerts <= one.records for one in reports)
    assert all(one.rank_correlation is not None for one in reports)
    assert reported is not None
    assert (reported.version, reported.shadow_version) == (champion, candidate)
    assert reported.shadow_scores is not None
    assert [one.action for one in stage.all_audit() if one.action.startswith("shadow_s")] == [
        "shadow_started",
        "shadow_stopped",
    ]


def test_a_threshold_holds_for_the_shadow_too(stage: Stage) -> None:
    champion, candidate = stage.add(), stage.add(seed=1)
    stage.registry.set_alias(MODEL, "champion", champion)
    stage.registry.set_alias(MODEL, "shadow", candidate)

    with stage.worker(
        shadow__sample_share=1, shadow__time_share=10, shadow__report_interval_s=1
    ) as worker:
        worker.ready()
        worker.wait_for_line("shadow_in_use", candidate=candidate)
        stage.registry.set_threshold(MODEL, ThresholdChoice(kind="false_positive_rate", value=1.0))
        stage.say()
        worker.wait_for_line("threshold_in_use")
        worker.wait_for_records(stage.flows(500))
        wait_until(
            lambda: worker.metrics()["anoean_shadow_records_total"] >= 50,
            what="a report",
            within_s=20,
            hint=worker.tail,
        )
        metrics = worker.metrics()

    n = metrics["anoean_shadow_records_total"]
    assert [metrics[f'anoean_shadow_alerts_total{{by="{who}"}}'] for who in BOTH] == [n, n, n]
