"""Where the files of a registry lie: a folder, or anything that fsspec reaches.

A store knows no models. It promises three things on which `Registry` builds:

* a folder of files appears whole or not at all (`Store.create_folder`),
* two writers never create the same folder,
* a small file is replaced in one step (`Store.replace`).

A local folder keeps the promises with fsync and rename. An object store has no rename: there the
folder is claimed first and its ``last`` file is written last, so a reader that waits for that file
sees the whole folder.
"""

import fcntl
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import uuid4

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from anoean_stream.detector.confinedfiles import RefusedFileError, read_confined, too_large
from anoean_stream.errors import RegistryError

_HIDDEN: Final = "."
"""Names that begin so are ours while we write, and never shown."""

_CLAIM: Final = ".claim"

_LOGIN: Final = re.compile(r"(?<=://)[^/@\s]+(?=@)")
"""user:password of a URL; messages and logs do not show it."""

_EXTRAS: Final[Mapping[str, str]] = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
    "sftp": "paramiko",
    "ssh": "paramiko",
    "hdfs": "pyarrow",
    "webhdfs": "requests",
    "http": "aiohttp",
    "https": "aiohttp",
}
"""The package that brings each protocol, as far as people ask for it."""


class Store(Protocol):
    """Files by path; paths use ``/`` and are relative to the registry's root.

    Calls block on disk or network; any thread may make them.
    """

    url: str

    def exists(self, path: str) -> bool:
        """Return whether a file or folder is there; ``""`` asks for the root."""

    def children(self, folder: str) -> list[str]:
        """Return the names directly in a folder, sorted; none when there is no such folder."""

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """Return a file, not larger than that; raises FileNotFoundError when it is not there."""

    def create_folder(self, folder: str, files: Mapping[str, bytes], *, last: str) -> bool:
        """Write a new folder, whole or not at all; False when the name is taken."""

    def replace(self, path: str, data: bytes) -> None:
        """Write a file in one step: a reader sees the old content or the new."""

    def exchange(self, path: str, data: bytes, *, expected: bytes | None) -> bool:
        """Write a file in one step if its content is the expected one; None: if there is none.

        False, and nothing is written, when it is another: of two writers that expect the same, one
        succeeds.
        """

    def remove(self, path: str) -> bool:
        """Remove a file; False when there was none."""


def open_store(url: str) -> Store:
    """Return the store that a URL names; nothing is read or written yet.

    Parameters
    ----------
    url : str
        A folder, relative or absolute, or an fsspec URL (``file://``, ``memory://``, ``s3://``).

    Raises
    ------
    RegistryError
        When the protocol is unknown, or the package that brings it is not installed.
    """
    shown = _LOGIN.sub("***", url)
    try:
        filesystem, root = url_to_fs(url)
    except ImportError as error:
        protocol = url.partition(":")[0]
        package = _EXTRAS.get(protocol, f"the fsspec implementation of {protocol}")
        message = (
            f"registry.url is {shown!r}, but this installation cannot read {protocol}:// ({error}); "
            f"install it with: pip install {package}"
        )
        raise RegistryError(message) from error
    except ValueError as error:
        message = (
            f"registry.url is {shown!r}: {error}; expected a folder or an fsspec URL such as "
            f"file:///srv/models, memory://models or s3://bucket/models"
        )
        raise RegistryError(message) from error
    if isinstance(filesystem, LocalFileSystem):
        return LocalStore(Path(root), url=shown)
    return ObjectStore(filesystem, root, url=shown)


