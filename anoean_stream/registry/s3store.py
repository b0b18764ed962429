"""A registry on S3, or on a service that speaks its protocol.

Address and login come from the usual variables (``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID``,
``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``, ...), a web identity, or the machine's role.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, NoReturn
from uuid import uuid4

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotSupportedError,
    PreconditionError,
)
from obstore.store import S3Store as Bucket

from anoean_stream.detector.confinedfiles import too_large
from anoean_stream.errors import RegistryError, brief
from anoean_stream.registry.promises import (
    CONNECT_TIMEOUT_S,
    HIDDEN,
    READ_TIMEOUT_S,
    RETRIES,
    UPLOAD_TIMEOUT_S,
    FolderFacts,
    next_numbered,
    ordered,
)

_CLAIM: Final = ".claim"

_WRITER: Final = "anoean-writer"
"""Metadata of an object that was written on a condition: which call wrote it."""

_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


class S3Store:
    """A bucket, or a prefix in it.

    Numbers are claimed and files exchanged by conditional writes (``If-None-Match``, ``If-Match``):
    the service decides which of two writers is first. One that ignores the conditions, or is set
    to have none (``AWS_CONDITIONAL_PUT=disabled``), leaves a window of one round trip between two
    exchanges; a claim is read back.

    Parameters
    ----------
    url : str
        ``s3://bucket/prefix``.
    shown : str, optional
        The name to use in messages.

    Raises
    ------
    ValueError
        When the URL, or a variable of the environment, cannot be understood.
    """

    exchanges_atomically: ClassVar[bool] = True

    def __init__(self, url: str, *, shown: str | None = None) -> None:
        self.url = shown or url
        endpoint = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "")
        try:
            self._bucket = Bucket.from_url(
                url.replace("s3a://", "s3://", 1),
                client_options={
                    "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT_S),
                    "read_timeout": timedelta(seconds=READ_TIMEOUT_S),
                    "timeout": timedelta(seconds=UPLOAD_TIMEOUT_S),
                    # Without TLS only where the person asked for just that.
                    "allow_http": endpoint.startswith("http://"),
                },
                retry_config={
                    "max_retries": RETRIES,
                    "retry_timeout": timedelta(seconds=READ_TIMEOUT_S),
                },
            )
        except BaseError as error:
            raise ValueError(brief(error)) from error

    def exists(self, path: str) -> bool:
        """Return whether a file or folder is there."""
        with self._errors("list", path):
            return self._is_file(path) or bool(self._names(path))

    def children(self, folder: str) -> list[str]:
        """Return the names directly in a folder, sorted; none when there is no such folder."""
        with self._errors("list", folder):
            return [name for name in self._names(folder) if not name.startswith(HIDDEN)]

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """Return a file, not larger than that; raises FileNotFoundError when it is not there."""
        return self._read(path, max_bytes=max_bytes)[0]

    def add_numbered(self, folder: str, files: Mapping[str, bytes], *, last: str) -> int:
        """Create the next numbered folder below this one, and return its number."""
        return next_numbered(self, folder, files, last=last)

    def create_folder(self, folder: str, files: Mapping[str, bytes], *, last: str) -> bool:
        """Claim the name, write the files, ``last`` at the end: until then nobody sees it."""
        with self._errors("write", folder):
            if self._names(folder) or not self._claim(f"{folder}/{_CLAIM}"):
                return False
            for name in ordered(files, last):
                obstore.put(self._bucket, f"{folder}/{name}", files[name])
        return True

    def replace(self, path: str, data: bytes) -> None:
        """Write one object; the service shows the old one or the new."""
        with self._errors("write", path):
            obstore.put(self._bucket, path, data)

    def exchange(self, path: str, data: bytes, *, expected: bytes | None) -> bool:
        """Compare, then write on the condition that it still is the object that was compared."""
        with self._errors("write", path):
            try:
                found, e_tag = self._read(path, max_bytes=2**30)
            except FileNotFoundError:
                return expected is None and self._put_if(path, data, "create")
            return found == expected and self._put_if(path, data, {"e_tag": e_tag})

    def remove(self, path: str) -> bool:
        """Remove one object."""
        with self._errors("remove", path):
            if not self._is_file(path):
                return False
            obstore.delete(self._bucket, path)
        return True

    def facts(self, folder: str) -> FolderFacts:
        """Return size and time of a folder."""
        with self._errors("list", folder):
            found = self._below(folder)
        return FolderFacts(
            sum(one["size"] for one in found),
            max((one["last_modified"] for one in found), default=None),
        )

    def remove_folder(self, folder: str) -> None:
        """Remove the objects of a folder, the claim at the end: until then its number is taken."""
        with self._errors("remove", folder):
            paths = [str(one["path"]) for one in self._below(folder)]
            for path in sorted(paths, key=lambda path: path.endswith(f"/{_CLAIM}")):
                obstore.delete(self._bucket, path)

    def tidy(self, folder: str, *, before: datetime) -> int:  # noqa: ARG002 - the signature of all stores
        """Do nothing: an object is written whole or not at all."""
        return 0

    def _is_file(self, path: str) -> bool:
        try:
            return bool(path) and bool(obstore.head(self._bucket, path))
        except FileNotFoundError:
            return False

    def _names(self, folder: str) -> list[str]:
        found = obstore.list_with_delimiter(self._bucket, folder or None)
        paths = [*found["common_prefixes"], *(one["path"] for one in found["objects"])]
        return sorted(str(path).rpartition("/")[2] for path in paths)

    def _below(self, folder: str) -> list[Any]:
        return [one for chunk in obstore.list(self._bucket, folder) for one in chunk]

    def _read(self, path: str, *, max_bytes: int) -> tuple[bytes, str | None]:
        with self._errors("read", path):
            found = obstore.get(self._bucket, path)
            size_bytes = found.meta["size"]
            if size_bytes > max_bytes:
                shown = f"{self.url.rstrip('/')}/{path}"
                raise RegistryError(too_large(shown, size_bytes, max_bytes=max_bytes))
            return bytes(found.bytes()), found.meta["e_tag"]

    def _claim(self, path: str) -> bool:
        token = uuid4().hex.encode()
        # Read back, for a service that ignores conditions.
        return self._put_if(path, token, "create") and self._read(path, max_bytes=64)[0] == token

    def _put_if(self, path: str, data: bytes, condition: Any) -> bool:
        """Write on a condition; False when it did not hold."""
        writer = uuid4().hex
        attributes: Any = {_WRITER: writer}
        try:
            obstore.put(
                self._bucket, path, data,
                mode=condition, attributes=attributes, use_multipart=False,
            )  # fmt: skip
        except (NotSupportedError, NotImplementedError):
            obstore.put(self._bucket, path, data, attributes=attributes)
        except (AlreadyExistsError, PreconditionError):
            # Perhaps by our own write: its answer was lost, and the client sent it again.
            return self._writer_of(path) == writer
        return True

    def _writer_of(self, path: str) -> str | None:
        try:
            attributes: Mapping[Any, str] = obstore.get(self._bucket, path).attributes
        except FileNotFoundError:
            return None
        return attributes.get(_WRITER)

    @contextmanager
    def _errors(self, verb: str, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if verb == "read":
                raise
            self._fail(verb, path, error)
        except (BaseError, OSError) as error:
            self._fail(verb, path, error)

    def _fail(self, verb: str, path: str, error: Exception) -> NoReturn:
        remedy = "check AWS_ENDPOINT_URL, AWS_REGION, the network and the credentials"
        if "NoSuchBucket" in str(error):
            remedy = "create the bucket, or mend its name"
        cause = brief(Exception(str(error).partition("Debug source")[0]))
        message = (
            f"registry {self.url}: cannot {verb} {self.url.rstrip('/')}/{path} "
            f"({type(error).__name__}: {cause}); {remedy}, or set registry.url to another one"
        )
        raise RegistryError(message) from error
