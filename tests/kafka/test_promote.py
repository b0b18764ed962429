"""Promotion by what workers reported, on a real Kafka: the audit topic, and waiting for it."""

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from anoean_stream.cli.audit_reader import read_audit
from anoean_stream.cli.trail import tell
from anoean_stream.configfile import load_settings
from anoean_stream.records.audit import AuditRecord
from anoean_stream.records.control import ControlMessage
from anoean_stream.registry import Registry
from anoean_stream.settings import Settings
from tests.support.kafka_broker import KafkaBroker
from tests.support.models import make_bundle
from tests.support.registries import make_registry
from tests.support.shadowing import make_report, report_record
from tests.support.site import Site
from tests.support.topics import read_all
from tests.support.waiting import wait_until


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = make_registry(tmp_path)
    registry.set_alias("edge", "shadow", "2")
    return registry


@pytest.fixture
def site(
    kafka_broker: KafkaBroker,
    registry: Registry,
    new_group: Callable[[str], str],
    new_topic: Callable[..., str],
) -> Site:
    settings: dict[str, object] = {
        "consumer.group_id": new_group("gate"),
        "topics.audit": new_topic("audit", partitions=1),
        "topics.control": new_topic("control", partitions=1),
        "registry.url": registry.url,
        "gate.offline": "false",
        "shadow.report_interval_s": 0.5,
    }
    return Site(kafka_broker.bootstrap, settings)


@pytest.fixture
def settings(site: Site) -> Settings:
    return load_settings(None, site.flags[1::2])


def report(settings: Settings, *records: AuditRecord) -> None:
    for record in records:
        assert tell(settings, record, wake=False)


def told(settings: Settings) -> AuditRecord:
    [record] = [one for one in read_audit(settings, "edge") if one.action != "shadow_report"]
    return record


def test_reports_of_all_workers_let_it_pass_and_workers_are_woken(
    site: Site, settings: Settings, registry: Registry
) -> None:
    report(
        settings,
        report_record(make_report(records=6000), worker="w1"),
        report_record(make_report(records=4000), worker="w2"),
        report_record(make_report(records=50_000, candidate="7"), worker="w2"),
    )

    promoted = site.json("models", "promote", "edge", "2")

    assert promoted["outcome"] == "promoted"
    assert [rule["passed"] for rule in promoted["rules"]] == [True] * 5
    assert promoted["rules"][0]["value"] == 10_000
    assert promoted["rules"][0]["figures"]["reports_of_other_versions"] == 1
    assert registry.aliases("edge") == {"champion": "2", "previous": "1"}
    record = told(settings)
    assert (record.action, record.alias, record.from_version, record.to_version) == (
        ("promoted", "champion", "1", "2")
    )
    assert record.who_kind == "user"
    assert record.detail["rules"] == promoted["rules"]
    assert record.detail["alias_removed"] == "shadow"
    [woken] = read_all(site.bootstrap, str(site.settings["topics.control"]))
    assert ControlMessage.from_json(woken.value or b"").what == "promoted 2"


def test_traffic_on_which_they_disagree_refuses_it(
    site: Site, settings: Settings, registry: Registry
) -> None:
    report(settings, report_record(make_report(candidate_alerts=900, both_alerts=80)))

    said = site.run("models", "promote", "edge", "2", exit_code=3)

    assert "- alert_rate_ratio_max: 900 alerts, champion's 100" in said
    assert "9 times as many" in said
    assert registry.aliases("edge") == {"champion": "1", "shadow": "2"}
    record = told(settings)
    assert (record.action, record.from_version, record.to_version) == ("refused", "1", "2")
    assert record.reason.startswith("alert_rate_ratio_max: ")
    assert read_all(site.bootstrap, str(site.settings["topics.control"])) == []


def test_force_is_recorded_with_its_reason_and_the_broken_rules(
    site: Site, settings: Settings, registry: Registry
) -> None:
    words = ("--force", "--reason", "champion is blind to the worm")

    forced = site.json("models", "promote", "edge", "2", *words)

    assert forced["outcome"] == "forced"
    record = told(settings)
    assert (record.action, record.reason) == ("forced", "champion is blind to the worm")
    assert [rule["passed"] for rule in record.detail["rules"]] == [False]
    assert registry.alias_version("edge", "champion") == "2"


def test_reports_from_before_it_was_shadow_do_not_count(
    site: Site, settings: Settings, registry: Registry
) -> None:
    report(settings, report_record())
    registry.remove_alias("edge", "shadow")
    registry.set_alias("edge", "shadow", "2")
    report(settings, report_record(make_report(records=300)))

    refused = site.json("models", "promote", "edge", "2", exit_code=3)

    assert refused["rules"][0]["value"] == 300
    assert "--wait 24h" in refused["rules"][0]["next_step"]


