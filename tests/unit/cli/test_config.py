"""``anoean config``: what it prints, and what it must never print."""

import json
from pathlib import Path

import pytest
import yaml

from anoean_stream.cli import main
from anoean_stream.settings import Settings


def test_check_prints_every_setting_with_its_source(
    empty_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_folder / "config.yaml").write_text("model:\n  name: edge\n", encoding="utf-8")
    monkeypatch.setenv("ANOEAN__WEB__PORT", "8080")

    code = main(["config", "check", "--set", "topics.input=site.flows"])

    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    assert ["model.name", "edge", "config.yaml:2"] in rows
    assert ["web.port", "8080", "env", "ANOEAN__WEB__PORT"] in rows
    assert ["topics.input", "site.flows", "--set"] in rows
    assert ["web.host", "127.0.0.1", "default"] in rows


def test_check_changed_leaves_the_defaults_out(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["config", "check", "--changed", "--set", "web.port=1"])

    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["setting", "web.port"]


def test_check_json_is_one_object_with_all_settings(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["config", "check", "--json", "--set", "web.port=1"])

    (line,) = capsys.readouterr().out.splitlines()
    document = json.loads(line)
    assert code == 0
    assert document["ok"] is True
    assert document["settings"]["web"]["port"] == {"value": 1, "source": "--set"}
    assert set(document["settings"]) == set(Settings.model_fields)


def test_secrets_are_masked_wherever_they_stand(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["config", "check", "--json"]
    for override in (
        "broker.security_protocol=SASL_SSL",
        "broker.sasl_mechanism=PLAIN",
        "broker.sasl_username=me",
        "broker.sasl_password=hunter2",
        "producer.options.ssl.key.password=hunter2",
        "registry.url=s3://me:hunter2@bucket/models",
    ):
        words += ["--set", override]

    code = main(words)

    text = capsys.readouterr().out
    settings = json.loads(text)["settings"]
    assert code == 0
    assert "hunter2" not in text
    assert settings["broker"]["sasl_password"]["value"] == "********"
    assert settings["producer"]["options"]["value"] == {"ssl.key.password": "********"}
    assert settings["registry"]["url"]["value"] == "s3://********@bucket/models"


def test_wrong_setting_is_a_sentence_on_stderr_and_exit_code_2(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty_folder / "config.yaml").write_text("web:\n  port: 99999\n", encoding="utf-8")

    code = main(["config", "check"])

    said = capsys.readouterr()
    assert code == 2
    assert not said.out
    assert said.err.strip() == (
        "error: config.yaml:2: web.port is '99999'; expected a whole number from 0 to 65535"
    )


def test_wrong_settings_as_json_name_file_and_line(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty_folder / "config.yaml").write_text("web:\n  prot: 1\n", encoding="utf-8")

    code = main(["config", "check", "--json"])

    document = json.loads(capsys.readouterr().out)
    assert code == 2
    assert document["ok"] is False
    assert document["errors"][0] == {
        "source": "config.yaml:2",
        "file": "config.yaml",
        "line": 2,
        "setting": "web.prot",
        "message": "config.yaml:2: web.prot is no setting; did you mean web.port?",
    }


def test_write_makes_a_file_that_check_accepts(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "write", "new.yaml"]) == 0
    assert main(["config", "check", "--config", "new.yaml"]) == 0

    written = yaml.safe_load((empty_folder / "new.yaml").read_text(encoding="utf-8"))
    assert Settings.model_validate(written) == Settings()


def test_write_does_not_replace_a_file_unless_told(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = empty_folder / "config.yaml"
    file.write_text("# mine\n", encoding="utf-8")

    assert main(["config", "write"]) == 2
    assert "--force" in capsys.readouterr().err
    assert file.read_text(encoding="utf-8") == "# mine\n"
    assert main(["config", "write", "--force"]) == 0
    assert "broker:" in file.read_text(encoding="utf-8")


def test_write_to_stdout(empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "write", "-"]) == 0

    assert yaml.safe_load(capsys.readouterr().out)["web"]["port"] == Settings().web.port
    assert not list(empty_folder.iterdir())
