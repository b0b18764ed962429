"""A registry in a folder: on a disk, or on a share that knows rename and flock."""

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Final
from uuid import uuid4

from anoean_stream.detector.confinedfiles import RefusedFileError, read_confined
from anoean_stream.errors import RegistryError
from anoean_stream.registry.promises import HIDDEN, FolderFacts, next_numbered, ordered

_LOCK: Final = f"{HIDDEN}lock"
"""Beside the files that `LocalStore.exchange` writes; empty, and left where it is: removing a lock
file lets two hold it."""

_EXCHANGE_MAX_BYTES: Final = 2**30
"""Largest file that is compared, bytes; as much as a version may have."""

_REMEDIES: Final[Mapping[int, str]] = {
    errno.EACCES: "give this user the right to it",
    errno.EPERM: "give this user the right to it",
    errno.EROFS: "it is mounted read-only, so mount it for writing",
    errno.ENOSPC: "make room there (`anoean models gc` removes old versions)",
    errno.EDQUOT: "make room there (`anoean models gc` removes old versions)",
    errno.EFBIG: "raise the limit on the size of a file (ulimit -f)",
    errno.ENOLCK: "use a share that knows locks (flock)",
}
"""What to do, by what the kernel said."""


class LocalStore:
    """A folder on a disk or a network share.

    Everything is promised here: files are flushed to the disk and renamed into place, and two
    writers of one file take turns under a lock of the kernel, which a crash releases.

    Parameters
    ----------
    root : Path
        The registry's folder; it is created by the first write.
    url : str, optional
        The name to use in messages.
    """

    exchanges_atomically: ClassVar[bool] = True

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
        return sorted(name for name in names if not name.startswith(HIDDEN))

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """Return a file, not larger than that; raises FileNotFoundError when it is not there.

        No link below the root is followed.
        """
        with self._errors("read", path):
            return read_confined(self._root, path, max_bytes=max_bytes)

    def add_numbered(self, folder: str, files: Mapping[str, bytes], *, last: str) -> int:
        """Create the next numbered folder below this one, and return its number."""
        return next_numbered(self, folder, files, last=last)

    def create_folder(self, folder: str, files: Mapping[str, bytes], *, last: str) -> bool:
        """Write the files beside the target, flush them to the disk, then rename the folder.

        ``last`` is written last here too, for readers of a share that renames file by file.
        """
        target = self._root / folder
        staging = target.parent / f"{HIDDEN}staging-{uuid4().hex}"
        with self._errors("write", folder):
            if target.exists():
                return False
            # mkdir, not mkdtemp: workers that run as another user must be able to read it.
            staging.mkdir(parents=True)
            try:
                for name in ordered(files, last):
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
        staging = target.with_name(f"{HIDDEN}{target.name}-{uuid4().hex}")
        with self._errors("write", path):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                _write_through(staging, data)
                staging.replace(target)
                _flush_folder(target.parent)
            finally:
                staging.unlink(missing_ok=True)

    def exchange(self, path: str, data: bytes, *, expected: bytes | None) -> bool:
        """Compare and write under the folder's lock."""
        target = self._root / path
        with self._errors("write", path):
            target.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(target.parent / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                try:
                    found = self.read(path, max_bytes=_EXCHANGE_MAX_BYTES)
                except FileNotFoundError:
                    found = None
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

    def facts(self, folder: str) -> FolderFacts:
        """Return size and time of a folder."""
        with self._errors("list", folder):
            try:
                return _facts(self._root / folder)
            except FileNotFoundError:
                return FolderFacts(0, None)

    def remove_folder(self, folder: str) -> None:
        """Rename the folder out of sight, in one step, then remove what is in it."""
        target = self._root / folder
        gone = target.with_name(f"{HIDDEN}removed-{uuid4().hex}")
        with self._errors("remove", folder):
            try:
                target.rename(gone)
            except FileNotFoundError:
                return
            shutil.rmtree(gone)

    def tidy(self, folder: str, *, before: datetime) -> int:
        """Remove hidden files and folders that were not written since; the lock stays."""
        freed_bytes = 0
        with self._errors("remove", folder):
            try:
                found = list((self._root / folder).iterdir())
            except (FileNotFoundError, NotADirectoryError):
                return 0
            for path in found:
                if not path.name.startswith(HIDDEN) or path.name == _LOCK:
                    continue
                facts = _facts(path)
                if facts.written_at is None or facts.written_at >= before:
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
                freed_bytes += facts.size_bytes
        return freed_bytes

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
            remedy = _REMEDIES.get(error.errno or 0, "check the disk")
            message = (
                f"registry {self.url}: cannot {verb} {self._root / path} "
                f"({error.strerror or error}); {remedy}, or set registry.url to another folder"
            )
            raise RegistryError(message) from error


def _facts(path: Path) -> FolderFacts:
    """Return size and time of a folder or file; raises FileNotFoundError when it is not there."""
    stats = [one.lstat() for one in (path, *path.rglob("*"))]
    return FolderFacts(
        sum(one.st_size for one in stats if stat.S_ISREG(one.st_mode)),
        datetime.fromtimestamp(max(one.st_mtime for one in stats), UTC),
    )


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
