"""`anoean models gc`: what goes, what stays and why."""

import json
from pathlib import Path
from typing import Any

import pytest

from anoean_stream.cli import main
from anoean_stream.registry import Registry
from tests.support.registries import make_registry

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANOEAN__TOPICS__AUDIT", "null")  # no broker here; tests/kafka has one
    registry = make_registry(tmp_path, n_versions=5)
    registry.set_alias("edge", "champion", "3")
    return registry


def run_json(capsys: Captured, *words: str) -> Any:
    assert main(["models", "gc", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_dry_run_removes_nothing_and_says_the_same(registry: Registry, capsys: Captured) -> None:
    planned = run_json(capsys, "edge", "--keep", "1", "--dry-run")
    assert registry.version_numbers("edge") == ["1", "2", "3", "4", "5"]

    done = run_json(capsys, "edge", "--keep", "1")

    assert planned["dry_run"]
    assert planned["models"] == done["models"]
    assert [one["version"] for one in done["models"][0]["removed"]] == ["2", "4"]
    assert {one["version"]: one["why"] for one in done["models"][0]["kept"]} == {
        "1": "alias previous",
        "3": "alias champion",
        "5": "one of the newest 1",
    }
    assert done["freed_bytes"] > 1000
    assert registry.version_numbers("edge") == ["1", "3", "5"]


def test_the_setting_says_how_many_are_kept(registry: Registry, capsys: Captured) -> None:
    assert run_json(capsys)["models"][0]["removed"] == []

    done = run_json(capsys, "--set", "registry.keep_versions=2")

    assert done["keep"] == 2
    assert [one["version"] for one in done["models"][0]["removed"]] == ["2"]


def test_the_table_says_why(registry: Registry, capsys: Captured) -> None:
    assert main(["models", "gc", "--keep", "2", "--dry-run"]) == 0

    said = capsys.readouterr().out
    assert "would go" in said
    assert "superseded" in said
    assert "alias champion" in said
    assert "1 versions would be removed" in said


def test_an_unknown_model_is_exit_code_3(registry: Registry, capsys: Captured) -> None:
    assert main(["models", "gc", "egde"]) == 3
    assert "no model 'egde'" in capsys.readouterr().err
