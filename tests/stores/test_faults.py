"""Stores that fail: full, read-only, away, behind. One sentence each, and nothing is damaged."""

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest

from anoean_stream.errors import ModelNotFoundError, RegistryError
from anoean_stream.registry import Registry
from anoean_stream.registry.objectstore import ObjectStore
from anoean_stream.registry.promises import next_numbered
from anoean_stream.registry.store import open_store
from tests.stores.conftest import BUCKET
from tests.support.kafka_jars import REPOSITORY
from tests.support.registries import make_registry
from tests.support.requiring import with_stores
from tests.support.store_servers import MlflowServer, S3Server

BundleFolder = Callable[[int], Path]

NOBODY = 65534

ATTEMPTS = """
import json, os, resource, sys
from pathlib import Path
from anoean_stream.errors import AnoeanError
from anoean_stream.registry import Registry
url, bundle, uid, file_limit = sys.argv[1:]
if int(file_limit):
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(file_limit), int(file_limit)))
if int(uid):
    os.setgroups([]); os.setgid(int(uid)); os.setuid(int(uid))
registry, said = Registry(url), {}
for what, act in {
    "load": lambda: registry.load("edge", registry.alias_version("edge", "champion")) and None,
    "publish": lambda: registry.publish(Path(bundle), "edge"),
    "promote": lambda: registry.set_alias("edge", "champion", "2"),
    "rollback": lambda: registry.roll_back("edge"),
    "threshold": lambda: registry.set_threshold("edge", None) and None,
    "gc": lambda: len(registry.collect("edge", keep=1).removed),
}.items():
    try:
        said[what] = act()
    except AnoeanError as error:
        said[what] = f"{type(error).__name__}: {error}"
print(json.dumps(said))
"""


def attempts(url: str, bundle: Path, *, uid: int = 0, file_limit: int = 0) -> dict[str, object]:
    """Try everything in a process of its own; return what each attempt gave, or its sentence."""
    done = subprocess.run(
        [sys.executable, "-c", ATTEMPTS, url, str(bundle), str(uid), str(file_limit)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def mount(*words: str) -> None:
    done = subprocess.run(
        [shutil.which("mount") or "mount", *words], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"needs the right to mount ({done.stderr.strip()}); run as root")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder))
    yield folder
    subprocess.run([shutil.which("umount") or "umount", str(folder)], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 1024)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def test_a_full_disk_is_named_and_nothing_is_damaged(
    small_disk: Path, bundle_folder: BundleFolder
) -> None:
    registry = make_registry(small_disk, n_versions=2)
    before = [registry.load("edge", version).sha256 for version in ("1", "2")]
    fill(small_disk / "ballast")

    with pytest.raises(RegistryError, match=r"cannot write .*No space left.*`anoean models gc`"):
        registry.publish(bundle_folder(1), "edge")
    with pytest.raises(RegistryError, match=r"cannot write .*champion.*No space left"):
        registry.set_alias("edge", "champion", "2")

    assert registry.aliases("edge") == {"champion": "1"}
    assert [registry.load("edge", version).sha256 for version in ("1", "2")] == before
    assert sorted(os.listdir(f"{registry.url}/edge/versions")) == ["1", "2"]  # noqa: PTH208 - hidden names, too
    # The way out needs no room.
    (small_disk / "ballast").unlink()
    registry.set_alias("edge", "champion", "2")


def test_a_limit_on_the_size_of_files_is_named(tmp_path: Path, bundle_folder: BundleFolder) -> None:
    registry = make_registry(tmp_path, n_versions=2)

    said = attempts(registry.url, bundle_folder(1), file_limit=100)

    assert "File too large); raise the limit on the size of a file" in str(said["publish"])
    assert registry.version_numbers("edge") == ["1", "2"]
    assert sorted(os.listdir(f"{registry.url}/edge/versions")) == ["1", "2"]  # noqa: PTH208 - hidden names, too


