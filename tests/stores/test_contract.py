"""What every kind of store promises, and what a registry on it does: the same tests for all."""

import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from anoean_stream.detector.bundle import FILES, read_bundle_folder
from anoean_stream.detector.signature import new_private_key
from anoean_stream.detector.threshold import ThresholdChoice
from anoean_stream.errors import ConflictError, ModelNotFoundError, RegistryError
from anoean_stream.registry import Registry
from anoean_stream.registry.evaluation import publish_evaluation, read_evaluation
from tests.stores.conftest import Place
from tests.support.store_servers import S3Server

BundleFolder = Callable[[int], Path]

VERSION = {"manifest.json": b"{}", "weights": b"\x00\x01", "plots/loss.png": b"png"}


def publish(place: Place, bundle_folder: BundleFolder, n_versions: int) -> Registry:
    for seed in range(n_versions):
        place.registry.publish(bundle_folder(seed % 2), place.name)
    return place.registry


def test_nothing_is_there_at_first(place: Place) -> None:
    assert place.name not in place.store.children("")
    assert place.store.children(f"{place.name}/versions") == []
    assert place.store.children(f"{place.name}/aliases") == []
    assert not place.store.exists(f"{place.name}/versions/1/manifest.json")
    assert not place.store.exists(f"{place.name}/threshold.json")
    with pytest.raises(FileNotFoundError):
        place.store.read(f"{place.name}/aliases/champion.json", max_bytes=100)
    with pytest.raises(FileNotFoundError):
        place.store.read(f"{place.name}/versions/1/manifest.json", max_bytes=100)
    assert not place.store.remove(f"{place.name}/threshold.json")
    assert place.store.facts(f"{place.name}/versions/1").written_at is None


def test_a_version_has_all_its_files(place: Place) -> None:
    folder = f"{place.name}/versions"

    assert place.store.add_numbered(folder, VERSION, last="manifest.json") == 1

    store = place.store
    assert store.children("").count(place.name) == 1
    assert store.children(folder) == ["1"]
    assert store.children(f"{folder}/1") == ["manifest.json", "plots", "weights"]
    for name, data in VERSION.items():
        assert store.read(f"{folder}/1/{name}", max_bytes=100) == data
        assert store.exists(f"{folder}/1/{name}")
    with pytest.raises(FileNotFoundError):
        store.read(f"{folder}/1/other", max_bytes=100)
    facts = store.facts(f"{folder}/1")
    assert facts.size_bytes >= sum(map(len, VERSION.values()))
    assert facts.written_at is not None
    assert abs(datetime.now(UTC) - facts.written_at) < timedelta(minutes=5)


def test_evaluation_sets_are_numbered_beside_the_versions_and_are_none(
    place: Place, bundle_folder: BundleFolder
) -> None:
    registry = publish(place, bundle_folder, 1)
    records = [(b'{"bytes": %d}' % number, number % 3 == 0) for number in range(300)]

    first = publish_evaluation(registry, place.name, records, source="may.csv")
    second = publish_evaluation(registry, place.name, records[:100], source="june.csv")

    found = read_evaluation(registry, place.name)
    assert found is not None
    assert (first.number, second.number) == (1, 2)
    assert found.info == second
    assert found.values == tuple(value for value, _ in records[:100])
    assert registry.version_numbers(place.name) == ["1"]


def test_versions_of_many_publishers_have_different_numbers(place: Place) -> None:
    n_publishers = 4
    start = threading.Barrier(n_publishers)

    def create(number: int) -> int:
        store = place.store
        start.wait(timeout=30)
        files = {name: f"{number}".encode() for name in ("manifest.json", "weights")}
        return store.add_numbered(f"{place.name}/versions", files, last="manifest.json")

    with ThreadPoolExecutor(n_publishers) as threads:
        numbers = list(threads.map(create, range(n_publishers)))

    assert sorted(numbers) == [1, 2, 3, 4]
    for publisher, number in enumerate(numbers):
        for name in ("manifest.json", "weights"):
            path = f"{place.name}/versions/{number}/{name}"
            assert place.store.read(path, max_bytes=100) == f"{publisher}".encode()


@pytest.mark.parametrize(
    "data", [b"", b'{"a": "b"}', b"\xff\x00", b"long " * 2000], ids=["empty", "json", "raw", "long"]
)
def test_a_small_file_is_kept_replaced_and_removed(place: Place, data: bytes) -> None:
    path = f"{place.name}/evaluation/set.json"

    place.store.replace(path, b"before")
    place.store.replace(path, data)

    store = place.store
    assert store.read(path, max_bytes=2**20) == data
    assert store.exists(path)
    assert store.children(f"{place.name}/evaluation") == ["set.json"]
    assert "evaluation" in store.children(place.name)
    if data:
        with pytest.raises(RegistryError, match=f"{len(data)} bytes"):
            store.read(path, max_bytes=len(data) - 1)
    assert store.remove(path)
    assert not store.remove(path)
    assert not store.exists(path)


