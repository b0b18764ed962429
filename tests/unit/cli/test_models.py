"""`anoean models`, as a person at a terminal and a script see it."""

import json
from pathlib import Path
from typing import Any

import pytest

from anoean_stream.cli import main
from anoean_stream.detector.bundle import FILES
from anoean_stream.registry import Registry
from tests.support.models import make_bundle, make_detector, make_golden
from tests.support.registries import make_registry

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.chdir(tmp_path)
    return make_registry(tmp_path)


def document(capsys: Captured) -> dict[str, Any]:
    [line] = capsys.readouterr().out.splitlines()
    parsed: dict[str, Any] = json.loads(line)
    return parsed


def damage(registry: Registry, version: str, file: str) -> None:
    path = Path(registry.url) / "edge/versions" / version / file
    path.write_bytes(path.read_bytes()[:-9])


def test_list_shows_each_version_with_its_aliases(registry: Registry, capsys: Captured) -> None:
    assert main(["models", "list"]) == 0

    lines = [line for line in capsys.readouterr().out.splitlines() if "edge" in line]
    assert len(lines) == 2
    assert "champion" in lines[0]
    assert "champion" not in lines[1]
    assert "0.5000" in lines[0]


def test_list_as_json_has_what_the_table_has(
    registry: Registry, tmp_path: Path, capsys: Captured
) -> None:
    make_registry(tmp_path, name="core", n_versions=1)

    assert main(["models", "list", "--json"]) == 0

    listed = document(capsys)
    assert listed["registry"] == "models"
    core, edge = listed["models"]
    assert [core["name"], edge["name"]] == ["core", "edge"]
    first, second = edge["versions"]
    assert (first["version"], first["aliases"]) == ("1", ["champion"])
    assert (second["version"], second["aliases"]) == ("2", [])
    assert first["metrics"] == {"aupr": 0.5}
    assert first["threshold"] > 0
    assert first["false_positive_rate"] == 0.01


def test_list_takes_one_model(registry: Registry, tmp_path: Path, capsys: Captured) -> None:
    make_registry(tmp_path, name="core", n_versions=1)

    assert main(["models", "list", "core", "--json"]) == 0

    assert [model["name"] for model in document(capsys)["models"]] == ["core"]


def test_list_shows_a_broken_version_beside_the_others(
    registry: Registry, capsys: Captured
) -> None:
    damage(registry, "2", "manifest.json")

    assert main(["models", "list", "--json"]) == 0

    sound, broken = document(capsys)["models"][0]["versions"]
    assert "error" not in sound
    assert "manifest.json" in broken["error"]


def test_list_without_a_registry_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["models", "list"]) == 3

    said = capsys.readouterr()
    assert said.out == ""
    assert "there is no registry at models yet" in said.err


def test_an_unknown_protocol_is_a_sentence(capsys: Captured) -> None:
    assert main(["models", "list", "--set", "registry.url=floppy://a"]) == 3

    assert "floppy://a" in capsys.readouterr().err


def test_show_names_features_files_and_figures(registry: Registry, capsys: Captured) -> None:
    assert main(["models", "show", "edge@2", "--json"]) == 0

    shown = document(capsys)
    assert (shown["name"], shown["version"], shown["aliases"]) == ("edge", "2", [])
    assert shown["sha256"] == registry.load("edge", "2").sha256
    assert shown["features"]["flags"] == ["logged_in"]
    assert shown["features"]["categories"] == ["proto", "service"]
    assert shown["manifest"]["training"]["seed"] == 1
    assert shown["files"] == sorted(FILES)


def test_show_as_a_table_has_the_threshold(registry: Registry, capsys: Captured) -> None:
    assert main(["models", "show", "edge"]) == 0

    table = capsys.readouterr().out
    assert "edge version 1" in table
    assert "champion" in table
    assert f"{registry.manifest('edge', '1').threshold:.6g} (rate 0.01)" in table


def test_show_takes_name_and_alias_of_the_settings(registry: Registry, capsys: Captured) -> None:
    registry.set_alias("edge", "shadow", "2")

    words = ["models", "show", "--json", "--set", "model.name=edge", "--set", "model.alias=shadow"]
    assert main(words) == 0

    assert document(capsys)["version"] == "2"


def test_show_of_an_unknown_version_names_those_there_are(
    registry: Registry, capsys: Captured
) -> None:
    assert main(["models", "show", "edge@7"]) == 3

    assert "it has: 1, 2" in capsys.readouterr().err


def test_verify_says_that_a_version_is_sound(registry: Registry, capsys: Captured) -> None:
    assert main(["models", "verify", "edge", "2"]) == 0
    assert "edge version 2 is sound" in capsys.readouterr().out

    assert main(["models", "verify", "edge", "champion", "--json"]) == 0
    verified = document(capsys)
    assert verified["version"] == "1"
    assert verified["sound"] is True
    assert verified["golden_records"] == 21


@pytest.mark.parametrize("file", FILES)
def test_verify_refuses_a_damaged_file_by_name(
    registry: Registry, file: str, capsys: Captured
) -> None:
    damage(registry, "2", file)

    assert main(["models", "verify", "edge", "2"]) == 3

    said = capsys.readouterr()
    assert said.out == ""
    assert f"models/edge/versions/2: {file}" in said.err
    assert "Traceback" not in said.err


def test_verify_scores_the_golden_batch(
    registry: Registry, tmp_path: Path, capsys: Captured
) -> None:
    make_bundle(
        tmp_path / "wrong",
        detector=make_detector(seed=5),
        golden=make_golden(make_detector(seed=6)),
    )
    version = registry.publish(tmp_path / "wrong", "edge")

    assert main(["models", "verify", "edge", version]) == 3

    assert "golden.json" in capsys.readouterr().err


def test_an_alias_that_looks_like_markup_is_printed_as_it_is(
    registry: Registry, capsys: Captured
) -> None:
    assert main(["models", "show", "edge@[bold]"]) == 3

    assert "[bold]" in capsys.readouterr().err
