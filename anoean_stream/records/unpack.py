"""Files of records line by line, packed or not, in memory that the file does not decide.

A gzip file of a megabyte can hold a gigabyte, and a line of it can be all of that.
"""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, AnyStr, Final

from anoean_stream.errors import DataError

MAX_LINE_BYTES: Final = 16 * 2**20
"""Longest line of a file, bytes (or letters of a CSV): 16 times the largest record that a worker takes by default."""

MAX_RATIO: Final = 300
"""Times that a packed file may grow. gzip reaches 1,030 on one repeated letter; KDD99, the most
repetitive of the public data sets, grows 35 times."""

FREE_BYTES: Final = 64 * 2**20
"""Unpacked bytes before the ratio counts: a small file of equal rows is no attack."""


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, unpacking ``.gz`` on the way.

    Raises
    ------
    DataError
        When it is not a whole gzip file, or grows beyond `MAX_RATIO`; while it is read.
    """
    is_packed = path.suffix.lower() == ".gz"
    try:
        if is_packed:
            with gzip.open(path, "rb") as packed:
                limit_bytes = max(FREE_BYTES, MAX_RATIO * path.stat().st_size)
                yield io.BufferedReader(_Bounded(packed, path=path, limit_bytes=limit_bytes))
        else:
            with path.open("rb") as plain:
                yield plain
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        message = f"{path} is not a whole gzip file ({error}); copy it again"
        raise DataError(message) from error


def lines_of(file: IO[AnyStr], *, path: Path) -> Iterator[AnyStr]:
    """Yield the lines of a file, each with its end.

    Raises
    ------
    DataError
        When one is longer than `MAX_LINE_BYTES` (names the line).
    """
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            message = (
                f"{path}, line {number}: more than {MAX_LINE_BYTES} bytes without a line end; "
                f"expected one record a line"
            )
            raise DataError(message, row=number)
        yield line


class _Bounded(io.RawIOBase):
    """Reads from an unpacker, and stops when it has given more than a file can honestly hold."""

    def __init__(self, packed: gzip.GzipFile, *, path: Path, limit_bytes: int) -> None:
        super().__init__()
        self._packed = packed
        self._path = path
        self._limit_bytes = limit_bytes
        self._n_bytes = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # Buffer
        """Fill a buffer; return how many bytes."""
        data = self._packed.read1(len(buffer))
        self._n_bytes += len(data)
        if self._n_bytes > self._limit_bytes:
            message = (
                f"{self._path} grows more than {MAX_RATIO} times when it is unpacked "
                f"({self._n_bytes} bytes so far), which records do not; look at what it holds, and "
                f"unpack it yourself if that is right"
            )
            raise DataError(message)
        buffer[: len(data)] = data
        return len(data)
