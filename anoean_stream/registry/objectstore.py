"""A registry on anything that fsspec reaches and that has no store of its own here."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar, Final
from uuid import uuid4

from anoean_stream.detector.confinedfiles import too_large
from anoean_stream.errors import RegistryError, brief
from anoean_stream.registry.promises import HIDDEN, FolderFacts, next_numbered, ordered

_CLAIM: Final = ".claim"

_TIMES: Final = ("mtime", "created", "LastModified", "updated", "last_modified")
"""Where the implementations of fsspec keep the time of a file."""


class ObjectStore:
    """Anything that fsspec reaches and that is not the local disk.

    A folder is claimed with one exclusive create (a conditional request on GCS). Where the service
    has none, the claim is read back. `exchange` compares, then writes. Both leave a window of one
    round trip in which two processes may overtake each other; within a process there is none.

    Parameters
    ----------
    filesystem : fsspec.AbstractFileSystem
        The implementation.
    root : str
        Path of the registry within it.
    url : str
        The name to use in messages.
    """

    exchanges_atomically: ClassVar[bool] = False

    _writing = threading.Lock()  # the memory store's exclusive create is two steps

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
        return sorted(name for name in names if name and not name.startswith(HIDDEN))

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """Return a file, not larger than that; raises FileNotFoundError when it is not there."""
        full = self._full(path)
        with self._errors("read", path):
            # A range: one byte more than allowed tells that there is more.
            data = bytes(self._filesystem.cat_file(full, start=0, end=max_bytes + 1))
            if len(data) > max_bytes:
                raise RegistryError(too_large(full, len(data), max_bytes=max_bytes))
        return data

    def add_numbered(self, folder: str, files: Mapping[str, bytes], *, last: str) -> int:
        """Create the next numbered folder below this one, and return its number."""
        return next_numbered(self, folder, files, last=last)

    def create_folder(self, folder: str, files: Mapping[str, bytes], *, last: str) -> bool:
        """Claim the name, write the files, ``last`` at the end: until then nobody sees it."""
        with self._errors("write", folder):
            if not self._claim(folder):
                return False
            for name in ordered(files, last):
                self._pipe(self._full(f"{folder}/{name}"), files[name])
        return True

    def replace(self, path: str, data: bytes) -> None:
        """Write one object: object services replace it whole; SFTP and HDFS write it in place."""
        with self._errors("write", path):
            self._pipe(self._full(path), data)

    def exchange(self, path: str, data: bytes, *, expected: bytes | None) -> bool:
        """Compare, then write: between the two lies a round trip in which another may write."""
        with self._errors("write", path), self._writing:
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

    def facts(self, folder: str) -> FolderFacts:
        """Return size and time of a folder; some implementations know no time."""
        with self._errors("list", folder):
            self._filesystem.invalidate_cache()
            try:
                found = self._filesystem.find(self._full(folder), detail=True).values()
            except FileNotFoundError:
                return FolderFacts(0, None)
            times = [_moment(one) for one in found]
        known = [time for time in times if time is not None]
        return FolderFacts(
            sum(int(one.get("size") or 0) for one in found),
            max(known) if len(known) == len(times) and known else None,
        )

    def remove_folder(self, folder: str) -> None:
        """Remove the objects of a folder, the claim at the end: until then its number is taken."""
        with self._errors("remove", folder):
            self._filesystem.invalidate_cache()
            try:
                found = sorted(self._filesystem.find(self._full(folder)))
            except FileNotFoundError:
                return
            claim = self._full(f"{folder}/{_CLAIM}")
            for full in sorted(found, key=lambda name: name == claim):
                self._filesystem.rm_file(full)
            if self._filesystem.isdir(self._full(folder)):
                self._filesystem.rm(self._full(folder), recursive=True)  # where folders are real

    def tidy(self, folder: str, *, before: datetime) -> int:  # noqa: ARG002 - the signature of all stores
        """Do nothing: an object is written whole or not at all."""
        return 0

    def _claim(self, folder: str) -> bool:
        token = uuid4().hex.encode()
        claim = self._full(f"{folder}/{_CLAIM}")
        with self._writing:
            if self.children(folder):
                return False
            try:
                self._pipe(claim, token, mode="create")
            except FileExistsError:
                return False
            except OSError:
                # A lost race is a failed precondition, under a class of each library.
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
                f"({type(error).__name__}: {brief(error)}); check the address, the network and the "
                f"credentials of the store, or set registry.url to another one"
            )
            raise RegistryError(message) from error


def _moment(info: Mapping[str, Any]) -> datetime | None:
    """Return when a file was written, from what an implementation of fsspec tells of it."""
    for key in _TIMES:
        value = info.get(key)
        if isinstance(value, datetime):
            return value if value.tzinfo else value.replace(tzinfo=UTC)
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
    return None
