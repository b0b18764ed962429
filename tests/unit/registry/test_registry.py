"""Versions and aliases, on a folder and on an object store."""

import json
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from anoean_stream.detector.bundle import FILES, read_bundle_folder
from anoean_stream.errors import (
    BundleError,
    IntegrityError,
    ManifestError,
    ModelNotFoundError,
    RegistryError,
)
from anoean_stream.registry import Registry
from anoean_stream.registry.store import Store, open_store

BundleFolder = Callable[[int], Path]


def store_of(registry: Registry) -> Store:
    return open_store(registry.url)


def test_a_published_version_is_the_bundle(registry: Registry, bundle_folder: BundleFolder) -> None:
    version = registry.publish(bundle_folder(0), "edge")

    assert version == "1"
    assert registry.models() == ["edge"]
    assert registry.load("edge", "1").sha256 == read_bundle_folder(bundle_folder(0)).sha256


def test_versions_count_up(registry: Registry, bundle_folder: BundleFolder) -> None:
    versions = [registry.publish(bundle_folder(seed), "edge") for seed in (0, 1, 0)]

    assert versions == ["1", "2", "3"]
    assert registry.version_numbers("edge") == versions


def test_the_tenth_version_comes_after_the_ninth(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    for _ in range(10):
        registry.publish(bundle_folder(0), "edge")

    assert registry.version_numbers("edge")[-2:] == ["9", "10"]


def test_what_lies_beside_the_bundle_is_published_too(
    registry: Registry, bundle_folder: BundleFolder, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(bundle_folder(0), tmp_path / "bundle"))
    (folder / "report.json").write_text("{}")
    (folder / "plots").mkdir()
    (folder / "plots/loss.png").write_bytes(b"png")
    (folder / ".partial").write_bytes(b"left over")

    registry.publish(folder, "edge")

    assert registry.files("edge", "1") == sorted([*FILES, "plots", "report.json"])
    assert store_of(registry).read("edge/versions/1/plots/loss.png", max_bytes=2**20) == b"png"


def test_publishers_at_the_same_time_get_different_versions(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    n_publishers = 6
    folders = [bundle_folder(seed % 2) for seed in range(n_publishers)]
    start = threading.Barrier(n_publishers)

    def publish(folder: Path) -> tuple[str, Path]:
        start.wait(timeout=10)
        return Registry(registry.url).publish(folder, "edge"), folder

    with ThreadPoolExecutor(n_publishers) as threads:
        published = list(threads.map(publish, folders))

    assert sorted(version for version, _ in published) == [str(n + 1) for n in range(n_publishers)]
    for version, folder in published:
        assert registry.load("edge", version).sha256 == read_bundle_folder(folder).sha256


def test_a_reader_sees_a_whole_version_or_none(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    versions = [str(number) for number in range(1, 11)]
    deadline_s = time.monotonic() + 30

    def read() -> list[str]:
        reader = Registry(registry.url)
        seen: list[str] = []
        while len(seen) < len(versions) and time.monotonic() < deadline_s:
            try:
                reader.load("edge", versions[len(seen)])  # a BundleError would be half a version
            except ModelNotFoundError:
                continue
            seen.append(versions[len(seen)])
        return seen

    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(read)
        for _ in versions:
            registry.publish(bundle_folder(0), "edge")

        assert reading.result() == versions


def test_a_broken_bundle_is_not_published(
    registry: Registry, bundle_folder: BundleFolder, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(bundle_folder(0), tmp_path / "bundle"))
    (folder / "weights.safetensors").write_bytes(b"no weights")

    with pytest.raises(IntegrityError, match=r"weights\.safetensors"):
        registry.publish(folder, "edge")

    assert registry.models() == []


def test_a_folder_without_a_manifest_is_not_published(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"manifest\.json is missing"):
        registry.publish(tmp_path, "edge")


def test_a_version_without_a_manifest_does_not_exist(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    registry.publish(bundle_folder(0), "edge")
    for file in FILES[1:]:
        data = (bundle_folder(1) / file).read_bytes()
        store_of(registry).replace(f"edge/versions/2/{file}", data)

    assert registry.version_numbers("edge") == ["1"]
    with pytest.raises(ModelNotFoundError, match=r"versions/2/manifest\.json is missing"):
        registry.load("edge", "2")
    with pytest.raises(ModelNotFoundError, match=r"versions/2/manifest\.json is missing"):
        registry.set_alias("edge", "champion", "2")


def test_a_number_that_a_dead_publisher_took_is_not_used_again(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    registry.publish(bundle_folder(0), "edge")
    store_of(registry).replace("edge/versions/2/weights.safetensors", b"half")

    assert registry.publish(bundle_folder(1), "edge") == "3"


@pytest.mark.parametrize("file", FILES)
def test_a_truncated_file_is_refused_by_name(
    registry: Registry, bundle_folder: BundleFolder, file: str
) -> None:
    registry.publish(bundle_folder(0), "edge")
    path = f"edge/versions/1/{file}"
    data = store_of(registry).read(path, max_bytes=2**20)
    for size in (0, 1, len(data) // 2, len(data) - 2):
        store_of(registry).replace(path, data[:size])

        with pytest.raises(BundleError, match=rf"edge/versions/1: {file}") as refused:
            registry.load("edge", "1")

        assert refused.value.file == file


@pytest.mark.parametrize("file", FILES)
def test_a_changed_byte_is_refused_by_name(
    registry: Registry, bundle_folder: BundleFolder, file: str
) -> None:
    registry.publish(bundle_folder(0), "edge")
    path = f"edge/versions/1/{file}"
    data = store_of(registry).read(path, max_bytes=2**20)
    for position in range(0, len(data) - 2, max(1, len(data) // 23)):
        changed = bytearray(data)
        changed[position] ^= 0x08
        store_of(registry).replace(path, bytes(changed))

        with pytest.raises(BundleError) as refused:
            registry.load("edge", "1")

        assert refused.value.file == file


@pytest.mark.parametrize("file", FILES[1:])
def test_a_missing_file_is_refused_by_name(
    tmp_path: Path, bundle_folder: BundleFolder, file: str
) -> None:
    registry = Registry(str(tmp_path))
    registry.publish(bundle_folder(0), "edge")
    (tmp_path / "edge/versions/1" / file).unlink()

    with pytest.raises(IntegrityError, match=rf"{file} is missing"):
        registry.load("edge", "1")


def test_an_alias_names_a_version(registry: Registry, bundle_folder: BundleFolder) -> None:
    for seed in (0, 1):
        registry.publish(bundle_folder(seed), "edge")

    before = registry.set_alias("edge", "shadow", "2", by="ann@desk")

    assert before is None
    assert registry.aliases("edge") == {"shadow": "2"}
    assert registry.resolve("edge", "shadow") == registry.resolve("edge", "2") == "2"
    record = registry.alias_record("edge", "shadow")
    assert record.updated_by == "ann@desk"
    assert record.updated_at.endswith("Z")


def test_an_alias_file_is_plain_json(registry: Registry, bundle_folder: BundleFolder) -> None:
    registry.publish(bundle_folder(0), "edge")

    registry.set_alias("edge", "champion", "1")

    document = json.loads(store_of(registry).read("edge/aliases/champion.json", max_bytes=2**20))
    assert document["version"] == "1"
    assert set(document) == {"version", "updated_at", "updated_by"}


def test_moving_the_champion_keeps_the_way_back(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    for seed in (0, 1):
        registry.publish(bundle_folder(seed), "edge")
    registry.set_alias("edge", "champion", "1")
    assert registry.aliases("edge") == {"champion": "1"}

    before = registry.set_alias("edge", "champion", "2")

    assert before == "1"
    assert registry.aliases("edge") == {"champion": "2", "previous": "1"}


def test_promoting_the_champion_again_does_not_lose_the_way_back(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    for seed in (0, 1):
        registry.publish(bundle_folder(seed), "edge")
    for version in ("1", "2", "2"):
        registry.set_alias("edge", "champion", version)

    assert registry.alias_version("edge", "previous") == "1"


def test_another_alias_leaves_previous_alone(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    for seed in (0, 1):
        registry.publish(bundle_folder(seed), "edge")
    for version in ("1", "2"):
        registry.set_alias("edge", "shadow", version)

    assert registry.aliases("edge") == {"shadow": "2"}


def test_versions_tell_aliases_and_what_is_broken(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    for seed in (0, 1):
        registry.publish(bundle_folder(seed), "edge")
    registry.set_alias("edge", "champion", "1")
    store_of(registry).replace("edge/versions/2/manifest.json", b"{")

    sound, broken = registry.versions("edge")

    assert sound.aliases == ("champion",)
    assert sound.manifest is not None
    assert sound.manifest.metrics == {"aupr": 0.5}
    assert broken.manifest is None
    assert broken.error is not None
    assert "manifest.json" in broken.error


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 2}', b'{"version": "../1"}'])
def test_a_broken_alias_is_named_and_can_be_mended(
    registry: Registry, bundle_folder: BundleFolder, content: bytes
) -> None:
    registry.publish(bundle_folder(0), "edge")
    store_of(registry).replace("edge/aliases/champion.json", content)

    with pytest.raises(RegistryError, match=r"edge/aliases/champion\.json is no alias file"):
        registry.alias_version("edge", "champion")

    registry.set_alias("edge", "champion", "1")
    assert registry.alias_version("edge", "champion") == "1"


def test_without_a_registry_the_sentence_says_so(registry: Registry) -> None:
    with pytest.raises(ModelNotFoundError, match=r"there is no registry at .* `anoean train`"):
        registry.resolve("edge", "champion")


def test_an_unknown_model_names_those_there_are(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    for name in ("edge", "core"):
        registry.publish(bundle_folder(0), name)

    for attempt in (
        lambda: registry.versions("egde"),
        lambda: registry.resolve("egde", "1"),
        lambda: registry.resolve("egde", "champion"),
        lambda: registry.load("egde", "1"),
    ):
        with pytest.raises(ModelNotFoundError, match=r"no model 'egde'.*it has: core, edge"):
            attempt()


def test_an_unknown_version_names_those_there_are(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    for seed in (0, 1):
        registry.publish(bundle_folder(seed), "edge")

    with pytest.raises(ModelNotFoundError, match=r"no version '7' of model 'edge'.*it has: 1, 2"):
        registry.resolve("edge", "7")


def test_an_unknown_alias_names_those_there_are(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    registry.publish(bundle_folder(0), "edge")
    registry.set_alias("edge", "shadow", "1")

    with pytest.raises(
        ModelNotFoundError, match=r"no alias 'champion'.*it has: shadow; .*models promote edge"
    ):
        registry.resolve("edge", "champion")


@pytest.mark.parametrize("name", ["../edge", "a/b", "", ".hidden", "x" * 101, "a b"])
def test_a_name_cannot_leave_the_registry(
    registry: Registry, bundle_folder: BundleFolder, name: str
) -> None:
    with pytest.raises(RegistryError, match="cannot name a model"):
        registry.publish(bundle_folder(0), name)
    with pytest.raises(RegistryError, match="cannot name a model"):
        registry.resolve(name, "1")


@pytest.mark.parametrize("ref", ["0", "01", "-1", "../1", "Champion", "", "1/../2", "latest!"])
def test_a_reference_is_a_number_or_an_alias(
    registry: Registry, bundle_folder: BundleFolder, ref: str
) -> None:
    registry.publish(bundle_folder(0), "edge")

    with pytest.raises(ModelNotFoundError, match="neither a version nor an alias"):
        registry.resolve("edge", ref)


def test_foreign_files_in_the_registry_are_not_models(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    registry.publish(bundle_folder(0), "edge")
    store_of(registry).replace("README.md", b"models of the edge")
    store_of(registry).replace("edge/versions/latest/manifest.json", b"{}")
    store_of(registry).replace("edge/aliases/notes.txt", b"")

    assert registry.models() == ["edge"]
    assert registry.version_numbers("edge") == ["1"]
    assert registry.aliases("edge") == {}