def test_a_reader_sees_the_old_file_or_the_new_and_never_half(place: Place) -> None:
    path = f"{place.name}/threshold.json"
    contents = {letter * 20_000 for letter in (b"a", b"b")}
    place.store.replace(path, b"a" * 20_000)

    def write() -> None:
        for _ in range(5):
            for content in sorted(contents):
                place.store.replace(path, content)

    seen = set()
    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(write)
        while not writing.done():
            seen.add(place.store.read(path, max_bytes=2**20))
        writing.result()

    assert seen <= contents


def test_a_reader_sees_a_whole_version_or_none(place: Place, bundle_folder: BundleFolder) -> None:
    versions = ["1", "2", "3", "4"]
    deadline_s = time.monotonic() + 100

    def read() -> list[str]:
        seen: list[str] = []
        while len(seen) < len(versions) and time.monotonic() < deadline_s:
            try:
                # A BundleError would be half a version.
                place.registry.load(place.name, versions[len(seen)])
            except ModelNotFoundError:
                continue
            seen.append(versions[len(seen)])
        return seen

    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(read)
        for _ in versions:
            place.registry.publish(bundle_folder(0), place.name)

        assert reading.result() == versions


def test_an_exchange_needs_what_was_expected(place: Place) -> None:
    path = f"{place.name}/threshold.json"

    assert not place.store.exchange(path, b"1", expected=b"0")
    assert place.store.exchange(path, b"1", expected=None)
    assert not place.store.exchange(path, b"2", expected=None)
    assert not place.store.exchange(path, b"2", expected=b"0")
    assert place.store.exchange(path, b"2", expected=b"1")
    assert place.store.read(path, max_bytes=100) == b"2"


def test_of_two_that_expect_the_same_one_succeeds(place: Place) -> None:
    path = f"{place.name}/threshold.json"
    place.store.replace(path, b"0")
    n_writers = 4
    start = threading.Barrier(n_writers)

    def exchange(number: int) -> bool:
        store = place.store
        start.wait(timeout=30)
        return store.exchange(path, f"{number + 1}".encode(), expected=b"0")

    with ThreadPoolExecutor(n_writers) as threads:
        won = list(threads.map(exchange, range(n_writers)))

    assert won.count(True) == 1
    assert place.store.read(path, max_bytes=100) == f"{won.index(True) + 1}".encode()


def test_a_removed_folder_is_gone_and_its_number_is_not_given_again(place: Place) -> None:
    folder = f"{place.name}/versions"
    for _ in range(2):
        place.store.add_numbered(folder, VERSION, last="manifest.json")

    assert place.store.remove(f"{folder}/1/manifest.json")
    assert not place.store.exists(f"{folder}/1/manifest.json")
    place.store.remove_folder(f"{folder}/1")
    place.store.remove_folder(f"{folder}/1")

    assert place.store.children(folder) == ["2"]
    assert place.store.add_numbered(folder, VERSION, last="manifest.json") == 3


def test_a_hidden_version_can_be_shown_again(place: Place) -> None:
    folder = f"{place.name}/versions"
    place.store.add_numbered(folder, VERSION, last="manifest.json")
    place.store.remove(f"{folder}/1/manifest.json")

    place.store.replace(f"{folder}/1/manifest.json", VERSION["manifest.json"])

    assert place.store.read(f"{folder}/1/manifest.json", max_bytes=100) == b"{}"
    assert place.store.read(f"{folder}/1/weights", max_bytes=100) == b"\x00\x01"


def test_a_published_model_is_loaded_as_it_was(place: Place, bundle_folder: BundleFolder) -> None:
    registry = publish(place, bundle_folder, 2)

    assert registry.exists()
    assert place.name in registry.models()
    assert registry.version_numbers(place.name) == ["1", "2"]
    assert set(FILES) <= set(registry.files(place.name, "1"))
    for seed, version in enumerate(("1", "2")):
        expected = read_bundle_folder(bundle_folder(seed)).sha256
        assert registry.load(place.name, version).sha256 == expected


