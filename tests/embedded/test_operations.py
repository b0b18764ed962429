"""What an operator asks and does, on the mock cluster: status, roll back, history."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer

from anoean_stream.cli.following import tell_following, wait_for_workers
from anoean_stream.records.audit import AuditRecord
from anoean_stream.records.outgoing import OutRecord
from anoean_stream.registry import Registry
from tests.support.operator import Captured, Operator
from tests.support.reporting import make_report, rfc3339, tombstone

ROOT = Path(__file__).parents[2]


def move_champion_back_in_time(registry: Registry, *, ago_s: float) -> None:
    """Let the alias have been moved some time ago: the file is what the clock says to others."""
    path = Path(registry.url) / "edge/aliases/champion.json"
    content = json.loads(path.read_text())
    content["updated_at"] = rfc3339(datetime.now(UTC) - timedelta(seconds=ago_s))
    path.write_text(json.dumps(content))


def test_status_says_plainly_that_all_agree_and_who_moved_what(operator: Operator) -> None:
    operator.report(make_report("w1", version="3"), make_report("w2", version="3"))

    out, _ = operator("models", "status")

    assert "all 2 workers serve version 3" in out
    assert "by ben@desk: third" in out
    assert max(map(len, out.splitlines()[1:])) <= 80


def test_newest_report_of_a_worker_counts(operator: Operator) -> None:
    operator.report(make_report("w1", version="2"))
    operator.report(make_report("w1", version="3"))

    assert operator.json("models", "status")["state"] == "agreed"


@pytest.mark.parametrize(("ago_s", "state", "code"), [(5, "swapping", 0), (300, "disagree", 3)])
def test_fleet_that_disagrees_is_an_error_only_after_the_limit(
    operator: Operator, ago_s: float, state: str, code: int
) -> None:
    move_champion_back_in_time(operator.registry, ago_s=ago_s)
    operator.report(
        make_report("w1", version="3"),
        make_report("w2", version="2", problem="version 3 was refused: golden.json differs"),
    )

    found = operator.json("models", "status", code=code)

    assert found["state"] == state
    assert [one["worker"] for one in found["differences"]] == ["w2"]
    out, _ = operator("models", "status", code=code)
    assert "golden.json differs" in out


def test_lost_and_stopped_workers_are_shown_and_not_judged(operator: Operator) -> None:
    lost = make_report("lost", version="1", ago_s=600)
    stopped = make_report("stopped", version="1")
    operator.report(make_report("w1", version="3"), lost, stopped)
    operator.write("workers", tombstone(stopped))

    found = operator.json("models", "status")

    states = {one["worker"]: one["state"] for one in found["workers"]}
    assert states == {"lost": "gone", "stopped": "stopped", "w1": "live"}
    assert found["state"] == "agreed"
    out, _ = operator("models", "status")
    assert "gone for 10 min" in out
    assert "the only worker serves version 3" in out


def test_workers_of_other_models_foreign_records_and_old_ones_are_left_out(
    operator: Operator,
) -> None:
    operator.report(
        make_report("other", model="core"),
        make_report("ancient", ago_s=200_000),
        make_report("w1", version="3"),
    )
    operator.write("workers", OutRecord(b"x", b"{"), OutRecord(None, b"{}"), OutRecord(b"y", None))

    found = operator.json("models", "status")

    assert [one["worker"] for one in found["workers"]] == ["w1"]


def test_held_version_is_shown(operator: Operator) -> None:
    operator.registry.roll_back("edge", by="w1", reason="alert rate", hold_down_s=900)

    assert list(operator.json("models", "status")["held"]) == ["3"]
    assert "held      version 3 until" in operator("models", "status")[0]


def test_watching_ends_cleanly_with_ctrl_c(operator: Operator) -> None:
    operator.report(make_report("w1", version="3"))
    process = operator.start("models", "status", "--watch", "--json")
    assert process.stdout is not None

    lines = [process.stdout.readline(), process.stdout.readline()]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)

    assert [json.loads(line)["state"] for line in lines] == ["agreed", "agreed"]
    assert (process.returncode, err) == (130, b"stopped.\n")


def test_worker_cannot_command_the_terminal(operator: Operator) -> None:
    operator.report(make_report("w\x1b[2Jx", version="3", problem="\x1b]0;owned\x07 [red]no[/red]"))

    out, _ = operator("models", "status")

    assert "\x1b" not in out
    assert "[red]no[/red]" in out


@pytest.mark.parametrize("topic", ["null", "no-such-topic-at-all"])
def test_status_without_reports_is_no_error(operator: Operator, topic: str) -> None:
    operator.topics["workers"] = topic
    if topic != "null":
        operator.bootstrap = "127.0.0.1:1"

    found = operator.json("models", "status")

    assert found["state"] == "unknown"
    assert found["aliases"]["champion"]["version"] == "3"
    assert len(found["problems"]) == 1


def test_status_without_a_registry_is_no_error(operator: Operator, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "models")

    found = operator.json("models", "status")

    assert found["state"] == "no_workers"
    assert "anoean train" in found["problems"][0]


def test_roll_back_moves_the_alias_tells_and_waits_for_all_workers(operator: Operator) -> None:
    with operator.worker("w1", version="3") as first, operator.worker("w2", version="3"):
        out, err = operator("models", "rollback", "--reason", "too many alerts")

    assert "edge@champion: back from version 3 to version 2" in out
    assert "all 2 workers report version 2" in out
    assert "a second roll back goes to version 1" in err
    assert operator.registry.alias_version("edge", "champion") == "2"
    (record,) = operator.audited()
    assert (record.action, record.from_version, record.to_version) == ("rolled_back", "3", "2")
    assert record.reason == "too many alerts"
    assert record.detail["automatic"] is False
    assert first.heard[0].what == "rolled_back 2"


def test_second_roll_back_goes_further_and_the_third_says_that_there_is_none(
    operator: Operator,
) -> None:
    assert operator.json("models", "rollback")["next"] == "1"
    assert operator.json("models", "rollback")["next"] is None

    _, err = operator("models", "rollback", code=3)

    assert "no version to roll back to" in err


def test_worker_that_does_not_follow_is_named_with_exit_code_3(
    operator: Operator, capsys: Captured
) -> None:
    operator.report(
        make_report("deaf", version="3", problem="registry does not answer"),
        make_report("w1", version="2"),
    )

    following = wait_for_workers(
        operator.settings,
        "edge",
        has_followed=lambda report: report.version == "2",
        changed_at_s=time.monotonic(),
        limit_s=0.5,
    )
    with pytest.raises(typer.Exit) as stop:
        tell_following(following, what="version 2")

    assert stop.value.exit_code == 3
    said = capsys.readouterr().err
    assert "1 of 2 workers do not report version 2" in said
    assert "deaf: version 3, threshold 4.5: registry does not answer" in said


def test_lost_workers_and_other_groups_are_not_waited_for(operator: Operator) -> None:
    operator.report(
        make_report("lost", version="3", ago_s=600),
        make_report("other", version="3", group="laboratory"),
        make_report("canary", version="3", alias="canary"),
    )

    found = operator.json("models", "rollback")

    assert found["workers"] == {"seconds": pytest.approx(1, abs=3), "followed": [], "behind": {}}


def test_roll_back_to_a_broken_version_is_refused_and_names_the_next(operator: Operator) -> None:
    weights = Path(operator.registry.url) / "edge/versions/2/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])

    _, err = operator("models", "rollback", code=3)

    assert "version 2, which workers refuse" in err
    assert "anoean models promote edge 1" in err
    assert operator.registry.alias_version("edge", "champion") == "3"
    assert operator.json("models", "rollback", "--force")["to"] == "2"


def test_roll_back_without_a_broker_is_done_and_says_what_that_means(operator: Operator) -> None:
    operator.bootstrap = "127.0.0.1:1"

    out, err = operator("models", "rollback")

    assert "back from version 3 to version 2" in out
    assert "next poll" in err
    assert operator.registry.alias_version("edge", "champion") == "2"


def test_history_is_one_line_each_newest_last(operator: Operator) -> None:
    operator("models", "rollback", "--no-wait", "--reason", "first")
    operator("models", "rollback", "--no-wait", "--reason", "second " * 40)

    out, _ = operator("models", "history")

    heading, *lines = out.splitlines()
    assert heading.split() == ["when", "(UTC)", "who", "what", "version", "why"]
    assert [line.split("champion ")[1][:6] for line in lines] == ["3 -> 2", "2 -> 1"]
    assert lines[1].count("second") == 40


def test_history_by_action_and_limit_as_json_lines(operator: Operator) -> None:
    operator.write("audit", OutRecord(b"edge", b"no json"))
    for to_version in ("2", "3"):
        record = AuditRecord.of(
            "promoted", model="edge", who="ann@desk", who_kind="user", to_version=to_version
        )
        operator.write("audit", record.to_record())
    operator("models", "rollback", "--no-wait")

    out, err = operator("models", "history", "--action", "promoted", "--limit", "1", "--json")

    (line,) = out.splitlines()
    assert json.loads(line)["to_version"] == "3"
    assert "1 older" in err
    assert "no action" in operator("models", "history", "--action", "danced", code=2)[1]


def test_history_without_a_broker_is_what_the_registry_remembers(operator: Operator) -> None:
    operator.bootstrap = "127.0.0.1:1"

    out, err = operator("models", "history")

    assert "ben@desk" in out
    assert "champion 3" in out
    assert "a roll back goes to 2, 1" in out
    assert "The audit topic has all moves" in err


def test_embedded_broker_has_every_topic_that_the_settings_name(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "anoean_stream", "broker", "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    try:
        topics = json.loads(process.stdout.readline())["topics"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)

    assert topics[3:] == ["anomaly-audit", "anomaly-control", "anomaly-workers"]
