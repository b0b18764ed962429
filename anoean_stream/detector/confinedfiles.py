"""Reading a file below a folder, and nothing else: no link is followed, no more than a limit is read.

Whoever can write to a registry chooses the names and sizes of its files. A symbolic link would make
a worker read, and `anoean models` show or publish, what lies elsewhere on its machine; a named pipe
would make it wait for ever; a file without end would fill its memory.
"""

import errno
import os
import stat
from pathlib import Path

_LINKED = (errno.ELOOP, errno.EMLINK)
"""What the kernel answers when O_NOFOLLOW meets a link; the second one on some BSDs."""


class RefusedFileError(OSError):
    """A file that is not read: a link, no ordinary file, or larger than allowed.

    Parameters
    ----------
    message : str
        Begins with the path; what was seen, what was expected, what to do.
    """


def read_confined(root: Path, path: str, *, max_bytes: int) -> bytes:
    """Return a file's content.

    Links are refused below `root`; `root` itself may be one. Each folder on the way is opened from
    the one above it, so a link put in place meanwhile is not followed either.

    Parameters
    ----------
    root : Path
        Folder that is not left.
    path : str
        Relative to it, with ``/``.
    max_bytes : int
        Largest size, bytes.

    Raises
    ------
    RefusedFileError
        When a part of the path is a link or ``..``, the file is none or a special one, or too
        large.
    OSError
        When it cannot be opened or read; FileNotFoundError when it is not there.
    """
    parts = path.split("/")
    if not all(parts) or ".." in parts or "." in parts or "\0" in path:
        message = f"{path!r} is no path below {root}; expected names with / between them"
        raise RefusedFileError(message)
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for depth, part in enumerate(parts[:-1], start=1):
            here = "/".join(parts[:depth])
            below = _open(part, os.O_DIRECTORY, folder=folder, shown=root / here)
            os.close(folder)
            folder = below
        # O_NONBLOCK: opening a named pipe would wait until somebody writes to it.
        handle = _open(parts[-1], os.O_NONBLOCK, folder=folder, shown=root / path)
    finally:
        os.close(folder)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(root / path))
        if not stat.S_ISREG(status.st_mode):
            message = f"{root / path} is no ordinary file; put a copy of the file there"
            raise RefusedFileError(message)
        data = file.read(max_bytes + 1)  # not st_size: the file may be growing
    if len(data) > max_bytes:
        message = too_large(str(root / path), max(status.st_size, len(data)), max_bytes=max_bytes)
        raise RefusedFileError(message)
    return data


def too_large(shown: str, size_bytes: int, *, max_bytes: int) -> str:
    """Return the sentence about a file that is larger than allowed."""
    return (
        f"{shown} has {size_bytes} bytes or more, allowed are {max_bytes}; it is no file of a "
        f"model that this program wrote: find out who put it there"
    )


def _open(name: str, flags: int, *, folder: int, shown: Path) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=folder)
    except OSError as error:
        # A link where a folder is expected is ENOTDIR, as an ordinary file is.
        if error.errno in _LINKED or (error.errno == errno.ENOTDIR and _is_link(name, folder)):
            message = f"{shown} is a symbolic link, which could lead anywhere; put a copy there"
            raise RefusedFileError(message) from error
        raise


def _is_link(name: str, folder: int) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(name, dir_fd=folder).st_mode)
    except OSError:
        return False