def test_a_version_that_is_not_shadow_is_told_how_to_become_it(
    site: Site, registry: Registry
) -> None:
    registry.remove_alias("edge", "shadow")

    said = site.run("models", "promote", "edge", "2", exit_code=3)

    assert "`anoean models promote edge 2 --alias shadow`" in said


def test_waiting_ends_when_reports_cover_enough_records(
    site: Site, settings: Settings, registry: Registry
) -> None:
    report(settings, report_record(make_report(records=4000)))
    waiting = site.start("models", "promote", "edge", "2", "--wait", "5m", "--json")
    said = _lines_until(waiting, "4,000 of 10,000 shadow records")

    report(settings, report_record(make_report(records=6000), worker="w2"))

    out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, said + err.decode()
    assert json.loads(out)["rules"][0]["value"] == 10_000
    assert "10,000 of 10,000 shadow records" in err.decode()
    assert registry.alias_version("edge", "champion") == "2"


def test_waiting_in_vain_is_a_refusal(site: Site, settings: Settings) -> None:
    report(settings, report_record(make_report(records=4000)))

    refused = site.json("models", "promote", "edge", "2", "--wait", "2s", exit_code=3)

    assert refused["rules"][0]["value"] == 4000


def test_ctrl_c_ends_the_wait_and_moves_nothing(site: Site, registry: Registry) -> None:
    waiting = site.start("models", "promote", "edge", "2", "--wait", "5m")
    _lines_until(waiting, "0 of 10,000 shadow records")

    waiting.send_signal(signal.SIGINT)

    _, err = waiting.communicate(timeout=30)
    assert waiting.returncode == 130
    # rich repeats a line when the signal comes while it is being written.
    assert set(err.decode().splitlines()) <= {"0 of 10,000 shadow records", "stopped."}
    assert err.decode().endswith("stopped.\n")
    assert registry.aliases("edge") == {"champion": "1", "shadow": "2"}


def test_waiting_ends_when_another_version_becomes_champion(
    site: Site, registry: Registry, tmp_path: Path
) -> None:
    make_bundle(tmp_path / "third", name="edge", seed=7)
    third = registry.publish(tmp_path / "third", "edge")
    waiting = site.start("models", "promote", "edge", "2", "--wait", "5m")
    _lines_until(waiting, "0 of 10,000 shadow records")

    registry.set_alias("edge", "champion", third)

    _, err = waiting.communicate(timeout=30)
    assert waiting.returncode == 3
    assert "version 3 of model 'edge' became champion while waiting" in err.decode()
    assert registry.alias_version("edge", "champion") == third


def test_a_missing_audit_topic_is_a_refusal_that_says_how_to_go_on(site: Site) -> None:
    lost = Site(site.bootstrap, site.settings | {"topics.audit": "nowhere"})

    said = lost.run("models", "promote", "edge", "2", exit_code=3)

    assert "shadow_reports" in said
    assert "'nowhere' does not exist" in said
    assert "--set gate.online=false" in said


def test_another_alias_and_another_evaluation_set_are_recorded_too(
    site: Site, settings: Settings, tmp_path: Path
) -> None:
    rows = [{"duration": 1, "label": "ok"}, {"duration": 9, "label": "bad"}]
    lines = b"\n".join(msgspec.json.encode(row) for row in rows)
    (tmp_path / "golden.jsonl").write_bytes(lines)

    site.json("models", "promote", "edge", "1", "--alias", "canary", "--reason", "look at it")
    site.json(
        "models", "evaluation", "set", "edge", str(tmp_path / "golden.jsonl"),
        "--normal-value", "ok",
    )  # fmt: skip

    moved, changed = read_audit(settings, "edge")
    assert (moved.action, moved.alias, moved.from_version, moved.to_version, moved.reason) == (
        ("promoted", "canary", None, "1", "look at it")
    )
    assert changed.action == "evaluation_changed"
    assert changed.detail["from"] is None
    assert changed.detail["to"]["n_records"] == 2


def _lines_until(process: "subprocess.Popen[bytes]", words: str) -> str:
    """Read stderr up to a line that has these words."""
    assert process.stderr is not None
    said: list[str] = []
    lines = iter(process.stderr.readline, b"")

    def look() -> bool:
        said.append(next(lines, b"").decode())
        return words in said[-1]

    wait_until(look, within_s=30, what=f"{words!r} on stderr", hint=lambda: "".join(said))
    return "".join(said)
