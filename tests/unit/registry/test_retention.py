"""Which versions are kept, and what a removal leaves."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from anoean_stream.errors import ModelNotFoundError
from anoean_stream.registry import Registry
from anoean_stream.registry.store import open_store

BundleFolder = Callable[[int], Path]

TWO_DAYS_S = 2 * 24 * 3600.0


@pytest.fixture
def registry(tmp_path: Path, bundle_folder: BundleFolder) -> Registry:
    registry = Registry(str(tmp_path / "models"))
    for _ in range(6):
        registry.publish(bundle_folder(0), "edge")
    return registry


def removed(registry: Registry, *, keep: int) -> list[str]:
    return [one.version for one in registry.collect("edge", keep=keep).removed]


def make_old(path: Path) -> None:
    moment_s = time.time() - TWO_DAYS_S
    for one in (*path.rglob("*"), path):
        os.utime(one, (moment_s, moment_s))


def test_the_newest_are_kept(registry: Registry) -> None:
    assert removed(registry, keep=2) == ["1", "2", "3", "4"]
    assert registry.version_numbers("edge") == ["5", "6"]


def test_what_an_alias_names_is_kept(registry: Registry) -> None:
    registry.set_alias("edge", "champion", "1")
    registry.set_alias("edge", "shadow", "3")
    registry.set_alias("edge", "night", "3")

    kept = {one.version: one.why for one in registry.collect("edge", keep=1).kept}

    assert kept == {
        "1": "alias champion",
        "3": "alias night, shadow",
        "6": "one of the newest 1",
    }


def test_the_way_of_the_first_roll_back_is_kept_and_what_lies_behind_goes(
    registry: Registry,
) -> None:
    for version in ("1", "2", "4"):
        registry.set_alias("edge", "champion", version)
    registry.remove_alias("edge", "previous")

    assert removed(registry, keep=1) == ["1", "3", "5"]
    assert registry.roll_back("edge") == ("4", "2")


def test_a_number_that_is_being_written_is_kept_for_a_day(registry: Registry) -> None:
    half = Path(registry.url, "edge/versions/3")
    (half / "manifest.json").unlink()

    assert removed(registry, keep=1) == ["1", "2", "4", "5"]

    make_old(half)
    done = registry.collect("edge", keep=1)
    assert [(one.version, one.why) for one in done.removed] == [("3", "its publisher died")]
    assert not half.exists()


def test_the_highest_number_is_kept_so_that_it_is_not_given_twice(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    half = Path(registry.url, "edge/versions/6")
    (half / "manifest.json").unlink()
    make_old(half)

    assert removed(registry, keep=1) == ["1", "2", "3", "4"]
    assert registry.publish(bundle_folder(0), "edge") == "7"


def test_what_writers_left_behind_is_removed_after_a_day(registry: Registry) -> None:
    versions = Path(registry.url, "edge/versions")
    for name in (".staging-old", ".staging-new"):
        (versions / name).mkdir()
        (versions / name / "weights").write_bytes(b"x" * 1000)
    make_old(versions / ".staging-old")

    done = registry.collect("edge", keep=6)

    assert done.leftovers_bytes == done.freed_bytes == 1000
    assert sorted(path.name for path in versions.glob(".*")) == [".staging-new"]


def test_a_version_that_an_alias_came_to_name_is_given_back(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = registry._store.remove

    def after_a_promotion(path: str) -> bool:
        if path == "edge/versions/2/manifest.json":
            Registry(registry.url).set_alias("edge", "champion", "2")
        return remove(path)

    monkeypatch.setattr(registry._store, "remove", after_a_promotion)

    done = registry.collect("edge", keep=1)

    kept = {one.version: one.why for one in done.kept}
    assert kept["2"] == "alias champion, moved meanwhile"
    registry.load("edge", registry.alias_version("edge", "champion"))


def test_a_reader_in_the_middle_is_told_that_it_is_gone(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = registry._store.read

    def with_a_removal(path: str, *, max_bytes: int) -> bytes:
        data = read(path, max_bytes=max_bytes)
        if path == "edge/versions/1/manifest.json":
            Registry(registry.url).collect("edge", keep=1)
        return data

    monkeypatch.setattr(registry._store, "read", with_a_removal)

    with pytest.raises(ModelNotFoundError, match="no version '1'"):
        registry.load("edge", "1")


def test_a_dry_run_only_tells(registry: Registry) -> None:
    planned = registry.collect("edge", keep=1, dry_run=True)

    assert [one.version for one in planned.removed] == ["1", "2", "3", "4", "5"]
    assert len(registry.version_numbers("edge")) == 6


def test_a_store_that_knows_no_time_keeps_what_is_not_whole(bundle_folder: BundleFolder) -> None:
    registry = Registry("memory://retention")
    for _ in range(3):
        registry.publish(bundle_folder(0), "edge")
    store = open_store(registry.url)
    store.remove("edge/versions/1/manifest.json")

    kept = {one.version: one.why for one in registry.collect("edge", keep=1).kept}

    assert kept["1"].startswith("not whole")


def test_at_least_one_is_kept_and_the_model_must_exist(registry: Registry) -> None:
    with pytest.raises(ValueError, match="keep is 0, expected at least 1"):
        registry.collect("edge", keep=0)
    with pytest.raises(ModelNotFoundError, match="no model 'core'"):
        registry.collect("core", keep=1)