class LocalStore:
    """A folder on a disk or a network share.

    Parameters
    ----------
    root : Path
        The registry's folder; it is created by the first write.
    url : str, optional
        The name to use in messages.
    """

    def __init__(self, root: Path, *, url: str | None = None) -> None:
        self.url = url or str(root)
        self._root = root

    def exists(self, path: str) -> bool:
        """Return whether a file or folder is there."""
        with self._errors("read", path):
            return (self._root / path).exists()

    def children(self, folder: str) -> list[str]:
        """Return the names directly in a folder, sorted; none when there is no such folder."""
        with self._errors("list", folder):
            try:
                names = [path.name for path in (self._root / folder).iterdir()]
            except (FileNotFoundError, NotADirectoryError):
                return []
        return sorted(name for name in names if not name.startswith(_HIDDEN))

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """Return a file, not larger than that; raises FileNotFoundError when it is not there.

        No link below the root is followed.
        """
        with self._errors("read", path):
            return read_confined(self._root, path, max_bytes=max_bytes)

    def create_folder(self, folder: str, files: Mapping[str, bytes], *, last: str) -> bool:
        """Write the files beside the target, flush them to the disk, then rename the folder.

        ``last`` is written last here too, for readers of a share that renames file by file.
        """
        target = self._root / folder
        staging = target.parent / f"{_HIDDEN}staging-{uuid4().hex}"
        with self._errors("write", folder):
            if target.exists():
                return False
            # mkdir, not mkdtemp: workers that run as another user must be able to read it.
            staging.mkdir(parents=True)
            try:
                for name in _ordered(files, last):
                    path = staging / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    _write_through(path, files[name])
                _flush_folder(staging)
                try:
                    # Fails when another publisher was faster: a folder with files is not replaced.
                    staging.rename(target)
                except OSError:
                    if not target.exists():
                        raise
                    return False
                _flush_folder(target.parent)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        return True

    def replace(self, path: str, data: bytes) -> None:
        """Write beside the target, flush, then rename over it."""
        target = self._root / path
        staging = target.with_name(f"{_HIDDEN}{target.name}-{uuid4().hex}")
        with self._errors("write", path):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                _write_through(staging, data)
                staging.replace(target)
                _flush_folder(target.parent)
            finally:
                staging.unlink(missing_ok=True)

    def exchange(self, path: str, data: bytes, *, expected: bytes | None) -> bool:
        """Compare and write under a lock of the kernel, which a crash releases."""
        target = self._root / path
        with self._errors("write", path):
            target.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(target.parent / f"{_HIDDEN}lock", os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                found = target.read_bytes() if target.exists() else None
                if found != expected:
                    return False
                self.replace(path, data)
            finally:
                os.close(lock)
        return True

    def remove(self, path: str) -> bool:
        """Remove a file."""
        with self._errors("remove", path):
            try:
                (self._root / path).unlink()
            except FileNotFoundError:
                return False
        return True

    @contextmanager
    def _errors(self, verb: str, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if verb == "read" and isinstance(error, FileNotFoundError):
                raise  # not a failure: the caller knows what its absence means
            if isinstance(error, RefusedFileError):
                message = f"registry {self.url}: {error}"
                raise RegistryError(message) from error
            remedy = (
                "give this user the right to it"
                if isinstance(error, PermissionError)
                else "check the disk"
            )
            message = (
                f"registry {self.url}: cannot {verb} {self._root / path} "
                f"({error.strerror or error}); {remedy}, or set registry.url to another folder"
            )
            raise RegistryError(message) from error


class ObjectStore:
    """Anything that fsspec reaches and that is not the local disk.

    A folder is claimed with one exclusive create (a conditional request on S3 and GCS). Where
    the service has none, the claim is read back, which leaves a window of one round trip.

    Parameters
    ----------
    filesystem : fsspec.AbstractFileSystem
        The implementation.
    root : str
        Path of the registry within it.
    url : str
        The name to use in messages.
    """

    _claiming = threading.Lock()  # the memory store's exclusive create is two steps

    def __init__(self, filesystem: Any, root: str, *, url: str) -> None:  # untyped library
        self.url = url
        self._filesystem = filesystem
        self._root = root.rstrip("/")

    def exists(self, path: str) -> bool:
        """Return whether a file or folder is there."""
        with self._errors("read", path):
            self._filesystem.invalidate_cache()
            return bool(self._filesystem.exists(self._full(path)))

    def children(self, folder: str) -> list[str]:
        """Return the names directly in a folder, sorted; none when there is no such folder."""
        full = self._full(folder)
        with self._errors("list", folder):
            # fsspec remembers listings for as long as the process lives; another process publishes.
            self._filesystem.invalidate_cache()
            try:
                paths = self._filesystem.ls(full, detail=False)
            except (FileNotFoundError, NotADirectoryError):
                return []
        names = {str(path).rstrip("/").rpartition("/")[2] for path in paths if path != full}
        return sorted(name for name in names if name and not name.startswith(_HIDDEN))

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """Return a file, not larger than that; raises FileNotFoundError when it is not there."""
        full = self._full(path)
        with self._errors("read", path):
            # A range: one byte more than allowed tells that there is more.
            data = bytes(self._filesystem.cat_file(full, start=0, end=max_bytes + 1))
            if len(data) > max_bytes:
                raise RegistryError(too_large(full, len(data), max_bytes=max_bytes))
        return data

    def create_folder(self, folder: str, files: Mapping[str, bytes], *, last: str) -> bool:
        """Claim the name, write the files, ``last`` at the end: until then nobody sees it."""
        with self._errors("write", folder):
            if not self._claim(folder):
                return False
            for name in _ordered(files, last):
                self._pipe(self._full(f"{folder}/{name}"), files[name])
        return True

    def replace(self, path: str, data: bytes) -> None:
        """Write one object: object services replace it whole; SFTP and HDFS write it in place."""
        with self._errors("write", path):
            self._pipe(self._full(path), data)

    def exchange(self, path: str, data: bytes, *, expected: bytes | None) -> bool:
        """Compare, then write: between the two lies a round trip in which another may write."""
        with self._errors("write", path), self._claiming:
            try:
                found = bytes(self._filesystem.cat_file(self._full(path)))
            except FileNotFoundError:
                found = None
            if found != expected:
                return False
            self._pipe(self._full(path), data)
        return True

    def remove(self, path: str) -> bool:
        """Remove one object."""
        with self._errors("remove", path):
            try:
                self._filesystem.rm_file(self._full(path))
            except FileNotFoundError:
                return False
        return True

    def _claim(self, folder: str) -> bool:
        token = uuid4().hex.encode()
        claim = self._full(f"{folder}/{_CLAIM}")
        with self._claiming:
            if self.children(folder):
                return False
            try:
                self._pipe(claim, token, mode="create")
            except FileExistsError:
                return False
            except OSError:
                # S3 reports a lost race as a failed precondition, under varying classes.
                if not self._filesystem.exists(claim):
                    raise
            return bool(self._filesystem.cat_file(claim) == token)

    def _pipe(self, full: str, data: bytes, *, mode: str = "overwrite") -> None:
        try:
            self._filesystem.pipe_file(full, data, mode=mode)
        except FileNotFoundError:
            # Only where folders are real (SFTP, HDFS); elsewhere the first call has succeeded.
            self._filesystem.makedirs(full.rpartition("/")[0], exist_ok=True)
            self._filesystem.pipe_file(full, data, mode=mode)

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    @contextmanager
    def _errors(self, verb: str, path: str) -> Iterator[None]:
        try:
            yield
        # Each implementation raises its own library's errors (botocore, aiohttp, google): no root
        # is common to them, and only calls of the file system are inside.
        except Exception as error:
            if isinstance(error, RegistryError) or (
                verb == "read" and isinstance(error, FileNotFoundError)
            ):
                raise
            message = (
                f"registry {self.url}: cannot {verb} {self._full(path)} "
                f"({type(error).__name__}: {error}); check the address, the network and the "
                f"credentials of the store, or set registry.url to another one"
            )
            raise RegistryError(message) from error


def _ordered(files: Mapping[str, bytes], last: str) -> list[str]:
    return sorted(files, key=lambda name: (name == last, name))


def _write_through(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Flush the names in a folder: a rename is durable only then."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