def test_who_may_only_read_serves_and_is_told_at_each_write(
    tmp_path_factory: pytest.TempPathFactory, bundle_folder: BundleFolder
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    folder = tmp_path_factory.mktemp("foreign")
    registry = make_registry(folder, n_versions=3)
    for path in (folder, *folder.parents, bundle_folder(1), *bundle_folder(1).iterdir()):
        if Path(tempfile.gettempdir()) in path.parents:  # pytest's folders are closed to others
            path.chmod(0o755)

    said = attempts(registry.url, bundle_folder(1), uid=NOBODY)

    assert said.pop("load") is None
    for action, sentence in said.items():
        if action == "rollback":
            assert "no version to roll back to" in str(sentence)
        else:
            assert "Permission denied); give this user the right" in str(sentence), action
    assert registry.version_numbers("edge") == ["1", "2", "3"]
    assert registry.aliases("edge") == {"champion": "1"}


def test_a_store_that_is_mounted_read_only_is_named(
    tmp_path: Path, bundle_folder: BundleFolder
) -> None:
    registry = make_registry(tmp_path, n_versions=2)
    mount("--bind", registry.url, registry.url)
    try:
        mount("-o", "remount,ro,bind", registry.url)
        said = attempts(registry.url, bundle_folder(1))
    finally:
        subprocess.run([shutil.which("umount") or "umount", registry.url], check=True)

    assert said["load"] is None
    for action in ("publish", "promote", "threshold", "gc"):
        assert "Read-only file system); it is mounted read-only" in str(said[action]) or (
            action == "gc" and said[action] == 0
        )
    assert registry.aliases("edge") == {"champion": "1"}


class Behind(ObjectStore):
    """A store whose listing shows a new name only at the third look."""

    def __init__(self, store: ObjectStore) -> None:
        super().__init__(store._filesystem, store._root, url=store.url)
        self.looks: dict[str, int] = {}

    def children(self, folder: str) -> list[str]:
        names = super().children(folder)
        for name in names:
            self.looks[f"{folder}/{name}"] = self.looks.get(f"{folder}/{name}", 0) + 1
        return [name for name in names if self.looks[f"{folder}/{name}"] > 2]

    def add_numbered(self, folder: str, files: Mapping[str, bytes], *, last: str) -> int:
        return next_numbered(self, folder, files, last=last)


def test_a_listing_that_is_behind_gives_no_number_twice(bundle_folder: BundleFolder) -> None:
    url = f"memory://behind-{uuid4().hex}"
    registry = Registry(url)
    store = open_store(url)
    assert isinstance(store, ObjectStore)
    registry._store = Behind(store)

    numbers = [registry.publish(bundle_folder(seed % 2), "edge") for seed in range(4)]

    assert numbers == ["1", "2", "3", "4"]
    registry._store = Behind(store)  # what it has seen counts for another process only
    for number in numbers:
        assert registry.resolve("edge", number) == number
        registry.load("edge", number)
    registry.set_alias("edge", "champion", "4")
    assert registry.alias_version("edge", "champion") == "4"


def test_an_s3_that_stops_is_one_sentence_in_bounded_time(
    tmp_path: Path, bundle_folder: BundleFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = with_stores(S3Server(tmp_path).start)
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    server.create_bucket(BUCKET)
    registry = Registry(f"s3://{BUCKET}/models")
    registry.publish(bundle_folder(0), "edge")
    server.stop()

    assert_refused_within_s(30, registry, bundle_folder(0), "AWS_ENDPOINT_URL")


def test_a_bucket_that_is_not_there_is_named(s3_url: str, bundle_folder: BundleFolder) -> None:
    registry = Registry("s3://no-such-bucket/models")

    with pytest.raises(RegistryError, match="create the bucket, or mend its name"):
        registry.alias_version("edge", "champion")
    with pytest.raises(RegistryError, match="create the bucket, or mend its name"):
        registry.publish(bundle_folder(0), "edge")


def test_an_s3_without_conditions_still_works(
    s3_url: str, bundle_folder: BundleFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONDITIONAL_PUT", "disabled")
    registry = Registry(s3_url)

    assert [registry.publish(bundle_folder(0), "edge") for _ in range(2)] == ["1", "2"]
    for version in ("1", "2"):
        registry.set_alias("edge", "champion", version)

    assert registry.aliases("edge") == {"champion": "2", "previous": "1"}


def test_an_mlflow_that_stops_is_one_sentence_and_comes_back(
    mlflow_server: MlflowServer, bundle_folder: BundleFolder
) -> None:
    registry = Registry(mlflow_server.url)
    registry.publish(bundle_folder(0), "edge")
    registry.set_alias("edge", "champion", "1")
    mlflow_server.stop()

    try:
        assert_refused_within_s(30, registry, bundle_folder(0), "mlflow server")
    finally:
        mlflow_server.start()

    assert registry.alias_version("edge", "champion") == "1"


@pytest.mark.parametrize("kind", ["s3", "mlflow"])
def test_a_store_that_takes_connections_and_never_answers_is_given_up(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        store = open_store(f"s3://{BUCKET}/models" if kind == "s3" else f"mlflow+{address}")
        began = time.monotonic()

        with pytest.raises(RegistryError, match="cannot read"):
            store.read("edge/aliases/champion.json", max_bytes=100)

        assert time.monotonic() - began < 60


def assert_refused_within_s(
    limit_s: float, registry: Registry, bundle: Path, sentence: str
) -> None:
    for act in (
        lambda: registry.alias_version("edge", "champion"),
        lambda: registry.versions("edge"),
        lambda: registry.publish(bundle, "edge"),
        lambda: registry.set_alias("edge", "champion", "1"),
    ):
        began = time.monotonic()
        with pytest.raises(RegistryError, match=sentence) as refused:
            act()
        assert time.monotonic() - began < limit_s
        assert not isinstance(refused.value, ModelNotFoundError)
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 800
