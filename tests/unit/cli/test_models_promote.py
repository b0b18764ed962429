"""`anoean models promote` without a broker: the champion moves through the gate, or stays."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from anoean_stream.cli import main
from anoean_stream.detector.bundle import FILES
from anoean_stream.registry import AliasRecord, Registry
from anoean_stream.registry.evaluation import publish_evaluation
from tests.support.models import attack_row, make_bundle, make_detector, make_rows
from tests.support.registries import make_registry

Captured = pytest.CaptureFixture[str]

UNTOLD = ("--set", "topics.audit=null", "--set", "topics.control=null")
OFFLINE = (*UNTOLD, "--set", "gate.online=false", "--set", "gate.bootstrap_samples=200")
NO_GATE = (*UNTOLD, "--set", "gate.online=false", "--set", "gate.offline=false")
NOBODY = ("--set", "broker.bootstrap_servers=127.0.0.1:1", "--set", "broker.request_timeout_s=1")


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return make_registry(tmp_path)


def document(capsys: Captured) -> dict[str, Any]:
    [line] = capsys.readouterr().out.splitlines()
    parsed: dict[str, Any] = json.loads(line)
    return parsed


def damage(registry: Registry, version: str, file: str) -> None:
    path = Path(registry.url) / "edge/versions" / version / file
    path.write_bytes(path.read_bytes()[:-9])


def set_evaluation(registry: Registry, *, n_anomalies: int = 60) -> None:
    """Rows of which the attacks are plain to see for a model that has learnt nothing, too."""
    normals = [(msgspec.json.encode(row), False) for row in make_rows(600, seed=21)]
    attacks = [(msgspec.json.encode(attack_row(seed=seed)), True) for seed in range(n_anomalies)]
    publish_evaluation(registry, "edge", [*normals, *attacks], source="test")


def write_alias(registry: Registry, record: AliasRecord) -> None:
    registry.store.replace("edge/aliases/champion.json", record.to_json())


def rules(found: dict[str, Any]) -> dict[str, bool]:
    return {rule["rule"]: rule["passed"] for rule in found["rules"]}


def test_a_version_that_keeps_the_rules_becomes_champion(
    registry: Registry, capsys: Captured
) -> None:
    set_evaluation(registry)

    assert main(["models", "promote", "edge", "2", *OFFLINE]) == 0

    said = capsys.readouterr()
    assert "edge@champion: from version 1 to version 2" in said.out
    assert "AUPR" in said.out
    assert "broken" not in said.out
    assert "version 1 is now edge@previous" in said.err
    assert registry.aliases("edge") == {"champion": "2", "previous": "1"}


def test_figures_of_every_rule_stand_in_the_object(registry: Registry, capsys: Captured) -> None:
    set_evaluation(registry)

    assert main(["models", "promote", "edge", "2", *OFFLINE, "--json"]) == 0

    found = document(capsys)
    assert (found["name"], found["alias"], found["from"], found["to"], found["outcome"]) == (
        ("edge", "champion", "1", "2", "promoted")
    )
    assert rules(found) == {
        "min_anomalies": True, "finite_scores": True, "aupr": True, "recall": True,
    }  # fmt: skip
    aupr = found["rules"][2]
    assert aupr["figures"]["low"] <= aupr["figures"]["difference"] <= aupr["figures"]["high"]


def test_a_worse_version_is_refused_with_a_table_and_exit_code_3(
    registry: Registry, tmp_path: Path, capsys: Captured
) -> None:
    set_evaluation(registry)
    # Calibrated on attacks: what it finds normal is what the others flag.
    blind = make_detector(seed=5, calibration_rows=[attack_row(seed=s) for s in range(300)])
    make_bundle(tmp_path / "blind", name="edge", detector=blind)
    version = registry.publish(tmp_path / "blind", "edge")

    assert main(["models", "promote", "edge", version, *OFFLINE]) == 3

    said = capsys.readouterr()
    assert "broken" in said.out
    assert max(map(len, said.out.splitlines())) <= 80
    assert "version 3 of model 'edge' is not promoted, champion stays 1" in said.err
    assert "- aupr: AUPR" in said.err
    assert "all of it below 0" in said.err
    assert "--force --reason" in said.err
    assert registry.aliases("edge") == {"champion": "1"}


def test_without_evaluation_set_and_broker_the_refusal_says_how_to_go_on(
    registry: Registry, capsys: Captured
) -> None:
    assert main(["models", "promote", "edge", "2", *NOBODY]) == 3

    said = capsys.readouterr()
    assert "the model has no evaluation set" in said.err
    assert "anoean models evaluation set edge FILE" in said.err
    assert "shadow reports cannot be read" in said.err
    assert "--set gate.online=false" in said.err
    assert "the registry is changed" not in said.err
    assert registry.aliases("edge") == {"champion": "1"}


def test_a_topic_that_is_switched_off_is_a_refusal_that_says_so(
    registry: Registry, capsys: Captured
) -> None:
    assert main(["models", "promote", "edge", "2", *UNTOLD, "--json"]) == 3

    found = document(capsys)
    assert found["outcome"] == "refused"
    assert rules(found) == {"evaluation_set": False, "shadow_reports": False}
    assert "topics.audit is null" in found["rules"][1]["sentence"]


def test_force_overrules_the_gate_and_keeps_what_it_said(
    registry: Registry, capsys: Captured
) -> None:
    words = ("--force", "--reason", "champion is blind", "--json")

    assert main(["models", "promote", "edge", "2", *UNTOLD, *words]) == 0

    found = document(capsys)
    assert found["outcome"] == "forced"
    assert rules(found) == {"evaluation_set": False, "shadow_reports": False}
    record = registry.alias_record("edge", "champion")
    assert (record.version, record.reason) == ("2", "champion is blind")


def test_force_works_when_the_champion_is_damaged(registry: Registry, capsys: Captured) -> None:
    set_evaluation(registry)
    damage(registry, "1", "weights.safetensors")
    words = ("models", "promote", "edge", "2", *OFFLINE)

    assert main([*words]) == 3
    assert "the two versions cannot be compared" in capsys.readouterr().err
    assert main([*words, "--force", "--reason", "disk died"]) == 0

    assert registry.alias_version("edge", "champion") == "2"


@pytest.mark.parametrize("words", [("--force",), ("--force", "--reason", "  ")])
def test_force_needs_a_reason(registry: Registry, capsys: Captured, words: list[str]) -> None:
    assert main(["models", "promote", "edge", "2", *NO_GATE, *words]) == 2

    assert "--force needs --reason TEXT" in capsys.readouterr().err
    assert registry.aliases("edge") == {"champion": "1"}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--alias", "shadow", "--force", "--reason", "x"), "moved without a gate"),
        (("--alias", "shadow", "--wait", "1h"), "moved without a gate"),
        (("--force", "--reason", "x", "--wait", "1h"), "--force does not wait"),
        (("--wait", "1h", "--set", "gate.online=false"), "gate.online is false"),
        (("--wait", "soon"), "no length of time"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    registry: Registry, capsys: Captured, words: tuple[str, ...], complaint: str
) -> None:
    assert main(["models", "promote", "edge", "2", *UNTOLD, *words]) == 2

    assert complaint in capsys.readouterr().err
    assert registry.aliases("edge") == {"champion": "1"}


def test_the_first_champion_needs_no_gate(registry: Registry, capsys: Captured) -> None:
    (Path(registry.url) / "edge/aliases/champion.json").unlink()

    assert main(["models", "promote", "edge", "2", *UNTOLD]) == 0

    assert "edge@champion: new to version 2" in capsys.readouterr().out
    assert registry.aliases("edge") == {"champion": "2"}


def test_promoting_the_champion_changes_nothing(registry: Registry, capsys: Captured) -> None:
    before = registry.alias_record("edge", "champion")

    assert main(["models", "promote", "edge", "1", *UNTOLD]) == 0

    assert "edge@champion names version 1 already" in capsys.readouterr().out
    assert registry.alias_record("edge", "champion") == before


def test_a_version_that_was_rolled_back_automatically_is_held_back_until_its_time(
    registry: Registry, capsys: Captured
) -> None:
    until = (datetime.now(tz=UTC) + timedelta(minutes=9)).isoformat().replace("+00:00", "Z")
    write_alias(registry, AliasRecord("1", held={"2": until}))

    assert main(["models", "promote", "edge", "2", *NO_GATE]) == 3

    said = capsys.readouterr().err
    assert "was rolled back automatically and is held back until" in said
    assert "swap.hold_down_s" in said
    assert registry.alias_version("edge", "champion") == "1"

    words = ("--force", "--reason", "it was the network")
    assert main(["models", "promote", "edge", "2", *NO_GATE, *words]) == 0
    assert registry.alias_record("edge", "champion").held == {}


def test_a_version_whose_time_is_over_is_not_held_back(registry: Registry) -> None:
    write_alias(registry, AliasRecord("1", held={"2": "2026-01-01T00:00:00.000Z"}))

    assert main(["models", "promote", "edge", "2", *NO_GATE]) == 0

    assert registry.alias_version("edge", "champion") == "2"


def test_a_broken_alias_is_no_way_around_the_gate(registry: Registry, capsys: Captured) -> None:
    registry.store.replace("edge/aliases/champion.json", b"{")

    assert main(["models", "promote", "edge", "2", *NO_GATE]) == 3
    assert "who is champion cannot be told" in capsys.readouterr().err

    words = ("--force", "--reason", "mend it")
    assert main(["models", "promote", "edge", "2", *NO_GATE, *words]) == 0
    assert registry.alias_version("edge", "champion") == "2"


def test_the_way_back_by_hand_goes_through_the_gate_too(
    registry: Registry, capsys: Captured
) -> None:
    main(["models", "promote", "edge", "2", *NO_GATE])
    capsys.readouterr()

    assert main(["models", "promote", "edge", "previous", *UNTOLD]) == 3
    assert main(["models", "promote", "edge", "previous", *NO_GATE]) == 0

    assert registry.alias_version("edge", "champion") == "1"


def test_a_shadow_that_becomes_champion_is_shadow_no_more(
    registry: Registry, capsys: Captured
) -> None:
    assert main(["models", "promote", "edge", "2", "--alias", "shadow", *UNTOLD]) == 0
    capsys.readouterr()

    assert main(["models", "promote", "edge", "2", *NO_GATE, "--json"]) == 0

    assert document(capsys)["alias_removed"] == "shadow"
    assert registry.aliases("edge") == {"champion": "2", "previous": "1"}


def test_the_shadow_of_another_version_stays(registry: Registry, tmp_path: Path) -> None:
    make_bundle(tmp_path / "third", name="edge", seed=7)
    registry.set_alias("edge", "shadow", registry.publish(tmp_path / "third", "edge"))

    assert main(["models", "promote", "edge", "2", *NO_GATE]) == 0

    assert registry.aliases("edge") == {"champion": "2", "previous": "1", "shadow": "3"}


def test_another_alias_is_moved_without_the_gate(registry: Registry, capsys: Captured) -> None:
    words = ("--alias", "shadow", "--reason", "look at it", *UNTOLD)

    assert main(["models", "promote", "edge", "2", *words, "--json"]) == 0

    assert document(capsys) == {"name": "edge", "alias": "shadow", "from": None, "to": "2"}
    assert registry.aliases("edge") == {"champion": "1", "shadow": "2"}
    assert registry.alias_record("edge", "shadow").reason == "look at it"


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("words", [(), ("--alias", "shadow"), ("--force", "--reason", "x")])
def test_a_damaged_version_is_refused_and_moves_nothing(
    registry: Registry, file: str, words: tuple[str, ...], capsys: Captured
) -> None:
    damage(registry, "2", file)

    assert main(["models", "promote", "edge", "2", *NO_GATE, *words]) == 3

    assert file in capsys.readouterr().err
    assert registry.aliases("edge") == {"champion": "1"}


def test_a_bad_alias_moves_nothing(registry: Registry, capsys: Captured) -> None:
    assert main(["models", "promote", "edge", "2", *UNTOLD, "--alias", "../x"]) == 3

    assert "cannot be an alias" in capsys.readouterr().err
    assert registry.aliases("edge") == {"champion": "1"}
