"""No link is followed, no more than the limit is read, nothing waits."""

import os
from pathlib import Path

import pytest

from anoean_stream.detector.bundle import MANIFEST, MAX_BYTES, WEIGHTS, read_bundle_folder
from anoean_stream.detector.confinedfiles import RefusedFileError, read_confined
from anoean_stream.errors import IntegrityError
from tests.support.models import make_bundle


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(b"secret")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "a/b").mkdir(parents=True)
    (folder / "a/b/file").write_bytes(b"content")
    return folder


def refused(root: Path, path: str, *, max_bytes: int = 100) -> str:
    with pytest.raises(RefusedFileError) as caught:
        read_confined(root, path, max_bytes=max_bytes)
    return str(caught.value)


def test_a_file_is_read_up_to_its_limit(root: Path) -> None:
    assert read_confined(root, "a/b/file", max_bytes=7) == b"content"

    assert "allowed are 6" in refused(root, "a/b/file", max_bytes=6)


def test_a_file_that_is_not_there_is_not_found(root: Path) -> None:
    for path in ("x", "a/x", "x/y/z"):
        with pytest.raises(FileNotFoundError):
            read_confined(root, path, max_bytes=7)


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "a/../../secret",
        "/etc/passwd",
        "",
        "a//b",
        "./a",
        "a/b/",
        "a\0b",
        "a/b/../b/file",
    ],
)
def test_a_path_that_could_leave_the_folder_is_refused(root: Path, secret: Path, path: str) -> None:
    assert "is no path below" in refused(root, path)


def test_a_link_is_refused_even_to_a_file_inside(root: Path, secret: Path) -> None:
    (root / "a/outside").symlink_to(secret)
    (root / "a/inside").symlink_to(root / "a/b/file")
    (root / "a/nowhere").symlink_to(root / "nowhere")

    for name in ("outside", "inside", "nowhere"):
        assert f"a/{name} is a symbolic link" in refused(root, f"a/{name}")


def test_a_folder_that_is_a_link_is_refused(root: Path, secret: Path) -> None:
    (root / "up").symlink_to(root.parent)

    assert "up is a symbolic link" in refused(root, "up/secret")


def test_the_root_itself_may_be_a_link(root: Path) -> None:
    (root.parent / "link").symlink_to(root)

    assert read_confined(root.parent / "link", "a/b/file", max_bytes=7) == b"content"


@pytest.mark.timeout(10)
def test_a_named_pipe_is_refused_without_waiting_for_its_writer(root: Path) -> None:
    os.mkfifo(root / "pipe")

    assert "no ordinary file" in refused(root, "pipe")


def test_a_file_of_a_terabyte_is_refused_without_being_read(root: Path) -> None:
    with (root / "sparse").open("wb") as file:
        file.truncate(2**40)

    assert f"{2**40} bytes" in refused(root, "sparse")


def test_no_file_stays_open(root: Path, secret: Path) -> None:
    (root / "link").symlink_to(secret)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        read_confined(root, "a/b/file", max_bytes=7)
        refused(root, "link")
        refused(root, "a/b/file", max_bytes=1)

    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_bundle_with_a_link_in_it_is_refused_by_file(tmp_path: Path, secret: Path) -> None:
    make_bundle(tmp_path / "bundle")
    (tmp_path / "bundle" / WEIGHTS).rename(tmp_path / "elsewhere")
    (tmp_path / "bundle" / WEIGHTS).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(IntegrityError, match=r"weights\.safetensors is a symbolic link") as caught:
        read_bundle_folder(tmp_path / "bundle")
    assert caught.value.file == WEIGHTS


def test_a_bundle_with_an_endless_manifest_is_refused_by_file(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    with (tmp_path / MANIFEST).open("r+b") as file:
        file.truncate(2**30)

    with pytest.raises(IntegrityError, match=f"allowed are {MAX_BYTES[MANIFEST]}") as caught:
        read_bundle_folder(tmp_path)
    assert caught.value.file == MANIFEST
