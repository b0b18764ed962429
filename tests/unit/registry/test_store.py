"""The promises of a store: whole or not at all, never twice, replaced in one step."""

import os
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from fsspec.implementations.local import LocalFileSystem

from anoean_stream.errors import RegistryError
from anoean_stream.registry.store import LocalStore, ObjectStore, open_store

NOBODY = 65534

FILES = {"manifest.json": b"{}", "weights": b"\x00\x01", "plots/loss.png": b"png"}


def memory_store() -> ObjectStore:
    store = open_store(f"memory://store-{uuid4().hex}")
    assert isinstance(store, ObjectStore)
    return store


def open_kind(kind: str, folder: Path) -> LocalStore | ObjectStore:
    if kind == "folder":
        return LocalStore(folder / "models")
    if kind == "memory":
        return memory_store()
    # As SFTP and HDFS have: no write without its folder, no exclusive create.
    return ObjectStore(LocalFileSystem(), str(folder / "models"), url="fake://models")


@pytest.fixture(params=["folder", "memory", "real folders"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LocalStore | ObjectStore:
    return open_kind(request.param, tmp_path)


@pytest.fixture
def foreign_folder() -> Iterator[Path]:
    """A folder that this process may read and not write, root or not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        was = os.geteuid()
        if was == 0:
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            os.seteuid(was)
            folder.chmod(0o755)


def test_a_url_chooses_the_kind_of_store(tmp_path: Path) -> None:
    assert isinstance(open_store("models"), LocalStore)
    assert isinstance(open_store(f"file://{tmp_path}"), LocalStore)
    assert isinstance(open_store("memory://models"), ObjectStore)


def test_a_file_url_and_a_path_mean_the_same_folder(tmp_path: Path) -> None:
    open_store(f"file://{tmp_path}/models").replace("a/b.json", b"1")

    assert open_store(str(tmp_path / "models")).read("a/b.json", max_bytes=2**20) == b"1"


def test_an_unknown_protocol_is_refused_with_examples() -> None:
    with pytest.raises(RegistryError, match=r"'floppy://a'.*expected a folder or a URL such as"):
        open_store("floppy://a")


@pytest.mark.parametrize(
    ("url", "package", "install"),
    [
        ("gs://bucket/models", "gcsfs", "gcsfs"),
        ("abfs://c/models", "adlfs", "adlfs"),
        ("s3://bucket/models", "obstore", r"'anoean-stream\[s3\]'"),
        ("mlflow+http://host:5000", "urllib3", r"'anoean-stream\[mlflow\]'"),
    ],
)
def test_a_missing_package_is_named(
    url: str, package: str, install: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    for store in ("s3store", "mlflowstore", "mlflowmodels", "mlflowclient", "mlflowaliases"):
        monkeypatch.delitem(sys.modules, f"anoean_stream.registry.{store}", raising=False)

    with pytest.raises(RegistryError, match=f"pip install {install}"):
        open_store(url)


def test_messages_do_not_show_a_password() -> None:
    with pytest.raises(RegistryError) as refused:
        open_store("floppy://ann:secret@host/models")

    assert "secret" not in str(refused.value)


def test_nothing_is_there_at_first(store: LocalStore | ObjectStore) -> None:
    assert not store.exists("")
    assert store.children("") == []
    assert store.children("edge/versions") == []
    with pytest.raises(FileNotFoundError):
        store.read("edge/aliases/champion.json", max_bytes=2**20)


def test_a_folder_appears_with_all_its_files(store: LocalStore | ObjectStore) -> None:
    assert store.create_folder("edge/versions/1", FILES, last="manifest.json")

    assert store.children("edge/versions") == ["1"]
    assert store.children("edge/versions/1") == ["manifest.json", "plots", "weights"]
    assert {name: store.read(f"edge/versions/1/{name}", max_bytes=2**20) for name in FILES} == FILES


def test_a_taken_folder_is_left_as_it_is(store: LocalStore | ObjectStore) -> None:
    store.create_folder("edge/versions/1", FILES, last="manifest.json")

    assert not store.create_folder(
        "edge/versions/1", {"manifest.json": b"other"}, last="manifest.json"
    )

    assert store.read("edge/versions/1/manifest.json", max_bytes=2**20) == b"{}"


def test_of_many_creators_exactly_one_wins(store: LocalStore | ObjectStore) -> None:
    n_creators = 8
    start = threading.Barrier(n_creators)

    def create(number: int) -> bool:
        start.wait(timeout=10)
        files = {name: f"{number}".encode() for name in ("manifest.json", "weights")}
        return store.create_folder("edge/versions/1", files, last="manifest.json")

    with ThreadPoolExecutor(n_creators) as threads:
        won = list(threads.map(create, range(n_creators)))

    assert won.count(True) == 1
    expected = str(won.index(True)).encode()
    assert store.read("edge/versions/1/manifest.json", max_bytes=2**20) == expected
    assert store.read("edge/versions/1/weights", max_bytes=2**20) == expected


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_a_replaced_file_is_always_whole(kind: str, tmp_path: Path) -> None:
    store = open_kind(kind, tmp_path)
    contents = {b"a" * 100_000, b"b" * 200_000}
    store.replace("edge/aliases/champion.json", b"a" * 100_000)
    done = threading.Event()

    def write() -> None:
        for _ in range(20):
            for content in sorted(contents):
                store.replace("edge/aliases/champion.json", content)
        done.set()

    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(write)
        seen = set()
        while not done.is_set() and not writing.done():
            seen.add(store.read("edge/aliases/champion.json", max_bytes=2**20))
        writing.result()

    assert seen <= contents
    assert store.children("edge/aliases") == ["champion.json"]


def test_a_local_folder_is_hidden_until_it_is_whole(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    seen: list[list[str]] = []

    class Watching(dict[str, bytes]):
        def __getitem__(self, name: str) -> bytes:
            seen.append(store.children("versions"))
            return super().__getitem__(name)

    store.create_folder("versions/1", Watching(FILES), last="manifest.json")

    assert seen == [[]] * len(FILES)
    assert store.children("versions") == ["1"]


def test_an_object_store_writes_the_manifest_last(tmp_path: Path) -> None:
    store = memory_store()
    seen: list[tuple[str, list[str]]] = []

    class Watching(dict[str, bytes]):
        def __getitem__(self, name: str) -> bytes:
            seen.append((name, store.children("versions/1")))
            return super().__getitem__(name)

    store.create_folder("versions/1", Watching(FILES), last="manifest.json")

    assert seen[-1] == ("manifest.json", ["plots", "weights"])


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    class Failing(dict[str, bytes]):
        def __getitem__(self, name: str) -> bytes:
            if name == "manifest.json":
                raise OSError(28, "No space left on device")
            return super().__getitem__(name)

    store = LocalStore(tmp_path)

    with pytest.raises(RegistryError, match=r"versions/1 \(No space left on device\)"):
        store.create_folder("versions/1", Failing(FILES), last="manifest.json")

    assert list((tmp_path / "versions").iterdir()) == []


def test_another_user_may_read_what_was_published(tmp_path: Path) -> None:
    was = os.umask(0o022)
    try:
        LocalStore(tmp_path).create_folder("versions/1", FILES, last="manifest.json")
    finally:
        os.umask(was)

    assert stat.S_IMODE((tmp_path / "versions/1").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "versions/1/weights").stat().st_mode) == 0o644


def test_a_folder_that_may_not_be_written_is_named(foreign_folder: Path) -> None:
    store = LocalStore(foreign_folder)

    with pytest.raises(RegistryError, match=r"cannot write .*aliases.*Permission denied.*right"):
        store.replace("aliases/champion.json", b"{}")
    with pytest.raises(RegistryError, match=r"cannot write .*versions/1.*Permission denied"):
        store.create_folder("versions/1", FILES, last="manifest.json")


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("not a folder")
    store = LocalStore(tmp_path / "models")

    with pytest.raises(RegistryError, match=r"cannot write .*models/versions/1"):
        store.create_folder("versions/1", FILES, last="manifest.json")


def test_what_a_foreign_library_raises_is_told_in_a_sentence() -> None:
    class Broken:
        def invalidate_cache(self) -> None: ...

        def cat_file(self, path: str, *, start: int, end: int) -> bytes:
            raise RuntimeError(f"no route to {path}")

    store = ObjectStore(Broken(), "/models", url="fake://models")

    with pytest.raises(RegistryError, match=r"cannot read /models/a .*RuntimeError: no route"):
        store.read("a", max_bytes=2**20)
