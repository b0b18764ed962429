"""`anoean models keygen`, `sign`, and what the other commands say about signatures."""

import json
from pathlib import Path
from typing import Any

import pytest

from anoean_stream.cli import main
from anoean_stream.registry import Registry
from tests.support.models import make_bundle
from tests.support.registries import make_registry

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.chdir(tmp_path)
    return make_registry(tmp_path)


def run_json(capsys: Captured, *words: str) -> Any:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def keygen(capsys: Captured, path: str) -> tuple[str, str]:
    """Return public key and name."""
    made = run_json(capsys, "models", "keygen", path)
    return made["public_key"], made["key_id"]


def trust(monkeypatch: pytest.MonkeyPatch, *keys: str) -> None:
    monkeypatch.setenv("ANOEAN__REGISTRY__TRUSTED_KEYS", json.dumps(keys))


def test_stdout_of_keygen_is_the_public_key_alone(tmp_path: Path, capsys: Captured) -> None:
    assert main(["models", "keygen", str(tmp_path / "k.pem")]) == 0

    said = capsys.readouterr()
    assert len(said.out.strip()) == 44
    assert "PRIVATE" not in said.out + said.err
    assert said.out.strip() in said.err


def test_a_signed_version_is_verified_and_an_unsigned_one_refused(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    public, name = keygen(capsys, "k.pem")
    sha256 = registry.load("edge", "1").sha256
    assert run_json(capsys, "models", "sign", "edge", "champion", "--key", "k.pem") == {
        "signed": "edge version 1",
        "key_id": name,
    }
    trust(monkeypatch, public)

    verified = run_json(capsys, "models", "verify", "edge", "1")
    assert verified["signed"] == {"key_ids": [name], "trusted": name}
    assert verified["sha256"] == sha256
    assert main(["models", "verify", "edge", "2"]) == 3
    assert "manifest.sig is missing" in capsys.readouterr().err
    assert main(["models", "promote", "edge", "2"]) == 3
    assert registry.aliases("edge") == {"champion": "1"}


def test_the_list_says_who_signed_and_whether_that_counts(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def signed() -> list[Any]:
        listed = run_json(capsys, "models", "list")["models"][0]["versions"]
        return [version["signed"]["trusted"] for version in listed]

    public, name = keygen(capsys, "k.pem")
    assert main(["models", "list"]) == 0
    assert "signed by" not in capsys.readouterr().out
    run_json(capsys, "models", "sign", "edge", "2", "--key", "k.pem")
    assert signed() == [None, None]
    trust(monkeypatch, public)
    assert signed() == [False, name]
    capsys.readouterr()
    assert main(["models", "list"]) == 0
    table = capsys.readouterr().out
    assert name[:8] in table
    assert "not trusted" in table


def test_a_second_key_signs_too(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    old, old_name = keygen(capsys, "old.pem")
    new, new_name = keygen(capsys, "new.pem")
    for key in ("old.pem", "new.pem"):
        assert main(["models", "sign", "edge", "1", "--key", key]) == 0
    capsys.readouterr()

    for keys, by in (([old], old_name), ([new], new_name), ([new, old], old_name)):
        trust(monkeypatch, *keys)
        assert run_json(capsys, "models", "verify", "edge", "1")["signed"] == {
            "key_ids": [old_name, new_name],
            "trusted": by,
        }


def test_a_folder_is_signed_and_published_with_its_signature(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    make_bundle(tmp_path / "bundle", name="edge")
    public, name = keygen(capsys, "k.pem")
    assert main(["models", "sign", "bundle", "--key", "k.pem"]) == 0
    version = registry.publish(tmp_path / "bundle", "edge")
    capsys.readouterr()
    trust(monkeypatch, public)

    assert run_json(capsys, "models", "verify", "edge", version)["signed"]["trusted"] == name


def test_a_signed_bundle_under_another_models_name_is_refused(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    make_bundle(tmp_path / "bundle", name="laboratory")
    public, _ = keygen(capsys, "k.pem")
    assert main(["models", "sign", "bundle", "--key", "k.pem"]) == 0
    version = registry.publish(tmp_path / "bundle", "edge")
    trust(monkeypatch, public)

    assert main(["models", "verify", "edge", version]) == 3
    assert "signed for the model 'laboratory', not for 'edge'" in capsys.readouterr().err


def test_what_is_broken_is_not_signed(registry: Registry, capsys: Captured) -> None:
    keygen(capsys, "k.pem")
    weights = Path(registry.url, "edge/versions/1/weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])

    assert main(["models", "sign", "edge", "1", "--key", "k.pem"]) == 3
    assert not weights.with_name("manifest.sig").exists()


def test_a_name_without_version_asks_for_one(registry: Registry, capsys: Captured) -> None:
    keygen(capsys, "k.pem")

    assert main(["models", "sign", "edge", "--key", "k.pem"]) == 2
    assert "anoean models sign edge VERSION" in capsys.readouterr().err


def test_a_broken_signature_file_does_not_break_the_list(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    Path(registry.url, "edge/versions/1/manifest.sig").write_bytes(b"\x1b[2J{")

    listed = run_json(capsys, "models", "list")["models"][0]["versions"]

    assert listed[0]["signed"]["trusted"] is False
    assert "no signature file" in listed[0]["signed"]["error"]