def test_aliases_move_and_roll_back(place: Place, bundle_folder: BundleFolder) -> None:
    registry = publish(place, bundle_folder, 3)
    assert registry.set_alias(place.name, "champion", "1", by="ann@desk") is None
    assert registry.set_alias(place.name, "champion", "2", reason="better") == "1"
    assert registry.set_alias(place.name, "champion", "3") == "2"
    registry.set_alias(place.name, "shadow", "1")
    assert registry.aliases(place.name) == {"champion": "3", "previous": "2", "shadow": "1"}

    assert registry.roll_back(place.name, hold_down_s=60, reason="alerts") == ("3", "2")
    record = registry.alias_record(place.name, "champion")
    assert (record.version, record.history, set(record.held)) == ("2", ("1",), {"3"})
    assert record.reason == "alerts"
    assert registry.roll_back(place.name) == ("2", "1")

    assert registry.remove_alias(place.name, "shadow") == "1"
    assert registry.aliases(place.name) == {"champion": "1"}
    with pytest.raises(ModelNotFoundError, match="no version to roll back to"):
        registry.roll_back(place.name)


def test_a_move_that_was_decided_on_something_else_is_refused(
    place: Place, bundle_folder: BundleFolder
) -> None:
    registry = publish(place, bundle_folder, 2)
    registry.set_alias(place.name, "champion", "1")

    with pytest.raises(ConflictError, match="names version 1, not 2"):
        registry.set_alias(place.name, "champion", "2", if_version="2")
    with pytest.raises(ModelNotFoundError, match="no version '9'"):
        registry.set_alias(place.name, "champion", "9")

    assert registry.aliases(place.name) == {"champion": "1"}


def test_thresholds_are_kept_and_rolled_back(place: Place, bundle_folder: BundleFolder) -> None:
    registry = publish(place, bundle_folder, 1)
    one, two = (
        ThresholdChoice(kind="distance", value=value, reason="x" * 1500) for value in (1.0, 2.0)
    )

    assert registry.set_threshold(place.name, one) is None
    assert registry.set_threshold(place.name, two) == one
    assert registry.threshold(place.name).choice == two
    assert registry.roll_back_threshold(place.name) == (two, one)


def test_a_version_is_signed_after_it_was_published(
    place: Place, bundle_folder: BundleFolder, tmp_path: Path
) -> None:
    registry = publish(place, bundle_folder, 1)
    keys = [tmp_path / "a.pem", tmp_path / "b.pem"]
    for key in keys:
        new_private_key(key)

    names = [registry.sign(place.name, "1", key) for key in keys]

    signatures = registry.signatures(place.name, "1").signatures
    assert [one.key_id for one in signatures] == names
    assert "manifest.sig" in registry.files(place.name, "1")


def test_retention_keeps_what_is_needed_and_removes_the_rest(
    place: Place, bundle_folder: BundleFolder
) -> None:
    registry = publish(place, bundle_folder, 5)
    for version in ("2", "3"):
        registry.set_alias(place.name, "champion", version)

    planned = registry.collect(place.name, keep=1, dry_run=True)
    assert registry.version_numbers(place.name) == ["1", "2", "3", "4", "5"]
    done = registry.collect(place.name, keep=1)

    assert planned.removed == done.removed
    assert [one.version for one in done.removed] == ["1", "4"]
    assert done.freed_bytes >= sum(
        path.stat().st_size for seed in (0, 1) for path in bundle_folder(seed).iterdir()
    )
    assert registry.version_numbers(place.name) == ["2", "3", "5"]
    assert registry.publish(bundle_folder(0), place.name) == "6"
    for version in registry.version_numbers(place.name):
        registry.load(place.name, version)


def test_a_copy_of_a_version_can_have_files_beside_the_bundle(
    place: Place, bundle_folder: BundleFolder, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(bundle_folder(0), tmp_path / "bundle"))
    (folder / "plots").mkdir()
    (folder / "plots/loss curve.png").write_bytes(b"png")

    place.registry.publish(folder, place.name)

    path = f"{place.name}/versions/1/plots/loss curve.png"
    assert place.store.read(path, max_bytes=100) == b"png"


def test_a_version_may_have_files_of_many_megabytes(place: Place) -> None:
    files = {"manifest.json": b"{}", "weights": os.urandom(1024) * 12 * 1024}

    place.store.add_numbered(f"{place.name}/versions", files, last="manifest.json")

    path = f"{place.name}/versions/1/weights"
    assert place.store.read(path, max_bytes=2**24) == files["weights"]
    with pytest.raises(RegistryError, match=r"weights has .* bytes or more, allowed are 1000"):
        place.store.read(path, max_bytes=1000)


def test_a_bucket_can_be_the_registry(
    s3_server: S3Server, s3_url: str, bundle_folder: BundleFolder
) -> None:
    s3_server.create_bucket("whole-bucket")
    registry = Registry("s3://whole-bucket")
    assert not registry.exists()

    registry.publish(bundle_folder(0), "edge")

    assert registry.exists()
    assert registry.models() == ["edge"]
    assert Registry("s3://whole-bucket/").load("edge", "1").manifest.name == "edge"
